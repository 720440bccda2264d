//! What a session uses of the host, and how much it has to wait for it (PSI), as its cgroup
//! has it. What the kernel does not tell, because a controller is off, is left out.

use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;

/// What a session uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The most memory it had at once, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// CPU time so far, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// How long it had to wait because of its limit, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_throttled: Option<u64>,
    /// Tasks, threads included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Bytes read from disks so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_read: Option<u64>,
    /// Bytes written to disks so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_written: Option<u64>,
    /// How often limits were hit.
    pub hits: Hits,
    /// Share of the last ten seconds in which some task waited for CPU time, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<f64>,
    /// The same for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<f64>,
    /// The same for disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_pressure: Option<f64>,
}

/// How often limits were hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hits {
    /// How often the kernel killed because of the limit on memory.
    pub memory: u64,
    /// How often a process could not be made because of the limit on them.
    pub pids: u64,
}

impl Cgroup {
    /// What is used now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let number = |file: &str| self.read(file)?.trim().parse().ok();
        let cpu = self.read("cpu.stat").unwrap_or_default();
        let io = self.read("io.stat").unwrap_or_default();
        let has_io = self.has("io.stat");
        let pressure = |file: &str| self.read(file).and_then(|text| some_avg10(&text));
        Usage {
            memory: number("memory.current"),
            memory_peak: number("memory.peak"),
            cpu: value_of(&cpu, "usage_usec"),
            cpu_throttled: value_of(&cpu, "throttled_usec"),
            pids: number("pids.current"),
            io_read: has_io.then(|| sum_of(&io, "rbytes=")),
            io_written: has_io.then(|| sum_of(&io, "wbytes=")),
            hits: self.hits(),
            cpu_pressure: pressure("cpu.pressure"),
            memory_pressure: pressure("memory.pressure"),
            io_pressure: pressure("io.pressure"),
        }
    }

    /// How often limits were hit so far.
    #[must_use]
    pub fn hits(&self) -> Hits {
        let of = |file: &str, key: &str| {
            self.read(file).and_then(|text| value_of(&text, key)).unwrap_or(0)
        };
        Hits { memory: of("memory.events", "oom_kill"), pids: of("pids.events", "max") }
    }
}

/// The number behind a key, one of each to a line.
fn value_of(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

/// The sum of a number over all devices.
fn sum_of(text: &str, key: &str) -> u64 {
    let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse().ok());
    values.fold(0, |sum: u64, value: u64| sum.saturating_add(value))
}

/// `avg10` of the line `some` of a pressure file.
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let cpu = "usage_usec 1500\nuser_usec 1000\nnr_throttled 3\nthrottled_usec 77\n";
        assert_eq!(value_of(cpu, "usage_usec"), Some(1500));
        assert_eq!(value_of(cpu, "throttled_usec"), Some(77));
        assert_eq!(value_of(cpu, "burst_usec"), None);
        let io = "8:0 rbytes=10 wbytes=4 rios=1\n259:0 rbytes=5 wbytes=0 rios=1\n";
        assert_eq!((sum_of(io, "rbytes="), sum_of(io, "wbytes=")), (15, 4));
        let pressure = "some avg10=12.50 avg60=1.00 avg300=0.00 total=9\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(some_avg10(pressure), Some(12.5));
        assert_eq!(some_avg10(""), None);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_left_out() {
        let usage = Cgroup::at("/no/such/cgroup".into()).usage();
        assert_eq!(usage, Usage::default());
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, r#"{"hits":{"memory":0,"pids":0}}"#);
    }
}
