//! Messages of databases, brokers and line protocols: what kind each is, and the words of an error. Credentials that they carry are hidden.

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;

/// Messages or lines shown.
const MOST: usize = 24;

pub(super) fn over_tcp(builder: &Builder<'_>, from: u16, to: u16) -> Option<Vec<Doll>> {
    let either = |port: u16| from == port || to == port;
    let b = builder.clone();
    let doll = match () {
        () if either(5432) => postgres(b, to == 5432),
        () if either(3306) => mysql(b, to == 3306),
        () if either(6379) => redis(b),
        () if either(1883) => mqtt(b),
        () if either(5672) => amqp(b),
        () if either(1433) && b.number(0, 1) == 0x10 => Some(all_hidden(b, "SQL Server login")),
        () if (either(389) || either(3268)) && b.number(0, 1) == 0x30 && b.bytes().iter().take(12).any(|byte| *byte == 0x60) => {
            Some(all_hidden(b, "LDAP bind"))
        }
        () => lines(b),
    };
    doll.map(|doll| vec![doll])
}

fn done(b: Builder<'_>, name: impl Into<String>, from_client: bool) -> Doll {
    let (writer, reader) =
        if from_client { ("the client's driver", "the server program") } else { ("the server program", "the client's driver") };
    b.doll(Some(Layer::L7), name, writer, reader)
}

/// A message that holds a password as a whole.
fn all_hidden(mut b: Builder<'_>, name: &'static str) -> Doll {
    let len = b.len();
    b.hide(0, len).field("message", 0, len, "");
    done(b, name, true)
}

/// PostgreSQL's messages: a letter, a length, the rest; at first the client's come without a letter.
fn postgres(mut b: Builder<'_>, from_client: bool) -> Option<Doll> {
    let (len, code) = (b.number(0, 4) as usize, b.number(4, 4));
    if from_client && len == b.len() && matches!(code, 0x0003_0000 | 0x0003_0002 | 80_877_103 | 80_877_102) {
        let (name, words) = match code {
            80_877_103 => ("PostgreSQL SSL request", String::new()),
            80_877_102 => ("PostgreSQL cancel request", String::new()),
            _ => ("PostgreSQL startup", strings(b.bytes().get(8..).unwrap_or_default())),
        };
        b.number_field("length", 0, 4).hex_field("protocol", 4, 4);
        if code == 80_877_102 {
            b.hide(8, len.saturating_sub(8)).field("key", 8, len.saturating_sub(8), "");
        } else {
            b.field("parameters", 8, len.saturating_sub(8), words);
        }
        return Some(done(b, name, true));
    }
    if let (false, [answer @ (b'S' | b'N')]) = (from_client, b.bytes()) {
        let note = if *answer == b'S' { "TLS follows" } else { "the server speaks no TLS" };
        b.field("answer", 0, 1, char::from(*answer).to_string()).note(note);
        return Some(done(b, "PostgreSQL answer to the SSL request", false));
    }
    let (mut at, mut count) = (0, 0);
    while at + 5 <= b.len() && count < MOST {
        let (letter, len) = (b.number(at, 1) as u8, b.number(at + 1, 4) as usize);
        if !letter.is_ascii_alphanumeric() || !(4..=1 << 24).contains(&len) {
            return None;
        }
        let here = (1 + len).min(b.len() - at);
        let name = postgres_name(letter, from_client);
        if letter == b'p' && from_client {
            b.hide(at + 5, here.saturating_sub(5));
            b.field("message", at, 1, format!("{name}: hidden"));
        } else {
            let rest = b.bytes().get(at + 5..at + here).unwrap_or_default();
            let words = if matches!((letter, from_client), (b'E' | b'N' | b'S' | b'C', false) | (b'Q', true)) {
                strings(rest)
            } else {
                format!("{} bytes", len - 4)
            };
            b.field("message", at, here, format!("{name}: {words}"));
        }
        at += 1 + len;
        count += 1;
    }
    (count > 0).then(|| done(b, "PostgreSQL", from_client))
}

fn postgres_name(letter: u8, from_client: bool) -> &'static str {
    match (letter, from_client) {
        (b'R', false) => "authentication",
        (b'S', false) => "parameter",
        (b'K', false) => "key",
        (b'Z', false) => "ready",
        (b'E', false) => "ERROR",
        (b'N', false) => "notice",
        (b'T', false) => "row description",
        (b'D', false) => "row",
        (b'C', false) => "complete",
        (b'Q', true) => "query",
        (b'P', true) => "parse",
        (b'B', true) => "bind",
        (b'E', true) => "execute",
        (b'p', true) => "password",
        (b'X', true) => "terminate",
        _ => "message",
    }
}

/// Strings that end with a zero byte, in one line.
fn strings(bytes: &[u8]) -> String {
    bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).take(16).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

