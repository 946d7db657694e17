//! `--keep-keys`: the session keys of the connections that are written, before the packets that they open. Those of others are not written.

use faultmap_capture::analysis::Place;
use faultmap_capture::flow::FlowId;
use faultmap_capture::keys::{KeyLines, Keys};
use faultmap_capture::pcapng::PcapNgWriter;
use std::collections::HashMap;
use std::io::{self, Write};

/// Keys of connections of which no packet has been written yet. As many as the keys themselves, which are bounded.
#[derive(Default)]
pub(super) struct Secrets {
    waiting: HashMap<FlowId, KeyLines>,
}

impl Secrets {
    /// A file that is to hold keys. An empty block at its beginning tells readers that connections are worth remembering until their keys come.
    pub(super) fn begin<W: Write>(writer: &mut PcapNgWriter<W>) -> io::Result<Self> {
        writer.secrets(&[])?;
        Ok(Self::default())
    }

    /// The packet that the analysis has just taken in, and whether it is written.
    pub(super) fn packet<W: Write>(
        &mut self,
        keys: &Keys,
        place: Option<Place>,
        wanted: bool,
        writer: &mut PcapNgWriter<W>,
    ) -> io::Result<()> {
        let Some(flow) = place.map(|place| place.flow) else { return Ok(()) };
        let fresh = keys.take_used();
        if !fresh.is_empty() {
            self.waiting.insert(flow, fresh);
        }
        match self.waiting.get(&flow).filter(|_| wanted) {
            Some(lines) => writer.secrets(lines)?,
            None => return Ok(()),
        }
        self.waiting.remove(&flow);
        Ok(())
    }
}
