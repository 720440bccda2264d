//! Reads the VM's serial console: the kernel's own words, and nothing of the command's.

use std::collections::VecDeque;

/// How much of the log is kept for a report.
const TAIL: usize = 80;

/// What the kernel says, at the start of a message, when it is in trouble.
const TROUBLE: &[&str] = &[
    "Kernel panic",
    "BUG: ",
    "kernel BUG at",
    "Oops",
    "general protection fault",
    "double fault",
    "Unable to handle kernel",
    "watchdog: BUG",
    "rcu: INFO: rcu_",
    "rcu: INFO: Stall",
    "INFO: task ",
    "INFO: rcu_",
    "KASAN: ",
    "UBSAN: ",
];

/// The console so far.
#[derive(Debug, Default)]
pub(super) struct Console {
    partial: Vec<u8>,
    tail: VecDeque<String>,
    trouble: Option<String>,
}

impl Console {
    /// Takes in bytes from the console.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if self.trouble.is_none() && is_trouble(&line) {
                self.trouble = Some(line.clone());
            }
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(line);
        }
    }

    /// The first sign of trouble.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The last lines, for a report.
    pub(super) fn report(&self) -> String {
        let mut text = String::from("---- the VM's console, last lines ----\n");
        for line in &self.tail {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("---- end of console ----\n");
        text
    }
}

/// Kernel lines start with a time in brackets; other lines are a program's.
fn is_trouble(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('[') else { return false };
    let Some((time, message)) = rest.split_once("] ") else { return false };
    let stamped = time.trim().parse::<f64>().is_ok();
    stamped && TROUBLE.iter().any(|sign| message.starts_with(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_trouble_is_told_from_talk_of_it() {
        assert!(is_trouble("[    5.123456] Kernel panic - not syncing: sysrq"));
        assert!(is_trouble("[   12.000001] Oops: general protection fault, 0000 [#1]"));
        assert!(is_trouble("[   42.100000] rcu: INFO: rcu_sched self-detected stall on CPU"));
        assert!(!is_trouble("[    5.1] traps: a.out[7] general protection fault ip:1"));
        assert!(!is_trouble("BUG: said a test"));
        assert!(!is_trouble("[test] BUG: said another"));
    }

    #[test]
    fn lines_are_put_together() {
        let mut console = Console::default();
        console.push(b"[    1.0] BU");
        assert!(console.trouble().is_none());
        console.push(b"G: kernel NULL pointer\r\n");
        assert_eq!(console.trouble(), Some("[    1.0] BUG: kernel NULL pointer"));
    }
}
