//! Two sides that speak different protocols: whether the first words of the side that answers belong to another protocol than the one that was spoken to
//! it. It looks at the first [`LOOKED_AT`] bytes, and says nothing where a protocol's own words could look so. HTTP and TLS look at their answers themselves.

use super::recognise::{Likely, Spoken, begins, http_request};
use crate::flow::Side;
use faultmap_model::Layer;

/// First bytes of an answer that are looked at.
pub(super) const LOOKED_AT: usize = 64;

/// What the first words of the side that answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Of the protocol that was spoken, as far as can be told.
    Own,
    /// More bytes will tell.
    Perhaps,
    /// Of another one: the layer, the cause, and whose words they are.
    Foreign(Layer, &'static str, &'static str),
}

const MISMATCH: &str = "l7.protocol-mismatch";

/// Words by which a server can be known, and whose they are.
const KNOWN: [(&[u8], Spoken, &str); 5] = [
    (b"HTTP/1.", Spoken::Http, "HTTP"),
    (b"SSH-", Spoken::Ssh, "SSH"),
    (b"220 ", Spoken::Smtp, "a mail or FTP server"),
    (b"220-", Spoken::Smtp, "a mail or FTP server"),
    (b"* OK ", Spoken::Smtp, "IMAP"),
];

/// The side whose first words are to be watched: the one that did not begin.
pub(super) fn watched(spoken: Spoken, client_began: bool) -> Option<Side> {
    match (spoken, client_began) {
        (Spoken::Redis | Spoken::Mqtt | Spoken::Amqp | Spoken::Postgres | Spoken::Ssh, true) => Some(Side::Server),
        (Spoken::Smtp | Spoken::Ftp | Spoken::Ssh | Spoken::Mysql, false) => Some(Side::Client),
        _ => None,
    }
}

/// What `bytes`, the first of the watched side, are to somebody who was spoken to in this protocol.
pub(super) fn words(spoken: Spoken, side: Side, bytes: &[u8]) -> Words {
    match side {
        Side::Server => of_server(spoken, bytes),
        Side::Client => of_client(spoken, bytes),
    }
}

/// Every protocol knows its own by the first byte, but SSH, whose banner other lines may precede (RFC 4253 §4.2).
fn may_be_own(spoken: Spoken, first: u8) -> bool {
    match spoken {
        Spoken::Redis => b"+-:$*_#,(!=%~>|".contains(&first),
        Spoken::Mqtt => first & 0x0f == 0 && first >= 0x20,
        Spoken::Amqp => matches!(first, 1..=8 | b'A'),
        Spoken::Postgres => b"NSGERv".contains(&first),
        _ => false,
    }
}

fn of_server(spoken: Spoken, bytes: &[u8]) -> Words {
    let Some(first) = bytes.first() else { return Words::Perhaps };
    if may_be_own(spoken, *first) {
        return Words::Own;
    }
    let alert = match bytes {
        [0x15, 3, 0..=4, 0, 2, ..] => Likely::Yes,
        [0x15] | [0x15, 3] | [0x15, 3, 0..=4] | [0x15, 3, 0..=4, 0] => Likely::Maybe,
        _ => Likely::No,
    };
    if alert == Likely::Yes {
        return Words::Foreign(Layer::L6, "l6.tls-on-plaintext-port", "TLS (an alert)");
    }
    // A greeting: its length, number 0, protocol 10, and a version that begins with a digit.
    let greeting = match bytes {
        [_, _, 0, 0, 10, b'1'..=b'9', ..] => Likely::Yes,
        [_] | [_, _] | [_, _, 0] | [_, _, 0, 0] | [_, _, 0, 0, 10] => Likely::Maybe,
        _ => Likely::No,
    };
    if greeting == Likely::Yes {
        return Words::Foreign(Layer::L7, MISMATCH, "MySQL");
    }
    let mut perhaps = alert == Likely::Maybe || greeting == Likely::Maybe;
    for (known, _, name) in KNOWN.into_iter().filter(|(_, whose, _)| *whose != spoken) {
        match begins(bytes, known) {
            Likely::Yes => return Words::Foreign(Layer::L7, MISMATCH, name),
            Likely::Maybe => perhaps = true,
            Likely::No => {}
        }
    }
    if perhaps && bytes.len() < LOOKED_AT { Words::Perhaps } else { Words::Own }
}

