//! A conversation of which the capture kept only the beginning of each segment, followed by its turns: a message of one side begins where that side speaks after
//! the other one, and its first bytes tell what is asked, or whether the answer is a refusal. It never looks for a message anywhere else, and tells nothing that
//! the bytes that were cut off could belie.
//!
//! Memory: the questions of [`Pairing`], of which there is one at a time, and [`FIRST_WORDS`] bytes of the last turn.

mod words;

use super::pairing::Pairing;
use super::recognise::Spoken;
use super::tell::{Mark, tell};
use super::tls::Tls;
use super::{Below, Chunk, Conversation, End, Ends, Glance, Sink};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use faultmap_model::Layer;
use words::{Answer, Asks, Words};

/// Bytes of a turn that are remembered while all of it was captured.
const FIRST_WORDS: usize = 64;
/// What a finding says that rests on the first bytes of a message.
pub(crate) const AT_A_GLANCE: &str = " (as far as its first bytes tell: the capture cut off the rest)";

/// The last turn of a conversation that could be read so far.
#[derive(Debug)]
pub(super) struct Turn {
    side: Side,
    asked: Mark,
    until: Stamp,
    words: Vec<u8>,
}

impl Turn {
    /// Takes a segment in that was captured whole.
    pub(super) fn take(turn: &mut Option<Box<Self>>, chunk: &Chunk<'_>) {
        let first = chunk.bytes.get(..FIRST_WORDS).unwrap_or(chunk.bytes);
        match turn {
            Some(turn) if turn.side == chunk.from => turn.until = chunk.at,
            Some(turn) => {
                (turn.side, turn.asked, turn.until) = (chunk.from, Mark::from(chunk), chunk.at);
                turn.words.clear();
                turn.words.extend_from_slice(first);
            }
            None => *turn = Some(Box::new(Self { side: chunk.from, asked: Mark::from(chunk), until: chunk.at, words: first.to_vec() })),
        }
    }
}

/// A conversation that is followed by its turns.
pub(super) struct ByTurns {
    spoken: Spoken,
    ends: Ends,
    pairing: Pairing,
    /// Who spoke last, as far as nothing was lost since.
    last: Option<Side>,
    /// Nothing was said yet, by neither side, in a connection whose beginning was seen.
    first: bool,
    /// Questions are of no use any more: the server speaks unasked.
    over: bool,
    /// What is said after the change to TLS.
    inner: Option<Tls>,
}

impl ByTurns {
    /// A conversation of this protocol, with its last turn so far, if anything was said; `from_the_start` if its beginning was seen.
    pub(super) fn new(spoken: Spoken, ends: Ends, so_far: Option<&Turn>, from_the_start: bool) -> Self {
        let (name, rules) = words::rules(spoken);
        let pairing = Pairing::new(name, rules, ends);
        let mut turns = Self { spoken, ends, pairing, last: None, first: from_the_start && so_far.is_none(), over: false, inner: None };
        if let Some(turn) = so_far {
            turns.last = Some(turn.side);
            if turn.side == Side::Client {
                let words = Words { bytes: &turn.words, len: turn.words.len() as u64, first: false };
                turns.asked(words, turn.asked, turn.until);
            }
        }
        turns
    }

    fn segment(&mut self, chunk: Chunk<'_>, missing: u64, below: &Below, sink: &mut Sink) {
        let words = Words { bytes: chunk.bytes, len: missing + chunk.bytes.len() as u64, first: std::mem::take(&mut self.first) };
        let opens = self.last.replace(chunk.from) != Some(chunk.from);
        match (chunk.from, opens) {
            _ if self.over => {}
            (Side::Client, true) => {
                self.pairing.forget();
                self.asked(words, Mark::from(&chunk), chunk.at);
            }
            // More of the same question, or further ones, whose answers cannot be told apart.
            (Side::Client, false) => {
                if let Some(entry) = self.pairing.last_mut() {
                    entry.done = Some(chunk.at);
                }
            }
            (Side::Server, true) => self.answered(words, Mark::from(&chunk), below, sink),
            (Side::Server, false) => {}
        }
    }

    fn asked(&mut self, words: Words<'_>, asked: Mark, until: Stamp) {
        match words::question(self.spoken, words) {
            Asks::Question(question, patient) => self.pairing.ask(question, asked, Some(until), patient),
            Asks::Nothing => {}
            Asks::ForEvents => self.over = true,
            Asks::ForTls => self.inner = Some(Tls::new(self.ends)),
        }
    }

    fn answered(&mut self, words: Words<'_>, mark: Mark, below: &Below, sink: &mut Sink) {
        let question = self.pairing.front().map(|entry| (entry.question.clone(), entry.asked));
        let asks = question.as_ref().map(|(question, _)| question.as_str());
        let Some(Answer { answer, ok, finding, tls }) = words::answer(self.spoken, asks, words) else { return self.pairing.forget() };
        self.pairing.began(mark, below, sink);
        if let Some((rule, weight, cause, text)) = finding {
            let layer = if cause.is_some_and(|cause| cause.starts_with("l6.")) { Layer::L6 } else { Layer::L7 };
            let asked = asks.map_or_else(String::new, |asks| format!("{asks}: "));
            let finding = tell(rule, weight, layer, mark, format!("{asked}{text}{AT_A_GLANCE}")).for_cause(cause).on(self.ends.service());
            sink.findings.push(match question {
                Some((_, asked)) => finding.and(asked),
                None => finding,
            });
        }
        self.pairing.finish(answer, ok, mark.at, sink);
        if tls {
            self.inner = Some(Tls::new(self.ends));
        }
    }
}

