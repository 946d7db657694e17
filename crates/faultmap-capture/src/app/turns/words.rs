//! What the first bytes of a turn say, protocol by protocol: the question in short, or whether the answer is a refusal. Each reads a message from its very first
//! byte, and says nothing where its form does not fit, or where bytes that were cut off would decide.

use super::Found;
use crate::app::packets::Cursor;
use crate::app::recognise::Spoken;
use crate::app::tell::Rules;
use crate::app::{brokers, lines, mysql, postgres, redis, text};
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken as Asked;

/// What a turn of the client is.
pub(super) enum Asks {
    /// A question, and whether its answer takes its time by design.
    Question(String, bool),
    /// None that is known, or one without an answer.
    Nothing,
    /// From here on the server speaks unasked, or cannot be read.
    ForEvents,
    /// TLS follows at once.
    ForTls,
}

/// What a turn of the server is.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) answer: String,
    pub(super) ok: bool,
    pub(super) finding: Option<Found>,
    /// TLS follows.
    pub(super) tls: bool,
}

/// The first bytes of a segment.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    /// Those that were captured.
    pub(super) bytes: &'a [u8],
    /// How many the segment had.
    pub(super) len: u64,
    /// Nothing was said before, by neither side.
    pub(super) first: bool,
}

/// The name of a protocol in tables, and its rules.
pub(super) fn rules(spoken: Spoken) -> (&'static str, &'static Rules) {
    let rules = match spoken {
        Spoken::Redis => &redis::RULES,
        Spoken::Ftp => &lines::FTP,
        Spoken::Postgres => &postgres::RULES,
        Spoken::Mysql => &mysql::RULES,
        Spoken::Mqtt => &brokers::MQTT_RULES,
        Spoken::Amqp => &brokers::AMQP_RULES,
        _ => &lines::SMTP,
    };
    (spoken.name(), rules)
}

/// What the client asks.
pub(super) fn question(spoken: Spoken, words: Words<'_>) -> Asks {
    match spoken {
        Spoken::Redis => redis_command(words.bytes),
        Spoken::Smtp | Spoken::Ftp => lines_verb(words.bytes),
        Spoken::Postgres => postgres_question(words.bytes),
        Spoken::Mysql => mysql_command(words),
        Spoken::Mqtt => mqtt_question(words),
        Spoken::Amqp => amqp_question(words.bytes),
        _ => Asks::Nothing,
    }
}

/// What the server answers; `None` where that cannot be told.
pub(super) fn answer(spoken: Spoken, question: Option<&str>, words: Words<'_>) -> Option<Answer> {
    match spoken {
        Spoken::Redis => redis_answer(question, words.bytes),
        Spoken::Smtp => lines_reply(lines::Kind::Smtp, question, words),
        Spoken::Ftp => lines_reply(lines::Kind::Ftp, question, words),
        Spoken::Postgres => postgres_answer(question, words),
        Spoken::Mysql => mysql_answer(question, words),
        Spoken::Mqtt => mqtt_answer(words.bytes),
        Spoken::Amqp => amqp_answer(words.bytes),
        _ => None,
    }
}

fn named(name: &str) -> Asks {
    Asks::Question(name.to_owned(), false)
}

fn well(answer: &str) -> Option<Answer> {
    Some(Answer { answer: answer.to_owned(), ok: true, ..Answer::default() })
}

fn refused(answer: String, finding: Option<Found>) -> Option<Answer> {
    Some(Answer { answer, finding, ..Answer::default() })
}

/// Up to the end of a line, if that was captured; the bool tells so.
fn line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\r' || *byte == b'\n') {
        Some(end) => (bytes.get(..end).unwrap_or_default(), true),
        None => (bytes, false),
    }
}

