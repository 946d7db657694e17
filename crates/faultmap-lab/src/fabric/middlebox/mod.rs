//! Boxes in the path that look into packets: filters, connection tables, address translators, impostors.
//! A box decides about one frame at a time and has no clock of its own.

mod diverter;
mod firewall;
mod icmp_filter;
mod interposer;
mod nat;
mod seen;

use std::collections::BTreeMap;
use std::time::Instant;

pub use diverter::Diverter;
pub use firewall::{Action, Firewall, Proto, Rule};
pub use icmp_filter::{IcmpFilter, IcmpMatch};
pub use interposer::Interposer;
pub use nat::{Nat, NatConfig, NatStats, Snat, UnknownMidStream};

use super::link::Direction;

/// What becomes of the frame a box was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It goes on, as the box left it.
    Forward,
    /// It ends here.
    Drop,
}

/// Frames a box makes up.
#[derive(Debug, Default)]
pub struct Emit {
    pub(super) back: Vec<Vec<u8>>,
    pub(super) onward: Vec<Vec<u8>>,
}

impl Emit {
    /// Sends a frame to where the shown one came from.
    pub fn back(&mut self, frame: Vec<u8>) {
        self.back.push(frame);
    }

    /// Sends a frame to where the shown one was going.
    pub fn onward(&mut self, frame: Vec<u8>) {
        self.onward.push(frame);
    }
}

/// A box on a cable. Implementations are handles: a clone kept elsewhere controls the box while it works.
pub trait Middlebox: Send + std::fmt::Debug {
    /// Its name, by which counters are reported.
    fn name(&self) -> &str;

    /// Judges one frame, may rewrite it, may make up others.
    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, now: Instant, out: &mut Emit) -> Pass;

    /// What it did so far.
    fn counters(&self) -> BTreeMap<String, u64>;
}
