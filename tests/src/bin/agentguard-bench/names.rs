//! What names cost: a data packet of a session, a question, an answer; with few names in
//! the policy and with many. The programs get real packets.

use std::net::{IpAddr, Ipv4Addr};

use agentguard_common::event::Kind;
use agentguard_common::name;
use agentguard_common::net::Address;
use agentguard_common::resolve::{Asked, Reference};
use agentguard_common::session::SocketLabel;
use bytemuck::Zeroable as _;

use crate::decisions::Plan;
use crate::programs::{Programs, Result};
use crate::rules;
use crate::table::{self, Row};

/// Nanoseconds above an empty program.
const GOAL_PACKET: f64 = 40.0;
const GOAL_QUESTION: f64 = 130.0;
const GOAL_ANSWER: f64 = 1000.0;
/// How many times longer it may take with 100,000 rules than with ten.
const GOAL_GROWTH: f64 = 1.5;

const ASKED: &str = "api.github.example";
const RESOLVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The port that questions are asked from.
const FROM: u16 = 40_000;

/// Measures everything and prints it; true when every goal was met.
pub(crate) fn run(plan: &Plan<'_>) -> Result<bool> {
    let mut met = true;
    let mut first: Vec<Row> = Vec::new();
    for (count, what) in [(10, "10 names"), (100_000, "100,000 names")] {
        let rows = sized(plan, count)?;
        met &= table::print(what, "ns", "above empty", &rows);
        if first.is_empty() {
            first = rows;
            continue;
        }
        let growth: Vec<Row> = first
            .iter()
            .zip(&rows)
            .map(|(few, many)| Row {
                what: few.what.clone(),
                took: many.took / few.took,
                above: many.above / few.above.max(1.0),
                goal: Some(GOAL_GROWTH),
            })
            .collect();
        met &= table::print("100,000 names, times 10", "whole", "above empty", &growth);
    }
    Ok(met)
}

fn sized(plan: &Plan<'_>, count: usize) -> Result<Vec<Row>> {
    let mut programs = Programs::load(plan.object)?;
    let compiled = rules::compiled(&policy(count))?;
    programs.fill_names(&compiled)?;
    programs.guard(0)?;
    programs.of_session(&SocketLabel { session: 7, slot: 5000, ..SocketLabel::zeroed() })?;
    let mut asked = Asked::zeroed();
    asked.resolver = Address::v4(RESOLVER.to_bits());
    asked.of = Reference::of(1, 1).0;
    asked.lists = compiled.compiled.entry.lists;
    asked.name = name::Key::exact(0, ASKED).ok_or("no name")?.name;
    programs.waits(&asked)?;
    let question = message(0x0100, 0);
    let mut rows = Vec::new();
    let data = packet(HERE.into(), 443, RESOLVER.into(), 8443, &[0; 64]);
    rows.push(plan.packets(&programs, "data_packet", &data, "a data packet", GOAL_PACKET)?);
    let ask = packet(HERE.into(), FROM, RESOLVER.into(), 53, &question);
    let row = plan.recorded(&mut programs, "ask_name", Kind::Question, &ask)?;
    rows.push(Row { what: "a question, with its record".into(), goal: Some(GOAL_QUESTION), ..row });
    let answer = packet(RESOLVER.into(), 53, HERE.into(), FROM, &message(0x8180, 8));
    let ready = plan.packets(&programs, "answer_ready", &answer, "", f64::MAX)?;
    let row = plan.recorded(&mut programs, "answer_name", Kind::Answer, &answer)?;
    // What comes before the answer is the trial's, and not the hook's.
    let above = row.above - ready.above;
    let what = "an answer with 8 addresses and its record".into();
    rows.push(Row { what, took: row.took - ready.above, above, goal: Some(GOAL_ANSWER) });
    programs.unguard()?;
    Ok(rows)
}

/// A policy with so many rules by name, the one that is asked for among them.
fn policy(count: usize) -> String {
    let mut text = format!(
        "version: 1\nagent: bench\negress:\n  dns: {{ resolvers: [{RESOLVER}] }}\n  rules:\n    - allow: \"*.github.example\"\n"
    );
    for number in 1..count {
        text.push_str(&format!("    - allow: host-{number}.zone-{}.example\n", number % 977));
    }
    text
}

/// A question, or an answer with so many addresses.
fn message(flags: u16, addresses: u16) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [7, flags, 1, addresses, 0, 0] {
        message.extend(u16::to_be_bytes(word));
    }
    for label in ASKED.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    for number in 0..addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 198, 51, 100]);
        message.push(u8::try_from(number).unwrap_or(0));
    }
    message
}

/// A datagram behind Ethernet's header, which the kernel takes off.
fn packet(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0]);
    let udp = u16::try_from(payload.len() + 8).unwrap_or(0);
    frame.extend([0x45, 0]);
    frame.extend((udp + 20).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    for address in [from, to] {
        if let IpAddr::V4(address) = address {
            frame.extend(address.octets());
        }
    }
    for word in [from_port, to_port, udp, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}
