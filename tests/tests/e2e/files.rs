//! Rules on files and programs: whatever a program calls a file by, its place in the tree of
//! the host's first process is what counts.

use std::fs;
use std::path::Path;

use agentguard_tests::guard::Guard;
use agentguard_tests::{Outcome, in_vm};
use serde_json::Value;

/// May write in its workspace, and has nothing to look for in the keys.
const CODER: &str = "\
version: 1
agent: coder
files:
  default: read
  rules:
    - write: '${workspace}'
      id: work
    - deny: [/tmp/keys, '**/.env']
      id: keys
    - deny: '${workspace}/.git/hooks'
      id: hooks
exec:
  rules:
    - deny: /tmp/tools/no
      id: not-this
";

/// What the scripts below begin with: `deed` prints what became of a deed.
const PRELUDE: &str = "
import errno, os, socket, sys, ctypes
libc = ctypes.CDLL(None, use_errno=True)
W = os.getcwd()
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), 'libc')
    return result
def deed(name, do):
    try:
        do(); print(name, 'ok', flush=True)
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno), flush=True)
def read(path): return open(path).read()
def write(path, text='x'): open(path, 'w').write(text)
";

/// Fresh directories: a workspace and what is outside of it.
fn lay_out(root: &Path) -> std::io::Result<()> {
    let _ = fs::remove_dir_all("/tmp/keys");
    let _ = fs::remove_dir_all("/tmp/tools");
    for directory in ["/tmp/keys/deep", "/tmp/tools"] {
        fs::create_dir_all(directory)?;
    }
    fs::write("/tmp/keys/id", "secret")?;
    fs::write("/tmp/keys/deep/id", "secret")?;
    fs::create_dir_all(root.join("src/deep"))?;
    fs::create_dir_all(root.join(".git/hooks"))?;
    fs::write(root.join("src/main"), "fn main")?;
    fs::write(root.join(".env"), "TOKEN=secret")?;
    for program in ["/tmp/tools/yes", "/tmp/tools/no"] {
        fs::copy("/usr/bin/true", program)?;
    }
    Ok(())
}

/// Runs a script as `coder` in the workspace, and returns what it printed.
fn script(guard: &Guard, work: &Path, text: &str) -> std::io::Result<Vec<String>> {
    script_with(guard, work, text, std::process::Stdio::null())
}

