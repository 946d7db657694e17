//! Packets out of capture files: pcap and pcapng, plain or compressed, one file after another or the standard input, in a buffer that does not
//! grow with the file. What stands in the packets is not looked at here. A damaged file gives everything before the damage, and then says where it is.

mod ahead;
mod decompress;
mod error;
mod input;
mod link;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

pub use error::FileError;
pub(crate) use pcapng::TLS_KEY_LOG;

use crate::keys::Keys;
use crate::packet::{Captured, PacketNo, Stamp};
use error::Problem;
use faultmap_wire::dissect::LinkType;
use input::Input;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Link types that are remembered for the report.
const MOST_LINKS: usize = 64;

/// How far the reading of files has come, in bytes as they lie on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub read: u64,
    /// Size of all files together; `None` if one of them is a pipe.
    pub size: Option<u64>,
}

/// What the writer of the files noted beside the packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// Link types of the packets read.
    pub links: BTreeSet<u32>,
    /// Packets that the recorder says it dropped (pcapng's interface statistics and drop counts); `None` if it says nothing.
    pub dropped: Option<u64>,
    /// Packets counted, but of a link type that cannot be read.
    pub unreadable: u64,
}

/// Capture files, read one after another as if they were one. Packets are numbered through.
pub struct Files {
    waiting: VecDeque<PathBuf>,
    /// What `-` is read from; `None` for the standard input as it is.
    stdin: Option<Box<dyn Read + Send>>,
    current: Option<Current>,
    number: u64,
    last: Stamp,
    /// That of the last packet: one that can be read.
    link: Option<LinkType>,
    notes: Notes,
    keys: Keys,
    /// Key logs that were read and not given to `keys` yet.
    key_logs: Vec<KeyLog>,
    /// They wait for who asks for them.
    keeps_key_logs: bool,
    done: u64,
    size: Option<u64>,
}

/// Session keys of TLS as they stand in a file.
pub(crate) struct KeyLog(Zeroizing<Vec<u8>>);

impl KeyLog {
    fn of(text: &[u8]) -> Self {
        Self(Zeroizing::new(text.to_vec()))
    }

    pub(crate) fn give_to(&self, keys: &Keys) {
        keys.read(&self.0);
        keys.end_of_log();
        // Where one such block is, others may follow.
        keys.will_grow();
    }
}

/// A record that lies in the input's buffer.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    at: Option<Stamp>,
    link: LinkType,
    wire_len: u32,
    place: Range<usize>,
}

enum Format {
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
}

struct Current {
    name: String,
    input: Input,
    format: Option<Format>,
    unknown: Option<(u64, LinkType, u64)>,
}

impl Files {
    /// Reads `paths` in this order; `-` is the standard input. Nothing is opened yet.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        let size = paths.iter().map(|path| size_of(path)).sum();
        let waiting = paths.iter().cloned().collect();
        Self {
            waiting,
            stdin: None,
            current: None,
            number: 0,
            last: Stamp::default(),
            link: None,
            notes: Notes::default(),
            keys: Keys::default(),
            key_logs: Vec::new(),
            keeps_key_logs: false,
            done: 0,
            size,
        }
    }

    /// Puts session keys of TLS that stand in the files beside these.
    #[must_use]
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Reads `-` from `source`, which may know better when to stop than the standard input does.
    #[must_use]
    pub fn with_stdin(mut self, source: Box<dyn Read + Send>) -> Self {
        self.stdin = Some(source);
        self
    }

    /// Reads a capture from `source`, called `name` in errors.
    #[must_use]
    pub fn from_reader(name: &str, source: Box<dyn Read + Send>) -> Self {
        let mut files = Self::new(&[]);
        files.current = Some(Current { name: name.to_owned(), input: Input::new(source), format: None, unknown: None });
        files
    }

    /// The session keys of TLS that stand in the files, as far as they have been read; an analysis opens connections with them.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// Key logs in the files are kept until somebody takes them, for who reads ahead of those that open connections.
    pub(crate) const fn keep_key_logs(&mut self) {
        self.keeps_key_logs = true;
    }

    /// The key logs before the packet that was read last, and behind the one before that.
    pub(crate) fn take_key_logs(&mut self) -> Vec<KeyLog> {
        std::mem::take(&mut self.key_logs)
    }

    /// The next packet; `None` after the last one of the last file.
    ///
    /// # Errors
    /// A file that cannot be opened or read, is no capture, or is damaged. The file is left there: the next call goes on with the next file.
    #[allow(clippy::should_implement_trait, reason = "a packet borrows the buffer, which no Iterator can say")]
    pub fn next(&mut self) -> Result<Option<Captured<'_>>, FileError> {
        let record = loop {
            if self.current.is_none() {
                let Some(path) = self.waiting.pop_front() else { return Ok(None) };
                self.current = Some(Current::open(&path, &mut self.stdin)?);
            }
            let Some(current) = self.current.as_mut() else { return Ok(None) };
            let read = current.record(&mut self.notes, &mut self.key_logs);
            if !self.key_logs.is_empty() && !self.keeps_key_logs {
                self.key_logs.drain(..).for_each(|log| log.give_to(&self.keys));
            }
            match read {
                Ok(Some(record)) => {
                    self.number = self.number.saturating_add(1);
                    if self.link != Some(record.link) && !link::is_known(record.link) {
                        current.count_unknown(record.link);
                        self.notes.unreadable = self.notes.unreadable.saturating_add(1);
                        continue;
                    }
                    break record;
                }
                Ok(None) => {
                    let end = current.unreadable();
                    self.close();
                    end?;
                }
                Err(problem) => {
                    let error = problem.at(&current.name, current.input.offset());
                    self.close();
                    return Err(error);
                }
            }
        };
        if self.link != Some(record.link) {
            self.link = Some(record.link);
            if self.notes.links.len() < MOST_LINKS {
                self.notes.links.insert(record.link.0);
            }
        }
        self.last = record.at.unwrap_or(self.last);
        let bytes = self.current.as_ref().map_or(&[][..], |current| current.input.at(record.place));
        Ok(Some(Captured { number: PacketNo(self.number), at: self.last, link: record.link, wire_len: record.wire_len, bytes }))
    }

    /// How far the reading has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let read = self.done.saturating_add(self.current.as_ref().map_or(0, |current| current.input.read_of_source()));
        Progress { read, size: self.size }
    }

    /// What the files say beside the packets, as far as they have been read.
    #[must_use]
    pub const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Packets read so far.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.number
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            self.done = self.done.saturating_add(current.input.read_of_source());
        }
    }
}

