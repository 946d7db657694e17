//! MySQL and MariaDB (MySQL internals, "Client/Server Protocol"): greeting, login, and commands with the time that they took. Errors are told by number. It never keeps a
//! password or the text of a statement.
//!
//! Memory: 256 bytes of one packet in each direction, and the questions of [`Pairing`].

use super::packets::{Cursor, Packets, Step};
use super::pairing::Pairing;
use super::tell::{Mark, Rules, SLOW_MS, tell};
use super::{Below, Chunk, Conversation, End, Ends, Glance, Sink, recognise::Likely, text, tls};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

pub(super) const RULES: Rules =
    Rules { think: "mysql.server-think", unanswered: "mysql.unanswered", closed: "mysql.closed-without-answer" };
const MOST_KEPT: usize = 256;
/// Capabilities of a client.
const COMPRESS: u16 = 0x0020;
const SSL: u16 = 0x0800;
/// Length of a request for TLS: the first part of a login.
const SSL_REQUEST: usize = 32;

/// A connection that speaks MySQL.
pub(super) struct Mysql {
    ends: Ends,
    halves: [Packets<4>; 2],
    marks: [Mark; 2],
    phase: Phase,
    pairing: Pairing,
    /// When the last packet of the answer came, and what it said.
    answer: Option<(Mark, String, bool)>,
    inner: Option<tls::Tls>,
    lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Login,
    Commands,
}

/// The first packet of a server: protocol 10 and a version, or an error.
pub(super) fn greeting(bytes: &[u8], port: u16) -> Likely {
    match *bytes {
        [_, _, 0, 0, 10, first, ..] if first.is_ascii_digit() => Likely::Yes,
        [_, _, 0, 0, 0xff, _, code, ..] if port == 3306 && (3..=19).contains(&code) => Likely::Yes,
        [] => Likely::No,
        [_] | [_, _] | [_, _, 0] | [_, _, 0, 0] | [_, _, 0, 0, 10] => Likely::Maybe,
        [_, _, 0, 0, 0xff] | [_, _, 0, 0, 0xff, _] if port == 3306 => Likely::Maybe,
        _ => Likely::No,
    }
}

fn body(header: &[u8; 4]) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes([header[0], header[1], header[2], 0])))
}

