//! One direction of a TCP connection: what this side sent, what of it is acknowledged, and what it said as a receiver. Sequence numbers become
//! offsets from its first one, so that they never wrap.

use crate::analysis::Mark;
use crate::flow::record::{Seen, TcpSide};
use crate::flow::tcp::holes::{Hole, Holes};
use crate::flow::tcp::queue::Queue;
use crate::flow::tcp::segment::{Segment, before};
use crate::packet::{PacketNo, Stamp};
use std::sync::LazyLock;

/// A step in sequence numbers beyond which a segment is not taken for one of this connection: the largest window (RFC 7323 §2.3).
const FURTHEST: i64 = 1 << 30;
/// Retransmissions that are remembered until it is known whether they were needed.
const MOST_RECENT: usize = 4;
/// Segments of doubtful checksum that are remembered.
pub(crate) const MOST_DOUBTFUL: usize = 32;
/// IP identifications further apart than this say nothing about the order of sending: some hosts draw them at random.
const NEAR_IDS: u16 = 256;

/// A segment sent again, whose need is not yet known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) clock: Option<u32>,
    pub(crate) mark: Mark,
    /// It began at the first unacknowledged byte, so that the ACK it causes echoes its clock (RFC 7323 §4.3).
    pub(crate) first_unacked: bool,
    pub(crate) packet: PacketNo,
    pub(crate) at: Stamp,
}

/// One direction. Small, for thousands are followed at once, and each packet brings one of them back from memory: what few connections go through is
/// apart, in [`Trouble`].
#[derive(Debug, Default)]
pub(crate) struct Half {
    base: u32,
    pub(crate) started: bool,
    /// A segment of this side was seen.
    pub(crate) seen: bool,
    pub(crate) syn_seen: bool,
    /// Anything but a SYN went by.
    pub(crate) spoke: bool,
    /// End of the highest byte sent.
    pub(crate) nxt: i64,
    /// First byte not acknowledged; `None` until the peer acknowledged anything.
    pub(crate) una: Option<i64>,
    pub(crate) fin_end: Option<i64>,
    pub(crate) fin: Option<Seen>,
    /// Highest end that the peer selectively acknowledged.
    pub(crate) sacked_top: i64,
    /// When data of this side last went by.
    pub(crate) last_sent: Stamp,
    /// When bytes of it that were new last went by.
    pub(crate) last_news: Option<Stamp>,
    /// When anything of this side went by last.
    pub(crate) last_at: Stamp,
    /// The largest segment, the largest that was acknowledged, and the largest since the last progress, bytes of payload.
    pub(crate) largest_payload: u32,
    pub(crate) largest_acked: u32,
    pub(crate) largest_sent: u32,
    pub(crate) data_segments: u64,
    pub(crate) most_in_flight: u64,
    pub(crate) ttl: Option<u8>,
    /// What its SYN said.
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    pub(crate) checksums: ChecksumCounts,

    // As a receiver.
    pub(crate) window: Option<u16>,
    pub(crate) last_ack_at: Stamp,
    /// Its ACKs moved on although nothing of the peer was captured.
    pub(crate) acks_moved: bool,

    pub(crate) trouble: Option<Box<Trouble>>,
    /// Of a sender in bulk.
    pub(crate) queue: Option<Box<Queue>>,
}

/// What few connections go through: bytes that are missed, doubted, sent again, or wait before a closed window.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) holes: Holes,
    pub(crate) recent: Vec<Again>,
    /// Timeouts in a row at `again_at` without progress.
    pub(crate) timeouts_in_a_row: u32,
    pub(crate) again_at: i64,
    /// The segment that timed out, bytes of payload; whether it may not be fragmented.
    pub(crate) stuck_len: u32,
    pub(crate) stuck_df: bool,
    /// When that one was first sent again.
    pub(crate) stuck_since: Stamp,
    /// Keep-alives that the peer has not answered yet.
    pub(crate) keep_alives_open: u32,
    /// A window probe's byte stands at `nxt`.
    pub(crate) probed: bool,
    /// Segments with a wrong checksum whose fate is not known yet.
    pub(crate) doubtful: Vec<Doubtful>,

    // As a receiver.
    pub(crate) dup_run: u32,
    /// When this side last asked for bytes again, by a duplicate ACK or SACK.
    pub(crate) asked_at: Stamp,
    pub(crate) zero_since: Option<Stamp>,

    /// The counts of all this.
    pub(crate) counts: TcpSide,
}

/// That of a side without any.
static NONE: LazyLock<Trouble> = LazyLock::new(Trouble::default);

/// Segments by what their checksums say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChecksumCounts {
    pub(crate) good: u32,
    pub(crate) offloaded: u32,
}

/// A segment with a wrong checksum: a receiver that takes it shows that its card had filled the sum in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubtful {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) packet: PacketNo,
    pub(crate) at: Stamp,
}

impl Half {
    /// The trouble that it has had so far.
    pub(crate) fn trouble(&self) -> &Trouble {
        self.trouble.as_deref().unwrap_or_else(|| &NONE)
    }

