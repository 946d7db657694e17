//! Files that a command writes: whole or not at all. It knows nothing of their contents.

use anyhow::{Context as _, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where a recording goes.
pub(super) enum Sink {
    Nowhere,
    Stdout,
    File(PathBuf),
}

impl Sink {
    /// Looks before the check whether it can be written to, for a check is not worth losing.
    pub(super) fn prepare(path: Option<&Path>, json: bool) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Nowhere) };
        if path == Path::new("-") {
            if json {
                bail!("--json and --record - both want stdout; give --record a file");
            }
            return Ok(Self::Stdout);
        }
        writable(path)?;
        Ok(Self::File(path.to_owned()))
    }

    /// stdout is taken.
    pub(super) const fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes everything.
    pub(super) fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => crate::terminal::print_bytes(bytes),
            Self::File(path) => replace(path, bytes),
        }
    }
}

/// What stands where a file is to be written.
enum Place {
    /// Nothing, or a file: replaced as a whole. Where a link points to, if it is one.
    Replaced(PathBuf),
    /// A device or a pipe: written to, never replaced, or root would lose its `/dev/null`.
    Special(PathBuf),
}

impl Place {
    fn of(path: &Path) -> anyhow::Result<Self> {
        // Nothing there, or nothing that can be seen: the attempt to write will tell.
        let Ok(there) = fs::metadata(path) else { return Ok(Self::Replaced(path.to_owned())) };
        if there.is_dir() {
            bail!("{}: it is a folder; give the name of a file", cannot(path));
        }
        // /dev/stdout is a link to what stdout is, also where that is a file: whoever opened that waits for it to be filled.
        let of_system = (path.starts_with("/dev") || path.starts_with("/proc")) && path.is_symlink();
        if !there.is_file() || of_system {
            return Ok(Self::Special(path.to_owned()));
        }
        Ok(Self::Replaced(path.canonicalize().with_context(|| cannot(path))?))
    }
}

/// Whether a file can be put in place there: told before the work whose result it is to hold.
pub(super) fn writable(path: &Path) -> anyhow::Result<()> {
    let Place::Replaced(path) = Place::of(path)? else { return Ok(()) };
    let scratch = scratch_beside(&path);
    File::create_new(&scratch).and_then(|_| fs::remove_file(&scratch)).with_context(|| cannot(&path))
}

fn write_to(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes)).with_context(|| cannot(path))
}

/// A file in the making, beside its place: it appears there whole, or not at all.
pub(super) struct Growing {
    /// `None` where what is written goes to a device or a pipe at once.
    scratch: Option<PathBuf>,
    path: PathBuf,
}

impl Growing {
    /// Begins it; what is written to the file given is not seen at `path` yet.
    pub(super) fn begin(path: &Path) -> anyhow::Result<(Self, File)> {
        match Place::of(path)? {
            Place::Replaced(path) => {
                let scratch = scratch_beside(&path);
                let file = File::create_new(&scratch).with_context(|| cannot(&path))?;
                Ok((Self { scratch: Some(scratch), path }, file))
            }
            Place::Special(path) => {
                let file = OpenOptions::new().write(true).open(&path).with_context(|| cannot(&path))?;
                Ok((Self { scratch: None, path }, file))
            }
        }
    }

    /// Everything is written: puts it in place.
    pub(super) fn place(self) -> anyhow::Result<()> {
        self.scratch.as_ref().map_or(Ok(()), |scratch| fs::rename(scratch, &self.path)).with_context(|| cannot(&self.path))
    }

    /// What to say when it cannot be written.
    pub(super) fn cannot(&self) -> String {
        cannot(&self.path)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // Nothing is there any more once it is in place.
        let _ = self.scratch.as_ref().map(fs::remove_file);
    }
}

/// Puts a file in place in one step: readers see the old one or the new one, and neither a failure nor a kill leaves half a file.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let path = match Place::of(path)? {
        Place::Replaced(path) => path,
        Place::Special(path) => return write_to(&path, bytes),
    };
    let scratch = scratch_beside(&path);
    let written = write_whole(&scratch, bytes).and_then(|()| fs::rename(&scratch, &path));
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written.with_context(|| cannot(&path))
}

/// The name appears when the content is complete: until then the file has none (open(2), O_TMPFILE), where the file system can do that.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(folder) {
        Ok(mut file) => {
            fill(&mut file, bytes)?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            nix::unistd::linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW).map_err(io::Error::from)
        }
        Err(_) => fill(&mut File::create_new(path)?, bytes),
    }
}

fn fill(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name in the same folder, so that the rename stays within one file system.
fn scratch_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn cannot(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
