//! What a decision costs, by `BPF_PROG_TEST_RUN`: each figure beside one of an empty
//! program of the same type, the two taken in turn, and the best of several rounds of
//! each. A program that does not decide as expected is not measured but an error.

use std::net::SocketAddr;
use std::path::Path;

use agentguard_common::event::Kind;
use agentguard_common::net::{Address, Destination, Protocols};

use crate::programs::{PACKET, Programs, Result};
use crate::rules::{self, Dice, Ready};
use crate::table::{self, Row};

/// Nanoseconds that may be added to what an unguarded task does.
const GOAL_UNGUARDED: f64 = 20.0;
/// Nanoseconds that a decision may take.
const GOAL_DECISION: f64 = 120.0;
/// How many times longer it may take with 100,000 rules than with one.
const GOAL_GROWTH: f64 = 1.5;
/// Destinations asked for in turn, for caches that do not know the answer yet.
const MANY: usize = 65_536;

/// A connection that is asked for, and the rule, where there is one, that is for it.
struct Case {
    what: &'static str,
    to: &'static str,
    rule: Option<&'static str>,
    allowed: bool,
}

/// The rule of a policy with one rule where none is to fit.
const OTHER: &str = "allow: 44.55.66.1";
/// The destinations lie where the made rules do.
const CASES: &[Case] = &[
    Case {
        what: "allow, an IPv4 host",
        to: "44.55.66.77:443",
        rule: Some("allow: 44.55.66.77"),
        allowed: true,
    },
    Case {
        what: "allow, in an IPv4 /16",
        to: "63.78.88.99:443",
        rule: Some("allow: 63.78.0.0/16"),
        allowed: true,
    },
    Case {
        what: "allow, an IPv6 host",
        to: "[2607:f8b0:4567::1]:443",
        rule: Some("allow: \"2607:f8b0:4567::1\""),
        allowed: true,
    },
    Case {
        what: "allow, in an IPv6 /36",
        to: "[2c0f:4567:89ab::9]:443",
        rule: Some("allow: \"2c0f:4567:8000::/36\""),
        allowed: true,
    },
    Case {
        what: "deny by rule, an IPv4 host",
        to: "44.55.66.78:443",
        rule: Some("deny: 44.55.66.78"),
        allowed: false,
    },
    Case {
        what: "deny, no rule for it, IPv4",
        to: "100.101.102.103:443",
        rule: None,
        allowed: false,
    },
    Case {
        what: "deny, no rule for it, IPv6",
        to: "[2d05:6789:abcd::1]:443",
        rule: None,
        allowed: false,
    },
];

/// How a measurement is made.
pub(crate) struct Plan<'a> {
    /// The object with the programs.
    pub(crate) object: &'a Path,
    /// How many rounds the best is taken of.
    pub(crate) rounds: u32,
    /// How often a program runs in each.
    pub(crate) repeat: u32,
    /// Whether to do the same with an LPM trie, for comparison.
    pub(crate) trie: bool,
}

/// Rules in the kernel: so many in all, over so many policies.
#[derive(Clone, Copy)]
struct Size {
    rules: usize,
    policies: usize,
    what: &'static str,
}

const SIZES: &[Size] = &[
    Size { rules: 1, policies: 1, what: "1 rule" },
    Size { rules: 1000, policies: 1, what: "1,000 rules" },
    Size { rules: 100_000, policies: 1, what: "100,000 rules" },
    Size { rules: 100_000, policies: 1000, what: "100,000 rules, 1,000 policies" },
];

/// Measures everything and prints it; true when every goal was met.
pub(crate) fn run(plan: &Plan<'_>) -> Result<bool> {
    for (name, why) in &Programs::load(plan.object)?.refused {
        println!("this kernel does not take the program {name}: {why}");
    }
    let mut met = true;
    let mut first: Vec<Row> = Vec::new();
    for size in SIZES {
        let rows = sized(plan, *size)?;
        met &= table::print(size.what, "ns", "above empty", &rows);
        if first.is_empty() {
            met &= outline(plan)?;
            first = rows;
        } else if size.rules == 100_000 {
            let title = format!("{}, times 1 rule", size.what);
            let growth: Vec<Row> = first
                .iter()
                .take(CASES.len())
                .zip(&rows)
                .map(|(one, many)| growth(one, many))
                .collect();
            met &= table::print(&title, "whole", "above empty", &growth);
        }
    }
    Ok(met)
}

