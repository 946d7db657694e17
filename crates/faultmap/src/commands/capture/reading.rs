//! The loop: packets one after the other from the files, until they end or the user ends it. It says how far it has come, and judges nothing.

use crate::cli::CaptureArgs;
use crate::commands::signals::Signals;
use crate::render;
use crate::terminal::{self, Terminal};
use anyhow::{Context as _, bail};
use faultmap_capture::analysis::{Analysis, Place};
use faultmap_capture::file::{FileError, Files, Notes, Progress, name_of};
use faultmap_capture::keys::{KeyFile, Keys};
use faultmap_capture::packet::Captured;
use faultmap_capture::pipeline::Pipeline;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A reading shorter than this shows no progress.
const SHORT: Duration = Duration::from_secs(1);
/// So soon Ctrl-C is heard on a silent pipe.
const LOOK: u8 = 200;
/// Packets between two looks at the clock.
const STRIDE: u64 = 4096;
/// Files of fewer bytes are read before a second core has begun.
const LARGE: u64 = 1 << 20;

/// How a reading went.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Packets.
    pub(super) packets: u64,
    /// What could not be read.
    pub(super) errors: Vec<FileError>,
    /// What the files say beside the packets.
    pub(super) notes: Notes,
    /// The user ended it.
    pub(super) cut_short: bool,
}

/// The session keys of `--keylog`; those that stand in the files come to them while they are read.
pub(super) fn keys(args: &CaptureArgs) -> anyhow::Result<Keys> {
    let keys = Keys::default();
    if let Some(path) = &args.keylog {
        key_log(path, &keys)?;
        keys.end_of_log();
    }
    Ok(keys)
}

/// Reads a key log to its end; what is written to it later can be read from there.
pub(super) fn key_log(path: &Path, keys: &Keys) -> anyhow::Result<KeyFile> {
    let cannot = || format!("--keylog: cannot read {}", path.display());
    let mut file = KeyFile::open(path).with_context(cannot)?;
    file.read_into(keys).with_context(cannot)?;
    Ok(file)
}

