//! Deeds with files as events.

use agentguard_common::event::Where;
use agentguard_common::file::Deed;

/// Where the places of file systems are, by their numbers.
pub type Places<'a> = &'a dyn Fn(u32) -> Option<Vec<u8>>;

/// The path of a file, as the host's first process has it. In angle brackets, what kind of
/// file it is that has none.
pub(super) fn path(at: &Where, below: &[u8], places: Places<'_>) -> String {
    let below = String::from_utf8_lossy(below);
    match places(at.place) {
        Some(place) => {
            let place = String::from_utf8_lossy(&place);
            let whole = format!("{}{below}", place.trim_end_matches('/'));
            if whole.is_empty() { "/".to_owned() } else { whole }
        }
        None => {
            let (major, minor) = (at.device >> 20, at.device & 0xf_ffff);
            format!("<{major}:{minor}>{below}")
        }
    }
}

/// What an event calls a deed.
pub(super) const fn action(deed: Deed) -> &'static str {
    match deed {
        Deed::Read => "file.read",
        Deed::Write => "file.write",
        Deed::Create => "file.create",
        Deed::Mkdir => "file.mkdir",
        Deed::Mknod => "file.mknod",
        Deed::Symlink => "file.symlink",
        Deed::Link => "file.link",
        Deed::Rename => "file.rename",
        Deed::Delete => "file.delete",
        Deed::Rmdir => "file.rmdir",
        Deed::Truncate => "file.truncate",
        Deed::Chmod => "file.chmod",
        Deed::Chown => "file.chown",
        Deed::Times => "file.times",
        Deed::Attributes => "file.attributes",
        Deed::Exec => "exec",
        Deed::Map => "file.map",
        Deed::Receive => "file.receive",
        Deed::Mount => "mount",
        Deed::Root => "root",
    }
}
