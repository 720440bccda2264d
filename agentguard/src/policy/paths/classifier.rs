//! Classifiers: tables that read a name byte by byte and say which of some patterns it fits.
//! A class is a set of patterns that fit together.

use std::collections::HashMap;

use agentguard_common::path::Row;
use bytemuck::Zeroable as _;
use regex_syntax::utf8::{Utf8Sequence, Utf8Sequences};

use super::glob::{Glob, Item};

/// What keeps a classifier from being made: it would have too many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyRows;

/// A classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Classifier {
    /// Its rows. Where they lead is counted from 1: 0 is where nothing fits any more.
    pub(super) rows: Vec<Row>,
    /// The patterns of each class, the first of which is class 1. Patterns go by their place
    /// in the list that the classifier was made from.
    pub(super) classes: Vec<Vec<u32>>,
}

impl Classifier {
    /// Makes the classifier of some patterns.
    ///
    /// # Errors
    ///
    /// Where it would have more than `most` rows.
    pub(super) fn new(globs: &[&Glob], most: usize) -> Result<Self, TooManyRows> {
        let places = Places::new(globs);
        let letters = places.letters();
        let mut made = Self { rows: Vec::new(), classes: Vec::new() };
        let mut classes: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut numbers: HashMap<Vec<u32>, u16> = HashMap::new();
        let mut open = vec![places.starts.clone()];
        numbers.insert(places.starts.clone(), 1);
        while let Some(set) = open.get(made.rows.len()).cloned() {
            if made.rows.len() >= most {
                return Err(TooManyRows);
            }
            let mut row = Row::zeroed();
            for (first, last) in &letters {
                let next = places.next(&set, *first);
                if next.is_empty() {
                    continue;
                }
                let new = u16::try_from(open.len() + 1).map_err(|_| TooManyRows)?;
                let number = *numbers.entry(next).or_insert_with_key(|next| {
                    open.push(next.clone());
                    new
                });
                for entry in row.next.iter_mut().take(*last as usize + 1).skip(*first as usize) {
                    *entry = number;
                }
            }
            let fitting = places.fitting(&set);
            if !fitting.is_empty() {
                let new = u32::try_from(made.classes.len() + 1).map_err(|_| TooManyRows)?;
                row.class = *classes.entry(fitting).or_insert_with_key(|fitting| {
                    made.classes.push(fitting.clone());
                    new
                });
            }
            made.rows.push(row);
        }
        Ok(made)
    }

    /// The patterns that fit a name.
    pub(super) fn fitting(&self, name: &[u8]) -> &[u32] {
        let row = |number: u16| self.rows.get(usize::from(number).checked_sub(1)?);
        let mut at = 1;
        for byte in name {
            let Some(row) = row(at) else { return &[] };
            at = row.next.get(usize::from(*byte)).copied().unwrap_or(0);
        }
        let class = row(at).map_or(0, |row| row.class as usize);
        class.checked_sub(1).and_then(|class| self.classes.get(class)).map_or(&[], Vec::as_slice)
    }
}

/// A place within a pattern.
#[derive(Default)]
struct Spot {
    /// Whether any byte stays here.
    stays: bool,
    /// Bytes, first to last, that lead on.
    leads: Vec<(u8, u8, u32)>,
    /// The pattern that ends here.
    ends: Option<u32>,
}

/// The places of all patterns.
#[derive(Default)]
struct Places {
    spots: Vec<Spot>,
    starts: Vec<u32>,
}

impl Places {
    fn new(globs: &[&Glob]) -> Self {
        let mut places = Self::default();
        for (number, glob) in (0u32..).zip(globs) {
            let mut at = places.spot();
            places.starts.push(at);
            for item in glob.items() {
                match item {
                    Item::Star => places.change(at, |spot| spot.stays = true),
                    Item::Byte(byte) => {
                        let next = places.spot();
                        places.change(at, |spot| spot.leads.push((*byte, *byte, next)));
                        at = next;
                    }
                    Item::Set(ranges) => {
                        let next = places.spot();
                        let all =
                            ranges.iter().flat_map(|(from, to)| Utf8Sequences::new(*from, *to));
                        all.for_each(|sequence| places.sequence(at, &sequence, next));
                        at = next;
                    }
                }
            }
            places.change(at, |spot| spot.ends = Some(number));
        }
        places
    }

    fn spot(&mut self) -> u32 {
        self.spots.push(Spot::default());
        u32::try_from(self.spots.len() - 1).unwrap_or(u32::MAX)
    }

    fn change(&mut self, at: u32, change: impl FnOnce(&mut Spot)) {
        if let Some(spot) = self.spots.get_mut(at as usize) {
            change(spot);
        }
    }

    /// The bytes of characters of one length.
    fn sequence(&mut self, from: u32, bytes: &Utf8Sequence, to: u32) {
        let mut at = from;
        let ranges = bytes.as_slice();
        for (left, range) in (1..=ranges.len()).rev().zip(ranges) {
            let next = if left == 1 { to } else { self.spot() };
            self.change(at, |spot| spot.leads.push((range.start, range.end, next)));
            at = next;
        }
    }

    /// Ranges of bytes that no pattern tells apart.
    fn letters(&self) -> Vec<(u8, u8)> {
        let mut begins = [false; 257];
        let mut mark = |at: usize| {
            if let Some(begin) = begins.get_mut(at) {
                *begin = true;
            }
        };
        for (first, last, _) in self.spots.iter().flat_map(|spot| &spot.leads) {
            mark(usize::from(*first));
            mark(usize::from(*last) + 1);
        }
        let mut letters = Vec::new();
        let mut first = 0u8;
        for byte in 0..=u8::MAX {
            if byte == u8::MAX || begins.get(usize::from(byte) + 1) == Some(&true) {
                letters.push((first, byte));
                first = byte.saturating_add(1);
            }
        }
        letters
    }

    /// Where a byte leads from some places.
    fn next(&self, set: &[u32], byte: u8) -> Vec<u32> {
        let mut next = Vec::new();
        for at in set {
            let Some(spot) = self.spots.get(*at as usize) else { continue };
            next.extend(spot.stays.then_some(*at));
            let leads =
                spot.leads.iter().filter(|(first, last, _)| (*first..=*last).contains(&byte));
            next.extend(leads.map(|(_, _, to)| *to));
        }
        next.sort_unstable();
        next.dedup();
        next
    }

    /// The patterns that end in some places.
    fn fitting(&self, set: &[u32]) -> Vec<u32> {
        let ends = |at: &u32| self.spots.get(*at as usize)?.ends;
        let mut fitting: Vec<u32> = set.iter().filter_map(ends).collect();
        fitting.sort_unstable();
        fitting.dedup();
        fitting
    }
}
