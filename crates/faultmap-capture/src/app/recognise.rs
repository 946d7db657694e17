//! Which protocol is spoken: by the first bytes of each side, with the port as a hint where bytes alone do not tell. It looks at no more than [`LOOKED_AT`] bytes
//! of a side.

use super::{brokers, dns, h2, mysql, postgres, redis, socks, tls};
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
    Postgres,
    Mysql,
    Redis,
    Smtp,
    Ftp,
    Ssh,
    Mqtt,
    Amqp,
    Socks,
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
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Smtp => "smtp",
            Self::Ftp => "ftp",
            Self::Ssh => "ssh",
            Self::Mqtt => "mqtt",
            Self::Amqp => "amqp",
            Self::Socks => "socks",
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

/// Says which protocol a connection speaks of whose last segment only the beginning was captured: no more of it will come.
pub(super) fn recognise_cut(first: &First<'_>) -> Guess {
    match recognise(first) {
        // Inline commands of Redis share some of the words.
        Guess::More if first.from_the_start && first.server.is_empty() && usual(first.port) != Some(Spoken::Redis) => {
            if http_request_cut(first.client) { Guess::Is(Spoken::Http, false) } else { Guess::More }
        }
        guess => guess,
    }
}

/// The beginning of a request line: a method that everybody knows, and the beginning of a target.
pub(super) fn http_request_cut(bytes: &[u8]) -> bool {
    let target = METHODS.iter().find_map(|method| bytes.strip_prefix(*method)).unwrap_or_default();
    let begins = target.starts_with(b"/") || target.starts_with(b"http://") || (bytes.starts_with(b"CONNECT ") && target.len() > 1);
    begins && !target.iter().any(u8::is_ascii_control)
}

fn one_way(first: &First<'_>) -> Guess {
    // How most connections begin. No other protocol's first bytes are a method and a whole request line.
    if first.from_the_start && first.server.is_empty() && begins_with_method(first.client) && http_request(first.client) == Likely::Yes {
        return Guess::Is(Spoken::Http, false);
    }
    let full = first.client.len() >= LOOKED_AT || first.server.len() >= LOOKED_AT;
    let mut more = false;
    // In the order of how sure their first bytes are.
    let candidates = [
        (Spoken::Tls, tls(first)),
        (Spoken::H2, http2(first)),
        (Spoken::Ssh, ssh(first)),
        (Spoken::Amqp, begun(first.client, brokers::AMQP_HEADER)),
        (Spoken::Socks, from_its_start(first, socks::greeting(first.port, first.client, first.server))),
        (Spoken::Mqtt, mqtt(first)),
        (Spoken::Postgres, from_its_start(first, postgres::startup(first.client))),
        (Spoken::Mysql, from_its_start(first, mysql::greeting(first.server, first.port))),
        (Spoken::Redis, redis(first)),
        (Spoken::Smtp, lines(first, &[25, 465, 587, 2525, 1025], &[b"EHLO", b"HELO", b"LHLO"])),
        (Spoken::Ftp, lines(first, &[21], &[b"USER", b"AUTH"])),
        (Spoken::Http, http(first)),
        (Spoken::Dns, dns_stream(first)),
    ];
    for (spoken, likely) in candidates {
        match likely {
            // What is surer may still turn out to be it.
            Likely::Yes if more => return Guess::More,
            Likely::Yes => return Guess::Is(spoken, false),
            Likely::Maybe => more |= !full,
            Likely::No => {}
        }
    }
    if more { Guess::More } else { Guess::Unknown }
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
    // A server need not wait for the preface: its first frame is SETTINGS (RFC 9113 §3.4).
    let settings = match *first.server {
        [] => Likely::No,
        [0, 0, len, 4, 0, 0, 0, 0, 0, ..] if len % 6 == 0 => Likely::Yes,
        [0, ref rest @ ..] if rest.len() < 8 && rest.first().is_none_or(|byte| *byte == 0) => Likely::Maybe,
        _ => Likely::No,
    };
    either(settings, begun(first.client, h2::PREFACE))
}

/// Protocols that cannot be taken up in their middle.
fn from_its_start(first: &First<'_>, likely: Likely) -> Likely {
    if first.from_the_start { likely } else { Likely::No }
}

fn begun(bytes: &[u8], words: &[u8]) -> Likely {
    if bytes.is_empty() { Likely::No } else { begins(bytes, words) }
}

fn ssh(first: &First<'_>) -> Likely {
    let refused = if first.port == 22 && (first.server.starts_with(b"Exceeded") || first.server.starts_with(b"Not allowed")) {
        Likely::Yes
    } else {
        Likely::No
    };
    either(refused, either(begun(first.client, b"SSH-"), begun(first.server, b"SSH-")))
}

