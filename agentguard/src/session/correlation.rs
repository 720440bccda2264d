//! The correlation id: a W3C trace id (Trace Context, section 3.2), taken from
//! the environment of the command where it has one, made where it has not. A
//! hint: nothing is ever decided by it.

use std::io::Read as _;

use crate::error::{Error, Result};

/// A trace id and the span that the session's first process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// 32 hexadecimal digits, not all zero.
    pub trace_id: String,
    /// Whether it came from the environment.
    pub given: bool,
    /// What `TRACEPARENT` is to be in the command's environment.
    pub traceparent: String,
}

impl Correlation {
    /// Takes over a `traceparent`, or makes one where there is none, or none that
    /// is valid.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without a source of random bytes.
    pub fn new(traceparent: Option<&str>) -> Result<Self> {
        if let Some((given, trace_id)) = traceparent.and_then(|text| Some((text, trace_id(text)?)))
        {
            let (trace_id, traceparent) = (trace_id.to_owned(), given.to_owned());
            return Ok(Self { trace_id, given: true, traceparent });
        }
        let mut bytes = [0u8; 24];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(Error::io("read", "/dev/urandom"))?;
        // Neither id may be all zero.
        bytes[0] |= 1;
        bytes[16] |= 1;
        let (trace_id, span_id) = (crate::hex(&bytes[..16]), crate::hex(&bytes[16..]));
        let traceparent = format!("00-{trace_id}-{span_id}-01");
        Ok(Self { trace_id, given: false, traceparent })
    }
}

/// The trace id of a valid `traceparent`.
#[must_use]
pub fn trace_id(text: &str) -> Option<&str> {
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
    .then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_valid_traceparent_is_kept() {
        let given = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let correlation = Correlation::new(Some(&given)).unwrap();
        assert_eq!((correlation.trace_id.as_str(), correlation.given), (TRACE, true));
        assert_eq!(correlation.traceparent, given);
        assert_eq!(trace_id(&format!("01-{TRACE}-00f067aa0ba902b7-01-more")), Some(TRACE));
    }

    #[test]
    fn anything_else_gets_a_new_one() {
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
            assert!(!correlation.given, "{bad}");
            assert_eq!(trace_id(&correlation.traceparent), Some(correlation.trace_id.as_str()));
        }
    }
}
