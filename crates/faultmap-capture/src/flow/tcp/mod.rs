//! A TCP connection as both sides' packets tell it: handshake, data, acknowledgements, windows, end. Every rule is that of an RFC and named in
//! docs/capture-rules.md. It sees segments in the order of capture, without the copies that a capture makes; bytes are none of its business.

mod acks;
mod data;
mod half;
mod holes;
mod open;
mod queue;
pub(crate) mod report;
mod segment;
mod size;
mod tally;

pub(crate) use segment::{Header, Segment};

use crate::analysis::Mark;
use crate::app::End;
use crate::flow::Side;
use crate::flow::record::{Handshake, LossSide, Pause, PerSide, Reset, Seen, State, TcpRecord, TcpSide};
use crate::packet::{PacketNo, Stamp};
use faultmap_wire::TcpFlags;
use faultmap_wire::dissect::Verdict;
use half::{Doubtful, Half, MOST_DOUBTFUL, Trouble};
use tally::{Sign, Tallies};

/// Silence after which the next data is worth watching: state tables forget idle connections.
const IDLE_NS: u64 = 5_000_000_000;
/// A pause shorter than this is none: a sender's timer, a slow answer.
const PAUSE_NS: u64 = 1_000_000_000;
/// The round trip assumed where the handshake was not seen.
const USUAL_RTT_MS: f64 = 100.0;

/// Data sent after a long silence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AfterIdle {
    pub(crate) side: Side,
    pub(crate) idle_ms: f64,
    pub(crate) seen: Seen,
    end: i64,
}

/// What was open when the connection was reset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtReset {
    /// The client's last question had no byte of answer.
    pub(crate) question_open: bool,
    /// Bytes of the side that reset that were not acknowledged.
    pub(crate) unacked: i64,
    /// Milliseconds since the last data of either side.
    pub(crate) quiet_ms: f64,
    /// A FIN of either side came before.
    pub(crate) closing: bool,
    /// The data after idle that it answered.
    pub(crate) after_idle: Option<AfterIdle>,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) mark: Mark,
    /// Offset of its first payload byte among those of its side; `None` where that cannot be of this connection.
    pub(crate) offset: Option<i64>,
    /// The bytes count only once the handshake is complete: data on a SYN.
    pub(crate) on_syn: bool,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    halves: PerSide<Half>,
    pub(crate) tallies: Tallies,
    pub(crate) handshake: Handshake,
    syn_acks: u32,
    /// SYN-ACKs sent again although the client's ACK had been seen.
    syn_acks_after_ack: u32,
    /// SYNs sent again although a SYN-ACK had gone by.
    syns_after_answer: u32,
    // What seldom happens is apart, for the sake of its size.
    pub(crate) fast_open_ignored: Option<Box<Seen>>,
    reset: Option<Box<(Reset, AtReset)>>,
    /// The RST that refused the SYN.
    pub(crate) refused: bool,
    after_idle: Option<Box<AfterIdle>>,
    /// Data after a pause that is not acknowledged yet.
    after_pause: Option<Box<AfterIdle>>,
    /// The longest silence after which data was acknowledged.
    survived_ms: f64,
    longest_idle_ns: u64,
    last: Option<Stamp>,
    last_data: Stamp,
    question_end: i64,
    question_at: Stamp,
    pub(crate) question_acked_ms: Option<f64>,
    question_answered: bool,
    /// The capture makes copies of this connection's packets.
    copied: bool,
    /// A router told the sender to send smaller packets.
    frag_needed: Option<Box<size::TooBig>>,
}

impl Tcp {
    /// Takes a segment in; `None` if it is but a copy.
    pub(crate) fn segment(&mut self, segment: &Segment<'_>) -> Option<Took> {
        if segment.like_a_copy && self.is_copy(segment) {
            self.copied = true;
            return None;
        }
        let idle_ns = self.last.map_or(0, |last| segment.at.since(last));
        self.longest_idle_ns = self.longest_idle_ns.max(idle_ns);
        self.last = Some(self.last.map_or(segment.at, |last| last.max(segment.at)));
        if segment.is(TcpFlags::RST) {
            self.rst(segment);
            return Some(Took { mark: Mark::Plain, offset: None, on_syn: false });
        }
        let (half, peer) = self.pair(segment.from);
        half.ttl = Some(segment.ttl);
        half.last_at = segment.at;
        half.spoke |= !segment.is(TcpFlags::SYN);
        // Any packet of a side answers the peer's keep-alives.
        if let Some(Trouble { counts, keep_alives_open, .. }) = peer.trouble.as_deref_mut() {
            counts.keep_alives_answered = counts.keep_alives_answered.saturating_add(std::mem::take(keep_alives_open));
        }
        let opened = if segment.is(TcpFlags::SYN) { self.syn(segment) } else { Mark::Plain };
        let acked = if segment.is(TcpFlags::ACK) { self.ack(segment) } else { Mark::Plain };
        let (sent, offset) = self.data(segment, idle_ns);
        let window = self.window(segment);
        let mark = [opened, sent, window, acked].into_iter().find(|mark| *mark != Mark::Plain).unwrap_or_default();
        Some(Took { mark, offset, on_syn: segment.is(TcpFlags::SYN) })
    }