/// CONNECT with the name of the protocol; its length has up to four bytes.
fn mqtt(first: &First<'_>) -> Likely {
    let [0x10, rest @ ..] = first.client else { return Likely::No };
    let length = rest.iter().take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    match rest.get(length..) {
        None | Some([] | [0] | [0, 4 | 6]) => Likely::Maybe,
        Some([0, 4, name @ ..]) => begins(name, b"MQTT"),
        Some([0, 6, name @ ..]) => begins(name, b"MQIsdp"),
        _ => Likely::No,
    }
}

fn redis(first: &First<'_>) -> Likely {
    let usual = (6379..=6382).contains(&first.port) || first.port == 26_379;
    match redis::command(first.client) {
        Likely::No if usual => match first.client {
            // An inline command, or a server that speaks first: it refuses.
            [] => begun(first.server, b"-"),
            [letter, ..] if letter.is_ascii_alphabetic() => match http_request(first.client) {
                Likely::Yes => Likely::No,
                _ if first.client.contains(&b'\n') => Likely::Yes,
                _ => Likely::Maybe,
            },
            _ => Likely::No,
        },
        likely => likely,
    }
}

/// Mail and FTP both greet with 220: the port tells them apart, or the client's first word.
fn lines(first: &First<'_>, ports: &[u16], words: &[&[u8]]) -> Likely {
    let greets = match first.server {
        [] => return Likely::No,
        [code @ (b'2' | b'4' | b'5'), rest @ ..] => match rest {
            [] => Likely::Maybe,
            [a, ..] if !a.is_ascii_digit() => Likely::No,
            [_] => Likely::Maybe,
            [_, b, ..] if !b.is_ascii_digit() => Likely::No,
            [_, _] => Likely::Maybe,
            [_, _, b' ' | b'-' | b'\r', ..] if *code != b'2' || rest.starts_with(b"20") => Likely::Yes,
            _ => Likely::No,
        },
        _ => Likely::No,
    };
    match greets {
        Likely::Yes if ports.contains(&first.port) => Likely::Yes,
        Likely::Yes => words.iter().fold(Likely::No, |likely, word| {
            let upper = first.client.get(..4).unwrap_or(first.client).to_ascii_uppercase();
            either(likely, begins(&upper, word))
        }),
        other => other,
    }
}

fn http(first: &First<'_>) -> Likely {
    let asked = http_request(first.client);
    let answered = if first.server.is_empty() { Likely::No } else { begins(first.server, b"HTTP/1.") };
    either(asked, answered)
}

const METHODS: [&[u8]; 9] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];

fn begins_with_method(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| bytes.starts_with(method))
}

/// A request line of HTTP/1: a method that everybody knows, or any token before a target and a version.
pub(super) fn http_request(bytes: &[u8]) -> Likely {
    /// Bytes after which a known method is enough.
    const CLEAR: usize = 64;
    if bytes.is_empty() {
        return Likely::No;
    }
    // Inline commands of Redis and requests of HTTP/0.9 share the first word.
    if begins(bytes, h2::PREFACE) == Likely::Yes {
        return Likely::No;
    }
    let known = begins_with_method(bytes);
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let whole = line.len() < bytes.len();
    let token = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).count();
    if !(1..=24).contains(&token) || (line.len() > token && line[token] != b' ') {
        return Likely::No;
    }
    let version = memchr::memchr_iter(b' ', line).find(|space| line[*space..].starts_with(b" HTTP/1."));
    // A target has no control characters (RFC 9112 §3.2). Of a known method's no more is looked at than decides, so that pieces decide like the whole.
    let until = version.unwrap_or(line.len()).min(if known { CLEAR } else { usize::MAX });
    if line[..until].iter().any(u8::is_ascii_control) {
        return Likely::No;
    }
    match version {
        Some(_) => Likely::Yes,
        None if known && line.len() > CLEAR => Likely::Yes,
        None if !whole => Likely::Maybe,
        None => Likely::No,
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

/// Protocols by the port where they usually are, for who wonders why another one is there.
pub(super) fn usual(port: u16) -> Option<Spoken> {
    Some(match port {
        80 => Spoken::Http,
        443 => Spoken::Tls,
        53 => Spoken::Dns,
        5432 => Spoken::Postgres,
        3306 => Spoken::Mysql,
        6379 => Spoken::Redis,
        25 | 587 => Spoken::Smtp,
        21 => Spoken::Ftp,
        22 => Spoken::Ssh,
        1883 => Spoken::Mqtt,
        5672 => Spoken::Amqp,
        _ => return None,
    })
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
