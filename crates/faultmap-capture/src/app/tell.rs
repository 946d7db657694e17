//! How a conversation says what it found: one form for the findings of all protocols, and what an answer that never came means.

use super::{Below, End, Ends, Sink, text};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;

/// An answer that took its server so long is worth a warning, in milliseconds: a person notices (Nielsen 1993 names 1 s as the limit of an
/// uninterrupted thought), and no round trip on earth explains it.
pub(super) const SLOW_MS: f64 = 1000.0;
/// A silence this long, with the question acknowledged, is a service that does not answer, in milliseconds. The usual limits of clients begin here.
pub(super) const MUTE_MS: f64 = 10_000.0;
/// So long without an answer at the end of a capture is worth a word, in milliseconds.
const WAITING_MS: f64 = 3000.0;

/// The rule of a proxy that says nothing to the request for a tunnel: it may be mute itself, or wait for the target.
pub(super) const TUNNEL_UNANSWERED: &str = "proxy.tunnel-unanswered";

/// The rule of an answer that broke off in its middle; its value is the silence before, in milliseconds.
pub(crate) const CUT_SHORT: &str = "http.truncated-body";
/// The rule of a session that the server's side ended without a word of goodbye; its value is the silence before, in milliseconds.
pub(crate) const CUT_OFF: &str = "ws.cut-off";

/// The rule of a connection that the server ended with its first answer, though the client would have kept it; its value is what a new one costs, in milliseconds.
pub(crate) const CLOSES: &str = "http.closes";

/// The last finding is of a question for a tunnel: what it means is about the proxy.
pub(super) fn of_tunnel(closed: &str, sink: &mut Sink) {
    let Some(finding) = sink.findings.last_mut() else { return };
    if finding.rule == TUNNEL_UNANSWERED {
        (finding.layer, finding.cause) = (Some(Layer::L5), None);
    } else if finding.rule == closed {
        finding.cause = Some("l5.proxy-refused");
    }
}

/// What was found in a tunnel from `told` on says through which it was, and to whom.
pub(super) fn through(target: &str, told: usize, sink: &mut Sink) {
    for finding in sink.findings.iter_mut().skip(told).filter(|finding| !finding.text.contains("(through the proxy")) {
        finding.text.push_str(&format!(" (through the proxy, to {target})"));
    }
}

/// A moment, and the packet of that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) at: Stamp,
    pub(crate) packet: PacketNo,
}

impl From<&super::Chunk<'_>> for Mark {
    fn from(chunk: &super::Chunk<'_>) -> Self {
        Self { at: chunk.at, packet: chunk.packet }
    }
}

/// A finding of one packet.
pub(super) fn tell(rule: &'static str, weight: Weight, layer: Layer, mark: Mark, text: String) -> Finding {
    Finding { layer: Some(layer), ..Finding::of(rule, weight, (mark.at, mark.at), Cited::one(mark.packet), text) }
}

impl Finding {
    /// With the cause that it points to.
    pub(super) fn for_cause(mut self, cause: impl Into<Option<&'static str>>) -> Self {
        self.cause = cause.into();
        self
    }

    /// With who is to blame.
    pub(super) fn on(mut self, party: Party) -> Self {
        self.blames = Some(party);
        self
    }

    /// With its figure.
    pub(super) fn worth(mut self, value: impl Into<f64>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// With one more packet that shows it.
    pub(super) fn and(mut self, mark: Mark) -> Self {
        if !self.cited.packets.contains(&mark.packet.0) {
            self.cited.add(mark.packet);
            self.cited.packets.sort_unstable();
        }
        self.first = self.first.min(mark.at);
        self.last = self.last.max(mark.at);
        self
    }
}

/// The names of the rules that every protocol of questions and answers has.
#[derive(Debug)]
pub(super) struct Rules {
    /// An answer that took its server long.
    pub(super) think: &'static str,
    /// A question, and silence.
    pub(super) unanswered: &'static str,
    /// A question, and the end of the connection.
    pub(super) closed: &'static str,
}

/// A question that has no answer yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open<'a> {
    /// The question in short.
    pub(super) question: &'a str,
    /// Its first byte.
    pub(super) asked: Mark,
    /// Its last byte, if that came.
    pub(super) done: Option<Stamp>,
    /// Earlier questions on this connection were answered.
    pub(super) reused: bool,
}

