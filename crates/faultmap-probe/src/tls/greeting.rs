//! Which protocol speaks: recognised by the first bytes of a peer. Never reads a socket.

/// The first bytes, or those of an error that a server of that protocol gives to a question of another protocol.
const PREFIXES: &[(&[u8], &str)] = &[
    (b"HTTP/", "http"),
    (b"SSH-", "ssh"),
    (b"RFB ", "vnc"),
    (b"AMQP", "amqp"),
    (b"* OK", "imap"),
    (b"* BYE", "imap"),
    (b"* PREAUTH", "imap"),
    (b"@RSYNCD:", "rsync"),
    (b"INFO {", "nats"),
    (b"+OK\r\n", "redis"),
    (b"+PONG\r\n", "redis"),
    (b"+OK ", "pop3"),
    (b"-ERR ", "redis"),
    (b"-NOAUTH ", "redis"),
    (b"-DENIED ", "redis"),
    (b"-LOADING ", "redis"),
    (b"-READONLY ", "redis"),
    (b"-MISCONF ", "redis"),
    (b"-WRONGPASS ", "redis"),
    (b"ERROR\r\n", "memcached"),
    (b"<stream:", "xmpp"),
    (b"<?xml version='1.0'?><stream:", "xmpp"),
    (b"\xff\xfb", "telnet"),
    (b"\xff\xfd", "telnet"),
    (b"\x03\x00\x00", "rdp"),
    (b"\x00\x00\x00\x00\x00\x01\x7f", "http2"),
];

/// The protocol that a peer's first bytes belong to, if they are those of a known one.
#[must_use]
pub fn looks_like(first: &[u8]) -> Option<&'static str> {
    if is_tls(first) {
        return Some("tls");
    }
    let known = PREFIXES.iter().find(|(prefix, _)| first.starts_with(prefix)).map(|(_, name)| *name);
    known
        .or_else(|| reply_code(first))
        .or_else(|| mysql(first))
        .or_else(|| postgres(first))
        .or_else(|| http2(first))
        .or_else(|| html(first))
        .or_else(|| request_line(first))
}

/// A TLS record: handshake or alert, of any version since SSL 3.0.
#[must_use]
pub(super) fn is_tls(first: &[u8]) -> bool {
    matches!(first, [20..=23, 3, 0..=4, ..])
}

/// Whether bytes may be the beginning of a TLS record.
pub(crate) fn may_be_tls(first: &[u8]) -> bool {
    match first {
        [] | [20..=24] | [20..=24, 3] => true,
        // RFC 8446 5.2: at most 2^14 + 256 bytes; RFC 5246 6.2.3: 2^14 + 2048.
        [20..=24, 3, _, high, ..] => u16::from(*high) <= (1 << 14 | 2048) >> 8,
        [20..=24, 3, _] => true,
        _ => false,
    }
}

/// SMTP (RFC 5321 4.2) and FTP (RFC 959 4.2) both greet with three digits.
fn reply_code(first: &[u8]) -> Option<&'static str> {
    let [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', rest @ ..] = first else { return None };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or(rest).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| line.windows(w.len()).any(|part| part == w.as_bytes()));
    Some(if says(&["smtp", "mail", "postfix", "exim", "sendmail"]) {
        "smtp"
    } else if says(&["ftp", "filezilla"]) {
        "ftp"
    } else if first.starts_with(b"554") || first.starts_with(b"500 5.") || first.starts_with(b"502 5.") {
        "smtp"
    } else {
        "smtp-or-ftp"
    })
}

/// Protocol::HandshakeV10 or an ERR packet, sequence 0: three bytes of length, one of sequence.
fn mysql(first: &[u8]) -> Option<&'static str> {
    match first {
        [_, _, 0, 0, 10, b'3'..=b'9' | b'1', ..] => Some("mysql"),
        // ER_HOST_NOT_PRIVILEGED, ER_CON_COUNT_ERROR and their like: 0xff, a code above 1000, text.
        [_, _, 0, 0 | 1, 0xff, _, 3..=15, b' '..=b'~', ..] => Some("mysql"),
        _ => None,
    }
}

