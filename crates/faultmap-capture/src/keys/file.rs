//! A key log on the disk, read to its end, and again whenever it has grown: browsers and servers write it while they run. It never writes.

use super::Keys;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes that are read of one key log: those of some quarter of a million connections.
const MOST_BYTES: u64 = 256 << 20;
/// One look.
const PIECE: usize = 64 * 1024;

/// A key log that may grow.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    file: File,
    /// A pipe is read once: to ask it again may wait for ever.
    regular: bool,
    read: u64,
    at: u64,
}

impl KeyFile {
    /// Opens a key log. Nothing is read yet.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let regular = file.metadata()?.is_file();
        Ok(Self { path: path.to_owned(), file, regular, read: 0, at: 0 })
    }

    /// Gives `keys` what stands in the file behind what was read before. A file that was cut or replaced is read from its beginning.
    ///
    /// # Errors
    /// It cannot be read, or holds more than any key log does.
    pub fn read_into(&mut self, keys: &Keys) -> io::Result<()> {
        if self.read > 0 && !self.regular {
            return Ok(());
        }
        self.follow()?;
        keys.read(&[]);
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        loop {
            let len = self.file.read(&mut piece)?;
            if len == 0 {
                return Ok(());
            }
            keys.read(piece.get(..len).unwrap_or_default());
            (self.read, self.at) = (self.read + len as u64, self.at + len as u64);
            if self.read > MOST_BYTES {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any key log"));
            }
        }
    }

    fn follow(&mut self) -> io::Result<()> {
        let Ok(now) = std::fs::metadata(&self.path) else { return Ok(()) };
        let then = self.file.metadata()?;
        let same = {
            use std::os::unix::fs::MetadataExt as _;
            (now.dev(), now.ino()) == (then.dev(), then.ino())
        };
        if !same {
            (self.file, self.at) = (File::open(&self.path)?, 0);
        } else if now.is_file() && now.len() < self.at {
            self.at = self.file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }
}
