//! Shows host folders to the VM through virtiofsd.
//!
//! The root is exported from a mount namespace of its own, in which the host's own
//! kernel refuses every write: a root user in the VM who remounts it writable still
//! changes nothing on the host. The namespace ends with virtiofsd.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::process;

/// Where QEMU up to 7.2 puts its own virtiofsd, whose options differ from the later one's.
const OLD_HOME: &str = "/usr/lib/qemu";
/// Where the composed root is put together: a folder that every host has and whose
/// own content the VM does not need. Only virtiofsd sees it.
const STAGE: &str = "/sys";
/// Mount points the VM fills itself; `share` is one that a host may lack.
const EMPTY: &[&str] = &["dev", "proc", "share", "sys"];

/// A running virtiofsd and the connected socket that QEMU is to use.
pub(super) struct Export {
    pub(super) socket: OwnedFd,
    _server: Child,
}

/// Serves `dir`, or the whole root read-only when there is none.
pub(super) fn serve(dir: Option<&Path>, errors: &OwnedFd) -> Result<Export> {
    let folder = tempfile::tempdir().context("make a folder for a socket")?;
    let path = folder.path().join("fs");
    let listener = UnixListener::bind(&path).context("listen for QEMU")?;
    let socket = UnixStream::connect(&path).context("connect for QEMU")?;
    // Connected: the path, and with it the folder, is not needed any more.
    drop(folder);
    keep_open(&listener)?;
    // Not its path: cargo may have put a new xtask there meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg("serve-fs").arg("--fd").arg(listener.as_raw_fd().to_string());
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    let server = command
        .stdin(Stdio::null())
        .stdout(errors.try_clone().context("copy a socket")?)
        .stderr(errors.try_clone().context("copy a socket")?)
        // Ctrl-C is xtask's to handle.
        .process_group(0)
        .spawn()
        .context("start the file server")?;
    Ok(Export { socket: socket.into(), _server: server })
}

/// The child's side of [`serve`]: becomes virtiofsd.
pub(crate) fn become_server(fd: i32, dir: Option<&Path>) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("end with xtask")?;
    let program = find()?;
    let source = match dir {
        Some(dir) => dir.to_path_buf(),
        None => {
            compose_root()?;
            PathBuf::from(STAGE)
        }
    };
    let cache = if dir.is_some() { "auto" } else { "always" };
    let mut server = Command::new(&program);
    server.arg(format!("--fd={fd}"));
    if program.starts_with(OLD_HOME) {
        let source = source.display();
        server.arg("-o");
        server.arg(format!("source={source},cache={cache},sandbox=chroot,log_level=err"));
    } else {
        server.arg("--shared-dir").arg(&source).args(["--cache", cache]);
        server.args(["--sandbox", "chroot", "--log-level", "error"]);
    }
    let error = server.exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

/// virtiofsd is rarely on PATH.
pub(crate) fn find() -> Result<PathBuf> {
    let old = format!("{OLD_HOME}/virtiofsd");
    [old.as_str(), "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"]
        .into_iter()
        .map(PathBuf::from)
        .find(|file| process::executable(file))
        .or_else(|| process::find("virtiofsd"))
        .context("virtiofsd is missing: run `cargo xtask setup`")
}

/// In a new mount namespace: the root's entries under [`STAGE`], with the extra mount
/// points, and no way to write to any of it.
fn compose_root() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)
        .context("make a mount namespace (is this a container without CAP_SYS_ADMIN?)")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("leave the host's mounts")?;
    mount(Some("stage"), STAGE, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .with_context(|| format!("mount over {STAGE}"))?;
    for name in EMPTY {
        let place = Path::new(STAGE).join(name);
        fs::create_dir(&place).with_context(|| format!("create {}", place.display()))?;
    }
    for entry in fs::read_dir("/").context("list /")?.flatten() {
        let (from, to) = (entry.path(), Path::new(STAGE).join(entry.file_name()));
        if from.is_symlink() {
            let target =
                fs::read_link(&from).with_context(|| format!("read {}", from.display()))?;
            symlink(target, &to).with_context(|| format!("link {}", to.display()))?;
        } else if from.is_dir() && !to.exists() {
            fs::create_dir(&to).with_context(|| format!("create {}", to.display()))?;
            bind(&from, &to)?;
        } else if from.is_file() {
            fs::write(&to, "").with_context(|| format!("create {}", to.display()))?;
            bind(&from, &to)?;
        }
    }
    seal(STAGE)
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("show {} at {}", from.display(), to.display()))
}

/// Makes a mount and all below it read-only.
fn seal(place: &str) -> Result<()> {
    let place = std::ffi::CString::new(place).context("a path without NUL")?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path and the attributes outlive the call, and the size is theirs.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            place.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if rc != 0 {
        bail!("make the exported root read-only: {} (needs Linux 5.12)", Errno::last());
    }
    Ok(())
}

/// Lets a descriptor pass through `exec`.
pub(super) fn keep_open(fd: &impl AsFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).context("pass a descriptor on")?;
    Ok(())
}
