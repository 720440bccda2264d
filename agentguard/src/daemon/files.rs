//! The daemon's directories, its lock, and its socket.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

use crate::error::{Error, Result};

pub(super) fn make_directory(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(path).map_err(Error::io("create", path))
}

/// Holds off a second daemon for as long as the result lives.
pub(super) fn lock(state: &Path) -> Result<Flock<File>> {
    use std::io::Write as _;
    let path = state.join("daemon.lock");
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::io("open", &path))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        let pid = std::fs::read_to_string(&path).unwrap_or_default();
        Error::AlreadyRunning { pid: pid.trim().to_owned() }
    })?;
    // For people: the lock itself is what counts.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// Listens; a socket left by an earlier daemon is replaced, as the lock is ours.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("replace", path)(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(Error::io("listen on", path))?;
    // Anyone may start a session for themselves: it only takes rights away.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
        .map_err(Error::io("open to users", path))?;
    Ok(listener)
}
