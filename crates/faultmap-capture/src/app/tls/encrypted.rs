//! Questions and answers that cannot be read: who spoke when, and how much, still tells how long a server thought. Small records are left out: alerts, and the frames by which
//! HTTP/2 keeps house.

use crate::app::tell::{Mark, Rules, SLOW_MS};
use crate::app::{Below, Ends, Exchange, Sink};
use crate::finding::Weight;

/// Shortest record of a client that may be a question; SETTINGS, PING and WINDOW_UPDATE of HTTP/2 are shorter.
const QUESTION: u16 = 60;
/// Shortest record of a server that may be an answer.
const ANSWER: u16 = 100;
/// Longest session ticket as servers usually send it, unasked, after the handshake of TLS 1.3.
const TICKET: u16 = 400;
/// Tickets of one handshake.
const MOST_TICKETS: u8 = 4;
/// After so long an answer is an event that the client waited for, not a thought, in milliseconds.
const EVENT_MS: f64 = 60_000.0;

const RULES: Rules = Rules { think: "tls.server-think", unanswered: "tls.unanswered", closed: "tls.closed-without-answer" };

/// The turns of an encrypted conversation.
#[derive(Debug, Default)]
pub(super) struct Turns {
    asked: Option<(Mark, Mark)>,
    /// An answer, or only a ticket.
    perhaps: Option<Mark>,
    tickets: u8,
    answered: u64,
}

impl Turns {
    /// A record of the client.
    pub(super) fn client(&mut self, len: u16, mark: Mark, ends: &Ends, below: &Below, sink: &mut Sink) {
        if len < QUESTION {
            return;
        }
        if let Some(perhaps) = self.perhaps.take() {
            self.answer(perhaps, ends, below, sink);
        }
        match &mut self.asked {
            Some((_, last)) => *last = mark,
            None => self.asked = Some((mark, mark)),
        }
    }

    /// A record of the server; `tickets` if it may send tickets.
    pub(super) fn server(&mut self, len: u16, mark: Mark, tickets: bool, ends: &Ends, below: &Below, sink: &mut Sink) {
        if len < ANSWER || self.asked.is_none() {
            return;
        }
        if tickets && self.answered == 0 && len <= TICKET && self.tickets < MOST_TICKETS {
            self.tickets += 1;
            self.perhaps.get_or_insert(mark);
            return;
        }
        let answer = match self.perhaps.take() {
            Some(perhaps) if mark.at.ms_since(perhaps.at) < SLOW_MS => perhaps,
            _ => mark,
        };
        self.answer(answer, ends, below, sink);
    }

    /// The end: what may have been an answer was one.
    pub(super) fn end(&mut self, ends: &Ends, below: &Below, sink: &mut Sink) {
        if let Some(perhaps) = self.perhaps.take() {
            self.answer(perhaps, ends, below, sink);
        }
    }

    fn answer(&mut self, answered: Mark, ends: &Ends, below: &Below, sink: &mut Sink) {
        let Some((first, last)) = self.asked.take() else { return };
        let wait = answered.at.ms_since(last.at);
        let think = below.think_ms(wait);
        RULES.thought(ends, "an encrypted request", think, last, answered, sink);
        // Later on a connection, or after very long, it may as well be an event that was waited for.
        let event = self.answered > 0 || think >= EVENT_MS;
        let told = sink.findings.last_mut().filter(|finding| event && think >= SLOW_MS && finding.rule == RULES.think);
        if let Some(finding) = told {
            finding.weight = Weight::Note;
        }
        self.answered += 1;
        sink.exchanges.push(Exchange {
            protocol: "tls",
            question: "encrypted request".to_owned(),
            answer: "encrypted answer".to_owned(),
            asked: first.at,
            asked_in: first.packet.0,
            wait_ms: Some(wait),
            think_ms: Some(think),
            total_ms: Some(answered.at.ms_since(first.at)),
            answered_in: Some(answered.packet.0),
            ok: true,
        });
    }
}
