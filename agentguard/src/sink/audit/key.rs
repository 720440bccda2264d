//! The keys: one that signs checkpoints, which never leaves its file, and its public half,
//! which is exported beside it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::error::{Error, Result};
use crate::hex;

/// What is signed begins with this, so that no signature can be taken for one of another
/// purpose.
const PURPOSE: &[u8] = b"agentguard audit checkpoint 1\0";
const SEED: usize = 32;
const SIGNATURE: usize = 64;

/// The key that signs.
pub(super) struct Key(SigningKey);

/// The public half, that checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl Key {
    /// Reads the key, or makes it where there is none yet.
    ///
    /// # Errors
    ///
    /// Where that cannot be done, or others than its owner may read the file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let key = match File::open(path) {
            Ok(file) => Self::read(path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path)?,
            Err(error) => return Err(Error::io("open the audit key", path)(error)),
        };
        key.export(path)?;
        Ok(key)
    }

    fn read(path: &Path, file: File) -> Result<Self> {
        let failed = |error| Error::io("read the audit key", path)(error);
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            let why = "others may read or write it; if that was so by mistake, chmod 600 it, else make a new one";
            return Err(failed(io::Error::other(why)));
        }
        let mut text = String::new();
        file.take(1024).read_to_string(&mut text).map_err(failed)?;
        let seed = unhex::<SEED>(text.trim());
        let seed =
            seed.ok_or_else(|| failed(io::Error::other("it is not 64 hexadecimal digits")))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Makes a key. Written whole or not at all: a daemon that is killed meanwhile leaves
    /// no half of one.
    fn make(path: &Path) -> Result<Self> {
        let seed = random::<SEED>()?;
        let failed = |error| Error::io("make the audit key", path)(error);
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(directory).map_err(failed)?;
        }
        replace(path, 0o600, format!("{}\n", hex(&seed)).as_bytes()).map_err(failed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    fn export(&self, path: &Path) -> Result<()> {
        let (path, text) = (public_path(path), format!("{}\n", self.public().text()));
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        replace(&path, 0o644, text.as_bytes()).map_err(Error::io("export the audit key to", path))
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// A signature, in hexadecimal digits.
    pub(super) fn sign(&self, content: &str) -> String {
        hex(&self.0.sign(&[PURPOSE, content.as_bytes()].concat()).to_bytes())
    }
}

impl PublicKey {
    /// Reads an exported key.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read or holds no key.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read the key", path))?;
        let none = || io::Error::other("it is no public key: 64 hexadecimal digits");
        Self::parse(text.trim()).ok_or_else(none).map_err(Error::io("read the key", path))
    }

    /// From hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        VerifyingKey::from_bytes(&unhex::<SEED>(text)?).ok().map(Self)
    }

    /// In hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> String {
        hex(self.0.as_bytes())
    }

    pub(super) fn signed(&self, content: &str, signature: &str) -> bool {
        let signature = unhex::<SIGNATURE>(signature).map(|bytes| Signature::from_bytes(&bytes));
        let content = [PURPOSE, content.as_bytes()].concat();
        signature.is_some_and(|signature| self.0.verify_strict(&content, &signature).is_ok())
    }
}

/// Where the public half of a key is exported to: `audit.key` gets `audit.pub`.
#[must_use]
pub fn public_path(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

/// Puts a file in place in one step, and on the disk.
pub(super) fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // Left by a daemon that was killed just here.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    sync_directory(path)
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::io("read", "/dev/urandom"))?;
    Ok(bytes)
}

/// Makes the names in a file's directory last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_its_public_half_exported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/audit.key");
        let key = Key::open(&path).unwrap();
        let again = Key::open(&path).unwrap();
        assert_eq!(key.public(), again.public());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let public = PublicKey::load(&public_path(&path)).unwrap();
        let signature = key.sign("words");
        assert!(public.signed("words", &signature));
        assert!(!public.signed("other words", &signature));
        assert!(!public.signed("words", &signature.replace('a', "b")));
        assert!(!public.signed("words", ""));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.key");
        Key::open(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Key::open(&path).err().unwrap().to_string().contains("chmod 600"));
        std::fs::write(&path, "short").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Key::open(&path).err().unwrap().to_string().contains("digits"));
        assert!(PublicKey::load(&path).is_err());
    }
}