impl Mysql {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            halves: [Packets::keeping(MOST_KEPT), Packets::keeping(MOST_KEPT)],
            marks: [Mark::default(); 2],
            phase: Phase::Greeting,
            pairing: Pairing::new("mysql", &RULES, ends),
            answer: None,
            inner: None,
            lost: false,
        }
    }

    /// The same after its request for TLS: the login follows.
    pub(super) fn secured(ends: Ends) -> Self {
        Self { phase: Phase::Login, ..Self::new(ends) }
    }

    fn server(&mut self, sequence: u8, mark: Mark, below: &Below, sink: &mut Sink) {
        let first = self.halves[1].kept().first().copied();
        if self.phase == Phase::Greeting {
            self.greeted(first, below, sink);
        } else {
            self.pairing.began(self.marks[1], below, sink);
        }
        // Only an error has 0xff in front of a number and a state (rows may begin with any byte, but not be so short and so formed).
        if first == Some(0xff) && (sequence > 0 || self.phase == Phase::Greeting) {
            return self.failed(mark, sink);
        }
        match (self.phase, first) {
            (Phase::Greeting, _) => self.phase = Phase::Login,
            (Phase::Login, Some(0)) => {
                self.pairing.finish("OK".to_owned(), true, mark.at, sink);
                self.phase = Phase::Commands;
            }
            (Phase::Commands, _) => self.answer = Some((mark, "OK".to_owned(), true)),
            _ => {}
        }
    }

    /// A server that looks up the client's name before it greets makes every connection wait.
    fn greeted(&self, first: Option<u8>, below: &Below, sink: &mut Sink) {
        let mark = self.marks[1];
        let waited = below.greeted_after_ms(mark.at).filter(|waited| *waited >= SLOW_MS && first.is_some());
        let Some(waited) = waited else { return };
        let text = format!(
            "the server greeted {} after the connection stood: it may look up the client's name, and get no answer",
            text::time(waited)
        );
        let finding = tell("mysql.greeting-slow", Weight::Warning, Layer::L7, mark, text);
        sink.findings.push(finding.for_cause("l7.service-slow").on(self.ends.service()).worth(waited));
    }

    fn failed(&mut self, mark: Mark, sink: &mut Sink) {
        let mut cursor = Cursor(self.halves[1].kept());
        cursor.byte();
        let Some(number) = cursor.take(2).and_then(|bytes| bytes.first_chunk::<2>()).map(|bytes| u16::from_le_bytes(*bytes)) else {
            return;
        };
        if cursor.0.first() == Some(&b'#') {
            cursor.take(6);
        }
        if !(1000..20_000).contains(&number) || !cursor.0.is_ascii() && std::str::from_utf8(cursor.0).is_err() {
            return;
        }
        let message = text::printable(cursor.0, 120);
        let code = number.to_string();
        let login = self.phase != Phase::Commands || self.pairing.front().is_some_and(|entry| entry.question == "CHANGE_USER");
        let (weight, cause) = judge(login, number, cause_of_refusal(Spoken::Mysql, &code, &message));
        let question = self.pairing.front().map(|entry| format!("{}: ", entry.question)).unwrap_or_default();
        // What is wrong with a statement may quote it.
        let words = if matches!(number, 1062 | 1064 | 1149 | 1366 | 1406 | 1292) { String::new() } else { format!(": {message}") };
        let finding = tell("mysql.error", weight, Layer::L7, mark, format!("{question}ERROR {code}{words}"));
        let finding = finding.for_cause(cause).on(self.ends.service()).worth(number);
        sink.findings.push(match self.pairing.front() {
            Some(entry) => finding.and(entry.asked),
            None => finding,
        });
        self.pairing.finish(format!("ERROR {code}"), false, mark.at, sink);
        self.answer = None;
    }

    fn client(&mut self, sequence: u8, mark: Mark, sink: &mut Sink) {
        let kept = self.halves[0].kept();
        match self.phase {
            Phase::Greeting => self.lost = true,
            Phase::Login => {
                let flags = kept.first_chunk::<2>().map_or(0, |flags| u16::from_le_bytes(*flags));
                let asks = login(flags, kept.len() as u64);
                if sequence == 1 && asks == Login::Tls {
                    self.inner = Some(tls::Tls::secures(tls::Within::Mysql, self.ends));
                    return;
                }
                // Behind a request for TLS the login is the second packet.
                if sequence <= 2 && self.pairing.is_empty() {
                    self.lost = asks == Login::Compressed;
                    self.pairing.ask("login".to_owned(), self.marks[0], Some(mark.at), false);
                } else if let Some(login) = self.pairing.last_mut() {
                    login.done = Some(mark.at);
                }
            }
            Phase::Commands if sequence == 0 => {
                self.settle(sink);
                let Some((command, rest)) = self.halves[0].kept().split_first() else { return };
                if let Some((question, patient)) = question(*command, rest) {
                    self.pairing.ask(question, self.marks[0], Some(mark.at), patient);
                }
            }
            Phase::Commands => {}
        }
    }

    /// The answer to a command is whole when the next command comes.
    fn settle(&mut self, sink: &mut Sink) {
        if let Some((mark, answer, ok)) = self.answer.take() {
            self.pairing.finish(answer, ok, mark.at, sink);
        }
    }
}

/// What the first packet of a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// TLS, before it says who it is.
    Tls,
    /// A conversation in compressed packets, which are not read.
    Compressed,
    /// To log in.
    Plain,
}

/// What it asks for, by its first flags and the length of its body.
pub(super) fn login(flags: u16, len: u64) -> Login {
    match () {
        () if len == SSL_REQUEST as u64 && flags & SSL != 0 => Login::Tls,
        () if flags & COMPRESS != 0 => Login::Compressed,
        () => Login::Plain,
    }
}

/// What an error weighs. A login that is refused and a server that cannot are faults; a statement that cannot be done is the application's own.
pub(super) fn judge(login: bool, number: u16, known: Option<&'static str>) -> (Weight, Option<&'static str>) {
    match (known, number) {
        // Denied within a session: one table, one database.
        (Some("l7.auth-failed"), 1142 | 1044) if !login => (Weight::Warning, known),
        (Some("l7.database-missing"), _) if !login => (Weight::Warning, known),
        (Some(_), _) => (Weight::Fault, known),
        // Disk full, out of memory, table full, crashed table, query interrupted by shutdown, lost connection to a backend.
        (None, 1021 | 1037 | 1041 | 1114 | 1194 | 1195 | 1129 | 2013) => (Weight::Fault, Some("l7.service-error")),
        // Lock wait timeout, deadlock, execution time exceeded.
        (None, 1205 | 3024) => (Weight::Warning, Some("l7.service-slow")),
        (None, _) if login => (Weight::Fault, Some("l7.service-error")),
        (None, _) => (Weight::Warning, None),
    }
}