impl Rules {
    /// Tells of an answer whose server thought long.
    pub(super) fn thought(&self, ends: &Ends, question: &str, think_ms: f64, asked: Mark, answered: Mark, sink: &mut Sink) {
        if think_ms >= SLOW_MS {
            let text = format!("{question}: the server took {} to answer, beyond the network's time", text::time(think_ms));
            let finding = tell(self.think, Weight::Warning, Layer::L7, answered, text).and(asked);
            sink.findings.push(finding.for_cause("l7.service-slow").on(ends.service()).worth(think_ms));
        }
    }

    /// Tells what it means that a question was not answered when its flow ended.
    pub(super) fn unanswered(&self, ends: &Ends, open: &Open<'_>, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let asked = open.done.unwrap_or(open.asked.at);
        // What was not captured, or could not be read (it waits behind a hole, or its beginning was missed), may be the answer.
        let unread = self.answers_in_turn() && below.server_spoke.is_some_and(|spoke| spoke > asked);
        if below.one_sided || unread {
            return;
        }
        let waited = at.ms_since(asked);
        let (question, long) = (open.question, text::time(waited));
        let ended = match how {
            End::Reset(side) | End::HalfClosed(side) => Some(side),
            End::Closed => Some(below.first_fin.unwrap_or(Side::Server)),
            End::Idle | End::Cut => None,
        };
        let finding = match ended {
            Some(Side::Server) => self.hung_up(open, how, &long),
            // The client went: because it was told to, or because it had waited long enough.
            Some(Side::Client) if waited < WAITING_MS => return,
            Some(Side::Client) => {
                let weight = if waited >= SLOW_MS * 5.0 { Weight::Fault } else { Weight::Warning };
                let text = format!("{question}: no answer for {long}, then the client gave up");
                tell(self.unanswered, weight, Layer::L7, open.asked, text).for_cause("l7.service-mute")
            }
            // What no ACK covers may never have arrived: that is for the flow to tell.
            None if open.done.is_none() || below.question_acked_ms.is_none() || waited < WAITING_MS => return,
            None => {
                let weight = if waited >= MUTE_MS { Weight::Fault } else { Weight::Warning };
                let text = format!("{question}: received by the server's host, and no answer for {long}");
                tell(self.unanswered, weight, Layer::L7, open.asked, text).for_cause("l7.service-mute")
            }
        };
        sink.findings.push(finding.on(ends.service()).worth(waited));
    }

    /// Whether bytes of the server after a question are its answer: several conversations on one connection, and signs of life, are not.
    fn answers_in_turn(&self) -> bool {
        !matches!(self.unanswered, "h2.unanswered" | "grpc.unanswered" | "amqp.unanswered" | "mqtt.unanswered")
    }

    fn hung_up(&self, open: &Open<'_>, how: End, long: &str) -> Finding {
        let question = open.question;
        let does = if matches!(how, End::Reset(_)) { "reset" } else { "closed" };
        if open.reused {
            // RFC 9112 §9.3.1: a server may close a persistent connection at any time; clients repeat what is idempotent.
            let text = format!("{question}: the connection, used before, was {does} by the server in place of an answer ({long})");
            return tell(self.closed, Weight::Warning, Layer::L5, open.asked, text).for_cause("l5.keepalive-race");
        }
        let text = format!("{question}: the connection was {does} by the server without an answer ({long})");
        tell(self.closed, Weight::Fault, Layer::L5, open.asked, text).for_cause("l5.closed-without-answer")
    }
}
