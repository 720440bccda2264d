//! Events gathered into one request's body.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::sink::delivery::Message;

/// How the bodies of a product are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Before all of them.
    pub(super) before: &'static str,
    /// Between two.
    pub(super) between: &'static str,
    /// After all of them.
    pub(super) after: &'static str,
}

/// One after the other, each with a line's end.
pub(super) const LINES: Frame = Frame { before: "", between: "\n", after: "\n" };
/// A list.
pub(super) const LIST: Frame = Frame { before: "[", between: ",", after: "]" };
/// Nothing: the parts have their own frames.
pub(super) const BARE: Frame = Frame { before: "", between: "", after: "" };

/// A body in the making.
#[derive(Debug)]
pub(super) struct Batch {
    frame: Frame,
    body: Vec<u8>,
    events: u32,
}

impl Batch {
    /// Empty.
    pub(super) const fn new(frame: Frame) -> Self {
        Self { frame, body: Vec::new(), events: 0 }
    }

    /// Events in it.
    pub(super) const fn events(&self) -> u32 {
        self.events
    }

    /// How large it would be with that much more, in bytes.
    pub(super) const fn size_with(&self, more: usize) -> usize {
        let before = if self.events == 0 { self.frame.before } else { self.frame.between };
        self.body.len() + before.len() + more + self.frame.after.len()
    }

    /// Puts an event in.
    pub(super) fn add(&mut self, encoded: &[u8]) {
        let before = if self.events == 0 { self.frame.before } else { self.frame.between };
        self.body.extend(before.as_bytes());
        self.body.extend(encoded);
        self.events += 1;
    }

    /// What is in it, as a message; it is empty then.
    pub(super) fn take(&mut self, gzip: bool) -> Message {
        self.body.extend(self.frame.after.as_bytes());
        let body = std::mem::take(&mut self.body);
        let events = std::mem::take(&mut self.events);
        Message { events, body: if gzip { zip(&body) } else { body } }
    }
}

fn zip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A vector takes everything.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn events_are_framed_and_taken_out_once() {
        let mut batch = Batch::new(LIST);
        batch.add(b"1");
        assert_eq!(batch.size_with(1), 5, "[1,2]");
        batch.add(b"2");
        assert_eq!(batch.take(false), Message { events: 2, body: b"[1,2]".to_vec() });
        assert_eq!(batch.events(), 0);
        batch.add(b"3");
        assert_eq!(batch.take(false).body, b"[3]");
        let mut lines = Batch::new(LINES);
        lines.add(b"a");
        lines.add(b"b");
        assert_eq!(lines.take(false).body, b"a\nb\n");
    }

    #[test]
    fn a_compressed_body_is_the_same_body() {
        let mut batch = Batch::new(BARE);
        batch.add(&[b'x'; 10_000]);
        let message = batch.take(true);
        assert!(message.body.len() < 1000);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&message.body[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, [b'x'; 10_000]);
    }
}
