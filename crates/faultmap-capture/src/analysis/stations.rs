//! Whether both directions of the medium are in the capture: a station that sent something is sent something as well. Where none is, silence may be the
//! capture's. Bounded; frames without stations say nothing.

use faultmap_wire::Mac;
use foldhash::fast::RandomState;
use std::collections::HashSet;

/// Stations remembered.
const MOST: usize = 1024;

/// Stations that sent something, until one of them is sent something.
#[derive(Debug, Default)]
pub(super) struct Stations {
    sent: HashSet<Mac, RandomState>,
    heard_back: bool,
}

impl Stations {
    /// A frame went by.
    pub(super) fn frame(&mut self, (from, to): (Mac, Mac)) {
        if self.heard_back {
            return;
        }
        self.heard_back = from != to && self.sent.contains(&to);
        if self.sent.len() < MOST && !from.is_group() {
            self.sent.insert(from);
        }
    }

    /// A station that had sent something was sent something.
    pub(super) const fn heard_back(&self) -> bool {
        self.heard_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_direction_alone_never_hears_back() {
        let (a, b, group) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([0xff; 6]));
        let mut stations = Stations::default();
        [(a, group), (a, b), (a, b)].into_iter().for_each(|way| stations.frame(way));
        assert!(!stations.heard_back());
        stations.frame((b, a));
        assert!(stations.heard_back());
    }
}
