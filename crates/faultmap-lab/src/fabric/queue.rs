//! Frames under way, by the time they are due. Equal times leave in the order they came.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Instant;

use super::link::Direction;

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) due: Instant,
    seq: u64,
    pub(super) link: usize,
    pub(super) direction: Direction,
    pub(super) frame: Vec<u8>,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &InFlight) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &InFlight) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &InFlight) -> Ordering {
        (self.due, self.seq).cmp(&(other.due, other.seq))
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<InFlight>>,
    seq: u64,
}

impl Queue {
    pub(super) fn push(&mut self, due: Instant, link: usize, direction: Direction, frame: Vec<u8>) {
        self.seq += 1;
        self.heap.push(Reverse(InFlight { due, seq: self.seq, link, direction, frame }));
    }

    /// When the next frame is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(item)| item.due)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<InFlight> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(item)| item)
    }
}
