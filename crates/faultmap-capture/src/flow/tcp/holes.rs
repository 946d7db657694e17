//! Bytes of one direction that the capture has not seen although later ones came. A hole that a later packet fills was loss or another order; a hole
//! that the receiver acknowledges was never a hole but in the capture.

use crate::packet::{PacketNo, Stamp};

/// Holes of one direction at once; beyond, the two oldest are taken as one.
const MOST_HOLES: usize = 64;
/// An ACK may be captured before the bytes that it acknowledges: queues of one network card are this far apart at most.
pub(crate) const CAPTURE_DISORDER_NS: u64 = 10_000_000;

/// Bytes not seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hole {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The packet behind it, by which it was noticed.
    pub(crate) noticed: Stamp,
    pub(crate) packet: PacketNo,
    /// That packet's clock and IP identification, which tell whether what fills the hole was sent before it.
    pub(crate) clock: Option<u32>,
    pub(crate) ip_id: u16,
    /// The receiver has these bytes.
    pub(crate) acked: Option<Stamp>,
}

/// The holes of one direction, in order.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    list: Vec<Hole>,
}

impl Holes {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hole> {
        self.list.iter()
    }

    /// A new one, behind all others.
    pub(crate) fn open(&mut self, hole: Hole) {
        if hole.start >= hole.end {
            return;
        }
        if self.list.len() >= MOST_HOLES
            && let [first, second, ..] = self.list.as_mut_slice()
        {
            second.start = first.start;
            second.acked = second.acked.and(first.acked);
            self.list.remove(0);
        }
        self.list.push(hole);
    }

    /// The first one that the receiver has not acknowledged.
    pub(crate) fn first_open(&self) -> Option<&Hole> {
        self.list.iter().find(|hole| hole.acked.is_none())
    }

    /// Bytes `start..end` came. The first hole that they touch, as it was, and how many bytes of holes they filled.
    pub(crate) fn fill(&mut self, start: i64, end: i64) -> Option<(Hole, i64)> {
        let mut touched: Option<(Hole, i64)> = None;
        let mut at = 0;
        while let Some(hole) = self.list.get_mut(at) {
            let (from, to) = (hole.start.max(start), hole.end.min(end));
            if from >= to {
                at += 1;
                continue;
            }
            let before = *hole;
            touched = Some(touched.map_or((before, to - from), |(first, bytes)| (first, bytes + to - from)));
            match (before.start < from, to < before.end) {
                (false, false) => {
                    self.list.remove(at);
                    continue;
                }
                (true, false) => hole.end = from,
                (false, true) => hole.start = to,
                (true, true) => {
                    hole.end = from;
                    self.list.insert(at + 1, Hole { start: to, ..before });
                    at += 1;
                }
            }
            at += 1;
        }
        self.list.truncate(MOST_HOLES + 1);
        touched
    }

    /// The receiver has bytes `start..end`.
    pub(crate) fn acked(&mut self, start: i64, end: i64, at: Stamp) {
        let mut split = None;
        for (index, hole) in self.list.iter_mut().enumerate() {
            if hole.acked.is_some() || hole.start >= end || hole.end <= start {
                continue;
            }
            // An ACK in the middle of a hole: what is before it arrived, the rest is still open.
            if hole.start >= start && hole.end > end {
                split = Some((index, Hole { end, acked: Some(at), ..*hole }));
                hole.start = end;
            } else if hole.start >= start {
                hole.acked = Some(at);
            }
        }
        if let Some((index, hole)) = split {
            self.list.insert(index, hole);
        }
    }

    /// Takes out the first hole that the receiver acknowledged so long ago that the capture must have missed it.
    pub(crate) fn take_missed(&mut self, now: Stamp) -> Option<Hole> {
        let at = self.list.iter().position(|hole| hole.acked.is_some_and(|acked| now.since(acked) > CAPTURE_DISORDER_NS))?;
        Some(self.list.remove(at))
    }

    /// Takes out the first hole that was acknowledged at all: for the end of a flow.
    pub(crate) fn take_acked(&mut self) -> Option<Hole> {
        let at = self.list.iter().position(|hole| hole.acked.is_some())?;
        Some(self.list.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(start: i64, end: i64) -> Hole {
        Hole { start, end, noticed: Stamp(0), packet: PacketNo(1), clock: None, ip_id: 0, acked: None }
    }

    fn spans(holes: &Holes) -> Vec<(i64, i64)> {
        holes.iter().map(|hole| (hole.start, hole.end)).collect()
    }

    #[test]
    fn bytes_that_come_late_shrink_or_split_a_hole() {
        let mut holes = Holes::default();
        holes.open(hole(10, 20));
        assert_eq!(holes.fill(12, 14).map(|(_, bytes)| bytes), Some(2));
        assert_eq!(spans(&holes), [(10, 12), (14, 20)]);
        assert_eq!(holes.fill(0, 16).map(|(_, bytes)| bytes), Some(4));
        assert_eq!(spans(&holes), [(16, 20)]);
        assert!(holes.fill(30, 40).is_none());
        assert_eq!(holes.fill(16, 20).map(|(_, bytes)| bytes), Some(4));
        assert!(holes.is_empty());
    }

    #[test]
    fn only_what_was_acknowledged_is_missed_by_the_capture() {
        let mut holes = Holes::default();
        holes.open(hole(10, 20));
        holes.acked(0, 15, Stamp(0));
        assert_eq!(spans(&holes), [(10, 15), (15, 20)]);
        assert!(holes.take_missed(Stamp(5_000_000)).is_none(), "the bytes may still come");
        assert_eq!(holes.take_missed(Stamp(20_000_000)).map(|hole| (hole.start, hole.end)), Some((10, 15)));
        assert!(holes.take_missed(Stamp(1 << 60)).is_none(), "never acknowledged");
    }

    #[test]
    fn a_thousand_holes_stay_bounded() {
        let mut holes = Holes::default();
        for n in 0..1000 {
            holes.open(hole(n * 10, n * 10 + 5));
        }
        assert!(spans(&holes).len() <= MOST_HOLES);
    }
}
