//! One request to a receiver, over HTTP or gRPC, and what its answer means.

use std::time::Duration;

use super::OtlpError;
use super::grpc::Grpc;
use super::http::Http;
use super::signal::Signal;
use crate::config::{Protocol, Target};

/// How much of what a receiver says is kept, in characters.
const SAID: usize = 200;

/// Why a request was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be taken later; the receiver may say when.
    Later {
        /// What went wrong.
        why: String,
        /// When to come back.
        after: Option<Duration>,
    },
    /// It will never be.
    Final(String),
}

/// Speaks to one receiver.
pub(super) enum Client {
    /// Over HTTP.
    Http(Http),
    /// Over gRPC.
    Grpc(Box<Grpc>),
}

impl Client {
    /// Sets a client up. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where a secret, a certificate or a key cannot be used.
    pub(super) fn new(target: &Target) -> Result<Self, OtlpError> {
        match target.protocol {
            Protocol::Http => Http::new(target).map(Self::Http),
            Protocol::Grpc => Grpc::new(target).map(|grpc| Self::Grpc(Box::new(grpc))),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// Where it was not taken.
    pub(super) async fn send<S: Signal>(
        &self,
        request: &S::Request,
    ) -> Result<S::Response, Failure> {
        match self {
            Self::Http(http) => http.send::<S>(request).await,
            Self::Grpc(grpc) => grpc.send::<S>(request).await,
        }
    }
}

/// What a receiver says, fit for a log.
pub(super) fn said(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(SAID).map(shown).collect()
}

/// An error with what caused it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
