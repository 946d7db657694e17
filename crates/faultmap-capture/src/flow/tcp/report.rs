//! What is to be told of a connection when it is over. Repairs that work are notes; they become warnings where they cost the user something, and
//! faults where the connection did not survive.

use super::Tcp;
use super::half::Half;
use super::tally::{Sign, Tally};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::record::{Reset, Seen};
use crate::flow::{FlowId, SEARCHING_TTL, Side};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use std::net::SocketAddr;

/// A SYN unanswered for so long is told even if it was not repeated.
const SYN_PATIENCE_MS: f64 = 3000.0;
/// Needed retransmissions of so many of a hundred data segments are worth a warning.
const LOSS_WARNING_PERCENT: f64 = 1.0;
/// Fewer than this are no heavy loss, however short the connection.
const LOSS_WARNING_FROM: u32 = 3;
/// A window closed for so long is worth a warning, and one that never opened again for so long is a fault.
const ZERO_WINDOW_WARNING_MS: f64 = 1000.0;
const ZERO_WINDOW_FAULT_MS: f64 = 5000.0;
/// Timeouts in a row, without an answer to the end, that are worth a warning.
const SILENT_AFTER: u32 = 2;
/// Timeouts in a row after which a path or peer counts as dead.
pub(crate) const DEAD_AFTER: u32 = 3;
/// The same, in milliseconds, where the first timeout was a long one: a sender whose round trip is unknown or varies waits for seconds.
const DEAD_MS: f64 = 5000.0;

/// So many bytes that a server takes without a word are a stream, and no question.
const STREAM: i64 = 1 << 16;

/// What the rest of the capture knows of a connection's ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) id: FlowId,
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    /// The last moment of the capture, or that at which the flow was forgotten.
    pub(crate) now: Stamp,
    /// Its packets went round in a routing loop, or an ICMP error answered them: that is the deeper truth.
    pub(crate) explained: bool,
    /// The server's address answered something else in the capture.
    pub(crate) host_heard: bool,
    /// The very service answered other clients while this one asked.
    pub(crate) service_answered: bool,
    /// Hops to the server, as its other packets tell.
    pub(crate) server_hops: Option<u8>,
    /// The conversation in it was cut in the middle of a message.
    pub(crate) message_cut: bool,
    /// The conversation in it knows where messages end.
    pub(crate) messages_known: bool,
    /// Which protocol is spoken is not known, because the capture cut that off.
    pub(crate) unreadable: bool,
}

impl About {
    fn party(&self, side: Side) -> Party {
        match side {
            Side::Client => Party::Host(self.client.ip()),
            Side::Server => Party::Service(self.server),
        }
    }
}

/// The hops that a packet has made, from the nearest usual TTL above: 64, 128 or 255.
pub(crate) const fn hops(ttl: u8) -> u8 {
    let start: u8 = if ttl <= 64 {
        64
    } else if ttl <= 128 {
        128
    } else {
        255
    };
    start - ttl
}

/// A rule and what it says by itself.
struct Rule {
    name: &'static str,
    weight: Weight,
    layer: Layer,
    cause: Option<&'static str>,
}

const fn rule(name: &'static str, weight: Weight, layer: Layer, cause: Option<&'static str>) -> Rule {
    Rule { name, weight, layer, cause }
}

struct Report<'a> {
    tcp: &'a Tcp,
    about: &'a About,
    findings: Vec<Finding>,
}

/// The findings of a connection that is over.
pub(crate) fn findings(tcp: &Tcp, about: &About) -> Vec<Finding> {
    let mut report = Report { tcp, about, findings: Vec::new() };
    report.opening();
    report.handshake();
    for side in [Side::Client, Side::Server] {
        let before = report.findings.len();
        report.vanished(side);
        report.path(side);
        let path_told = report.findings.len() > before;
        report.loss(side, path_told);
        report.remarks(side);
        report.windows(side);
        report.keep_alives(side);
    }
    report.reset();
    report.findings
}

/// A part of what there is to tell, which may be certain before the connection is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Opening,
    Reset,
    Path(Side),
    Window(Side),
}

