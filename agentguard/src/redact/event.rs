//! Redaction of whole events: which of their members can hold what nobody should read.

use std::borrow::Cow;

use super::Redactor;
use crate::event::{AncestorInfo, Event, ProcessInfo};
use crate::session::Running;

impl Redactor {
    /// The event without its secrets; borrowed where it had none. `command` is what the
    /// event's resource was made of, where that is a command.
    #[must_use]
    pub fn event<'e>(&self, event: &'e Event, command: Option<&[String]>) -> Cow<'e, Event> {
        if !self.on {
            return Cow::Borrowed(event);
        }
        let mut out = Cow::Borrowed(event);
        let resource = match command {
            Some(command) => self.arguments(command).map(|words| words.join(" ")),
            None => owned(self.resource(&event.resource)),
        };
        if let Some(resource) = resource {
            out.to_mut().resource = resource;
        }
        if let Some(process) = event.process.as_ref().and_then(|process| self.process(process)) {
            out.to_mut().process = Some(process);
        }
        if let Some(name) = event
            .destination
            .as_ref()
            .and_then(|to| changed(to.name.as_deref(), |name| self.name(name)))
            && let Some(to) = &mut out.to_mut().destination
        {
            to.name = Some(name);
        }
        if let Some(name) = event.dns.as_ref().and_then(|dns| owned(self.name(&dns.name)))
            && let Some(dns) = &mut out.to_mut().dns
        {
            dns.name = name;
        }
        if let Some(target) = changed(event.target.as_deref(), |target| self.text(target)) {
            out.to_mut().target = Some(target);
        }
        if let Some(message) = changed(event.message.as_deref(), |message| self.text(message)) {
            out.to_mut().message = Some(message);
        }
        // Rare, and mostly text: a copy without looking first.
        if event.snapshot.is_some()
            && let Some(snapshot) = &mut out.to_mut().snapshot
        {
            snapshot.processes.iter_mut().for_each(|running| self.running(running));
        }
        out
    }

    fn running(&self, running: &mut Running) {
        let clean = |text: &mut String| {
            if let Some(clean) = owned(self.text(text)) {
                *text = clean;
            }
        };
        running.exe.iter_mut().for_each(clean);
        running.cwd.iter_mut().for_each(clean);
        running.files.iter_mut().for_each(clean);
        running.sockets.iter_mut().for_each(clean);
        if let Some(args) = self.arguments(&running.args) {
            running.args = args;
        }
    }

    /// Resources are names and addresses, and paths: random text in a path is no secret.
    fn resource<'t>(&self, resource: &'t str) -> Cow<'t, str> {
        match resource.starts_with("dns:")
            || resource.starts_with("tls:")
            || resource.contains("://")
        {
            true => self.name(resource),
            false => self.text(resource),
        }
    }

    fn process(&self, process: &ProcessInfo) -> Option<ProcessInfo> {
        let comm = owned(self.text(&process.comm));
        let exe = changed(process.exe.as_deref(), |exe| self.text(exe));
        let cwd = changed(process.cwd.as_deref(), |cwd| self.text(cwd));
        let args = self.arguments(&process.args);
        let of_ancestor = |one: &AncestorInfo| changed(one.exe.as_deref(), |exe| self.text(exe));
        let ancestors: Vec<_> = process.ancestors.iter().map(of_ancestor).collect();
        let same = comm.is_none() && exe.is_none() && cwd.is_none() && args.is_none();
        if same && ancestors.iter().all(Option::is_none) {
            return None;
        }
        let mut out = process.clone();
        out.comm = comm.unwrap_or(out.comm);
        out.exe = exe.or(out.exe);
        out.cwd = cwd.or(out.cwd);
        out.args = args.unwrap_or(out.args);
        for (one, exe) in out.ancestors.iter_mut().zip(ancestors) {
            one.exe = exe.or(one.exe.take());
        }
        Some(out)
    }
}

fn changed<'t>(text: Option<&'t str>, clean: impl Fn(&'t str) -> Cow<'t, str>) -> Option<String> {
    text.and_then(|text| owned(clean(text)))
}

fn owned(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    }
}
