//! Message brokers: MQTT (OASIS MQTT 3.1.1 and 5) as far as its login, and AMQP 0-9-1 as far as its errors. It keeps no topic, no message and no password.
//!
//! Memory: 256 bytes of one message in each direction.

use super::gather::keep;
use super::packets::{Cursor, Packets, Step};
use super::pairing::Pairing;
use super::tell::{Mark, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Sink, text};
use crate::finding::{Finding, Weight};
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

pub(super) const MQTT_RULES: Rules =
    Rules { think: "mqtt.server-think", unanswered: "mqtt.unanswered", closed: "mqtt.closed-without-answer" };
pub(super) const AMQP_RULES: Rules =
    Rules { think: "amqp.server-think", unanswered: "amqp.unanswered", closed: "amqp.closed-without-answer" };
const MOST_KEPT: usize = 256;
const LONGEST_FRAME: u32 = 1 << 27;

/// A connection that speaks MQTT.
pub(super) struct Mqtt {
    ends: Ends,
    halves: PerSide<Fixed>,
    pairing: Pairing,
    version: u8,
    lost: bool,
}

/// The fixed header of MQTT has a length of one to four bytes (3.1.1 §2.2.3).
#[derive(Default)]
struct Fixed {
    header: Vec<u8>,
    left: u32,
    inside: bool,
    kept: Vec<u8>,
    began: Mark,
}

impl Fixed {
    /// Takes what it can from the front of `bytes`: the type of a whole message, or what is wrong.
    fn step<'a>(&mut self, bytes: &'a [u8], mark: Mark) -> (Result<Option<u8>, ()>, &'a [u8]) {
        let mut rest = bytes;
        while !self.inside {
            let Some((byte, tail)) = rest.split_first() else { return (Ok(None), rest) };
            rest = tail;
            if self.header.is_empty() {
                self.began = mark;
            }
            self.header.push(*byte);
            match self.header.len() {
                1 => {}
                _ if byte & 0x80 == 0 => {
                    let digits = self.header.get(1..).unwrap_or_default().iter().rev();
                    self.left = digits.fold(0, |length, digit| (length << 7) | u32::from(digit & 0x7f));
                    self.kept.clear();
                    self.inside = true;
                }
                5.. => return (Err(()), rest),
                _ => {}
            }
        }
        let (part, tail) = rest.split_at(rest.len().min(self.left as usize));
        keep(&mut self.kept, part, MOST_KEPT);
        self.left -= part.len() as u32;
        if self.left > 0 {
            return (Ok(None), tail);
        }
        self.inside = false;
        let kind = self.header.first().map(|first| first >> 4);
        self.header.clear();
        (Ok(kind), tail)
    }
}

impl Mqtt {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        let pairing = Pairing::new("mqtt", &MQTT_RULES, ends);
        Self { ends, halves: PerSide::default(), pairing, version: 4, lost: false }
    }

    fn message(&mut self, from: Side, kind: u8, mark: Mark, below: &Below, sink: &mut Sink) {
        let half = self.halves.of(from);
        let (kept, began) = (&half.kept, half.began);
        match (from, kind) {
            (Side::Client, 1) => {
                let mut cursor = Cursor(kept);
                let name = cursor.u16().and_then(|len| cursor.take(usize::from(len)));
                self.version = name.and_then(|_| cursor.byte()).unwrap_or(4);
                self.pairing.ask("CONNECT".to_owned(), began, Some(mark.at), false);
            }
            (Side::Client, 12) if self.pairing.is_empty() => self.pairing.ask("PINGREQ".to_owned(), began, Some(mark.at), false),
            (Side::Server, 2) => {
                let code = kept.get(1).copied().unwrap_or_default();
                self.pairing.began(began, below, sink);
                self.pairing.finish(format!("CONNACK {code}"), code == 0, mark.at, sink);
                self.refused("mqtt.connack", code, mark, sink);
            }
            (Side::Server, 13) => {
                self.pairing.began(began, below, sink);
                self.pairing.finish("PINGRESP".to_owned(), true, mark.at, sink);
            }
            (Side::Server, 14) if self.version >= 5 => {
                let code = kept.first().copied().unwrap_or_default();
                if code >= 0x80 {
                    self.refused("mqtt.disconnect", code, mark, sink);
                }
            }
            _ => {}
        }
    }

    fn refused(&self, rule: &'static str, code: u8, mark: Mark, sink: &mut Sink) {
        let Some((weight, cause, text)) = refusal(code) else { return };
        sink.findings.push(tell(rule, weight, Layer::L7, mark, text).for_cause(cause).on(self.ends.service()).worth(code));
    }
}

