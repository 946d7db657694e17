//! PostgreSQL (manual, chapter "Frontend/Backend Protocol"): startup, login, and queries by their first word with the time that they took. Errors are told with severity and
//! SQLSTATE. It never keeps a password, a parameter or the text of a query.
//!
//! Memory: 1 KiB of one message in each direction, and the questions of [`Pairing`].

use super::packets::{Cursor, Packets, Step};
use super::pairing::Pairing;
use super::tell::{Mark, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Glance, Sink, recognise::Likely, text, tls};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

pub(super) const RULES: Rules = Rules { think: "pg.server-think", unanswered: "pg.unanswered", closed: "pg.closed-without-answer" };
/// Bytes of a message that are read.
const MOST_KEPT: usize = 1024;
/// Longest message that is believed, bytes (PQ_LARGE_MESSAGE_LIMIT is 2^30-1).
const LONGEST: u32 = 1 << 30;
/// Request codes in place of a version.
pub(super) const SSL_REQUEST: u32 = 80_877_103;
pub(super) const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// A connection that speaks PostgreSQL.
pub(super) struct Postgres {
    ends: Ends,
    /// Messages without a type, until the client is through with its startup.
    first: Packets<4>,
    asking: Packets<5>,
    answering: Packets<5>,
    marks: PerSide<Mark>,
    started: bool,
    /// The client asked for encryption: the server answers with one byte.
    one_byte: bool,
    /// A series of messages of the extended protocol, up to its Sync.
    series: bool,
    pairing: Pairing,
    error: Option<String>,
    inner: Option<tls::Tls>,
    lost: PerSide<bool>,
}

/// The first message of a client.
pub(super) fn startup(bytes: &[u8]) -> Likely {
    let Some(len) = bytes.first_chunk::<4>().map(|len| u32::from_be_bytes(*len)) else {
        return if !bytes.is_empty() && bytes.iter().take(2).all(|byte| *byte == 0) { Likely::Maybe } else { Likely::No };
    };
    let Some(code) = bytes.get(4..8).and_then(|code| code.first_chunk::<4>()).map(|code| u32::from_be_bytes(*code)) else {
        return if (8..=10_000).contains(&len) { Likely::Maybe } else { Likely::No };
    };
    let known = match code {
        SSL_REQUEST | GSS_REQUEST => len == 8,
        CANCEL_REQUEST => len >= 16,
        version => version >> 16 == 3 && version & 0xffff < 10 && (9..=10_000).contains(&len),
    };
    if known { Likely::Yes } else { Likely::No }
}

fn typed(header: &[u8; 5]) -> Option<u64> {
    let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    (header[0].is_ascii_alphanumeric() && (4..LONGEST).contains(&len)).then(|| u64::from(len - 4))
}

fn untyped(header: &[u8; 4]) -> Option<u64> {
    let len = u32::from_be_bytes(*header);
    (8..=10_000).contains(&len).then(|| u64::from(len - 4))
}

