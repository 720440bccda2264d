//! What a person can type after `cargo xtask`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::vm::VmOptions;

/// agentguard's build tool. New here? `cargo xtask demo` shows what agentguard does;
/// `cargo xtask test` runs every test. Both install what they need first.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// A task.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Find what the project needs on this machine, and install what is missing
    Setup {
        /// Only look; fail if something is missing
        #[arg(long)]
        check: bool,
    },
    /// Build the kernel programs and the daemon that carries them
    Build {
        /// Build the daemon without optimisation
        #[arg(long)]
        debug: bool,
        /// Build the daemon with optimisation (the default)
        #[arg(long, conflicts_with = "debug")]
        release: bool,
    },
    /// Load every kernel program, show what the verifier says, unload
    Load {
        /// On each kernel of the matrix, in the VM
        #[arg(long)]
        matrix: bool,
        /// On this kernel in the VM, not on this host: 6.1, 6.12, newest, all or a path
        #[arg(long, value_name = "K", conflicts_with = "matrix")]
        kernel: Option<String>,
    },
    /// Build, and run `agentguard ARGS` on this host
    Run {
        /// What agentguard gets
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check the format, the code (clippy) and the dependencies (cargo-deny)
    Lint {
        /// Get cargo-deny if it is not installed; it takes some minutes to compile
        #[arg(long)]
        install: bool,
    },
    /// Run the tests: unit tests here, end-to-end tests in the VM
    Test(TestArgs),
    /// Look for bytes that a parser reads wrongly, with libFuzzer
    ///
    /// Builds the targets in tests/fuzz with the compiler at hand, stable or not, and lets
    /// each try what it can think of for some seconds. What a target found is kept in the
    /// build's folder fuzz/found; what belongs to it for ever is a file in tests/fuzz/seeds.
    Fuzz {
        /// Seconds for each target
        #[arg(long, value_name = "N", default_value_t = 10)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Only this target, a file in tests/fuzz/src/bin without its ending
        target: Option<String>,
    },
    /// Watch agentguard refuse an agent a connection, in the VM
    Demo {
        /// The kernel to show it on: 6.1, 6.12, newest, all or a path
        #[arg(long, value_name = "K", default_value = "6.12")]
        kernel: String,
    },
    /// Run a command in a throw-away VM over this host's files
    ///
    /// The VM sees this host's files read-only; writes below /etc, /root, /home, /var,
    /// /srv, /opt, /tmp and /run go to its memory and vanish with it. The built agentguard
    /// is on PATH, and AGENTGUARD_VM is set.
    ///
    /// Exits with CMD's code (128 + N if signal N ended it), or with the worst code of
    /// several kernels. Codes of the lab's own: 123 the kernel panicked, oopsed or
    /// stalled; 124 CMD took too long; 125 the VM could not start.
    Vm(VmArgs),
    /// Measure what a decision costs, on this host
    Bench {
        /// What the benchmark gets
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Serve files to a VM (the lab starts this itself)
    #[command(hide = true)]
    ServeFs {
        /// The listening socket, inherited
        #[arg(long)]
        fd: i32,
        /// The folder; the read-only root when not given
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// What can be chosen about a test run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Only unit and property tests
    #[arg(long)]
    pub(crate) unit: bool,
    /// Only end-to-end tests
    #[arg(long)]
    pub(crate) e2e: bool,
    /// Kernels for the end-to-end tests: 6.1, 6.12, newest, all or a path. Tests of what is the
    /// daemon's own doing (`anywhere::`) run on one of them each
    #[arg(long, value_name = "K", default_value = "6.12")]
    pub(crate) kernel: String,
    /// Only tests whose name contains this
    pub(crate) filter: Option<String>,
}

/// What can be chosen about a VM and its command.
#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    /// 6.1, 6.12, newest, all (one after another), a vmlinuz, or a folder with one
    #[arg(long, value_name = "K", default_value = "6.12")]
    pub(crate) kernel: String,
    /// Seconds that CMD may take [default: 300; no limit with --shell]
    #[arg(long, value_name = "S")]
    pub(crate) timeout: Option<u64>,
    /// Give CMD this terminal; CMD is bash when none is given
    #[arg(long)]
    pub(crate) shell: bool,
    /// Look for a newer version of the kernel
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Do not build agentguard first
    #[arg(long)]
    pub(crate) no_build: bool,
    #[command(flatten)]
    pub(crate) options: VmOptions,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", required_unless_present = "shell")]
    pub(crate) command: Vec<String>,
}
