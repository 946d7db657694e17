//! Packets that went by a moment ago already: copies that only the capture made, copies that a router forwarded past a second point of capture, and
//! packets that a routing loop brings back. Bounded memory: the last packets only, in a table that forgets by overwriting.

use crate::packet::Stamp;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Packets remembered: those of 10 ms at 800,000 a second. More would not stay in the processor's cache, and cost more than all other rules.
const SLOTS: usize = 1 << 13;
/// A copy of the capture comes within this.
const COPY_NS: u64 = 10_000_000;
/// A forwarded packet comes back within this.
const FORWARDED_NS: u64 = 1_000_000_000;
/// Bytes of a packet that are compared; beyond them the transport checksum and the last bytes speak.
const HEAD: usize = 80;
const TAIL: usize = 16;
/// Where the medium has no addresses to tell the way back from the way there: so many steps of a packet are a loop.
const STEPS_OF_A_LOOP: u8 = 4;

/// What a packet is with respect to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// None like it.
    New,
    /// The same bytes and TTL a moment ago. `unique`: the packet bears a mark of its own, so that no host sent it twice.
    Copy { unique: bool },
    /// The same but for a smaller TTL: a router forwarded it.
    Forwarded,
    /// It went this way before, with a larger TTL.
    Looped,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    at: i64,
    way: u32,
    ttl: u8,
    falls: u8,
    looped: bool,
    used: bool,
}

/// The last packets.
pub(super) struct Copies {
    slots: Vec<Slot>,
    seed: RandomState,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self { slots: vec![Slot::default(); SLOTS], seed: RandomState::default() }
    }

    /// Compares an IP packet with those before it and remembers it. `way` tells the direction on the medium, 0 if that is not known.
    pub(super) fn look(&mut self, packet: &[u8], at: Stamp, way: u32) -> Likeness {
        let Some((essence, ttl, unique)) = essence(packet) else { return Likeness::New };
        let mut hasher = self.seed.build_hasher();
        hasher.write(&essence);
        hasher.write_u32(packet.len() as u32);
        let hash = hasher.finish();
        let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) else { return Likeness::New };
        let age = at.since(Stamp(slot.at)).max(Stamp(slot.at).since(at));
        let fresh = Slot { hash, at: at.0, way, ttl, falls: 0, looped: false, used: true };
        if !slot.used || slot.hash != hash || age > FORWARDED_NS || ttl > slot.ttl {
            *slot = fresh;
            return Likeness::New;
        }
        if ttl == slot.ttl {
            if age > COPY_NS {
                *slot = fresh;
                return Likeness::New;
            }
            slot.at = at.0;
            return Likeness::Copy { unique };
        }
        slot.falls = slot.falls.saturating_add(1);
        slot.looped |= (way != 0 && way == slot.way && slot.falls >= 2) || slot.falls >= STEPS_OF_A_LOOP;
        (slot.at, slot.ttl) = (at.0, ttl);
        if slot.looped { Likeness::Looped } else { Likeness::Forwarded }
    }
}

/// The beginning of a packet without what routers change, its TTL, and whether it bears a mark of its own.
fn essence(packet: &[u8]) -> Option<([u8; HEAD + TAIL], u8, bool)> {
    let mut head = [0; HEAD + TAIL];
    if let Some(whole) = packet.first_chunk::<HEAD>() {
        let (begin, end) = head.split_first_chunk_mut::<HEAD>()?;
        *begin = *whole;
        end.copy_from_slice(packet.last_chunk::<TAIL>()?);
    } else {
        head.get_mut(..packet.len())?.copy_from_slice(packet);
    }
    match head[0] >> 4 {
        4 => {
            let ttl = std::mem::take(&mut head[8]);
            (head[10], head[11]) = (0, 0);
            let id = u16::from_be_bytes([head[4], head[5]]);
            Some((head, ttl, id != 0))
        }
        6 => {
            let hop_limit = std::mem::take(&mut head[7]);
            Some((head, hop_limit, false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_wire::{Ipv4, proto};

    fn packet(id: u16, ttl: u8) -> Vec<u8> {
        let header = Ipv4 { id, ttl, ..Ipv4::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), proto::UDP) };
        header.emit(b"anything")
    }

    fn check(ttls: &[(u8, i64, u32)], expect: &[Likeness]) {
        let mut copies = Copies::new();
        let got: Vec<Likeness> = ttls.iter().map(|(ttl, ms, way)| copies.look(&packet(7, *ttl), Stamp(ms * 1_000_000), *way)).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn the_same_packet_a_moment_later_is_a_copy_and_much_later_is_not() {
        check(&[(64, 0, 1), (64, 1, 1), (64, 500, 1)], &[Likeness::New, Likeness::Copy { unique: true }, Likeness::New]);
    }

    #[test]
    fn a_packet_seen_on_both_sides_of_a_router_is_a_forwarded_copy() {
        check(&[(64, 0, 1), (63, 0, 2)], &[Likeness::New, Likeness::Forwarded]);
    }

    #[test]
    fn a_packet_that_goes_the_same_way_again_with_less_ttl_is_in_a_loop() {
        check(&[(64, 0, 1), (63, 0, 2), (62, 1, 1)], &[Likeness::New, Likeness::Forwarded, Likeness::Looped]);
    }

    #[test]
    fn a_new_packet_with_the_same_bytes_starts_with_a_full_ttl() {
        check(&[(64, 0, 1), (62, 1, 1), (60, 2, 1), (64, 3, 1)], &[Likeness::New, Likeness::Forwarded, Likeness::Looped, Likeness::New]);
    }
}