/// The same with a file as its standard input.
fn script_with(
    guard: &Guard,
    work: &Path,
    text: &str,
    input: impl Into<std::process::Stdio>,
) -> std::io::Result<Vec<String>> {
    let words = ["python3", "-I", "-S", "-c", &format!("{PRELUDE}{text}")];
    let output = guard.run("coder", &words).current_dir(work).stdin(input).output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(format!(
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(agentguard_tests::guard::lines(&output))
}

/// What was refused of files: deed, path and rule.
fn refused(decisions: &[Value]) -> Vec<String> {
    decisions
        .iter()
        .filter(|event| event["outcome"] == "denied")
        .map(|event| {
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("action"), text("resource"), text("rule"))
        })
        .collect()
}

#[test]
fn what_the_rules_say_of_a_path_holds_for_every_deed() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    let guard = Guard::start(&[CODER])?;
    let printed = script(
        &guard,
        work.path(),
        "
deed('read', lambda: read('src/main'))
deed('write', lambda: write('src/new'))
deed('mkdir', lambda: os.mkdir('d'))
deed('rename-dir', lambda: os.rename('d', 'e'))
deed('rmdir', lambda: os.rmdir('e'))
deed('symlink', lambda: os.symlink('/tmp/keys', 'l'))
deed('link', lambda: os.link('src/new', 'src/two'))
deed('rename', lambda: os.rename('src/two', 'src/three'))
deed('chmod', lambda: os.chmod('src/three', 0o600))
deed('times', lambda: os.utime('src/three'))
deed('truncate', lambda: os.truncate('src/three', 0))
deed('unlink', lambda: os.unlink('src/three'))
deed('read-outside', lambda: read('/etc/hostname'))
deed('null', lambda: write('/dev/null'))
deed('key', lambda: read('/tmp/keys/id'))
deed('key-list', lambda: os.listdir('/tmp/keys'))
deed('key-deep', lambda: read('/tmp/keys/deep/id'))
deed('env', lambda: read('.env'))
deed('make-outside', lambda: write('/tmp/tools/new'))
deed('write-outside', lambda: write('/tmp/tools/yes'))
deed('mkdir-outside', lambda: os.mkdir('/tmp/tools/d'))
deed('mknod-outside', lambda: os.mkfifo('/tmp/tools/f'))
deed('symlink-outside', lambda: os.symlink('x', '/tmp/tools/s'))
deed('unlink-outside', lambda: os.unlink('/tmp/tools/yes'))
deed('rmdir-outside', lambda: os.rmdir('/tmp/keys/deep'))
deed('chmod-outside', lambda: os.chmod('/tmp/tools/yes', 0o777))
deed('chown-outside', lambda: os.chown('/tmp/tools/yes', 0, 0))
deed('times-outside', lambda: os.utime('/tmp/tools/yes'))
deed('xattr-outside', lambda: os.setxattr('/tmp/tools/yes', 'user.x', b'1'))
deed('truncate-outside', lambda: os.truncate('/tmp/tools/yes', 0))
deed('rename-out', lambda: os.rename('src/new', '/tmp/tools/new'))
deed('rename-in', lambda: os.rename('/tmp/tools/yes', 'yes'))
deed('hook', lambda: write('.git/hooks/pre-commit'))
deed('hooks-away', lambda: os.rename('.git/hooks', '.git/h'))
deed('git-away', lambda: os.rename('.git', 'g'))
deed('env-new', lambda: write('src/.env'))
deed('env-rename', lambda: os.rename('src/new', 'src/.env'))
",
    )?;
    let expected = [
        "read ok",
        "write ok",
        "mkdir ok",
        "rename-dir ok",
        "rmdir ok",
        "symlink ok",
        "link ok",
        "rename ok",
        "chmod ok",
        "times ok",
        "truncate ok",
        "unlink ok",
        "read-outside ok",
        "null ok",
        "key EACCES",
        "key-list EACCES",
        "key-deep EACCES",
        "env EACCES",
        "make-outside EACCES",
        "write-outside EACCES",
        "mkdir-outside EACCES",
        "mknod-outside EACCES",
        "symlink-outside EACCES",
        "unlink-outside EACCES",
        "rmdir-outside EACCES",
        "chmod-outside EACCES",
        "chown-outside EACCES",
        "times-outside EACCES",
        "xattr-outside EACCES",
        "truncate-outside EACCES",
        "rename-out EACCES",
        "rename-in EACCES",
        "hook EACCES",
        "hooks-away EACCES",
        "git-away EXDEV",
        "env-new EACCES",
        "env-rename EACCES",
    ];
    assert_eq!(printed, expected);
    let decisions = guard.decisions()?;
    let told = refused(&decisions);
    let refusals = expected.iter().filter(|line| !line.ends_with(" ok")).count();
    assert_eq!(told.len(), refusals, "{told:#?}");
    let here = work.path().display();
    for line in [
        "file.read /tmp/keys/id keys".to_owned(),
        format!("file.read {here}/.env keys"),
        "file.create /tmp/tools/new ".to_owned(),
        "file.write /tmp/tools/yes ".to_owned(),
        format!("file.create {here}/.git/hooks/pre-commit hooks"),
        format!("file.rename {here}/.git "),
    ] {
        assert!(told.contains(&line), "{line}: {told:#?}");
    }
    assert!(!Path::new("/tmp/tools/new").exists());
    assert_eq!(fs::read("/tmp/keys/id")?, b"secret");
    Ok(())
}

