//! What secrets and personal data look like: the table of patterns.
//!
//! Known forms only. What has no form of its own is for [`super::random`], and what is
//! told by the argument before it for [`super::arguments`]. A pattern's last group is
//! what gets replaced; where it has none, all that it matches.

use super::check;

/// The classes that can be turned on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Keys,
    Passwords,
    Email,
    Cards,
    Iban,
}

/// One pattern.
pub(super) struct Rule {
    /// What stands in the text afterwards: `[redacted:KIND]`.
    pub(super) kind: &'static str,
    pub(super) group: Group,
    /// What is short and quickly looked for; without it in the text, the pattern is not
    /// tried.
    pub(super) hint: &'static str,
    /// In ASCII; `(?u-i:…)` where a class is negated.
    pub(super) pattern: &'static str,
    /// Whether what was matched is one, where the pattern alone does not tell.
    pub(super) check: fn(&check::Match<'_>) -> bool,
}

const fn key(kind: &'static str, hint: &'static str, pattern: &'static str) -> Rule {
    Rule { kind, group: Group::Keys, hint, pattern, check: check::apart }
}

const fn password(
    kind: &'static str,
    hint: &'static str,
    pattern: &'static str,
    check: fn(&check::Match<'_>) -> bool,
) -> Rule {
    Rule { kind, group: Group::Passwords, hint, pattern, check }
}

/// What passwords and the like are called, at the end of a name.
macro_rules! names {
    () => {
        r"(?i)(?:password|passwd|passphrase|passwort|pwd|pass|secret|token|credential|(?:api|access|secret|private|account|encryption|signing|master|auth|ssh|deploy|license)[_-]?key|connection[_-]?string)"
    };
}

const NAMES: &str = r"(?i)pass|pwd|secret|token|credential|key|string";
const ADDRESS: &str = r"://";

/// All patterns. Where two of them match the same text, the one that stands first
/// names it.
pub(super) const RULES: &[Rule] = &[
    Rule {
        kind: "private-key",
        group: Group::Keys,
        hint: r"PRIVATE KEY",
        pattern: r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?u-i:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        check: check::any,
    },
    key("private-key", r"AGE-SECRET", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    key("aws-key", r"AKIA|ASIA|ABIA|ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    key(
        "github-token",
        r"gh[pousr]_|github_pat_",
        r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}",
    ),
    key(
        "gitlab-token",
        r"gl[a-z]{2,5}-|GR1348941",
        r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[A-Za-z0-9_.-]{20,}|GR1348941[A-Za-z0-9_-]{20,}",
    ),
    key(
        "slack-token",
        r"xox|xapp-",
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}",
    ),
    key(
        "slack-token",
        r"hooks\.slack\.",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_+-]{20,})",
    ),
    key("google-key", r"AIza|GOCSPX-", r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{24,}"),
    key("google-token", r"ya29\.|1//0", r"ya29\.[A-Za-z0-9_.-]{20,}|1//0[A-Za-z0-9_-]{30,}"),
    key(
        "ai-key",
        r"sk-|gsk_|xai-|pplx-|tgp_|r8_|nvapi-|fw_",
        r"sk-(?:ant|proj|svcacct|admin|or|lf)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{20,}|(?:gsk_|xai-|pplx-|tgp_|r8_|nvapi-|fw_)[A-Za-z0-9_-]{24,}",
    ),
    key("huggingface-token", r"hf_|api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    key("npm-token", r"npm_", r"npm_[A-Za-z0-9]{36,}"),
    key("npm-token", r"_authToken", r"_authToken(?: *= *|: *)((?u-i:[^\s$\x22']){8,})"),
    key("pypi-token", r"pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    key("crates-token", r"cio", r"cio[A-Za-z0-9]{32}"),
    key("stripe-key", r"k_live|k_test|whsec", r"(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}"),
    key("sendgrid-key", r"SG\.", r"SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}"),
    key("digitalocean-token", r"do[opr]_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    key("docker-token", r"dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    key("vault-token", r"hv[sbr]\.", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    key("shopify-token", r"shp[a-z]{2}_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    key("linear-key", r"lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    key("telegram-token", r":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    key("jwt", r"eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    // Credentials within an address.
    password(
        "url-password",
        ADDRESS,
        r"[A-Za-z][A-Za-z0-9+.-]*://(?u-i:[^\s/:@\x22'<>])*:((?u-i:[^\s/@\x22'<>])+)@",
        check::secret,
    ),
    password(
        "url-password",
        ADDRESS,
        r"[A-Za-z][A-Za-z0-9+.-]*://((?u-i:[^\s/:@\x22'<>]){20,})@",
        check::secret,
    ),
    password(
        "url-password",
        r"[?&;]",
        r"(?i)[?&;](?:(?:access|auth|id|refresh|session|private|x-amz-security)?[_-]?token|sig|(?:x-amz-|x-goog-)?signature|api[_-]?key|key|password|passwd|pwd|secret|client[_-]secret|code)=((?u-i:[^\s&#\x22'<>]){4,})",
        check::secret,
    ),
    // Headers.
    password(
        "authorization",
        r"(?i)authorization",
        r"(?i)authorization(?:\x22|')?\s{0,4}[:=]\s{0,4}(?:\x22|')?(?:(?:bearer|basic|token|digest|apikey|negotiate|bot)\s+)?((?u-i:[^\x22'\r\n]){4,})",
        check::secret,
    ),
    password(
        "authorization",
        r"(?i)bearer",
        r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})",
        check::bearer,
    ),
    password(
        "cookie",
        r"(?i)cookie:",
        r"(?i)\b(?:set-)?cookie:\s*((?u-i:[^\x22'\r\n]){4,})",
        check::secret,
    ),
    // `PASSWORD=…`, in quotes or up to the next space.
    password(
        "password",
        NAMES,
        concat!(names!(), r#"\\?["']?\s{0,3}(?:=|:=)\s{0,3}\\?"((?u-i:[^"])+)"#),
        check::secret,
    ),
    password(
        "password",
        NAMES,
        concat!(names!(), r#"\\?["']?\s{0,3}(?:=|:=)\s{0,3}\\?'((?u-i:[^'])+)"#),
        check::secret,
    ),
    password("password", NAMES, concat!(names!(), r#"=((?u-i:[^\s"'&;])+)"#), check::secret),
    // `"token": "…"`, `X-Api-Key: …`.
    password(
        "password",
        NAMES,
        concat!(names!(), r#"\\?["']\s{0,3}:\s{0,3}\\?["']((?u-i:[^"'\\])+)"#),
        check::secret,
    ),
    password(
        "password",
        NAMES,
        concat!(names!(), r#":\s{1,3}((?u-i:[^\s"',;]){6,})"#),
        check::written,
    ),
    // `--password X`, where the words stand in one text.
    password(
        "password",
        NAMES,
        concat!(r"(?:^|\s)--?(?:[a-z0-9]+[_-])*", names!(), r#"\s+["']?((?u-i:[^\s"'])+)"#),
        check::argument,
    ),
    password(
        "password",
        r"(?i)aws_s",
        r#"(?i)\baws_(?:secret_access_key|session_token)\s+["']?((?u-i:[^\s"']){8,})"#,
        check::secret,
    ),
    // The short flags of some programs.
    password(
        "password",
        r"curl|wget|http|xh",
        r#"\b(?:curl|wget|http|https|xh)\s(?:(?u-i:[^\n|;&])*?\s)?(?:-u|--user|--proxy-user|-a|--auth)[\s=]*["']?(?u-i:[^\s:"'])+:((?u-i:[^\s"'])+)"#,
        check::secret,
    ),
    password(
        "password",
        r"mysql|mariadb",
        r#"\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\s(?:(?u-i:[^\n|;&])*?\s)?-p((?u-i:[^\s"'])+)"#,
        check::secret,
    ),
    password(
        "password",
        r"sshpass|redis-cli|ldap",
        r#"\b(?:sshpass|redis-cli|ldap[a-z]+)\s(?:(?u-i:[^\n|;&])*?\s)?(?:-p|-a|-w)\s*["']?((?u-i:[^\s"'])+)"#,
        check::secret,
    ),
    password(
        "password",
        r"login",
        r#"\b(?:docker|podman|helm|oc|az|buildah|skopeo)\s(?:(?u-i:[^\n|;&])*?\s)?login\s(?:(?u-i:[^\n|;&])*?\s)?-p\s*["']?((?u-i:[^\s"'])+)"#,
        check::argument,
    ),
    password("password", r"pass:", r#"\bpass:((?u-i:[^\s"'])+)"#, check::secret),
    // Personal data.
    Rule {
        kind: "email",
        group: Group::Email,
        hint: r"@",
        pattern: r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}",
        check: check::email,
    },
    Rule {
        kind: "card",
        group: Group::Cards,
        hint: r"[0-9]{4}[ -]?[0-9]{4}",
        pattern: r"[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}",
        check: check::card,
    },
    Rule {
        kind: "iban",
        group: Group::Iban,
        hint: r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}",
        pattern: r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}",
        check: check::iban,
    },
];
