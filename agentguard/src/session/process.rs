//! The processes of sessions, as exec, fork and exit records tell of them: what a
//! decision record needs to be tied to a program. Bounded; where a process is not
//! known, `/proc` is asked.

use std::collections::HashMap;

/// How many processes are remembered. Beyond that, the oldest entries go.
const LIMIT: usize = 65_536;

/// What is known of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its parent.
    pub parent: Option<u32>,
    /// The program it runs, as it sees the path.
    pub exe: Option<String>,
    /// Its arguments, as far as they were recorded.
    pub args: Vec<String>,
    /// When it was executed, in nanoseconds since boot; 0 where that is not known.
    pub executed: u64,
}

/// The processes of all sessions.
#[derive(Debug, Default)]
pub struct Processes {
    known: HashMap<u32, Process>,
    gone: Vec<u32>,
}

impl Processes {
    /// A process was made.
    pub fn forked(&mut self, parent: u32, child: u32) {
        let mut process = self.known.get(&parent).cloned().unwrap_or_default();
        process.parent = Some(parent);
        self.put(child, process);
    }

    /// A process runs another program.
    pub fn executed(&mut self, pid: u32, process: Process) {
        self.put(pid, process);
    }

    /// A process ended. It is remembered until [`Self::forget_gone`], as decisions
    /// about it may still be on their way. True when it was known and running.
    pub fn exited(&mut self, pid: u32) -> bool {
        let first = !self.gone.contains(&pid);
        if first {
            self.gone.push(pid);
        }
        first
    }

    /// Forgets those that ended.
    pub fn forget_gone(&mut self) {
        for pid in self.gone.drain(..) {
            self.known.remove(&pid);
        }
    }

    /// What is known of a process.
    #[must_use]
    pub fn get(&self, pid: u32) -> Process {
        self.known.get(&pid).cloned().unwrap_or_else(|| from_proc(pid))
    }

    /// A process and what it descends from, as far as they belong to sessions and are
    /// known without asking `/proc`.
    pub fn ancestors(&self, first: Option<u32>) -> impl Iterator<Item = (u32, &Process)> {
        let found = move |pid: u32| self.known.get(&pid).map(|process| (pid, process));
        std::iter::successors(first.and_then(found), move |(_, process)| {
            process.parent.and_then(found)
        })
    }

    fn put(&mut self, pid: u32, process: Process) {
        self.gone.retain(|gone| *gone != pid);
        if self.known.len() >= LIMIT && !self.known.contains_key(&pid) {
            // Only after lost exit records; any entry will do, as /proc can be asked.
            if let Some(oldest) = self.known.keys().next().copied() {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(pid, process);
    }
}

fn from_proc(pid: u32) -> Process {
    let Some(process) =
        i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok())
    else {
        return Process::default();
    };
    Process {
        parent: process.stat().ok().and_then(|stat| u32::try_from(stat.ppid).ok()),
        exe: process.exe().ok().map(|path| path.display().to_string()),
        args: process.cmdline().unwrap_or_default(),
        executed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_known_by_its_parents_program_until_it_runs_its_own() {
        let mut processes = Processes::default();
        let shell = Process {
            parent: None,
            exe: Some("/bin/sh".into()),
            args: vec!["sh".into()],
            executed: 1,
        };
        processes.executed(u32::MAX - 1, shell);
        processes.forked(u32::MAX - 1, u32::MAX - 2);
        assert_eq!(processes.get(u32::MAX - 2).exe.as_deref(), Some("/bin/sh"));
        assert_eq!(processes.get(u32::MAX - 2).parent, Some(u32::MAX - 1));
    }

    #[test]
    fn ancestors_are_followed_as_far_as_they_are_known() {
        let mut processes = Processes::default();
        let shell = Process { parent: Some(1), exe: Some("/sh".into()), ..Process::default() };
        processes.executed(10, shell);
        processes.forked(10, 11);
        processes.forked(11, 12);
        let pids: Vec<u32> = processes.ancestors(Some(12)).map(|(pid, _)| pid).collect();
        assert_eq!(pids, [12, 11, 10]);
        assert_eq!(processes.ancestors(Some(99)).count(), 0);
        // Numbers that were used again can make a ring: who asks has to set an end.
        processes.executed(10, Process { parent: Some(12), ..Process::default() });
        assert_eq!(processes.ancestors(Some(12)).take(8).count(), 8);
    }

    #[test]
    fn what_ended_is_remembered_until_told_to_forget() {
        let mut processes = Processes::default();
        processes.executed(u32::MAX - 1, Process { exe: Some("/x".into()), ..Process::default() });
        assert!(processes.exited(u32::MAX - 1));
        assert!(!processes.exited(u32::MAX - 1), "two threads can report the same end");
        assert_eq!(processes.get(u32::MAX - 1).exe.as_deref(), Some("/x"));
        processes.forget_gone();
        assert_eq!(processes.get(u32::MAX - 1), Process::default());
    }

    #[test]
    fn a_number_used_again_is_not_forgotten() {
        let mut processes = Processes::default();
        processes.exited(u32::MAX - 1);
        processes.executed(u32::MAX - 1, Process { exe: Some("/y".into()), ..Process::default() });
        processes.forget_gone();
        assert_eq!(processes.get(u32::MAX - 1).exe.as_deref(), Some("/y"));
    }
}
