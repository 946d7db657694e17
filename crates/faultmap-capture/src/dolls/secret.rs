//! Where bytes may hold a credential, whatever the protocol: what follows the words that people use for them. Rather one too many than one too few.

use std::ops::Range;

/// Places hidden in one packet.
const MOST: usize = 64;

/// How far a credential goes.
#[derive(Clone, Copy)]
enum Until {
    /// The end of the line.
    Line,
    /// The end of the value in a query, a form, JSON or a line.
    Value,
}

/// Words, in small letters, behind which a credential stands.
const WORDS: &[(&[u8], Until)] = &[
    (b"authorization:", Until::Line),
    (b"cookie:", Until::Line),
    (b"x-api-key:", Until::Line),
    (b"x-auth-token:", Until::Line),
    (b"sec-websocket-key:", Until::Line),
    (b"\npass ", Until::Line),
    (b"\nauth ", Until::Line),
    (b"identified by ", Until::Line),
    (b"password", Until::Value),
    (b"passwd", Until::Value),
    (b"pwd=", Until::Value),
    (b"secret", Until::Value),
    (b"token", Until::Value),
    (b"api_key", Until::Value),
    (b"apikey", Until::Value),
    (b"signature=", Until::Value),
    (b"sessionid", Until::Value),
];

/// The places, in order of the words. What is empty there is no credential.
#[must_use]
pub fn secrets(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let small = bytes.to_ascii_lowercase();
    // FTP's and Redis' commands may be the first bytes of a payload: a letter before them is none of their own.
    for (word, until) in WORDS {
        let word = word.strip_prefix(b"\n").unwrap_or(word);
        let own_line = word.ends_with(b" ") && matches!(until, Until::Line) && word.len() == 5;
        let mut from = 0;
        while let Some(at) = position(&small, word, from) {
            from = at + word.len();
            let alone = !own_line || at == 0 || small.get(at - 1).is_none_or(|before| !before.is_ascii_graphic());
            if alone && found.len() < MOST {
                found.push(value(bytes, from, *until));
            }
        }
    }
    redis_auth(&small, &mut found);
    found.retain(|range| !range.is_empty());
    found
}

fn position(bytes: &[u8], word: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(word.len()).position(|window| window == word).map(|at| from + at)
}

/// From behind the word to the end of what it names.
fn value(bytes: &[u8], from: usize, until: Until) -> Range<usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    match until {
        Until::Line => from..from + rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len()),
        Until::Value => {
            // Between word and value: = : " ' and blanks.
            let lead = rest.iter().position(|byte| !matches!(byte, b'=' | b':' | b'"' | b'\'' | b' ' | 0)).unwrap_or(rest.len());
            let value = rest.get(lead..).unwrap_or_default();
            let len = value
                .iter()
                .position(|byte| matches!(byte, b'&' | b'"' | b'\'' | b';' | b',' | b' ' | b'\r' | b'\n' | b'}' | 0))
                .unwrap_or(value.len());
            if lead == 0 { from..from } else { from + lead..from + lead + len }
        }
    }
}

/// `*2 $4 AUTH $8 password` in Redis' protocol: everything behind the word.
fn redis_auth(small: &[u8], found: &mut Vec<Range<usize>>) {
    if let Some(at) = position(small, b"\r\nauth\r\n", 0) {
        found.push(at + 8..small.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_whatever_carries_them() {
        for (bytes, secret) in [
            ("GET / HTTP/1.1\r\nAuthorization: Basic am9l\r\nHost: a\r\n", " Basic am9l"),
            ("Set-Cookie: id=7; Path=/\r\nX: y", " id=7; Path=/"),
            ("POST /login user=joe&password=hunter2&x=1", "hunter2"),
            ("{\"token\": \"abc.def\", \"a\": 1}", "abc.def"),
            ("PASS hunter2\r\n", "hunter2"),
            ("\0\0\0PASS hunter2\r\n", "hunter2"),
            ("*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n", "$7\r\nhunter2\r\n"),
        ] {
            let found = secrets(bytes.as_bytes());
            assert!(found.iter().any(|range| &bytes[range.clone()] == secret), "{bytes}: {found:?}");
        }
        assert_eq!(secrets(b"bypass the rest; compass north"), [], "words that only end like one");
    }
}
