//! The bytes of one direction put in order. What comes early waits, within bounds; what the capture missed becomes a gap. Repeated bytes are given
//! once, as they came first.

use crate::packet::{PacketNo, Stamp};
use std::collections::VecDeque;

/// How many bytes may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// In one direction of one flow.
    pub(crate) of_flow: usize,
    /// In all flows.
    pub(crate) of_all: usize,
    /// Waiting now in all flows.
    pub(crate) used: usize,
    /// Bytes let go for want of room.
    pub(crate) let_go: u64,
}

/// What a piece that waits takes of the room: its bytes, and what keeping it costs.
const fn cost(bytes: &[u8]) -> usize {
    bytes.len() + 64
}

/// What comes out, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// Bytes, and the packet that made them readable.
    Bytes(&'a [u8], Stamp, PacketNo),
    /// The first bytes of a segment, or none, of which so many more were cut off when it was captured.
    Cut(&'a [u8], u64, Stamp, PacketNo),
    /// So many bytes will never come.
    Gap(u64),
}

#[derive(Debug)]
struct Waiting {
    start: i64,
    bytes: Vec<u8>,
    /// Bytes behind them that the capture cut off.
    cut: u32,
}

/// Payload of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) start: i64,
    pub(crate) bytes: &'a [u8],
    /// On the wire.
    pub(crate) len: u32,
    pub(crate) at: Stamp,
    pub(crate) packet: PacketNo,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    next: Option<i64>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Stream {
    /// Takes in a payload; `out` gets what is now in order.
    pub(crate) fn take(&mut self, payload: Payload<'_>, room: &mut Room, out: &mut dyn FnMut(Piece<'_>)) {
        let Payload { start, bytes, len, at, packet } = payload;
        let next = *self.next.get_or_insert(start);
        let cut = len.saturating_sub(bytes.len() as u32);
        if start <= next {
            self.give(start, bytes, cut, at, packet, out);
            return self.drain(at, packet, room, out);
        }
        let cost = cost(bytes);
        if self.bytes.saturating_add(cost) > room.of_flow || room.used.saturating_add(cost) > room.of_all {
            let first = self.waiting.front().map_or(start, |waiting| waiting.start.min(start));
            room.let_go = room.let_go.saturating_add((first - next).max(0).unsigned_abs());
            self.skip_to(first, at, packet, room, out);
            return self.take(payload, room, out);
        }
        let place = self.waiting.partition_point(|waiting| waiting.start < start);
        if self.waiting.get(place).is_some_and(|waiting| waiting.start == start && waiting.bytes.len() >= bytes.len()) {
            return;
        }
        self.waiting.insert(place, Waiting { start, bytes: bytes.to_vec(), cut });
        self.bytes += cost;
        room.used += cost;
    }

    /// The first byte of the stream stands at `offset`.
    pub(crate) fn begin(&mut self, offset: i64) {
        self.next.get_or_insert(offset);
    }

    /// The server has answered the SYN: what waits behind it is to be read, unless the server did not take it.
    pub(crate) fn release(&mut self, taken: bool, at: Stamp, packet: PacketNo, room: &mut Room, out: &mut dyn FnMut(Piece<'_>)) {
        if self.next != Some(0) {
            return;
        }
        if !taken {
            self.clear(room);
        }
        self.next = Some(1);
        self.drain(at, packet, room, out);
    }

    /// What is before `offset` and has not come will not come.
    pub(crate) fn skip_to(&mut self, offset: i64, at: Stamp, packet: PacketNo, room: &mut Room, out: &mut dyn FnMut(Piece<'_>)) {
        while let Some(next) = self.next.filter(|next| *next < offset) {
            let to = self.waiting.front().map_or(offset, |waiting| waiting.start.min(offset)).max(next);
            if to > next {
                out(Piece::Gap((to - next).unsigned_abs()));
                self.next = Some(to);
            }
            self.drain(at, packet, room, out);
            // Nothing waits at `to`: the loop ends, for `to` was `offset`.
        }
    }

    /// The flow is over: all that waits comes out, with gaps between.
    pub(crate) fn flush(&mut self, at: Stamp, packet: PacketNo, room: &mut Room, out: &mut dyn FnMut(Piece<'_>)) {
        while let Some(first) = self.waiting.front().map(|waiting| waiting.start) {
            self.skip_to(first, at, packet, room, out);
            self.drain(at, packet, room, out);
        }
    }

    /// Bytes wait for others before them.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Every byte before the FIN that ends at `end` came out.
    pub(crate) fn has_all_before(&self, end: i64) -> bool {
        self.waiting.is_empty() && self.next.is_some_and(|next| next.saturating_add(1) >= end)
    }

    /// Nobody wants the bytes any more.
    pub(crate) fn clear(&mut self, room: &mut Room) {
        room.used = room.used.saturating_sub(self.bytes);
        self.bytes = 0;
        self.waiting = VecDeque::new();
    }

    fn drain(&mut self, at: Stamp, packet: PacketNo, room: &mut Room, out: &mut dyn FnMut(Piece<'_>)) {
        while self.waiting.front().is_some_and(|waiting| self.next.is_some_and(|next| waiting.start <= next)) {
            let Some(waiting) = self.waiting.pop_front() else { return };
            let cost = cost(&waiting.bytes);
            self.bytes = self.bytes.saturating_sub(cost);
            room.used = room.used.saturating_sub(cost);
            self.give(waiting.start, &waiting.bytes, waiting.cut, at, packet, out);
        }
    }

    fn give(&mut self, start: i64, bytes: &[u8], cut: u32, at: Stamp, packet: PacketNo, out: &mut dyn FnMut(Piece<'_>)) {
        let next = self.next.unwrap_or(start);
        let known = usize::try_from(next.saturating_sub(start)).unwrap_or(usize::MAX);
        let new = bytes.get(known..).unwrap_or_default();
        let end_of_bytes = next.max(start.saturating_add(bytes.len() as i64));
        let end = end_of_bytes.max(start.saturating_add(bytes.len() as i64).saturating_add(i64::from(cut)));
        let missing = (end - end_of_bytes).unsigned_abs();
        match (missing, known) {
            (0, _) if new.is_empty() => {}
            (0, _) => out(Piece::Bytes(new, at, packet)),
            (_, 0) => out(Piece::Cut(new, missing, at, packet)),
            // What is new does not begin where the segment does.
            _ => {
                if !new.is_empty() {
                    out(Piece::Bytes(new, at, packet));
                }
                out(Piece::Gap(missing));
            }
        }
        self.next = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(parts: &[(i64, &[u8])], of_flow: usize) -> (Vec<u8>, u64) {
        let mut room = Room { of_flow, of_all: 1 << 20, used: 0, let_go: 0 };
        let (mut stream, mut got, mut gaps) = (Stream::default(), Vec::new(), 0);
        stream.begin(0);
        let mut out = |piece: Piece<'_>| match piece {
            Piece::Bytes(bytes, ..) => got.extend_from_slice(bytes),
            Piece::Cut(bytes, missing, ..) => {
                got.extend_from_slice(bytes);
                gaps += missing;
            }
            Piece::Gap(missing) => gaps += missing,
        };
        for (start, bytes) in parts {
            let payload = Payload { start: *start, bytes, len: bytes.len() as u32, at: Stamp(0), packet: PacketNo(1) };
            stream.take(payload, &mut room, &mut out);
        }
        stream.flush(Stamp(0), PacketNo(1), &mut room, &mut out);
        assert_eq!(room.used, 0);
        (got, gaps)
    }

    #[test]
    fn a_hole_that_is_never_filled_becomes_a_gap() {
        assert_eq!(run(&[(0, b"ab"), (4, b"ef")], 1000), (b"abef".to_vec(), 2));
    }

    #[test]
    fn a_segment_that_was_cut_is_told_with_what_is_missing_of_it() {
        let mut room = Room { of_flow: 1000, of_all: 1 << 20, used: 0, let_go: 0 };
        let (mut stream, mut got) = (Stream::default(), Vec::new());
        stream.begin(0);
        for (start, bytes, len) in [(0, &b"HTTP"[..], 100), (100, b"", 7), (0, b"HTTP/1", 100), (50, b"ab", 60)] {
            let payload = Payload { start, bytes, len, at: Stamp(0), packet: PacketNo(1) };
            stream.take(payload, &mut room, &mut |piece| got.push(format!("{piece:?}")));
        }
        let cut = |bytes: &[u8], missing: u64| format!("{:?}", Piece::Cut(bytes, missing, Stamp(0), PacketNo(1)));
        assert_eq!(got, [cut(b"HTTP", 96), cut(b"", 7), format!("{:?}", Piece::Gap(3))]);
    }

    #[test]
    fn without_room_bytes_are_let_go_and_not_kept() {
        assert_eq!(run(&[(0, b"ab"), (4, b"ef"), (8, b"ij")], 70), (b"abefij".to_vec(), 4));
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_bytes_once(text in prop::collection::vec(any::<u8>(), 1..200), cuts in prop::collection::vec((0usize..200, 1usize..40), 0..40)) {
            let whole = [(0_usize, text.len())];
            let parts: Vec<(i64, &[u8])> = cuts.iter().chain(&whole)
                .filter_map(|(start, len)| text.get(*start..(start + len).min(text.len())).map(|bytes| (*start as i64, bytes)))
                .filter(|(_, bytes)| !bytes.is_empty()).collect();
            prop_assert_eq!(run(&parts, 1 << 20), (text.clone(), 0));
        }
    }
}
