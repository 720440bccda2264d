//! `doctor`, for people and for programs.

use std::process::ExitCode;

use clap::Args;

use crate::doctor::{Names, Trial, TrialOutcome, names, trials};
use crate::error::{Error, Result};
use crate::kernel::{self, Pins, Tables, Temporary};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn doctor(arguments: &DoctorArguments) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot { what: "agentguard doctor" });
    }
    let pins = Pins::default();
    let (tried, tables) = if pins.exist() {
        let tables = pins.tables()?;
        (trials(&tables)?, Some(tables))
    } else {
        let temporary = Temporary::load()?;
        (trials(temporary.tables())?, None)
    };
    let names = names();
    if arguments.json {
        print_json(&tried, &names);
    } else {
        print_text(&tried, &names, tables.as_ref())?;
    }
    match tried.iter().any(|trial| matches!(trial.outcome, TrialOutcome::Open(_))) {
        true => Err(Error::Unhealthy),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn print_json(tried: &[Trial], names: &Names) {
    let text = serde_json::json!({
        "kernel": release(),
        "lsm": kernel::lsm_list().ok(),
        "trials": tried,
        "names": names,
    });
    println!("{text:#}");
}

fn print_text(tried: &[Trial], names: &Names, tables: Option<&Tables>) -> Result<()> {
    println!(
        "kernel {}, security modules {}",
        release(),
        kernel::lsm_list().unwrap_or_else(|error| error.to_string())
    );
    match tables {
        Some(_) => println!("agentguard's programs are pinned and in force\n"),
        None => println!("agentguard's programs are not in force; loaded for this trial only\n"),
    }
    for trial in tried {
        let (mark, note) = match &trial.outcome {
            TrialOutcome::Enforced => ("enforced", String::new()),
            TrialOutcome::Open(what) => ("OPEN", format!(": {what}")),
            TrialOutcome::Absent(why) => ("absent", format!(": {why}")),
        };
        println!("{mark:<9} {:<40} {}{note}", trial.what, trial.mechanism);
    }
    print_names(names);
    let Some(tables) = tables else { return Ok(()) };
    println!("\n{:<16} {:>12} {:>12} {:>12} {:>12}", "RECORDS", "seen", "sent", "lost", "error");
    for counters in tables.counters()?.chunks(4) {
        let kind = counters.first().map_or("", |counter| counter.kind.as_str());
        let numbers: Vec<String> =
            counters.iter().map(|counter| format!("{:>12}", counter.number)).collect();
        println!("{kind:<16} {}", numbers.join(" "));
    }
    Ok(())
}

/// How names are looked up on this host, and what sessions cannot use of that.
fn print_names(names: &Names) {
    println!("\nNAMES");
    for resolver in &names.resolvers {
        let answer = match (resolver.answered, &resolver.failed) {
            (Some(time), _) => format!("answered a trial question in {time} ms"),
            (None, Some(why)) => format!("did not answer a trial question: {why}"),
            (None, None) => "was not tried".into(),
        };
        println!("resolver  {:<40} {answer}", resolver.address);
    }
    for note in &names.notes {
        println!("{:<9} {}", if note.works { "note" } else { "CHANGE" }, note.what);
        if let Some(mend) = &note.mend {
            println!("          = {mend}");
        }
    }
}

fn release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |error| error.to_string(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}
