//! A learning switch: it remembers behind which port each MAC address was last seen and floods what it does not know.
//! It has no spanning tree and no VLANs, so a loop of switches is the user's mistake.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::engine::Shared;

/// Addresses a switch remembers; a table this full forgets everything, as small switches do.
const TABLE_LIMIT: usize = 4096;
const BROADCAST_BIT: u8 = 0x01;

/// What a switch did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SwitchStats {
    /// Frames sent out of the one right port.
    pub forwarded: u64,
    /// Frames sent out of every port: broadcast, multicast, unknown address.
    pub flooded: u64,
    /// Frames dropped because the destination sits where they came from.
    pub same_port: u64,
    /// Frames dropped as longer than the switch carries.
    pub too_big: u64,
    /// Times a known address turned up on another port.
    pub moves: u64,
}

#[derive(Debug, Default)]
pub(super) struct SwitchState {
    pub(super) ports: Vec<usize>,
    pub(super) stats: SwitchStats,
    pub(super) max_frame: usize,
    table: HashMap<[u8; 6], usize>,
}

impl SwitchState {
    /// The links that a frame which came in on `from` leaves by.
    pub(super) fn handle_frame(&mut self, from: usize, frame: &[u8]) -> Vec<usize> {
        if self.max_frame > 0 && frame.len() > self.max_frame {
            self.stats.too_big += 1;
            return Vec::new();
        }
        let (Some(destination), Some(source)) = (mac(frame, 0), mac(frame, 6)) else {
            return Vec::new();
        };
        self.learn(source, from);
        match self.table.get(&destination) {
            Some(port) if *port == from => {
                self.stats.same_port += 1;
                Vec::new()
            }
            Some(port) => {
                self.stats.forwarded += 1;
                vec![*port]
            }
            None => {
                self.stats.flooded += 1;
                self.ports.iter().copied().filter(|port| *port != from).collect()
            }
        }
    }

    fn learn(&mut self, source: [u8; 6], from: usize) {
        if source[0] & BROADCAST_BIT != 0 {
            return;
        }
        if self.table.len() >= TABLE_LIMIT {
            self.table.clear();
        }
        if self.table.insert(source, from).is_some_and(|before| before != from) {
            self.stats.moves += 1;
        }
    }

    pub(super) fn forget(&mut self) {
        self.table.clear();
    }
}

fn mac(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// A live control on a switch.
#[derive(Debug, Clone)]
pub struct Switch {
    pub(super) shared: Arc<Shared>,
    pub(super) id: usize,
    pub(super) name: String,
}

impl Switch {
    /// Its name in the topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Longest frame it carries, in bytes without checksum (1514 for an MTU of 1500); 0 is unlimited.
    pub fn set_max_frame(&self, bytes: usize) {
        self.with(|switch| switch.max_frame = bytes);
    }

    /// Forgets every address it learned.
    pub fn forget(&self) {
        self.with(SwitchState::forget);
    }

    /// What it did so far.
    pub fn stats(&self) -> SwitchStats {
        self.with(|switch| switch.stats.clone())
    }

    fn with<T: Default>(&self, f: impl FnOnce(&mut SwitchState) -> T) -> T {
        self.shared.with(|core| core.switch_mut(self.id).map(f).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u8 = 2;
    const B: u8 = 4;
    const ALL: u8 = 0xff;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        [[to; 6], [from; 6]].concat()
    }

    fn check(history: &[(usize, u8, u8)], last: (usize, u8, u8), expect: &[usize]) {
        let mut switch = SwitchState { ports: vec![0, 1, 2], ..SwitchState::default() };
        for (port, to, from) in history {
            switch.handle_frame(*port, &frame(*to, *from));
        }
        assert_eq!(switch.handle_frame(last.0, &frame(last.1, last.2)), expect);
    }

    #[test]
    fn an_unknown_address_is_flooded_but_never_back() {
        check(&[], (0, B, A), &[1, 2]);
    }

    #[test]
    fn a_learned_address_gets_its_one_port() {
        check(&[(1, ALL, B)], (0, B, A), &[1]);
    }

    #[test]
    fn an_address_that_moved_is_followed() {
        check(&[(1, ALL, B), (2, ALL, B)], (0, B, A), &[2]);
    }

    #[test]
    fn a_frame_for_a_neighbour_on_the_same_port_is_not_repeated() {
        check(&[(0, ALL, B)], (0, B, A), &[]);
    }

    #[test]
    fn a_frame_too_short_for_addresses_goes_nowhere() {
        let mut switch = SwitchState { ports: vec![0, 1], ..SwitchState::default() };
        assert!(switch.handle_frame(0, &[1, 2, 3]).is_empty());
    }
}
