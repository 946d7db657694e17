//! `faultmap capture -i`: packets as they pass an interface, findings as they happen, the report when it ends. It judges nothing.

use super::keep::Keep;
use super::narrow::Narrow;
use super::reading::{interrupts, key_log};
use super::view::View;
use crate::cli::CaptureArgs;
use crate::render::Course;
use crate::terminal::{self, Choice};
use faultmap_capture::analysis::Analysis;
use faultmap_capture::keys::{KeyFile, Keys};
use faultmap_capture::live::{Live, LiveError, Wanted};
use faultmap_capture::packet::Stamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// One look; also how late Ctrl-C is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// The kernel hands over a block that is not full after 50 ms: what came before then is here.
const HANDED_OVER: Duration = Duration::from_millis(60);
/// On a silent interface the time goes on, so far behind the clock that no packet can have come before.
const BEHIND: Duration = Duration::from_millis(400);
/// What is held back is written so often, and the interface looked at.
const FLUSH: Duration = Duration::from_secs(1);

/// A capture that runs.
struct Watch<'a> {
    args: &'a CaptureArgs,
    live: Live,
    keep: Keep,
    narrow: Option<&'a mut Narrow>,
    analysis: &'a mut Analysis,
    keys: Option<LiveKeys>,
    packets: u64,
    /// What could not be captured or kept.
    errors: Vec<String>,
    course: Course,
    begun: Instant,
    interrupted: Arc<AtomicBool>,
}

/// Captures until the user, the time or the number ends it. What could not be captured or kept is what it gives; all else is in the analysis.
pub(super) fn watch(
    args: &CaptureArgs,
    interface: &str,
    (analysis, keys): (&mut Analysis, Option<LiveKeys>),
    narrow: Option<&mut Narrow>,
    choice: Choice,
) -> anyhow::Result<Vec<String>> {
    let live = Live::open(&wanted(args, interface)?)?;
    let keep = Keep::begin(args)?;
    let interrupted = interrupts()?;
    if !matches!(keep, Keep::Nowhere) && narrow.as_ref().is_some_and(|narrow| narrow.keeps_all()) {
        terminal::say(
            "faultmap: what the filter asks of flows is known at their end: every packet is kept, and the report is filtered (--bpf chooses packets)\n",
        );
    }
    let course = Course { down: live.is_down(), ..Course::default() };
    let begun = Instant::now();
    let mut watch = Watch { args, live, keep, narrow, analysis, keys, packets: 0, errors: Vec::new(), course, begun, interrupted };
    let view = View::begin(args, interface, choice)?;
    let ended = watch.go(interface, view);
    watch.end(ended)
}

/// A key log that is written while packets pass.
pub(super) struct LiveKeys {
    keys: Keys,
    file: Option<KeyFile>,
    path: PathBuf,
}

impl LiveKeys {
    /// Reads what is there. A log that is not there yet may come.
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        let keys = Keys::default();
        keys.will_grow();
        let file = if path.exists() { Some(key_log(path, &keys)?) } else { None };
        Ok(Self { keys, file, path: path.to_owned() })
    }

    pub(super) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// What cannot be read now may be readable at the next look; until then connections stay sealed.
    fn read_again(&mut self) {
        if self.file.is_none() {
            self.file = KeyFile::open(&self.path).ok();
        }
        if self.file.as_mut().is_some_and(|file| file.read_into(&self.keys).is_err()) {
            self.file = None;
        }
    }
}

fn wanted(args: &CaptureArgs, interface: &str) -> anyhow::Result<Wanted> {
    let filter = match args.bpf.as_deref() {
        Some(text) => super::kernel_filter(text)?,
        None => Vec::new(),
    };
    let buffer = (args.buffer as usize) << 20;
    Ok(Wanted { filter, promiscuous: args.promiscuous, buffer, ..Wanted::on(interface) })
}

