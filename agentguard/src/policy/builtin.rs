//! Unix sockets that every policy has an opinion on, without saying so.
//!
//! Behind some sockets sits someone who does things for whoever asks, outside of the
//! session: those are denied, unless a rule names the very same name, also where a rule
//! allows the directory that they are in or everything is allowed. Behind a few others
//! sits a list of the host's users.

use std::collections::BTreeMap;

use agentguard_common::unix::{BUILTIN, Key, Rule};
use agentguard_common::verdict::Verdict;

use super::socket::SocketName;

/// The number of the rule that denies managers.
pub const RULE_MANAGERS: u32 = u32::MAX - 1;
/// The id of that rule.
pub const RULE_MANAGERS_ID: &str = "builtin.managers";
/// The number of the rule that allows looking up users.
pub const RULE_LOOKUP: u32 = u32::MAX - 2;
/// The id of that rule.
pub const RULE_LOOKUP_ID: &str = "builtin.lookup";

/// Managers of containers, virtual machines, services and packages; D-Bus, and whatever
/// else a user's login session runs; caches that resolve names; agentguard itself.
pub(super) const MANAGERS: &[&str] = &[
    "/run/docker.sock",
    "/run/docker/**",
    "/run/containerd/**",
    "/run/podman/**",
    "/run/crio/**",
    "/run/buildkit/**",
    "/run/k3s/**",
    "/run/lxd.socket",
    "/var/lib/lxd/**",
    "/var/snap/lxd/**",
    "/run/incus/**",
    "/var/lib/incus/**",
    "/run/libvirt/**",
    "/run/systemd/**",
    "/run/dbus/**",
    "/run/user/**",
    "/run/snapd.socket",
    "/run/snapd-snap.socket",
    "/run/acpid.socket",
    "/run/nscd/**",
    "/run/agentguard/**",
    "@/tmp/dbus-*",
    "@/org/freedesktop/*",
    "@/com/ubuntu/upstart*",
    "@/containerd-shim/*",
    "@/run/containerd/*",
];

/// Users and groups (nss-systemd, sssd), and what agentguard tells a session of itself.
pub(super) const LOOKUP: &[&str] =
    &["/run/systemd/userdb/**", "/var/lib/sss/pipes/nss", "/run/agentguard/self.sock"];

/// The built-in rules, as the kernel takes them.
#[must_use]
pub fn builtin_sockets() -> BTreeMap<Key, Rule> {
    let lists = [(MANAGERS, Verdict::Deny, RULE_MANAGERS), (LOOKUP, Verdict::Allow, RULE_LOOKUP)];
    let rules = lists.into_iter().flat_map(|(names, verdict, rule)| {
        let keys = names.iter().flat_map(|name| SocketName::known(name).keys(BUILTIN));
        keys.map(move |key| (key, socket_rule(verdict, rule, &key)))
    });
    rules.collect()
}

/// What a rule says of a name.
pub(super) const fn socket_rule(verdict: Verdict, rule: u32, key: &Key) -> Rule {
    Rule { verdict: verdict as u8, reserved: [0; 3], rule, bits: key.bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_could_stand_in_a_policy() {
        for name in MANAGERS.iter().chain(LOOKUP) {
            let read = SocketName::parse(&format!("unix:{name}")).unwrap();
            assert_eq!(read, SocketName::known(name), "{name}");
            assert_eq!(read.to_string(), format!("unix:{name}"));
        }
    }
}