    /// Whether a SYN opens another connection between the same ends (RFC 9293 §3.6.1).
    pub(crate) fn is_another(&self, seq: u32, from: Side) -> bool {
        let half = self.halves.of(from);
        let peer = self.halves.of(from.other());
        // A SYN-ACK may be captured before its SYN.
        let late = !half.syn_seen && peer.syn_seen && half.offset(seq) == -1;
        from == Side::Server || !(late || (half.syn_seen && half.offset(seq) == 0))
    }

    /// Whether bytes equal to those of a packet a moment ago are a copy, or sent again so soon.
    fn is_copy(&self, segment: &Segment<'_>) -> bool {
        if !segment.is_plain() {
            return true;
        }
        let (half, peer) = (self.halves.of(segment.from), self.halves.of(segment.from.other()));
        if segment.len == 0 {
            return self.copied;
        }
        let start = half.offset(segment.seq);
        peer.trouble().dup_run < 2 && half.sacked_top <= start
    }

    fn pair(&mut self, of: Side) -> (&mut Half, &mut Half) {
        let PerSide { client, server } = &mut self.halves;
        match of {
            Side::Client => (client, server),
            Side::Server => (server, client),
        }
    }

    /// Timeouts of a side in a row, without progress.
    pub(crate) fn timeouts_in_a_row(&self, side: Side) -> u32 {
        self.halves.of(side).trouble().timeouts_in_a_row
    }

    /// Segments that either side sent again.
    pub(crate) fn sent_again(&self) -> u64 {
        [&self.halves.client, &self.halves.server].iter().map(|half| u64::from(half.trouble().counts.retransmits.total())).sum()
    }

    /// Data went by, one way or the other.
    pub(super) fn has_data(&self) -> bool {
        self.last_data != Stamp::default()
    }

    /// The round trip, or what is assumed of it.
    fn rtt_ms(&self) -> f64 {
        self.handshake.rtt_ms().or(self.handshake.server_rtt_ms).unwrap_or(USUAL_RTT_MS)
    }

    fn window(&mut self, segment: &Segment<'_>) -> Mark {
        let (half, _) = self.pair(segment.from);
        half.window = Some(segment.window);
        if !segment.is_plain() {
            return Mark::Plain;
        }
        match (segment.window, half.trouble().zero_since) {
            (0, None) => {
                let trouble = half.trouble_mut();
                trouble.zero_since = Some(segment.at);
                trouble.counts.zero_windows = trouble.counts.zero_windows.saturating_add(1);
                self.tallies.add(Sign::ZeroWindow, segment.from, segment.no, segment.at);
                Mark::ZeroWindow
            }
            (0, Some(_)) => Mark::ZeroWindow,
            (_, Some(since)) => {
                let trouble = half.trouble_mut();
                trouble.zero_since = None;
                trouble.counts.zero_window_ms += segment.at.ms_since(since);
                Mark::WindowUpdate
            }
            (_, None) => Mark::Plain,
        }
    }