impl Watch<'_> {
    /// Until something ends it. What could not be kept is its error.
    fn go(&mut self, interface: &str, mut view: View) -> anyhow::Result<()> {
        if self.course.down {
            view.say(&format!("faultmap: {interface} is down; nothing passes until it is brought up (ip link set {interface} up)\n"));
        }
        let mut flushed = Instant::now();
        let done = loop {
            let (read, mut kept) = self.read(LOOK);
            if kept.is_ok() && flushed.elapsed() >= FLUSH {
                (kept, flushed) = (self.keep.flush(), Instant::now());
                let was = std::mem::replace(&mut self.course.down, self.live.is_down());
                if self.course.down && !was {
                    view.say(&format!("faultmap: {interface} went down\n"));
                }
            }
            if let Err(error) = kept {
                break Err(error);
            }
            let gone = read.is_err();
            if let Err(error) = read {
                self.errors.push(error.to_string());
            }
            let mut over = gone || self.is_over();
            if over && !gone {
                // What came before the end is in the ring.
                std::thread::sleep(HANDED_OVER);
                let (_, kept) = self.read(Duration::ZERO);
                if let Err(error) = kept {
                    break Err(error);
                }
            }
            match view.show(self.analysis, self.narrow.as_deref(), self.course, over) {
                Ok(wanted) => over |= !wanted,
                Err(error) => break Err(error),
            }
            if over {
                break Ok(());
            }
        };
        view.end();
        done
    }

    /// Takes in what waits. Whether the interface is there, and whether the packets could be kept.
    fn read(&mut self, wait: Duration) -> (Result<usize, LiveError>, anyhow::Result<()>) {
        let Self { args, live, keep, narrow, analysis, keys, packets, course, .. } = self;
        let limit = args.count.unwrap_or(u64::MAX);
        let mut kept = Ok(());
        let mut looked = false;
        let read = live.read(wait, |interface, packet| {
            // Who speaks TLS writes its keys while its packets wait in the kernel's block: the log is read before them.
            if let Some(keys) = keys.as_mut().filter(|_| !std::mem::replace(&mut looked, true)) {
                keys.read_again();
            }
            if *packets < limit && kept.is_ok() {
                *packets += 1;
                course.bytes = course.bytes.saturating_add(u64::from(packet.wire_len));
                analysis.packet(packet);
                let mut wanted = true;
                if let Some(narrow) = narrow {
                    narrow.look(packet, analysis.place());
                    wanted = narrow.keeps(packet);
                }
                if let Some(keys) = keys.as_ref().filter(|_| kept.is_ok()) {
                    kept = keep.keys(&keys.keys, analysis.place(), wanted);
                }
                if wanted && kept.is_ok() {
                    kept = keep.packet(interface, packet);
                }
            }
        });
        if matches!(read, Ok(0)) {
            let now = SystemTime::now().checked_sub(BEHIND).and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok());
            analysis.clock(Stamp(now.and_then(|now| i64::try_from(now.as_nanos()).ok()).unwrap_or_default()));
        }
        let dropped = live.counts().dropped;
        analysis.dropped(dropped - course.dropped, 0);
        (course.dropped, course.packets, course.running) = (dropped, *packets, self.begun.elapsed());
        (read, kept)
    }

    fn is_over(&self) -> bool {
        let Self { args, .. } = self;
        let counted = args.count.is_some_and(|limit| self.packets >= limit);
        counted || self.interrupted.load(Ordering::Relaxed) || args.duration.is_some_and(|time| self.begun.elapsed() >= time)
    }

    /// What could not be kept is told; what was seen is judged all the same.
    fn end(mut self, ended: anyhow::Result<()>) -> anyhow::Result<Vec<String>> {
        if self.live.unread() > 0 {
            let text = format!("{} packets of interfaces whose frames are not read here were left out", self.live.unread());
            self.errors.push(text);
        }
        let counts = self.live.counts();
        let ended = match ended {
            Ok(()) => self.keep.finish(counts),
            Err(error) => self.keep.salvage().and(Err(error)),
        };
        self.errors.extend(ended.err().map(|error| format!("{error:#}")));
        Ok(self.errors)
    }
}