/// What is found in the first bytes of an answer: the rule, its weight, its cause and the words.
pub(super) type Found = (&'static str, Weight, Option<&'static str>, String);

impl Conversation for ByTurns {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.chunk(chunk, below, sink),
            None => self.segment(chunk, 0, below, sink),
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.glance(glance, below, sink),
            None => self.segment(glance.chunk, glance.missing, below, sink),
        }
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(from, missing, sink);
        }
        // Whole turns may be in it.
        self.last = Some(from);
        self.pairing.forget();
    }

    fn is_settled(&self) -> bool {
        self.pairing.is_empty() && self.inner.is_none()
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.end(how, at, below, sink);
        }
        self.pairing.end_of_lines(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told_cut};

    /// What is told where 30 bytes of each segment were captured, as by `tcpdump -s 96`.
    #[track_caller]
    fn check(port: u16, lines: &[Line<'_>], how: End, expect: &[&str], said: &[&str]) {
        let sink = told_cut(port, lines, how, 9000, 30);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
        assert!(sink.findings.iter().all(|finding| !finding.rule.ends_with("error") || finding.text.contains("first bytes")));
        assert!(!format!("{sink:?}").contains("secret"));
    }

    fn startup() -> Vec<u8> {
        let body = b"\0\x03\0\0user\0app\0database\0shop\0application_name\0psql\0\0";
        [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    #[test]
    fn the_code_of_an_error_stands_before_what_was_cut_off() {
        let refusal = |code: &str| typed(b'E', format!("SFATAL\0VFATAL\0C{code}\0Mwords that nobody captured\0\0").as_bytes());
        let says = |code: &str, expect: &[&str]| {
            let said = format!("login > FATAL {code}");
            check(5432, &[(C, 1, &startup()), (S, 12, &refusal(code))], End::Closed, expect, &[&said]);
        };
        says("3D000", &["pg.error fault l7.database-missing"]);
        says("53300", &["pg.error fault l7.too-many-connections"]);
        // Its words decide whether a certificate was wanted.
        says("28000", &[]);
        // Behind a login that was taken the code is cut off: it is no good answer, and nobody knows which.
        let late = [typed(b'R', &[0; 4]), refusal("3D000")].concat();
        check(5432, &[(C, 1, &startup()), (S, 12, &late)], End::Closed, &[], &["login > error"]);
        let set: &[u8] = b"*3\r\n$3\r\nSET\r\n$6\r\nsecret\r\n$6\r\nsecret\r\n";
        let read_only: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";
        check(6379, &[(C, 1, set), (S, 12, read_only)], End::Closed, &["redis.error fault l7.service-read-only"], &["SET > READONLY"]);
        let greeting: &[u8] = b"\x4a\0\0\0\x0a8.0.33\0\x07\0\0\0abcdefgh\0and much more of it";
        let login: &[u8] = b"\x54\0\0\x01\x8d\xa2\x0f\0and the name and the proof of a user who wants in";
        let denied: &[u8] = b"\x48\0\0\x02\xff\x15\x04#28000Access denied for user 'secret'@'10.0.0.1'";
        let lines: [Line<'_>; 3] = [(S, 11, greeting), (C, 12, login), (S, 30, denied)];
        check(3306, &lines, End::Closed, &["mysql.error fault l7.auth-failed"], &["login > ERROR 1045"]);
    }

    #[test]
    fn each_turn_of_a_healthy_session_is_a_question_or_an_answer() {
        let lines: [Line<'_>; 8] = [
            (S, 11, b"220 mail.example.test ESMTP Postfix (Debian/GNU)\r\n"),
            (C, 12, b"EHLO a.client.with.a.long.name.example\r\n"),
            (S, 20, b"250-mail.example.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"),
            (C, 21, b"MAIL FROM:<secret@example.test>\r\n"),
            (S, 30, b"250 2.1.0 Ok\r\n"),
            (C, 31, b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\r\n"),
            (S, 40, b"250 2.0.0 Ok: queued as 4F2A1\r\n"),
            (C, 41, b"QUIT\r\n"),
        ];
        check(25, &lines, End::Closed, &[], &["EHLO > 250", "MAIL > 250"]);
    }

    #[test]
    fn silence_and_an_end_in_place_of_an_answer_need_no_more_than_the_first_bytes() {
        let query = typed(b'Q', b"select * from a_table_with_a_long_name where id = 'secret'");
        let login: [Line<'_>; 3] =
            [(C, 1, &startup()), (S, 12, b"R\0\0\0\x08\0\0\0\0S\0\0\0\x16application_name\0psql\0Z\0\0\0\x05I"), (C, 20, &query)];
        let said = ["login > answered", "SELECT > "];
        check(5432, &login, End::Cut, &["pg.unanswered warning l7.service-mute"], &said);
        check(5432, &login, End::Reset(S), &["pg.closed-without-answer warning l5.keepalive-race"], &said);
        // A word of a hole may be the answer.
        let slow: [Line<'_>; 4] = [login[0], login[1], login[2], (S, 3000, b"T\0\0\0\x1a\0\x01secret and what else a row may have")];
        check(5432, &slow, End::Closed, &["pg.server-think warning l7.service-slow"], &["login > answered", "SELECT > answered"]);
    }
}
