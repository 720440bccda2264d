//! The benchmark: what a decision costs in the kernel, what starting a command as an
//! agent adds, and what the daemon uses to tell of it. `cargo xtask bench` builds and runs it; docs/performance.md says
//! what the figures mean and what they were.

#[path = "../../../../agentguard-ebpf/src/bench_request.rs"]
mod bench_request;
mod decisions;
mod flood;
mod idle;
mod machine;
mod names;
mod programs;
mod rules;
mod server;
mod start;
mod table;

use std::process::ExitCode;

use programs::Result;

const HELP: &str = "\
Measures agentguard on this host. Nothing is attached to the kernel.

Usage: cargo xtask bench [decisions | names | start | sinks] [--rounds N] [--runs N] [--trie]

  decisions   only what a decision costs
  names       only what questions, answers and packets cost
  start       only what starting a command adds
  sinks       only what handing events on costs, a flood of them, and an idle daemon
  --rounds N  take the best of N rounds of 1,000,000 decisions [default: 5]
  --runs N    take the median of N starts [default: 200]
  --seconds N how long the flood lasts [default: 60]
  --trie      do the same decisions with an LPM trie, for comparison

Exits with 1 where a goal was missed, with 2 where something could not be measured.";

/// The object with the programs, by the variable that `cargo xtask bench` sets.
const OBJECT: &str = "AGENTGUARD_BENCH_OBJECT";
const REPEAT: u32 = 1_000_000;

/// What is to be measured.
struct Parts {
    decisions: bool,
    names: bool,
    start: bool,
    sinks: bool,
}

impl Parts {
    const NONE: Self = Self { decisions: false, names: false, start: false, sinks: false };
}

impl Default for Parts {
    fn default() -> Self {
        Self { decisions: true, names: true, start: true, sinks: true }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("agentguard-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let mut words = std::env::args().skip(1);
    let mut parts = Parts::default();
    let mut trie = false;
    let (mut rounds, mut runs, mut seconds) = (5, 200, 60);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u32> {
            let number = words.next().ok_or_else(|| format!("{word} takes a number"))?.parse()?;
            if number == 0 { Err(format!("{word} takes at least 1").into()) } else { Ok(number) }
        };
        match word.as_str() {
            "decisions" => parts = Parts { decisions: true, ..Parts::NONE },
            "names" => parts = Parts { names: true, ..Parts::NONE },
            "start" => parts = Parts { start: true, ..Parts::NONE },
            "sinks" => parts = Parts { sinks: true, ..Parts::NONE },
            "--trie" => trie = true,
            "--rounds" => rounds = number()?,
            "--runs" => runs = number()?,
            "--seconds" => seconds = number()?,
            // How the benchmark starts its own daemon.
            "serve" => {
                let directory = words.next().ok_or("serve takes a directory")?;
                return server::serve(directory.as_ref()).map(|()| true);
            }
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(true);
            }
            _ => return Err(format!("unknown argument {word}\n\n{HELP}").into()),
        }
    }
    println!("{}; load {}", machine::describe(), machine::load());
    let mut met = true;
    if parts.decisions || parts.names {
        let object = std::env::var_os(OBJECT)
            .ok_or_else(|| format!("{OBJECT} is not set: run `cargo xtask bench`"))?;
        let pinned = machine::Pinned::to_last()?;
        println!("decisions: best of {rounds} × {REPEAT} on CPU {}", pinned.cpu);
        let plan = decisions::Plan { object: object.as_ref(), rounds, repeat: REPEAT, trie };
        if parts.decisions {
            met &= decisions::run(&plan)?;
        }
        if parts.names {
            met &= names::run(&plan)?;
        }
    }
    if parts.start {
        println!("\nstarts: {runs} of each, in turn");
        met &= start::run(usize::try_from(runs)?)?;
    }
    if parts.sinks {
        met &= flood::cost()?;
        met &= flood::flood(seconds)?;
        met &= idle::run()?;
    }
    Ok(met)
}
