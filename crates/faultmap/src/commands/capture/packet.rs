//! `--packet`: one packet taken apart. Reads no further than to it.

use super::{limits, reading};
use crate::cli::CaptureArgs;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::bail;
use faultmap_capture::analysis::Analysis;
use faultmap_capture::dolls::anatomy;
use std::ops::ControlFlow;

pub(super) fn show(args: &CaptureArgs, number: u64, choice: Choice) -> anyhow::Result<()> {
    let mut found = None;
    let keys = reading::keys(args)?;
    let mut analysis = Analysis::new(limits(args));
    analysis.use_keys(keys.clone());
    let reading = reading::read(args, &keys, |packet| {
        let last = packet.number.0 == number;
        // What is sealed opens only to who has followed the connection.
        let mut opened = Vec::new();
        if keys.is_of_use() {
            if last {
                analysis.keep_opened();
            }
            analysis.packet(packet);
            opened = analysis.take_opened();
        }
        if !last {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(anatomy(packet, &opened));
        Ok(ControlFlow::Break(()))
    })?;
    match (found, reading.errors.first()) {
        (Some(anatomy), _) if args.json => super::json(&anatomy),
        (Some(anatomy), _) => terminal::print(&render::capture_packet(&anatomy, Terminal::of_environment()), choice),
        (None, Some(error)) => bail!("there is no packet {number}: {} were read, then: {error}", reading.packets),
        (None, None) => {
            bail!("there is no packet {number}: the capture has {}, or it is of a link type that is not known", reading.packets)
        }
    }
}
