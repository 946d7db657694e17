//! `faultmap capture -i`: packets as they pass an interface, findings as they happen, the report when it ends. It judges nothing.

use super::reading::{Reading, interrupts};
use crate::cli::CaptureArgs;
use crate::commands::file::Growing;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::Context as _;
use faultmap_capture::analysis::Analysis;
use faultmap_capture::finding::{Finding, Weight};
use faultmap_capture::live::{Counts, Live, Recorder, Rotation, Wanted};
use faultmap_capture::packet::Captured;
use faultmap_capture::pcapng::PcapNgWriter;
use std::fs::File;
use std::io::BufWriter;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One look; also how late Ctrl-C is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// What is held back is written so often.
const FLUSH: Duration = Duration::from_secs(1);
/// Findings shown as they happen; the report has the rest.
const MOST_SHOWN: u64 = 1000;

/// Captures until the user, the time or the number ends it.
pub(super) fn watch(args: &CaptureArgs, interface: &str, analysis: &mut Analysis, choice: Choice) -> anyhow::Result<Reading> {
    let wanted = wanted(args, interface)?;
    let mut live = Live::open(&wanted)?;
    let mut keep = Keep::begin(args)?;
    let interrupted = interrupts()?;
    let mut shown = Shown { wanted: !args.json && !args.quiet, count: 0, choice };
    let limit = args.count.unwrap_or(u64::MAX);
    let (begun, mut flushed, mut dropped) = (Instant::now(), Instant::now(), 0);
    let mut reading = Reading::default();
    let progress = render::Progress::begin(terminal::watched() && !args.quiet, Terminal::of_environment(), "waiting for packets");
    let over =
        |count: u64| interrupted.load(Ordering::Relaxed) || count >= limit || args.duration.is_some_and(|time| begun.elapsed() >= time);
    let ended = loop {
        let mut kept = Ok(());
        let read = live.read(LOOK, |interface, packet| {
            if reading.packets < limit && kept.is_ok() {
                reading.packets += 1;
                analysis.packet(packet);
                kept = keep.packet(interface, packet);
            }
        });
        if kept.is_ok() && flushed.elapsed() >= FLUSH {
            (kept, flushed) = (keep.flush(), Instant::now());
        }
        if let Err(error) = kept {
            break Err(error);
        }
        let counts = live.counts();
        analysis.dropped(counts.dropped - dropped, 0);
        dropped = counts.dropped;
        progress.tell(|| line(reading.packets, dropped, begun.elapsed()));
        shown.tell(&progress, analysis.take_findings())?;
        match read {
            Err(error) => {
                reading.errors.push(error.to_string());
                break Ok(());
            }
            Ok(_) if over(reading.packets) => break Ok(()),
            Ok(_) => {}
        }
    };
    progress.end();
    if live.unread() > 0 {
        reading.errors.push(format!("{} packets of interfaces whose frames are not read here were left out", live.unread()));
    }
    // What could not be kept is told; what was seen is judged all the same.
    let ended = ended.and_then(|()| keep.finish(live.counts()));
    reading.errors.extend(ended.err().map(|error| format!("{error:#}")));
    Ok(reading)
}

fn wanted(args: &CaptureArgs, interface: &str) -> anyhow::Result<Wanted> {
    let filter = match args.bpf.as_deref() {
        Some(text) => super::kernel_filter(text)?,
        None => Vec::new(),
    };
    let buffer = (args.buffer as usize) << 20;
    Ok(Wanted { filter, promiscuous: args.promiscuous, buffer, ..Wanted::on(interface) })
}

fn line(packets: u64, dropped: u64, time: Duration) -> String {
    let lost = if dropped > 0 { format!(", {dropped} lost for want of room (--buffer)") } else { String::new() };
    format!("{} packets{lost} in {:.0} s; Ctrl-C ends and judges", packets, time.as_secs_f64())
}

/// Findings as they happen.
struct Shown {
    wanted: bool,
    count: u64,
    choice: Choice,
}

impl Shown {
    fn tell(&mut self, progress: &render::Progress, findings: Vec<Finding>) -> anyhow::Result<()> {
        let room = MOST_SHOWN.saturating_sub(self.count);
        let worth = findings.into_iter().filter(|finding| self.wanted && finding.weight >= Weight::Warning);
        for finding in worth.take(usize::try_from(room).unwrap_or(0)) {
            self.count += 1;
            let text = render::live_finding(&finding, Terminal::of_environment());
            progress.aside(|| terminal::print(&text, self.choice))?;
        }
        Ok(())
    }
}

/// Where the packets are kept, if they are.
enum Keep {
    Nowhere,
    File { writer: Box<PcapNgWriter<BufWriter<File>>>, growing: Growing },
    Ring(Box<Recorder>),
}

impl Keep {
    fn begin(args: &CaptureArgs) -> anyhow::Result<Self> {
        match (&args.ring, &args.write) {
            (Some(folder), _) => {
                let rotation = Rotation { folder: folder.clone(), files: args.ring_files as usize, size: args.ring_size };
                Ok(Self::Ring(Box::new(Recorder::start(rotation).context("--ring")?)))
            }
            (None, Some(path)) => {
                let (growing, out) = Growing::begin(path)?;
                let writer = Box::new(PcapNgWriter::new(BufWriter::new(out)).with_context(|| growing.cannot())?);
                Ok(Self::File { writer, growing })
            }
            (None, None) => Ok(Self::Nowhere),
        }
    }

    fn packet(&mut self, interface: &str, packet: &Captured<'_>) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing } => {
                let written = writer.interface(packet.link, interface).and_then(|number| writer.packet(number, packet));
                written.with_context(|| growing.cannot())
            }
            Self::Ring(recorder) => Ok(recorder.packet(interface, packet)?),
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing } => writer.flush().with_context(|| growing.cannot()),
            Self::Ring(recorder) => Ok(recorder.flush()?),
        }
    }

    fn finish(self, counts: Counts) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing } => {
                end(*writer).with_context(|| growing.cannot())?;
                growing.place()
            }
            Self::Ring(recorder) => Ok(recorder.finish(counts)?),
        }
    }
}

fn end(writer: PcapNgWriter<BufWriter<File>>) -> std::io::Result<()> {
    writer.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}
