//! Secrets: found where they are said to be, read again when changed, never shown.

use secrecy::ExposeSecret as _;

use super::*;

const SECRET: &str = "c0rrect-h0rse";

fn read(yaml: &str) -> Result<SecretRef, String> {
    serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
}

fn shown(source: &SecretSource) -> String {
    source.get().unwrap().expose_secret().to_owned()
}

#[test]
fn a_secret_is_one_reference_and_nothing_else() {
    assert_eq!(read("{file: /run/key}").unwrap(), SecretRef::File("/run/key".into()));
    assert_eq!(read("{credential: key}").unwrap(), SecretRef::Credential("key".into()));
    assert_eq!(read("{env: KEY}").unwrap(), SecretRef::Env("KEY".into()));
    for wrong in ["{}", "{file: key}", "{credential: ../key}", "{env: ''}", "{path: /run/key}"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert!(read("{file: /a, env: B}").unwrap_err().contains("two places"));
}

#[test]
fn a_secret_that_is_written_out_is_refused_without_being_shown() {
    for wrong in [SECRET.to_owned(), format!("[{SECRET}]"), format!("{{secret: {SECRET}}}")] {
        let yaml = format!("key: {wrong}");
        let error = serde_saphyr::from_str::<std::collections::BTreeMap<String, SecretRef>>(&yaml)
            .map_err(|error| crate::config::ConfigError::of_yaml(Path::new("f"), &error));
        let text = error.unwrap_err().to_string();
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.starts_with("f:1:"), "{text}");
    }
}

#[test]
fn a_file_is_read_again_when_it_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let source = SecretSource::new(&SecretRef::File(path.clone())).unwrap();
    assert_eq!(shown(&source), SECRET);
    std::fs::write(directory.path().join("new"), "another\n").unwrap();
    std::fs::rename(directory.path().join("new"), &path).unwrap();
    assert_eq!(shown(&source), "another");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(source.get(), Err(SecretError::Unreadable { .. })));
}

#[test]
fn what_is_no_secret_is_told_of_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    for unfit in ["", "\n", "one\ntwo\n"] {
        std::fs::write(&path, unfit).unwrap();
        let error = SecretSource::new(&SecretRef::File(path.clone())).err();
        assert!(matches!(error, Some(SecretError::Unfit { .. })), "{unfit:?}");
    }
    let directory = SecretRef::File(directory.path().into());
    assert!(matches!(SecretSource::new(&directory), Err(SecretError::Unfit { .. })));
    let unset = SecretRef::Env("AGENTGUARD_TEST_NO_SUCH".into());
    assert!(matches!(SecretSource::new(&unset), Err(SecretError::NoVariable { .. })));
    let none = SecretRef::Credential("key".into());
    assert!(matches!(SecretSource::new(&none), Err(SecretError::NoCredential { .. })));
}
