//! A scratch folder that only the sandbox sees: a tmpfs over an ordinary folder, in the sandbox's own mount namespace.
//! It leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use crate::error::LabError;

/// Folders that exist on every system and that nothing in a lab needs.
const CANDIDATES: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];

/// The recording that stands for `{baseline}`, beside the root certificate.
pub(crate) const BASELINE_FILE: &str = "baseline.jsonl";

/// A mounted scratch folder.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Covers the first candidate that holds neither the current folder nor any of the paths in use. The caller is in a [`crate::Sandbox`].
    pub(crate) fn mount(in_use: &[&Path]) -> Result<Stage, LabError> {
        let here = std::env::current_dir().unwrap_or_default();
        let covers = |folder: &str| in_use.iter().chain([&here.as_path()]).any(|path| path.starts_with(folder));
        let free = |folder: &&str| Path::new(folder).is_dir() && !covers(folder);
        let Some(folder) = CANDIDATES.iter().find(|folder| free(folder)) else {
            let reason = format!("none of {} can be covered", CANDIDATES.join(", "));
            return Err(LabError::Refused { doing: "mount", what: "scratch folder".to_owned(), reason });
        };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), *folder, Some("tmpfs"), flags, Some("mode=0755,size=16m"))
            .map_err(|e| LabError::system("mount tmpfs on", *folder, e))?;
        Ok(Stage { folder: PathBuf::from(folder) })
    }

    /// The path a file of that name has or will have.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file that everybody may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|e| LabError::system("write", path.display().to_string(), e))?;
        Ok(path)
    }
}
