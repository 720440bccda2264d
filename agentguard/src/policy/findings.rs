//! The findings that there are, by the names that policies and events have for them.

use std::fmt;

/// A kind of finding. What each looks at is told in `docs/findings.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// The same thing is refused over and over.
    RepeatedDenials,
    /// Many different hosts, ports or paths are refused.
    Probing,
    /// Many hosts on one port, or many ports of one host, whatever is said to it.
    Scanning,
    /// A secret was read, or tried to be, and then something was to be reached.
    SecretEgress,
    /// Names that carry data, or a burst of new ones.
    Tunnelling,
    /// More than this agent has ever done in a minute.
    Volume,
    /// Something that would outlive the session.
    Persistence,
    /// Another user's rights.
    Privilege,
    /// Other processes' memory.
    Tracing,
    /// The kernel's or the host's own controls.
    Escape,
    /// Coins are mined.
    Mining,
    /// A program without a file.
    MemoryExec,
    /// agentguard's own files and sockets.
    SelfProtection,
    /// More and more processes.
    ForkStorm,
    /// The same command fails over and over.
    Loop,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::RepeatedDenials,
        Self::Probing,
        Self::Scanning,
        Self::SecretEgress,
        Self::Tunnelling,
        Self::Volume,
        Self::Persistence,
        Self::Privilege,
        Self::Tracing,
        Self::Escape,
        Self::Mining,
        Self::MemoryExec,
        Self::SelfProtection,
        Self::ForkStorm,
        Self::Loop,
    ];

    /// The name used in policies and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepeatedDenials => "repeated-denials",
            Self::Probing => "probing",
            Self::Scanning => "scanning",
            Self::SecretEgress => "secret-egress",
            Self::Tunnelling => "tunnelling",
            Self::Volume => "volume",
            Self::Persistence => "persistence",
            Self::Privilege => "privilege",
            Self::Tracing => "tracing",
            Self::Escape => "escape",
            Self::Mining => "mining",
            Self::MemoryExec => "memory-exec",
            Self::SelfProtection => "self-protection",
            Self::ForkStorm => "fork-storm",
            Self::Loop => "loop",
        }
    }

    /// A finding by its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.as_str() == name)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How sure a finding is, in hundredths: 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confidence(u8);

impl Confidence {
    /// Certain.
    pub const SURE: Self = Self(100);

    /// From hundredths; more than 100 is 100.
    #[must_use]
    pub const fn of(hundredths: u8) -> Self {
        if hundredths > 100 { Self::SURE } else { Self(hundredths) }
    }

    /// Reads `0.8`; `None` for what is no number from 0 to 1 with at most two digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 1 || part.len() > 2 || !digits(whole) || !digits(part) {
            return None;
        }
        let whole: u8 = whole.parse().ok()?;
        let part: u8 = format!("{part:0<2}").parse().ok()?;
        let hundredths = whole.checked_mul(100)?.checked_add(part)?;
        (hundredths <= 100).then_some(Self(hundredths))
    }

    /// In hundredths.
    #[must_use]
    pub const fn hundredths(self) -> u8 {
        self.0
    }

    /// As a number from 0 to 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for finding in Finding::ALL {
            assert_eq!(Finding::parse(finding.as_str()), Some(finding));
        }
        assert_eq!(Finding::parse("none"), None);
    }

    #[test]
    fn confidences_are_read_as_they_are_written() {
        for hundredths in 0..=100 {
            let confidence = Confidence::of(hundredths);
            assert_eq!(Confidence::parse(&confidence.to_string()), Some(confidence));
        }
        for text in ["", ".5", "1.1", "2", "0.555", "-0.5", "0.5e0", "80%", "1.", "x"] {
            let read = Confidence::parse(text);
            assert_eq!(read, (text == "1.").then_some(Confidence::SURE), "{text}");
        }
    }
}
