//! The file in which open alerts outlive the daemon, so that one that was told can be
//! told to be over. Replaced as a whole, by renaming; one that cannot be read counts
//! as none.

use std::io;
use std::path::Path;

use super::tracker::Memory;

/// What an earlier daemon remembered.
pub(super) async fn read(file: &Path) -> Memory {
    let Ok(bytes) = tokio::fs::read(file).await else { return Memory::default() };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "what was remembered of open alerts cannot be read");
        Memory::default()
    })
}

/// Remembers.
pub(super) async fn write(file: &Path, memory: &Memory) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let bytes = serde_json::to_vec(memory).map_err(io::Error::other)?;
    let mut opened = options.open(&fresh).await?;
    tokio::io::AsyncWriteExt::write_all(&mut opened, &bytes).await?;
    tokio::io::AsyncWriteExt::flush(&mut opened).await?;
    tokio::fs::rename(&fresh, file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("open.json");
        let empty = "[]";
        for text in [None, Some(""), Some("[{"), Some("{}")] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let read = read(&file).await;
            assert_eq!(serde_json::to_string(&read).unwrap(), empty);
        }
        write(&file, &Memory::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), empty);
    }
}
