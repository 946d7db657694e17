//! `--packet`: one packet taken apart. Reads no further than to it.

use super::reading;
use crate::cli::CaptureArgs;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::bail;
use faultmap_capture::dolls::anatomy;
use std::ops::ControlFlow;

pub(super) fn show(args: &CaptureArgs, number: u64, choice: Choice) -> anyhow::Result<()> {
    let mut found = None;
    let reading = reading::read(&args.files, |packet| {
        if packet.number.0 != number {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(anatomy(packet));
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
