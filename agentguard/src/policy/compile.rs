//! From a policy to the tables that the evaluators read; see
//! [`agentguard_common::egress`] and [`agentguard_common::name`] for what they are and
//! why.

use std::collections::BTreeMap;

use agentguard_common::egress::{MAX_BLOCKS, MAX_ENTRIES, PolicyEntry, V6_LENGTHS};
use agentguard_common::name::MAX_NAMES;
use agentguard_common::unix;
use bytemuck::Zeroable;

use super::builtin::socket_rule;
use super::compiled::Compiled;
use super::error::{PolicyErrors, Problem};
use super::model::Policy;
use super::report::Report;
use super::tables::Tables;
use super::terms;

impl Policy {
    /// Compiles the policy into the tables that kernel and daemon decide by.
    ///
    /// # Errors
    ///
    /// Where the tables have no room for it.
    pub fn compile(&self) -> Result<Compiled, PolicyErrors> {
        self.compile_beside(self.tainted.as_deref())
    }

    /// Compiles what holds once a session is tainted, one of [`Policy::tainted`], beside the
    /// policy that holds before.
    ///
    /// # Errors
    ///
    /// As for [`Self::compile`].
    pub fn compile_after(&self, before: &Self) -> Result<Compiled, PolicyErrors> {
        self.compile_beside(Some(before))
    }

    fn compile_beside(&self, beside: Option<&Self>) -> Result<Compiled, PolicyErrors> {
        let mut report = Report::new(&self.path, &self.source);
        let terms = terms::of_section(&self.egress);
        let mut entry = PolicyEntry::zeroed();
        entry.tag = self.tag();
        entry.hash = self.hash;
        let numbered = beside.filter(|_| self.is_tainted).map_or(entry.tag, Self::tag);
        entry.lists = PolicyEntry::lists_of(numbered);
        entry.egress_default = self.egress.default as u8;
        entry.patience = self.patience;
        entry.host = self.host.iter().fold(0, |open, power| open | power.bit());
        let lookups = self.egress.lookups();
        if let Some(dns) = &lookups {
            dns.fill(&mut entry);
            entry.dns |= self.egress.tls.bits();
        }
        let (v6, v4) = terms.split_at(terms.partition_point(|term| !term.subject.is_v4()));
        let mut tables = Tables::default();
        entry.v6_count = tables.add_family(self, v6, &mut entry.lengths, V6_LENGTHS, &mut report);
        entry.v4_count = tables.add_family(self, v4, &mut entry.lengths, 0, &mut report);
        tables.add_names(self, beside, &mut report);
        let Tables { entries, blocks, names, .. } = tables;
        for (count, what, max) in [
            (entries.len(), "networks, search markers and lists of names", MAX_ENTRIES),
            (blocks.len(), "different long lists of port rules", MAX_BLOCKS),
            (names.len(), "names of hosts", MAX_NAMES),
        ] {
            if u32::try_from(count).is_ok_and(|count| count <= max) {
                continue;
            }
            let mend = "join neighbouring networks, or use fewer different prefix lengths";
            report.whole(Problem::TooLarge { count, what, max }, Some(mend));
        }
        let sockets = self.sockets();
        let resolvers = lookups.map(|dns| dns.resolvers).unwrap_or_default();
        report.or(Some(Compiled { entry, egress: entries, blocks, names, resolvers, sockets }))
    }

    fn sockets(&self) -> BTreeMap<unix::Key, unix::Rule> {
        let mut sockets = BTreeMap::new();
        for rule in &self.egress.rules {
            for key in rule.sockets.iter().flat_map(|name| name.value.keys(0)) {
                sockets.insert(key, socket_rule(rule.verdict, rule.number, &key));
            }
        }
        sockets
    }
}