/// An array of bulk strings, the first of which is the command's name.
fn redis_command(bytes: &[u8]) -> Asks {
    let mut parts = bytes.split(|byte| *byte == b'\n').map(|part| part.strip_suffix(b"\r").unwrap_or(part));
    let (Some([b'*', ..]), Some([b'$', ..])) = (parts.next(), parts.next()) else { return Asks::Nothing };
    let (Some(name), Some(_)) = (parts.next(), parts.next()) else {
        // It may be one that waits.
        return Asks::Question("command".to_owned(), true);
    };
    let name = redis::name(name);
    match redis::waits(&name) {
        (_, true) => Asks::ForEvents,
        (patient, false) => Asks::Question(name, patient),
    }
}

fn redis_answer(question: Option<&str>, bytes: &[u8]) -> Option<Answer> {
    match bytes.first()? {
        b'+' | b':' | b'$' | b'*' | b'_' | b'%' | b'~' | b'#' | b',' | b'(' => well("OK"),
        b'-' => {
            let (said, whole) = line(bytes.get(1..).unwrap_or_default());
            let end = said.iter().position(|byte| *byte == b' ');
            let code = said.get(..end.unwrap_or(said.len())).filter(|_| whole || end.is_some())?;
            if code.len() > 24 || !code.iter().all(u8::is_ascii_uppercase) {
                return None;
            }
            let (code, words) = (text::printable(code, 24), text::printable(said.get(code.len() + 1..).unwrap_or_default(), 40));
            let judged = redis::judge(&code, &words, question.unwrap_or_default());
            // What was said may be quoted.
            let found = judged.map(|(weight, cause)| ("redis.error", weight, cause, code.clone()));
            let ok = matches!(code.as_str(), "MOVED" | "ASK" | "NOSCRIPT");
            Some(Answer { answer: code, ok, finding: found, tls: false })
        }
        _ => None,
    }
}

/// Verbs of mail and of FTP; other words may be a message, or a secret.
const VERBS: [&str; 40] = [
    "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "RSET", "VRFY", "NOOP", "QUIT", "AUTH", "STARTTLS", "USER", "PASS", "ACCT", "CWD",
    "CDUP", "PWD", "TYPE", "MODE", "STRU", "PASV", "EPSV", "PORT", "EPRT", "RETR", "STOR", "APPE", "LIST", "NLST", "MLSD", "SIZE", "MDTM",
    "FEAT", "SYST", "OPTS", "PBSZ", "PROT", "DELE", "MKD",
];

fn lines_verb(bytes: &[u8]) -> Asks {
    let verb = lines::verb(bytes);
    if VERBS.contains(&verb.as_str()) { Asks::Question(verb, false) } else { Asks::Nothing }
}

fn lines_reply(kind: lines::Kind, question: Option<&str>, words: Words<'_>) -> Option<Answer> {
    let code = words.bytes.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    if !matches!(words.bytes.get(3), Some(b' ' | b'-' | b'\r')) {
        return None;
    }
    let number: u16 = std::str::from_utf8(code).ok()?.parse().ok().filter(|code| (100..600).contains(code))?;
    let (said, whole) = line(words.bytes.get(4..).unwrap_or_default());
    let said = text::printable(said, 100);
    let question = question.unwrap_or(if words.first { "greeting" } else { "" });
    // Whether a 530 asks for STARTTLS stands in its words.
    let open = number == 530 && kind == lines::Kind::Smtp && !whole;
    let judged = lines::judge(kind, number, &said, question, words.first).filter(|_| !open);
    let rule = if kind == lines::Kind::Smtp { "smtp.reply" } else { "ftp.reply" };
    let tls = (question == "STARTTLS" && number == 220) || (question == "AUTH" && kind == lines::Kind::Ftp && number == 234);
    let finding = judged.map(|(weight, cause)| (rule, weight, cause, format!("{number} {said}")));
    Some(Answer { answer: number.to_string(), ok: number < 400, finding, tls })
}