#[test]
fn no_alias_gets_round_the_rules() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    let guard = Guard::start(&[CODER])?;
    let printed = script(
        &guard,
        work.path(),
        "
deed('dots', lambda: read('src/../../../tmp/keys/id'))
os.symlink('/tmp/keys', 'l')
deed('symlink', lambda: read('l/id'))
deed('proc-root', lambda: read('/proc/self/root/tmp/keys/id'))
deed('proc-cwd', lambda: (os.chdir('/tmp'), read('/proc/self/cwd/keys/id')))
os.chdir(W)
deed('path-fd', lambda: read('/proc/self/fd/%d' % os.open('/tmp/keys/id', os.O_PATH)))
deed('link', lambda: os.link('/tmp/keys/id', 'id'))
deed('dir-fd', lambda: os.open('id', os.O_RDONLY, dir_fd=os.open('/tmp/keys', os.O_PATH)))
class Handle(ctypes.Structure): _fields_ = [('n', ctypes.c_uint), ('t', ctypes.c_int), ('b', ctypes.c_ubyte * 128)]
def by_handle():
    handle, mount = Handle(n=128), ctypes.c_int()
    check(libc.name_to_handle_at(-100, b'/tmp/keys/id', ctypes.byref(handle), ctypes.byref(mount), 0))
    root = os.open('/tmp', os.O_RDONLY)
    return check(libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY))
deed('handle', by_handle)
deed('chroot', lambda: (os.chroot('/tmp'), read('/keys/id')))
",
    )?;
    assert_eq!(
        printed,
        [
            "dots EACCES",
            "symlink EACCES",
            "proc-root EACCES",
            "proc-cwd EACCES",
            "path-fd EACCES",
            "link EACCES",
            "dir-fd EACCES",
            "handle EACCES",
            "chroot EACCES",
        ]
    );
    let told = refused(&guard.decisions()?);
    assert_eq!(told.len(), printed.len(), "{told:#?}");
    assert!(told.iter().all(|line| line.contains("/tmp/keys/id keys")), "{told:#?}");
    Ok(())
}

#[test]
fn mounts_of_its_own_give_a_session_nothing() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    let guard = Guard::start(&[CODER])?;
    let printed = script(
        &guard,
        work.path(),
        "
BIND, NEWNS, NEWUSER = 4096, 0x20000, 0x10000000
os.mkdir('m'); os.mkdir('t')
def mount(what, where, kind=None, flags=0, data=None):
    check(libc.mount(what, where, kind, flags, data))
deed('bind', lambda: mount(b'/tmp/keys', b'm', flags=BIND))
deed('tmpfs', lambda: mount(b'x', b'm', b'tmpfs'))
deed('umount', lambda: check(libc.umount2(b'/tmp', 0)))
deed('unshare', lambda: check(libc.unshare(NEWNS)))
deed('bind-shared', lambda: mount(b'/tmp/keys', b'm', flags=BIND))
deed('own', lambda: check(libc.unshare(NEWUSER | NEWNS)))
deed('bind-own', lambda: mount(b'/tmp/keys', b'm', flags=BIND))
deed('read-bound', lambda: read('m/id'))
deed('tmpfs-own', lambda: mount(b'x', b't', b'tmpfs'))
deed('list-tmpfs', lambda: os.listdir('t'))
deed('overlay', lambda: mount(b'o', b'm', b'overlay', data=b'lowerdir=/tmp/keys:/tmp/tools'))
",
    )?;
    assert_eq!(
        printed,
        [
            "bind EACCES",
            "tmpfs EACCES",
            "umount EACCES",
            "unshare ok",
            "bind-shared EACCES",
            "own ok",
            "bind-own ok",
            "read-bound EACCES",
            "tmpfs-own ok",
            "list-tmpfs ok",
            "overlay EACCES",
        ]
    );
    Ok(())
}

