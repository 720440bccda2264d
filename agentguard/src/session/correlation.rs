//! The correlation id: a W3C trace id (Trace Context, section 3.2), taken from
//! the environment of the command where it has one, made where it has not. A
//! hint: nothing is ever decided by it.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// What ties a session to the telemetry of its caller and of its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// 32 hexadecimal digits, not all zero.
    pub trace_id: String,
    /// The caller's span, 16 hexadecimal digits, where the trace is the caller's.
    pub parent_span_id: Option<String>,
    /// The `traceparent` that was taken over.
    given: Option<String>,
}

impl Correlation {
    /// Takes over a `traceparent`, or makes a trace id where there is none, or none that
    /// is valid.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without a source of random bytes.
    pub fn new(traceparent: Option<&str>) -> Result<Self> {
        if let Some((given, (trace, span))) =
            traceparent.and_then(|text| Some((text, trace_and_span(text)?)))
        {
            return Ok(Self {
                trace_id: trace.to_owned(),
                parent_span_id: Some(span.to_owned()),
                given: Some(given.to_owned()),
            });
        }
        let mut bytes = [0u8; 16];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(Error::io("read", "/dev/urandom"))?;
        // A trace id may not be all zero.
        bytes[0] |= 1;
        Ok(Self { trace_id: crate::hex(&bytes), parent_span_id: None, given: None })
    }

    /// What `TRACEPARENT` is to be in the environment of a session's command: the caller's
    /// where there was one, else one under which the agent's own spans stand below the
    /// session's.
    #[must_use]
    pub fn traceparent(&self, session: &str) -> String {
        self.given.clone().unwrap_or_else(|| {
            let span = crate::hex(&session_span_id(&self.trace_id, session));
            format!("00-{}-{span}-01", self.trace_id)
        })
    }
}

/// The id of the span that stands for a session. It follows from the session alone, so
/// that every daemon that sees the session has the same.
#[must_use]
pub fn session_span_id(trace_id: &str, session: &str) -> [u8; 8] {
    span_id(&["session", trace_id, session])
}

/// An id for what these words name: the beginning of their hash, never all zero.
#[must_use]
pub fn span_id(words: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    let mut id = [0; 8];
    id.copy_from_slice(&hash.finalize()[..8]);
    if id == [0; 8] {
        id[7] = 1;
    }
    id
}

/// The trace id and the span id of a valid `traceparent`.
#[must_use]
pub fn trace_and_span(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, len| {
        part.len() == len
            && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    // Later versions may add parts; version ff is forbidden.
    let shape =
        digits(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (shape
        && digits(trace, 32)
        && some(trace)
        && digits(span, 16)
        && some(span)
        && digits(flags, 2))
    .then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_valid_traceparent_is_kept() {
        let given = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let correlation = Correlation::new(Some(&given)).unwrap();
        assert_eq!(correlation.trace_id, TRACE);
        assert_eq!(correlation.parent_span_id.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(correlation.traceparent("any"), given);
        let later = format!("01-{TRACE}-00f067aa0ba902b7-01-more");
        assert_eq!(trace_and_span(&later), Some((TRACE, "00f067aa0ba902b7")));
    }

    #[test]
    fn anything_else_gets_a_new_one_with_the_session_as_its_span() {
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            "00-x-y-01".into(),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
        ] {
            let correlation = Correlation::new(Some(&bad)).unwrap();
            assert_eq!(correlation.parent_span_id, None, "{bad}");
            let traceparent = correlation.traceparent("s1");
            let (trace, span) = trace_and_span(&traceparent).unwrap();
            assert_eq!(trace, correlation.trace_id);
            assert_eq!(span, crate::hex(&session_span_id(trace, "s1")));
        }
    }

    #[test]
    fn sessions_of_one_trace_have_spans_of_their_own() {
        assert_ne!(session_span_id(TRACE, "s1"), session_span_id(TRACE, "s2"));
        assert_ne!(span_id(&["a", "bc"]), span_id(&["ab", "c"]));
    }
}
