//! Where the packets of a live capture go: nowhere, into one file that appears when it is whole, or into a ring of files.

use crate::cli::CaptureArgs;
use crate::commands::file::Growing;
use anyhow::Context as _;
use faultmap_capture::live::{Counts, Recorder, Rotation};
use faultmap_capture::packet::Captured;
use faultmap_capture::pcapng::PcapNgWriter;
use std::fs::File;
use std::io::BufWriter;

/// Where the packets are kept, if they are.
pub(super) enum Keep {
    Nowhere,
    File { writer: Box<PcapNgWriter<BufWriter<File>>>, growing: Growing },
    Ring(Box<Recorder>),
}

impl Keep {
    pub(super) fn begin(args: &CaptureArgs) -> anyhow::Result<Self> {
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

    pub(super) fn packet(&mut self, interface: &str, packet: &Captured<'_>) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing } => {
                let written = writer.interface(packet.link, interface).and_then(|number| writer.packet(number, packet));
                written.with_context(|| growing.cannot())
            }
            Self::Ring(recorder) => Ok(recorder.packet(interface, packet)?),
        }
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing } => writer.flush().with_context(|| growing.cannot()),
            Self::Ring(recorder) => Ok(recorder.flush()?),
        }
    }

    pub(super) fn finish(self, counts: Counts) -> anyhow::Result<()> {
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
