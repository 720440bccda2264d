//! Real programs that receive what agentguard sends: Debian's Alertmanager and rsyslog,
//! each on loopback, with files of its own. Dropping one ends it.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::guard::PATIENCE;
use crate::prometheus::get;

type Error = Box<dyn std::error::Error>;

/// Waits until something is so.
///
/// # Errors
///
/// Where it does not become so.
pub fn until(what: &str, mut so: impl FnMut() -> Result<bool, Error>) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !so()? {
        if Instant::now() > end {
            return Err(format!("waited in vain: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// An address of loopback that nobody listens on, for TCP and UDP alike.
///
/// # Errors
///
/// Where there is none.
pub fn free_address() -> Result<SocketAddr, Error> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    UdpSocket::bind(address)?;
    Ok(address)
}

/// A program that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Alertmanager.
pub struct Alertmanager {
    address: SocketAddr,
    _process: Running,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts it there.
    ///
    /// # Errors
    ///
    /// Where it does not get ready.
    pub fn start(address: SocketAddr) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")?;
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--cluster.listen-address=", "--log.level=warn"])
            .spawn()?;
        let this = Self { address, _process: Running(process), _directory: directory };
        until("Alertmanager is ready", || {
            Ok(get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(this)
    }

    /// The alerts that are active.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub fn alerts(&self) -> Result<Vec<Value>, Error> {
        let (_, body) = get(self.address, "/api/v2/alerts")?;
        Ok(serde_json::from_str(&body)?)
    }
}

/// rsyslog, which writes what it understood of a message into a file.
pub struct Rsyslog {
    output: PathBuf,
    _process: Running,
    _directory: tempfile::TempDir,
}

/// How rsyslog listens.
pub enum Listen<'p> {
    /// TCP and UDP.
    Plain,
    /// TLS, with these files: who may be trusted (itself), its certificate, its key.
    Tls(&'p Path, &'p Path),
}

impl Rsyslog {
    /// Starts it there.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(address: SocketAddr, listen: &Listen<'_>) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let output = directory.path().join("messages");
        let config = directory.path().join("rsyslog.conf");
        std::fs::write(&config, configuration(address.port(), listen, &output))?;
        let process = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(&config)
            .arg("-i")
            .arg(directory.path().join("pid"))
            .spawn()?;
        let this = Self { output, _process: Running(process), _directory: directory };
        until("rsyslog listens", || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(this)
    }

    /// What it has written: for each message priority, time, host, program, the id of
    /// the kind of message, and the message itself.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn messages(&self) -> Result<Vec<Vec<String>>, Error> {
        if !self.output.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&self.output)?;
        Ok(text.lines().map(|line| line.splitn(6, '\t').map(str::to_owned).collect()).collect())
    }
}

fn configuration(port: u16, listen: &Listen<'_>, output: &Path) -> String {
    let inputs = match listen {
        Listen::Plain => format!(
            "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n"
        ),
        Listen::Tls(certificate, key) => format!(
            "global(defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{ca}\" \
             defaultNetstreamDriverCertFile=\"{ca}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
             streamDriver.authMode=\"anon\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n",
            ca = certificate.display(),
            key = key.display()
        ),
    };
    let template =
        "%pri%\\t%timereported:::date-rfc3339%\\t%hostname%\\t%app-name%\\t%msgid%\\t%msg%\\n";
    format!(
        "{inputs}template(name=\"told\" type=\"string\" string=\"{template}\")\n\
         action(type=\"omfile\" file=\"{}\" template=\"told\")\n",
        output.display()
    )
}