/// What of it can be told already: faults and warnings.
pub(crate) fn so_far(tcp: &Tcp, about: &About, part: Part) -> Vec<Finding> {
    let mut report = Report { tcp, about, findings: Vec::new() };
    match part {
        Part::Opening => report.opening(),
        Part::Reset => report.reset(),
        Part::Path(side) => report.path(side),
        Part::Window(side) => report.windows(side),
    }
    report.findings.retain(|finding| finding.weight >= Weight::Warning);
    report.findings
}

impl Report<'_> {
    fn add(&mut self, rule: Rule, blames: Option<Party>, cited: Cited, times: (Stamp, Stamp), text: String, value: Option<f64>) {
        let (layer, cause, flow) = (Some(rule.layer), rule.cause, Some(self.about.id));
        self.findings.push(Finding { layer, cause, flow, blames, value, ..Finding::of(rule.name, rule.weight, times, cited, text) });
    }

    fn at(&mut self, rule: Rule, blames: Option<Party>, seen: Seen, text: String, value: Option<f64>) {
        self.add(rule, blames, Cited::one(PacketNo(seen.packet)), (seen.at(), seen.at()), text, value);
    }

    fn tallied(&mut self, rule: Rule, blames: Option<Party>, tally: &Tally, text: String, value: Option<f64>) {
        self.add(rule, blames, tally.cited.clone(), (tally.first, tally.last), text, value);
    }

    /// A SYN that came to nothing.
    fn opening(&mut self) {
        let Some(syn) = self.tcp.handshake.syn else { return };
        let server = self.about.server;
        if let Some(reset) = self.tcp.reset().filter(|_| self.tcp.refused) {
            let forged = self.about.server_hops.is_some_and(|usual| usual.abs_diff(hops(reset.ttl)) >= 2);
            let after = reset.seen.at().ms_since(syn.at());
            if forged {
                let text =
                    format!("a RST in the name of {server} refused the SYN, but came from another distance than the host's other packets");
                let rule = rule("tcp.rst-forged", Weight::Fault, Layer::L4, Some("l4.firewall-reject"));
                return self.at(rule, Some(self.about.party(Side::Server)), reset.seen, text, Some(f64::from(reset.ttl)));
            }
            let rule = rule("tcp.syn-refused", Weight::Fault, Layer::L4, Some("l4.port-closed"));
            let shown = if after < 0.1 { format!("{after:.3}") } else { format!("{after:.1}") };
            let text = format!("{server} refused the SYN with RST after {shown} ms");
            return self.at(rule, Some(self.about.party(Side::Server)), reset.seen, text, Some(after));
        }
        // A damaged SYN is dropped, not unanswered.
        let damaged = self.tcp.tallies.of(Sign::BadChecksum, Side::Client).is_some();
        if !self.tcp.is_attempt() || self.tcp.reset().is_some() || self.about.explained || damaged {
            return;
        }
        let again = self.tcp.tallies.of(Sign::SynAgain, Side::Client);
        let waited = self.about.now.ms_since(syn.at());
        if again.is_none() && waited < SYN_PATIENCE_MS {
            return;
        }
        let cause = match (self.about.service_answered, self.about.host_heard) {
            (true, _) => Some("l4.accept-queue-full"),
            (false, true) => Some("l4.port-filtered"),
            (false, false) => None,
        };
        let mut cited = Cited::one(PacketNo(syn.packet));
        again.iter().flat_map(|tally| &tally.cited.packets).for_each(|number| cited.add(PacketNo(*number)));
        cited.count = 1 + again.map_or(0, |tally| tally.cited.count);
        let known = match (self.about.service_answered, self.about.host_heard) {
            (true, _) => "; others got answers from it meanwhile",
            (false, true) => "; the host answers elsewhere",
            (false, false) => "; nothing was heard of the host",
        };
        let text = format!("{} SYNs to {server} got no answer in {:.1} s{known}", cited.count, waited / 1e3);
        let last = again.map_or(syn.at(), |tally| tally.last);
        let rule = rule("tcp.syn-unanswered", Weight::Fault, Layer::L4, cause);
        self.add(rule, Some(self.about.party(Side::Server)), cited, (syn.at(), last), text, Some(waited));
    }

    /// Handshakes that took more than one try, or were never completed.
    fn handshake(&mut self) {
        let handshake = self.tcp.handshake;
        if let Some(seen) = self.tcp.fast_open_ignored.as_deref() {
            let rule = rule("tcp.tfo-ignored", Weight::Note, Layer::L4, None);
            self.at(
                rule,
                None,
                *seen,
                "the server did not take the data that came with the SYN; the client sent it once more".to_owned(),
                None,
            );
        }
        let Some(answer) = handshake.syn_ack else { return };
        if let (Some(syn), Some(again)) = (handshake.syn, self.tcp.tallies.of(Sign::SynAgain, Side::Client)) {
            let took = answer.at().ms_since(syn.at());
            let text = if again.first > answer.at() {
                let count = again.cited.count;
                format!(
                    "the SYN was answered after {took:.1} ms and yet sent {count} times more: its sender, or that host's firewall, did not take the answer"
                )
            } else {
                format!("the SYN was sent {} times before it was answered: the handshake took {took:.0} ms longer", again.cited.count + 1)
            };
            self.tallied(rule("tcp.syn-retransmit", Weight::Warning, Layer::L4, None), None, again, text, Some(took));
        }
        if let Some(again) = self.tcp.tallies.of(Sign::SynAckAgain, Side::Server) {
            let after_ack = self.tcp.syn_acks_after_ack;
            let (cause, text) = if after_ack >= 2 {
                let text = format!(
                    "{after_ack} SYN-ACKs came again after the client's ACK: the server dropped it, as a full accept queue makes it do"
                );
                (Some("l4.accept-queue-full"), text)
            } else {
                (
                    None,
                    format!("{} SYN-ACKs were sent again: the client's ACK did not get through, or the client is gone", again.cited.count),
                )
            };
            self.tallied(rule("tcp.synack-retransmit", Weight::Warning, Layer::L4, cause), None, again, text, None);
        }
        if self.tcp.syns_after_answer > 0 && handshake.ack.is_none() && self.tcp.reset().is_none() && self.tcp.is_handshake_only() {
            return self.unheard(answer);
        }
        if handshake.ack.is_none() && self.tcp.reset().is_none() && handshake.syn.is_some() {
            let rule = rule("tcp.handshake-incomplete", Weight::Note, Layer::L4, None);
            self.at(rule, None, answer, "SYN and SYN-ACK, but no ACK".to_owned(), None);
        }
    }

    /// The answer went by, and its client asks on as if it had not: it does not hear it.
    fn unheard(&mut self, answer: Seen) {
        let (Some(syn), Some(again)) = (self.tcp.handshake.syn, self.tcp.tallies.of(Sign::SynAgain, Side::Client)) else { return };
        let mut cited = Cited::one(PacketNo(syn.packet));
        cited.add(PacketNo(answer.packet));
        again.cited.packets.iter().for_each(|packet| cited.add(PacketNo(*packet)));
        let text = format!(
            "{} answered the SYN, and {} sent it again {} times as if there were no answer",
            self.about.server,
            self.about.client.ip(),
            self.tcp.syns_after_answer
        );
        let rule = rule("tcp.synack-unheard", Weight::Fault, Layer::L4, None);
        self.add(rule, Some(self.about.party(Side::Server)), cited, (syn.at(), again.last), text, None);
    }

    /// Large segments of a side that never came.
    fn vanished(&mut self, side: Side) {
        let Some(vanished) = self.tcp.vanished(side, self.about.now).filter(|_| !self.about.explained) else { return };
        let cause = (!vanished.in_silence).then_some("l3.pmtu-blackhole");
        let rule = rule("ip.pmtu-hole", Weight::Fault, Layer::L3, cause);
        let party = Some(self.about.party(Side::Server));
        self.add(rule, party, vanished.cited, (vanished.since, vanished.until), vanished.text, Some(vanished.bytes));
    }

    /// A direction in which nothing gets through any more.
    fn path(&mut self, side: Side) {
        let (half, peer) = (self.tcp.half(side), self.tcp.half(side.other()));
        let Some(timeouts) = self.tcp.tallies.of(Sign::Timeout, side).or(self.tcp.tallies.of(Sign::TailProbe, side)) else { return };
        let trouble = half.trouble();
        // Who has said FIN may be gone: nobody waits for what is sent to it.
        let awaited = peer.fin_end.is_none() && !self.about.explained && self.tcp.one_sided().is_none();
        let dead = trouble.timeouts_in_a_row >= SILENT_AFTER && !half.all_acked_known() && awaited;
        if self.tcp.is_too_large(side) {
            let rule = rule("ip.pmtu-blackhole", Weight::Fault, Layer::L3, Some("l3.pmtu-blackhole"));
            let ignored = if self.tcp.ignores_too_big(side) { "; a router's complaint does not reach the sender" } else { "" };
            let text = format!(
                "segments of {} bytes that must not be fragmented were never acknowledged, while the peer went on and none larger than {} \
                 was{ignored}",
                trouble.stuck_len, half.largest_acked
            );
            return self.tallied(rule, None, timeouts, text, Some(f64::from(trouble.stuck_len)));
        }
        if !dead {
            return;
        }
        let waited = timeouts.last.ms_since(half.last_progress(timeouts.first));
        if let Some(idle) = self.tcp.after_idle.as_deref().filter(|idle| idle.side == side && trouble.timeouts_in_a_row >= DEAD_AFTER) {
            let rule = rule("tcp.idle-blackhole", Weight::Fault, Layer::L4, Some("l4.nat-idle-timeout"));
            let text = format!(
                "data after {:.1} s of silence was sent {} times and never acknowledged",
                idle.idle_ms / 1e3,
                trouble.timeouts_in_a_row + 1
            );
            return self.tallied(rule, None, timeouts, text, Some(idle.idle_ms));
        }
        let dead_long = trouble.timeouts_in_a_row >= DEAD_AFTER || waited >= DEAD_MS;
        let weight = if dead_long { Weight::Fault } else { Weight::Warning };
        let rule = rule("tcp.rto", weight, Layer::L4, None);
        let text =
            format!("the same bytes were sent {} times over {:.1} s and never acknowledged", trouble.timeouts_in_a_row + 1, waited / 1e3);
        self.tallied(rule, Some(self.about.party(side.other())), timeouts, text, Some(waited));
    }

    /// Loss that was repaired.
    fn loss(&mut self, side: Side, path_told: bool) {
        let half = self.tcp.half(side);
        let Some(trouble) = half.trouble.as_deref() else { return };
        let repairs = trouble.counts.retransmits.fast + trouble.counts.retransmits.timeout;
        let percent = f64::from(repairs) * 100.0 / (half.data_segments.max(1) as f64);
        let one_sided = self.tcp.one_sided().is_some();
        // Segments too large for the path are sent again in smaller ones: that is how its size is found (RFC 1191).
        let discovery = self.tcp.frag_needed.is_some();
        let gone = self.tcp.half(side.other()).fin_end.is_some() && !half.all_acked_known();
        let heavy = repairs >= LOSS_WARNING_FROM && percent >= LOSS_WARNING_PERCENT && !(one_sided || discovery || gone);
        let (weight, cause) = if heavy { (Weight::Warning, Some("l4.retransmissions")) } else { (Weight::Note, None) };
        let place = match (trouble.counts.lost_before, trouble.counts.lost_after) {
            (0, 0) => "",
            (_, 0) => ", lost before the point of capture",
            (0, _) => ", lost behind the point of capture",
            (_, _) => ", lost on both sides of the point of capture",
        };
        for (sign, name, words) in
            [(Sign::Fast, "tcp.fast-retx", "at the receiver's request"), (Sign::Timeout, "tcp.rto", "after a timeout")]
        {
            let told = sign == Sign::Timeout && path_told;
            let Some(tally) = self.tcp.tallies.of(sign, side).filter(|_| !told) else { continue };
            let count = tally.cited.count;
            let text = format!("{count} of {} segments sent again {words}{place} ({percent:.1} % repaired)", half.data_segments);
            self.tallied(rule(name, weight, Layer::L4, cause), None, tally, text, Some(percent));
        }
    }

    /// What is worth knowing and no fault.
    fn remarks(&mut self, side: Side) {
        const REMARKS: [(Sign, &str, &str); 6] = [
            (Sign::TailProbe, "tcp.tlp", "tail loss probes"),
            (Sign::Spurious, "tcp.spurious", "segments sent again although they had arrived"),
            (Sign::OutOfOrder, "tcp.ooo", "segments in another order than sent"),
            (Sign::DupAck, "tcp.dup-ack", "duplicate ACKs"),
            (Sign::FinAgain, "tcp.fin-retransmit", "FINs sent again"),
            (Sign::WindowFull, "tcp.window-full", "segments filled the receiver's window"),
        ];
        for (sign, name, words) in REMARKS {
            let Some(tally) = self.tcp.tallies.of(sign, side) else { continue };
            let text = format!("{} {words}", tally.cited.count);
            self.tallied(rule(name, Weight::Note, Layer::L4, None), None, tally, text, Some(tally.cited.count as f64));
        }
        self.checksums(side);
    }

    fn checksums(&mut self, side: Side) {
        let Some(tally) = self.tcp.tallies.of(Sign::BadChecksum, side) else { return };
        // Sent again: the receiver did drop it.
        let sure = self.tcp.half(side).trouble().counts.bad_checksums > 0;
        let (weight, cause) = if sure { (Weight::Warning, Some("l1.bit-errors")) } else { (Weight::Note, None) };
        let text = format!("{} segments with a wrong checksum, not acknowledged: a receiver drops them", tally.cited.count);
        let layer = if sure { Layer::L1 } else { Layer::L4 };
        self.tallied(rule("tcp.bad-checksum", weight, layer, cause), None, tally, text, None);
    }

    fn windows(&mut self, side: Side) {
        let trouble = self.tcp.half(side).trouble();
        let Some(tally) = self.tcp.tallies.of(Sign::ZeroWindow, side) else { return };
        let open_since = trouble.zero_since;
        let stuck_ms = open_since.map_or(0.0, |since| self.tcp.last.unwrap_or(since).ms_since(since));
        let total_ms = trouble.counts.zero_window_ms + stuck_ms;
        let probes = self.tcp.half(side.other()).trouble().counts.window_probes;
        let over = self.tcp.is_over() && self.tcp.reset().is_none();
        let stuck = open_since.is_some() && !over && (stuck_ms >= ZERO_WINDOW_FAULT_MS || probes >= 3);
        let weight = match (stuck, total_ms >= ZERO_WINDOW_WARNING_MS) {
            (true, _) => Weight::Fault,
            (false, true) => Weight::Warning,
            (false, false) => Weight::Note,
        };
        let cause = (weight > Weight::Note).then_some("l4.zero-window");
        let text = if stuck {
            format!("the receiver closed its window and did not open it again in {:.1} s ({probes} probes)", stuck_ms / 1e3)
        } else {
            format!("the receiver closed its window {} times, {total_ms:.0} ms in all", trouble.counts.zero_windows)
        };
        self.tallied(rule("tcp.zero-window", weight, Layer::L4, cause), Some(self.about.party(side)), tally, text, Some(total_ms));
    }

    fn keep_alives(&mut self, side: Side) {
        let trouble = self.tcp.half(side).trouble();
        let Some(tally) = self.tcp.tallies.of(Sign::KeepAlive, side) else { return };
        if trouble.keep_alives_open >= DEAD_AFTER && self.tcp.one_sided().is_none() {
            let rule = rule("tcp.keepalive-dead", Weight::Fault, Layer::L4, None);
            let text = format!("{} keep-alives in a row got no answer", trouble.keep_alives_open);
            return self.tallied(rule, Some(self.about.party(side.other())), tally, text, Some(f64::from(trouble.keep_alives_open)));
        }
        let text = format!("{} keep-alives, {} answered", trouble.counts.keep_alives, trouble.counts.keep_alives_answered);
        self.tallied(rule("tcp.keepalive", Weight::Note, Layer::L4, None), None, tally, text, None);
    }

    /// A reset of an established connection.
    fn reset(&mut self) {
        let Some((reset, at)) = self.tcp.reset.as_deref() else { return };
        if self.tcp.refused || !self.tcp.is_established() {
            return;
        }
        let who = match reset.by {
            Side::Client => "client",
            Side::Server => "server",
        };
        let party = Some(self.about.party(reset.by));
        // Who has said FIN is gone, and resets whatever still comes.
        if let Some(idle) = at.after_idle.filter(|_| self.tcp.half(reset.by).fin_end.is_none()) {
            let rule = rule("tcp.idle-rst", Weight::Fault, Layer::L4, Some("l4.nat-idle-timeout"));
            let text = format!("data after {:.1} s of silence was answered by RST", idle.idle_ms / 1e3);
            let mut cited = Cited::one(PacketNo(idle.seen.packet));
            cited.add(PacketNo(reset.seen.packet));
            self.add(rule, party, cited, (idle.seen.at(), reset.seen.at()), text, Some(idle.idle_ms));
            return;
        }
        if let Some(text) = forged(reset) {
            let rule = rule("tcp.rst-forged", Weight::Warning, Layer::L4, Some("l4.reset-mid-stream"));
            return self.at(rule, None, reset.seen, text, Some(f64::from(reset.ttl)));
        }
        let cut_short = reset.by == Side::Server
            && !at.closing
            && (self.about.message_cut || (at.unacked > 0 && !self.about.messages_known && !self.about.unreadable));
        if cut_short {
            let text = format!("the server reset the connection in the middle of its answer, with {} bytes not acknowledged", at.unacked);
            let rule = rule("tcp.rst-mid-response", Weight::Fault, Layer::L4, Some("l4.reset-mid-stream"));
            return self.at(rule, party, reset.seen, text, None);
        }
        let answered = self.tcp.half(Side::Server).data_segments > 0;
        // A connection that was used before and is reset at the next question: the conversation in it tells of that.
        let reused = answered && (self.about.messages_known || self.about.unreadable);
        // Who takes a stream and says nothing was not asked anything.
        let stream = !answered && !self.about.messages_known && self.tcp.half(Side::Client).una.is_some_and(|una| una >= STREAM);
        if reset.by == Side::Server && at.question_open && !at.closing && !reused && !stream {
            let (layer, cause) = match answered {
                true => (Layer::L4, Some("l4.reset-mid-stream")),
                false => (Layer::L5, Some("l5.closed-without-answer").filter(|_| !self.about.unreadable)),
            };
            let text = format!("the server reset the connection {:.0} ms after a question, without an answer", at.quiet_ms);
            return self.at(rule("tcp.reset", Weight::Fault, layer, cause), party, reset.seen, text, Some(at.quiet_ms));
        }
        let text = match self.tcp.has_data() {
            true => format!("reset by the {who}, {:.0} ms after the last data", at.quiet_ms),
            false => format!("reset by the {who} before any data"),
        };
        self.at(rule("tcp.reset", Weight::Note, Layer::L4, None), party, reset.seen, text, Some(at.quiet_ms));
    }
}

/// A RST that made another number of hops than the packets of the host whose name it bears.
fn forged(reset: &Reset) -> Option<String> {
    // Who searches the path sends with fewer hops on purpose, and resets with all.
    let usual = reset.usual_ttl.filter(|ttl| *ttl >= SEARCHING_TTL)?;
    let apart = hops(usual).abs_diff(hops(reset.ttl));
    (apart >= 2).then(|| format!("a RST with TTL {}, while that side's other packets have TTL {usual}: another host sent it", reset.ttl))
}

impl Half {
    fn all_acked_known(&self) -> bool {
        self.una.is_some_and(|una| una >= self.nxt)
    }

    /// When the bytes that are stuck were first sent, as far as that is known.
    fn last_progress(&self, first_again: Stamp) -> Stamp {
        if self.last_sent < first_again { self.last_sent } else { first_again }
    }
}

impl Tcp {
    fn half(&self, side: Side) -> &Half {
        self.halves.of(side)
    }
}
