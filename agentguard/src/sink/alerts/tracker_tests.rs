//! The tracker: told once, worse, over.

use proptest::prelude::*;

use super::*;
use crate::event::Severity;

const RULES: Rules = Rules { min_severity: Severity::Low, quiet: 1000, hold: 100 };

fn alert(session: u8, rule: u8, severity: Severity) -> Signal {
    let mut alert = crate::sink::sample::alert(severity);
    alert.key.session = Some(session.to_string());
    alert.key.rule = rule.to_string();
    Signal::Raise(Box::new(alert))
}

fn tracker() -> Tracker {
    Tracker::new(RULES, Memory::default())
}

fn told(taken: Taken) -> Notice {
    match taken {
        Taken::Tell(notice) => *notice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_alert_is_told_once_and_again_when_it_gets_worse() {
    let mut tracker = tracker();
    assert!(!told(tracker.take(alert(1, 1, Severity::Low), 10)).resolved);
    assert_eq!(tracker.take(alert(1, 1, Severity::Low), 20), Taken::Folded);
    let worse = told(tracker.take(alert(1, 1, Severity::High), 30));
    assert_eq!((worse.count, worse.first, worse.last), (3, 10, 30));
    assert_eq!(worse.alert.severity, Severity::High);
    assert_eq!(tracker.take(alert(1, 1, Severity::Medium), 40), Taken::Folded);
    told(tracker.take(alert(1, 2, Severity::Low), 40));
    told(tracker.take(alert(2, 1, Severity::Low), 40));
}

#[test]
fn what_is_not_bad_enough_is_not_told() {
    assert_eq!(tracker().take(alert(1, 1, Severity::Info), 10), Taken::Folded);
}

#[test]
fn it_is_over_when_it_was_quiet_for_long_enough() {
    let mut tracker = tracker();
    told(tracker.take(alert(1, 1, Severity::High), 10));
    tracker.take(alert(1, 1, Severity::High), 500);
    assert!(tracker.resolve(1499).is_empty());
    let over = tracker.resolve(1500);
    assert_eq!(over.len(), 1);
    assert!(over[0].resolved);
    assert_eq!((over[0].count, over[0].until), (2, 1500));
    assert!(tracker.resolve(9999).is_empty(), "told once");
    told(tracker.take(alert(1, 1, Severity::High), 10_000));
}

#[test]
fn it_is_over_with_its_session_but_seen_before_that() {
    let mut tracker = tracker();
    told(tracker.take(alert(1, 1, Severity::High), 10));
    told(tracker.take(alert(2, 1, Severity::High), 10));
    tracker.take(Signal::SessionOver("1".to_owned()), 11);
    assert!(tracker.resolve(109).is_empty());
    let over = tracker.resolve(110);
    assert_eq!(over.len(), 1);
    assert_eq!(over[0].alert.key.session.as_deref(), Some("1"));
}

#[test]
fn an_alert_that_was_over_and_is_raised_again_is_open_again() {
    let mut tracker = tracker();
    let Signal::Raise(mut stop) = alert(0, 1, Severity::Low) else { panic!() };
    stop.key.session = None;
    told(tracker.take(Signal::Raise(stop.clone()), 10));
    tracker.take(Signal::Over(vec![stop.key.clone()]), 20);
    tracker.take(Signal::Raise(stop), 30);
    assert!(tracker.resolve(200).is_empty());
    assert_eq!(tracker.open().len(), 1);
}

#[test]
fn a_state_lasts_until_it_is_said_to_be_over() {
    let mut tracker = tracker();
    let Signal::Raise(mut pause) = alert(1, 1, Severity::Medium) else { panic!() };
    pause.lasting = true;
    told(tracker.take(Signal::Raise(pause.clone()), 10));
    assert!(tracker.resolve(RULES.quiet * 1000).is_empty());
    tracker.take(Signal::Over(vec![pause.key]), RULES.quiet * 1000);
    assert_eq!(tracker.resolve(RULES.quiet * 1000).len(), 1);
}

#[test]
fn what_is_open_outlives_the_daemon() {
    let mut tracker = tracker();
    told(tracker.take(alert(1, 1, Severity::High), 10));
    let text = serde_json::to_string(&tracker.memory()).unwrap();
    let mut next = Tracker::new(RULES, serde_json::from_str(&text).unwrap());
    assert_eq!(next.take(alert(1, 1, Severity::High), 20), Taken::Folded);
    assert_eq!(next.resolve(5000).len(), 1);
}

#[test]
fn what_was_not_put_into_the_queue_is_known_by_the_next() {
    let mut tracker = tracker();
    let first = told(tracker.take(alert(1, 1, Severity::High), 10));
    tracker.told(&first.alert.key);
    let second = told(tracker.take(alert(1, 2, Severity::High), 20));
    let next = Tracker::new(RULES, tracker.memory());
    assert_eq!(next.untold(), [second]);
    told(tracker.take(alert(1, 1, Severity::Critical), 30));
    assert_eq!(tracker.untold().len(), 2, "worse, and not told of that");
}

#[test]
fn the_number_of_open_alerts_is_bounded() {
    let mut tracker = tracker();
    let mut last = Taken::Folded;
    for number in 0..=MAX_OPEN {
        let Signal::Raise(mut alert) = alert(0, 0, Severity::High) else { panic!() };
        alert.key.session = Some(number.to_string());
        last = tracker.take(Signal::Raise(alert), 10);
    }
    assert_eq!(last, Taken::Refused);
    assert_eq!(tracker.open().len(), MAX_OPEN);
}

#[derive(Clone, Debug)]
enum Step {
    Raise(u8, u8, Severity),
    End(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let severity = prop_oneof![
        Just(Severity::Info),
        Just(Severity::Low),
        Just(Severity::Medium),
        Just(Severity::Critical)
    ];
    prop_oneof![
        (0..3_u8, 0..3_u8, severity).prop_map(|(a, b, c)| Step::Raise(a, b, c)),
        (0..3_u8).prop_map(Step::End),
        (1..700_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn every_alert_that_was_told_is_told_to_be_over_exactly_once(
        steps in proptest::collection::vec(step(), 0..200)
    ) {
        let mut tracker = tracker();
        let mut now = 1;
        let mut open = BTreeMap::new();
        let over = |tracker: &mut Tracker, open: &mut BTreeMap<Key, Severity>, now| {
            for notice in tracker.resolve(now) {
                prop_assert!(notice.resolved && notice.until <= now);
                prop_assert!(open.remove(&notice.alert.key).is_some());
            }
            Ok(())
        };
        for step in steps {
            match step {
                Step::Raise(session, rule, severity) => {
                    if let Taken::Tell(told) = tracker.take(alert(session, rule, severity), now) {
                        prop_assert!(severity >= RULES.min_severity);
                        let before = open.insert(told.alert.key.clone(), severity);
                        prop_assert!(before.is_none_or(|before| before < severity));
                    }
                }
                Step::End(session) => {
                    tracker.take(Signal::SessionOver(session.to_string()), now);
                }
                Step::Wait(time) => {
                    now += time;
                    over(&mut tracker, &mut open, now)?;
                }
            }
            prop_assert_eq!(tracker.open().len(), open.len());
        }
        over(&mut tracker, &mut open, now + RULES.quiet)?;
        prop_assert!(open.is_empty());
    }
}
