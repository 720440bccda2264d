//! End-to-end scenarios: policy in, real system call, its error, exactly one
//! decision in the log, nothing on the other side.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod absent;
mod activity;
mod adoption;
mod anywhere;
mod apply;
mod asking;
mod benign;
mod budgets;
mod egress;
mod files;
mod identity;
mod life;
mod limits;
mod names;
mod protect;
mod protect_files;
mod response;
mod taint;
mod tls;
mod ways;
mod withdrawal;

use agentguard_tests::guard::Guard;
use serde_json::Value;

/// May reach 10.77.0.2 and fd77::2 on port 443, by TCP and UDP, and nothing else.
const CODER: &str = "\
version: 1
agent: coder
egress:
  rules:
    - allow: [10.77.0.2, 'fd77::2']
      ports: [443]
      id: api
";

/// The decisions that refused something.
fn denied(decisions: &[Value]) -> Vec<&Value> {
    decisions.iter().filter(|event| event["outcome"] == "denied").collect()
}

/// Where the decisions were about.
fn resources<'a>(decisions: &[&'a Value]) -> Vec<&'a str> {
    decisions.iter().filter_map(|event| event["resource"].as_str()).collect()
}

/// Runs the words as `coder`, and holds what they print against what is expected.
fn expect(guard: &Guard, words: &str, expected: &[&str]) {
    let printed = guard.attempt("coder", words).expect(words);
    assert_eq!(printed, expected, "{words}");
}
