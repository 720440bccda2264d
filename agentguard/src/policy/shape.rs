//! The shapes of values in a policy file that JSON Schema has to be told about.

use std::borrow::Cow;
use std::marker::PhantomData;

use agentguard_common::host::{POWERS, Power};
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
    /// The word deny.
    DenyText, "Deny", { "const": "deny" }
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
    /// A number of bytes.
    SizeText(String), "Size", { "type": "string", "pattern": "^[0-9]+([KMGT]i)?B$" }
);
shape!(
    /// A number of bytes per second.
    RateText(String), "Rate", { "type": "string", "pattern": "^[0-9]+([KMGT]i)?B/s$" }
);
shape!(
    /// An amount of bytes per time.
    BytesPaceText(String), "BytesPerTime", { "type": "string", "pattern": "^[0-9]+([KMGT]i)?B/(s|second|min|minute|h|hour|d|day)$" }
);
shape!(
    /// A number per time.
    PaceText(String), "NumberPerTime", { "type": "string", "pattern": "^[0-9]+/(s|second|min|minute|h|hour|d|day)$" }
);
shape!(
    /// A condition of a response.
    WhenText, "When",
    {
        "type": "string",
        "pattern": "^\\s*((denials|findings|execs|forks|connections|names)\\s+>=?\\s+[0-9]+\\s+in\\s+[0-9]+[smhd]|finding\\s+[a-z-]+(\\s+>=\\s+[01](\\.[0-9]{1,2})?)?|runtime\\s+>\\s+[0-9]+[smhd]|limit\\s+[a-z]+)\\s*$"
    }
);
shape!(
    /// A share of CPUs; 100% is one.
    PercentText(String), "Percent", { "type": "string", "pattern": "^[0-9]+%$" }
);
shape!(
    /// A number.
    CountText(String), "Count",
    { "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "^[0-9]+$" }] }
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
    /// Something that a session may do to the host.
    PowerText, "Power", { "enum": POWERS.map(Power::as_str) }
);
shape!(
    /// A transport protocol.
    ProtocolText, "Protocol", { "enum": ["tcp", "udp", "icmp"] }
);
