//! Continuous recording into a ring of pcapng files: when one is full the next begins, and the oldest is removed. No packet falls between two files.
//! A file holds whole blocks only, on a full disk too.

use super::Counts;
use crate::packet::{Captured, Stamp};
use crate::pcapng::PcapNgWriter;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

const PREFIX: &str = "faultmap-";
const SUFFIX: &str = ".pcapng";
/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Where the files go, how many, how large.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// Files kept, the one being written included; at least 2.
    pub files: usize,
    /// Bytes after which the next file begins.
    pub size: u64,
}

/// Recording failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}: {source}", path.display())]
pub struct RecordError {
    /// What was tried.
    operation: &'static str,
    /// The file or folder.
    path: PathBuf,
    /// Why not.
    source: io::Error,
}

impl RecordError {
    /// The disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A recording that runs.
#[derive(Debug)]
pub struct Recorder {
    rotation: Rotation,
    sequence: u64,
    path: PathBuf,
    out: PcapNgWriter<WholeBlocks>,
    /// The interfaces that this file describes, with their numbers.
    interfaces: Vec<(String, u32)>,
    last: Stamp,
    /// Packets recorded in all.
    packets: u64,
}

impl Recorder {
    /// Begins the first file, behind those that an earlier recording left in the folder.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn start(rotation: Rotation) -> Result<Self, RecordError> {
        let fail = |source| RecordError { operation: "make the folder", path: rotation.folder.clone(), source };
        fs::create_dir_all(&rotation.folder).map_err(fail)?;
        let sequence = ours(&rotation.folder)?.last().map_or(1, |(sequence, _)| sequence + 1);
        let (path, out) = begin(&rotation.folder, sequence)?;
        let recorder = Self { rotation, sequence, path, out, interfaces: Vec::new(), last: Stamp::default(), packets: 0 };
        recorder.remove_oldest()?;
        Ok(recorder)
    }

    /// Records a packet of an interface; begins the next file first if this one is full.
    ///
    /// # Errors
    /// When the disk is full, or the file cannot be written: what was recorded before stays readable.
    pub fn packet(&mut self, interface: &str, packet: &Captured<'_>) -> Result<(), RecordError> {
        if self.out.written().saturating_add(packet.bytes.len() as u64) > self.rotation.size && !self.interfaces.is_empty() {
            self.rotate()?;
        }
        let number = self.out.interface(packet.link, interface).map_err(|source| self.fail(source))?;
        if !self.interfaces.iter().any(|(_, known)| *known == number) {
            self.interfaces.push((interface.to_owned(), number));
        }
        self.out.packet(number, packet).map_err(|source| self.fail(source))?;
        self.last = packet.at;
        self.packets = self.packets.saturating_add(1);
        Ok(())
    }

    /// Writes what is held back, so that a reader of the file sees it.
    ///
    /// # Errors
    /// As [`Self::packet`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.out.flush().map_err(|source| self.fail(source))
    }

    /// Ends the recording with what the kernel counted.
    ///
    /// # Errors
    /// As [`Self::packet`].
    pub fn finish(mut self, counts: Counts) -> Result<(), RecordError> {
        // The kernel counts for the socket, which may listen on several interfaces: told once.
        if let Some((_, number)) = self.interfaces.first() {
            let (number, at) = (*number, self.last);
            self.out.statistics(number, at, counts.received, counts.dropped).map_err(|source| self.fail(source))?;
        }
        self.flush()
    }

    /// The file being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Packets recorded so far.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    fn rotate(&mut self) -> Result<(), RecordError> {
        self.flush()?;
        let (path, out) = begin(&self.rotation.folder, self.sequence + 1)?;
        self.sequence += 1;
        (self.path, self.out) = (path, out);
        self.interfaces.clear();
        self.remove_oldest()
    }

    fn remove_oldest(&self) -> Result<(), RecordError> {
        let files = ours(&self.rotation.folder)?;
        let excess = files.len().saturating_sub(self.rotation.files.max(2));
        for (_, path) in files.into_iter().take(excess) {
            fs::remove_file(&path).map_err(|source| RecordError { operation: "remove", path, source })?;
        }
        Ok(())
    }

    fn fail(&self, source: io::Error) -> RecordError {
        // Not even its header found room: an empty file is of no use.
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
        RecordError { operation: "write", path: self.path.clone(), source }
    }
}

fn begin(folder: &Path, sequence: u64) -> Result<(PathBuf, PcapNgWriter<WholeBlocks>), RecordError> {
    let path = folder.join(format!("{PREFIX}{sequence:06}{SUFFIX}"));
    let out = File::create_new(&path).and_then(|file| PcapNgWriter::new(WholeBlocks::new(file)));
    match out {
        Ok(out) => Ok((path, out)),
        Err(source) => Err(RecordError { operation: "begin", path, source }),
    }
}

/// The files of recordings in a folder, oldest first; other files are left alone.
fn ours(folder: &Path) -> Result<Vec<(u64, PathBuf)>, RecordError> {
    let fail = |source| RecordError { operation: "list", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(sequence) = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|digits| digits.parse().ok()) {
            files.push((sequence, path));
        }
    }
    files.sort();
    Ok(files)
}

/// A file to which only whole blocks go, on a full disk too: each write of the layer above is a block.
#[derive(Debug)]
pub struct WholeBlocks {
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl WholeBlocks {
    /// Into a file that is empty.
    #[must_use]
    pub const fn new(file: File) -> Self {
        Self { file, buffer: Vec::new(), written: 0 }
    }

    /// Writes what is held back, and waits until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written: the file ends with the last block that could.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        settle(&self.file)
    }

