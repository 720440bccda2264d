//! The daemon's end of the control socket: one task for each connection, each
//! request bounded, each answer one line.

use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;

use super::peer::Peer;
use super::protocol::{Asked, LINE_LIMIT, Request, Response, Row};
use super::wire;
use crate::daemon::{Begun, Daemon, Given, Watched};
use crate::error::{Error, Result};
use crate::event::Class;
use crate::session::Session;
use crate::sink::Sent;
use crate::why::Explanation;

/// Serves until the listener fails for good.
pub async fn serve(listener: UnixListener, daemon: Rc<Daemon>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = Rc::clone(&daemon);
                tokio::task::spawn_local(async move {
                    let mut connection = Connection { stream, daemon, begun: None };
                    if let Err(error) = connection.serve().await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    connection.close();
                });
            }
            Err(error) => {
                // Out of descriptors, for example: those that are open will close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Connection {
    stream: UnixStream,
    daemon: Rc<Daemon>,
    /// The session that was begun on this connection.
    begun: Option<u64>,
}

/// What an answer brings with it.
enum Answer {
    Line(Response),
    WithFd(Response, OwnedFd),
    Events { follow: bool, activity: bool, session: Option<String> },
}

impl Connection {
    async fn serve(&mut self) -> Result<()> {
        let peer = match Peer::of(&self.stream, self.daemon.tables()) {
            Ok(peer) => peer,
            Err(error) => return self.answer(&refusal(&error), None).await,
        };
        let mut buffer = Vec::new();
        let mut passed = None;
        loop {
            let Some(line) = self.line(&mut buffer, &mut passed).await? else { return Ok(()) };
            let request = serde_json::from_slice(&line)
                .map_err(|error| Error::Protocol(format!("not a request: {error}")));
            let answer = match request {
                Ok(request) => self.handle(&peer, request, passed.take()).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(Answer::Line(response)) => self.answer(&response, None).await?,
                Ok(Answer::WithFd(response, fd)) => self.answer(&response, Some(fd)).await?,
                Ok(Answer::Events { follow, activity, session }) => {
                    return self.events(&peer, follow, activity, session).await;
                }
                Err(error) => self.answer(&refusal(&error), None).await?,
            }
        }
    }

    /// A session that was begun but never entered goes with its connection.
    fn close(&self) {
        if let Some(number) = self.begun {
            self.daemon.abandon(number);
        }
    }