/// ErrorResponse or an authentication request (PostgreSQL message formats).
fn postgres(first: &[u8]) -> Option<&'static str> {
    match first {
        [b'E', 0, 0, _, _, b'S', b'F' | b'E' | b'P', ..] => Some("postgres"),
        [b'E', b'F', b'A', b'T', b'A', b'L', ..] => Some("postgres"),
        [b'R', 0, 0, 0, _, 0, 0, 0, _, ..] => Some("postgres"),
        _ => None,
    }
}

/// A SETTINGS or GOAWAY frame on stream 0 (RFC 9113 4.1).
fn http2(first: &[u8]) -> Option<&'static str> {
    match first {
        [0, 0, _, 4, 0, 0, 0, 0, 0, ..] | [0, 0, _, 7, 0, 0, 0, 0, 0, ..] => Some("http2"),
        _ => None,
    }
}

/// A page without a status line.
fn html(first: &[u8]) -> Option<&'static str> {
    let start = first.trim_ascii_start().get(..14).unwrap_or(first.trim_ascii_start()).to_ascii_lowercase();
    (start.starts_with(b"<!doctype html") || start.starts_with(b"<html") || start.starts_with(b"<head")).then_some("html")
}

/// A request where an answer belongs (RFC 9112 3): our own, sent back.
fn request_line(first: &[u8]) -> Option<&'static str> {
    let line = first.split(|byte| *byte == b'\r').next().unwrap_or(first);
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let named = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    (named && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))).then_some("echo")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_protocol_is_known_by_its_greeting() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"HTTP/1.1 400 Bad Request\r\n", Some("http")),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Some("ssh")),
            (b"GET / HTTP/1.1\r\nhost: shop.test\r\n", Some("echo")),
            (b"GET out", None),
            (b"220 mail.lab ESMTP Postfix\r\n", Some("smtp")),
            (b"220 (vsFTPd 3.0.3)\r\n", Some("ftp")),
            (b"220-FileZilla Server\r\n", Some("ftp")),
            (b"220 ready\r\n", Some("smtp-or-ftp")),
            (b"\x4a\x00\x00\x00\x0a8.0.36\x00rest", Some("mysql")),
            (b"\x5b\x00\x00\x00\x0a11.4.2-MariaDB\x00", Some("mysql")),
            (b"\x47\x00\x00\x00\xff\x6a\x04Host '10.0.0.1' is not allowed", Some("mysql")),
            (b"-ERR unknown command 'GET'\r\n", Some("redis")),
            (b"-NOAUTH Authentication required.\r\n", Some("redis")),
            (b"E\x00\x00\x00\x85SFATAL\x00VFATAL\x00C0A000\x00", Some("postgres")),
            (b"EFATAL:  unsupported frontend protocol\n\x00", Some("postgres")),
            (b"\x15\x03\x01\x00\x02\x02\x46", Some("tls")),
            (b"\x16\x03\x03\x00\x7a\x02", Some("tls")),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", Some("http2")),
            (b"<!DOCTYPE HTML><title>x</title>", Some("html")),
            (b"AMQP\x00\x00\x09\x01", Some("amqp")),
            (b"* OK IMAP4rev1 ready\r\n", Some("imap")),
            (b"+OK POP3 ready\r\n", Some("pop3")),
            (b"hello", None),
            (b"", None),
        ];
        for (first, expected) in cases {
            assert_eq!(looks_like(first), *expected, "{:?}", String::from_utf8_lossy(first));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_tls_is_never_excluded_by_itself(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = looks_like(&bytes);
            if is_tls(&bytes) && bytes.get(3).is_none_or(|high| *high <= 64) {
                prop_assert!(may_be_tls(&bytes));
            }
        }
    }
}
