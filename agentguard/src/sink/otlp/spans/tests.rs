//! The tree of spans: who is below whom, what survives a restart, and that every event is
//! accounted for.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::event::Outcome;
use crate::session::session_span_id;
use crate::sink::otlp::sample::*;

/// A tree, what it told, and a clock of its own.
struct Scene {
    tree: Tree,
    told: Vec<Finished>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::of(Tree::default())
    }

    fn of(tree: Tree) -> Self {
        Self { tree, told: Vec::new(), now: Instant::now() }
    }

    fn see(&mut self, events: impl IntoIterator<Item = Event>) -> &mut Self {
        for event in events {
            self.tree.apply(&event, self.now, &mut self.told);
        }
        self
    }

    /// Lets time pass. All processes of earlier daemons' times that have these numbers
    /// are still there.
    fn wait(&mut self, seconds: u64, there: &[u32]) -> Vec<Arc<str>> {
        self.now += Duration::from_secs(seconds);
        self.tree.tick(self.now, &|pid, _| there.contains(&pid), &mut self.told)
    }

    fn span(&self, name: &str) -> &Span {
        let mut named = self.told.iter().filter(|told| told.span.name == name);
        let found = named.next().unwrap_or_else(|| panic!("no {name} in {:#?}", self.told));
        assert!(named.next().is_none(), "more than one {name}");
        &found.span
    }

    fn names(&self) -> Vec<&str> {
        self.told.iter().map(|told| told.span.name.as_str()).collect()
    }
}

fn failed(span: &Span) -> Option<&str> {
    let status = span.status.as_ref()?;
    (status.code == StatusCode::Error as i32).then_some(status.message.as_str())
}

fn has(span: &Span, key: &str) -> bool {
    span.attributes.iter().any(|attribute| attribute.key == key)
}

#[test]
fn programs_stand_below_those_that_started_them() {
    let mut scene = Scene::new();
    scene.see([start(0), exec(1, 10, 9, "/bin/sh"), fork(2, 10, 11), exec(3, 11, 10, "/bin/make")]);
    scene.see([fork(4, 11, 12), denied(5, 12), exit(6, 12, 0), exit(7, 11, 2), exit(8, 10, 0)]);
    scene.see([end(9)]).wait(2, &[]);
    let root = scene.span("invoke_agent coder");
    let (sh, make) = (scene.span("sh"), scene.span("make"));
    let refused = scene.span("connect");
    assert!(root.parent_span_id.is_empty());
    assert_eq!(root.span_id, session_span_id(TRACE, "s1"));
    assert_eq!(sh.parent_span_id, root.span_id);
    assert_eq!(make.parent_span_id, sh.span_id);
    assert_eq!(refused.parent_span_id, make.span_id, "a child that executed nothing acts for make");
    for told in &scene.told {
        assert_eq!(crate::hex(&told.span.trace_id), TRACE);
    }
    assert_eq!((failed(sh), failed(make)), (None, Some("ended with 2")));
    assert_eq!(failed(refused), Some("denied: default"));
    assert!(has(refused, "network.peer.address") && has(refused, "gen_ai.conversation.id"));
    let length =
        |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000_000;
    assert_eq!((length(root), length(sh), length(make)), (9, 7, 4));
    assert_eq!(scene.told.iter().map(|told| told.weight).sum::<u64>(), 10, "every event is in one");
}

