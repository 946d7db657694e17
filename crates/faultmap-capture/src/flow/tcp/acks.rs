//! What a side says as a receiver: how far it has the peer's bytes, which it has beyond (SACK), which came twice (D-SACK), and which it misses.

use super::half::{Again, Half};
use super::queue::BULK;
use super::{Segment, Sign, Tcp};
use crate::analysis::Mark;
use crate::flow::Side;

impl Tcp {
    /// Reads the ACK of a segment.
    pub(super) fn ack(&mut self, segment: &Segment<'_>) -> Mark {
        self.complete(segment);
        let (receiver, sender) = self.pair(segment.from);
        if !sender.started {
            sender.start(segment.ack);
            sender.una = Some(0);
        }
        let ack = sender.offset(segment.ack);
        if !sender.plausible(ack) {
            return Mark::Plain;
        }
        receiver.last_ack_at = segment.at;
        if ack > sender.nxt {
            beyond_what_was_seen(receiver, sender, ack, segment);
        }
        let selective = segment.sacks().next().is_some();
        let fresh_sack = selective && sacks(receiver, sender, ack, segment);
        // The first ACK of a capture that began later may cover nothing of what was seen: it is no progress.
        let covers_nothing = sender.una.is_none() && sender.seen && ack <= 0;
        if covers_nothing {
            sender.una = Some(ack);
        }
        let mark = if sender.una.is_none_or(|una| ack > una) {
            if let Some(again) = progress(receiver, sender, ack, segment) {
                self.needless(segment.from.other(), again);
            }
            Mark::Plain
        } else {
            self.maybe_duplicate(segment, ack, fresh_sack)
        };
        if selective {
            self.needless_by_d_sack(segment, ack);
        }
        if ack >= BULK {
            self.queue_ack(segment, ack);
        }
        if segment.from == Side::Server && self.question_acked_ms.is_none() && self.question_end > 0 && ack >= self.question_end {
            self.question_acked_ms = Some(segment.at.ms_since(self.question_at));
        }
        if self.after_idle.as_ref().is_some_and(|idle| idle.side != segment.from && ack >= idle.end) {
            self.after_idle = None;
        }
        if let Some(pause) = self.after_pause.take_if(|pause| pause.side != segment.from && ack >= pause.end) {
            self.survived_ms = self.survived_ms.max(pause.idle_ms);
        }
        mark
    }

    /// A retransmission turned out to be needless.
    fn needless(&mut self, side: Side, again: Again) {
        let half = self.halves.of_mut(side);
        half.count(again.mark, false);
        half.count(Mark::SpuriousRetransmit, true);
        let counts = &mut half.trouble_mut().counts;
        counts.lost_after = counts.lost_after.saturating_sub(1);
        if let Some(sign) = sign_of(again.mark) {
            self.tallies.take_back(sign, side, again.packet);
        }
        self.tallies.add(Sign::Spurious, side, again.packet, again.at);
    }

    /// The first SACK block reports what came twice, if it is below the ACK or within the second block (RFC 2883 §4).
    fn needless_by_d_sack(&mut self, segment: &Segment<'_>, ack: i64) {
        let Some((start, end)) = d_sack(self.halves.of(segment.from.other()), segment, ack) else { return };
        let (receiver, sender) = self.pair(segment.from);
        let counts = &mut receiver.trouble_mut().counts;
        counts.d_sacks = counts.d_sacks.saturating_add(1);
        if let Some(again) = sender.trouble.as_mut().and_then(|trouble| trouble.take_needless(start, end)) {
            self.needless(segment.from.other(), again);
        }
    }

    /// RFC 5681 §2: no data, no SYN or FIN, the same ACK and window (or news by SACK), and data is on the way.
    fn maybe_duplicate(&mut self, segment: &Segment<'_>, ack: i64, fresh_sack: bool) -> Mark {
        let (receiver, sender) = self.pair(segment.from);
        let same = receiver.window == Some(segment.window) || fresh_sack;
        let pure = segment.is_plain() && segment.len == 0 && segment.window > 0;
        let keep_alive = segment.seq.wrapping_add(1) == receiver.next_seq();
        if !pure || !same || keep_alive || sender.una != Some(ack) || ack >= sender.nxt || !sender.seen {
            return Mark::Plain;
        }
        let trouble = receiver.trouble_mut();
        trouble.dup_run = trouble.dup_run.saturating_add(1);
        trouble.asked_at = segment.at;
        trouble.counts.dup_acks = trouble.counts.dup_acks.saturating_add(1);
        self.tallies.add(Sign::DupAck, segment.from, segment.no, segment.at);
        Mark::DupAck
    }
}

