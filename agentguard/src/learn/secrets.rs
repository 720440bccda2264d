//! Where secrets usually lie: such a file gets a rule of its own, and none when a directory
//! that holds it is opened as a whole.

use super::place::{Places, Spot};

/// In the home. What ends with `*` is the beginning of a name.
const IN_HOME: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker/config.json",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials*",
    ".config/gcloud",
    ".config/gh",
    ".password-store",
    ".local/share/keyrings",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
];
/// On the host.
const ON_HOST: &[&str] =
    &["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d", "/root/.ssh"];
/// By name, wherever it is.
const BY_NAME: &[&str] = &[".env", ".env.local", ".env.production"];

/// All of them, as places and as rules name them.
pub(super) fn known(places: &Places) -> Vec<Spot> {
    let mut all: Vec<Spot> = ON_HOST.iter().map(|path| Spot::of(path)).collect();
    let Some(home) = places.home.as_ref().and_then(absolute) else { return all };
    for path in IN_HOME {
        let spot = Spot::of(&format!("{home}/{}", path.trim_end_matches('*')));
        all.extend(if path.ends_with('*') { spot.beginning("*") } else { Some(spot) });
    }
    all
}

/// Those that are known by their name alone, as rules name them.
pub(super) fn by_name() -> impl Iterator<Item = String> {
    BY_NAME.iter().map(|name| format!("**/{name}"))
}

/// Whether a file is one of them.
pub(super) fn is_one(places: &Places, spot: &Spot) -> bool {
    let mut names = (0..spot.depth()).filter_map(|at| spot.name(at));
    if names.any(|name| BY_NAME.contains(&name)) {
        return true;
    }
    let below = |base: &str, paths: &[&str]| {
        paths.iter().any(|path| match path.strip_suffix('*') {
            Some(beginning) => {
                let beginning = Spot::of(&format!("{base}/{beginning}"));
                let begins = |name: &str| name.starts_with(beginning.last().unwrap_or_default());
                let parent = beginning.parent().unwrap_or_default();
                parent.holds(spot) && spot.name(parent.depth()).is_some_and(begins)
            }
            None => Spot::of(&format!("{base}/{path}")).holds(spot),
        })
    };
    let home = places.home.as_ref().and_then(absolute);
    below("", ON_HOST) || home.is_some_and(|home| below(&home, IN_HOME))
}

/// A place as a path, where every part of it is a name.
fn absolute(spot: &Spot) -> Option<String> {
    let names: Option<Vec<&str>> = (0..spot.depth()).map(|at| spot.name(at)).collect();
    Some(format!("/{}", names?.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Given;

    #[test]
    fn keys_are_told_from_other_files() {
        let places = Places::new(&Given { home: Some("/home/bob".into()), ..Given::default() });
        for path in [
            "/home/bob/.ssh",
            "/home/bob/.ssh/id",
            "/home/bob/.cargo/credentials.toml",
            "/home/bob/.config/gh/hosts.yml",
            "/srv/x/.env",
            "/etc/shadow",
        ] {
            assert!(is_one(&places, &Spot::of(path)), "{path}");
        }
        for path in ["/home/bob/.sshx", "/home/al/.ssh/id", "/etc/passwd", "/home/bob/.cargo/env"] {
            assert!(!is_one(&places, &Spot::of(path)), "{path}");
        }
        let known: Vec<String> = known(&places).iter().map(|spot| places.text(spot)).collect();
        assert!(known.contains(&"~/.cargo/credentials*".to_owned()), "{known:?}");
    }
}
