//! Where something is changed, told by its path: what would outlive the session, the host's
//! own controls, and agentguard's own.

use std::collections::BTreeMap;

use super::scale::together;
use super::seen::base_name;
use super::{Detector, Found, Seen};
use crate::policy::{Confidence, Finding};

/// Where something that is put there is started without the session, and how sure that means
/// it: directories (with everything below) and files.
const STARTED: [(&str, u8); 30] = [
    ("/etc/cron", 90),
    ("/etc/anacrontab", 90),
    ("/var/spool/cron/", 90),
    ("/etc/systemd/system/", 85),
    ("/etc/systemd/user/", 85),
    ("/usr/lib/systemd/system/", 75),
    ("/lib/systemd/system/", 75),
    ("/.config/systemd/user/", 85),
    ("/etc/init.d/", 80),
    ("/etc/rc.local", 85),
    ("/etc/rc", 80),
    ("/.config/autostart/", 80),
    ("/etc/xdg/autostart/", 80),
    ("/etc/profile", 80),
    ("/etc/bash.bashrc", 80),
    ("/etc/environment", 75),
    ("/etc/zsh/", 80),
    ("/.bashrc", 80),
    ("/.bash_profile", 80),
    ("/.bash_login", 80),
    ("/.bash_logout", 70),
    ("/.profile", 80),
    ("/.zshrc", 80),
    ("/.zshenv", 80),
    ("/.zprofile", 80),
    ("/.config/fish/config.fish", 75),
    ("/.ssh/authorized_keys", 95),
    ("/.ssh/rc", 85),
    ("/etc/ld.so.preload", 95),
    ("/etc/udev/rules.d/", 85),
];
/// Where rights are given away.
const RIGHTS: [(&str, u8); 5] = [
    ("/etc/sudoers", 95),
    ("/etc/pam.d/", 90),
    ("/etc/passwd", 85),
    ("/etc/shadow", 90),
    ("/etc/group", 80),
];
/// The host's own controls, and whether reading them is a sign, too: runtimes of languages
/// read how much CPU and memory there is, for example.
const CONTROLS: [(&str, u8, bool); 17] = [
    ("/sys/fs/cgroup/", 60, false),
    ("/proc/sys/", 65, false),
    ("/proc/sysrq-trigger", 90, false),
    ("/sys/kernel/", 75, false),
    ("/sys/fs/bpf/", 80, true),
    ("/proc/1/root", 75, true),
    ("/proc/1/cwd", 75, true),
    ("/proc/1/ns/", 75, true),
    ("/proc/1/mem", 90, true),
    ("/proc/1/environ", 75, true),
    ("/proc/kcore", 90, true),
    ("/dev/mem", 90, true),
    ("/dev/kmem", 90, true),
    ("/dev/port", 90, true),
    ("/dev/sd", 80, true),
    ("/dev/nvme", 80, true),
    ("/dev/vd", 80, true),
];
/// Unix sockets of those who start things outside, by parts of their names.
const MANAGERS: [&str; 7] = [
    "docker.sock",
    "containerd.sock",
    "crio.sock",
    "podman.sock",
    "/run/systemd/private",
    "system_bus_socket",
    "libvirt-sock",
];
/// Programs that change the kernel, or enter what is not the session's.
const KERNEL_PROGRAMS: [(&str, u8); 8] = [
    ("nsenter", 65),
    ("insmod", 80),
    ("modprobe", 70),
    ("rmmod", 80),
    ("kexec", 90),
    ("bpftool", 60),
    ("runc", 50),
    ("ctr", 50),
];
/// What agentguard's own paths begin with.
const OWN: [&str; 5] = [
    "/run/agentguard",
    "/etc/agentguard",
    "/var/log/agentguard",
    "/sys/fs/bpf/agentguard",
    "/sys/fs/cgroup/agentguard",
];

/// Something that would outlive the session: a job, a service, a shell's start, a key, a hook.
pub(super) struct Persistence;

impl Detector for Persistence {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let Some(path) = event.changes() else { return persistent_program(event, found) };
        if event.action == "file.delete" {
            return;
        }
        let sure = if let Some(hook) = git_hook(path) {
            // git itself puts examples there.
            let by_git = event.exe.map(base_name) == Some("git");
            if hook.ends_with(".sample") || by_git { return } else { 70 }
        } else {
            let all = STARTED.iter().chain(&RIGHTS);
            match all.filter(|(part, _)| is_at(path, part)).map(|(_, sure)| *sure).max() {
                Some(sure) => sure,
                None => return,
            }
        };
        found.push(Found {
            finding: Finding::Persistence,
            new: false,
            confidence: Confidence::of(sure),
            evidence: vec![event.id.to_owned()],
            reason: format!("{} {path}, which is used beyond the session", event.action),
        });
    }
}

fn persistent_program(event: &Seen<'_>, found: &mut Vec<Found>) {
    let Some(program) = event.executes() else { return };
    let has = |word: &str| event.args.iter().any(|arg| arg == word);
    let installs = match program {
        "crontab" => !has("-l"),
        "systemctl" => has("enable") || has("link") || has("edit"),
        "at" | "batch" => !has("-l"),
        _ => false,
    };
    if installs {
        found.push(Found {
            finding: Finding::Persistence,
            new: false,
            confidence: Confidence::of(70),
            evidence: vec![event.id.to_owned()],
            reason: format!("{program} was run to have something started later"),
        });
    }
}

