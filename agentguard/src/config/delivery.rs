//! What sinks that deliver over the network have in common: a name, TLS, a spool, and
//! texts of which some are secrets.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor, value::MapAccessDeserializer};

use super::SecretRef;
use super::amount::Bytes;

/// The name of a sink: what metrics call it, and the name of its spool's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transparent)]
pub struct SinkName(#[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,31}$"))] String);

impl SinkName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where one name stands twice in a list, which.
    pub(super) fn twice<'n>(mut names: impl Iterator<Item = &'n Self>) -> Option<&'n Self> {
        let mut seen = BTreeSet::new();
        names.find(|name| !seen.insert(*name))
    }
}

impl<'de> Deserialize<'de> for SinkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match name.len() <= 32 && name.chars().all(fits) && !name.starts_with('-') {
            true if !name.is_empty() => Ok(Self(name)),
            _ => Err(D::Error::custom(
                "no name for a sink\n  = up to 32 small letters, digits and hyphens, not a hyphen first",
            )),
        }
    }
}

/// The address of a web server.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct WebAddress(#[schemars(url)] String);

impl WebAddress {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address with a path put after it.
    #[must_use]
    pub fn with_path(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

impl<'de> Deserialize<'de> for WebAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url = reqwest::Url::parse(&text).ok().filter(reqwest::Url::has_host);
        if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            return Err(D::Error::custom(
                "a user or a password in an address\n  = leave it out, and say who we are with `login` or the product's key",
            ));
        }
        match url.as_ref().map(reqwest::Url::scheme) {
            Some("http" | "https") => Ok(Self(text)),
            _ => Err(D::Error::custom(
                "no address of a web server\n  = write a whole one, as https://name.example:8443/path",
            )),
        }
    }
}

/// TLS as a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file of the certificates to trust, instead of those that the host trusts.
    pub ca: Option<PathBuf>,
    /// Who we are, for receivers that want to know.
    pub identity: Option<IdentityConfig>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// A PEM file of our certificate, and those that lead to its issuer.
    pub certificate: PathBuf,
    /// The PEM file of its private key.
    pub key: PathBuf,
}

/// Where events wait while the receiver cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// The directory; the sink makes one of its own in it.
    pub directory: PathBuf,
    /// How much may wait. What is more is turned away, and counted as lost.
    pub limit: Bytes,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { directory: PathBuf::from("/var/lib/agentguard/spool"), limit: Bytes(64 << 20) }
    }
}

/// A text, or where a secret text is.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Text {
    /// The text itself.
    Plain(String),
    /// A secret.
    Secret(SecretRef),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or {file: PATH}, {credential: NAME} or {env: NAME}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Plain(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        SecretRef::deserialize(MapAccessDeserializer::new(map)).map(Text::Secret)
    }
}

/// How a request says who it is from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Login {
    /// `Authorization: Bearer …`.
    Bearer(SecretRef),
    /// `Authorization: Basic …`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretRef,
    },
}
