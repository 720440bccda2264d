//! What is run, and as whom: other users' rights, other processes' memory, mining, and
//! programs without a file.

use std::collections::BTreeMap;

use super::scale::together;
use super::seen::base_name;
use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// Programs that give another user's rights.
const RIGHTS: [&str; 9] =
    ["sudo", "su", "doas", "pkexec", "runuser", "setpriv", "sudoedit", "capsh", "run0"];
/// Programs that mine.
const MINERS: [&str; 14] = [
    "xmrig",
    "minerd",
    "cpuminer",
    "ethminer",
    "cgminer",
    "bfgminer",
    "nbminer",
    "t-rex",
    "lolminer",
    "phoenixminer",
    "nheqminer",
    "xmr-stak",
    "claymore",
    "kinsing",
];
/// What stands in the arguments of those that have another name.
const MINING_WORDS: [&str; 6] =
    ["stratum+tcp", "stratum+ssl", "--donate-level", "randomx", "--coin=", "cryptonight"];
/// What stands in the names of those who collect.
const POOLS: [&str; 9] = [
    "xmrpool",
    "minexmr",
    "nanopool",
    "supportxmr",
    "nicehash",
    "moneroocean",
    "2miners",
    "ethermine",
    "hashvault",
];
/// The ports that they listen on, and few others.
const POOL_PORTS: [u16; 7] = [3333, 4444, 5555, 7777, 14_433, 14_444, 45_700];

/// Another user's rights: a program that gives them, or another user than before.
#[derive(Default)]
pub(super) struct Privilege {
    user: Option<(u32, String)>,
}

impl Detector for Privilege {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        if let Some(program) = event.executes()
            && RIGHTS.contains(&program)
        {
            found.push(Found {
                finding: Finding::Privilege,
                new: false,
                confidence: Confidence::of(75),
                evidence: vec![event.id.to_owned()],
                reason: format!("{program} was run, which gives another user's rights"),
            });
        }
        let Some(uid) = event.uid else { return };
        let Some((first, shown)) = &self.user else {
            self.user = Some((uid, event.id.to_owned()));
            return;
        };
        // Root may give its rights up; who has none may not get any.
        if *first != 0 && uid != *first {
            let sure = if uid == 0 { 95 } else { 80 };
            found.push(Found {
                finding: Finding::Privilege,
                new: false,
                confidence: Confidence::of(sure),
                evidence: vec![shown.clone(), event.id.to_owned()],
                reason: format!("the session began as user {first}, and now acts as user {uid}"),
            });
        }
    }
}

/// Other processes' memory.
pub(super) struct Tracing;

impl Detector for Tracing {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let of_process = |path: &str| path.starts_with("/proc/") && path.ends_with("/mem");
        let attaches = |program: &str| {
            matches!(program, "gdb" | "strace" | "ltrace" | "lldb" | "gcore" | "perf")
                && event.args.iter().any(|arg| arg.starts_with("-p") || arg == "--attach")
        };
        let (sure, what) = if event.denied() && event.action == "trace" {
            // Whoever lists processes looks at them; who attaches wants more.
            let takes_over = event.message.is_some_and(|message| message.contains("take it over"));
            (if takes_over { 80 } else { 30 }, "another process was to be traced or looked into")
        } else if event.action.starts_with("file.") && of_process(event.resource) {
            (80, "another process's memory was to be read or written")
        } else if event.executes().is_some_and(attaches) {
            (55, "a program was run that traces processes")
        } else {
            return;
        };
        found.push(Found {
            finding: Finding::Tracing,
            new: false,
            confidence: Confidence::of(sure),
            evidence: vec![event.id.to_owned()],
            reason: format!("{what}: {}", event.resource),
        });
    }
}

/// Coins are mined: by the program, its arguments, where it connects to, and what it asks for.
#[derive(Default)]
pub(super) struct Mining {
    signs: BTreeMap<&'static str, (u8, String)>,
}

impl Detector for Mining {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let Some((sign, sure)) = mining_sign(event) else { return };
        self.signs.insert(sign, (sure, event.id.to_owned()));
        found.push(Found {
            finding: Finding::Mining,
            new: false,
            confidence: together(self.signs.values().map(|(sure, _)| *sure)),
            evidence: self.signs.values().map(|(_, id)| id.clone()).collect(),
            reason: format!(
                "signs of mining: {}",
                self.signs.keys().copied().collect::<Vec<_>>().join(", ")
            ),
        });
    }
}

fn mining_sign(event: &Seen<'_>) -> Option<(&'static str, u8)> {
    if let Some(program) = event.executes() {
        let program = program.to_ascii_lowercase();
        if MINERS.iter().any(|miner| program == *miner) {
            return Some(("a miner's program", 85));
        }
        let words = |arg: &String| MINING_WORDS.iter().any(|word| arg.contains(word));
        return event.args.iter().any(words).then_some(("a miner's arguments", 85));
    }
    if event.name.is_some_and(|name| POOLS.iter().any(|pool| name.contains(pool))) {
        return Some(("the name of a pool", 70));
    }
    let (_, port) = event.destination?;
    let out = event.reaches_out() && POOL_PORTS.contains(&port);
    out.then_some(("a port of pools", 35))
}

/// A program without a file: in memory, or deleted.
pub(super) struct MemoryExec;

impl Detector for MemoryExec {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let without = |path: &str| path.starts_with("/memfd:") || path.ends_with(" (deleted)");
        let refused = event.denied() && event.reason == Some("memory");
        let sure = match event.action {
            "exec" if refused || without(event.resource) => 85,
            // Libraries for just-in-time code do that, too.
            "file.map" if refused => 50,
            _ => return,
        };
        let name = base_name(event.resource);
        found.push(Found {
            finding: Finding::MemoryExec,
            new: false,
            confidence: Confidence::of(sure),
            evidence: vec![event.id.to_owned()],
            reason: format!("{name} was to be executed, which is no file"),
        });
    }
}
