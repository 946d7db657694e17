//! Packets in fragments: which came whole, and which did not within the time that receivers wait. Bytes are not put together.

use super::book::{Book, Subject};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use faultmap_wire::dissect::Packet;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Fragmented packets followed at once.
const MOST: usize = 2048;
/// How long receivers wait for the rest (Linux: 30 s; RFC 8200 §4.5: 60 s).
const PATIENCE_NS: u64 = 30_000_000_000;
/// Fragments of one packet beyond which it is an attack.
const MOST_PIECES: usize = 128;

type Key = (IpAddr, IpAddr, u8, u32);

struct Partial {
    first: Stamp,
    packet: PacketNo,
    /// Start and end of each fragment.
    pieces: Vec<(u32, u32)>,
    end: Option<u32>,
    /// An ICMP error or a duplicate has said that it is done with.
    complete: bool,
}

/// Fragments that have not come together yet.
#[derive(Default)]
pub(super) struct Fragments {
    open: HashMap<Key, Partial, RandomState>,
    order: VecDeque<(Stamp, Key)>,
    /// UDP packets that came in part only: from whom, to whom, when.
    lost: VecDeque<(IpAddr, IpAddr, Stamp)>,
    /// Those that came whole, in the same way.
    arrived: VecDeque<(IpAddr, IpAddr, Stamp)>,
}

impl Fragments {
    pub(super) fn fragment(&mut self, packet: &Packet<'_>, number: PacketNo, at: Stamp, book: &mut Book) {
        let Some((offset, id)) = packet.ip.fragment else { return };
        let (rule, party) = ("ip.fragmented", Some(Party::Host(packet.ip.src)));
        book.sight(Subject { rule, flow: None, party }, number, at, || {
            let text = format!("{} sends packets in fragments", packet.ip.src);
            Finding { layer: Some(Layer::L3), blames: party, ..Finding::of(rule, Weight::Note, (at, at), Cited::one(number), text) }
        });
        let len = packet.ip.total_len.saturating_sub(packet.ip.header_len) as u32;
        let piece = (u32::from(offset), u32::from(offset).saturating_add(len));
        let key = (packet.ip.src, packet.ip.dst, packet.ip.protocol, id);
        if !self.open.contains_key(&key) {
            if self.open.len() >= MOST {
                return;
            }
            self.order.push_back((at, key));
        }
        let partial =
            self.open.entry(key).or_insert_with(|| Partial { first: at, packet: number, pieces: Vec::new(), end: None, complete: false });
        if partial.pieces.len() < MOST_PIECES && !partial.pieces.contains(&piece) {
            partial.pieces.push(piece);
        }
        if !packet.more_fragments {
            partial.end = Some(piece.1);
        }
        let before = partial.complete;
        partial.complete |= partial.is_whole();
        if partial.complete && !before && packet.ip.protocol == faultmap_wire::proto::UDP {
            if self.arrived.len() >= MOST {
                self.arrived.pop_front();
            }
            self.arrived.push_back((key.0, key.1, partial.first));
        }
    }

    /// A UDP packet between these since then came whole.
    pub(super) fn arrived_between(&self, src: IpAddr, dst: IpAddr, since: Stamp) -> bool {
        self.arrived.iter().any(|(from, to, at)| *from == src && *to == dst && *at >= since)
    }

    /// Of a UDP packet between these since then some fragments came, and the rest did not within the time that a network takes.
    pub(super) fn lost_between(&self, src: IpAddr, dst: IpAddr, since: Stamp) -> bool {
        let here = |(from, to, protocol, _): &Key| *from == src && *to == dst && *protocol == faultmap_wire::proto::UDP;
        let waits = |(key, partial): (&Key, &Partial)| here(key) && !partial.complete && partial.first >= since;
        self.open.iter().any(waits) || self.lost.iter().any(|(from, to, at)| *from == src && *to == dst && *at >= since)
    }

    /// Tells of those whose time is over.
    pub(super) fn expire(&mut self, now: Stamp, book: &mut Book) {
        while let Some((since, key)) = self.order.front().copied().filter(|(since, _)| now.since(*since) > PATIENCE_NS) {
            self.order.pop_front();
            if let Some(partial) = self.open.remove(&key).filter(|partial| !partial.complete) {
                incomplete(&partial, key, since, book);
                if self.lost.len() >= MOST {
                    self.lost.pop_front();
                }
                if key.2 == faultmap_wire::proto::UDP {
                    self.lost.push_back((key.0, key.1, since));
                }
            }
        }
    }
}

impl Partial {
    fn is_whole(&mut self) -> bool {
        let Some(end) = self.end else { return false };
        self.pieces.sort_unstable();
        let covered = self.pieces.iter().try_fold(0_u32, |until, (start, end)| (*start <= until).then(|| until.max(*end)));
        covered.is_some_and(|until| until >= end)
    }
}

fn incomplete(partial: &Partial, (src, dst, ..): Key, since: Stamp, book: &mut Book) {
    let rule = "ip.frag-incomplete";
    let subject = Subject { rule, flow: None, party: Some(Party::Host(dst)) };
    book.sight(subject, partial.packet, partial.first, || {
        let text = format!("of a packet from {src} to {dst} not all fragments came within 30 s");
        let (layer, cause, value) = (Some(Layer::L3), Some("l3.fragments-dropped"), Some(partial.pieces.len() as f64));
        Finding { layer, cause, value, ..Finding::of(rule, Weight::Warning, (since, since), Cited::one(partial.packet), text) }
    });
}
