//! The JSON Schema of policy files, for editors.

use schemars::generate::SchemaSettings;

use super::document::PolicyDocument;

/// The JSON Schema (draft 2020-12) of the policy language, made from the types that
/// files are read into.
#[must_use]
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<PolicyDocument>().into()
}