#[test]
fn the_callers_span_is_the_parent() {
    let mut scene = Scene::new();
    let given = Event { parent_span_id: Some("00f067aa0ba902b7".into()), ..start(0) };
    scene.see([given, end(1)]).wait(2, &[]);
    let root = scene.span("invoke_agent coder");
    assert_eq!(crate::hex(&root.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(root.flags, 0x301, "recorded, and below somebody else's");
}

#[test]
fn a_program_that_is_replaced_ends_and_is_the_parent_of_the_next() {
    let mut scene = Scene::new();
    scene.see([exec(1, 10, 9, "/bin/sh"), exec(3, 10, 9, "/bin/env"), exit(4, 10, 0)]);
    let (sh, env) = (scene.span("sh"), scene.span("env"));
    assert!(has(sh, "agentguard.process.end"));
    assert_eq!(env.parent_span_id, sh.span_id);
    assert_eq!(sh.end_time_unix_nano, env.start_time_unix_nano);
}

#[test]
fn activity_is_told_within_the_program_that_did_it() {
    let limits = Limits { events_of_one: 2, ..Limits::default() };
    let mut scene = Scene::of(Tree::with_limits(limits));
    scene.see([exec(1, 10, 9, "/bin/sh"), written(2, 10), written(3, 10), written(4, 10)]);
    scene.see([written(5, 99), exit(6, 10, 0)]);
    assert_eq!(scene.names(), ["file.write", "sh"], "what an unknown process does stands alone");
    let sh = scene.span("sh");
    assert_eq!((sh.events.len(), sh.dropped_events_count), (2, 1));
    assert_eq!(scene.tree.take_books().sampled, 1);
}

#[test]
fn what_has_no_room_is_lost_and_counted() {
    let limits = Limits { sessions: 1, processes: 2, open: 1, events: 1, events_of_one: 9 };
    let mut scene = Scene::of(Tree::with_limits(limits));
    scene.see([exec(1, 10, 9, "/bin/a"), exec(2, 11, 10, "/bin/b"), exec(3, 12, 11, "/bin/c")]);
    scene.see([written(4, 10), written(5, 10)]);
    scene.see([Event { session: Some("s2".into()), ..start(6) }]);
    scene.see([exit(7, 10, 0), exit(7, 11, 0), end(8)]).wait(2, &[]);
    assert_eq!(scene.tree.take_books().lost, 4, "b and c, a write, and another session");
    assert_eq!(scene.tree.books, Books::default(), "nothing is left in memory");
}

#[test]
fn late_words_reach_the_session_or_stand_alone() {
    let mut scene = Scene::new();
    scene.see([start(0), exec(1, 10, 9, "/bin/sh"), end(3)]).wait(1, &[]);
    scene.see([exit(2, 10, 0), denied(2, 10)]).wait(1, &[]);
    assert_eq!(scene.names(), ["sh", "connect", "invoke_agent coder"]);
    assert_eq!(scene.span("connect").parent_span_id, scene.span("sh").span_id);
    scene.see([exec(2, 11, 10, "/bin/a"), Event { id: "x".into(), ..denied(2, 11) }]);
    assert_eq!(scene.told.len(), 4);
    assert_eq!(scene.tree.take_books().sampled, 1);
    assert_eq!(scene.wait(60, &[]).len(), 1, "it is forgotten");
    assert!(scene.tree.sessions.is_empty());
}

#[test]
fn who_ended_a_session_is_its_status() {
    let mut scene = Scene::new();
    let why = Some("killed by user 0".to_owned());
    let kill = event("session.kill", Class::Lifecycle, 1);
    scene.see([start(0), Event { message: why.clone(), outcome: Outcome::Success, ..kill }]);
    assert_eq!(scene.names(), ["session.kill"], "told at once");
    scene.see([Event { message: why, ..end(2) }]).wait(2, &[]);
    assert_eq!(failed(scene.span("invoke_agent coder")), Some("killed by user 0"));
}

#[test]
fn a_session_of_which_the_daemon_has_no_record_has_a_trace_all_the_same() {
    let mut scene = Scene::new();
    let unknown = Event { correlation_id: Some(String::new()), ..denied(0, 1) };
    scene.see([unknown.clone(), unknown]);
    let [one, two] = &scene.told[..] else { panic!() };
    assert_ne!(one.span.trace_id, [0; 16]);
    assert_eq!(one.span, two.span);
}

/// What a daemon would do that is restarted after each of these steps: the same spans.
#[test]
fn a_restart_at_any_point_yields_the_same_trace() {
    let script = || {
        vec![
            start(0),
            exec(1, 10, 9, "/bin/sh"),
            fork(2, 10, 11),
            exec(3, 11, 10, "/bin/make"),
            written(4, 11),
            denied(5, 11),
            exec(6, 11, 10, "/bin/cc"),
            exit(7, 11, 1),
            exit(8, 10, 0),
            end(9),
        ]
    };
    let mut whole = Scene::new();
    whole.see(script()).wait(2, &[]);
    let sorted = |scene: &Scene| {
        let spans = scene.told.iter().map(|told| (told.span.span_id.clone(), told.span.clone()));
        spans.collect::<BTreeMap<_, _>>()
    };
    for restart in 0..script().len() {
        let mut events = script();
        let rest = events.split_off(restart);
        let mut sampler = Sampler::new(1.0, 0.5);
        let mut first = Scene::new();
        first.see(events);
        let saved = first.tree.save(&sampler).unwrap_or_default();
        let mut second = Scene::new();
        second.tree.restore(&saved, second.now, &mut sampler).unwrap();
        // The kernel still has what happened meanwhile; then the processes are looked for.
        second.see(rest).wait(10, &[10, 11]);
        second.wait(2, &[]);
        let told = first.told.len() + second.told.len();
        second.told.append(&mut first.told);
        assert_eq!(sorted(&second), sorted(&whole), "restarted before step {restart}");
        assert_eq!(told, whole.told.len(), "nothing is told twice");
        let books = Books { sampled: 0, lost: 0, ..second.tree.books };
        assert_eq!(books, Books::default());
    }
}

#[test]
fn processes_of_an_earlier_daemon_that_are_gone_are_not_told_of_again() {
    let mut first = Scene::new();
    first.see([start(0), exec(1, 10, 9, "/bin/sh"), exec(2, 11, 10, "/bin/make")]);
    let mut sampler = Sampler::new(1.0, 0.5);
    let saved = first.tree.save(&sampler).unwrap();
    assert_eq!(first.tree.save(&sampler), None, "nothing has changed");
    let mut second = Scene::new();
    second.tree.restore(&saved, second.now, &mut sampler).unwrap();
    second.wait(10, &[10]);
    second.see([end(20)]).wait(2, &[]);
    assert_eq!(second.names(), ["sh", "invoke_agent coder"]);
    let mut third = Scene::new();
    third.tree.restore(&saved, third.now, &mut sampler).unwrap();
    third.wait(10, &[]);
    third.wait(590, &[]);
    assert_eq!(third.names(), ["invoke_agent coder"], "nobody says that it ended");
}

#[test]
fn a_saved_file_that_makes_no_sense_is_no_harm() {
    let mut sampler = Sampler::new(1.0, 0.5);
    let mut scene = Scene::new();
    assert!(scene.tree.restore(b"\xff\xff\xff", scene.now, &mut sampler).is_err());
    assert!(scene.tree.restore(b"", scene.now, &mut sampler).is_ok());
    assert!(scene.tree.sessions.is_empty());
}

#[test]
fn this_process_runs_and_one_that_is_not_there_does_not() {
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    let now = u64::try_from(now).unwrap();
    assert!(memory::runs(std::process::id(), now));
    assert!(!memory::runs(std::process::id(), now - 3_600_000_000_000_000), "an earlier one");
    assert!(!memory::runs(u32::MAX, now));
}

fn any_event() -> impl Strategy<Value = Event> {
    (0u32..9, 0u32..50, 1u32..6, 1u32..6, 0u32..3).prop_map(
        |(what, second, pid, other, session)| {
            let event = match what {
                0 => start(second),
                1 => end(second),
                2 | 3 => exec(second, pid, other, "/bin/x"),
                4 => fork(second, pid, other),
                5 => exit(second, pid, other % 2),
                6 => denied(second, pid),
                7 => written(second, pid),
                _ => event("session.kill", Class::Lifecycle, second),
            };
            Event { session: (session > 0).then(|| format!("s{session}")), ..event }
        },
    )
}

proptest! {
    /// Whatever comes in whatever order: every event ends in a span, is left out or lost.
    #[test]
    fn every_event_is_accounted_for(
        events in proptest::collection::vec((any_event(), 0u64..4), 0..120),
        ratio in prop_oneof![Just(0.0), Just(0.5), Just(1.0)],
    ) {
        let limits = Limits { sessions: 2, processes: 5, open: 3, events: 4, events_of_one: 2 };
        let mut scene = Scene::of(Tree::with_limits(limits));
        let mut sampler = Sampler::new(ratio, 0.5);
        let mut sent = Vec::new();
        let seen = events.len();
        for (event, pause) in events {
            scene.see([event]);
            for session in scene.wait(pause, &[]) {
                for finished in scene.told.drain(..) {
                    sampler.offer(finished, &mut sent);
                }
                sampler.forget(&session);
            }
        }
        scene.tree.close(scene.now, &mut scene.told);
        for finished in scene.told.drain(..) {
            sampler.offer(finished, &mut sent);
        }
        sampler.forget_all();
        let books = scene.tree.take_books();
        let written = scene.tree.hand_over() + sent.iter().map(|sent| sent.weight).sum::<u64>();
        let all = written + books.sampled + sampler.take_sampled() + books.lost;
        prop_assert_eq!(all, u64::try_from(seen).unwrap());
        prop_assert!(books.open <= 3 && books.events <= 4 && books.processes <= 5);
        for sent in &sent {
            prop_assert!(sent.span.end_time_unix_nano >= sent.span.start_time_unix_nano);
            prop_assert_eq!(sent.span.span_id.len(), 8);
        }
    }
}