impl Postgres {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            first: Packets::keeping(MOST_KEPT),
            asking: Packets::keeping(MOST_KEPT),
            answering: Packets::keeping(MOST_KEPT),
            marks: PerSide::default(),
            started: false,
            one_byte: false,
            series: false,
            pairing: Pairing::new("postgres", &RULES, ends),
            error: None,
            inner: None,
            lost: PerSide::default(),
        }
    }

    fn client<'a>(&mut self, bytes: &'a [u8], mark: Mark, sink: &mut Sink) -> &'a [u8] {
        if !self.started {
            if self.first.at_start() {
                self.marks.client = mark;
            }
            let (step, rest) = self.first.step(bytes, untyped);
            match step {
                Step::Whole(_) => self.startup(mark, sink),
                Step::More => {}
                Step::Broken => self.lose(Side::Client),
            }
            return rest;
        }
        if self.asking.at_start() {
            self.marks.client = mark;
        }
        let (step, rest) = self.asking.step(bytes, typed);
        match step {
            Step::Whole(header) => self.asked(header[0], mark),
            Step::More => {}
            Step::Broken => self.lose(Side::Client),
        }
        rest
    }

    fn startup(&mut self, mark: Mark, sink: &mut Sink) {
        let mut cursor = Cursor(self.first.kept());
        match cursor.u32() {
            Some(SSL_REQUEST | GSS_REQUEST) => {
                self.one_byte = true;
                self.pairing.ask("SSLRequest".to_owned(), self.marks.client, Some(mark.at), false);
            }
            Some(CANCEL_REQUEST) | None => self.lose(Side::Client),
            Some(_) => {
                self.started = true;
                let (mut user, mut database) = (None, None);
                while !cursor.0.is_empty() {
                    match (cursor.text(), cursor.text()) {
                        (b"user", value) => user = Some(value),
                        (b"database", value) => database = Some(value),
                        _ => {}
                    }
                }
                // A client that names no database means the one of its own name.
                let name = database.or(user).map(|name| text::printable(name, 63)).unwrap_or_default();
                sink.server_name = Some(name.clone());
                self.pairing.ask(format!("login to database {name}"), self.marks.client, Some(mark.at), false);
            }
        }
    }

    fn asked(&mut self, kind: u8, mark: Mark) {
        let kept = self.asking.kept();
        match kind {
            b'Q' => self.pairing.ask(verb(kept), self.marks.client, Some(mark.at), false),
            b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => {
                let question = if kind == b'P' {
                    let mut cursor = Cursor(kept);
                    cursor.text();
                    verb(cursor.0)
                } else {
                    "prepared statement".to_owned()
                };
                if !std::mem::replace(&mut self.series, true) {
                    self.pairing.ask(question, self.marks.client, None, false);
                }
                if kind == b'F' {
                    self.synced(mark);
                }
            }
            b'S' => self.synced(mark),
            // Words of a login, of a copy, and goodbye.
            b'p' => {
                if let Some(login) = self.pairing.last_mut() {
                    login.done = Some(mark.at);
                }
            }
            _ => {}
        }
    }

    fn synced(&mut self, mark: Mark) {
        if std::mem::replace(&mut self.series, false) {
            if let Some(entry) = self.pairing.last_mut() {
                entry.done = Some(mark.at);
            }
        } else {
            self.pairing.ask("Sync".to_owned(), self.marks.client, Some(mark.at), false);
        }
    }

    fn server<'a>(&mut self, bytes: &'a [u8], mark: Mark, below: &Below, sink: &mut Sink) -> &'a [u8] {
        if self.one_byte {
            let Some((byte, rest)) = bytes.split_first() else { return bytes };
            self.one_byte = false;
            self.pairing.began(mark, below, sink);
            self.pairing.finish(char::from(*byte).escape_default().to_string(), matches!(byte, b'S' | b'N' | b'G'), mark.at, sink);
            match byte {
                b'S' => self.inner = Some(tls::Tls::new(self.ends)),
                b'N' | b'G' => {}
                _ => self.lose(Side::Server),
            }
            return rest;
        }
        if self.answering.at_start() {
            self.marks.server = mark;
        }
        let (step, rest) = self.answering.step(bytes, typed);
        match step {
            Step::Whole(header) => self.answered(header[0], mark, below, sink),
            Step::More => {}
            Step::Broken => self.lose(Side::Server),
        }
        rest
    }

    fn answered(&mut self, kind: u8, mark: Mark, below: &Below, sink: &mut Sink) {
        // Notices, parameters and notifications come unasked.
        if !matches!(kind, b'N' | b'S' | b'A') {
            self.pairing.began(self.marks.server, below, sink);
        }
        match kind {
            b'E' => self.failed(mark, sink),
            b'Z' => {
                let error = self.error.take();
                let ok = error.is_none();
                self.pairing.finish(error.unwrap_or_else(|| "ready".to_owned()), ok, mark.at, sink);
            }
            _ => {}
        }
    }

    fn failed(&mut self, mark: Mark, sink: &mut Sink) {
        let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
        let mut cursor = Cursor(self.answering.kept());
        while let Some(field) = cursor.byte().filter(|field| *field != 0) {
            let value = cursor.text();
            match field {
                // V is S without translation, and newer.
                b'S' if severity.is_empty() => severity = text::printable(value, 12),
                b'V' => severity = text::printable(value, 12),
                b'C' => code = text::printable(value, 5),
                b'M' => message = text::printable(value, 120),
                _ => {}
            }
        }
        let fatal = matches!(severity.as_str(), "FATAL" | "PANIC");
        let login = self.pairing.front().is_some_and(|entry| entry.question.starts_with("login"));
        let (weight, cause) = judge(fatal, login, &code, &message);
        let question = self.pairing.front().map(|entry| format!("{}: ", entry.question)).unwrap_or_default();
        // Messages of classes 22 and 23 quote the data.
        let words = if code.starts_with("22") || code.starts_with("23") { String::new() } else { format!(": {message}") };
        let text = format!("{question}{severity} {code}{words}");
        let finding = tell("pg.error", weight, Layer::L7, mark, text).for_cause(cause).on(self.ends.service());
        sink.findings.push(match self.pairing.front() {
            Some(entry) => finding.and(entry.asked),
            None => finding,
        });
        self.error = Some(format!("{severity} {code}"));
        if fatal {
            let error = self.error.take().unwrap_or_default();
            self.pairing.finish(error, false, mark.at, sink);
        }
    }

    fn lose(&mut self, side: Side) {
        *self.lost.of_mut(side) = true;
        self.pairing.lose();
    }
}

/// What an error weighs: the end of a session is a fault of the service, a statement that cannot be done is the application's own.
pub(super) fn judge(fatal: bool, login: bool, code: &str, message: &str) -> (Weight, Option<&'static str>) {
    let known = cause_of_refusal(Spoken::Postgres, code, message);
    match code {
        // idle_session_timeout, idle_in_transaction_session_timeout, transaction_timeout
        "57P05" | "25P03" | "25P04" => (Weight::Warning, Some("l5.idle-close")),
        // statement_timeout, lock_not_available
        "57014" | "55P03" if !fatal => (Weight::Warning, Some("l7.service-slow")),
        _ if fatal => (Weight::Fault, known.or(Some("l7.service-error"))),
        // Resources, operator intervention, system errors, internal errors: not the statement's.
        _ if ["53", "57", "58", "XX", "25006"].iter().any(|class| code.starts_with(class)) => {
            (Weight::Fault, known.or(Some("l7.service-error")))
        }
        _ if login => (Weight::Fault, known.or(Some("l7.service-error"))),
        _ => (Weight::Warning, None),
    }
}