/// MySQL's packets: three bytes of length, little end first, and a number.
fn mysql(mut b: Builder<'_>, from_client: bool) -> Option<Doll> {
    let bytes = b.bytes();
    let [l0, l1, l2, sequence, first, ..] = *bytes else { return None };
    let len = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
    if len == 0 {
        return None;
    }
    b.field("length", 0, 3, len.to_string()).number_field("sequence", 3, 1);
    let rest = bytes.get(5..(4 + len).min(bytes.len())).unwrap_or_default();
    match (from_client, sequence, first) {
        (false, 0, 10) => {
            let version = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            b.field("greeting", 4, 1 + version.len(), format!("version {}", String::from_utf8_lossy(version)));
        }
        (false, _, 0xff) => {
            let code = rest.first_chunk::<2>().map_or(0, |code| u16::from_le_bytes(*code));
            b.field("error", 4, 1 + rest.len(), format!("{code} {}", String::from_utf8_lossy(rest.get(2..).unwrap_or_default())));
        }
        (false, ..) => _ = b.field("answer", 4, 1, format!("begins with 0x{first:02x}")),
        (true, 0, 3) => _ = b.field("query", 4, 1 + rest.len(), String::from_utf8_lossy(rest)),
        (true, 0, command) => _ = b.field("command", 4, 1, command.to_string()),
        (true, ..) => {
            let len = b.len().saturating_sub(4);
            b.hide(4, len).field("login", 4, len, "");
        }
    }
    Some(done(b, "MySQL", from_client))
}

/// Redis' lines; what follows AUTH is hidden with the other credentials.
fn redis(b: Builder<'_>) -> Option<Doll> {
    let first = b.bytes().first()?;
    matches!(first, b'+' | b'-' | b':' | b'$' | b'*' | b'%' | b'_' | b'#' | b'>').then(|| every_line(b, "Redis"))
}

/// SMTP, FTP, POP3, IMAP, SSH's first line, and what else speaks in lines.
fn lines(b: Builder<'_>) -> Option<Doll> {
    let bytes = b.bytes();
    let line = bytes.iter().position(|byte| *byte == b'\n').map(|end| bytes.get(..end).unwrap_or_default().trim_ascii_end())?;
    let printable = (3..=1000).contains(&line.len()) && line.iter().all(|byte| (0x20..0x7f).contains(byte));
    let name = if line.starts_with(b"SSH-") { "SSH version" } else { "text lines" };
    printable.then(|| every_line(b, name))
}

fn every_line(mut b: Builder<'_>, name: &'static str) -> Doll {
    let mut at = 0;
    for line in b.bytes().split_inclusive(|byte| *byte == b'\n').take(MOST) {
        b.field("line", at, line.len(), String::from_utf8_lossy(line.trim_ascii_end()));
        at += line.len();
    }
    b.doll(Some(Layer::L7), name, "the sending program", "the receiving program")
}

/// MQTT's fixed header; of a CONNECT all behind the client's name, which may be a password, is hidden.
fn mqtt(mut b: Builder<'_>) -> Option<Doll> {
    let first = *b.bytes().first()?;
    let name = match first >> 4 {
        1 => "CONNECT",
        2 => "CONNACK",
        3 => "PUBLISH",
        8 => "SUBSCRIBE",
        9 => "SUBACK",
        12 => "PINGREQ",
        13 => "PINGRESP",
        14 => "DISCONNECT",
        0 => return None,
        _ => "packet",
    };
    b.hex_field("type and flags", 0, 1).note(name);
    if name == "CONNECT" {
        let len = b.len().saturating_sub(2);
        b.hide(2, len).field("connect", 2, len, "");
    } else if name == "CONNACK" {
        let accepted = b.number(3, 1) == 0;
        b.number_field("code", 3, 1).note(if accepted { "accepted" } else { "refused" });
    }
    Some(done(b, format!("MQTT {name}"), matches!(name, "CONNECT" | "PINGREQ" | "SUBSCRIBE" | "DISCONNECT")))
}

/// AMQP 0-9-1's protocol header or first frame; the answer to a start holds the password.
fn amqp(mut b: Builder<'_>) -> Option<Doll> {
    if b.bytes().starts_with(b"AMQP") {
        b.field("protocol header", 0, 8, format!("AMQP {}-{}-{}", b.number(5, 1), b.number(6, 1), b.number(7, 1)));
        return Some(done(b, "AMQP protocol header", true));
    }
    let kind = b.number(0, 1);
    let name = match kind {
        1 => "method",
        2 => "header",
        3 => "body",
        8 => "heartbeat",
        _ => return None,
    };
    b.number_field("type", 0, 1).note(name).number_field("channel", 1, 2).number_field("length", 3, 4);
    if kind == 1 {
        b.number_field("class", 7, 2).number_field("method", 9, 2);
        if (b.number(7, 2), b.number(9, 2)) == (10, 11) {
            let len = b.len().saturating_sub(11);
            b.hide(11, len).field("login", 11, len, "");
        }
    }
    Some(b.doll(Some(Layer::L7), format!("AMQP {name}"), "the sending program", "the receiving program"))
}
