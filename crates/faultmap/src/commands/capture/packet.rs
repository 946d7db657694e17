//! `--packet`: one packet taken apart. Reads no further than to it.

use super::reading;
use crate::cli::CaptureArgs;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::{anyhow, bail};
use faultmap_capture::dolls::anatomy;

pub(super) fn show(args: &CaptureArgs, number: u64, choice: Choice) -> anyhow::Result<()> {
    let mut found = None;
    let read = reading::read(&args.files, |packet| {
        if packet.number.0 != number {
            return Ok(());
        }
        found = Some(anatomy(packet));
        // Ends the reading.
        Err(anyhow!("found"))
    });
    match (found, read) {
        (Some(anatomy), _) if args.json => super::json(&anatomy),
        (Some(anatomy), _) => terminal::print(&render::capture_packet(&anatomy, Terminal::of_environment()), choice),
        (None, Err(error)) => Err(error),
        (None, Ok(reading)) => match reading.errors.first() {
            Some(error) => bail!("there is no packet {number}: {} were read, then: {error}", reading.packets),
            None => bail!("there is no packet {number}: the capture has {}, or it is of a link type that is not known", reading.packets),
        },
    }
}
