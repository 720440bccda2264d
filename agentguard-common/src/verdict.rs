//! The verdict: what a rule says, and what a hook answers.

/// What is to happen to an action, from the mildest to the strongest.
///
/// The order is the precedence between rules of equal specificity: the greater
/// wins (`deny` beats `ask` beats `allow`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Let it through.
    Allow = 0,
    /// Let it through and record it as noteworthy.
    Audit = 1,
    /// Hold it until a person or a program answers.
    Ask = 2,
    /// Refuse it.
    Deny = 3,
    /// Refuse it and end the session.
    Kill = 4,
}

impl Verdict {
    /// Reads a verdict that crossed a map or a ring buffer; `None` for a byte
    /// that is no verdict.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Allow),
            1 => Some(Self::Audit),
            2 => Some(Self::Ask),
            3 => Some(Self::Deny),
            4 => Some(Self::Kill),
            _ => None,
        }
    }

    /// Whether the action goes on. `ask` does not, until it has been answered.
    #[inline(always)]
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Allow | Self::Audit)
    }

    /// The word used in policies, logs and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Audit => "audit",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Kill => "kill",
        }
    }
}

/// Why a verdict was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A rule of the policy matched; the event carries its id.
    Rule = 0,
    /// No rule matched: the section's default.
    Default = 1,
    /// The address could not be read or is of no use (too short, unknown family).
    Malformed = 2,
    /// Neither TCP nor UDP nor a ping, which is all that egress rules speak of.
    Protocol = 3,
    /// The session or its policy is not in the kernel's tables.
    NoPolicy = 4,
    /// The session is being ended.
    Ending = 5,
    /// A new process could not be labelled.
    NoLabel = 6,
    /// A program matches a policy, and no session stands by for it.
    NoStandby = 7,
    /// Nothing but the session itself listens there.
    Own = 8,
    /// It would lead packets past the rules: a source route, a change of the host's
    /// network.
    Steering = 9,
    /// The unix socket or the process belongs to another session.
    OtherSession = 10,
    /// It would type into a terminal, for whoever reads from that to obey.
    Typing = 11,
    /// A name that is allowed was answered with this address, a short while ago.
    Name = 12,
    /// A resolver that the policy lets the session ask; or a server for names that it does
    /// not.
    Resolver = 13,
    /// A name outside was answered with an address inside: of this host, its network or
    /// its cloud's metadata service.
    Rebinding = 14,
    /// An answer to a question that was not asked.
    Unasked = 15,
    /// The file has no place in the tree of the host's first process.
    NoPlace = 16,
    /// The path is too deep, stands in too many places, or would not stay the same while it
    /// was looked at.
    Limit = 17,
    /// A program that is no file any more, or never was one.
    Memory = 18,
    /// A program that the session may write.
    Writable = 19,
    /// It would give files other paths than the rules speak of.
    Mount = 20,
    /// What is below a directory would have other rules where it is moved.
    Moved = 21,
    /// The name in the TLS handshake is not one that the policy allows there.
    Sni = 22,
    /// There is no name in the TLS handshake.
    NoSni = 23,
    /// The name that counts may be encrypted, or come later.
    Hidden = 24,
    /// The first bytes are no TLS handshake.
    NotTls = 25,
    /// More than a limit of the policy lets through in that time.
    Budget = 26,
    /// The process is not of the session, nor of another one.
    Outside = 27,
    /// It is the host's own: its kernel, its devices, its settings.
    Host = 28,
    /// It is agentguard's own.
    Protected = 29,
    /// What was sent on the connection while the session was tainted did not go out, and what
    /// comes behind it does not either.
    Tainted = 30,
    /// Somebody was asked, and let it through.
    Approved = 31,
    /// Somebody was asked, and refused it.
    Refused = 32,
    /// Somebody was asked, and did not answer in time.
    Unanswered = 33,
    /// There is no daemon by which somebody could be asked.
    Unattended = 34,
    /// It cannot wait for an answer: it is no call by itself (`io_uring`), or has begun.
    Unheld = 35,
    /// Too many calls of the session wait for answers.
    Crowded = 36,
}

impl Reason {
    /// Reads a reason from an event or a map; `None` for a byte that is none.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Rule),
            1 => Some(Self::Default),
            2 => Some(Self::Malformed),
            3 => Some(Self::Protocol),
            4 => Some(Self::NoPolicy),
            5 => Some(Self::Ending),
            6 => Some(Self::NoLabel),
            7 => Some(Self::NoStandby),
            8 => Some(Self::Own),
            9 => Some(Self::Steering),
            10 => Some(Self::OtherSession),
            11 => Some(Self::Typing),
            12 => Some(Self::Name),
            13 => Some(Self::Resolver),
            14 => Some(Self::Rebinding),
            15 => Some(Self::Unasked),
            16 => Some(Self::NoPlace),
            17 => Some(Self::Limit),
            18 => Some(Self::Memory),
            19 => Some(Self::Writable),
            20 => Some(Self::Mount),
            21 => Some(Self::Moved),
            22 => Some(Self::Sni),
            23 => Some(Self::NoSni),
            24 => Some(Self::Hidden),
            25 => Some(Self::NotTls),
            26 => Some(Self::Budget),
            27 => Some(Self::Outside),
            28 => Some(Self::Host),
            29 => Some(Self::Protected),
            30 => Some(Self::Tainted),
            31 => Some(Self::Approved),
            32 => Some(Self::Refused),
            33 => Some(Self::Unanswered),
            34 => Some(Self::Unattended),
            35 => Some(Self::Unheld),
            36 => Some(Self::Crowded),
            _ => None,
        }
    }

    /// The word used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Default => "default",
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::NoPolicy => "no-policy",
            Self::Ending => "ending",
            Self::NoLabel => "no-label",
            Self::NoStandby => "no-standby",
            Self::Own => "own",
            Self::Steering => "steering",
            Self::OtherSession => "other-session",
            Self::Typing => "typing",
            Self::Name => "name",
            Self::Resolver => "resolver",
            Self::Rebinding => "rebinding",
            Self::Unasked => "unasked",
            Self::NoPlace => "no-place",
            Self::Limit => "limit",
            Self::Memory => "memory",
            Self::Writable => "writable",
            Self::Mount => "mount",
            Self::Moved => "moved",
            Self::Sni => "sni",
            Self::NoSni => "no-sni",
            Self::Hidden => "hidden",
            Self::NotTls => "not-tls",
            Self::Budget => "budget",
            Self::Outside => "outside",
            Self::Host => "host",
            Self::Protected => "protected",
            Self::Tainted => "tainted",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unattended => "unattended",
            Self::Unheld => "unheld",
            Self::Crowded => "crowded",
        }
    }
}

/// What the evaluator answers: the verdict, why, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What is to happen.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule's number within its policy, from 1; [`RULE_NONE`] where none decided.
    pub rule: u32,
}

/// The rule number that stands for "no rule".
pub const RULE_NONE: u32 = 0;

impl Ruling {
    /// What the session listens on itself is free to it.
    pub const OWN: Self = Self { verdict: Verdict::Allow, reason: Reason::Own, rule: RULE_NONE };

    /// A refusal that no rule asked for.
    #[inline(always)]
    #[must_use]
    pub const fn closed(reason: Reason) -> Self {
        Self { verdict: Verdict::Deny, reason, rule: RULE_NONE }
    }
}
