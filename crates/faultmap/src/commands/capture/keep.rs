//! Where the packets of a live capture go: nowhere, into one file that appears when it is whole, or into a ring of files.

use super::secrets::Secrets;
use crate::cli::CaptureArgs;
use crate::commands::file::Growing;
use anyhow::Context as _;
use faultmap_capture::analysis::Place;
use faultmap_capture::keys::Keys;
use faultmap_capture::live::{Counts, RecordError, Recorder, Rotation, WholeBlocks};
use faultmap_capture::packet::Captured;
use faultmap_capture::pcapng::PcapNgWriter;

/// Where the packets are kept, if they are.
pub(super) enum Keep {
    Nowhere,
    File { writer: Box<PcapNgWriter<WholeBlocks>>, growing: Growing, secrets: Option<Secrets> },
    Ring(Box<Recorder>),
}

impl Keep {
    pub(super) fn begin(args: &CaptureArgs) -> anyhow::Result<Self> {
        match (&args.ring, &args.write) {
            (Some(folder), _) => {
                let rotation = Rotation { folder: folder.clone(), files: args.ring_files as usize, size: args.ring_size };
                Ok(Self::Ring(Box::new(Recorder::start(rotation).map_err(told).context("--ring")?)))
            }
            (None, Some(path)) => {
                let (growing, out) = Growing::begin(path)?;
                let mut writer = Box::new(PcapNgWriter::new(WholeBlocks::new(out)).with_context(|| growing.cannot())?);
                let secrets = args.keep_keys.then(|| Secrets::begin(&mut writer)).transpose().with_context(|| growing.cannot())?;
                Ok(Self::File { writer, growing, secrets })
            }
            (None, None) => Ok(Self::Nowhere),
        }
    }

    pub(super) fn packet(&mut self, interface: &str, packet: &Captured<'_>) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing, .. } => {
                let written = writer.interface(packet.link, interface).and_then(|number| writer.packet(number, packet));
                written.with_context(|| growing.cannot())
            }
            Self::Ring(recorder) => recorder.packet(interface, packet).map_err(told),
        }
    }

    /// The session keys that the packet just taken in calls for, if they are kept; a ring keeps none.
    pub(super) fn keys(&mut self, keys: &Keys, place: Option<Place>, wanted: bool) -> anyhow::Result<()> {
        match self {
            Self::File { writer, growing, secrets: Some(secrets) } => {
                secrets.packet(keys, place, wanted, writer).with_context(|| growing.cannot())
            }
            Self::File { .. } | Self::Nowhere | Self::Ring(_) => Ok(()),
        }
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing, .. } => writer.flush().with_context(|| growing.cannot()),
            Self::Ring(recorder) => recorder.flush().map_err(told),
        }
    }

    pub(super) fn finish(self, counts: Counts) -> anyhow::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File { writer, growing, .. } => {
                let ended = writer.into_inner().and_then(WholeBlocks::finish);
                let cannot = growing.cannot();
                // On a full disk, too: what was written is worth keeping.
                growing.place()?;
                ended.with_context(|| cannot)
            }
            Self::Ring(recorder) => recorder.finish(counts).map_err(told),
        }
    }

    /// It could not be written to the end: what is there is kept, as whole packets.
    pub(super) fn salvage(self) -> anyhow::Result<()> {
        match self {
            Self::File { writer, growing, .. } => {
                drop(writer);
                growing.place()
            }
            Self::Nowhere | Self::Ring(_) => Ok(()),
        }
    }
}

/// Its words hold the reason already.
fn told(error: RecordError) -> anyhow::Error {
    let hint = if error.is_full() { "; what was written before is kept" } else { "" };
    anyhow::anyhow!("{error}{hint}")
}