    fn rst(&mut self, segment: &Segment<'_>) {
        let quiet_ms = if self.has_data() { segment.at.ms_since(self.last_data) } else { 0.0 };
        let question_open = self.question_end > 0 && !self.question_answered;
        let closing = self.halves.client.fin_end.is_some() || self.halves.server.fin_end.is_some();
        let established = self.is_established();
        let (half, peer) = self.pair(segment.from);
        let offset = half.offset(segment.seq);
        let window = peer.window_bytes(half).unwrap_or(1 << 20).max(1 << 16);
        let acked = half.una.unwrap_or(half.nxt);
        // A refusal has sequence number 0 and acknowledges the SYN (RFC 9293 §3.10.7.1).
        let refuses = !half.seen && peer.syn_seen && segment.is(TcpFlags::ACK) && peer.offset(segment.ack) >= 1;
        let in_window = refuses || (offset >= acked && offset <= acked.max(half.nxt).saturating_add(window));
        let usual_ttl = half.ttl;
        let unacked = half.in_flight();
        if self.reset.is_some() {
            return;
        }
        self.refused = refuses && segment.from == Side::Server && !established;
        let reset = Reset { by: segment.from, seen: Seen::new(segment.no, segment.at), ttl: segment.ttl, usual_ttl, in_window };
        let after_idle = self.after_idle.as_deref().copied().filter(|idle| idle.side != segment.from);
        self.reset = Some(Box::new((reset, AtReset { question_open, unacked, quiet_ms, closing, after_idle })));
    }

    /// The silence before data that never got through, or that was answered by RST without a word of its going before.
    fn died_after(&self) -> Option<Pause> {
        let pause = self.after_pause.as_ref()?;
        let peer = self.halves.of(pause.side.other());
        let answers = |told: &(Reset, AtReset)| told.0.by != pause.side && !told.1.closing && peer.fin_end.is_none();
        let reset = self.reset.as_deref().is_some_and(answers);
        let sent_again = self.timeouts_in_a_row(pause.side) >= 2 && peer.fin_end.is_none();
        (reset || sent_again).then(|| Pause { ms: pause.idle_ms, until: pause.seen.at() })
    }

    /// The capture has missed bytes of a side: up to which offset they are gone. Call before each segment, until it says `None`.
    pub(crate) fn settle(&mut self, side: Side, now: Stamp, over: bool) -> Option<i64> {
        let Trouble { holes, counts, .. } = self.halves.of_mut(side).trouble.as_deref_mut()?;
        let hole = if over { holes.take_acked() } else { holes.take_missed(now) }?;
        counts.gaps = counts.gaps.saturating_add(1);
        counts.missing_bytes = counts.missing_bytes.saturating_add((hole.end - hole.start).unsigned_abs());
        self.tallies.add(Sign::Gap, side, hole.packet, hole.noticed);
        Some(hole.end)
    }

    /// One direction is all there is: what is missing in it is the capture's.
    pub(crate) fn abandon(&mut self, at: Stamp) {
        for trouble in [&mut self.halves.client, &mut self.halves.server].into_iter().filter_map(|half| half.trouble.as_mut()) {
            trouble.holes.acked(i64::MIN, i64::MAX, at);
        }
    }

    /// The packet that showed the first hole of the capture in a side's bytes.
    pub(crate) fn first_gap(&self, side: Side) -> Option<(PacketNo, Stamp)> {
        let tally = self.tallies.of(Sign::Gap, side)?;
        tally.cited.packets.first().map(|packet| (PacketNo(*packet), tally.first))
    }

    /// Bytes of a side that the capture missed, and in how many holes.
    pub(crate) fn missed(&self, side: Side) -> (u64, u32) {
        let counts = &self.halves.of(side).trouble().counts;
        (counts.missing_bytes, counts.gaps)
    }

    /// The first RST.
    pub(crate) fn reset(&self) -> Option<Reset> {
        self.reset.as_ref().map(|told| told.0)
    }

    /// Who said FIN first.
    pub(crate) fn first_fin(&self) -> Option<Side> {
        match (self.halves.client.fin, self.halves.server.fin) {
            (Some(client), Some(server)) => Some(if client.packet <= server.packet { Side::Client } else { Side::Server }),
            (Some(_), None) => Some(Side::Client),
            (None, Some(_)) => Some(Side::Server),
            (None, None) => None,
        }
    }

    /// When the end began: the first FIN or RST, else the last packet.
    pub(crate) fn last_word(&self) -> Stamp {
        let fin = self.first_fin().and_then(|side| self.halves.of(side).fin);
        let ends = [fin.map(|fin| fin.at()), self.reset().map(|reset| reset.seen.at())];
        ends.into_iter().flatten().min().or(self.last).unwrap_or_default()
    }

