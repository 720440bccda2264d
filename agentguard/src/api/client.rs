//! The clients' end of the control socket, for commands: one question, one answer.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::protocol::{LINE_LIMIT, Request, Response};
use super::wire;
use crate::error::{Error, Result};

/// A connection to the daemon.
pub struct Client {
    socket: UnixStream,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Error::NoDaemon`] where none answers.
    pub fn connect(path: &Path) -> Result<Self> {
        // Set by `run`. Whoever sets it by hand is served just the same.
        let inside = std::env::var_os("AGENTGUARD_SESSION").is_some();
        let own = super::for_sessions(path);
        let path = if inside && own.exists() { &own } else { path };
        let socket = UnixStream::connect(path)
            .map_err(|source| Error::NoDaemon { path: path.to_owned(), source })?;
        Ok(Self { socket })
    }

    /// Asks, and waits for the answer. A refusal is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] with what the daemon answered.
    pub fn ask(
        &self,
        request: &Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(Response, Option<OwnedFd>)> {
        let lost = Error::system::<std::io::Error>;
        let mut line =
            serde_json::to_vec(request).map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        let mut sent = wire::send(&self.socket, &line, fd).map_err(lost("ask the daemon"))?;
        while sent < line.len() {
            sent +=
                wire::send(&self.socket, &line[sent..], None).map_err(lost("ask the daemon"))?;
        }
        let (mut answer, mut passed) = (Vec::new(), None);
        let mut buffer = [0; 4096];
        while answer.last() != Some(&b'\n') {
            let (read, fd) = wire::receive(&self.socket, &mut buffer)
                .map_err(lost("read the daemon's answer"))?;
            passed = fd.or(passed);
            if read == 0 || answer.len() > LINE_LIMIT {
                return Err(Error::Protocol("the connection was closed in mid-answer".into()));
            }
            answer.extend_from_slice(&buffer[..read]);
        }
        match serde_json::from_slice(&answer) {
            Ok(Response::Error { message, code }) => Err(Error::Remote { message, code }),
            Ok(response) => Ok((response, passed)),
            Err(error) => Err(Error::Protocol(error.to_string())),
        }
    }

    /// Asks for events and hands each line to `take`, until it says no or the
    /// daemon closes the connection.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] where the daemon refuses.
    pub fn events(self, request: &Request, mut take: impl FnMut(&str) -> bool) -> Result<()> {
        let mut listener = self.listen(request)?;
        while let Some(line) = listener.line()? {
            if !take(&line) {
                break;
            }
        }
        Ok(())
    }

    /// Asks for events. When this returns, none of those to come is missed.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] where the daemon refuses.
    pub fn listen(self, request: &Request) -> Result<Listener> {
        let mut line =
            serde_json::to_vec(request).map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        wire::send(&self.socket, &line, None).map_err(Error::system("ask the daemon"))?;
        let mut listener = Listener { reader: BufReader::new(self.socket) };
        let answer = listener.line()?.unwrap_or_default();
        match serde_json::from_str(&answer) {
            Ok(Response::Events) => Ok(listener),
            Ok(Response::Error { message, code }) => Err(Error::Remote { message, code }),
            _ => Err(Error::Protocol(answer)),
        }
    }
}

/// The reading end of the daemon's events.
pub struct Listener {
    reader: BufReader<UnixStream>,
}

impl Listener {
    /// The next event; `None` where the daemon has closed the connection, or said nothing for
    /// as long as [`Listener::patience`] is.
    ///
    /// # Errors
    ///
    /// Where the connection broke.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        match self.reader.by_ref().take(LINE_LIMIT as u64).read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                line.truncate(line.trim_end().len());
                Ok(Some(line))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Error::system("read events")(error)),
        }
    }

    /// How long the next event may take. For ever, where this was never called.
    ///
    /// # Errors
    ///
    /// Where that cannot be set.
    pub fn patience(&self, time: std::time::Duration) -> Result<()> {
        let set = self.reader.get_ref().set_read_timeout(Some(time));
        set.map_err(Error::system("wait for events"))
    }
}
