//! Segments that vanish because of their size: small ones pass, large ones never arrive, and no router says so (RFC 2923 §2.1). As its sender sees it,
//! the same large segment goes out again and again while the peer has later, smaller ones; as its receiver does, a hole stays open before smaller
//! segments that came. Whether other connections carry large segments is for the verdict to weigh.

use super::half::Half;
use super::{Segment, Tcp};
use crate::finding::Cited;
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};

/// A hole that stands for so long was sent again several times: Linux's timer runs out after 0.2 s at first and doubles (RFC 6298 §5.5).
const HOLE_STANDS_MS: f64 = 3000.0;
/// Bytes of payload from which a segment may be too large for a path of the smallest usual size (RFC 8200 §5: 1280 bytes with headers).
const LARGE: i64 = 1150;
/// The largest segment of a side is so much smaller than what its peer takes: options, tunnels' headers.
const NEARLY: i64 = 100;
/// Headers of IPv4 and TCP at least.
const LEAST_HEADERS: u32 = 40;
/// The sender hears of a router's complaint within this time: the longest usual round trip.
const ON_THE_WAY_NS: u64 = 1_000_000_000;
/// What a receiver takes that announces nothing else: an Ethernet's 1500 bytes less headers.
const USUAL_MSS: u16 = 1460;

/// A hole before smaller segments.
pub(super) struct Vanished {
    pub(super) cited: Cited,
    pub(super) since: Stamp,
    pub(super) until: Stamp,
    pub(super) text: String,
    pub(super) bytes: f64,
    /// Nobody said anything more while it stood: the whole path may be dead.
    pub(super) in_silence: bool,
}

impl Tcp {
    /// Large segments of this side vanished before the point of capture; `now` is the end of the capture. A sender that does not close goes on sending them
    /// again: what does not come until then does not come.
    pub(super) fn vanished(&self, side: Side, now: Stamp) -> Option<Vanished> {
        let (half, peer) = (self.halves.of(side), self.halves.of(side.other()));
        let hole = half.trouble().holes.first_open()?;
        let missing = hole.end - hole.start;
        let last = self.last?;
        let closed = self.reset.is_some() || half.fin_end.is_some() || peer.fin_end.is_some();
        let until = if closed { last } else { now.max(last) };
        let stands_ms = until.ms_since(hole.noticed);
        let asked = peer.trouble().counts.dup_acks > 0 || half.sacked_top > hole.start;
        let never_full = i64::from(half.largest_payload) + NEARLY < i64::from(peer.mss.unwrap_or(USUAL_MSS));
        let receiver_lacks_it = half.una == Some(hole.start);
        let established = self.is_established() && self.one_sided().is_none();
        if missing < LARGE || missing <= i64::from(half.largest_payload) || stands_ms < HOLE_STANDS_MS {
            return None;
        }
        (asked && never_full && receiver_lacks_it && established).then(|| {
            let mut cited = Cited::one(hole.packet);
            for tally in [super::Sign::DupAck].into_iter().filter_map(|sign| self.tallies.of(sign, side.other())) {
                tally.cited.packets.iter().for_each(|packet| cited.add(PacketNo(*packet)));
            }
            let text = format!(
                "{missing} bytes never came, while later segments of up to {} bytes did; the receiver waited {:.1} s for them",
                half.largest_payload,
                stands_ms / 1e3
            );
            let in_silence = last.ms_since(hole.noticed) < HOLE_STANDS_MS;
            Vanished { cited, since: hole.noticed, until, text, bytes: missing as f64, in_silence }
        })
    }

    /// Large segments of this side vanish behind the point of capture: it has sent one again and again, none as large was ever acknowledged, and the
    /// peer is there.
    pub(super) fn is_too_large(&self, side: Side) -> bool {
        let (half, peer) = (self.halves.of(side), self.halves.of(side.other()));
        let trouble = half.trouble();
        // The peer speaks, or has said that it holds bytes behind those.
        let there = peer.last_at > trouble.stuck_since || half.sacked_top > trouble.again_at;
        let heeding = self.frag_needed.is_some() && !self.ignores_too_big(side);
        half.is_stuck_at_its_largest() && there && !heeding && self.is_established()
    }
}

/// A router has said that packets of this side are too large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooBig {
    pub(crate) side: Side,
    /// The largest packet that it passes; 0 where it does not say (RFC 1191 §5).
    pub(crate) mtu: u32,
    pub(crate) at: Stamp,
    /// Larger ones that the side sent afterwards.
    pub(crate) ignored: u32,
}

impl Tcp {
    /// A router's complaint about a packet of this side.
    pub(crate) fn too_big(&mut self, side: Side, mtu: u32, at: Stamp) {
        let known = self.frag_needed.as_ref().is_some_and(|known| known.side == side && known.mtu <= mtu);
        if !known {
            self.frag_needed = Some(Box::new(TooBig { side, mtu, at, ignored: 0 }));
        }
    }

    /// A segment goes out after such a complaint. What was on the way meanwhile does not count.
    pub(super) fn heed(&mut self, segment: &Segment<'_>) {
        let Some(told) = self.frag_needed.as_mut().filter(|told| told.side == segment.from && told.mtu > 0) else { return };
        if segment.len.saturating_add(LEAST_HEADERS) > told.mtu && segment.at.since(told.at) > ON_THE_WAY_NS {
            told.ignored = told.ignored.saturating_add(1);
        }
    }

    /// The sender goes on with packets of a size that a router has refused: the complaint does not reach it (RFC 2923 §2.1).
    pub(super) fn ignores_too_big(&self, side: Side) -> bool {
        self.frag_needed.as_ref().is_some_and(|told| told.side == side && told.ignored >= 2)
    }
}

impl Half {
    /// What it sent again and again to the end is larger than anything that was acknowledged, and may not be cut.
    pub(super) fn is_stuck_at_its_largest(&self) -> bool {
        let trouble = self.trouble();
        trouble.stuck_len > self.largest_acked && trouble.stuck_df && trouble.timeouts_in_a_row >= 2 && !self.is_all_acked()
    }

    fn is_all_acked(&self) -> bool {
        self.una.is_some_and(|una| una >= self.nxt)
    }
}
