//! `audit`: whether the audit log is as it was written.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::sessions::printable;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::sink::audit::{PublicKey, Report, Sources, verify};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check the chain of hashes and the signatures; needs no daemon
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Files of one log, in any order [default: those of this host, with its key and its
    /// last checkpoint]
    files: Vec<PathBuf>,
    /// A public key that is trusted (audit.pub); may be given more than once
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The last checkpoint, as it was noted elsewhere: NUMBER:HASH, or a copy of audit.head
    #[arg(long, value_name = "CHECKPOINT")]
    head: Option<String>,
    /// The daemon's configuration file, which says where the log of this host is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn audit(command: &AuditCommand) -> Result<ExitCode> {
    let AuditCommand::Verify(arguments) = command;
    let mut report = verify(sources(arguments)?)?;
    if !report.findings.is_empty() {
        // A daemon may just have been in the middle of a line, or of putting a file aside.
        report = verify(sources(arguments)?)?;
    }
    tell(&report);
    match report.findings.len() {
        0 => Ok(ExitCode::SUCCESS),
        findings => Err(Error::Tampered { findings }),
    }
}

fn sources(arguments: &VerifyArguments) -> Result<Sources> {
    let mut sources = if arguments.files.is_empty() {
        let settings = Settings::load(arguments.config.as_deref())?;
        Sources::of_host(&settings.audit.path(&settings.log.path()), &settings.audit.key)?
    } else {
        Sources { files: arguments.files.clone(), ..Sources::default() }
    };
    let given: Vec<_> =
        arguments.key.iter().map(|path| PublicKey::load(path)).collect::<Result<_>>()?;
    if !given.is_empty() {
        sources.keys = given;
    }
    if let Some(head) = &arguments.head {
        sources.set_kept(head)?;
    }
    Ok(sources)
}

fn tell(report: &Report) {
    for note in &report.notes {
        println!("{}:{}: {}", note.file.display(), note.line, printable(&note.says));
    }
    for finding in &report.findings {
        println!("{}", printable(&finding.to_string()));
    }
    let last = report.last.as_ref().map_or(0, |last| last.seq);
    println!(
        "{} lines, entries {} to {last}, {} checkpoints hold",
        report.lines, report.first, report.checkpoints
    );
    if report.first > 1 {
        println!("entries before {} are in earlier files, which were not given", report.first);
    }
    if !report.trusted {
        println!(
            "no key was given: checked with the keys that the log names itself, which shows that it is whole, and not who wrote it"
        );
    }
    match (report.unsigned, report.stopped) {
        (0, true) => println!("the last entry is the checkpoint of a daemon that stopped"),
        (0, false) => println!(
            "the last entry is a checkpoint; whether entries were cut off behind it cannot be told"
        ),
        (some, _) => println!(
            "the last {some} entries are not signed yet; whether more were cut off behind them cannot be told"
        ),
    }
    if let Some(last) = &report.last {
        println!("to hold a later check against: --head {}:{}", last.seq, last.hash);
    }
}
