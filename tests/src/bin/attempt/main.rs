//! The program that plays the agent: does what its arguments say, one after
//! another, and prints what each came to (`ok`, or the name of the error).
//!
//! `attempt connect 10.77.0.3:443 sendto 10.77.0.3:9999 detach connect …`

mod names;
mod raw;
mod ways;

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setsid};

const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    run(&words)
}

fn run(words: &[String]) -> io::Result<()> {
    let Some((action, rest)) = words.split_first() else { return Ok(()) };
    if let Some(done) = passes_on(action, rest) {
        return done;
    }
    let Some((to, rest)) = rest.split_first() else {
        return Err(io::Error::other(format!("{action} needs a destination")));
    };
    println!("{action} {to} {}", outcome(&attempt(action, to)));
    run(rest)
}

/// Things that change who goes on with the rest of the words.
fn passes_on(action: &str, rest: &[String]) -> Option<io::Result<()>> {
    let done = match action {
        "fork" => in_child(rest, || Ok(())),
        "detach" => in_child(rest, || {
            setsid()?;
            // SAFETY: this process has one thread.
            if let ForkResult::Parent { child } = unsafe { fork() }? {
                waitpid(child, None)?;
                std::process::exit(0);
            }
            Ok(())
        }),
        "namespaces" => in_child(rest, || {
            use nix::sched::{CloneFlags, unshare};
            Ok(unshare(
                CloneFlags::CLONE_NEWUSER
                    | CloneFlags::CLONE_NEWNS
                    | CloneFlags::CLONE_NEWUTS
                    | CloneFlags::CLONE_NEWIPC,
            )?)
        }),
        "root-cgroup" => in_child(rest, || {
            std::fs::write("/sys/fs/cgroup/cgroup.procs", std::process::id().to_string())
        }),
        "thread" => {
            let rest = rest.to_vec();
            std::thread::spawn(move || run(&rest))
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread died")))
        }
        "exec" => {
            std::env::current_exe().and_then(|me| Command::new(me).args(rest).status()).map(drop)
        }
        "sleep" => {
            std::thread::sleep(PATIENCE * 100);
            Ok(())
        }
        "wait-for-line" => {
            let mut line = String::new();
            println!("waiting");
            io::stdin().read_line(&mut line).and_then(|_| run(rest))
        }
        _ => return None,
    };
    Some(done)
}

fn in_child(rest: &[String], prepare: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => waitpid(child, None).map(drop).map_err(Into::into),
        ForkResult::Child => {
            let done = prepare().and_then(|()| run(rest));
            if let Err(error) = &done {
                println!("failed {error}");
            }
            std::process::exit(i32::from(done.is_err()));
        }
    }
}

fn attempt(action: &str, to: &str) -> io::Result<()> {
    match action {
        "signal-parent" => Ok(nix::sys::signal::kill(Pid::parent(), nix::sys::signal::SIGUSR1)?),
        "exit" => std::process::exit(to.parse().unwrap_or(1)),
        "raise" => raw::raise(to),
        "resolve" => names::resolve(to),
        "reach" => names::reach(to),
        "ask" => names::ask(to, false),
        "ask-tcp" => names::ask(to, true),
        "ask-two" => names::ask_two(to),
        "send-bytes" => names::send_bytes(to),
        "pretend" => names::pretend(to),
        "ping" => raw::ping(address(&format!("{to}:0"))?),
        "raw" => raw::raw(address(&format!("{to}:0"))?),
        "socket" => ways::socket(to),
        "unix-connect" => ways::unix_connect(to),
        "unix-send" => ways::unix_send(to),
        "unix-own" => ways::unix_own(to),
        "option" => ways::option(to),
        "ioctl" => ways::ioctl(to),
        "take-fd" => ways::take_fd(to),
        "stdin" if to == "send" => ways::use_stdin(),
        "stdin" if to == "receive" => ways::receive_fd(),
        _ => network(action, address(to)?),
    }
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(|_| io::Error::other(format!("{text} is no address")))
}

fn network(action: &str, to: SocketAddr) -> io::Result<()> {
    match action {
        "connect" => TcpStream::connect_timeout(&to, PATIENCE).map(drop),
        "udp-connect" => udp(to)?.connect(to),
        "sendto" => udp(to)?.send_to(b"x", to).map(drop),
        "unspec" => raw::send_unspec(&udp(to)?, to),
        "sendmmsg" => raw::sendmmsg(&udp(to)?, to),
        "fastopen" => raw::fastopen(to),
        "io-uring" => raw::io_uring_connect(to),
        "reconnect" => raw::reconnect(to),
        "routed" => ways::routed(to),
        "own" => ways::own(to),
        "shadow" => ways::shadow(to),
        _ => Err(io::Error::other(format!("{action} is no action"))),
    }
}

fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
}

/// `ok`, or the error's name: for people and for tests that compare.
fn outcome(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(error) => match error.raw_os_error() {
            // What a read that waits for an answer comes to.
            Some(libc::EAGAIN) => "silence".into(),
            Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
            None if error.kind() == io::ErrorKind::TimedOut => "ETIMEDOUT".into(),
            None => format!("error: {error}"),
        },
    }
}