    async fn handle(
        &mut self,
        peer: &Peer,
        request: Request,
        fd: Option<OwnedFd>,
    ) -> Result<Answer> {
        match request {
            Request::Run { agent, workspace, named, set, command, traceparent } => {
                self.must_be_free(peer)?;
                let given = Given { workspace: workspace.into(), named, variables: set };
                let traceparent = traceparent.as_deref();
                self.begun(self.daemon.begin(peer.uid, &agent, given, command, traceparent)?)
            }
            Request::Learn { agent, workspace, resolvers, command, traceparent } => {
                self.must_be_free(peer)?;
                let what = Watched { agent, workspace, resolvers, command };
                self.begun(self.daemon.begin_learning(peer.uid, what, traceparent.as_deref())?)
            }
            Request::Enrol => {
                peer.must_be_unguarded()?;
                let number =
                    self.begun.ok_or_else(|| Error::Refused("no session was begun".into()))?;
                let pidfd =
                    fd.ok_or_else(|| Error::Protocol("no process came with the request".into()))?;
                self.daemon.enrol(peer.uid, number, &pidfd)?;
                Ok(Answer::Line(Response::Enrolled))
            }
            Request::Fate { session } => {
                let killed = self.daemon.fate(&session, |owner| peer.may_touch(owner));
                Ok(Answer::Line(Response::Fate { killed }))
            }
            Request::Ps { all, detail } => {
                Ok(Answer::Line(Response::Sessions { sessions: self.rows(peer, all, detail)? }))
            }
            Request::Limit { session, limits } => {
                let session = self.own(peer, &session)?;
                // The policy's limits hold for those who start sessions, too.
                if peer.uid != 0 {
                    return Err(Error::NotRoot { what: "agentguard limit" });
                }
                let session = self.daemon.limit(session.number, &limits, peer.uid)?;
                let limits = session.limits.to_string();
                Ok(Answer::Line(Response::Limited { session: session.id, limits }))
            }
            Request::Pause { session } => {
                let session = self.own(peer, &session)?;
                let why = format!("paused by user {}", peer.uid);
                let still = self.daemon.pause(session.number, &why).await?;
                Ok(Answer::Line(Response::Paused { session: session.id, still }))
            }
            Request::Resume { session } => {
                let session = self.own(peer, &session)?;
                let who = format!("resumed by user {}", peer.uid);
                self.daemon.resume(session.number, &who)?;
                Ok(Answer::Line(Response::Resumed { session: session.id }))
            }
            Request::Clear { session } => {
                let session = self.own(peer, &session)?;
                // What the policy says of secrets holds for those who start sessions, too.
                if peer.uid != 0 {
                    return Err(Error::NotRoot { what: "agentguard clear" });
                }
                let who = format!("cleared by user {}", peer.uid);
                let session = self.daemon.clear(session.number, &who)?;
                Ok(Answer::Line(Response::Cleared { session: session.id }))
            }
            Request::Pending => {
                peer.must_be_unguarded()?;
                let questions = self.daemon.questions(|owner| peer.may_touch(owner));
                Ok(Answer::Line(Response::Pending { questions }))
            }
            Request::Answer { questions, allow, scope } => {
                peer.must_be_unguarded()?;
                // What the policy says of people holds for those who start sessions, too.
                if peer.uid != 0 {
                    let what = if allow { "agentguard approve" } else { "agentguard deny" };
                    return Err(Error::NotRoot { what });
                }
                let who = format!("user {}", peer.uid);
                let questions = self.daemon.answer(&questions, allow, scope, &who)?;
                Ok(Answer::Line(Response::Answered { questions }))
            }
            Request::Apply => {
                peer.must_be_unguarded()?;
                if peer.uid != 0 {
                    return Err(Error::NotRoot { what: "agentguard policy apply" });
                }
                let applied = self.daemon.apply(&format!("by user {}", peer.uid))?;
                Ok(Answer::Line(Response::Applied { applied }))
            }
            Request::Kill { session } => self.kill(peer, &session).await,
            Request::Events { follow, activity, session } => {
                peer.must_be_unguarded()?;
                Ok(Answer::Events { follow, activity, session })
            }
            Request::Why { of } => {
                Ok(Answer::Line(Response::Why { why: self.why(peer, of)?.into() }))
            }
            Request::Status => Ok(Answer::Line(self.daemon.status())),
        }
    }

    /// Refuses a second session on one connection, and guarded processes.
    fn must_be_free(&self, peer: &Peer) -> Result<()> {
        peer.must_be_unguarded()?;
        match self.begun {
            None => Ok(()),
            Some(_) => Err(Error::Refused("this connection has its session already".into())),
        }
    }

    fn begun(&mut self, begun: Begun) -> Result<Answer> {
        self.begun = Some(begun.session.number);
        let response = Response::Begun {
            session: begun.session.id,
            traceparent: begun.traceparent,
            notice: begun.notice.display().to_string(),
        };
        Ok(Answer::WithFd(response, begun.cgroup.into()))
    }

    fn rows(&self, peer: &Peer, all: bool, detail: bool) -> Result<Vec<Row>> {
        let mut rows = self.daemon.rows(all, detail)?;
        rows.retain(|row| match peer.label {
            // A guarded process sees its own session and no other.
            Some(label) => row.session.number == label.session,
            None => peer.may_touch(row.session.uid),
        });
        Ok(rows)
    }