/// What a code of CONNACK or DISCONNECT weighs, its cause and what it says; `None` for 0.
pub(super) fn refusal(code: u8) -> Option<(Weight, Option<&'static str>, String)> {
    // Reason codes of MQTT 5, as return codes of 3.1.1.
    let old = match code {
        0 => return None,
        0x84 => 1,
        0x85 => 2,
        0x88 | 0x89 | 0x8b => 3,
        0x86 | 0x8c => 4,
        0x87 | 0x8a => 5,
        other => other,
    };
    let meaning = match old {
        1 => "protocol version not taken",
        2 => "client identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ if code == 0x97 || code == 0x9f => "quota or rate exceeded",
        _ => "refused",
    };
    let cause = match old {
        1 => Some("l7.protocol-mismatch"),
        0x97 | 0x9f => Some("l7.too-many-connections"),
        _ => cause_of_refusal(Spoken::Mqtt, &old.to_string(), "").or(Some("l7.service-error")),
    };
    // Another client with the same identifier took over.
    let weight = if code == 0x8e { Weight::Warning } else { Weight::Fault };
    Some((weight, cause, format!("the broker refuses: {meaning} ({code})")))
}

impl Conversation for Mqtt {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mark = Mark::from(&chunk);
        let mut rest = chunk.bytes;
        while !rest.is_empty() && !self.lost {
            let (step, tail) = self.halves.of_mut(chunk.from).step(rest, mark);
            rest = tail;
            match step {
                Ok(Some(kind)) => self.message(chunk.from, kind, mark, below, sink),
                Ok(None) => {}
                Err(()) => self.lost = true,
            }
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost
    }

    fn gap(&mut self, _from: Side, _missing: u64, _sink: &mut Sink) {
        self.lost = true;
        self.pairing.lose();
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        self.pairing.end(how, at, below, sink);
    }
}

/// A connection that speaks AMQP 0-9-1.
pub(super) struct Amqp {
    ends: Ends,
    halves: PerSide<Packets<7>>,
    marks: PerSide<Mark>,
    /// Bytes of the protocol headers that are still to come, and the server's.
    headers: PerSide<usize>,
    first: Vec<u8>,
    pairing: Pairing,
    /// The client's login, until the server goes on.
    login: Option<Mark>,
    lost: bool,
}

/// What each side may begin with.
pub(super) const AMQP_HEADER: &[u8] = b"AMQP";
/// The same with the version behind it, bytes (0-9-1 §4.2.2).
const AMQP_HEADER_LEN: usize = 8;

impl Amqp {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            halves: PerSide { client: Packets::keeping(MOST_KEPT), server: Packets::keeping(MOST_KEPT) },
            marks: PerSide::default(),
            headers: PerSide { client: AMQP_HEADER_LEN, server: 0 },
            first: Vec::new(),
            pairing: Pairing::new("amqp", &AMQP_RULES, ends),
            login: None,
            lost: false,
        }
    }

    /// The client's protocol header, stepped over; the server sends one only to say which version it takes instead (0-9-1 §4.2.2).
    fn header<'a>(&mut self, from: Side, bytes: &'a [u8], mark: Mark, sink: &mut Sink) -> Option<&'a [u8]> {
        if from == Side::Server && self.first.len() < 4 && self.pairing.answered() == 0 && !self.pairing.is_empty() {
            let room = 4 - self.first.len();
            self.first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            if self.first == AMQP_HEADER {
                let text = "the server answers with a protocol header of its own: it does not take this version of AMQP";
                let finding = tell("amqp.version", Weight::Fault, Layer::L7, mark, text.to_owned());
                sink.findings.push(finding.for_cause("l7.protocol-mismatch").on(self.ends.service()));
                self.pairing.finish("another version".to_owned(), false, mark.at, sink);
                self.lost = true;
                return None;
            }
        }
        let left = self.headers.of_mut(from);
        let skipped = (*left).min(bytes.len());
        if skipped > 0 {
            let began = self.marks.of_mut(from);
            if *left == AMQP_HEADER_LEN {
                *began = mark;
            }
            *left -= skipped;
            if *left == 0 {
                self.pairing.ask("protocol header".to_owned(), *began, Some(mark.at), false);
            }
        }
        bytes.get(skipped..)
    }

    fn method(&mut self, from: Side, mark: Mark, below: &Below, sink: &mut Sink) {
        let mut cursor = Cursor(self.halves.of(from).kept());
        let (Some(class), Some(method)) = (cursor.u16(), cursor.u16()) else { return };
        if (class, method) == (10, 10) && from == Side::Server {
            self.pairing.began(self.marks.server, below, sink);
            self.pairing.finish("Start".to_owned(), true, mark.at, sink);
        }
        match (from, class, method) {
            (Side::Client, 10, 11) => self.login = Some(mark),
            (Side::Server, 10, _) => self.login = None,
            _ => {}
        }
        let (10 | 20, 50 | 40) = (class, method) else { return };
        if (class, method) != (10, 50) && (class, method) != (20, 40) {
            return;
        }
        let Some(code) = cursor.u16() else { return };
        let words =
            cursor.byte().and_then(|len| cursor.take(usize::from(len).min(cursor.0.len()))).map(|words| text::printable(words, 100));
        let words = words.unwrap_or_default();
        if let Some(finding) = self.closed(from, class == 10, code, &words, mark) {
            sink.findings.push(finding);
        }
    }

    fn closed(&self, from: Side, connection: bool, code: u16, words: &str, mark: Mark) -> Option<Finding> {
        let (weight, cause) = closing(connection, code, words)?;
        let what = if connection { "connection" } else { "channel" };
        let who = if from == Side::Client { "the client" } else { "the broker" };
        let finding = tell("amqp.close", weight, Layer::L7, mark, format!("{who} closes the {what}: {code} {words}"));
        Some(finding.for_cause(cause).on(self.ends.party(from)).worth(code))
    }
}

