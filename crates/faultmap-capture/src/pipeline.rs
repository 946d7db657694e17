//! Two cores for one capture: one reads the files and looks at each packet by itself, the other follows the flows. What comes out is what one core alone would
//! have said: packets pass in their order, and key logs and damaged files come up where they stand among them.
//!
//! Memory: `WAITING` batches on the way and one on each side, `BYTES` of packets each. Both threads end with whoever lets go of the pipeline.

use crate::analysis::{Analysis, Front, Place, Sight};
use crate::file::{FileError, Files, KeyLog, Notes, Progress};
use crate::keys::Keys;
use crate::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::{LinkType, dissect};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// A batch is full with so many bytes, or so many packets. Measured: many small packets come faster in small batches, large packets in large ones.
const BYTES: usize = 512 * 1024;
const PACKETS: usize = 1024;
/// Batches that wait to be followed.
const WAITING: usize = 4;

/// The following end.
pub struct Pipeline {
    full: Receiver<Batch>,
    /// Batches go back to be filled again.
    empty: SyncSender<Batch>,
    batch: Batch,
    at: usize,
    reader: Option<JoinHandle<Reader>>,
    /// Reading is over: what it has seen beside the packets.
    files: Option<Files>,
    stop: Arc<AtomicBool>,
    keys: Keys,
    packets: u64,
}

/// Packets in a row.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    packets: Vec<Seen>,
    /// What stands between the packets, each with the number of packets of the batch before it.
    between: VecDeque<(usize, Between)>,
    progress: Progress,
}

/// A packet that the lookout has seen.
struct Seen {
    number: PacketNo,
    at: Stamp,
    start: u32,
    len: u32,
    wire_len: u32,
    link: LinkType,
    sight: Sight,
}

enum Between {
    Keys(KeyLog),
    Failed(FileError),
}

/// The reading end.
struct Reader {
    files: Files,
    front: Front,
    /// Packets of a full batch.
    most: usize,
}

impl Pipeline {
    /// Begins to read `files` for an analysis, which opens TLS with `keys` and those in the files.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn begin(files: Files, analysis: &mut Analysis, keys: Keys) -> io::Result<Self> {
        Self::with_batches_of(PACKETS, files, analysis, keys)
    }

    fn with_batches_of(most: usize, mut files: Files, analysis: &mut Analysis, keys: Keys) -> io::Result<Self> {
        let (send_full, full) = sync_channel(WAITING);
        let (empty, take_empty) = sync_channel(WAITING + 2);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        files.keep_key_logs();
        let reader = Reader { files, front: analysis.lookout(), most };
        let reader = std::thread::Builder::new().name("read".to_owned()).spawn(move || reader.run(&send_full, &take_empty, &stopped))?;
        Ok(Self { full, empty, batch: Batch::default(), at: 0, reader: Some(reader), files: None, stop, keys, packets: 0 })
    }

    /// Follows the next packet in the analysis that the pipeline began with; `None` after the last one of the last file.
    ///
    /// # Errors
    /// Those of [`Files::next`]; the next call goes on.
    #[allow(clippy::should_implement_trait, reason = "a packet borrows the batch, which no Iterator can say")]
    pub fn next(&mut self, analysis: &mut Analysis) -> Result<Option<(Captured<'_>, Option<Place>)>, FileError> {
        loop {
            if let Some((_, between)) = self.batch.between.pop_front_if(|(before, _)| *before == self.at) {
                match between {
                    Between::Keys(log) => log.give_to(&self.keys),
                    Between::Failed(error) => return Err(error),
                }
            } else if self.at < self.batch.packets.len() {
                break;
            } else if !self.next_batch(analysis) {
                return Ok(None);
            }
        }
        let Some(seen) = self.batch.packets.get(self.at) else { return Ok(None) };
        self.at += 1;
        self.packets = seen.number.0;
        let captured = seen.captured(&self.batch.bytes);
        analysis.seen(&captured, &seen.sight);
        Ok(Some((captured, analysis.place())))
    }

    fn next_batch(&mut self, analysis: &mut Analysis) -> bool {
        match self.full.recv() {
            Ok(batch) => {
                let mut used = std::mem::replace(&mut self.batch, batch);
                self.at = 0;
                used.clear();
                // Where there is no room for it, there are enough.
                drop(self.empty.try_send(used));
                true
            }
            Err(_) => {
                if let Some(reader) = self.reader.take() {
                    let Reader { files, front, .. } = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    self.packets = files.packets();
                    self.files = Some(files);
                    analysis.all_seen(front);
                }
                false
            }
        }
    }

    /// Reads no more: only what was read already comes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How far the reading has come, as far as it is followed.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.files.as_ref().map_or(self.batch.progress, Files::progress)
    }

    /// Packets read, those that cannot be told included.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// What the files say beside the packets; known when the last packet has come.
    #[must_use]
    pub fn notes(&self) -> Option<&Notes> {
        self.files.as_ref().map(Files::notes)
    }
}

