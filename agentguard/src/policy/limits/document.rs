//! The section `limits` as it is written: see [`super::super::document`].

use schemars::JsonSchema;

use super::super::fields::{Fields, text, text_or_integer};
use super::super::place::Sited;
use super::super::report::Report;
use super::super::shape::{
    BytesPaceText, CountText, DurationText, PaceText, PercentText, RateText, SizeText,
};
use super::super::yaml::{Node, Value};

/// What a session may use of the host. What is missing is not limited.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Limits", deny_unknown_fields)]
pub(in super::super) struct LimitsDocument {
    /// Memory, swap included. Beyond it, all of the session's processes are killed.
    memory: Option<Sited<SizeText>>,
    /// CPU time, in percent of one CPU. Beyond it, its processes wait.
    cpu: Option<Sited<PercentText>>,
    /// Processes and threads. Beyond it, no more can be made.
    pids: Option<Sited<CountText>>,
    /// What is read from and written to the disk of the workspace, per second.
    io: Option<IoDocument>,
    /// How long the session may last, from its start on. Then it is killed.
    runtime: Option<Sited<DurationText>>,
    /// Open files of each process.
    open_files: Option<Sited<CountText>>,
    /// What is sent to other hosts, headers included. Beyond it, packets are dropped.
    egress: Option<Sited<BytesPaceText>>,
    /// Connections. Beyond it, they are refused.
    connections: Option<Sited<PaceText>>,
    /// Programs that are executed. Beyond it, they are not.
    execs: Option<Sited<PaceText>>,
    /// Files that are opened to be written. Beyond it, they are not.
    writes: Option<Sited<PaceText>>,
    /// Files and directories that are removed. Beyond it, they are not.
    deletes: Option<Sited<PaceText>>,
}

/// One rate for both, or one for each.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
enum IoDocument {
    /// One for both.
    Both(Sited<RateText>),
    /// One for each.
    Each(EachDocument),
}

/// Rates for reading and writing.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "IoLimits", deny_unknown_fields)]
struct EachDocument {
    /// Bytes read per second.
    read: Option<Sited<RateText>>,
    /// Bytes written per second.
    write: Option<Sited<RateText>>,
}

impl LimitsDocument {
    pub(in super::super) fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, "limits", "limits", report)?;
        let memory = fields.take("memory", report);
        let cpu = fields.take("cpu", report);
        let pids = fields.take("pids", report);
        let io = fields.take("io", report);
        let runtime = fields.take("runtime", report);
        let open_files = fields.take("open_files", report);
        let egress = fields.take("egress", report);
        let connections = fields.take("connections", report);
        let execs = fields.take("execs", report);
        let writes = fields.take("writes", report);
        let deletes = fields.take("deletes", report);
        fields.close(report);
        let mut take =
            |key, node: Option<&Node<'_>>, expected| text_or_integer(node?, key, expected, report);
        let memory = take("memory", memory, "a size such as 4GiB");
        let cpu = take("cpu", cpu, "a percentage such as 200%");
        let pids = take("pids", pids, "a number");
        let runtime = take("runtime", runtime, "a time such as 2h");
        let open_files = take("open_files", open_files, "a number");
        let egress = take("egress", egress, "bytes per time such as 200MiB/h");
        let mut pace = |key, node| {
            let text = take(key, node, "a number per time such as 120/min")?;
            Some(Sited::new(PaceText(text.value), text.place))
        };
        let connections = pace("connections", connections);
        let execs = pace("execs", execs);
        let writes = pace("writes", writes);
        let deletes = pace("deletes", deletes);
        Some(Self {
            memory: memory.map(|text| Sited::new(SizeText(text.value), text.place)),
            cpu: cpu.map(|text| Sited::new(PercentText(text.value), text.place)),
            pids: pids.map(|text| Sited::new(CountText(text.value), text.place)),
            io: io.and_then(|node| IoDocument::read(node, report)),
            runtime: runtime.map(|text| Sited::new(DurationText(text.value), text.place)),
            open_files: open_files.map(|text| Sited::new(CountText(text.value), text.place)),
            egress: egress.map(|text| Sited::new(BytesPaceText(text.value), text.place)),
            connections,
            execs,
            writes,
            deletes,
        })
    }

    /// The limits that are there, by the names that the command line has for them.
    pub(super) fn given(&self) -> Vec<(&'static str, Sited<String>)> {
        fn own<T>(text: &Sited<T>, of: impl Fn(&T) -> &String) -> Sited<String> {
            Sited::new(of(&text.value).clone(), text.place)
        }
        let rate = |text: &Sited<RateText>| own(text, |text| &text.0);
        let pace = |text: &Sited<PaceText>| own(text, |text| &text.0);
        let (both, read, write) = match &self.io {
            None => (None, None, None),
            Some(IoDocument::Both(both)) => (Some(rate(both)), None, None),
            Some(IoDocument::Each(each)) => {
                (None, each.read.as_ref().map(rate), each.write.as_ref().map(rate))
            }
        };
        let all = [
            ("memory", self.memory.as_ref().map(|text| own(text, |text| &text.0))),
            ("cpu", self.cpu.as_ref().map(|text| own(text, |text| &text.0))),
            ("pids", self.pids.as_ref().map(|text| own(text, |text| &text.0))),
            ("io", both),
            ("io.read", read),
            ("io.write", write),
            ("runtime", self.runtime.as_ref().map(|text| own(text, |text| &text.0))),
            ("open_files", self.open_files.as_ref().map(|text| own(text, |text| &text.0))),
            ("egress", self.egress.as_ref().map(|text| own(text, |text| &text.0))),
            ("connections", self.connections.as_ref().map(pace)),
            ("execs", self.execs.as_ref().map(pace)),
            ("writes", self.writes.as_ref().map(pace)),
            ("deletes", self.deletes.as_ref().map(pace)),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
    }
}

impl IoDocument {
    fn read(node: &Node<'_>, report: &mut Report<'_>) -> Option<Self> {
        let rate = |key, node: Option<&Node<'_>>, report: &mut Report<'_>| {
            let text = text(node?, key, "a rate such as 50MiB/s", report)?;
            Some(Sited::new(RateText(text.value), text.place))
        };
        if !matches!(node.value, Value::Map(_)) {
            return rate("io", Some(node), report).map(Self::Both);
        }
        let mut fields = Fields::open(node, "io", "io", report)?;
        let read = fields.take("read", report);
        let write = fields.take("write", report);
        fields.close(report);
        let (read, write) = (rate("read", read, report), rate("write", write, report));
        Some(Self::Each(EachDocument { read, write }))
    }
}