/// Gives every packet of the files to `each`, in order, until that has enough.
pub(super) fn read(
    args: &CaptureArgs,
    keys: &Keys,
    mut each: impl FnMut(&Captured<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<Reading> {
    run(args, keys, None, |packet, _| each(packet))
}

/// Takes every packet of the files into the analysis, and tells `each` where it belongs.
pub(super) fn follow(
    args: &CaptureArgs,
    keys: &Keys,
    analysis: &mut Analysis,
    mut each: impl FnMut(&Captured<'_>, Option<Place>),
) -> anyhow::Result<Reading> {
    run(args, keys, Some(analysis), |packet, place| {
        each(packet, place);
        Ok(ControlFlow::Continue(()))
    })
}

fn run(
    args: &CaptureArgs,
    keys: &Keys,
    analysis: Option<&mut Analysis>,
    mut each: impl FnMut(&Captured<'_>, Option<Place>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<Reading> {
    let mut reading = Reading::default();
    let interrupted = interrupts()?;
    let mut files = Files::new(&args.files).with_keys(keys.clone());
    let mut watch = Watch::default();
    let waited = Arc::new(AtomicBool::new(false));
    if args.reads_stdin() {
        let stdin = Stdin::begin(Arc::clone(&interrupted), Arc::clone(&waited))?;
        files = files.with_stdin(Box::new(stdin));
        watch.show("waiting for packets on the standard input");
    }
    let mut source = Source::begin(files, keys, analysis)?;
    loop {
        match source.next() {
            Ok(Some((packet, place))) => {
                let number = packet.number.0;
                if each(&packet, place)?.is_break() {
                    break;
                }
                if interrupted.load(Ordering::Relaxed) {
                    reading.cut_short = true;
                    source.stop();
                }
                // A look at the flag first: to write it costs more than all else here.
                if number.is_multiple_of(STRIDE) || (waited.load(Ordering::Relaxed) && waited.swap(false, Ordering::Relaxed)) {
                    watch.look(&source.progress(), number);
                }
            }
            Ok(None) => break,
            Err(error) => reading.errors.push(error),
        }
    }
    // Who ends a pipe ends it anywhere.
    if interrupted.load(Ordering::Relaxed) {
        reading.cut_short = true;
        reading.errors.retain(|error| error.file() != name_of(Path::new("-")));
    }
    (reading.packets, reading.notes) = source.told();
    Ok(reading)
}

/// Where packets come from, and who follows them before they are shown around.
enum Source<'a> {
    Files { files: Box<Files>, analysis: Option<&'a mut Analysis>, stopped: bool },
    Pipeline { pipeline: Box<Pipeline>, analysis: &'a mut Analysis },
}

impl<'a> Source<'a> {
    /// Two cores share the work where there are two, and something to share. A pipe stays with one: it may be silent for long, and what came is told.
    fn begin(files: Files, keys: &Keys, analysis: Option<&'a mut Analysis>) -> anyhow::Result<Self> {
        let worth_it = files.progress().size.is_some_and(|size| size >= LARGE)
            && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Ok(match analysis {
            Some(analysis) if worth_it => {
                let pipeline = Pipeline::begin(files, analysis, keys.clone()).context("cannot begin to read")?;
                Self::Pipeline { pipeline: Box::new(pipeline), analysis }
            }
            analysis => Self::Files { files: Box::new(files), analysis, stopped: false },
        })
    }

    fn next(&mut self) -> Result<Option<(Captured<'_>, Option<Place>)>, FileError> {
        match self {
            Self::Files { stopped: true, .. } => Ok(None),
            Self::Files { files, analysis, .. } => Ok(files.next()?.map(|packet| {
                let place = analysis.as_deref_mut().and_then(|analysis| {
                    analysis.packet(&packet);
                    analysis.place()
                });
                (packet, place)
            })),
            Self::Pipeline { pipeline, analysis } => pipeline.next(analysis),
        }
    }

    /// No more is read; what was read ahead still comes.
    fn stop(&mut self) {
        match self {
            Self::Files { stopped, .. } => *stopped = true,
            Self::Pipeline { pipeline, .. } => pipeline.stop(),
        }
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Files { files, .. } => files.progress(),
            Self::Pipeline { pipeline, .. } => pipeline.progress(),
        }
    }

    /// Packets read, and what the files say beside them.
    fn told(&self) -> (u64, Notes) {
        match self {
            Self::Files { files, .. } => (files.packets(), files.notes().clone()),
            Self::Pipeline { pipeline, .. } => (pipeline.packets(), pipeline.notes().cloned().unwrap_or_default()),
        }
    }
}

/// The standard input, which ends when the user has had enough, also while nothing comes.
struct Stdin {
    file: File,
    enough: Arc<AtomicBool>,
    /// It had to wait: there is time to tell how far it is.
    waited: Arc<AtomicBool>,
}

impl Stdin {
    fn begin(enough: Arc<AtomicBool>, waited: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            bail!("the standard input is the terminal: pipe a capture into it, such as `tcpdump -w - | faultmap capture -`");
        }
        let file = stdin.as_fd().try_clone_to_owned().context("cannot read the standard input")?;
        Ok(Self { file: File::from(file), enough, waited })
    }
}

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut asked, LOOK) {
                Ok(0) => self.waited.store(true, Ordering::Relaxed),
                Ok(_) => return self.file.read(into),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.enough.load(Ordering::Relaxed) {
                return Ok(0);
            }
        }
    }
}

/// The first Ctrl-C (or SIGTERM, or the end of the terminal) ends the reading, and what was read is judged; the second ends the program.
pub(super) fn interrupts() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot listen for Ctrl-C")?;
    std::thread::Builder::new()
        .name("interrupts".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                Signals::listen().ended().await;
                raised.store(true, Ordering::Relaxed);
                Signals::listen().ended().await;
                terminal::restore();
                std::process::exit(crate::commands::capture::EXIT_INTERRUPTED);
            });
        })
        .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

/// The line on stderr, once the reading takes long.
struct Watch {
    begun: Instant,
    progress: Option<render::Progress>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { begun: Instant::now(), progress: None }
    }
}

impl Watch {
    fn show(&mut self, text: &str) {
        self.progress = Some(render::Progress::begin(terminal::watched(), Terminal::of_environment(), text));
    }

    fn look(&mut self, read: &Progress, packets: u64) {
        if self.progress.is_none() && self.begun.elapsed() >= SHORT {
            self.show("reading");
        }
        if let Some(progress) = &self.progress {
            progress.tell(|| line(read, packets));
        }
    }
}

fn line(read: &Progress, packets: u64) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let done = megabytes(read.read);
    match read.size.filter(|size| *size > 0) {
        Some(size) => {
            let percent = (read.read as f64 * 100.0 / size as f64).min(100.0);
            format!("{percent:.0} %: {done:.0} of {:.0} MB, {packets} packets; Ctrl-C judges what was read", megabytes(size))
        }
        None => format!("{done:.0} MB, {packets} packets; Ctrl-C judges what was read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_a_share_where_there_is_a_whole() {
        let check = |read, size, expect: &str| assert!(line(&Progress { read, size }, 7).starts_with(expect), "{expect}");
        check(5_000_000, Some(10_000_000), "50 %: 5 of 10 MB, 7 packets");
        check(5_000_000, None, "5 MB, 7 packets");
        check(0, Some(0), "0 MB");
    }
}
