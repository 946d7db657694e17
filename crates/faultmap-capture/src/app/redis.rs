//! Redis (RESP, redis.io/docs/reference/protocol-spec): commands by name with the time that they took, and errors by their first word. It keeps no key, no value and no
//! password.
//!
//! Memory: one line of at most [`LONGEST_LINE`] bytes in each direction, and the questions of [`Pairing`].

use super::gather::keep;
use super::pairing::Pairing;
use super::tell::{Mark, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Sink, recognise::Likely, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

pub(super) const RULES: Rules =
    Rules { think: "redis.server-think", unanswered: "redis.unanswered", closed: "redis.closed-without-answer" };
/// Longest line that is kept; longer ones are stepped over.
const LONGEST_LINE: usize = 512;
/// Elements of one answer that are believed.
const MOST_ELEMENTS: u64 = 1 << 32;

/// Commands that wait by design.
const PATIENT: [&str; 11] =
    ["BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "XREAD", "XREADGROUP", "WAIT"];
/// Commands after which the server speaks unasked.
const STREAMING: [&str; 6] = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"];

/// A connection that speaks Redis.
pub(super) struct Redis {
    ends: Ends,
    halves: PerSide<Resp>,
    pairing: Pairing,
    error: Option<String>,
    lost: bool,
}

/// Reads values in one direction.
#[derive(Default)]
struct Resp {
    line: Vec<u8>,
    /// Bytes of a bulk string and its line end that are still to come.
    bulk: u64,
    /// Elements of the value that are still to come.
    elements: u64,
    began: Mark,
    /// The first string of the value: the name of a command.
    name: Option<String>,
    want_name: bool,
    push: bool,
}

/// What a line or the end of a bulk string made.
#[derive(PartialEq, Eq)]
enum Got {
    Part,
    /// A whole value; the bool tells a push, which answers nothing.
    Value(bool),
    Error(Vec<u8>),
    Broken,
}

/// The first bytes of a client: an array of bulk strings.
pub(super) fn command(bytes: &[u8]) -> Likely {
    let [b'*', rest @ ..] = bytes else { return Likely::No };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits..) {
        _ if digits > 6 => Likely::No,
        Some([]) => Likely::Maybe,
        Some([b'\r']) if digits > 0 => Likely::Maybe,
        Some([b'\r', b'\n']) if digits > 0 => Likely::Maybe,
        Some([b'\r', b'\n', b'$', ..]) if digits > 0 => Likely::Yes,
        _ => Likely::No,
    }
}

impl Resp {
    /// Takes what it can from the front of `bytes`: what it made, and how many bytes it took.
    fn take(&mut self, bytes: &[u8], mark: Mark, inline: bool) -> (Got, usize) {
        if self.bulk > 0 {
            let here = usize::try_from(self.bulk).unwrap_or(usize::MAX).min(bytes.len());
            if self.want_name {
                keep(&mut self.line, bytes.get(..here).unwrap_or_default(), LONGEST_LINE);
            }
            self.bulk -= here as u64;
            if self.bulk > 0 {
                return (Got::Part, here);
            }
            if std::mem::take(&mut self.want_name) {
                self.name = Some(name(&self.line));
                self.line.clear();
            }
            return (self.element(), here);
        }
        if self.elements == 0 && self.line.is_empty() {
            self.began = mark;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.map_or(bytes.len(), |end| end + 1)).unwrap_or(bytes);
        keep(&mut self.line, part, LONGEST_LINE);
        if end.is_none() {
            return (Got::Part, part.len());
        }
        let line = std::mem::take(&mut self.line);
        (self.line(line.trim_ascii_end(), inline), part.len())
    }

    /// An element is whole.
    fn element(&mut self) -> Got {
        self.elements = self.elements.saturating_sub(1);
        if self.elements > 0 { Got::Part } else { Got::Value(std::mem::take(&mut self.push)) }
    }

    fn line(&mut self, line: &[u8], inline: bool) -> Got {
        let top = self.elements == 0;
        let Some((kind, rest)) = line.split_first() else { return if top { Got::Part } else { Got::Broken } };
        let number = || std::str::from_utf8(rest).ok().and_then(|digits| digits.parse::<i64>().ok());
        if top {
            self.elements = 1;
            self.name = None;
        }
        match kind {
            b'-' | b'!' if top && *kind == b'-' => {
                self.elements = 0;
                Got::Error(line.to_vec())
            }
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => self.element(),
            b'$' | b'=' | b'!' => match number() {
                Some(-1) => self.element(),
                Some(len @ 0..=0x2000_0000) => {
                    self.bulk = len.unsigned_abs() + 2;
                    self.want_name = inline && self.name.is_none();
                    Got::Part
                }
                _ => Got::Broken,
            },
            b'*' | b'~' | b'%' | b'>' | b'|' => {
                let Some(count) = number() else { return Got::Broken };
                let count = u64::try_from(count).unwrap_or(0) * if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                self.push |= top && *kind == b'>';
                // Attributes stand before the value itself.
                let own = u64::from(*kind != b'|');
                self.elements = self.elements.saturating_add(count);
                if self.elements > MOST_ELEMENTS {
                    return Got::Broken;
                }
                if own == 1 { self.element() } else { Got::Part }
            }
            _ if inline && top && kind.is_ascii_alphabetic() => {
                self.elements = 0;
                self.name = Some(name(line.split(|byte| *byte == b' ').next().unwrap_or_default()));
                Got::Value(false)
            }
            _ => Got::Broken,
        }
    }
}

/// A command's name; nothing where it is none, for who knows what that is.
pub(super) fn name(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii_end();
    let plain = bytes.len() <= 24 && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if plain { String::from_utf8_lossy(bytes).to_ascii_uppercase() } else { "command".to_owned() }
}

impl Redis {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        let pairing = Pairing::new("redis", &RULES, ends);
        Self { ends, halves: PerSide::default(), pairing, error: None, lost: false }
    }

    fn asked(&mut self, mark: Mark) {
        let half = &mut self.halves.client;
        let name = half.name.take().unwrap_or_else(|| "command".to_owned());
        let (began, (patient, streaming)) = (half.began, waits(&name));
        if streaming {
            self.lost = true;
            return self.pairing.lose();
        }
        self.pairing.ask(name, began, Some(mark.at), patient);
    }

    fn failed(&mut self, line: &[u8], mark: Mark, sink: &mut Sink) {
        let line = text::printable(line.get(1..).unwrap_or_default(), 120);
        let (code, words) = line.split_once(' ').unwrap_or((&line, ""));
        let command = self.pairing.front().map(|entry| entry.question.clone()).unwrap_or_default();
        // What was said may be quoted: an unknown command, its arguments.
        let shown = words.split(['\'', '`', '"']).next().unwrap_or_default().trim();
        self.error = Some(code.to_owned());
        let Some((weight, cause)) = judge(code, words, &command) else { return };
        let finding = tell("redis.error", weight, Layer::L7, mark, format!("{command}: {code} {shown}").trim_end().to_owned());
        let finding = finding.for_cause(cause).on(self.ends.service());
        sink.findings.push(match self.pairing.front() {
            Some(entry) => finding.and(entry.asked),
            None => finding,
        });
    }
}

