//! Everything that can go wrong, with what was tried, on what, and what to do
//! about it; and the one table of exit codes.

use std::path::PathBuf;

use crate::config::{ConfigError, SecretError};
use crate::policy::{BindError, PolicyErrors};
use crate::redact::PatternError;
use crate::sink::OtlpError;

/// An error of the library or of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "read", "create", …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A system call that is not about one file failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The caller is not root.
    #[error("{what} needs root: run it with sudo, or as a service")]
    NotRoot {
        /// The command.
        what: &'static str,
    },
    /// The kernel has no type information.
    #[error(
        "this kernel has no BTF (/sys/kernel/btf/vmlinux): {source}\n  = use a kernel built with CONFIG_DEBUG_INFO_BTF, as those of all current distributions are"
    )]
    NoBtf {
        /// What the system said.
        source: std::io::Error,
    },
    /// A member of a kernel structure is not there.
    #[error(
        "this kernel's BTF has no {structure}.{member}, which agentguard reads\n  = supported kernels: 6.1 and newer"
    )]
    NoMember {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The kernel does not say where something of its own is.
    #[error(
        "the kernel does not say where its `{symbol}` is (/proc/kallsyms), without which paths could not be told reliably\n  = set kernel.kptr_restrict to 0 or 1 with sysctl(8) while agentguard starts"
    )]
    NoSymbol {
        /// What it is called.
        symbol: &'static str,
    },
    /// BPF programs cannot enforce anything here.
    #[error(
        "this kernel does not let BPF programs decide (BPF LSM): {why}\n  = add `bpf` to the kernel command line's lsm= list, for example lsm=landlock,lockdown,yama,integrity,apparmor,bpf, and reboot"
    )]
    NoLsm {
        /// What showed it.
        why: String,
    },
    /// The daemon was built without its kernel programs.
    #[error(
        "this agentguard was built without its kernel programs\n  = build it with `cargo xtask build`"
    )]
    NoObject,
    /// The kernel programs could not be loaded.
    #[error("cannot load the kernel program {program}: {why}")]
    Load {
        /// Which program, or "object" for the file as a whole.
        program: String,
        /// What the loader or the verifier said.
        why: String,
    },
    /// Pins of another layout are in force.
    #[error(
        "{path} was left by an agentguard whose kernel tables have another layout\n  = end its sessions, then run `agentguard unload` with that version", path = path.display()
    )]
    ForeignPins {
        /// Where they are.
        path: PathBuf,
    },
    /// A table in the kernel is full.
    #[error("the kernel's table of {what} is full ({limit})\n  = {mend}")]
    Full {
        /// Which table.
        what: &'static str,
        /// How many it holds.
        limit: u32,
        /// What to do.
        mend: &'static str,
    },
    /// A policy does not hold up.
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    /// The configuration file does not hold up.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A pattern in the configuration's section `redaction` cannot be used.
    #[error("{0}")]
    Redaction(#[from] PatternError),
    /// A secret that the configuration refers to cannot be had.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// A metric cannot be declared or shown.
    #[error("cannot count: {0}")]
    Metrics(#[from] prometheus::Error),
    /// OTLP cannot be set up as configured.
    #[error("otlp: {0}")]
    Otlp(#[from] OtlpError),
    /// What a session was given for the variables of its policy will not do.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// A limit cannot be enforced on this host.
    #[error("limits.{key} cannot be enforced: {why}\n  = {mend}")]
    Limit {
        /// Its key in `limits:`.
        key: &'static str,
        /// What is missing.
        why: String,
        /// What to do.
        mend: &'static str,
    },
    /// A `match:` entry can never match.
    #[error("{path}: match: {what}\n  = correct the entry or leave it out", path = path.display())]
    Match {
        /// The policy.
        path: PathBuf,
        /// The entry, and why.
        what: String,
    },
    /// No policy for the agent.
    #[error(
        "no policy declares the agent {agent:?}\n  = declared: {declared}; policies are read from {directory}"
    )]
    UnknownAgent {
        /// The name asked for.
        agent: String,
        /// The names there are.
        declared: String,
        /// Where policies come from.
        directory: String,
    },
    /// No such session.
    #[error("there is no session {0:?}\n  = `agentguard ps` lists those that are running")]
    UnknownSession(String),
    /// No such question.
    #[error("no call waits for an answer to {0:?}\n  = `agentguard pending` lists those that do")]
    UnknownQuestion(String),
    /// The daemon cannot be reached.
    #[error(
        "no agentguard daemon answers at {path}: {source}\n  = start it: `sudo systemctl start agentguard`, or `sudo agentguard daemon` in another terminal", path = path.display()
    )]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another daemon holds the lock.
    #[error(
        "an agentguard daemon is already running (pid {pid})\n  = stop it first, or use it: `agentguard ps`"
    )]
    AlreadyRunning {
        /// Its process, as far as is known.
        pid: String,
    },
    /// The log cannot be written.
    #[error("cannot write the log {path}: {source}\n  = make room or name another file with --log", path = path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The audit log cannot be written.
    #[error("cannot write the audit log {path}: {source}\n  = make room, name another file (audit.file in the configuration), or turn it off (audit.enabled: false)", path = path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The audit log was changed.
    #[error(
        "the audit log does not hold: {findings} places, listed above\n  = keep the files as they are, and the key and the checkpoint beside it, for whoever looks into it"
    )]
    Tampered {
        /// How many places.
        findings: usize,
    },
    /// The caller may not do this.
    #[error("refused: {0}")]
    Refused(String),
    /// Sessions are running that the command would leave unguarded.
    #[error(
        "{0} sessions are running and would be left unguarded\n  = end them (`agentguard kill`), or give --force"
    )]
    Busy(usize),
    /// The other side of the socket did not keep to the protocol.
    #[error(
        "the daemon's answer makes no sense: {0}\n  = is it of another version? `agentguard --version`"
    )]
    Protocol(String),
    /// The command of `run` could not be executed.
    #[error("cannot execute {program:?}: {source}")]
    Exec {
        /// The command.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The session was ended by agentguard.
    #[error("agentguard ended session {session}: {why}")]
    Killed {
        /// The session.
        session: String,
        /// Why.
        why: String,
    },
    /// A sink cannot start as it is configured.
    #[error("the sink {sink} cannot start: {why}")]
    Sink {
        /// Its section and its name.
        sink: String,
        /// Why, and what to do.
        why: String,
    },
    /// `doctor` found something that does not hold.
    #[error(
        "not everything is enforced here: what is OPEN above was not refused\n  = is `bpf` among the active security modules (cat /sys/kernel/security/lsm)? if not, add it to the kernel command line's lsm= list and reboot"
    )]
    Unhealthy,
    /// What was given on the command line cannot be.
    #[error("{0}")]
    Usage(String),
    /// No decision fits.
    #[error(
        "{0}\n  = the daemon remembers the last 4096 since it started; earlier ones are in the log"
    )]
    NoDecision(String),
    /// What the daemon answered to a request, with its exit code.
    #[error("{message}")]
    Remote {
        /// The daemon's message.
        message: String,
        /// Its exit code.
        code: u8,
    },
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit codes, one for each kind of failure. `run` passes on the command's
/// own code; these are chosen from a range that commands seldom use.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "success"),
    (1, "an operation of the system failed; the message says which"),
    (2, "wrong usage: unknown command, option or value"),
    (64, "a policy is not valid"),
    (65, "no policy declares that agent"),
    (66, "there is no such session"),
    (67, "root is needed"),
    (68, "refused: not allowed for this caller"),
    (69, "no daemon answers"),
    (70, "a daemon is already running"),
    (71, "the kernel has no BTF"),
    (72, "the kernel does not let BPF programs decide (no BPF LSM)"),
    (73, "the log or the audit log cannot be written"),
    (74, "the kernel programs could not be loaded"),
    (75, "pins of another layout are in force"),
    (76, "a kernel table is full"),
    (77, "sessions are running"),
    (78, "doctor: not everything is enforced here"),
    (79, "the session was ended by agentguard"),
    (80, "there is no such decision"),
    (81, "the configuration is not valid, or a secret that it refers to is not there"),
    (82, "audit verify: the audit log was changed, or its end is gone"),
    (126, "run: the command could not be executed"),
    (127, "run: the command was not found"),
];

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub fn io<P: Into<PathBuf>>(
        action: &'static str,
        path: P,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::System`], for `map_err`.
    pub fn system<E: Into<std::io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }

    /// The process's exit code for this error, of [`EXIT_CODES`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } | Self::System { .. } | Self::Protocol(_) | Self::Metrics(_) => 1,
            Self::Policy(_) | Self::Match { .. } | Self::Limit { .. } => 64,
            Self::UnknownAgent { .. } => 65,
            Self::UnknownSession(_) => 66,
            Self::NotRoot { .. } => 67,
            Self::Refused(_) => 68,
            Self::NoDaemon { .. } => 69,
            Self::AlreadyRunning { .. } => 70,
            Self::NoBtf { .. } | Self::NoMember { .. } | Self::NoSymbol { .. } => 71,
            Self::NoLsm { .. } => 72,
            Self::Log { .. } | Self::Audit { .. } => 73,
            Self::NoObject | Self::Load { .. } => 74,
            Self::ForeignPins { .. } => 75,
            Self::Full { .. } => 76,
            Self::Busy(_) => 77,
            Self::Unhealthy => 78,
            Self::Killed { .. } => 79,
            Self::NoDecision(_) => 80,
            Self::Config(_) | Self::Secret(_) | Self::Redaction(_) => 81,
            Self::Otlp(_) | Self::Sink { .. } => 81,
            Self::Tampered { .. } => 82,
            Self::UnknownQuestion(_) => 83,
            Self::Usage(_) | Self::Bind(_) => 2,
            Self::Exec { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 127,
            Self::Exec { .. } => 126,
            Self::Remote { code, .. } => *code,
        }
    }
}
