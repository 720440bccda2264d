//! What would be done to the host or to processes outside of the session, as events.

use agentguard_common::Verdict;
use agentguard_common::host::{About, Decision, Power, capability_name, trace, tune};
use agentguard_common::verdict::RULE_NONE;
use nix::sys::signal::Signal;

use super::enrich::{outcome, ruled};
use super::{Class, Event, Outcome};

/// The id of what the section `host` of a policy opens.
pub(super) const RULE_ID: &str = "host.allow";

/// What would be done to the host or to another process.
pub(super) fn decision(base: impl Fn(String, Outcome, Class) -> Event, of: &Decision) -> Event {
    let verdict = Verdict::from_u8(of.verdict).unwrap_or(Verdict::Deny);
    let event = Event {
        action: Power::from_u8(of.power).map_or("host", Power::as_str),
        message: message(of),
        ..base(resource(of), outcome(verdict, &of.header), Class::Decision)
    };
    let ruled = ruled(event, of.verdict, of.reason, RULE_NONE, None);
    Event { rule: verdict.passes().then(|| RULE_ID.to_owned()), ..ruled }
}

/// On what.
fn resource(of: &Decision) -> String {
    if of.pid != 0 {
        let end = of.comm.iter().position(|byte| *byte == 0).unwrap_or(of.comm.len());
        let name = String::from_utf8_lossy(of.comm.get(..end).unwrap_or_default());
        return format!("process:{}/{name}", of.pid);
    }
    let number = of.number;
    match About::from_u8(of.about) {
        Some(About::Command) => format!("bpf:{number}"),
        Some(About::Capability) => format!("capability:{}", capability_name(number)),
        Some(About::Log) => format!("syslog:{number}"),
        Some(About::Watch) => format!("fanotify:{number:#x}"),
        Some(About::Process) => format!("process:{}", tuned(number)),
        Some(About::Nothing) => "perf".to_owned(),
        Some(About::Signal | About::Trace) | None => format!("host:{number}"),
    }
}

/// What of it, in words, where the resource is a process.
fn message(of: &Decision) -> Option<String> {
    if of.pid == 0 {
        return None;
    }
    Some(match About::from_u8(of.about)? {
        About::Signal => signal(of.number),
        About::Trace if of.number & trace::ATTACH != 0 => "to take it over".to_owned(),
        About::Trace => "to look at it".to_owned(),
        About::Process => tuned(of.number).to_owned(),
        _ => return None,
    })
}

fn tuned(number: u32) -> &'static str {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    tune::WORDS.get(at).copied().unwrap_or("unknown")
}

fn signal(number: u32) -> String {
    let named = i32::try_from(number).ok().and_then(|number| Signal::try_from(number).ok());
    match (named, number) {
        (Some(signal), _) => signal.as_str().to_owned(),
        (None, 0) => "no signal: whether it is there".to_owned(),
        (None, number) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;

    fn of(about: About, number: u32, pid: u32) -> Decision {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"init");
        Decision { about: about as u8, number, pid, comm, ..Decision::zeroed() }
    }

    #[test]
    fn a_process_is_named_and_what_was_to_be_done_to_it() {
        let say = |of: &Decision| (resource(of), message(of).unwrap_or_default());
        let (resource, message) = say(&of(About::Signal, 9, 1));
        assert_eq!((resource.as_str(), message.as_str()), ("process:1/init", "SIGKILL"));
        assert_eq!(say(&of(About::Signal, 40, 1)).1, "signal 40");
        assert_eq!(say(&of(About::Trace, trace::ATTACH, 1)).1, "to take it over");
        assert_eq!(say(&of(About::Process, tune::LIMITS, 1)).1, "limits");
        assert_eq!(say(&of(About::Process, 99, 1)).1, "unknown");
    }

    #[test]
    fn the_host_is_named_by_what_was_asked_for() {
        for (about, number, said) in [
            (About::Command, 5, "bpf:5"),
            (About::Capability, 22, "capability:sys_boot"),
            (About::Log, 5, "syslog:5"),
            (About::Watch, 0x1_0000, "fanotify:0x10000"),
            (About::Process, tune::OWNER, "process:signals of a file"),
            (About::Nothing, 0, "perf"),
        ] {
            let of = of(about, number, 0);
            assert_eq!((resource(&of).as_str(), message(&of)), (said, None));
        }
    }
}
