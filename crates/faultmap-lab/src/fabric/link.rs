//! The handle on one cable: what it does to frames, and what it did. It holds no frames itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::Shared;
use super::impairment::Impairment;
use super::middlebox::Middlebox;
use crate::error::LabError;

/// Which way a frame travels on a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From end a to end b.
    Forward,
    /// From end b to end a.
    Backward,
}

impl Direction {
    /// Both ways.
    pub const BOTH: [Direction; 2] = [Direction::Forward, Direction::Backward];

    /// The other way.
    pub fn reverse(self) -> Direction {
        match self {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// What happened to the frames of one direction since the cable was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WayStats {
    /// Frames handed over at the other end.
    pub delivered: u64,
    /// Bytes of those.
    pub delivered_bytes: u64,
    /// Lost by `loss`.
    pub lost: u64,
    /// Swallowed by `blackhole`.
    pub blackholed: u64,
    /// Sent on with a flipped bit by `corrupt`.
    pub corrupted: u64,
    /// Sent twice by `duplicate`.
    pub duplicated: u64,
    /// Held back by `reorder`.
    pub reordered: u64,
    /// Dropped as longer than `max_frame`.
    pub too_big: u64,
    /// Dropped because the line's queue was full.
    pub queue_full: u64,
    /// Dropped because the carrier was gone.
    pub no_carrier: u64,
    /// Dropped by a middlebox.
    pub by_middlebox: u64,
    /// Dropped because the lab itself could not keep up: not a fault of the scenario, a fault of the run.
    pub overrun: u64,
}

/// What happened on a cable.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LinkStats {
    /// From end a to end b.
    pub forward: WayStats,
    /// From end b to end a.
    pub backward: WayStats,
    /// Per middlebox, its own counters by name.
    pub middleboxes: BTreeMap<String, BTreeMap<String, u64>>,
}

impl LinkStats {
    /// The counters of one direction.
    pub fn way(&self, direction: Direction) -> &WayStats {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
    }

    /// A counter of both directions together: `stats.total(|way| way.lost)`.
    pub fn total(&self, counter: impl Fn(&WayStats) -> u64) -> u64 {
        counter(&self.forward) + counter(&self.backward)
    }
}

/// A live control on one cable. Clones control the same cable.
#[derive(Debug, Clone)]
pub struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) id: usize,
    pub(super) name: String,
    pub(super) nodes: [String; 2],
}

impl Link {
    /// Its name in the topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hosts or switches at its ends, a and b.
    pub fn nodes(&self) -> [&str; 2] {
        [&self.nodes[0], &self.nodes[1]]
    }

    /// The direction in which frames leave the host or switch named `node`.
    pub fn direction_from(&self, node: &str) -> Option<Direction> {
        let at = self.nodes.iter().position(|name| name == node)?;
        Some(Direction::BOTH[at])
    }

    /// The direction in which frames reach the host or switch named `node`.
    pub fn direction_to(&self, node: &str) -> Option<Direction> {
        self.direction_from(node).map(Direction::reverse)
    }

    /// Changes what the cable does to frames travelling one way, from now on.
    pub fn set(&self, direction: Direction, change: impl FnOnce(&mut Impairment)) {
        self.shared.with(|fabric| fabric.change(self.id, direction, change));
    }

    /// Changes both ways alike.
    pub fn set_both(&self, change: impl Fn(&mut Impairment)) {
        for direction in Direction::BOTH {
            self.set(direction, &change);
        }
    }

    /// What the cable does to frames travelling one way now.
    pub fn impairment(&self, direction: Direction) -> Impairment {
        self.shared.with(|fabric| fabric.impairment(self.id, direction))
    }

    /// Plugs the cable in or out: without it, the interfaces at both ends lose their carrier.
    pub fn set_carrier(&self, up: bool) -> Result<(), LabError> {
        self.shared.set_carrier(self.id, up)
    }

    /// Stops or resumes taking frames out of the interfaces from which they would travel in `direction`: an adapter that hangs. What the
    /// host sends meanwhile waits in the ring of its interface, and is dropped there once that is full.
    pub fn set_stalled(&self, direction: Direction, stalled: bool) {
        self.shared.set_stalled(self.id, direction, stalled);
    }

    /// Puts a middlebox on the cable, behind (seen from end a) those already there.
    pub fn add(&self, middlebox: Box<dyn Middlebox>) {
        self.shared.with(|fabric| fabric.add_middlebox(self.id, middlebox));
    }

    /// Takes the middlebox of that name off the cable; false if there is none.
    pub fn remove(&self, name: &str) -> bool {
        self.shared.with(|fabric| fabric.remove_middlebox(self.id, name))
    }

    /// Puts a made-up frame on the cable, as if one of its boxes had sent it.
    pub fn inject(&self, direction: Direction, frame: Vec<u8>) {
        self.shared.inject(self.id, direction, frame);
    }

    /// What happened on this cable so far.
    pub fn stats(&self) -> LinkStats {
        self.shared.stats(self.id)
    }
}
