//! The section `detect`: what counts as suspicious.

use schemars::JsonSchema;
use serde::Deserialize;

/// Detection. There is nothing to set yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {}