#[test]
fn programs_are_decided_by_their_paths() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    fs::write("/tmp/tools/script", "#!/tmp/tools/no\n")?;
    fs::set_permissions("/tmp/tools/script", std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let guard = Guard::start(&[CODER])?;
    let printed = script(
        &guard,
        work.path(),
        "
import mmap
def run(*words):
    child = os.posix_spawn(words[0], words, {})
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code: raise OSError(errno.ENOEXEC, 'failed')
def memory():
    fd = os.memfd_create('x')
    os.write(fd, open('/usr/bin/true', 'rb').read())
    run('/proc/self/fd/%d' % fd)
def deleted():
    write('gone'); os.chmod('gone', 0o755)
    open('gone', 'wb').write(open('/usr/bin/true', 'rb').read())
    fd = os.open('gone', os.O_RDONLY); os.unlink('gone')
    run('/proc/self/fd/%d' % fd)
LOADER = '/lib64/ld-linux-x86-64.so.2'
deed('yes', lambda: run('/tmp/tools/yes'))
deed('no', lambda: run('/tmp/tools/no'))
deed('script', lambda: run('/tmp/tools/script'))
deed('loader', lambda: run(LOADER, '/tmp/tools/yes'))
deed('loader-no', lambda: run(LOADER, '/tmp/tools/no'))
deed('map-no', lambda: mmap.mmap(os.open('/tmp/tools/no', os.O_RDONLY), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
deed('memory', memory)
deed('deleted', deleted)
",
    )?;
    assert_eq!(
        printed,
        [
            "yes ok",
            "no EACCES",
            "script EACCES",
            "loader ok",
            "loader-no ENOEXEC",
            "map-no EACCES",
            "memory EACCES",
            "deleted EACCES",
        ]
    );
    let told = refused(&guard.decisions()?);
    assert_eq!(told.len(), 6, "{told:#?}");
    Ok(())
}

#[test]
fn a_descriptor_from_outside_is_decided_when_it_comes() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    let guard = Guard::start(&[CODER])?;
    // Files that have no place, and one that was opened outside of the session.
    let printed = script_with(
        &guard,
        work.path(),
        "
a, b = socket.socketpair()
def passed(fd):
    socket.send_fds(a, [b'x'], [fd])
    got = socket.recv_fds(b, 1, 1)[1]
    if not got: raise OSError(errno.EACCES, 'nothing came')
deed('pipe', lambda: passed(os.pipe()[0]))
deed('memory', lambda: passed(os.memfd_create('x')))
deed('own', lambda: passed(os.open('src/main', os.O_RDWR)))
deed('inherited', lambda: passed(0))
",
        fs::File::open("/tmp/keys/id")?,
    );
    assert_eq!(printed?, ["pipe ok", "memory ok", "own ok", "inherited EACCES"]);
    let told = refused(&guard.decisions()?);
    assert_eq!(told, ["file.receive /tmp/keys/id keys"]);
    Ok(())
}

#[test]
fn a_mount_that_comes_later_is_taken_in() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    fs::create_dir_all("/srv/late")?;
    let guard = Guard::start(&[CODER])?;
    let mount = |words: &[&str]| std::process::Command::new("mount").args(words).status();
    assert!(mount(&["-t", "tmpfs", "late", "/srv/late"])?.success());
    fs::create_dir_all("/srv/late/sub")?;
    fs::write("/srv/late/x", "x")?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let printed = script(
        &guard,
        work.path(),
        "
deed('read', lambda: read('/srv/late/x'))
deed('write', lambda: write('/srv/late/x'))
",
    );
    std::process::Command::new("umount").arg("/srv/late").status()?;
    assert_eq!(printed?, ["read ok", "write EACCES"]);
    let told = refused(&guard.decisions()?);
    assert_eq!(told, ["file.write /srv/late/x "]);
    Ok(())
}

#[test]
fn what_is_only_observed_is_told_and_not_refused() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let work = tempfile::tempdir()?;
    lay_out(work.path())?;
    let guard = Guard::start(&[&CODER.replace("agent: coder", "agent: coder\nmode: observe")])?;
    let printed = script(&guard, work.path(), "\ndeed('key', lambda: read('/tmp/keys/id'))\n")?;
    assert_eq!(printed, ["key ok"]);
    let decisions = guard.decisions()?;
    let would = decisions.iter().filter(|event| event["outcome"] == "would-deny").count();
    assert_eq!(would, 1, "{decisions:#?}");
    Ok(())
}
