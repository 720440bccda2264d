//! The section `control`: who may do what over the control socket.

use schemars::JsonSchema;
use serde::Deserialize;

/// Control. There is nothing to set yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {}