    /// A guarded process learns of its own session alone.
    fn why(&self, peer: &Peer, of: Asked) -> Result<Explanation> {
        let own = peer.label.map(|label| self.daemon.id_of(label.session));
        let may = |sent: &Sent| match &own {
            Some(own) => sent.session.is_some() && sent.session.as_deref() == own.as_deref(),
            None => peer.may_touch(sent.uid),
        };
        match of {
            Asked::Last { session } => {
                let fits = |sent: &Sent| {
                    let of = sent.session.as_deref().unwrap_or_default();
                    session.as_deref().is_none_or(|session| of.starts_with(session))
                };
                self.daemon.last_refusal(|sent| may(sent) && fits(sent))
            }
            Asked::Id(id) => self.daemon.decision(&id, may),
            Asked::Place { agent, resource } => {
                peer.must_be_unguarded()?;
                self.daemon.would_say(&agent, &resource)
            }
        }
    }

    /// A session that the peer may change.
    fn own(&self, peer: &Peer, id: &str) -> Result<Session> {
        let session = self.daemon.find(id)?;
        if peer.may_touch(session.uid) {
            return Ok(session);
        }
        Err(Error::Refused(format!("session {} belongs to another user", session.id)))
    }

    async fn kill(&self, peer: &Peer, id: &str) -> Result<Answer> {
        let session = self.own(peer, id)?;
        let why = format!("killed by user {}", peer.uid);
        self.daemon.kill(session.number, &session.id, &why).await?;
        Ok(Answer::Line(Response::Killed { session: session.id }))
    }

    async fn events(
        &mut self,
        peer: &Peer,
        follow: bool,
        activity: bool,
        session: Option<String>,
    ) -> Result<()> {
        let (kept, mut coming) = self.daemon.listen();
        self.answer(&Response::Events, None).await?;
        let wanted = |sent: &Sent| {
            (activity || sent.kind != Class::Activity)
                && (peer.uid == 0 || peer.uid == sent.uid)
                && session.as_ref().is_none_or(|id| {
                    sent.session.as_deref().is_some_and(|s| s.starts_with(id.as_str()))
                })
        };
        for sent in kept.iter().filter(|sent| wanted(sent)) {
            self.write(&sent.line).await?;
        }
        if !follow {
            return Ok(());
        }
        loop {
            // A listener that hangs up is noticed even when nothing happens.
            let next = tokio::select! {
                next = coming.recv() => next,
                gone = self.stream.readable() => {
                    gone.map_err(Error::system("wait for a listener"))?;
                    if hung_up(&self.stream) {
                        return Ok(());
                    }
                    continue;
                }
            };
            match next {
                Ok(sent) if wanted(&sent) => self.write(&sent.line).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    self.write(&format!("{{\"kind\":\"gap\",\"missed\":{missed}}}")).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn write(&mut self, line: &str) -> Result<()> {
        let text = format!("{line}\n");
        self.stream.write_all(text.as_bytes()).await.map_err(Error::system("answer a request"))
    }

    async fn answer(&mut self, response: &Response, fd: Option<OwnedFd>) -> Result<()> {
        let mut line =
            serde_json::to_vec(response).map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        if let Some(fd) = fd {
            let stream = &self.stream;
            let sent =
                stream.async_io(Interest::WRITABLE, || wire::send(stream, rest, Some(fd.as_fd())));
            rest = &rest[sent.await.map_err(Error::system("answer a request"))?..];
        }
        self.stream.write_all(rest).await.map_err(Error::system("answer a request"))
    }

    /// The next line, and the descriptor that came with it; `None` at the end.
    async fn line(
        &self,
        buffer: &mut Vec<u8>,
        passed: &mut Option<OwnedFd>,
    ) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(buffer, rest)));
            }
            if buffer.len() > LINE_LIMIT {
                return Err(Error::Protocol("the request is too long".into()));
            }
            let mut part = [0; 4096];
            let stream = &self.stream;
            let read =
                stream.async_io(Interest::READABLE, || wire::receive(stream, &mut part)).await;
            let (read, fd) = read.map_err(Error::system("read a request"))?;
            if read == 0 {
                return Ok(None);
            }
            if fd.is_some() {
                *passed = fd;
            }
            buffer.extend_from_slice(&part[..read]);
        }
    }
}

fn hung_up(stream: &UnixStream) -> bool {
    match stream.try_read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn refusal(error: &Error) -> Response {
    Response::Error { message: error.to_string(), code: error.exit_code() }
}
