//! What a side sends: new bytes, bytes that fill a hole, bytes that went by before, and segments that carry no news at all.

use super::acks::sign_of;
use super::half::{Again, Half, sent_before};
use super::holes::Hole;
use super::queue::BULK;
use super::{AfterIdle, IDLE_NS, PAUSE_NS, Segment, Sign, Tcp};
use crate::analysis::Mark;
use crate::flow::Side;
use crate::flow::record::Seen;
use faultmap_wire::TcpFlags;

/// Another order is no further than this where the round trip is not known or smaller.
const LEAST_DISORDER_MS: f64 = 3.0;
/// What answers a request to send again comes within a round trip and this; later it was the timer (Linux: at least 200 ms).
const ANSWER_SLACK_MS: f64 = 150.0;
/// A tail loss probe comes after two round trips and a delayed ACK (RFC 8985 §7.2).
const PROBE_SLACK_MS: f64 = 250.0;
/// A segment this large may be too large for the path: payload bytes.
const LARGE: u32 = 1150;

impl Tcp {
    /// Takes in what a segment carries. What became of it, and the offset of its first payload byte.
    pub(super) fn data(&mut self, segment: &Segment<'_>, idle_ns: u64) -> (Mark, Option<i64>) {
        self.heed(segment);
        let (half, peer) = self.pair(segment.from);
        if !half.started {
            half.start(segment.seq);
        }
        let syn = segment.is(TcpFlags::SYN);
        let start = half.offset(segment.seq).saturating_add(i64::from(syn));
        if !half.plausible(start) {
            return (Mark::Plain, None);
        }
        if !half.seen {
            // What came before it went by before the capture began.
            half.seen = true;
            half.nxt = half.nxt.max(start);
        }
        if !syn && let Some(mark) = no_news(half, peer, segment, start) {
            let sign = if mark == Mark::KeepAlive { Sign::KeepAlive } else { Sign::WindowProbe };
            self.tallies.add(sign, segment.from, segment.no, segment.at);
            return (mark, Some(start));
        }
        let fin = segment.is(TcpFlags::FIN);
        let end = start + i64::from(segment.len) + i64::from(fin);
        if start == end {
            return (Mark::Plain, Some(start));
        }
        half.data_segments += u64::from(segment.len > 0);
        half.largest_payload = half.largest_payload.max(segment.len);
        if segment.len > 0 && end > half.nxt {
            half.last_news = Some(segment.at);
        }
        let is_news = start >= half.nxt;
        let mark = if is_news { self.news(segment, start, end, idle_ns) } else { self.again(segment, start, end) };
        if end >= BULK {
            self.queue_data(segment, end, is_news);
        }
        let (half, _) = self.pair(segment.from);
        if fin && half.fin_end.is_none() {
            half.fin_end = Some(end);
            half.fin = Some(Seen::new(segment.no, segment.at));
        }
        half.last_sent = segment.at;
        half.most_in_flight = half.most_in_flight.max(half.in_flight().unsigned_abs());
        self.last_data = segment.at;
        (mark, Some(start))
    }

    /// Bytes behind all others.
    fn news(&mut self, segment: &Segment<'_>, start: i64, end: i64, idle_ns: u64) -> Mark {
        let (half, peer) = self.pair(segment.from);
        let after_gap = start > half.nxt;
        if after_gap {
            half.skip_to(start, segment, false);
        }
        half.nxt = end;
        half.largest_sent = half.largest_sent.max(segment.len);
        let fills = segment.len > 0 && half.una.zip(peer.window_bytes(half)).is_some_and(|(una, window)| end == una + window);
        if fills {
            let counts = &mut half.trouble_mut().counts;
            counts.window_full = counts.window_full.saturating_add(1);
            self.tallies.add(Sign::WindowFull, segment.from, segment.no, segment.at);
        }
        if segment.len > 0 {
            self.follow_question(segment, end, idle_ns);
        }
        match (fills, after_gap) {
            (true, _) => Mark::WindowFull,
            (false, true) => Mark::AfterGap,
            (false, false) => Mark::Plain,
        }
    }

    fn follow_question(&mut self, segment: &Segment<'_>, end: i64, idle_ns: u64) {
        match segment.from {
            Side::Client => {
                self.question_end = end;
                self.question_at = segment.at;
                self.question_acked_ms = None;
                self.question_answered = false;
            }
            Side::Server => self.question_answered = true,
        }
        let idle = || AfterIdle { side: segment.from, idle_ms: idle_ns as f64 / 1e6, seen: Seen::new(segment.no, segment.at), end };
        if idle_ns >= IDLE_NS {
            self.after_idle = Some(Box::new(idle()));
        }
        if idle_ns >= PAUSE_NS && self.after_pause.is_none() {
            self.after_pause = Some(Box::new(idle()));
        }
    }