impl Seen {
    fn captured<'a>(&self, bytes: &'a [u8]) -> Captured<'a> {
        let start = self.start as usize;
        let bytes = bytes.get(start..start + self.len as usize).unwrap_or_default();
        Captured { number: self.number, at: self.at, link: self.link, wire_len: self.wire_len, bytes }
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        // A packet of megabytes takes its memory with it.
        self.bytes.shrink_to(2 * BYTES);
        self.packets.clear();
        self.between.clear();
    }

    fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.between.is_empty()
    }

    fn add(&mut self, captured: &Captured<'_>, sight: Sight) {
        let (start, len) = (self.bytes.len() as u32, captured.bytes.len() as u32);
        self.bytes.extend_from_slice(captured.bytes);
        let Captured { number, at, link, wire_len, .. } = *captured;
        self.packets.push(Seen { number, at, start, len, wire_len, link, sight });
    }
}

impl Reader {
    fn run(mut self, full: &SyncSender<Batch>, empty: &Receiver<Batch>, stop: &AtomicBool) -> Self {
        loop {
            let mut batch = empty.try_recv().unwrap_or_default();
            let more = self.fill(&mut batch);
            batch.progress = self.files.progress();
            // Nobody listens any more: the rest is of no use.
            if (!batch.is_empty() && full.send(batch).is_err()) || !more || stop.load(Ordering::Relaxed) {
                return self;
            }
        }
    }

    /// False after the last packet.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        while batch.packets.len() < self.most && batch.bytes.len() < BYTES {
            let read = match self.files.next() {
                Ok(Some(captured)) => {
                    let frame = dissect(captured.link, captured.bytes, captured.wire_len as usize);
                    let sight = self.front.see(&captured, &frame);
                    batch.add(&captured, sight);
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            // They stand before the packet that was read with them.
            let before = batch.packets.len() - usize::from(matches!(read, Ok(true)));
            batch.between.extend(self.files.take_key_logs().into_iter().map(|log| (before, Between::Keys(log))));
            match read {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => batch.between.push_back((before, Between::Failed(error))),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Limits, Outcome};
    use crate::pcapng::PcapNgWriter;
    use std::path::{Path, PathBuf};

    /// Small batches, so that what belongs together comes apart.
    const FEW: usize = 3;

    fn recordings() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).expect("the recordings").map(|entry| entry.expect("a file").path()).collect();
        paths.sort();
        paths
    }

    /// What is said of the files, the errors between them, and the notes: by one core.
    fn one_core(paths: &[PathBuf]) -> (Outcome, Vec<String>, Notes) {
        let (keys, mut analysis, mut errors) = (Keys::default(), Analysis::new(Limits::default()), Vec::new());
        analysis.use_keys(keys.clone());
        let mut files = Files::new(paths).with_keys(keys);
        loop {
            match files.next() {
                Ok(Some(packet)) => analysis.packet(&packet),
                Ok(None) => break,
                Err(error) => errors.push(format!("{} {error}", files.packets())),
            }
        }
        (analysis.finish(), errors, files.notes().clone())
    }

