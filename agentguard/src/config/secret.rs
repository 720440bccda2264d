//! Secrets by reference: the configuration says where one is, never what it is.
//!
//! A [`SecretSource`] reads it where it is needed, and again when its file has
//! changed, so that a secret can be replaced without a restart. No `Debug`, no
//! `Display` and no error of this module shows one.

use std::env::VarError;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// How long a secret may be, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Where systemd puts a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum SecretRef {
    /// In a file, which is read again when it has changed.
    File(PathBuf),
    /// A credential that systemd hands to the service (`LoadCredential=`).
    Credential(String),
    /// An environment variable of the daemon.
    Env(String),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in {path}: {source}\n  = see that the file is there and that the daemon may read it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing in it, or something that cannot be a secret.
    #[error("{place} is no secret: it {why}\n  = put the secret into it, as text of one line")]
    Unfit {
        /// Where it is.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The variable is not set.
    #[error(
        "the environment variable {name} is not set for the daemon\n  = set it, for a service with EnvironmentFile="
    )]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The daemon has no such credential.
    #[error(
        "systemd gave the daemon no credentials, and so none that is called {name}\n  = add LoadCredential={name}:FILE to the service"
    )]
    NoCredential {
        /// Its name.
        name: String,
    },
}

/// A secret that is read where it is needed.
pub struct SecretSource {
    place: Place,
    read: Mutex<Option<(Stamp, SecretString)>>,
}

enum Place {
    File(PathBuf),
    Variable(String),
}

/// What tells that a file is another than the one that was read: device, inode, size,
/// and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

impl SecretSource {
    /// Finds the secret and reads it once, so that one that is not there is told of
    /// when the daemon starts.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    pub fn new(reference: &SecretRef) -> Result<Self, SecretError> {
        let place = match reference {
            SecretRef::File(path) => Place::File(path.clone()),
            SecretRef::Env(name) => Place::Variable(name.clone()),
            SecretRef::Credential(name) => {
                let none = || SecretError::NoCredential { name: name.clone() };
                let directory = std::env::var_os(CREDENTIALS).ok_or_else(none)?;
                Place::File(Path::new(&directory).join(name))
            }
        };
        let source = Self { place, read: Mutex::new(None) };
        source.get()?;
        Ok(source)
    }

    /// The secret as it is now. A file costs a `stat`, and is read when it has changed.
    ///
    /// # Errors
    ///
    /// Where it cannot be had any more.
    pub fn get(&self) -> Result<SecretString, SecretError> {
        match &self.place {
            Place::Variable(name) => match std::env::var(name) {
                Ok(text) => {
                    fit(&Zeroizing::new(text), || format!("the environment variable {name}"))
                }
                Err(VarError::NotPresent) => Err(SecretError::NoVariable { name: name.clone() }),
                Err(VarError::NotUnicode(_)) => Err(SecretError::Unfit {
                    place: format!("the environment variable {name}"),
                    why: "is not UTF-8 text",
                }),
            },
            Place::File(path) => self.of_file(path),
        }
    }

    fn of_file(&self, path: &Path) -> Result<SecretString, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.into(), source };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        let stamp = (
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, secret)) = known.as_ref().filter(|(read, _)| *read == stamp) {
            return Ok(secret.clone());
        }
        let place = || format!("the file {}", path.display());
        if !metadata.is_file() {
            return Err(SecretError::Unfit { place: place(), why: "is not a regular file" });
        }
        if metadata.size() > MAX_BYTES {
            return Err(SecretError::Unfit { place: place(), why: "has more than 64 KiB" });
        }
        let mut text = Zeroizing::new(String::new());
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        let secret = fit(&text, place)?;
        *known = Some((stamp, secret.clone()));
        Ok(secret)
    }
}

/// A text as a secret, without the line's end.
fn fit(text: &str, place: impl Fn() -> String) -> Result<SecretString, SecretError> {
    let secret = text.trim_end_matches(['\n', '\r']);
    let why = match secret {
        "" => "is empty",
        // It goes into headers, where a line's end would begin another.
        secret if secret.contains(['\n', '\r', '\0']) => "has more than one line",
        secret => return Ok(SecretString::from(secret)),
    };
    Err(SecretError::Unfit { place: place(), why })
}

const MEND: &str = "a secret is not written here\n  = say where it is: {file: PATH}, {credential: NAME} or {env: NAME}";

impl<'de> serde::Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference)
    }
}

struct Reference;

impl<'de> Visitor<'de> for Reference {
    type Value = SecretRef;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{file: PATH}, {credential: NAME} or {env: NAME}")
    }

    // Serde's own messages would show the value.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(MEND))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let reference = match key.as_str() {
                "file" => SecretRef::File(absolute(map.next_value()?)?),
                "credential" => SecretRef::Credential(name(map.next_value()?)?),
                "env" => SecretRef::Env(name(map.next_value()?)?),
                other => {
                    return Err(A::Error::unknown_field(other, &["file", "credential", "env"]));
                }
            };
            if found.replace(reference).is_some() {
                return Err(A::Error::custom(
                    "two places for one secret\n  = leave all but one out",
                ));
            }
        }
        found.ok_or_else(|| A::Error::custom(MEND))
    }
}

fn absolute<E: serde::de::Error>(path: PathBuf) -> Result<PathBuf, E> {
    match path.is_absolute() {
        true => Ok(path),
        false => Err(E::custom("a path that is not absolute\n  = begin it with /")),
    }
}

fn name<E: serde::de::Error>(name: String) -> Result<String, E> {
    let odd = |character: char| matches!(character, '/' | '=' | '\0');
    match name.is_empty() || name.contains(odd) || name == ".." {
        true => Err(E::custom("no name\n  = give the name alone, without a path")),
        false => Ok(name),
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