    /// What the checksum of a segment says. Call before [`Tcp::segment`].
    pub(crate) fn checksum(&mut self, segment: &Segment<'_>, verdict: Verdict) {
        let half = self.halves.of_mut(segment.from);
        let start = half.offset(segment.seq);
        if let Some(Trouble { doubtful, counts, .. }) = half.trouble.as_deref_mut().filter(|_| segment.len > 0) {
            let again = |doubtful: &Doubtful| doubtful.start < start + i64::from(segment.len) && start < doubtful.end;
            for dropped in doubtful.extract_if(.., |doubtful| again(doubtful)) {
                counts.bad_checksums = counts.bad_checksums.saturating_add(1);
                self.tallies.add(Sign::BadChecksum, segment.from, dropped.packet, dropped.at);
            }
        }
        let half = self.halves.of_mut(segment.from);
        match verdict {
            Verdict::Good => half.checksums.good = half.checksums.good.saturating_add(1),
            Verdict::Offloaded => half.checksums.offloaded = half.checksums.offloaded.saturating_add(1),
            Verdict::Bad if segment.len > 0 || !half.seen => {
                let doubtful = Doubtful { start, end: start + i64::from(segment.len), packet: segment.no, at: segment.at };
                if half.trouble().doubtful.len() < MOST_DOUBTFUL && half.plausible(start) {
                    half.trouble_mut().doubtful.push(doubtful);
                }
            }
            Verdict::Bad | Verdict::Unknown | Verdict::None => {}
        }
    }

    /// Segments of doubtful checksum that nobody acknowledged in the whole capture, of a side that nobody acknowledged at all.
    pub(crate) fn settle_checksums(&mut self) {
        for side in [Side::Client, Side::Server] {
            let half = self.halves.of_mut(side);
            if half.una.is_none_or(|una| una == 0) && !self.halves.of(side.other()).seen {
                let doubtful = self.halves.of_mut(side).trouble.as_mut().map(|trouble| std::mem::take(&mut trouble.doubtful));
                for doubtful in doubtful.unwrap_or_default() {
                    self.tallies.add(Sign::BadChecksum, side, doubtful.packet, doubtful.at);
                }
            }
        }
    }

    /// Segments whose checksum was left to the network card.
    pub(crate) fn offloaded(&self) -> u64 {
        u64::from(self.halves.client.checksums.offloaded).saturating_add(u64::from(self.halves.server.checksums.offloaded))
    }

    /// SYN and SYN-ACK went by, or data in both directions.
    pub(crate) fn is_established(&self) -> bool {
        let (client, server) = (&self.halves.client, &self.halves.server);
        (client.seen && server.seen && !(client.syn_seen && !server.syn_seen && server.data_segments == 0))
            || (client.acks_moved || server.acks_moved)
    }

    /// Opened in order, and nothing in it that any rule of `report` speaks of.
    pub(crate) fn is_uneventful(&self) -> bool {
        let Self { halves: PerSide { client, server }, handshake, .. } = self;
        let opened = handshake.syn.is_none() || handshake.ack.is_some();
        let troubled = client.trouble.is_some() || server.trouble.is_some() || !self.tallies.is_empty();
        opened && !troubled && self.reset.is_none() && self.fast_open_ignored.is_none()
    }

    /// Nothing more is expected: reset, or closed from both sides.
    pub(crate) fn is_over(&self) -> bool {
        let closed = |half: &Half| half.fin_end.is_some();
        self.reset.is_some() || (closed(&self.halves.client) && closed(&self.halves.server))
    }

    /// The end of a side's FIN.
    pub(crate) fn closed_at(&self, side: Side) -> Option<i64> {
        self.halves.of(side).fin_end
    }

    /// Only SYNs so far.
    pub(crate) fn is_attempt(&self) -> bool {
        self.handshake.syn.is_some() && !self.halves.server.seen && !self.halves.client.spoke
    }

    /// SYN and SYN-ACK, and nothing more of either side.
    pub(crate) fn is_handshake_only(&self) -> bool {
        let only = |half: &Half| half.syn_seen && !half.spoke && half.data_segments == 0;
        only(&self.halves.client) && only(&self.halves.server)
    }

    /// The SYN that this SYN-ACK answers is this connection's, and was not answered yet.
    pub(crate) fn is_answered_by(&self, ack: u32) -> bool {
        self.is_attempt() && self.halves.client.offset(ack) == self.halves.client.nxt
    }

    /// Its beginning was not captured.
    pub(crate) fn is_midstream(&self) -> bool {
        self.handshake.syn.is_none() && (self.halves.client.seen || !self.halves.server.syn_seen)
    }

