//! Packets that went by a moment ago already: copies that only the capture made, copies that a router forwarded past a second point of capture, and
//! packets that a routing loop brings back. Bounded memory: the last packets only, in a table that forgets by overwriting.

use crate::packet::Stamp;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

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
    seeds: Option<Seeds>,
}

/// A packet without what routers change.
struct Essence {
    hash: u64,
    ttl: u8,
    /// It bears a mark of its own.
    unique: bool,
}

/// Two numbers for each 16 bytes that are looked at, drawn from the first packet and its moment: the same capture is judged alike each time, and who sends
/// packets cannot choose which ones look alike.
struct Seeds([(u64, u64); (HEAD + TAIL) / 16]);

impl Copies {
    pub(super) fn new() -> Self {
        Self { slots: vec![Slot::default(); SLOTS], seeds: None }
    }

    /// Compares an IP packet with those before it and remembers it. `way` tells the direction on the medium, 0 if that is not known.
    pub(super) fn look(&mut self, packet: &[u8], at: Stamp, way: u32) -> Likeness {
        let seeds = self.seeds.get_or_insert_with(|| Seeds::draw(packet, at));
        let Some(Essence { hash, ttl, unique }) = seeds.essence(packet) else { return Likeness::New };
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

impl Seeds {
    fn draw(packet: &[u8], at: Stamp) -> Self {
        let state = FixedState::default();
        Self(std::array::from_fn(|number| (state.hash_one((packet, at, number, 0)), state.hash_one((packet, at, number, 1)))))
    }

    /// What of a packet is compared: its beginning and its end, in one number. Every packet passes here, so that nothing is copied on the way.
    fn essence(&self, packet: &[u8]) -> Option<Essence> {
        match (packet.first_chunk::<HEAD>(), packet.last_chunk::<TAIL>()) {
            (Some(head), Some(tail)) => self.of(head, tail, packet.len()),
            _ => {
                let mut head = [0; HEAD];
                head.get_mut(..packet.len())?.copy_from_slice(packet);
                self.of(&head, &[0; TAIL], packet.len())
            }
        }
    }

    fn of(&self, head: &[u8; HEAD], tail: &[u8; TAIL], len: usize) -> Option<Essence> {
        // TTL and header checksum of IPv4, or the hop limit of IPv6, are what routers change.
        let (ttl, unique, mut kept) = match head[0] >> 4 {
            4 => (head[8], head[4] != 0 || head[5] != 0, !(0xffff_00ff_u128 << 64)),
            6 => (head[7], false, !(0xff_u128 << 56)),
            _ => return None,
        };
        let mut sum = len as u64;
        for (piece, (a, b)) in head.as_chunks::<16>().0.iter().chain([tail]).zip(self.0) {
            let bits = u128::from_le_bytes(*piece) & std::mem::replace(&mut kept, u128::MAX);
            sum = sum.rotate_left(5) ^ folded(bits as u64 ^ a, (bits >> 64) as u64 ^ b);
        }
        Some(Essence { hash: folded(sum ^ self.0[0].0, self.0[1].1 | 1), ttl, unique })
    }
}

/// Both halves of the product, over each other: each bit of the two numbers changes many (as in wyhash and foldhash).
const fn folded(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    product as u64 ^ (product >> 64) as u64
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