fn growth(one: &Row, many: &Row) -> Row {
    let above = many.above / one.above.max(1.0);
    Row { what: one.what.clone(), took: many.took / one.took, above, goal: Some(GOAL_GROWTH) }
}

/// The parts of a decision, one after another, with one rule; and the records.
fn outline(plan: &Plan<'_>) -> Result<bool> {
    let mut programs = Programs::load(plan.object)?;
    let mut rows = Vec::new();
    let empty = plan.beside(&programs, "empty", 1)?;
    rows.push(Row { what: "an empty program".into(), took: empty.took, above: 0.0, goal: None });
    programs.ask(&["44.55.66.77:443".parse()?])?;
    let (label, decide) = plan.names(&programs);
    rows.push(plan.beside(&programs, decide, 1)?.called("unguarded task", Some(GOAL_UNGUARDED)));
    let policy = rules::compiled(&rules::text(1, &["allow: 44.55.66.77"], 0))?;
    programs.fill(&[policy])?;
    programs.guard(0)?;
    for (program, what) in [
        (label, "guarded, as far as the label"),
        ("address", "and the address"),
        ("policy", "and the session and its policy"),
        (decide, "and the ruling, by 1 rule"),
    ] {
        if programs.has(program) {
            rows.push(plan.beside(&programs, program, 1)?.called(what, None));
        }
    }
    if programs.has("record") {
        for (to, what, passes) in [
            ("44.55.66.77:443", "an allow with its record", 1),
            ("44.55.66.78:443", "a deny with its record", 0),
        ] {
            programs.ask(&[to.parse()?])?;
            rows.push(plan.recording(&mut programs, passes)?.called(what, None));
        }
    }
    programs.unguard()?;
    Ok(table::print("the parts of a decision", "ns", "above empty", &rows))
}

/// Every case with so many rules.
fn sized(plan: &Plan<'_>, size: Size) -> Result<Vec<Row>> {
    let (mut rows, mut tries) = (Vec::new(), Vec::new());
    if size.rules == 1 {
        for case in CASES {
            let text = rules::text(1, &[case.rule.unwrap_or(OTHER)], 0);
            let policies = [rules::compiled(&text)?];
            let programs = Programs::load(plan.object)?;
            programs.fill(&policies)?;
            rows.push(plan.case(&programs, case, &policies, 0)?);
            if plan.trie {
                programs.fill_trie(&policies)?;
                tries.push(plan.trie(&programs, case, 0)?);
            }
        }
        rows.extend(tries);
        return Ok(rows);
    }
    let own: Vec<&str> = CASES.iter().filter_map(|case| case.rule).collect();
    let policies = (0..size.policies)
        .map(|number| {
            let text = rules::text(size.rules / size.policies, &own, u64::try_from(number)?);
            rules::compiled(&text)
        })
        .collect::<Result<Vec<_>>>()?;
    let slot = policies.len() / 2;
    let programs = Programs::load(plan.object)?;
    programs.fill(&policies)?;
    for case in CASES {
        rows.push(plan.case(&programs, case, &policies, slot)?);
    }
    if size.policies == 1 && programs.has("decide_each") {
        let mut dice = Dice(1);
        let many: Vec<SocketAddr> = (0..MANY).map(|_| (dice.anywhere(), 443).into()).collect();
        programs.ask(&many)?;
        programs.guard(u32::try_from(slot)?)?;
        rows.push(
            plan.beside_any(&programs, "decide_each")?.called("65,536 addresses in turn", None),
        );
        programs.unguard()?;
    }
    if plan.trie {
        programs.fill_trie(&policies)?;
        for case in CASES {
            tries.push(plan.trie(&programs, case, slot)?);
        }
    }
    rows.extend(tries);
    Ok(rows)
}

impl Row {
    fn called(mut self, what: &str, goal: Option<f64>) -> Self {
        (self.what, self.goal) = (what.to_owned(), goal);
        self
    }
}

