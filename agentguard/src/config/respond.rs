//! The section `respond`: what follows from findings.

use schemars::JsonSchema;
use serde::Deserialize;

/// Response. There is nothing to set yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RespondConfig {}