/// A command in short, and whether it waits by design; `None` for those without an answer.
pub(super) fn question(command: u8, rest: &[u8]) -> Option<(String, bool)> {
    let named = |name: &str| Some((name.to_owned(), false));
    match command {
        1 | 25 | 24 => None,
        2 => named("INIT_DB"),
        3 | 22 => {
            let words = rest.trim_ascii_start();
            let end = words.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(words.len()).min(16);
            let word = String::from_utf8_lossy(words.get(..end).unwrap_or_default()).to_ascii_uppercase();
            Some((if word.is_empty() { "statement".to_owned() } else { word }, false))
        }
        14 => named("PING"),
        17 => named("CHANGE_USER"),
        // A replica waits for events.
        18 | 30 => Some(("BINLOG_DUMP".to_owned(), true)),
        23 => named("EXECUTE"),
        other => Some((format!("COMMAND {other}"), false)),
    }
}

impl Conversation for Mysql {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let (mark, side) = (Mark::from(&chunk), usize::from(chunk.from == Side::Server));
        let mut rest = chunk.bytes;
        while !rest.is_empty() && !self.lost {
            if let Some(inner) = &mut self.inner {
                return inner.chunk(Chunk { bytes: rest, ..chunk }, below, sink);
            }
            if self.halves[side].at_start() {
                self.marks[side] = mark;
            }
            let (step, tail) = self.halves[side].step(rest, body);
            rest = tail;
            if let Step::Whole([_, _, _, sequence]) = step {
                match chunk.from {
                    Side::Client => self.client(sequence, mark, sink),
                    Side::Server => self.server(sequence, mark, below, sink),
                }
            }
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.glance(glance, below, sink),
            None => super::bytes_and_a_hole(self, glance, below, sink),
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost && self.inner.is_none()
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(from, missing, sink);
        }
        if !self.halves[usize::from(from == Side::Server)].skip(missing) {
            // Whatever follows would be read as the wrong thing.
            self.lost = true;
            self.pairing.lose();
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.end(how, at, below, sink);
        }
        self.settle(sink);
        self.pairing.end(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};

    fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_le_bytes()[..3], &[sequence], body].concat()
    }

    fn greeting() -> Vec<u8> {
        packet(0, b"\x0a8.0.36\0abcdefghijklmn")
    }

    fn login() -> Vec<u8> {
        packet(1, &[&[0x05, 0xa2, 0, 0][..], &[0; 28], b"app\0secret"].concat())
    }

    fn error(sequence: u8, number: u16, words: &str) -> Vec<u8> {
        packet(sequence, &[&[0xff][..], &number.to_le_bytes(), b"#28000", words.as_bytes()].concat())
    }

    #[track_caller]
    fn check(lines: &[(crate::flow::Side, u64, Vec<u8>)], expect: &[&str], said: &[&str]) {
        let lines: Vec<Line<'_>> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
        let sink = told(3306, &lines, End::Closed, 9000);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
        assert!(!format!("{sink:?}").contains("secret"));
    }

    #[test]
    fn a_session_is_paired_command_by_command() {
        let ok = |sequence| packet(sequence, &[0, 0, 0, 2, 0, 0, 0]);
        let lines = [
            (S, 11, greeting()),
            (C, 12, login()),
            (S, 30, ok(2)),
            (C, 40, packet(0, b"\x03select secret")),
            (S, 60, [packet(1, &[1]), packet(2, b"col"), packet(3, b"row"), packet(4, &[0xfe, 0, 0, 2, 0])].concat()),
            (C, 70, packet(0, b"\x01")),
        ];
        check(&lines, &[], &["login > OK", "SELECT > OK"]);
    }

    #[test]
    fn a_late_greeting_a_refused_login_and_a_bad_statement_weigh_differently() {
        let lines = [(S, 5000, greeting()), (C, 5001, login()), (S, 5020, error(2, 1045, "Access denied"))];
        check(&lines, &["mysql.greeting-slow warning l7.service-slow", "mysql.error fault l7.auth-failed"], &["login > ERROR 1045"]);
        let lines = [
            (S, 11, greeting()),
            (C, 12, login()),
            (S, 30, packet(2, &[0, 0, 0, 2, 0, 0, 0])),
            (C, 40, packet(0, b"\x03insert secret")),
            (S, 60, error(1, 1146, "no such table")),
        ];
        check(&lines, &["mysql.error warning -"], &["login > OK", "INSERT > ERROR 1146"]);
        check(&[(S, 11, packet(0, b"\xff\x10\x04Too many connections"))], &["mysql.error fault l7.too-many-connections"], &[]);
    }
}
