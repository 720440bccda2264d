//! Which traces are told, and what is held back of the others.

use opentelemetry_proto::tonic::trace::v1::Span;

use super::*;
use crate::sink::otlp::sample::{denied, end, event, finding, written};

fn finished(session: &str, trace: u8, weight: u64) -> Finished {
    let span = Span { trace_id: vec![trace; 16], ..Span::default() };
    Finished { session: session.into(), span, weight, keep: false }
}

#[test]
fn the_share_is_decided_by_the_random_bits_of_the_trace() {
    let told = |ratio, trace| {
        let mut out = Vec::new();
        Sampler::new(ratio, 0.5).offer(finished("s", trace, 1), &mut out);
        !out.is_empty()
    };
    assert!(told(1.0, 0x00) && told(1.0, 0xff));
    assert!(!told(0.0, 0x00) && !told(0.0, 0xff));
    assert!(told(0.5, 0x80) && !told(0.5, 0x7f));
    assert!(told(0.1, 0xf0) && !told(0.1, 0xe0));
}

#[test]
fn a_trace_that_matters_is_told_with_what_was_held_back() {
    let mut sampler = Sampler::new(0.0, 0.5);
    let mut out = Vec::new();
    sampler.offer(finished("s", 1, 2), &mut out);
    sampler.offer(finished("other", 1, 4), &mut out);
    assert!(out.is_empty());
    sampler.keep(&"s".into(), &mut out);
    sampler.offer(finished("s", 1, 1), &mut out);
    assert_eq!(out.len(), 2);
    assert!(sampler.kept("s") && !sampler.kept("other"));
    sampler.offer(Finished { keep: true, ..finished("third", 1, 1) }, &mut out);
    assert_eq!(out.len(), 3);
    sampler.forget("s");
    sampler.forget("other");
    assert_eq!((sampler.take_sampled(), sampler.take_sampled()), (4, 0));
    assert_eq!(sampler.held, 0);
}

#[test]
fn what_is_held_back_is_bounded_and_says_what_it_had_to_drop() {
    let mut sampler = Sampler::new(0.0, 0.5);
    let mut out = Vec::new();
    for _ in 0..HELD_OF_ONE + 3 {
        sampler.offer(finished("s", 1, 1), &mut out);
    }
    assert_eq!(sampler.take_sampled(), 3);
    sampler.keep(&"s".into(), &mut out);
    assert_eq!(out.len(), HELD_OF_ONE);
    let last = out.last().unwrap();
    assert_eq!(last.span.attributes, [number("agentguard.spans.left_out", 3)]);
    assert_eq!(sampler.held, 0);
}

#[test]
fn refused_failed_killed_and_doubtful_events_matter() {
    let sampler = Sampler::new(0.0, 0.8);
    assert!(sampler.matters(&denied(0, 1)));
    assert!(sampler.matters(&Event { outcome: Outcome::WouldDeny, ..denied(0, 1) }));
    assert!(sampler.matters(&Event { outcome: Outcome::Failure, ..end(0) }));
    assert!(sampler.matters(&Event { message: Some("killed by user 0".into()), ..end(0) }));
    assert!(sampler.matters(&event("session.kill", Class::Lifecycle, 0)));
    assert!(sampler.matters(&Event { confidence: 0.79, ..written(0, 1) }));
    assert!(sampler.matters(&finding(0)));
    assert!(!sampler.matters(&written(0, 1)) && !sampler.matters(&end(0)));
}
