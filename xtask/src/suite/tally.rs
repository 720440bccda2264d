//! Counts what libtest reports: its line `test result: …` at the end of each program.

use std::fmt;

/// How many tests did what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Counts {
    /// Adds another count.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Tests that ran.
    pub(super) fn ran(self) -> u64 {
        self.passed + self.failed
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Adds up as output streams by.
#[derive(Debug, Default)]
pub(super) struct Tally {
    partial: Vec<u8>,
    counts: Counts,
}

impl Tally {
    /// Takes in a piece of output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            if let Some(counts) = parse(&String::from_utf8_lossy(&line)) {
                self.counts.add(counts);
            }
        }
    }

    /// The sum. A program that failed without counting a failure (a crash, a hang, a
    /// kernel in trouble, a test that does not compile) counts as one.
    pub(super) fn close(mut self, well: bool) -> Counts {
        if !well && self.counts.failed == 0 {
            self.counts.failed = 1;
        }
        self.counts
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`
fn parse(line: &str) -> Option<Counts> {
    let (_, list) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in list.split(';') {
        match part.trim().split_once(' ') {
            Some((number, "passed")) => counts.passed = number.parse().ok()?,
            Some((number, "failed")) => counts.failed = number.parse().ok()?,
            Some((number, "ignored")) => counts.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_however_they_arrive() {
        let text = b"noise\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                     test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\n";
        let mut tally = Tally::default();
        for piece in text.chunks(7) {
            tally.push(piece);
        }
        let counts = tally.close(false);
        assert_eq!(counts.to_string(), "5 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_crash_is_a_failure() {
        assert_eq!(Tally::default().close(false).failed, 1);
        assert_eq!(Tally::default().close(true).ran(), 0);
    }
}