impl Plan<'_> {
    /// The programs that find the label, and decide: by task storage, as hooks do, or
    /// with the cgroup as a stand-in where cgroup_skb programs may not use that.
    fn names(&self, programs: &Programs) -> (&'static str, &'static str) {
        match programs.has("decide") {
            true => ("label", "decide"),
            false => ("label_by_cgroup", "decide_by_cgroup"),
        }
    }

    fn case(
        &self,
        programs: &Programs,
        case: &Case,
        policies: &[Ready],
        slot: usize,
    ) -> Result<Row> {
        let to: SocketAddr = case.to.parse()?;
        let told = &policies.get(slot).ok_or("no such policy")?.compiled;
        let told = told.decide(destination(&to), Protocols::TCP);
        if told.verdict.passes() != case.allowed {
            return Err(format!("{}: decided otherwise in user space", case.what).into());
        }
        programs.ask(&[to])?;
        programs.guard(u32::try_from(slot)?)?;
        let (_, decide) = self.names(programs);
        let row = self.beside(programs, decide, u32::from(case.allowed))?;
        programs.unguard()?;
        Ok(row.called(case.what, Some(GOAL_DECISION)))
    }

    fn trie(&self, programs: &Programs, case: &Case, slot: usize) -> Result<Row> {
        programs.ask(&[case.to.parse()?])?;
        programs.guard(u32::try_from(slot)?)?;
        let row = self.beside(programs, "decide_by_trie", u32::from(case.allowed))?;
        programs.unguard()?;
        Ok(row.called(&format!("by an LPM trie: {}", case.what), None))
    }

    /// A program that must return `expected`, beside the empty one.
    fn beside(&self, programs: &Programs, program: &str, expected: u32) -> Result<Row> {
        let (returned, _) = programs.run(program, 1)?;
        if returned != expected {
            return Err(format!("{program} returned {returned} and not {expected}").into());
        }
        self.beside_any(programs, program)
    }

    fn beside_any(&self, programs: &Programs, program: &str) -> Result<Row> {
        let (mut empty, mut took) = (f64::MAX, f64::MAX);
        for _ in 0..self.rounds {
            empty = empty.min(nanoseconds(programs, "empty", self.repeat)?);
            took = took.min(nanoseconds(programs, program, self.repeat)?);
        }
        Ok(Row { what: String::new(), took, above: took - empty, goal: None })
    }

    fn recording(&self, programs: &mut Programs, expected: u32) -> Result<Row> {
        let (mut empty, mut took) = (f64::MAX, f64::MAX);
        for _ in 0..self.rounds {
            empty = empty.min(nanoseconds(programs, "empty", self.repeat)?);
            let (returned, time) =
                programs.run_recording("record", Kind::Connect, &PACKET, self.repeat)?;
            if returned != expected {
                return Err(format!("record returned {returned} and not {expected}").into());
            }
            took = took.min(time);
        }
        Ok(Row { what: String::new(), took, above: took - empty, goal: None })
    }
}

impl Plan<'_> {
    /// A program that lets a packet pass, beside the empty one.
    pub(crate) fn packets(
        &self,
        programs: &Programs,
        program: &str,
        packet: &[u8],
        what: &str,
        goal: f64,
    ) -> Result<Row> {
        passes(program, programs.run_on(program, packet, 1)?.0)?;
        let (mut empty, mut took) = (f64::MAX, f64::MAX);
        for _ in 0..self.rounds {
            let time = |name| programs.run_on(name, packet, self.repeat);
            empty = empty.min(time("empty")?.1.as_secs_f64() * 1e9);
            took = took.min(time(program)?.1.as_secs_f64() * 1e9);
        }
        Ok(Row { what: what.into(), took, above: took - empty, goal: Some(goal) })
    }

    /// The same of one that makes records.
    pub(crate) fn recorded(
        &self,
        programs: &mut Programs,
        program: &str,
        kind: Kind,
        packet: &[u8],
    ) -> Result<Row> {
        let (mut empty, mut took) = (f64::MAX, f64::MAX);
        for _ in 0..self.rounds {
            let time = programs.run_on("empty", packet, self.repeat)?.1;
            empty = empty.min(time.as_secs_f64() * 1e9);
            let (returned, time) = programs.run_recording(program, kind, packet, self.repeat)?;
            passes(program, returned)?;
            took = took.min(time);
        }
        Ok(Row { what: String::new(), took, above: took - empty, goal: None })
    }
}

fn passes(program: &str, returned: u32) -> Result<()> {
    match returned {
        1 => Ok(()),
        other => Err(format!("{program} returned {other} and not 1").into()),
    }
}

fn nanoseconds(programs: &Programs, program: &str, repeat: u32) -> Result<f64> {
    Ok(programs.run(program, repeat)?.1.as_secs_f64() * 1e9)
}

fn destination(to: &SocketAddr) -> Destination {
    let address = match to {
        SocketAddr::V4(to) => Address::v4(u32::from(*to.ip())),
        SocketAddr::V6(to) => Address::from_octets(to.ip().octets()),
    };
    Destination { address, port: to.port() }
}