    /// The same, to add to.
    pub(crate) fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// The first sequence number is known.
    pub(crate) fn start(&mut self, seq: u32) {
        self.base = seq;
        self.started = true;
        self.nxt = 0;
    }

    /// The offset of a sequence number, taken as near to what was sent as possible.
    pub(crate) fn offset(&self, seq: u32) -> i64 {
        let there = self.seq_of(self.nxt);
        self.nxt.saturating_add(i64::from(seq.wrapping_sub(there) as i32))
    }

    /// The sequence number of an offset.
    pub(crate) const fn seq_of(&self, offset: i64) -> u32 {
        self.base.wrapping_add(offset as u32)
    }

    /// Near enough to belong to the connection.
    pub(crate) const fn plausible(&self, offset: i64) -> bool {
        let step = offset.saturating_sub(self.nxt);
        step > -FURTHEST && step < FURTHEST
    }

    /// Bytes on the way.
    pub(crate) fn in_flight(&self) -> i64 {
        self.una.map_or(0, |una| (self.nxt - una).max(0))
    }

    /// Everything sent is acknowledged, as far as is known.
    pub(crate) fn all_acked(&self) -> bool {
        self.una.is_none_or(|una| una >= self.nxt)
    }

    /// Its window in bytes, if its scale is known.
    pub(crate) fn window_bytes(&self, peer: &Self) -> Option<i64> {
        let window = i64::from(self.window?);
        match (self.syn_seen && peer.syn_seen, self.window_scale, peer.window_scale) {
            (true, Some(scale), Some(_)) => Some(window << scale.min(14)),
            (true, ..) => Some(window),
            (false, ..) => None,
        }
    }

    /// Bytes `self.nxt..to` were never seen; `acked` if the receiver has them.
    pub(crate) fn skip_to(&mut self, to: i64, segment: &Segment<'_>, acked: bool) {
        let hole = Hole {
            start: self.nxt,
            end: to,
            noticed: segment.at,
            packet: segment.no,
            clock: if acked { None } else { segment.options.times.map(|(value, _)| value) },
            ip_id: if acked { 0 } else { segment.ip_id },
            acked: acked.then_some(segment.at),
        };
        self.trouble_mut().holes.open(hole);
        self.nxt = self.nxt.max(to);
    }

    /// Counts a retransmission of some kind, up or down.
    pub(crate) fn count(&mut self, mark: Mark, up: bool) {
        let counts = &mut self.trouble_mut().counts.retransmits;
        let count = match mark {
            Mark::FastRetransmit => &mut counts.fast,
            Mark::TimeoutRetransmit => &mut counts.timeout,
            Mark::TailProbe => &mut counts.probe,
            Mark::SpuriousRetransmit => &mut counts.spurious,
            Mark::FinAgain => &mut counts.fin,
            Mark::SynAgain => &mut counts.syn,
            _ => return,
        };
        *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
    }
}

impl Trouble {
    /// A segment was sent again.
    pub(crate) fn remember(&mut self, again: Again) {
        if self.recent.len() >= MOST_RECENT {
            self.recent.remove(0);
        }
        self.recent.push(again);
    }

    /// The peer has proven that the bytes `start..end` arrived twice: takes out the retransmission to blame.
    pub(crate) fn take_needless(&mut self, start: i64, end: i64) -> Option<Again> {
        let at = self.recent.iter().position(|again| again.start < end && start < again.end)?;
        Some(self.recent.remove(at))
    }

    /// The peer acknowledged up to `ack` and echoed `echo`: takes out the retransmission that it shows to have been needless, for the ACK was caused
    /// by the first sending (Eifel, RFC 3522). Forgets those that are settled.
    pub(crate) fn take_outrun(&mut self, ack: i64, echo: Option<u32>) -> Option<Again> {
        let outrun = |again: &Again| {
            let older = matches!((again.clock, echo), (Some(clock), Some(echo)) if before(echo, clock));
            again.first_unacked && again.end <= ack && older
        };
        let needless = self.recent.iter().position(outrun).map(|at| self.recent.remove(at));
        // A D-SACK may still follow for what was acknowledged a moment ago.
        self.recent.retain(|again| again.end > ack || again.clock.is_none());
        needless
    }
}

/// Whether what fills a hole was sent before the packet that showed the hole: `None` if the headers do not tell.
pub(crate) fn sent_before(segment: &Segment<'_>, hole: &Hole) -> Option<bool> {
    if let (Some((clock, _)), Some(other)) = (segment.options.times, hole.clock)
        && clock != other
    {
        return Some(before(clock, other));
    }
    if segment.ip_id == 0 || hole.ip_id == 0 || segment.ip_id == hole.ip_id {
        return None;
    }
    let (behind, ahead) = (hole.ip_id.wrapping_sub(segment.ip_id), segment.ip_id.wrapping_sub(hole.ip_id));
    (behind.min(ahead) <= NEAR_IDS).then_some(behind < ahead)
}
