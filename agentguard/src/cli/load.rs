//! `load` and `unload`.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::api::Client;
use crate::error::{Error, Result};
use crate::kernel::{self, Pins, Tables};
use crate::session::pidfd_open;

#[derive(Debug, Args)]
pub(super) struct UnloadArguments {
    /// Also while sessions run; they are not guarded any more then
    #[arg(long)]
    force: bool,
}

pub(super) fn unload(arguments: &UnloadArguments, socket: &Path) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot { what: "agentguard unload" });
    }
    if Client::connect(socket).is_ok() {
        return Err(Error::Refused("the daemon is running: stop it first".into()));
    }
    let pins = Pins::default();
    if pins.exist() {
        refuse_guarded(&pins.tables()?)?;
    }
    if pins.exist() && !arguments.force {
        let running = crate::session::tasks(&pins.tables()?)?.len();
        if running > 0 {
            return Err(Error::Busy(running));
        }
    }
    let unloaded = kernel::unload(&pins)?;
    crate::session::Cgroups::new()?.remove_all();
    match unloaded {
        true => println!("agentguard's programs and tables are off this kernel"),
        false => println!("there was nothing to unload"),
    }
    Ok(ExitCode::SUCCESS)
}

/// A guarded process may not take the guard off.
fn refuse_guarded(tables: &Tables) -> Result<()> {
    let me = i32::try_from(std::process::id()).ok().and_then(pidfd_open);
    match me.map(|me| tables.label(me.as_fd())).transpose()?.flatten() {
        Some(_) => Err(Error::Refused("a guarded process may not do this".into())),
        None => Ok(()),
    }
}

#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// Print what the verifier said of programs that were not loaded
    #[arg(long)]
    verifier_log: bool,
    /// Only these programs, by name
    programs: Vec<String>,
}

pub(super) fn load(arguments: &LoadArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot { what: "agentguard load" });
    }
    let only = &arguments.programs;
    let programs =
        kernel::measure(&|name| only.is_empty() || only.iter().any(|wanted| wanted == name))?;
    println!(
        "{:<22} {:<10} {:>12} {:>9} {:>12}  OUTCOME",
        "PROGRAM", "TYPE", "INSTRUCTIONS", "VERIFIED", "TIME"
    );
    let mut failed = None;
    for program in &programs {
        let number = |number: Option<u32>| {
            number.map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        println!(
            "{:<22} {:<10} {:>12} {:>9} {:>9.1} ms  {}",
            program.name,
            program.kind,
            number(program.instructions),
            number(program.verified),
            program.time.as_secs_f64() * 1000.0,
            match &program.outcome {
                Some(Ok(())) => "loaded".into(),
                Some(Err(why)) => format!("not loaded: {}", first_line(why)),
                None => "not needed: this kernel has no such hook".into(),
            },
        );
        if let Some(Err(why)) = &program.outcome {
            failed.get_or_insert(Error::Load {
                program: program.name.clone(),
                why: first_line(why).into(),
            });
        }
    }
    for program in programs.iter().filter(|_| arguments.verifier_log) {
        if let Some(Err(why)) = &program.outcome {
            println!("\n{}:\n{why}", program.name);
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// A table has no room for the verifier's whole log.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}