    /// By two, in batches of `most` packets.
    fn two_cores(paths: &[PathBuf], most: usize) -> (Outcome, Vec<String>, Notes) {
        let (keys, mut analysis, mut errors) = (Keys::default(), Analysis::new(Limits::default()), Vec::new());
        analysis.use_keys(keys.clone());
        let mut pipeline = Pipeline::with_batches_of(most, Files::new(paths), &mut analysis, keys).expect("a thread");
        loop {
            match pipeline.next(&mut analysis) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => errors.push(format!("{} {error}", pipeline.packets())),
            }
        }
        (analysis.finish(), errors, pipeline.notes().cloned().expect("it is over"))
    }

    fn check(paths: &[PathBuf], most: usize) {
        let ((one, errors, notes), (two, errors_2, notes_2)) = (one_core(paths), two_cores(paths, most));
        let text = |outcome: &Outcome| serde_json::to_string_pretty(outcome).expect("JSON");
        assert_eq!(text(&one), text(&two), "{paths:?}");
        assert_eq!((one.heard_back, errors, notes), (two.heard_back, errors_2, notes_2), "{paths:?}");
    }

    #[test]
    fn two_cores_say_what_one_says() {
        let paths = recordings();
        paths.iter().for_each(|path| check(std::slice::from_ref(path), FEW));
        check(&paths, PACKETS);
    }

    #[test]
    fn a_damaged_file_is_told_where_it_stands_between_the_others() {
        let mut paths = recordings();
        paths.truncate(4);
        paths.insert(2, PathBuf::from("/absent"));
        // No capture, and there for sure.
        paths.insert(3, Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        assert_eq!(one_core(&paths).1.len(), 2);
        check(&paths, FEW);
        check(&paths, PACKETS);
    }

    /// Else a connection would open or not by how far the reading has come.
    #[test]
    fn a_key_log_is_known_from_its_place_among_the_packets_on() {
        let mut file = PcapNgWriter::new(Vec::new()).expect("memory");
        let interface = file.interface(LinkType::ETHERNET, "").expect("memory");
        for number in 1..=9_u64 {
            if number % 4 == 0 {
                file.secrets(format!("CLIENT_RANDOM {number:064x} {:096x}\n", 7).as_bytes()).expect("memory");
            }
            let captured = Captured { number: PacketNo(number), at: Stamp(0), link: LinkType::ETHERNET, wire_len: 60, bytes: &[0; 60] };
            file.packet(interface, &captured).expect("memory");
        }
        let bytes = file.into_inner().expect("memory");
        for most in [1, FEW, PACKETS] {
            let keys = Keys::default();
            let mut analysis = Analysis::new(Limits::default());
            let files = Files::from_reader("t", Box::new(io::Cursor::new(bytes.clone())));
            let mut pipeline = Pipeline::with_batches_of(most, files, &mut analysis, keys.clone()).expect("a thread");
            let mut known = Vec::new();
            while pipeline.next(&mut analysis).expect("whole").is_some() {
                known.push(keys.edition());
            }
            assert_eq!(known, [0, 0, 0, 1, 1, 1, 1, 2, 2], "batches of {most}");
        }
    }

    #[test]
    fn who_stops_gets_what_was_read_and_an_end() {
        let paths = recordings();
        let mut analysis = Analysis::new(Limits::default());
        let mut pipeline = Pipeline::with_batches_of(1, Files::new(&paths), &mut analysis, Keys::default()).expect("a thread");
        assert!(pipeline.next(&mut analysis).expect("whole").is_some());
        pipeline.stop();
        let more = std::iter::from_fn(|| pipeline.next(&mut analysis).expect("whole").map(drop)).count() as u64;
        assert!(more <= WAITING as u64 + 2, "{more}");
        let outcome = analysis.finish();
        assert_eq!((outcome.totals.all.packets, pipeline.packets()), (more + 1, more + 1));
        assert_eq!(outcome.totals.link_types.values().sum::<u64>(), more + 1, "who looked ahead has told all");
    }

    #[test]
    fn who_lets_go_does_not_wait_for_the_rest() {
        let mut analysis = Analysis::new(Limits::default());
        let pipeline = Pipeline::with_batches_of(1, Files::new(&recordings()), &mut analysis, Keys::default()).expect("a thread");
        drop(pipeline);
    }
}
