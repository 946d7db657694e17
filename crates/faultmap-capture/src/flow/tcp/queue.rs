//! How long round trips are while a side sends in bulk, and above all when its segments are lost: where a sender fills the queue before the narrowest
//! link, they swell until the queue overflows. It judges nothing, and costs senders of a few segments nothing.
//!
//! Wherever the point of capture is, the round trip is that to the receiver (data until its ACK) and that to the sender (the clock of an ACK until the
//! sender echoes it, RFC 7323 §4). Only round trips that the sender filled with segments of its own count: a pause of its application is none.

use super::Tcp;
use super::half::Half;
use super::segment::{Segment, before};
use crate::flow::Side;
use crate::flow::record::Trips;
use crate::packet::Stamp;

/// So many bytes of a side are bulk.
pub(super) const BULK: i64 = 32 << 10;
/// Segments of the sender within one round trip that fill it.
const FILLED_BY: u32 = 6;
/// A round trip says nothing of a loss so long after it; while losses are repaired none is known.
const STALE_MS: f64 = 5000.0;

/// Round trips between the point of capture and one end, milliseconds.
#[derive(Debug, Default)]
struct Trip {
    latest_ms: Option<f64>,
    least_ms: Option<f64>,
}

impl Trip {
    fn took(&mut self, ms: f64) {
        self.latest_ms = Some(ms);
        self.least_ms = Some(self.least_ms.map_or(ms, |least| least.min(ms)));
    }
}

/// The round trips of one sender in bulk.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Data that went by, until its ACK does: its end.
    data: Option<(i64, Stamp)>,
    /// The clock of an ACK that went by, until the sender echoes it; and the segments of the sender meanwhile.
    ack: Option<(u32, Stamp, u32)>,
    /// The receiver's clock when it was last seen: it ticks more slowly than ACKs go by, and only the first one of a tick says when its echo is due.
    clock: Option<u32>,
    /// From here to the receiver and back, and from here to the sender and back; when that was last known.
    there: Trip,
    back: Trip,
    at: Stamp,
    /// Losses whose round trip is known, and the sum of these.
    losses: u32,
    sum_ms: f64,
}

impl Queue {
    /// What they were.
    pub(super) fn trips(&self) -> Trips {
        let least_ms = self.there.least_ms.unwrap_or(0.0) + self.back.least_ms.unwrap_or(0.0);
        let known = self.there.least_ms.is_some() || self.back.least_ms.is_some();
        let at_loss_ms = self.sum_ms / f64::from(self.losses.max(1));
        Trips { losses: self.losses, at_loss_ms: at_loss_ms as f32, least_ms: if known { least_ms as f32 } else { f32::INFINITY } }
    }

    fn sent(&mut self, segment: &Segment<'_>, end: i64, fills: bool) {
        if fills && self.data.is_none() {
            self.data = Some((end, segment.at));
        }
        let Some((clock, since, segments)) = &mut self.ack else { return };
        *segments = segments.saturating_add(1);
        if segment.options.times.is_some_and(|(_, echo)| !before(echo, *clock)) {
            if *segments >= FILLED_BY {
                self.back.took(segment.at.ms_since(*since));
                self.at = segment.at;
            }
            self.ack = None;
        }
    }

    fn lost(&mut self, at: Stamp) {
        let (there, back) = (self.there.latest_ms, self.back.latest_ms);
        if (there.is_some() || back.is_some()) && at.ms_since(self.at) <= STALE_MS {
            self.losses = self.losses.saturating_add(1);
            self.sum_ms += there.unwrap_or(0.0) + back.unwrap_or(0.0);
        }
        (self.data, self.ack) = (None, None);
    }
}

impl Tcp {
    /// A side has sent data up to `end`, new or again.
    pub(super) fn queue_data(&mut self, segment: &Segment<'_>, end: i64, is_news: bool) {
        let (half, peer) = self.pair(segment.from);
        let repairs = is_repairing(half, peer);
        let fills = is_news && !repairs && half.in_flight() >= i64::from(segment.len.saturating_mul(FILLED_BY));
        half.queue.get_or_insert_default().sent(segment, end, fills);
    }

    /// A side has acknowledged up to `ack`.
    pub(super) fn queue_ack(&mut self, segment: &Segment<'_>, ack: i64) {
        let (receiver, sender) = self.pair(segment.from);
        let repairs = is_repairing(sender, receiver);
        let Some(queue) = &mut sender.queue else { return };
        let clock = segment.options.times.map(|(clock, _)| clock);
        let ticked = std::mem::replace(&mut queue.clock, clock) != clock;
        // What is acknowledged or sent after a repair waited for that.
        if repairs {
            (queue.data, queue.ack) = (None, None);
            return;
        }
        match queue.data {
            Some((end, since)) if ack >= end => {
                queue.there.took(segment.at.ms_since(since));
                (queue.data, queue.at) = (None, segment.at);
            }
            _ => {}
        }
        if queue.ack.is_none() && ticked {
            queue.ack = clock.map(|clock| (clock, segment.at, 0));
        }
    }

    /// A segment of a side was lost.
    pub(super) fn queue_lost(&mut self, side: Side, at: Stamp) {
        if let Some(queue) = &mut self.halves.of_mut(side).queue {
            queue.lost(at);
        }
    }
}

/// Bytes are missed at the receiver.
fn is_repairing(sender: &Half, receiver: &Half) -> bool {
    receiver.trouble().dup_run > 0 || sender.una.is_some_and(|una| sender.sacked_top > una)
}