    /// As many of the blocks that are held back as there is room for; the file ends with the last of them.
    fn salvage(&mut self) -> io::Result<()> {
        self.file.set_len(self.written)?;
        self.file.seek(SeekFrom::Start(self.written))?;
        let mut rest = self.buffer.as_slice();
        while let Some(length) = rest.get(4..8).and_then(|bytes| bytes.first_chunk().map(|b| u32::from_ne_bytes(*b) as usize)) {
            let Some((block, behind)) = rest.split_at_checked(length.max(12)) else { break };
            if self.file.write_all(block).is_err() {
                return self.file.set_len(self.written);
            }
            self.written += block.len() as u64;
            rest = behind;
        }
        Ok(())
    }
}

impl Write for WholeBlocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.file.write_all(&self.buffer);
        match done {
            Ok(()) => self.written += self.buffer.len() as u64,
            // A part of it may be there.
            Err(_) => self.salvage()?,
        }
        self.buffer.clear();
        done
    }
}

impl Drop for WholeBlocks {
    fn drop(&mut self) {
        // Whoever cares for an error has flushed before.
        let _ = self.flush();
    }
}

/// Waits until it is on the disk. Devices and pipes have nothing to wait for (EINVAL, fsync(2)).
///
/// # Errors
/// When the disk has no room, or fails.
pub fn settle(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketNo;
    use faultmap_wire::dissect::LinkType;

    fn packet(number: u64, bytes: &[u8]) -> Captured<'_> {
        Captured { number: PacketNo(number), at: Stamp(number as i64), link: LinkType::ETHERNET, wire_len: bytes.len() as u32, bytes }
    }

    /// A folder of this test alone.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("faultmap-recorder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    /// First payload bytes of every packet in the files, oldest first.
    fn recorded(folder: &Path) -> Vec<u8> {
        let mut found = Vec::new();
        for (_, path) in ours(folder).expect("listed") {
            let bytes = fs::read(path).expect("read");
            let mut at = 0;
            while let Some(head) = bytes.get(at..at + 8) {
                let word = |from: usize| u32::from_ne_bytes(head[from..from + 4].try_into().expect("four bytes"));
                if word(0) == 6 {
                    found.push(bytes[at + 28]);
                }
                at += word(4) as usize;
            }
            assert_eq!(at, bytes.len(), "whole blocks only");
        }
        found
    }

    #[test]
    fn no_packet_falls_between_two_files() {
        let folder = folder("between");
        let mut recorder = Recorder::start(Rotation { folder: folder.clone(), files: 100, size: 1000 }).expect("started");
        for number in 0..50 {
            recorder.packet("eth0", &packet(number, &[number as u8; 100])).expect("recorded");
        }
        recorder.finish(Counts::default()).expect("ended");
        assert!(ours(&folder).expect("listed").len() > 5);
        assert_eq!(recorded(&folder), (0..50).collect::<Vec<u8>>());
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn the_oldest_files_go_and_those_of_others_stay() {
        let folder = folder("oldest");
        fs::create_dir_all(&folder).expect("made");
        for name in ["faultmap-000007.pcapng", "mine.pcapng", "faultmap-x.pcapng"] {
            fs::write(folder.join(name), b"").expect("written");
        }
        let mut recorder = Recorder::start(Rotation { folder: folder.clone(), files: 3, size: 1000 }).expect("started");
        assert!(recorder.path().ends_with("faultmap-000008.pcapng"));
        for number in 0..50 {
            recorder.packet("eth0", &packet(number, &[number as u8; 100])).expect("recorded");
        }
        recorder.finish(Counts::default()).expect("ended");
        assert_eq!(ours(&folder).expect("listed").len(), 3);
        assert!(!folder.join("faultmap-000007.pcapng").exists());
        assert!(folder.join("mine.pcapng").exists() && folder.join("faultmap-x.pcapng").exists());
        assert_eq!(recorded(&folder).last(), Some(&49));
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn of_what_is_held_back_as_many_blocks_are_kept_as_there_is_room_for() {
        let folder = folder("full");
        fs::create_dir_all(&folder).expect("made");
        let path = folder.join("x.pcapng");
        let mut out = PcapNgWriter::new(Vec::new()).expect("begun");
        let interface = out.interface(LinkType::ETHERNET, "eth0").expect("described");
        for number in 0..10 {
            out.packet(interface, &packet(number, &[number as u8; 100])).expect("held");
        }
        let buffer = out.into_inner().expect("whole");
        // What a full disk leaves: a part of the blocks, and a part of one.
        let mut file = File::create_new(&path).expect("made");
        file.write_all(&buffer[..300]).expect("written");
        let mut blocks = WholeBlocks { file, buffer, written: 0 };
        blocks.salvage().expect("salvaged");
        blocks.buffer.clear();
        drop(blocks);
        let bytes = fs::read(&path).expect("read");
        let mut at = 0;
        while let Some(length) = bytes.get(at + 4..at + 8) {
            at += u32::from_ne_bytes(length.try_into().expect("four")) as usize;
        }
        assert_eq!(at, bytes.len(), "whole blocks only");
        assert!(bytes.len() > 1000, "all that was held is there: {}", bytes.len());
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Recorder::start(Rotation { folder: "/proc/nowhere".into(), files: 2, size: 1000 }).expect_err("no folder");
        assert!(error.to_string().starts_with("make the folder /proc/nowhere: "), "{error}");
    }
}
