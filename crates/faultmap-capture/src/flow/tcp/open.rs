//! The handshake: SYN, SYN-ACK, ACK, their repetitions and round trips.

use super::{Segment, Sign, Tcp};
use crate::analysis::Mark;
use crate::flow::Side;
use crate::flow::record::Seen;
use faultmap_wire::TcpFlags;

/// A SYN sent so long after the SYN-ACK did not cross it on its way: twice the first timeout of a SYN would be 2 s (RFC 6298 §2), and a way is half a
/// round trip.
const ANSWER_HEARD_NS: u64 = 500_000_000;

impl Tcp {
    /// A SYN or SYN-ACK.
    pub(super) fn syn(&mut self, segment: &Segment<'_>) -> Mark {
        let seen = Seen::new(segment.no, segment.at);
        let half = self.halves.of_mut(segment.from);
        let again = half.syn_seen && half.offset(segment.seq) == 0;
        if !again {
            // The peer's ACK may have been captured first: its offset counts from here now.
            let shift = if half.started { half.offset(segment.seq) } else { 0 };
            half.start(segment.seq);
            half.una = half.una.map(|una| una.saturating_sub(shift).clamp(0, 1));
            half.syn_seen = true;
            half.seen = true;
            half.nxt = 1;
            half.last_sent = segment.at;
            half.mss = segment.options.mss;
            half.window_scale = segment.options.window_scale;
            half.sack = segment.options.sack_permitted;
            half.timestamps = segment.options.times.is_some();
        }
        let answer = segment.is(TcpFlags::ACK);
        if answer {
            self.syn_ack(segment, seen);
        } else {
            self.handshake.syn.get_or_insert(seen);
            let answered = self.handshake.syn_ack.is_some_and(|answer| segment.at.since(answer.at()) >= ANSWER_HEARD_NS);
            self.syns_after_answer += u32::from(again && answered && self.handshake.ack.is_none());
        }
        if !again {
            return Mark::Plain;
        }
        self.halves.of_mut(segment.from).count(Mark::SynAgain, true);
        let sign = if answer { Sign::SynAckAgain } else { Sign::SynAgain };
        self.tallies.add(sign, segment.from, segment.no, segment.at);
        Mark::SynAgain
    }

    fn syn_ack(&mut self, segment: &Segment<'_>, seen: Seen) {
        self.syn_acks = self.syn_acks.saturating_add(1);
        if self.handshake.ack.is_some() {
            self.syn_acks_after_ack = self.syn_acks_after_ack.saturating_add(1);
        }
        if self.handshake.syn_ack.is_some() {
            return;
        }
        self.handshake.syn_ack = Some(seen);
        // Karn: an answer to a repeated SYN does not tell to which.
        let once = self.halves.client.trouble().counts.retransmits.syn == 0;
        self.handshake.server_rtt_ms = self.handshake.syn.filter(|_| once).map(|syn| seen.at().ms_since(syn.at()));
        let client = &mut self.halves.client;
        // Data came with the SYN, and the SYN alone is acknowledged (RFC 7413 §4.2): the client sends it once more, and nothing was lost.
        if client.nxt > 1 && client.offset(segment.ack) == 1 {
            client.nxt = 1;
            self.fast_open_ignored = Some(Box::new(seen));
        }
    }

    /// The client's first ACK completes the handshake.
    pub(super) fn complete(&mut self, segment: &Segment<'_>) {
        if segment.from != Side::Client || segment.is(TcpFlags::SYN) || self.handshake.ack.is_some() {
            return;
        }
        let Some(syn_ack) = self.handshake.syn_ack else { return };
        self.handshake.ack = Some(Seen::new(segment.no, segment.at));
        let first = self.halves.client.offset(segment.seq) == 1;
        if self.syn_acks == 1 && first && segment.at >= syn_ack.at() {
            self.handshake.client_rtt_ms = Some(segment.at.ms_since(syn_ack.at()));
        }
    }
}
