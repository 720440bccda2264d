//! A web server for tests, in the place of products that cannot be run here. It is a
//! fake: it keeps what it gets, for the test to look at, and answers as it is told.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Decompressed.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert!(text.ends_with('\n'), "a body of lines ends with one");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An answer: code, headers, body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) after: Option<u32>,
    pub(crate) body: String,
}

impl Reply {
    fn fine() -> Self {
        Self { body: "{}".to_owned(), ..Self::status(200) }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

#[derive(Default)]
struct Books {
    seen: Vec<Seen>,
    replies: VecDeque<Reply>,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Fake {
    books: Arc<Mutex<Books>>,
    address: SocketAddr,
}

impl Fake {
    /// Starts it. It gives these replies first, and then 200 and `{}` to everything.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = replies.into_iter().collect();
        let books = Arc::new(Mutex::new(Books { seen: Vec::new(), replies }));
        let router = Router::new().fallback(take).with_state(Arc::clone(&books));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { books, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.books.lock().unwrap().seen.clone()
    }

    /// Waits until it has got that many requests.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Seen> {
        let begun = Instant::now();
        while self.seen().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "got {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.seen()
    }
}

async fn take(
    State(books): State<Arc<Mutex<Books>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let zipped = headers.get("content-encoding").is_some_and(|value| value == "gzip");
    let mut plain = Vec::new();
    match zipped {
        true => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap()),
        false => plain.extend(&body),
    }
    let mut books = books.lock().unwrap();
    books.seen.push(Seen { method, path: uri.to_string(), headers, body: plain });
    let reply = books.replies.pop_front().unwrap_or_else(Reply::fine);
    let status = StatusCode::from_u16(reply.status).unwrap();
    let after = reply.after.map(|seconds| ("retry-after", seconds.to_string()));
    (status, axum::response::AppendHeaders(after), reply.body).into_response()
}