/// Whether a path stands for the standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What a file is called in errors.
#[must_use]
pub fn name_of(path: &Path) -> String {
    if is_stdin(path) { "the standard input".to_owned() } else { path.display().to_string() }
}

fn size_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|data| data.len())
}

impl Current {
    fn open(path: &Path, stdin: &mut Option<Box<dyn Read + Send>>) -> Result<Self, FileError> {
        let name = name_of(path);
        let source: Box<dyn Read + Send> = if is_stdin(path) {
            stdin.take().unwrap_or_else(|| Box::new(std::io::stdin()))
        } else {
            match std::fs::File::open(path) {
                Ok(file) => Box::new(file),
                Err(source) => return Err(FileError::Open { file: name, source }),
            }
        };
        Ok(Self { name, input: Input::new(source), format: None, unknown: None })
    }

    fn record(&mut self, notes: &mut Notes, keys: &mut Vec<KeyLog>) -> Result<Option<Record>, Problem> {
        let format = match &mut self.format {
            Some(format) => format,
            None => {
                let format = recognise(&mut self.input)?;
                self.format.insert(format)
            }
        };
        match format {
            Format::Pcap(reader) => reader.next(&mut self.input),
            Format::Pcapng(reader) => reader.next(&mut self.input, notes, keys),
        }
    }

    const fn count_unknown(&mut self, link: LinkType) {
        let offset = self.input.offset();
        let (first, link, count) = match self.unknown {
            Some(known) => known,
            None => (offset, link, 0),
        };
        self.unknown = Some((first, link, count.saturating_add(1)));
    }

    /// Packets of an unknown link type are told once, when the others have been read.
    fn unreadable(&self) -> Result<(), FileError> {
        match self.unknown {
            None => Ok(()),
            Some((offset, link, packets)) => {
                let name = link::name(link);
                Err(FileError::UnknownLink { file: self.name.clone(), offset, number: link.0, name, packets })
            }
        }
    }
}

fn recognise(input: &mut Input) -> Result<Format, Problem> {
    if !input.need(4)? {
        return Err(if input.available().is_empty() && input.offset() == 0 {
            Problem::Empty
        } else {
            Problem::not_a_capture(input.available())
        });
    }
    let &[a, b, c, d, ..] = input.available() else { return Err(Problem::Empty) };
    let magic = [a, b, c, d];
    if magic == pcapng::SECTION_HEADER {
        return Ok(Format::Pcapng(pcapng::Reader::default()));
    }
    match pcap::Reader::with_magic(magic) {
        Some(mut reader) => {
            reader.header(input)?;
            Ok(Format::Pcap(reader))
        }
        None => {
            input.need(8)?;
            Err(Problem::not_a_capture(input.available()))
        }
    }
}