fn postgres_question(bytes: &[u8]) -> Asks {
    if let Some((_, code)) = bytes.first_chunk::<8>().map(|head| head.split_at(4)) {
        match code.first_chunk::<4>().map(|code| u32::from_be_bytes(*code)) {
            Some(postgres::SSL_REQUEST | postgres::GSS_REQUEST) => return named("SSLRequest"),
            Some(version) if version >> 16 == 3 && version & 0xffff < 10 && bytes.first() == Some(&0) => return named("login"),
            _ => {}
        }
    }
    if !is_typed(bytes) {
        return Asks::Nothing;
    }
    let body = bytes.get(5..).unwrap_or_default();
    match bytes.first() {
        Some(b'Q') => named(&postgres::verb(body)),
        Some(b'P') => {
            let mut cursor = Cursor(body);
            cursor.text();
            named(&postgres::verb(cursor.0))
        }
        Some(b'B' | b'E' | b'D' | b'F') => named("prepared statement"),
        Some(b'p') => named("login"),
        _ => Asks::Nothing,
    }
}

/// A message with a type and a length.
fn is_typed(bytes: &[u8]) -> bool {
    let length = bytes.get(1..5).and_then(|length| length.first_chunk()).map(|length| u32::from_be_bytes(*length));
    length.is_some_and(|length| (4..1 << 30).contains(&length))
}

fn postgres_answer(question: Option<&str>, words: Words<'_>) -> Option<Answer> {
    let bytes = words.bytes;
    if question == Some("SSLRequest")
        && let [byte @ (b'S' | b'N' | b'G')] = bytes
    {
        return Some(Answer { answer: char::from(*byte).to_string(), ok: true, finding: None, tls: *byte == b'S' });
    }
    let mut rest = bytes;
    // An error may stand behind what was well so far: a login that is taken, to a database that is not there.
    while is_typed(rest) && rest.first() != Some(&b'E') {
        if !POSTGRES.contains(rest.first()?) {
            return None;
        }
        let length = rest.get(1..5)?.first_chunk().map(|length| u32::from_be_bytes(*length))?;
        match rest.get(1 + length as usize..) {
            Some(next) if is_typed(next) => rest = next,
            _ => return well("answered"),
        }
    }
    match rest.first() {
        Some(b'E') if is_typed(rest) => postgres_error(question, rest.get(5..)?, words.len > bytes.len() as u64),
        _ => None,
    }
}

/// Types of what a server of PostgreSQL says.
const POSTGRES: &[u8] = b"RSTCZDKAN123nstIGHW";

fn postgres_error(question: Option<&str>, fields: &[u8], cut: bool) -> Option<Answer> {
    let mut cursor = Cursor(fields);
    let (mut severity, mut code, mut message) = (&b""[..], &b""[..], &b""[..]);
    while let Some(field) = cursor.byte() {
        let value = cursor.text();
        match field {
            b'S' if severity.is_empty() => severity = value,
            b'V' => severity = value,
            b'C' => code = value,
            b'M' => message = value,
            _ => break,
        }
    }
    if code.len() != 5 || !code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
        return refused("error".to_owned(), None);
    }
    let (severity, code) = (text::printable(severity, 12), text::printable(code, 5));
    let fatal = matches!(severity.as_str(), "FATAL" | "PANIC");
    let login = question.is_some_and(|question| question == "login");
    // Of 28000 the words decide whether a certificate is missing.
    let open = code == "28000" && cut;
    let (weight, cause) = postgres::judge(fatal, login, &code, &text::printable(message, 120));
    let said = format!("{severity} {code}");
    refused(said.clone(), (!open).then_some(("pg.error", weight, cause, said)))
}

