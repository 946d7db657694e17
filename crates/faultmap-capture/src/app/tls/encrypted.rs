//! Questions and answers that cannot be read: who spoke when, and how much, still tells how long a server thought. Small records are left out: alerts, and the frames by which
//! HTTP/2 keeps house.

use crate::app::tell::{Mark, Rules, SLOW_MS, tell};
use crate::app::{Below, End, Ends, Exchange, Sink, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use faultmap_model::Layer;

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

/// What TLS 1.3 adds to a record: its true type and the tag of the cipher.
const SEAL: u16 = 17;
/// The acknowledgement of SETTINGS, a WINDOW_UPDATE, and both in one (RFC 9113 §6.5, §6.9): what HTTP/2 sends beside answers.
const HOUSEKEEPING: [u16; 3] = [9 + SEAL, 13 + SEAL, 22 + SEAL];
/// The first words of a server of HTTP/2 are SETTINGS, of eight values at most as servers send them, and a WINDOW_UPDATE.
const LONGEST_SETTINGS: u16 = 9 + 8 * 6 + 13 + 9 + SEAL;
/// A close_notify.
const GOODBYE: u16 = 2 + SEAL;
/// Records after a question whose lengths are remembered; whoever sends more has answered.
const MOST_LENGTHS: usize = 10;
/// So long a silence is worth a note, in milliseconds.
const SILENT_MS: f64 = 3000.0;

const RULES: Rules = Rules { think: "tls.server-think", unanswered: "tls.unanswered", closed: "tls.closed-without-answer" };

/// The turns of an encrypted conversation.
#[derive(Debug, Default)]
pub(super) struct Turns {
    asked: Option<(Mark, Mark)>,
    /// An answer, or only a ticket.
    perhaps: Option<Mark>,
    tickets: u8,
    answered: u64,
    /// Lengths of the server's records since the question.
    since: Vec<u16>,
    /// Lengths of its records before the first question: tickets, or the words of a server that speaks first.
    before: Vec<u16>,
    /// The client acknowledged SETTINGS: HTTP/2 is spoken, in which the server's first words are SETTINGS, so that what came before was tickets.
    h2: bool,
    /// TLS 1.3: lengths tell what they are, and tickets come as records.
    modern: bool,
}

impl Turns {
    /// A record of the client.
    pub(super) fn client(&mut self, len: u16, mark: Mark, modern: bool, ends: &Ends, below: &Below, sink: &mut Sink) {
        self.modern = modern;
        self.h2 |= modern && len == HOUSEKEEPING[0] && self.before.iter().chain(&self.since).any(|len| *len < ANSWER) && self.answered == 0;
        if len < QUESTION {
            return;
        }
        if let Some(perhaps) = self.perhaps.take() {
            self.answer(perhaps, ends, below, sink);
        }
        match &mut self.asked {
            Some((_, last)) => *last = mark,
            None => {
                self.asked = Some((mark, mark));
                self.since.clear();
            }
        }
    }

    /// What came before the first answer was tickets, for sure: several of one length, or what precedes the SETTINGS of HTTP/2.
    fn sure_of_tickets(&self) -> bool {
        let since = self.since.iter().take_while(|len| (ANSWER..=TICKET).contains(*len));
        let tickets: Vec<u16> = self.before.iter().chain(since).copied().collect();
        self.h2 || (tickets.len() > 1 && tickets.iter().all(|len| (ANSWER..=TICKET).contains(len) && Some(len) == tickets.first()))
    }

    /// Nothing that the server sent since the question can be an answer.
    fn is_silent(&self) -> bool {
        if self.since.len() >= MOST_LENGTHS || self.answered > 0 {
            return false;
        }
        let rest: Vec<u16> = self.since.iter().copied().skip_while(|len| (ANSWER..=TICKET).contains(len)).collect();
        let tickets = self.since.len() - rest.len();
        let rest = rest.strip_suffix(&[GOODBYE]).unwrap_or(&rest);
        match (self.modern, tickets, rest) {
            // Its first word of that length may be an alert: a refusal.
            (_, 0, []) => self.since.is_empty() || !self.before.is_empty(),
            (true, 1.., []) => self.sure_of_tickets(),
            (true, _, [settings, more @ ..]) if self.h2 => {
                *settings <= LONGEST_SETTINGS && more.iter().all(|len| HOUSEKEEPING.contains(len))
            }
            _ => false,
        }
    }

    /// A record of the server; `tickets` if it may send tickets.
    pub(super) fn server(&mut self, len: u16, mark: Mark, tickets: bool, ends: &Ends, below: &Below, sink: &mut Sink) {
        let Some((_, asked)) = self.asked else {
            if self.answered == 0 && self.before.len() < MOST_LENGTHS {
                self.before.push(len);
            }
            return;
        };
        if self.since.len() < MOST_LENGTHS {
            self.since.push(len);
        }
        if len < ANSWER {
            return;
        }
        // Tickets come in one flight, right after the handshake.
        let late = mark.at.ms_since(asked.at) >= SLOW_MS;
        if tickets && self.answered == 0 && len <= TICKET && self.tickets < MOST_TICKETS && !(late && self.sure_of_tickets()) {
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

    /// The end: what may have been an answer was one, unless that cannot be.
    pub(super) fn end(&mut self, (how, at): (End, Stamp), ends: &Ends, below: &Below, sink: &mut Sink) {
        if self.asked.is_some() && self.is_silent() {
            return self.unanswered(how, at, ends, below, sink);
        }
        // One record alone may be a ticket as well as a small answer: nothing is said of it.
        let doubtful = self.modern && matches!(self.since[..], [_] | [_, GOODBYE]);
        if let Some(perhaps) = self.perhaps.take().filter(|_| !doubtful) {
            self.answer(perhaps, ends, below, sink);
        }
    }

    /// A note: a stream of events, or a connection opened in advance, looks the same. Several of them, and not one answer, are the verdict's matter.
    fn unanswered(&mut self, how: End, at: Stamp, ends: &Ends, below: &Below, sink: &mut Sink) {
        let Some((first, last)) = self.asked.take() else { return };
        let by_server = match how {
            End::Reset(side) | End::HalfClosed(side) => side == Side::Server,
            End::Closed => below.first_fin != Some(Side::Client),
            End::Idle | End::Cut => false,
        };
        let waited = if matches!(how, End::Idle | End::Cut) { at } else { below.last_word }.ms_since(last.at);
        let long = text::time(waited);
        let finding = if by_server {
            let text =
                format!("an encrypted request, and the server closed the connection after {long} without a record that could be an answer");
            tell(RULES.closed, Weight::Note, Layer::L5, first, text).for_cause("l5.closed-without-answer")
        } else if waited >= SILENT_MS && below.question_acked_ms.is_some() {
            let text = format!("an encrypted request was received, and for {long} no record came that could be an answer");
            tell(RULES.unanswered, Weight::Note, Layer::L7, first, text).for_cause("l7.service-mute")
        } else {
            return;
        };
        sink.findings.push(finding.and(last).on(ends.service()).worth(waited));
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
            answer: "encrypted answer".to_owned(),
            wait_ms: Some(wait),
            think_ms: Some(think),
            total_ms: Some(answered.at.ms_since(first.at)),
            answered_in: Some(answered.packet.0),
            ok: true,
            ..Exchange::unanswered("tls", "encrypted request".to_owned(), first)
        });
    }
}