    /// When the server last sent bytes that were new.
    pub(crate) const fn server_spoke(&self) -> Option<Stamp> {
        self.halves.server.last_news
    }

    /// One direction only was captured, although the other was there: its ACKs moved, or data flowed on without being sent again.
    pub(crate) fn one_sided(&self) -> Option<Side> {
        let only = |half: &Half| {
            let flowed = half.data_segments >= 4 && half.trouble().counts.retransmits.total() == 0;
            // After its SYN a side says more only if it was answered.
            let went_on = half.syn_seen && half.spoke;
            self.reset.is_none() && (half.acks_moved || flowed || went_on)
        };
        let (client, server) = (&self.halves.client, &self.halves.server);
        match (client.seen, server.seen) {
            (true, false) => only(client).then_some(Side::Client),
            (false, true) => only(server).then_some(Side::Server),
            _ => None,
        }
    }

    /// How far it came, in Zeek's words.
    pub(crate) fn state(&self) -> State {
        let (client, server) = (&self.halves.client, &self.halves.server);
        let fins = (client.fin_end.is_some(), server.fin_end.is_some());
        let by = self.reset().map(|reset| reset.by);
        if self.is_midstream() {
            return State::Oth;
        }
        if self.refused {
            return State::Rej;
        }
        if !server.seen {
            return match (by, fins) {
                (Some(Side::Client), _) => State::Rstos0,
                (Some(Side::Server), _) => State::Rej,
                (None, (true, _)) => State::Sh,
                (None, _) => State::S0,
            };
        }
        if !client.seen {
            return match (by, fins) {
                (Some(_), _) => State::Rstrh,
                (None, (_, true)) => State::Shr,
                (None, _) => State::Oth,
            };
        }
        match (by, fins) {
            (_, (true, true)) => State::Sf,
            (Some(Side::Client), _) => State::Rsto,
            (Some(Side::Server), _) => State::Rstr,
            (None, (true, false)) => State::S2,
            (None, (false, true)) => State::S3,
            (None, (false, false)) => State::S1,
        }
    }

    /// How it ended, for the conversation in it; `cut` if the capture or a bound ended it.
    pub(crate) fn end(&self, cut: bool) -> End {
        let fins = (self.halves.client.fin_end.is_some(), self.halves.server.fin_end.is_some());
        match (self.reset(), fins) {
            (_, (true, true)) => End::Closed,
            (Some(reset), _) => End::Reset(reset.by),
            (None, (true, false)) => End::HalfClosed(Side::Client),
            (None, (false, true)) => End::HalfClosed(Side::Server),
            (None, _) if cut => End::Cut,
            (None, _) => End::Idle,
        }
    }

    /// What it went through.
    pub(crate) fn record(&self, now: Stamp) -> TcpRecord {
        let side = |half: &Half| {
            let Trouble { counts, zero_since, stuck_len, .. } = half.trouble();
            let closed_ms = zero_since.map_or(0.0, |since| self.last.unwrap_or(now).ms_since(since));
            TcpSide {
                zero_window_ms: counts.zero_window_ms + closed_ms,
                zero_window_at_end: zero_since.is_some(),
                most_in_flight: half.most_in_flight,
                fin: half.fin,
                largest_payload: half.largest_payload,
                largest_acked: half.largest_acked,
                stuck_payload: half.is_stuck_at_its_largest().then_some(*stuck_len),
                unchecked: half.checksums.offloaded,
                ttl: half.ttl,
                mss: half.mss,
                window_scale: half.window_scale,
                sack: half.sack,
                timestamps: half.timestamps,
                trips: half.queue.as_deref().map(queue::Queue::trips),
                ..*counts
            }
        };
        let sides = PerSide { client: side(&self.halves.client), server: side(&self.halves.server) };
        let before = sides.client.lost_before + sides.server.lost_before > 0;
        let after = sides.client.lost_after + sides.server.lost_after > 0;
        let loss = match (before, after) {
            (true, true) => Some(LossSide::Both),
            (true, false) => Some(LossSide::BeforeCapture),
            (false, true) => Some(LossSide::AfterCapture),
            (false, false) => None,
        };
        TcpRecord {
            handshake: self.handshake,
            sides,
            reset: self.reset(),
            loss,
            longest_idle_ms: self.longest_idle_ns as f64 / 1e6,
            survived_ms: self.survived_ms,
            died_after: self.died_after(),
        }
    }
}