fn mysql_command(words: Words<'_>) -> Asks {
    let [a, b, c, sequence, ref body @ ..] = *words.bytes else { return Asks::Nothing };
    let len = u64::from(u32::from_le_bytes([a, b, c, 0]));
    if len == 0 || len.saturating_add(4) < words.len {
        return Asks::Nothing;
    }
    match (sequence, body) {
        (1, [low, high, ..]) => match mysql::login(u16::from_le_bytes([*low, *high]), len) {
            mysql::Login::Tls => Asks::ForTls,
            mysql::Login::Compressed => Asks::ForEvents,
            mysql::Login::Plain => named("login"),
        },
        (3 | 5, _) => named("login"),
        (0, [command, rest @ ..]) => match mysql::question(*command, rest) {
            Some((question, patient)) => Asks::Question(question, patient),
            None => Asks::Nothing,
        },
        _ => Asks::Nothing,
    }
}

fn mysql_answer(question: Option<&str>, words: Words<'_>) -> Option<Answer> {
    let [_, _, _, sequence, ref body @ ..] = *words.bytes else { return None };
    match (sequence, body) {
        (0, [10, ..]) if words.first => well("greeting"),
        (0, [0xff, low, high, ..]) if words.first => mysql_error(None, u16::from_le_bytes([*low, *high])),
        (1.., [0xff, low, high, ..]) if question.is_some() => mysql_error(question, u16::from_le_bytes([*low, *high])),
        (1.., [_, ..]) if question.is_some() => well("OK"),
        _ => None,
    }
}

fn mysql_error(question: Option<&str>, number: u16) -> Option<Answer> {
    if !(1000..20_000).contains(&number) {
        return None;
    }
    let said = format!("ERROR {number}");
    let login = question.is_none_or(|question| matches!(question, "login" | "CHANGE_USER"));
    let (weight, cause) = mysql::judge(login, number, cause_of_refusal(Asked::Mysql, &number.to_string(), ""));
    refused(said.clone(), Some(("mysql.error", weight, cause, said)))
}

fn mqtt_question(words: Words<'_>) -> Asks {
    match words.bytes.first() {
        Some(0x10) if words.first => named("CONNECT"),
        Some(0xc0) => named("PINGREQ"),
        _ => Asks::Nothing,
    }
}

fn mqtt_answer(bytes: &[u8]) -> Option<Answer> {
    match *bytes {
        [0x20, 2..=127, 0 | 1, code, ..] => {
            let finding = brokers::refusal(code).map(|(weight, cause, text)| ("mqtt.connack", weight, cause, text));
            Some(Answer { answer: format!("CONNACK {code}"), ok: code == 0, finding, tls: false })
        }
        [0xd0, 0, ..] => well("PINGRESP"),
        _ => None,
    }
}

/// Class and method of a frame.
fn amqp_method(bytes: &[u8]) -> Option<(u16, u16, Cursor<'_>)> {
    let mut cursor = Cursor(bytes.strip_prefix(&[1])?);
    cursor.take(6)?;
    Some((cursor.u16()?, cursor.u16()?, cursor))
}

fn amqp_question(bytes: &[u8]) -> Asks {
    match amqp_method(bytes) {
        _ if bytes.starts_with(brokers::AMQP_HEADER) => named("protocol header"),
        // A broker that refuses a login may close without a word (0-9-1 §4.10.2).
        Some((10, 11, _)) => Asks::Question("login".to_owned(), true),
        Some((10, 40, _)) => named("Open"),
        _ => Asks::Nothing,
    }
}

fn amqp_answer(bytes: &[u8]) -> Option<Answer> {
    match amqp_method(bytes)? {
        (10, 50, cursor) => amqp_close(true, cursor),
        (20, 40, cursor) => amqp_close(false, cursor),
        (10.., ..) => well("answered"),
        _ => None,
    }
}

fn amqp_close(connection: bool, mut cursor: Cursor<'_>) -> Option<Answer> {
    let code = cursor.u16()?;
    cursor.byte();
    let words = text::printable(cursor.0, 100);
    let finding = brokers::closing(connection, code, &words).map(|(weight, cause)| {
        let what = if connection { "connection" } else { "channel" };
        ("amqp.close", weight, cause, format!("the broker closes the {what}: {code} {words}"))
    });
    refused(format!("close {code}"), finding)
}
