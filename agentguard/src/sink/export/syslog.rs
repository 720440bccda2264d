//! A syslog server over TLS, TCP or UDP.
//!
//! Syslog has no answers: what was written to a connection that broke just then is
//! lost, and nobody can tell. A connection that the server has closed is noticed
//! before the next message, so that this is as rare as it can be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::store::StoreError;
use crate::config::{SyslogConfig, TlsConfig, Transport};
use crate::sink::delivery::{Answer, Message, tls_client};

/// How long connecting and writing may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest message by UDP, in bytes: what every network carries at once is less
/// (RFC 5426 has 2048 as what a server should take).
const DATAGRAM: usize = 2048;

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each with its length before it (RFC 6587, RFC 5425).
    Counted,
    /// Each in a packet of its own. In the queue they are counted too.
    Packet,
}

impl Framing {
    /// A message in its frame.
    pub(super) fn frame(self, message: &str) -> Vec<u8> {
        let most = match self {
            Self::Counted => message.len(),
            Self::Packet => message.floor_char_boundary(DATAGRAM),
        };
        let message = message.get(..most).unwrap_or(message);
        format!("{} {message}", message.len()).into_bytes()
    }
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A syslog server.
pub(super) struct Syslog {
    address: String,
    transport: Transport,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connection: Option<Box<dyn Stream>>,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig, tls: &TlsConfig) -> Result<Self, StoreError> {
        let wrong = || StoreError::Address(config.address.clone());
        let (host, port) = config.address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        let tls = match config.transport {
            Transport::Tls => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
                Some((TlsConnector::from(Arc::new(tls_client(tls)?)), name))
            }
            Transport::Tcp | Transport::Udp => None,
        };
        Ok(Self {
            address: config.address.clone(),
            transport: config.transport,
            tls,
            connection: None,
        })
    }

    pub(super) const fn framing(&self) -> Framing {
        match self.transport {
            Transport::Udp => Framing::Packet,
            Transport::Tls | Transport::Tcp => Framing::Counted,
        }
    }

    pub(super) async fn send(&mut self, message: &Message) -> Answer {
        let sent = match self.transport {
            Transport::Udp => self.packets(&message.body).await,
            Transport::Tls | Transport::Tcp => {
                let written = tokio::time::timeout(TIMEOUT, self.write(&message.body)).await;
                written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        match sent {
            Ok(()) => Answer::Taken,
            Err(error) => {
                self.connection = None;
                let why = format!("syslog server {}: {error}", self.address);
                Answer::Later { after: None, why }
            }
        }
    }

    async fn write(&mut self, body: &[u8]) -> io::Result<()> {
        if let Some(connection) = &mut self.connection
            && closed(connection).await
        {
            self.connection = None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.write_all(body).await?;
        connection.flush().await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&self.address).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
        }
    }

    async fn packets(&self, mut body: &[u8]) -> io::Result<()> {
        let to = tokio::net::lookup_host(&self.address).await?.next();
        let to = to.ok_or(io::ErrorKind::NotFound)?;
        let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(from).await?;
        socket.connect(to).await?;
        while let Some((message, rest)) = split(body) {
            socket.send(message).await?;
            body = rest;
        }
        Ok(())
    }
}

/// Whether the other side has closed. It never sends anything, so there is nothing to
/// read as long as it has not.
async fn closed(connection: &mut Box<dyn Stream>) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(1), connection.read(&mut byte)).await;
    !matches!(read, Err(_) | Ok(Ok(1)))
}

/// The first counted message, and the rest.
fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = body.iter().position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(body.get(..blank)?).ok()?.parse().ok()?;
    body.get(blank + 1..)?.split_at_checked(length)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn messages_are_counted_and_split_again() {
        let body = [Framing::Counted.frame("one"), Framing::Packet.frame("täo")].concat();
        assert_eq!(body, "3 one4 täo".as_bytes());
        let (first, rest) = split(&body).unwrap();
        assert_eq!(first, b"one");
        let (second, rest) = split(rest).unwrap();
        assert_eq!(second, "täo".as_bytes());
        assert_eq!(split(rest), None);
    }

    #[test]
    fn a_datagram_is_cut_at_a_character() {
        let framed = Framing::Packet.frame(&"ä".repeat(2000));
        let (message, _) = split(&framed).unwrap();
        assert!(message.len() <= DATAGRAM && std::str::from_utf8(message).is_ok());
        let whole = Framing::Counted.frame(&"ä".repeat(2000));
        assert_eq!(split(&whole).unwrap().0.len(), 4000);
    }
}
