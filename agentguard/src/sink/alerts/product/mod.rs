//! The products that alerts can go to: how each is told.

mod alertmanager;
mod opsgenie;
mod pagerduty;
mod slack;
mod template;
#[cfg(test)]
mod tests;

use std::slice;

use super::facts::{self, Facts};
use super::tracker::Notice;
use crate::config::{AlertProduct, SecretError};
use crate::sink::delivery::{Answer, Credentials, Request, RequestError, Secret};

use alertmanager::Alertmanager;
use opsgenie::Opsgenie;
use pagerduty::Pagerduty;
use slack::Slack;
use template::{TemplateError, Webhook};

/// A product, ready to be told.
pub(super) enum Product {
    Alertmanager(Alertmanager),
    Pagerduty(Pagerduty),
    Opsgenie(Opsgenie),
    Slack(Slack),
    Webhook(Box<Webhook>),
}

/// Why a product cannot be told as configured.
#[derive(Debug, thiserror::Error)]
pub(in crate::sink) enum ProductError {
    /// A secret cannot be had, or the request not be made.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The template of the body will not do.
    #[error("{0}")]
    Template(#[from] TemplateError),
}

impl ProductError {
    /// What it means for an alert.
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Request(error) => error.answer(),
            Self::Template(error) => Answer::Refused(error.to_string()),
        }
    }
}

impl From<SecretError> for ProductError {
    fn from(error: SecretError) -> Self {
        Self::Request(error.into())
    }
}

impl Product {
    /// Finds its secrets and looks at what else can be wrong.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn new(config: &AlertProduct) -> Result<Self, ProductError> {
        Ok(match config {
            AlertProduct::Alertmanager(config) => Self::Alertmanager(Alertmanager::new(config)?),
            AlertProduct::Pagerduty(config) => Self::Pagerduty(Pagerduty::new(config)?),
            AlertProduct::Opsgenie(config) => {
                Self::Opsgenie(Opsgenie::new(config, opsgenie::OPSGENIE)?)
            }
            AlertProduct::JiraServiceManagement(config) => {
                Self::Opsgenie(Opsgenie::new(config, opsgenie::JIRA)?)
            }
            AlertProduct::Slack(config) => Self::Slack(Slack::new(config)?),
            AlertProduct::Http(config) => Self::Webhook(Box::new(Webhook::new(config)?)),
        })
    }

    /// The request that tells it.
    ///
    /// # Errors
    ///
    /// Where a secret cannot be had any more, or does not go into a request.
    pub(super) fn request(
        &self,
        notice: &Notice,
        runbook: Option<&str>,
    ) -> Result<Request, ProductError> {
        let facts = Facts::of(notice, runbook);
        match self {
            Self::Alertmanager(product) => product.request(slice::from_ref(notice), runbook),
            Self::Pagerduty(product) => product.request(notice, &facts),
            Self::Opsgenie(product) => product.request(notice, &facts),
            Self::Slack(product) => product.request(notice, &facts),
            Self::Webhook(product) => product.request(&facts),
        }
    }

    /// The request that tells it again of all that is open; `None` for products that
    /// do not forget.
    pub(super) fn reminder(
        &self,
        open: &[Notice],
        runbook: Option<&str>,
    ) -> Option<Result<Request, ProductError>> {
        match self {
            Self::Alertmanager(product) => Some(product.request(open, runbook)),
            _ => None,
        }
    }
}

/// A body of JSON.
fn json(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

const JSON: &str = "application/json";
