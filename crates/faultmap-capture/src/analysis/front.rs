//! What can be said of a packet before its flow is known: whether it came through unharmed, whether it went by already, and what the medium itself shows. None of
//! it asks what flows have done, and no flow asks for more than the packet's [`Sight`]: so it may be done ahead of the flows, on a core of its own.

use super::copies::{Copies, Likeness};
use super::counts::Counts;
use super::links::Links;
use super::stations::Stations;
use super::transports::key_of;
use crate::flow::FlowKey;
use crate::flow::tcp::Header;
use crate::packet::Captured;
use faultmap_wire::Mac;
use faultmap_wire::dissect::{Frame, Network, Packet, Transport, Verdict, header_checksum, transport_checksum};

/// What a packet is by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// No host takes a packet whose header is damaged (RFC 1122 §3.2.1.2); where its bytes went wrong they say nothing of anybody.
    pub(super) damaged: bool,
    pub(super) likeness: Likeness,
    /// Of TCP and UDP, where flows ask for it.
    pub(super) checksum: Verdict,
}

impl Look {
    /// It is part of its flow, as far as the packet alone can tell.
    const fn is_followed(self) -> bool {
        !self.damaged && matches!(self.likeness, Likeness::New | Likeness::Copy { unique: false })
    }
}

/// A segment and the flow that it is of: all that is asked of nearly every packet, so that nobody takes its frame apart once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addressed {
    pub(super) key: FlowKey,
    /// The lower end of the key sent it.
    pub(super) low_sends: bool,
    /// Source and destination on the medium, where they are those of the segment and of no tunnel.
    pub(super) macs: Option<(Mac, Mac)>,
    pub(super) fragment: bool,
    pub(super) header: Header,
}

impl Addressed {
    /// Of a packet of TCP.
    pub(super) fn of(captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>) -> Option<Self> {
        let Transport::Tcp(tcp, payload) = packet.transport else { return None };
        let (key, low_sends) = key_of(frame, packet)?;
        let macs = frame.own_macs();
        let header = Header::of(captured.bytes, packet, &tcp, payload);
        Some(Self { key, low_sends, macs, fragment: packet.ip.fragment.is_some(), header })
    }
}

/// What was seen of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(super) look: Look,
    /// A segment about which nothing is remarkable but what it says.
    pub(super) segment: Option<Addressed>,
}

/// Looks at packets in their order.
pub(crate) struct Front {
    pub(super) counts: Counts,
    pub(super) links: Links,
    pub(super) stations: Stations,
    copies: Copies,
}

impl Front {
    pub(super) fn new() -> Self {
        Self { counts: Counts::default(), links: Links::default(), stations: Stations::default(), copies: Copies::new() }
    }

    pub(crate) fn see(&mut self, captured: &Captured<'_>, frame: &Frame<'_>) -> Sight {
        let look = self.look(captured, frame);
        let segment = match &frame.network {
            Network::Ip(packet) if frame.problem.is_none() && look.is_followed() && packet.ip.fragment.is_none() => {
                Addressed::of(captured, frame, packet)
            }
            _ => None,
        };
        Sight { look, segment }
    }

    fn look(&mut self, captured: &Captured<'_>, frame: &Frame<'_>) -> Look {
        self.counts.add(captured, frame);
        self.links.frame(frame, captured.number, captured.at);
        if let Some(way) = frame.macs {
            self.stations.frame(way);
        }
        let mut look = Look { damaged: false, likeness: Likeness::New, checksum: Verdict::Unknown };
        let Network::Ip(packet) = &frame.network else { return look };
        look.damaged = header_checksum(packet) == Verdict::Bad;
        if look.damaged {
            return look;
        }
        let way = frame.own_macs().map_or(0, way);
        look.likeness = self.copies.look(packet.bytes, captured.at, way);
        if look.is_followed() && is_asked_for(packet) {
            look.checksum = transport_checksum(packet);
        }
        look
    }
}

/// Flows ask for the checksum of what they follow.
fn is_asked_for(packet: &Packet<'_>) -> bool {
    match packet.transport {
        Transport::Tcp(..) => true,
        Transport::Udp(_, payload) => packet.ip.fragment.is_none() && !payload.is_empty(),
        _ => false,
    }
}

/// A direction on the medium as a number, never 0.
fn way((src, dst): (Mac, Mac)) -> u32 {
    let fold = |mac: Mac| mac.0.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
    (fold(src).wrapping_mul(0x9e37_79b1) ^ fold(dst)) | 1
}
