//! agentguard's build tool: the one command a person needs to set up, build, test and
//! try the project. `cargo xtask --help` lists what it does.

mod cli;
mod compile;
mod fuzz;
mod lint;
mod plan;
mod process;
mod progress;
mod setup;
mod suite;
mod tasks;
mod toolchain;
mod vm;
mod wire;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Task};

fn main() -> ExitCode {
    let task = Cli::parse().task;
    // Scripts tell a lab that does not work from a command that failed.
    let trouble = if matches!(task, Task::Vm(_)) { vm::EXIT_NO_START } else { 1 };
    let code = tasks::run(task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        trouble
    });
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
