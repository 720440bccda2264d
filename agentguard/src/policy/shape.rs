//! The shapes of values in a policy file that JSON Schema has to be told about.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::fields::items;
use super::place::Sited;
use super::report::Report;
use super::yaml::Node;

/// One text, or a list of at least one. `T` says what the texts are.
#[derive(Debug)]
pub(super) struct Several<T> {
    pub(super) texts: Vec<Sited<String>>,
    shape: PhantomData<T>,
}

impl<T> Several<T> {
    /// Reads each item with `read`.
    pub(super) fn read<'s>(
        node: &Node<'s>,
        key: &'static str,
        report: &mut Report<'_>,
        read: impl Fn(&Node<'s>, &mut Report<'_>) -> Option<Sited<String>>,
    ) -> Self {
        let items = items(node, key, report).iter();
        Self { texts: items.filter_map(|item| read(item, report)).collect(), shape: PhantomData }
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

impl<T: JsonSchema> JsonSchema for Sited<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Gives a marker type its JSON Schema.
macro_rules! shape {
    ($(#[$doc:meta])* $type:ident $(($inner:ty))?, $name:literal, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $type $((pub(super) $inner))?;

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

shape!(
    /// The version, as it is written.
    VersionText(String), "Version", { "enum": [1, "1"] }
);
shape!(
    /// A user, as written.
    UserText(String), "User",
    { "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0, "maximum": 4_294_967_294_u32 }] }
);
shape!(
    /// An address, a network, a host's name or a unix socket.
    NetworkText, "Network",
    {
        "type": "string",
        "pattern": "^([0-9a-fA-F:.]+(/[0-9]{1,3})?|(\\*\\.)?[^*:/?#@\\s]+|unix:[/@].+)$"
    }
);
shape!(
    /// A path, or a pattern of paths.
    PathText, "Path", { "type": "string", "pattern": "^(/|~(/|$)|\\$\\{|\\*\\*(/|$))" }
);
shape!(
    /// An address or a network.
    CidrText, "Cidr", { "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" }
);
shape!(
    /// The address of a resolver, or the word system.
    ResolverText, "Resolver", { "type": "string", "pattern": "^([0-9a-fA-F:.]+|system)$" }
);
shape!(
    /// A length of time.
    DurationText(String), "Duration", { "type": "string", "pattern": "^[0-9]+[smhd]$" }
);
shape!(
    /// A port, a range of ports or the word any.
    PortText, "Ports",
    {
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": "^([0-9]{1,5}(-[0-9]{1,5})?|any)$" }
        ]
    }
);
shape!(
    /// A transport protocol.
    ProtocolText, "Protocol", { "enum": ["tcp", "udp", "icmp"] }
);
