//! Requests against the fake server: what answers mean, and that no secret gets out.

use super::*;
use crate::sink::delivery::fake::{Fake, Reply};

const SECRET: &str = "s3cr3t-of-the-test";

fn http() -> Http {
    Http::new(&TlsConfig::default()).unwrap()
}

fn secret() -> SecretString {
    SecretString::from(SECRET)
}

fn request(url: &str) -> Request {
    Request::post(url, "text/plain", b"body".to_vec()).unwrap()
}

async fn answer_to(reply: Reply) -> Answer {
    let fake = Fake::start([reply]).await;
    http().send(request(&fake.url("/")), |_| None).await
}

#[tokio::test]
async fn codes_say_whether_to_try_again() {
    for code in [200, 201, 202, 204] {
        assert_eq!(answer_to(Reply::status(code)).await, Answer::Taken, "{code}");
    }
    for code in [301, 401, 403, 404, 408, 429, 500, 502, 503] {
        let answer = answer_to(Reply::status(code)).await;
        assert!(matches!(answer, Answer::Later { after: None, .. }), "{code}: {answer:?}");
    }
    for code in [400, 409, 413, 415, 422] {
        let answer = answer_to(Reply::status(code)).await;
        assert!(matches!(answer, Answer::Refused(_)), "{code}: {answer:?}");
    }
    let reply = Reply { after: Some(17), ..Reply::status(429) };
    let Answer::Later { after, .. } = answer_to(reply).await else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn headers_and_body_arrive() {
    let fake = Fake::start([]).await;
    let request = request(&fake.url("/a?b=c"))
        .method(Method::PUT)
        .header("x-test", "1")
        .unwrap()
        .secret("authorization", "Bearer ", &secret())
        .unwrap();
    assert_eq!(http().send(request, |_| None).await, Answer::Taken);
    let seen = &fake.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/a?b=c"));
    assert_eq!(seen.header("x-test"), "1");
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(seen.header("content-type"), "text/plain");
    assert!(seen.header("user-agent").starts_with("agentguard/"));
    assert_eq!(seen.body, b"body");
}

#[tokio::test]
async fn no_secret_gets_into_an_error() {
    let said = format!("no such key: {SECRET}\nat all");
    let fake = Fake::start([Reply { body: said, ..Reply::status(403) }]).await;
    let url = SecretString::from(fake.url(&format!("/hook/{SECRET}")));
    let sent = request(url.expose_secret()).hide(&url).secret("key", "", &secret()).unwrap();
    assert!(!format!("{sent:?}").contains(SECRET), "{sent:?}");
    let Answer::Later { why, .. } = http().send(sent, |_| None).await else { panic!() };
    assert!(why.contains("403") && why.contains("no such key: [secret] at all"), "{why}");
    // Nobody listens on port 1.
    let closed = format!("http://127.0.0.1:1/{SECRET}");
    let Answer::Later { why, .. } = http().send(request(&closed), |_| None).await else { panic!() };
    assert!(why.contains("refused") && !why.contains(SECRET), "{why}");
    let bad = Request::post(&format!("ftp://{SECRET}"), "text/plain", Vec::new()).unwrap_err();
    assert!(!bad.to_string().contains(SECRET));
    let bad = request("http://localhost").secret("key", "", &SecretString::from("a\nb"));
    assert!(bad.unwrap_err().to_string().contains("\"key\""));
}

#[tokio::test]
async fn redirections_are_not_followed() {
    let fake = Fake::start([Reply::status(302)]).await;
    let answer = http().send(request(&fake.url("/")), |_| None).await;
    assert!(matches!(answer, Answer::Later { .. }));
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let fake = Fake::start([Reply { body: "x".repeat(ANSWER * 3), ..Reply::status(400) }]).await;
    let Answer::Refused(why) = http().send(request(&fake.url("/")), |_| None).await else {
        panic!()
    };
    assert!(why.len() < 400);
}

#[test]
fn what_is_secret_is_not_written_into_the_configuration() {
    for url in ["https://me:pass@x.example/", "https://me@x.example/", "ftp://x.example", "/x"] {
        let error = parse(url).unwrap_err().to_string();
        assert!(error.contains("URL") && !error.contains("pass@"), "{error}");
    }
    let headers = |name: &str| {
        let plain = crate::config::Text::Plain("value".to_owned());
        crate::sink::delivery::Headers::new(&[(name.to_owned(), plain)].into())
    };
    for name in ["Authorization", "x-api-key", "X-Auth-Token", "cookie"] {
        let Err(error) = headers(name) else { panic!("{name}") };
        assert!(error.to_string().contains("{file: PATH}"), "{error}");
    }
    assert!(headers("x-team").is_ok());
    assert!(headers("bad name").is_err());
}

#[test]
fn bad_files_for_tls_are_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let tls = TlsConfig { ca: Some(file.path().to_owned()), identity: None };
    let error = Http::new(&tls).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()) && error.contains("PEM"), "{error}");
}