/// The first word of a statement: what it does, without what it does it to.
pub(super) fn verb(statement: &[u8]) -> String {
    let words = statement.trim_ascii_start();
    let end = words.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(words.len()).min(16);
    let word = words.get(..end).unwrap_or_default();
    if word.is_empty() { "statement".to_owned() } else { String::from_utf8_lossy(word).to_ascii_uppercase() }
}

impl Conversation for Postgres {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mark = Mark::from(&chunk);
        let mut rest = chunk.bytes;
        while !rest.is_empty() && !self.lost.of(chunk.from) {
            if let Some(inner) = &mut self.inner {
                return inner.chunk(Chunk { bytes: rest, ..chunk }, below, sink);
            }
            rest = match chunk.from {
                Side::Client => self.client(rest, mark, sink),
                Side::Server => self.server(rest, mark, below, sink),
            };
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.glance(glance, below, sink),
            None => super::bytes_and_a_hole(self, glance, below, sink),
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost.client && !self.lost.server && self.inner.is_none()
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(from, missing, sink);
        }
        let followed = match from {
            Side::Client => self.started && self.asking.skip(missing),
            Side::Server => self.answering.skip(missing),
        };
        if !followed {
            self.lose(from);
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.end(how, at, below, sink);
        }
        self.pairing.end(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};

    fn hello() -> Vec<u8> {
        let body = b"\0\x03\0\0user\0app\0database\0shop\0\0";
        [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn error(severity: &str, code: &str, words: &str) -> Vec<u8> {
        message(b'E', format!("S{severity}\0V{severity}\0C{code}\0M{words}\0\0").as_bytes())
    }

    fn welcome() -> Vec<u8> {
        [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat()
    }

    #[track_caller]
    fn check(lines: &[(crate::flow::Side, u64, Vec<u8>)], how: End, end_ms: u64, expect: &[&str], said: &[&str]) {
        let lines: Vec<Line<'_>> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
        let sink = told(5432, &lines, how, end_ms);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
        assert!(!format!("{sink:?}").contains("secret"));
    }

    #[test]
    fn a_session_is_paired_and_its_statements_are_not_kept() {
        let lines = [
            (C, 1, hello()),
            (S, 12, message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4])),
            (C, 13, message(b'p', b"secret\0")),
            (S, 24, welcome()),
            (C, 30, message(b'Q', b"select 'secret'\0")),
            (S, 1900, [message(b'T', &[0; 20]), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()),
            (C, 1901, message(b'X', b"")),
        ];
        check(
            &lines,
            End::Closed,
            1910,
            &["pg.server-think warning l7.service-slow"],
            &["login to database shop > ready", "SELECT > ready"],
        );
    }

    #[test]
    fn a_fatal_error_is_a_fault_and_a_bad_statement_is_the_applications() {
        let lines = |code, words| [(C, 1, hello()), (S, 12, error("FATAL", code, words))];
        check(&lines("28P01", "password"), End::Closed, 20, &["pg.error fault l7.auth-failed"], &["login to database shop > FATAL 28P01"]);
        check(&lines("3D000", "none"), End::Closed, 20, &["pg.error fault l7.database-missing"], &["login to database shop > FATAL 3D000"]);
        check(
            &lines("53300", "many"),
            End::Closed,
            20,
            &["pg.error fault l7.too-many-connections"],
            &["login to database shop > FATAL 53300"],
        );
        let lines = [
            (C, 1, hello()),
            (S, 12, welcome()),
            (C, 20, [message(b'P', b"\0insert secret\0\0\0"), message(b'S', b"")].concat()),
            (S, 30, [error("ERROR", "23505", "Key (email)=(secret)"), message(b'Z', b"I")].concat()),
        ];
        check(&lines, End::Closed, 40, &["pg.error warning -"], &["login to database shop > ready", "INSERT > ERROR 23505"]);
    }

    #[test]
    fn encryption_is_agreed_on_by_one_byte() {
        let ask = vec![0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
        check(
            &[(C, 1, ask.clone()), (S, 12, b"N".to_vec()), (C, 13, hello()), (S, 20, welcome())],
            End::Closed,
            30,
            &[],
            &["SSLRequest > N", "login to database shop > ready"],
        );
        let alert = vec![21, 3, 3, 0, 2, 2, 80];
        check(
            &[(C, 1, ask), (S, 12, b"S".to_vec()), (S, 13, alert)],
            End::Closed,
            30,
            &["tls.alert fault l6.tls-handshake-failed"],
            &["SSLRequest > S"],
        );
    }
}