/// The sign under which a kind of retransmission is counted.
pub(super) const fn sign_of(mark: Mark) -> Option<Sign> {
    match mark {
        Mark::FastRetransmit => Some(Sign::Fast),
        Mark::TimeoutRetransmit => Some(Sign::Timeout),
        Mark::TailProbe => Some(Sign::TailProbe),
        Mark::SpuriousRetransmit => Some(Sign::Spurious),
        Mark::FinAgain => Some(Sign::FinAgain),
        _ => None,
    }
}

/// The receiver acknowledges bytes that the capture has not seen.
fn beyond_what_was_seen(receiver: &mut Half, sender: &mut Half, ack: i64, segment: &Segment<'_>) {
    if !sender.seen {
        // Of that side nothing was captured yet: it has no gap, it is not there.
        receiver.acks_moved |= ack > sender.nxt;
        sender.nxt = ack;
    } else if sender.trouble().probed && ack == sender.nxt + 1 {
        sender.nxt = ack;
    } else {
        sender.skip_to(ack, segment, true);
    }
}

/// New bytes are acknowledged. Gives a retransmission that was needless.
fn progress(receiver: &mut Half, sender: &mut Half, ack: i64, segment: &Segment<'_>) -> Option<Again> {
    sender.una = Some(ack);
    sender.largest_acked = sender.largest_acked.max(std::mem::take(&mut sender.largest_sent));
    if let Some(trouble) = &mut receiver.trouble {
        trouble.dup_run = 0;
    }
    let trouble = sender.trouble.as_mut()?;
    (trouble.timeouts_in_a_row, trouble.stuck_len, trouble.probed) = (0, 0, false);
    // What is acknowledged without being sent again was taken.
    let taken = trouble.doubtful.len();
    trouble.doubtful.retain(|doubtful| doubtful.end > ack);
    sender.checksums.offloaded = sender.checksums.offloaded.saturating_add((taken - trouble.doubtful.len()) as u32);
    trouble.holes.acked(i64::MIN, ack, segment.at);
    trouble.take_outrun(ack, segment.options.times.map(|(_, echo)| echo))
}

/// Reads the SACK blocks; whether they tell anything new.
fn sacks(receiver: &mut Half, sender: &mut Half, ack: i64, segment: &Segment<'_>) -> bool {
    let skip = usize::from(d_sack(sender, segment, ack).is_some());
    let mut fresh = false;
    for (left, right) in segment.sacks().skip(skip) {
        let (start, end) = (sender.offset(left), sender.offset(right));
        if start >= end || start < ack || !sender.plausible(end) || !sender.seen {
            continue;
        }
        if start > sender.nxt {
            sender.skip_to(start, segment, false);
        }
        if end > sender.nxt {
            sender.skip_to(end, segment, true);
        }
        if end > sender.sacked_top {
            sender.sacked_top = end;
            fresh = true;
        }
        if let Some(trouble) = &mut sender.trouble {
            trouble.holes.acked(start, end, segment.at);
        }
    }
    if fresh {
        receiver.trouble_mut().asked_at = segment.at;
    }
    fresh
}

/// The bytes that a D-SACK says came twice.
fn d_sack(sender: &Half, segment: &Segment<'_>, ack: i64) -> Option<(i64, i64)> {
    let offsets = |(left, right): (u32, u32)| (sender.offset(left), sender.offset(right));
    let mut blocks = segment.sacks().map(offsets);
    let (start, end) = blocks.next()?;
    let within_second = blocks.next().is_some_and(|(left, right)| left <= start && end <= right);
    (start < end && (end <= ack || within_second)).then_some((start, end))
}

impl Half {
    /// The sequence number after all that was sent.
    pub(super) fn next_seq(&self) -> u32 {
        self.seq_of(self.nxt)
    }
}
