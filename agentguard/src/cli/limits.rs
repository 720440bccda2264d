//! `limit`, and what `ps --detail` adds to a session: its limits, what it uses, and how much
//! it waits for it.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::sessions::unexpected;
use crate::api::{Client, Request, Response, Row};
use crate::error::Result;
use crate::policy::size_text;
use crate::session::Usage;

#[derive(Debug, Args)]
pub(super) struct LimitArguments {
    /// The session's id, or a beginning of it that fits only one
    session: String,
    /// Limits: memory=2GiB, cpu=50%, pids=100, io=20MiB/s, io.read=…, io.write=…, runtime=2h,
    /// open_files=1024; none takes one off
    #[arg(required = true, value_name = "LIMIT=AMOUNT", value_parser = change)]
    limits: Vec<(String, String)>,
}

pub(super) fn limit(arguments: LimitArguments, socket: &Path) -> Result<ExitCode> {
    let LimitArguments { session, limits } = arguments;
    match Client::connect(socket)?.ask(&Request::Limit { session, limits }, None)?.0 {
        Response::Limited { session, limits } => {
            println!("session {session}: {limits}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other)),
    }
}

fn change(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, amount)) if !key.is_empty() && !amount.is_empty() => {
            Ok((key.to_owned(), amount.to_owned()))
        }
        _ => Err("write LIMIT=AMOUNT, such as memory=2GiB".into()),
    }
}

/// The lines that `ps --detail` prints below a session.
pub(super) fn detail(row: &Row) -> Vec<String> {
    let limits = &row.session.limits;
    let mut lines = Vec::new();
    if let Some(why) = &row.session.paused {
        lines.push(format!("held: {why}"));
    }
    if let Some(why) = &row.session.tainted {
        lines.push(format!("tainted: {why}"));
    }
    if let Some(why) = &row.session.throttled {
        lines.push(format!("slowed down: {why}"));
    }
    if !limits.is_empty() {
        lines.push(format!("limits: {limits}"));
    }
    if let Some(usage) = &row.usage {
        lines.push(format!("uses:   {}", used(usage)));
        lines.push(format!("waits:  {}", waits(usage)));
    }
    lines
}

fn used(usage: &Usage) -> String {
    let told = |bytes: u64| rounded(bytes);
    let seconds = |microseconds: u64| {
        format!("{}.{}s", microseconds / 1_000_000, microseconds / 100_000 % 10)
    };
    let parts = [
        usage.memory.map(|bytes| format!("memory {}", told(bytes))),
        usage.memory_peak.map(|bytes| format!("(at most {})", told(bytes))),
        usage.cpu.map(|time| format!("cpu {}", seconds(time))),
        usage.pids.map(|count| format!("pids {count}")),
        usage.io_read.map(|bytes| format!("read {}", told(bytes))),
        usage.io_written.map(|bytes| format!("written {}", told(bytes))),
        (usage.hits.memory > 0).then(|| format!("killed for memory {}", usage.hits.memory)),
        (usage.hits.pids > 0).then(|| format!("refused for pids {}", usage.hits.pids)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// The share of the last ten seconds in which some task had to wait.
fn waits(usage: &Usage) -> String {
    let parts =
        [("cpu", usage.cpu_pressure), ("memory", usage.memory_pressure), ("io", usage.io_pressure)];
    let known = parts.iter().filter_map(|(name, share)| Some(format!("{name} {:.1}%", (*share)?)));
    let known: Vec<String> = known.collect();
    if known.is_empty() { "the kernel does not tell (PSI is off)".into() } else { known.join("  ") }
}

/// A number of bytes for people: whole units.
pub(super) fn rounded(bytes: u64) -> String {
    let unit = [1 << 40, 1 << 30, 1 << 20, 1 << 10].into_iter().find(|unit| bytes >= 10 * unit);
    size_text(unit.map_or(bytes, |unit| bytes / unit * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_to_what_people_read() {
        assert_eq!(rounded(5), "5B");
        assert_eq!(rounded(12 * 1024 * 1024 + 7), "12MiB");
        assert_eq!(rounded(3 * (1 << 30) + (5 << 20) + 1), "3077MiB");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let usage = Usage { pids: Some(3), io_pressure: Some(1.25), ..Usage::default() };
        assert_eq!(used(&usage), "pids 3");
        assert_eq!(waits(&usage), "io 1.2%");
        assert!(waits(&Usage::default()).contains("PSI"));
    }

    #[test]
    fn a_change_has_a_name_and_an_amount() {
        assert_eq!(change("memory=1GiB"), Ok(("memory".into(), "1GiB".into())));
        assert!(change("memory").is_err() && change("=1").is_err() && change("a=").is_err());
    }
}
