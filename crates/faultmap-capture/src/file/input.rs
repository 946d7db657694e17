//! The bytes of one file in a buffer: unpacked if they are compressed, held until the record in them has been used. Knows no format of captures.

use super::ahead::Ahead;
use super::decompress;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buffer at the beginning, bytes.
const BUFFER: usize = 256 * 1024;
/// Largest record that is held in memory, bytes. Packets are at most 256 KiB for libpcap (`MAXIMUM_SNAPLEN`); blocks of pcapng may hold more.
pub(crate) const MOST_RECORD: usize = 16 * 1024 * 1024;

pub(crate) struct Input {
    source: Box<dyn Read + Send>,
    compressed: bool,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    exhausted: bool,
    read: Arc<AtomicU64>,
}

/// Counts what is read of the file itself, below decompression.
struct Counted {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Input {
    pub(crate) fn new(source: Box<dyn Read + Send>) -> Self {
        let read = Arc::new(AtomicU64::new(0));
        let source = Box::new(Counted { source, read: Arc::clone(&read) });
        Self { source, compressed: false, buffer: Vec::new(), start: 0, end: 0, offset: 0, exhausted: false, read }
    }

    /// Makes `bytes` bytes available, if the file has so many.
    #[inline]
    pub(crate) fn need(&mut self, bytes: usize) -> io::Result<bool> {
        // Twice for each packet, and nearly always there is enough.
        if self.end - self.start >= bytes { Ok(true) } else { self.fetch(bytes) }
    }

    #[cold]
    fn fetch(&mut self, bytes: usize) -> io::Result<bool> {
        while self.end - self.start < bytes {
            if self.exhausted || bytes > MOST_RECORD {
                return Ok(false);
            }
            self.fill(bytes)?;
        }
        Ok(true)
    }

    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        let first = self.buffer.is_empty();
        if self.start > 0 && self.buffer.len() - self.start < bytes.max(BUFFER / 2) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // In steps: a length that lies in a damaged file takes no memory before the bytes are there.
        let room =
            if self.end == self.buffer.len() { (self.buffer.len() * 2).clamp(BUFFER, MOST_RECORD + BUFFER) } else { self.buffer.len() };
        self.buffer.resize(room, 0);
        let Some(space) = self.buffer.get_mut(self.end..) else { return Ok(()) };
        let read = loop {
            match self.source.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.exhausted = read == 0;
        if first && !self.compressed {
            self.unpack()?;
        }
        Ok(())
    }

    /// Puts a decompressor between file and buffer if the first bytes ask for one.
    fn unpack(&mut self) -> io::Result<()> {
        while self.end < 4 && !self.exhausted {
            let Some(space) = self.buffer.get_mut(self.end..) else { break };
            let read = self.source.read(space)?;
            self.end += read;
            self.exhausted = read == 0;
        }
        let begin = self.buffer.get(..self.end).unwrap_or_default();
        let Some(kind) = decompress::Kind::of(begin) else { return Ok(()) };
        let file = std::mem::replace(&mut self.source, Box::new(io::empty()));
        let unpacked = kind.decoder(Box::new(io::Cursor::new(begin.to_vec()).chain(file)));
        // Unpacking costs more than all that is done with the packets. With a core of its own it costs no time.
        let alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
        self.source = if alone { unpacked } else { Box::new(Ahead::of(unpacked)?) };
        self.compressed = true;
        self.end = 0;
        self.exhausted = false;
        Ok(())
    }

    /// The bytes that are there and not used yet.
    pub(crate) fn available(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where `len` bytes lie that begin `skip` bytes on. The place holds until the next `need`.
    pub(crate) const fn place(&self, skip: usize, len: usize) -> Range<usize> {
        let start = self.start.saturating_add(skip);
        start..start.saturating_add(len)
    }

    /// What lies at a place.
    pub(crate) fn at(&self, place: Range<usize>) -> &[u8] {
        self.buffer.get(place).unwrap_or_default()
    }

    /// Goes on by `bytes`, which must be available.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset = self.offset.saturating_add(bytes as u64);
    }

    /// Goes on by `bytes`, available or not; says how many of them were there.
    pub(crate) fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        while left > 0 && self.need(1)? {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(self.available().len());
            self.consume(step);
            left -= step as u64;
        }
        Ok(bytes - left)
    }

    /// Bytes used so far: the place of the next record in the unpacked file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read of the file as it is on the disk.
    pub(crate) fn read_of_source(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
