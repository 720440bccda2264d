//! What happened in the last span of time, bounded whatever happens.

use std::collections::VecDeque;

use super::EVIDENCE;

/// The ids of the events of a span.
#[derive(Debug)]
pub(super) struct Events {
    span: u64,
    most: usize,
    ids: VecDeque<(u64, String)>,
}

impl Events {
    /// Of a span in milliseconds, the last `most` of them.
    pub(super) const fn new(span: u64, most: usize) -> Self {
        Self { span, most, ids: VecDeque::new() }
    }

    /// Adds one, and says how many there are.
    pub(super) fn add(&mut self, id: &str, at: u64) -> u32 {
        self.ids.push_back((at, id.to_owned()));
        while self.ids.len() > self.most
            || self.ids.front().is_some_and(|(then, _)| at.saturating_sub(*then) >= self.span)
        {
            self.ids.pop_front();
        }
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// When the last came.
    pub(super) fn last(&self) -> u64 {
        self.ids.back().map_or(0, |(at, _)| *at)
    }

    /// The ids of the last, the oldest first.
    pub(super) fn evidence(&self) -> Vec<String> {
        let skip = self.ids.len().saturating_sub(EVIDENCE);
        self.ids.iter().skip(skip).map(|(_, id)| id.clone()).collect()
    }
}

/// The different things of a span, each with the event that showed it first.
#[derive(Debug)]
pub(super) struct Distinct {
    span: u64,
    most: usize,
    things: VecDeque<Thing>,
}

#[derive(Debug)]
struct Thing {
    at: u64,
    key: String,
    id: String,
}

impl Distinct {
    /// Of a span in milliseconds, the last `most` of them.
    pub(super) const fn new(span: u64, most: usize) -> Self {
        Self { span, most, things: VecDeque::new() }
    }

    /// Adds a thing. How many there are, where it is new.
    pub(super) fn add(&mut self, key: &str, id: &str, at: u64) -> Option<u32> {
        self.forget(at);
        if self.things.iter().any(|thing| thing.key == key) {
            return None;
        }
        self.things.push_back(Thing { at, key: key.to_owned(), id: id.to_owned() });
        if self.things.len() > self.most {
            self.things.pop_front();
        }
        Some(u32::try_from(self.things.len()).unwrap_or(u32::MAX))
    }

    /// The events that showed the last of them, the oldest first.
    pub(super) fn evidence(&self) -> Vec<String> {
        let skip = self.things.len().saturating_sub(EVIDENCE);
        self.things.iter().skip(skip).map(|thing| thing.id.clone()).collect()
    }

    fn forget(&mut self, at: u64) {
        let old = |thing: &Thing| at.saturating_sub(thing.at) >= self.span;
        while self.things.front().is_some_and(old) {
            self.things.pop_front();
        }
    }
}

/// A few values by their keys, the one that was used longest ago going first.
#[derive(Debug)]
pub(super) struct Few<T> {
    most: usize,
    values: VecDeque<(String, T)>,
}

impl<T> Few<T> {
    /// At most so many.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, values: VecDeque::new() }
    }

    /// The value of a key, made where it is not there.
    pub(super) fn get(&mut self, key: &str, make: impl FnOnce() -> T) -> Option<&mut T> {
        let at = self.values.iter().position(|(known, _)| known == key);
        let value = match at.and_then(|at| self.values.remove(at)) {
            Some((_, value)) => value,
            None => make(),
        };
        if self.values.len() >= self.most {
            self.values.pop_front();
        }
        self.values.push_back((key.to_owned(), value));
        self.values.back_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_count_once_and_for_a_span() {
        let mut things = Distinct::new(100, 3);
        assert_eq!(things.add("a", "1", 0), Some(1));
        assert_eq!(things.add("a", "2", 1), None);
        assert_eq!(things.add("b", "3", 50), Some(2));
        assert_eq!(things.add("c", "4", 100), Some(2), "a is out of the span");
        assert_eq!(things.evidence(), ["3", "4"]);
        assert_eq!(things.add("d", "5", 100), Some(3));
        assert_eq!(things.add("e", "6", 100), Some(3), "no more than three are kept");
    }

    #[test]
    fn events_of_a_span() {
        let mut events = Events::new(100, 3);
        assert_eq!((events.add("1", 0), events.add("2", 99), events.add("3", 100)), (1, 2, 2));
        assert_eq!(events.evidence(), ["2", "3"]);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut few = Few::new(2);
        for key in ["a", "b", "a", "c"] {
            *few.get(key, || 0).unwrap() += 1;
        }
        assert_eq!(few.get("a", || 0).copied(), Some(2));
        assert_eq!(few.get("b", || 0).copied(), Some(0));
    }
}
