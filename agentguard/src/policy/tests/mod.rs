//! Tests of the policy language as its users meet it: files in, messages and
//! verdicts out.

mod cases;
mod decisions;
mod input;
mod limits;
mod messages;
mod messages_rules;
mod names;
mod oracle;
pub(super) mod random;
mod round_trip;
mod schema;
mod shipped;
mod sockets;
mod taint;
mod unit;

use std::path::Path;

use agentguard_common::net::{Destination, Protocols};
use agentguard_common::verdict::Ruling;
use proptest::test_runner::Config;

use super::network::address_of;
use super::{Compiled, Policy, PolicyErrors};

/// So many cases of a property, and no files for those that fail.
pub(super) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

pub(super) fn parse(text: &str) -> Result<Policy, PolicyErrors> {
    Policy::parse(Path::new("p.yaml"), text.as_bytes())
}

/// A policy with these lines below `egress:`.
fn with_egress(egress: &str) -> String {
    format!("version: 1\nagent: a\negress:\n{egress}")
}

/// A policy that has to be in order.
pub(super) fn valid(text: &str) -> Policy {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn compiled(text: &str) -> Compiled {
    valid(text).compile().unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is said about a policy that is not in order.
fn messages(text: &str) -> String {
    match parse(text).and_then(|policy| policy.compile()) {
        Ok(_) => panic!("no error in:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

/// Holds what is said about a policy against what should be.
fn says(text: &str, expected: &str) {
    let said = messages(text);
    assert_eq!(said, expected.trim_matches('\n'), "\nsaid:\n{said}\n\nabout:\n{text}");
}

fn decide(compiled: &Compiled, address: &str, port: u16, protocol: Protocols) -> Ruling {
    let address = address_of(address.parse().unwrap());
    compiled.decide(Destination { address, port }, protocol)
}
