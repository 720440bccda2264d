//! Secrets and what is made of them: headers, logins, addresses. Each is read again
//! when its file changes, so a new key needs no restart.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::http::{self, Request, RequestError};
use crate::config::{Login, SecretError, SecretRef, SecretSource, Text};

/// A secret.
pub(crate) struct Secret(SecretSource);

impl Secret {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    pub(crate) fn new(reference: &SecretRef) -> Result<Self, SecretError> {
        SecretSource::new(reference).map(Self)
    }

    /// As it is now.
    ///
    /// # Errors
    ///
    /// Where it cannot be had any more.
    pub(crate) fn get(&self) -> Result<SecretString, SecretError> {
        self.0.get()
    }
}

/// A text that may be a secret.
pub(crate) enum Word {
    Plain(SecretString),
    Secret(Secret),
}

impl Word {
    /// Of a text that is no secret.
    pub(crate) fn plain(text: &str) -> Self {
        Self::Plain(SecretString::from(text))
    }

    /// Finds it.
    ///
    /// # Errors
    ///
    /// Where it is a secret that cannot be had.
    pub(crate) fn new(text: &Text) -> Result<Self, SecretError> {
        match text {
            Text::Plain(text) => Ok(Self::plain(text)),
            Text::Secret(reference) => Secret::new(reference).map(Self::Secret),
        }
    }

    /// As it is now.
    ///
    /// # Errors
    ///
    /// Where it is a secret that cannot be had any more.
    pub(crate) fn get(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Secret(secret) => secret.get(),
        }
    }
}

/// Headers of every request.
pub(crate) struct Headers(Vec<(String, Word)>);

impl Headers {
    /// No headers.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Headers without secrets.
    ///
    /// # Errors
    ///
    /// Where a name or value cannot be sent.
    pub(crate) fn plain(headers: Vec<(&str, String)>) -> Result<Self, RequestError> {
        let found = headers.into_iter().map(|(name, text)| (name.to_owned(), Word::plain(&text)));
        Self(found.collect()).tried()
    }

    /// Finds their secrets, and sees that they can be headers.
    ///
    /// # Errors
    ///
    /// Where a secret cannot be had, or a name or value cannot be sent.
    pub(crate) fn new(headers: &BTreeMap<String, Text>) -> Result<Self, RequestError> {
        if let Some((name, _)) = headers.iter().find(|(name, text)| is_inline(name, text)) {
            return Err(RequestError::Inline(name.clone()));
        }
        let found = headers.iter().map(|(name, text)| Ok((name.clone(), Word::new(text)?)));
        Self(found.collect::<Result<_, SecretError>>()?).tried()
    }

    fn tried(self) -> Result<Self, RequestError> {
        self.on(Request::post("http://localhost", "text/plain", Vec::new())?)?;
        Ok(self)
    }

    /// Puts them on a request.
    ///
    /// # Errors
    ///
    /// As [`Headers::new`].
    pub(crate) fn on(&self, mut request: Request) -> Result<Request, RequestError> {
        for (name, word) in &self.0 {
            request = match word {
                Word::Plain(text) => request.header(name, text.expose_secret())?,
                Word::Secret(secret) => request.secret(name, "", &secret.get()?)?,
            };
        }
        Ok(request)
    }
}

/// Whether a header that is commonly a secret has its value in the configuration.
fn is_inline(name: &str, text: &Text) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["authorization", "cookie", "key", "token", "secret", "password"];
    matches!(text, Text::Plain(_)) && secret.iter().any(|word| name.ends_with(word))
}

/// Who we are, for the header `Authorization`.
pub(crate) enum Credentials {
    None,
    Bearer(Secret),
    Basic(String, Secret),
}

impl Credentials {
    /// Finds the secret.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    pub(crate) fn new(login: Option<&Login>) -> Result<Self, SecretError> {
        Ok(match login {
            None => Self::None,
            Some(Login::Bearer(token)) => Self::Bearer(Secret::new(token)?),
            Some(Login::Basic { user, password }) => {
                Self::Basic(user.clone(), Secret::new(password)?)
            }
        })
    }

    /// Puts them on a request.
    ///
    /// # Errors
    ///
    /// Where the secret cannot be had any more, or cannot be sent.
    pub(crate) fn on(&self, request: Request) -> Result<Request, RequestError> {
        Ok(match self {
            Self::None => request,
            Self::Bearer(token) => request.secret("authorization", "Bearer ", &token.get()?)?,
            Self::Basic(user, password) => {
                let password = password.get()?;
                let pair = SecretString::from(format!("{user}:{}", password.expose_secret()));
                let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
                request.secret("authorization", "Basic ", &encoded)?.hide(&password)
            }
        })
    }
}

/// Sees that an address is one of a web server.
///
/// # Errors
///
/// Where it is none.
pub(crate) fn check_url(url: &str) -> Result<Url, RequestError> {
    http::parse(url)
}
