//! What the variables in a policy's paths stand for in a session: `~` by the host's list of
//! users, `${workspace}` and the others by who starts it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::policy::{Bindings, HostLinks, Policy, check_workspace, real_place};
use crate::session::{Phase, Session};

/// What whoever starts a session says about it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The directory that the agent works in.
    pub workspace: PathBuf,
    /// Whether it was named, or is only where the command was given.
    pub named: bool,
    /// The variables.
    pub variables: BTreeMap<String, String>,
}

/// For a session of that user. `own` are agentguard's own directories.
///
/// # Errors
///
/// Where the workspace cannot be one. What is missing is found when the rules are bound.
pub(super) fn of_run(
    policy: &Policy,
    uid: u32,
    given: Given,
    own: &[PathBuf],
    links: &HostLinks,
) -> Result<Bindings> {
    let user = nix::unistd::User::from_uid(uid.into());
    let user = user.map_err(Error::system(format!("look up the user {uid}")))?;
    let homes: Vec<PathBuf> = user.into_iter().map(|user| user.dir).collect();
    let workspace = workspace_of(policy, &given);
    let workspace =
        if policy.uses_workspace() { Some(checked(&workspace, &homes, own, links)?) } else { None };
    Ok(Bindings { homes, workspace, variables: given.variables })
}

/// Where the agent works: what was named, else what the policy says, else where it starts.
pub(super) fn workspace_of(policy: &Policy, given: &Given) -> PathBuf {
    match &policy.workspace {
        Some(workspace) if !given.named => workspace.clone(),
        _ => given.workspace.clone(),
    }
}

/// For a session that waits for a process of which nothing is known.
///
/// # Errors
///
/// Where the workspace cannot be one.
pub(super) fn of_match(policy: &Policy, own: &[PathBuf], links: &HostLinks) -> Result<Bindings> {
    let homes = homes(links);
    let workspace = match &policy.workspace {
        Some(workspace) if policy.uses_workspace() => Some(checked(workspace, &homes, own, links)?),
        _ => None,
    };
    Ok(Bindings { homes, workspace, variables: BTreeMap::new() })
}

/// For a session that goes on under another policy: as it was started.
///
/// # Errors
///
/// As for [`of_run`] and [`of_match`].
pub(super) fn of_switch(
    session: &Session,
    policy: &Policy,
    own: &[PathBuf],
    links: &HostLinks,
) -> Result<Bindings> {
    if session.state == Phase::Standby {
        return of_match(policy, own, links);
    }
    let before = session.bindings.clone().unwrap_or_default();
    let known = policy.variables();
    let given = Given {
        workspace: PathBuf::from(&session.workspace),
        // One that was taken in works where its policy says.
        named: !session.workspace.is_empty(),
        variables: before
            .variables
            .into_iter()
            .filter(|(name, _)| known.contains(name.as_str()))
            .collect(),
    };
    let bindings = of_run(policy, session.uid, given, own, links)?;
    let homes = if before.homes.is_empty() { bindings.homes } else { before.homes };
    Ok(Bindings { homes, ..bindings })
}

/// The real place of a workspace, where it may be one.
fn checked(
    workspace: &Path,
    homes: &[PathBuf],
    own: &[PathBuf],
    links: &HostLinks,
) -> Result<PathBuf> {
    let real = real_place(workspace, links).unwrap_or_else(|| workspace.to_owned());
    if !links.found(&real).is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(Error::io("use as the workspace, as the host's first process sees it,", real)(
            source,
        ));
    }
    let own: Vec<&Path> = own.iter().map(PathBuf::as_path).collect();
    check_workspace(&real, homes, &own)?;
    Ok(real)
}

/// The homes of all who can log in, and root's.
fn homes(links: &HostLinks) -> Vec<PathBuf> {
    let read = |path| std::fs::read_to_string(links.found(Path::new(path))).unwrap_or_default();
    homes_of(&read("/etc/passwd"), &read("/etc/shells"))
}

fn homes_of(passwd: &str, shells: &str) -> Vec<PathBuf> {
    let shells: BTreeSet<&str> = shells.lines().map(str::trim).collect();
    let logs_in = |shell: &str| match shells.is_empty() {
        true => !(shell.ends_with("/nologin") || shell.ends_with("/false")),
        false => shells.contains(shell),
    };
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, home, shell) = (fields.get(2)?, fields.get(5)?, fields.get(6)?);
        let counts = *uid == "0" || logs_in(shell);
        (counts && home.len() > 1 && home.starts_with('/'))
            .then(|| PathBuf::from(home.trim_end_matches('/')))
    };
    let root = std::iter::once(PathBuf::from("/root"));
    let all: BTreeSet<PathBuf> = passwd.lines().filter_map(home).chain(root).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_those_of_users_who_log_in() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\
            sync:x:4:65534:sync:/bin:/bin/sync\n\
            www:x:33:33::/var/www:/usr/sbin/nologin\n\
            bob:x:1000:1000:Bob:/home/bob/:/bin/bash\n\
            odd:x:1001:1001::/:/bin/bash\n\
            broken\n";
        let homes = homes_of(passwd, "# shells\n/bin/sh\n/bin/bash\n");
        assert_eq!(homes, [Path::new("/home/bob"), Path::new("/root")]);
        assert!(homes_of(passwd, "").contains(&PathBuf::from("/bin")));
    }
}