/// What the code of a close weighs, and its cause; `None` for an ordinary one.
pub(super) fn closing(connection: bool, code: u16, words: &str) -> Option<(Weight, Option<&'static str>)> {
    let known = cause_of_refusal(Spoken::Amqp, &code.to_string(), words);
    Some(match code {
        200 => return None,
        320 => (Weight::Fault, known.or(Some("l7.service-starting"))),
        // A queue or an exchange that is not there, or is otherwise: the application's own.
        _ if !connection => (Weight::Warning, known),
        _ => (Weight::Fault, known.or(Some("l7.service-error"))),
    })
}

impl Conversation for Amqp {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mark = Mark::from(&chunk);
        if self.lost {
            return;
        }
        let Some(mut rest) = self.header(chunk.from, chunk.bytes, mark, sink) else { return };
        while !rest.is_empty() && !self.lost {
            let half = self.halves.of_mut(chunk.from);
            if half.at_start() {
                *self.marks.of_mut(chunk.from) = mark;
            }
            let (step, tail) = half.step(rest, |header| {
                let len = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
                ((1..=8).contains(&header[0]) && len < LONGEST_FRAME).then(|| u64::from(len) + 1)
            });
            rest = tail;
            match step {
                Step::Whole(header) if header[0] == 1 => self.method(chunk.from, mark, below, sink),
                Step::Whole(_) | Step::More => {}
                Step::Broken => self.lost = true,
            }
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost
    }

    fn gap(&mut self, from: Side, missing: u64, _sink: &mut Sink) {
        if !self.halves.of_mut(from).skip(missing) {
            self.lost = true;
            self.pairing.lose();
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let by_server = match how {
            End::Reset(side) | End::HalfClosed(side) => side == Side::Server,
            End::Closed => below.first_fin != Some(Side::Client),
            End::Idle | End::Cut => false,
        };
        // 0-9-1 §4.10.2: a broker that does not know Connection.Close before the login is done closes the socket.
        if let Some(login) = self.login.filter(|_| by_server && !self.lost) {
            let text = "the broker closed the connection in answer to the login, as brokers do that refuse it";
            let finding = tell("amqp.login-closed", Weight::Fault, Layer::L7, login, text.to_owned());
            sink.findings.push(finding.for_cause("l7.auth-failed").on(self.ends.service()));
        }
        self.pairing.end(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};

    #[track_caller]
    fn check(port: u16, lines: &[Line<'_>], expect: &[&str], said: &[&str]) {
        let sink = told(port, lines, End::Closed, 9000);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
    }

    #[test]
    fn a_broker_of_mqtt_says_why_it_refuses() {
        let connect: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc";
        check(1883, &[(C, 1, connect), (S, 20, b"\x20\x02\0\0")], &[], &["CONNECT > CONNACK 0"]);
        check(1883, &[(C, 1, connect), (S, 20, b"\x20\x02\0\x05")], &["mqtt.connack fault l7.auth-failed"], &["CONNECT > CONNACK 5"]);
        check(
            1883,
            &[(C, 1, connect), (S, 20, b"\x20\x03\0\x88\0")],
            &["mqtt.connack fault l7.service-starting"],
            &["CONNECT > CONNACK 136"],
        );
    }

    fn method(class: u16, method: u16, rest: &[u8]) -> Vec<u8> {
        let body = [&class.to_be_bytes()[..], &method.to_be_bytes(), rest].concat();
        [&[1, 0, 0][..], &(body.len() as u32).to_be_bytes(), &body, &[0xce]].concat()
    }

    #[test]
    fn a_broker_of_amqp_says_why_it_closes() {
        let hello: &[u8] = b"AMQP\0\0\x09\x01";
        let start = method(10, 10, &[0, 9, 0]);
        let words = b"\x01\x93\x0eACCESS_REFUSED\0\0\0\0";
        let close = method(10, 50, words);
        let all = [(C, 1, hello), (S, 20, &start[..]), (S, 40, &close[..])];
        check(5672, &all, &["amqp.close fault l7.auth-failed"], &["protocol header > Start"]);
        let login = method(10, 11, b"secret");
        let all = [(C, 1, hello), (S, 20, &start[..]), (C, 30, &login[..])];
        check(5672, &all, &["amqp.login-closed fault l7.auth-failed"], &["protocol header > Start"]);
        let tune = method(10, 30, &[0; 8]);
        let all = [(C, 1, hello), (S, 20, &start[..]), (C, 30, &login[..]), (S, 50, &tune[..])];
        check(5672, &all, &[], &["protocol header > Start"]);
        check(
            5672,
            &[(C, 1, hello), (S, 20, b"AMQP\0\x01\0\0")],
            &["amqp.version fault l7.protocol-mismatch"],
            &["protocol header > another version"],
        );
    }
}