/// Commands that wait by design, and those after which the server speaks unasked.
pub(super) fn waits(name: &str) -> (bool, bool) {
    (PATIENT.contains(&name), STREAMING.contains(&name))
}

/// What an error weighs; `None` for what is part of the conversation.
pub(super) fn judge(code: &str, words: &str, command: &str) -> Option<(Weight, Option<&'static str>)> {
    let known = cause_of_refusal(Spoken::Redis, code, words);
    match code {
        // A cluster shows the way; a script that is not there yet is sent.
        "MOVED" | "ASK" | "NOSCRIPT" | "BUSYGROUP" | "EXECABORT" => None,
        // Libraries ask on the chance, before they log in or of servers that do not know it.
        _ if matches!(command, "HELLO" | "CLIENT" | "COMMAND") => Some((Weight::Note, None)),
        "NOPERM" | "WRONGTYPE" => Some((Weight::Warning, known)),
        "OOM" | "CLUSTERDOWN" | "NOREPLICAS" | "TRYAGAIN" | "IOERR" => Some((Weight::Fault, known.or(Some("l7.service-error")))),
        _ if known.is_some() => Some((Weight::Fault, known)),
        _ => Some((Weight::Warning, None)),
    }
}

impl Conversation for Redis {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mark = Mark::from(&chunk);
        let client = chunk.from == Side::Client;
        let mut rest = chunk.bytes;
        while !rest.is_empty() && !self.lost {
            let half = self.halves.of_mut(chunk.from);
            let (got, taken) = half.take(rest, mark, client);
            let began = half.began;
            rest = rest.get(taken..).unwrap_or_default();
            match (got, client) {
                (Got::Part, _) => {}
                (Got::Value(_), true) => self.asked(mark),
                (Got::Value(true), false) => {}
                (Got::Value(false), false) => {
                    self.pairing.began(began, below, sink);
                    self.pairing.finish("OK".to_owned(), true, mark.at, sink);
                }
                (Got::Error(line), false) => {
                    self.pairing.began(began, below, sink);
                    self.failed(&line, mark, sink);
                    let error = self.error.take().unwrap_or_default();
                    let ok = matches!(error.as_str(), "MOVED" | "ASK" | "NOSCRIPT");
                    self.pairing.finish(error, ok, mark.at, sink);
                }
                (Got::Error(_) | Got::Broken, _) => {
                    self.lost = true;
                    self.pairing.lose();
                }
            }
        }
    }

    fn gap(&mut self, from: Side, missing: u64, _sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        if half.bulk > missing && !half.want_name {
            half.bulk -= missing;
        } else {
            self.lost = true;
            self.pairing.lose();
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost
    }

    fn is_settled(&self) -> bool {
        self.pairing.is_empty()
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        self.pairing.end(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};

    #[track_caller]
    fn check(lines: &[Line<'_>], expect: &[&str], said: &[&str]) {
        let sink = told(6379, lines, End::Closed, 9000);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
        assert!(!format!("{sink:?}").contains("secret"));
    }

    #[test]
    fn pipelined_commands_are_paired_and_nothing_of_them_is_kept_but_the_name() {
        let asked: &[u8] = b"*3\r\n$3\r\nset\r\n$6\r\nsecret\r\n$6\r\nsecret\r\n*2\r\n$6\r\nlrange\r\n$1\r\na\r\nPING secret\r\n";
        let answers: &[u8] = b"+OK\r\n*2\r\n$1\r\nx\r\n*1\r\n:5\r\n$-1\r\n";
        check(&[(C, 1, asked), (S, 20, answers)], &[], &["SET > OK", "LRANGE > OK", "PING > OK"]);
    }

    #[test]
    fn an_error_weighs_by_its_first_word() {
        let get: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        check(&[(C, 1, get), (S, 20, b"-NOAUTH Authentication required.\r\n")], &["redis.error fault l7.auth-failed"], &["GET > NOAUTH"]);
        check(&[(C, 1, get), (S, 20, b"-LOADING Redis is loading\r\n")], &["redis.error fault l7.service-starting"], &["GET > LOADING"]);
        check(&[(C, 1, get), (S, 20, b"-MOVED 3999 127.0.0.1:6381\r\n")], &[], &["GET > MOVED"]);
        check(&[(C, 1, get), (S, 20, b"-ERR unknown command 'secret'\r\n")], &["redis.error warning -"], &["GET > ERR"]);
    }

    #[test]
    fn a_command_that_waits_by_design_is_not_slow() {
        let asked: &[u8] = b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n";
        check(&[(C, 1, asked), (S, 8000, b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n")], &[], &["BLPOP > OK"]);
        let slow: &[u8] = b"*1\r\n$4\r\nKEYS\r\n";
        check(&[(C, 1, slow), (S, 8000, b"*0\r\n")], &["redis.server-think warning l7.service-slow"], &["KEYS > OK"]);
    }
}