    /// Bytes of which at least the first belongs before what was seen last.
    fn again(&mut self, segment: &Segment<'_>, start: i64, end: i64) -> Mark {
        let rtt_ms = self.rtt_ms();
        let sack = self.halves.client.sack && self.halves.server.sack;
        let (half, peer) = self.pair(segment.from);
        let filled = half.trouble.as_mut().and_then(|trouble| trouble.holes.fill(start, end));
        let until = half.nxt;
        half.nxt = half.nxt.max(end);
        let fin_only = segment.len == 0;
        let mark = match filled {
            // The ACK was captured before the bytes.
            Some((hole, _)) if hole.acked.is_some() => return Mark::Plain,
            Some((hole, _)) if came_late(segment, &hole, peer, rtt_ms) => {
                let counts = &mut half.trouble_mut().counts;
                counts.out_of_order = counts.out_of_order.saturating_add(1);
                self.tallies.add(Sign::OutOfOrder, segment.from, segment.no, segment.at);
                return Mark::OutOfOrder;
            }
            Some(_) => {
                let counts = &mut half.trouble_mut().counts;
                counts.lost_before = counts.lost_before.saturating_add(1);
                kind(half, peer, segment, start, rtt_ms)
            }
            None if half.una.is_some_and(|una| end <= una) => Mark::SpuriousRetransmit,
            // Nothing of it was acknowledged within the capture, and it began before: its first sending may be older.
            None if half.una.is_none() && start < 0 => return Mark::Plain,
            None if fin_only => Mark::FinAgain,
            None => {
                let trouble = half.trouble_mut();
                trouble.counts.lost_after = trouble.counts.lost_after.saturating_add(1);
                let tail = end >= until && trouble.timeouts_in_a_row == 0 && sack;
                let quiet_ms = segment.at.ms_since(half.last_sent.max(peer.last_ack_at));
                match kind(half, peer, segment, start, rtt_ms) {
                    Mark::TimeoutRetransmit if tail && quiet_ms < 2.0 * rtt_ms + PROBE_SLACK_MS => Mark::TailProbe,
                    mark => mark,
                }
            }
        };
        if mark != Mark::SpuriousRetransmit {
            half.sent_again(segment, start, end, mark, filled.is_none());
        }
        half.count(mark, true);
        if let Some(sign) = sign_of(mark) {
            self.tallies.add(sign, segment.from, segment.no, segment.at);
        }
        if matches!(mark, Mark::FastRetransmit | Mark::TimeoutRetransmit) {
            self.queue_lost(segment.from, segment.at);
        }
        mark
    }
}

impl Half {
    fn sent_again(&mut self, segment: &Segment<'_>, start: i64, end: i64, mark: Mark, went_by_before: bool) {
        let first_unacked = self.una == Some(start);
        let trouble = self.trouble_mut();
        trouble.timeouts_in_a_row = match mark {
            Mark::FastRetransmit => 0,
            _ if trouble.again_at == start => trouble.timeouts_in_a_row.saturating_add(1),
            _ => 1,
        };
        trouble.again_at = start;
        if trouble.timeouts_in_a_row >= 1 && segment.len >= LARGE {
            if trouble.stuck_len == 0 {
                trouble.stuck_since = segment.at;
            }
            trouble.stuck_len = segment.len;
            trouble.stuck_df = segment.dont_fragment;
        }
        if went_by_before {
            let clock = segment.options.times.map(|(value, _)| value);
            trouble.remember(Again { start, end, clock, mark, first_unacked, packet: segment.no, at: segment.at });
        }
    }
}

/// A keep-alive or a window probe, if the segment is one: neither is data.
fn no_news(half: &mut Half, peer: &Half, segment: &Segment<'_>, start: i64) -> Option<Mark> {
    if !segment.is_plain() || segment.len > 1 || half.fin_end.is_some() || !segment.is(TcpFlags::ACK) {
        return None;
    }
    let one_back = start == half.nxt - 1;
    // Linux probes a closed window with the last byte that was acknowledged and no payload (tcp_write_wakeup).
    if peer.window == Some(0) && peer.seen && (one_back || (start == half.nxt && segment.len == 1)) {
        let probed = start == half.nxt;
        let trouble = half.trouble_mut();
        trouble.probed = probed;
        trouble.counts.window_probes = trouble.counts.window_probes.saturating_add(1);
        return Some(Mark::WindowProbe);
    }
    if one_back && half.all_acked() && peer.window != Some(0) {
        let trouble = half.trouble_mut();
        trouble.counts.keep_alives = trouble.counts.keep_alives.saturating_add(1);
        trouble.keep_alives_open = trouble.keep_alives_open.saturating_add(1);
        return Some(Mark::KeepAlive);
    }
    None
}

/// What fills a hole was sent in its time and came in another order.
fn came_late(segment: &Segment<'_>, hole: &Hole, peer: &Half, rtt_ms: f64) -> bool {
    let soon = segment.at.ms_since(hole.noticed) <= rtt_ms.clamp(LEAST_DISORDER_MS, super::USUAL_RTT_MS);
    sent_before(segment, hole).unwrap_or(soon && peer.trouble().dup_run < 3)
}

/// What made the sender send again: the receiver asked for it, or the timer ran out.
fn kind(half: &Half, peer: &Half, segment: &Segment<'_>, start: i64, rtt_ms: f64) -> Mark {
    let asked = peer.trouble().dup_run >= 2 || half.sacked_top > start;
    let soon = segment.at.ms_since(peer.trouble().asked_at) <= rtt_ms + ANSWER_SLACK_MS;
    if asked && soon { Mark::FastRetransmit } else { Mark::TimeoutRetransmit }
}
