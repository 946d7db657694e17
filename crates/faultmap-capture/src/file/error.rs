//! What is wrong with a capture file, and where.

use std::io;

/// A capture file that cannot be read to its end. Packets before the place named were read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or may not be read.
    #[error("cannot open {file}: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// Reading or unpacking it failed.
    #[error("cannot read {file} beyond byte {offset}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Bytes (unpacked, if the file is compressed) that were read.
        offset: u64,
        /// What the system or the decompressor says.
        source: io::Error,
    },
    /// It has no byte.
    #[error("{file} is empty: not even the header of a capture file is there")]
    Empty {
        /// The file.
        file: String,
    },
    /// It is something else.
    #[error("{file} is neither pcap nor pcapng: it begins with {magic}{hint}")]
    NotACapture {
        /// The file.
        file: String,
        /// Its first bytes.
        magic: String,
        /// What it may be, and what to do about it; may be empty.
        hint: &'static str,
    },
    /// It ends within a record.
    #[error("{file} ends at byte {offset} in the middle of {what}: {have} of {want} bytes are there")]
    Truncated {
        /// The file.
        file: String,
        /// Where the record begins.
        offset: u64,
        /// What was begun.
        what: &'static str,
        /// Its bytes that are there.
        have: u64,
        /// The bytes that it should have.
        want: u64,
    },
    /// It says something that cannot be.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// What it says.
        what: String,
    },
    /// Some packets are of a medium that faultmap cannot read.
    #[error(
        "{file}: {packets} packets were not read, the first before byte {offset}: their link type is {number} ({name}), which faultmap does not know"
    )]
    UnknownLink {
        /// The file.
        file: String,
        /// After the first of them.
        offset: u64,
        /// The `LINKTYPE_` number.
        number: u32,
        /// Its name.
        name: &'static str,
        /// How many.
        packets: u64,
    },
}

impl FileError {
    /// The file, as the message names it.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            Self::Open { file, .. }
            | Self::Read { file, .. }
            | Self::Empty { file }
            | Self::NotACapture { file, .. }
            | Self::Truncated { file, .. }
            | Self::Damaged { file, .. }
            | Self::UnknownLink { file, .. } => file,
        }
    }
}

/// The same, before file and place are known.
#[derive(Debug)]
pub(crate) enum Problem {
    Io(io::Error),
    Empty,
    NotACapture(Vec<u8>),
    Truncated { what: &'static str, have: u64, want: u64 },
    Damaged(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Problem {
    pub(crate) fn not_a_capture(begin: &[u8]) -> Self {
        Self::NotACapture(begin.iter().take(8).copied().collect())
    }

    pub(crate) fn at(self, file: &str, offset: u64) -> FileError {
        let file = file.to_owned();
        match self {
            Self::Io(source) => FileError::Read { file, offset, source },
            Self::Empty => FileError::Empty { file },
            Self::NotACapture(begin) => {
                let magic = begin.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
                FileError::NotACapture { file, magic, hint: hint(&begin) }
            }
            Self::Truncated { what, have, want } => FileError::Truncated { file, offset, what, have, want },
            Self::Damaged(what) => FileError::Damaged { file, offset, what },
        }
    }
}

/// Formats that are met under the name of a capture, and what to do with them.
const fn hint(begin: &[u8]) -> &'static str {
    match begin {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ", which is xz: unpack it first (xz -dc FILE | faultmap capture -)",
        [b'B', b'Z', b'h', ..] => ", which is bzip2: unpack it first (bzip2 -dc FILE | faultmap capture -)",
        [0x04, 0x22, 0x4d, 0x18, ..] => ", which is lz4: unpack it first (lz4 -dc FILE | faultmap capture -)",
        [b'P', b'K', ..] => ", which is a zip archive: unpack it first",
        [b's', b'n', b'o', b'o', b'p', ..] => ", which is a snoop file: convert it first (editcap -F pcapng FILE OUT)",
        _ => "",
    }
}
