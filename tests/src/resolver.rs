//! Servers of names in the outside: dnsmasq, which is a real one, and one that answers as
//! it is told by the name it is asked for, which no real one does.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use crate::net;

/// Where dnsmasq answers.
pub const REAL: [&str; 2] = ["10.77.0.54", "fd77::54"];
/// Where the other one does.
pub const STRANGE: &str = "10.77.0.53";

/// A dnsmasq in the outside. It answers `api.test` (two addresses), `api.example.com`, everything below
/// `wild.test`, and the alias `alias.test`; and knows nothing else.
pub struct Dnsmasq {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Dnsmasq {
    /// Starts it, and makes it the host's resolver.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start() -> io::Result<Self> {
        net::outside()?;
        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "outside", "dnsmasq", "--keep-in-foreground"]);
        command.args(["--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root"]);
        command.args(["--bind-interfaces", "--log-queries", "--pid-file="]);
        command.args(REAL.map(|address| format!("--listen-address={address}")));
        command.args([
            "--host-record=api.test,10.77.0.2,fd77::2",
            "--address=/wild.test/10.77.0.3",
            "--cname=alias.test,target.test",
            "--host-record=target.test,10.77.0.2",
            "--host-record=api.example.com,10.77.0.2",
            "--local=/test/",
            "--local=/example.com/",
            "--txt-record=api.test,nothing",
        ]);
        command.arg(format!("--log-facility={}", log.path().display()));
        // For each connection it makes a process.
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        use_resolvers(&REAL)?;
        let server = Self { child, log };
        for _ in 0..500 {
            if server.log()?.contains("started") {
                return Ok(server);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(io::Error::other("dnsmasq does not start"))
    }

    /// What it wrote down.
    ///
    /// # Errors
    ///
    /// Where that cannot be read.
    pub fn log(&self) -> io::Result<String> {
        std::fs::read_to_string(self.log.path())
    }

    /// How many questions it got for a name or, after a dot, below one.
    ///
    /// # Errors
    ///
    /// Where its log cannot be read.
    pub fn asked(&self, name: &str) -> io::Result<usize> {
        let log = self.log()?;
        let questions = log.lines().filter_map(|line| line.split("query[").nth(1));
        let names = questions.filter_map(|line| line.split(' ').nth(1));
        Ok(names.filter(|asked| asked.ends_with(name)).count())
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Writes `/etc/resolv.conf`, which is the VM's own.
///
/// # Errors
///
/// Where that cannot be written.
pub fn use_resolvers(servers: &[&str]) -> io::Result<()> {
    // Who waits for an answer that does not come waits long, even where all is slow: so it
    // shows that a refusal is no time-out.
    let mut text = String::from("options timeout:30 attempts:1\n");
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    std::fs::write("/etc/resolv.conf", text)
}

/// The questions that reached the strange server, as they came.
pub type Questions = Arc<Mutex<Vec<Vec<u8>>>>;

/// The strange server, started on first use. By the first label of the name it
/// - `right`: answers with 10.77.0.2;
/// - `id`, `name`, `kind`: the same under another id, for another name, for another type;
/// - `twice`: under another id with 10.77.0.3, and then as it should;
/// - `upper`: as it should, the name in capitals;
/// - `inside`, `metadata`, `loopback`: with an address inside;
/// - `mixed`: with 10.77.0.2 and then 192.168.7.7;
/// - `many`: with 40 addresses, the last of them 10.77.0.2;
/// - `cut`: with nothing but that it is cut over UDP, and as it should over TCP;
/// - `broken`: with a record that is longer than the message;
/// - `service`: with an HTTPS record that hints at 10.77.0.2.
///
/// # Errors
///
/// Where it cannot listen.
pub fn strange() -> io::Result<Questions> {
    static STARTED: OnceLock<Questions> = OnceLock::new();
    net::outside()?;
    if let Some(questions) = STARTED.get() {
        return Ok(Arc::clone(questions));
    }
    let questions = Questions::default();
    let kept = Arc::clone(&questions);
    std::thread::spawn(move || serve(&kept))
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the server died")))?;
    Ok(Arc::clone(STARTED.get_or_init(|| questions)))
}

fn serve(questions: &Questions) -> io::Result<()> {
    net::enter_outside()?;
    let socket = UdpSocket::bind((STRANGE, 53))?;
    let listener = TcpListener::bind((STRANGE, 53))?;
    let kept = Arc::clone(questions);
    std::thread::spawn(move || {
        let mut message = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut message) {
            let question = message[..len].to_vec();
            keep(&kept, &question);
            for answer in answers(&question, false) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    let kept = Arc::clone(questions);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut len = [0; 2];
            while stream.read_exact(&mut len).is_ok() {
                let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
                if stream.read_exact(&mut question).is_err() {
                    break;
                }
                keep(&kept, &question);
                for answer in answers(&question, true) {
                    let len = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes();
                    let _ = stream.write_all(&[&len[..], &answer].concat());
                }
            }
        }
    });
    Ok(())
}

fn keep(questions: &Questions, question: &[u8]) {
    if let Ok(mut kept) = questions.lock() {
        kept.push(question.to_vec());
    }
}

/// What the strange server answers.
fn answers(question: &[u8], tcp: bool) -> Vec<Vec<u8>> {
    let Some(label) = question.get(13..13 + usize::from(*question.get(12).unwrap_or(&0))) else {
        return Vec::new();
    };
    let v4 = |last: [u8; 4]| (1, last.to_vec());
    let right = answer(question, &[v4([10, 77, 0, 2])]);
    let changed = |at: usize, to: u8| {
        let mut answer = right.clone();
        answer[at] = to;
        answer
    };
    match label {
        b"id" => vec![changed(1, right[1] ^ 1)],
        // The last letter of the label.
        b"name" => vec![changed(16, b'a')],
        b"kind" => {
            let end = question.len() - 3;
            vec![changed(end, 28)]
        }
        b"twice" => {
            let mut wrong = answer(question, &[v4([10, 77, 0, 3])]);
            wrong[1] ^= 1;
            vec![wrong, right]
        }
        b"upper" => {
            let mut upper = right.clone();
            upper[12..question.len()].make_ascii_uppercase();
            vec![upper]
        }
        b"inside" => vec![answer(question, &[v4([192, 168, 7, 7])])],
        b"metadata" => vec![answer(question, &[v4([169, 254, 169, 254])])],
        b"loopback" => vec![answer(question, &[v4([127, 0, 0, 1])])],
        b"mixed" => vec![answer(question, &[v4([10, 77, 0, 2]), v4([192, 168, 7, 7])])],
        b"many" => {
            let mut records: Vec<_> = (100..139).map(|last| v4([10, 77, 0, last])).collect();
            records.push(v4([10, 77, 0, 2]));
            vec![answer(question, &records)]
        }
        b"cut" if !tcp => {
            let mut cut = answer(question, &[]);
            cut[2] |= 2;
            vec![cut]
        }
        b"broken" => {
            let mut broken = right.clone();
            let at = broken.len() - 5;
            broken[at] = 9;
            vec![broken]
        }
        b"service" => {
            let hint = [&[0, 1, 0, 0, 4, 0, 4][..], &[10, 77, 0, 2]].concat();
            vec![answer(question, &[(65, hint)])]
        }
        _ => vec![right],
    }
}

/// An answer to a question, with records of that name.
fn answer(question: &[u8], records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap_or(0).to_be_bytes());
    // What was asked with OPT is answered without.
    answer[10..12].copy_from_slice(&[0, 0]);
    let name = answer[12..].iter().position(|byte| *byte == 0).unwrap_or(0);
    answer.truncate(12 + name + 5);
    for (kind, data) in records {
        answer.extend([0xc0, 12, 0, *kind, 0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        answer.extend(data);
    }
    answer
}