/// A hook of git: its name.
fn git_hook(path: &str) -> Option<&str> {
    path.split_once("/.git/hooks/").map(|(_, hook)| hook)
}

/// Whether a path is at a place: one from the root on, or one that ends so, or is below.
fn is_at(path: &str, place: &str) -> bool {
    let rooted = place.starts_with("/etc")
        || place.starts_with("/var")
        || place.starts_with("/usr")
        || place.starts_with("/lib")
        || place.starts_with("/sys")
        || place.starts_with("/proc")
        || place.starts_with("/dev");
    match (rooted, place.ends_with('/')) {
        (true, _) => path.starts_with(place),
        (false, true) => path.contains(place),
        (false, false) => path.ends_with(place),
    }
}

/// The kernel's or the host's own controls. One try says little, several different ones much.
#[derive(Default)]
pub(super) struct Escape {
    signs: BTreeMap<&'static str, (u8, String)>,
}

impl Detector for Escape {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let Some((sign, sure, what)) = sign_of(event) else { return };
        self.signs.insert(sign, (sure, event.id.to_owned()));
        let mut evidence: Vec<String> = self.signs.values().map(|(_, id)| id.clone()).collect();
        evidence.retain(|id| id != event.id);
        evidence.push(event.id.to_owned());
        found.push(Found {
            finding: Finding::Escape,
            new: false,
            confidence: together(self.signs.values().map(|(sure, _)| *sure)),
            evidence,
            reason: format!("{what}: {} {}", event.action, event.resource),
        });
    }
}

fn sign_of(event: &Seen<'_>) -> Option<(&'static str, u8, &'static str)> {
    if let Some(program) = event.executes() {
        let (sign, sure) = KERNEL_PROGRAMS.iter().find(|(name, _)| *name == program)?;
        return Some((sign, *sure, "a program that changes the kernel or leaves the session"));
    }
    if !event.denied() {
        // Reading is told of where it is refused only; what is allowed to be changed counts.
        return control(event.changes()?, false);
    }
    match event.action {
        "mount" => return Some(("mount", 40, "something was to be mounted")),
        "bpf" | "perf" => return Some(("bpf", 70, "programs for the kernel")),
        "modules" | "reboot" => return Some(("module", 85, "the kernel itself")),
        "memory" | "devices" => return Some(("device", 70, "physical memory or raw devices")),
        "cgroups" => return Some(("cgroup", 50, "cgroups, the session's own or others'")),
        "namespaces" => return Some(("namespace", 60, "what is not the session's")),
        _ => {}
    }
    if let Some(name) = event.resource.strip_prefix("unix:") {
        let manager = MANAGERS.iter().find(|part| name.contains(*part))?;
        return Some((manager, 60, "one who starts things outside of the session"));
    }
    match event.changes() {
        Some(path) => control(path, false),
        None => control(event.resource, true),
    }
}

/// A control of the host that is changed, or only read.
fn control(path: &str, read: bool) -> Option<(&'static str, u8, &'static str)> {
    let is = |(part, _, readable): &&(&str, u8, bool)| is_at(path, part) && (*readable || !read);
    let (sign, sure, _) = CONTROLS.iter().find(is)?;
    Some((sign, *sure, "a control of the host"))
}

/// agentguard's own files and sockets.
pub(super) struct SelfProtection;

impl Detector for SelfProtection {
    fn see(&mut self, event: &Seen<'_>, found: &mut Vec<Found>) {
        let path = event.resource.strip_prefix("unix:").unwrap_or(event.resource);
        let own = |path: &str| OWN.iter().any(|own| path.starts_with(own));
        let touches = own(path) || event.target.is_some_and(own);
        let counts = event.denied() || event.changes().is_some();
        // What a session may ask of agentguard, it asks there.
        let may = path.ends_with("/self.sock") || event.action == "file.read" && !event.denied();
        if event.reason == Some("protected") || touches && counts && !may {
            found.push(Found {
                finding: Finding::SelfProtection,
                new: false,
                confidence: Confidence::of(85),
                evidence: vec![event.id.to_owned()],
                reason: format!("{} {}, which is agentguard's own", event.action, event.resource),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_from_the_root_in_homes_and_below() {
        for (path, place) in [
            ("/etc/cron.d/job", "/etc/cron"),
            ("/home/a/.bashrc", "/.bashrc"),
            ("/root/.config/systemd/user/x.service", "/.config/systemd/user/"),
        ] {
            assert!(is_at(path, place), "{path}");
        }
        for (path, place) in [
            ("/home/a/project/etc/cron.d/job", "/etc/cron"),
            ("/home/a/.bashrc.d/x", "/.bashrc"),
            ("/srv/dev/sda.txt", "/dev/sd"),
        ] {
            assert!(!is_at(path, place), "{path}");
        }
        assert_eq!(git_hook("/p/.git/hooks/pre-commit"), Some("pre-commit"));
        assert_eq!(git_hook("/p/.git/config"), None);
    }
}
