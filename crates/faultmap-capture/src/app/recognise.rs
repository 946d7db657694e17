//! Which protocol is spoken: by the first bytes of each side, with the port as a hint where bytes alone do not tell. It looks at no more than [`LOOKED_AT`] bytes
//! of a side.

use super::{dns, h2, tls};
use faultmap_model::Layer;

/// Bytes of each side that are looked at.
pub(super) const LOOKED_AT: usize = 512;

/// A protocol that has a conversation here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Spoken {
    Tls,
    Http,
    H2,
    Dns,
}

impl Spoken {
    /// As tables show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::H2 => "h2",
            Self::Dns => "dns",
        }
    }
}

/// Whether bytes are of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likely {
    Yes,
    /// So far; more bytes will tell.
    Maybe,
    No,
}

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// This protocol; the second is true where the side taken for the client speaks as the server.
    Is(Spoken, bool),
    /// More bytes are needed.
    More,
    /// None that is known here.
    Unknown,
}

/// The first bytes of a flow.
#[derive(Debug, Clone, Copy)]
pub struct First<'a> {
    /// The server's port.
    pub port: u16,
    /// The flow was seen from its beginning, so that these are its very first bytes.
    pub from_the_start: bool,
    /// Of the client.
    pub client: &'a [u8],
    /// Of the server.
    pub server: &'a [u8],
}

/// Says which protocol a TCP connection speaks.
#[must_use]
pub fn recognise(first: &First<'_>) -> Guess {
    let straight = one_way(first);
    if first.from_the_start || matches!(straight, Guess::Is(..)) {
        return straight;
    }
    // Without the SYN it is a guess who is the server: the words of a server tell better.
    match one_way(&First { client: first.server, server: first.client, ..*first }) {
        Guess::Is(spoken, _) => Guess::Is(spoken, true),
        _ => straight,
    }
}

fn one_way(first: &First<'_>) -> Guess {
    let mut more = false;
    for (spoken, likely) in
        [(Spoken::Tls, tls(first)), (Spoken::H2, http2(first)), (Spoken::Http, http(first)), (Spoken::Dns, dns_stream(first))]
    {
        match likely {
            Likely::Yes => return Guess::Is(spoken, false),
            Likely::Maybe => more = true,
            Likely::No => {}
        }
    }
    if more && first.client.len() < LOOKED_AT && first.server.len() < LOOKED_AT { Guess::More } else { Guess::Unknown }
}

fn either(one: Likely, other: Likely) -> Likely {
    match (one, other) {
        (Likely::Yes, _) | (_, Likely::Yes) => Likely::Yes,
        (Likely::Maybe, _) | (_, Likely::Maybe) => Likely::Maybe,
        _ => Likely::No,
    }
}

/// Whether `bytes` begin with `words`, as far as they go.
pub(super) fn begins(bytes: &[u8], words: &[u8]) -> Likely {
    if bytes.starts_with(words) {
        Likely::Yes
    } else if words.starts_with(bytes) {
        Likely::Maybe
    } else {
        Likely::No
    }
}

/// A ClientHello, or any record of a session whose beginning was not seen.
fn tls(first: &First<'_>) -> Likely {
    let hello = match *first.client {
        [] => Likely::No,
        [22, 3, 0..=4, _, _, 1, ..] => Likely::Yes,
        [22] | [22, 3] | [22, 3, 0..=4] | [22, 3, 0..=4, _] | [22, 3, 0..=4, _, _] => Likely::Maybe,
        _ => Likely::No,
    };
    if first.from_the_start {
        return hello;
    }
    let middle = tls::record_begins(first.client) || tls::record_begins(first.server);
    either(hello, if middle { Likely::Yes } else { Likely::No })
}

fn http2(first: &First<'_>) -> Likely {
    if !first.from_the_start && (h2::frame_begins(first.client) || h2::frame_begins(first.server)) {
        return Likely::Yes;
    }
    if first.client.is_empty() { Likely::No } else { begins(first.client, h2::PREFACE) }
}

fn http(first: &First<'_>) -> Likely {
    let asked = http_request(first.client);
    let answered = if first.server.is_empty() { Likely::No } else { begins(first.server, b"HTTP/1.") };
    either(asked, answered)
}

/// A request line of HTTP/1: a method that everybody knows, or any token before a target and a version.
pub(super) fn http_request(bytes: &[u8]) -> Likely {
    const METHODS: [&[u8]; 9] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];
    if bytes.is_empty() {
        return Likely::No;
    }
    // Inline commands of Redis and requests of HTTP/0.9 share the first word.
    if begins(bytes, h2::PREFACE) == Likely::Yes {
        return Likely::No;
    }
    let known = METHODS.iter().any(|method| bytes.starts_with(method));
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let whole = line.len() < bytes.len();
    let token = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).count();
    if !(1..=24).contains(&token) || (line.len() > token && line[token] != b' ') {
        return Likely::No;
    }
    let version = line.windows(8).any(|part| part == b" HTTP/1.");
    match (version, known, whole) {
        (true, _, _) => Likely::Yes,
        (false, true, false) if line.len() > 64 => Likely::Yes,
        (false, _, false) if line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => Likely::Maybe,
        _ => Likely::No,
    }
}

fn dns_stream(first: &First<'_>) -> Likely {
    if first.port != 53 {
        return Likely::No;
    }
    let framed = |bytes: &[u8]| match bytes {
        [] => Likely::No,
        [high, low, message @ ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            match message.get(..len) {
                Some(message) if dns::looks_like(message) => Likely::Yes,
                None if len >= 12 && message.len() + 2 < LOOKED_AT => Likely::Maybe,
                // Long answers are known by their beginning.
                None if len >= 12 && dns::looks_like(message) => Likely::Yes,
                _ => Likely::No,
            }
        }
        [_] => Likely::Maybe,
    };
    either(framed(first.client), framed(first.server))
}

/// Another protocol, by the first words of a server of whom HTTP was expected: the layer, the cause, and what the words are of.
pub(super) fn foreign(bytes: &[u8]) -> Option<(Layer, &'static str, &'static str)> {
    let other = |name| Some((Layer::L7, "l7.protocol-mismatch", name));
    match bytes {
        [0x15, 3, 0..=4, 0, ..] => Some((Layer::L6, "l6.tls-on-plaintext-port", "a TLS alert")),
        [b'S', b'S', b'H', b'-', ..] => other("those of SSH"),
        [b'2', b'2', b'0', b' ' | b'-', ..] => other("those of a mail or FTP server"),
        [b'+', b'O', b'K', ..] => other("those of POP3"),
        [b'*', b' ', b'O', b'K', ..] => other("those of IMAP"),
        [b'-', b'E', b'R', b'R', ..] => other("those of Redis"),
        [_, _, 0, 0, 10 | 0xff, ..] => other("those of MySQL"),
        [0, 0, _, 4, 0, ..] => other("those of HTTP/2"),
        _ => None,
    }
}