/// Who is greeted in the clear, and begins with TLS or HTTP.
fn of_client(spoken: Spoken, bytes: &[u8]) -> Words {
    match bytes {
        [22, 3, 0..=4, _, _, 1, ..] => return Words::Foreign(Layer::L6, "l6.plaintext-on-tls-port", "TLS"),
        [22] | [22, 3] | [22, 3, 0..=4] | [22, 3, 0..=4, _] | [22, 3, 0..=4, _, _] if spoken != Spoken::Mysql => return Words::Perhaps,
        _ => {}
    }
    if spoken == Spoken::Mysql {
        return Words::Own;
    }
    match http_request(bytes) {
        Likely::Yes if !bytes.starts_with(b"SSH-") => Words::Foreign(Layer::L7, MISMATCH, "HTTP"),
        Likely::Maybe if bytes.len() < LOOKED_AT => Words::Perhaps,
        _ => Words::Own,
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, rules, told};

    #[track_caller]
    fn check(port: u16, lines: &[Line<'_>], expect: &[&str]) {
        assert_eq!(rules(&told(port, lines, End::Closed, 900)), expect);
    }

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const CONNECT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc";
    const STARTUP: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 10];
    const GREETING: &[u8] = b"J\0\0\0\x0a8.0.33\0\x07\0\0\0abcdefgh\0";

    #[test]
    fn an_alert_of_tls_answers_who_speaks_in_the_clear() {
        check(6379, &[(C, 1, PING), (S, 12, ALERT)], &["proto.mismatch fault l6.tls-on-plaintext-port"]);
        check(8883, &[(C, 1, CONNECT), (S, 12, ALERT)], &["proto.mismatch fault l6.tls-on-plaintext-port"]);
    }

    #[test]
    fn a_server_of_another_protocol_is_known_by_its_first_words() {
        let http: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        check(6379, &[(C, 1, PING), (S, 12, http)], &["proto.mismatch fault l7.protocol-mismatch"]);
        check(22, &[(C, 1, b"SSH-2.0-x\r\n"), (S, 12, http)], &["proto.mismatch fault l7.protocol-mismatch"]);
        check(5432, &[(C, 1, STARTUP), (S, 12, GREETING)], &["proto.mismatch fault l7.protocol-mismatch"]);
    }

    #[test]
    fn a_servers_own_words_are_never_taken_for_strange_ones() {
        check(6379, &[(C, 1, PING), (S, 12, b"+PONG\r\n")], &[]);
        check(5432, &[(C, 1, STARTUP), (S, 12, b"N")], &[]);
        check(1883, &[(C, 1, CONNECT), (S, 12, b"\x20\x02\0\0")], &[]);
        check(22, &[(C, 1, b"SSH-2.0-x\r\n"), (S, 12, b"Welcome\r\nSSH-2.0-y\r\n")], &[]);
    }

    #[test]
    fn a_client_that_begins_tls_after_a_greeting_in_the_clear_is_at_the_wrong_port() {
        let hello = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
        let lines: [Line<'_>; 2] = [(S, 11, b"220 mail.test ESMTP\r\n"), (C, 12, &hello)];
        check(25, &lines, &["proto.mismatch warning l6.plaintext-on-tls-port"]);
        let lines: [Line<'_>; 3] = [(S, 11, b"220 mail.test ESMTP\r\n"), (C, 12, b"EHLO a\r\n"), (S, 30, b"250 ok\r\n")];
        check(25, &lines, &[]);
    }
}
