//! The first lines of HTTP/1 messages: what faultmap keeps of them. Values of header fields that may be secret are never kept.

use super::body::{Body, Chunks};
use super::portal;
use super::proxy::Word;
use crate::app::content::Declared;
use crate::app::text;
use foldhash::fast::FixedState;
use httparse::{Header, Status};
use std::hash::BuildHasher;
use std::mem::MaybeUninit;

/// Header fields that are read; a head with more is let go.
const MOST_FIELDS: usize = 128;
/// Codings told apart; longer names are none of them.
const LONGEST_TOKEN: usize = 32;
/// Characters of a method that are shown.
const LONGEST_METHOD: usize = 20;
/// Digits of a number that fits in any case.
const MOST_DIGITS: usize = 19;
/// Bytes of a list of content types that are read.
const LONGEST_LIST: usize = 256;

/// What the client asked.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestHead {
    /// `GET /checkout`
    pub(super) question: String,
    pub(super) method: Method,
    pub(super) host: Option<String>,
    /// It brought a credential.
    pub(super) authorised: bool,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) body: Option<Body>,
    /// The target is an absolute URL: a proxy is asked (RFC 9112 §3.2.2).
    pub(super) absolute: bool,
    /// The path is one by which systems look for a portal before them.
    pub(super) portal_probe: bool,
    /// And its true content is nothing at all.
    pub(super) empty_page: bool,
    /// JSON is the only form of answer that it accepts (RFC 9110 §12.5.1).
    pub(super) wants_json: bool,
    /// It wants the connection for this one request: `Connection: close`, or HTTP/1.0.
    pub(super) closes: bool,
    /// The key of a WebSocket.
    pub(super) key: Option<[u8; 24]>,
    /// The target is one that browsers and robots ask for unasked.
    pub(super) idle_curiosity: bool,
    /// Lines of it were not captured: what it does not say, it may say there.
    pub(super) cut: bool,
    /// The end of the target among them; or even whom it names.
    pub(super) target_cut: bool,
    pub(super) host_cut: bool,
    /// Of method, host and target: whether a redirect leads back.
    pub(super) target_hash: u64,
}

/// Methods that change how an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

/// What a connection is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    Websocket,
    H2c,
    Other,
}

/// What the server answered.
#[derive(Debug, Clone, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// In words, where the status is one of an error: no other is shown.
    pub(super) reason: String,
    pub(super) body: Option<Body>,
    pub(super) location: bool,
    pub(super) declared: Declared,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) grpc_status: bool,
    /// What a proxy says of itself.
    pub(super) proxy: Word,
    /// The host of an absolute Location, and whether by https.
    pub(super) elsewhere: Option<(bool, String)>,
    /// Lines of it were not captured: what it does not say, it may say there.
    pub(super) cut: bool,
    /// The connection ends with it (`Connection: close`).
    pub(super) closes: bool,
    /// Answer to the key of a WebSocket.
    pub(super) accept: Option<[u8; 28]>,
}

/// Why a head was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// More fields than are read.
    Large,
    /// Not as RFC 9112 has it.
    Malformed,
}

/// Reads the head of a request.
pub(super) fn request(bytes: &[u8]) -> Result<RequestHead, Unread> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut read = httparse::Request::new(&mut []);
    done(read.parse_with_uninit_headers(bytes, &mut fields))?;
    let (method, target) = (read.method.unwrap_or_default(), read.path.unwrap_or_default());
    let mut head = RequestHead {
        question: question(method, target),
        method: match method {
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            _ => Method::Other,
        },
        idle_curiosity: idle_curiosity(target),
        closes: read.version != Some(1),
        absolute: text::has(target.as_bytes(), b"://") && method != "CONNECT",
        ..RequestHead::default()
    };
    let framing = Framing::of(read.headers);
    head.body = framing.body()?;
    for field in read.headers.iter() {
        if is(field, "host") {
            head.host = std::str::from_utf8(field.value).ok().map(text::host);
        } else if is(field, "authorization") || is(field, "proxy-authorization") {
            head.authorised = true;
        } else if is(field, "upgrade") {
            head.upgrade = Some(upgrade(field.value));
        } else if is(field, "accept") {
            head.wants_json = only_json(field.value);
        } else if is(field, "connection") {
            head.closes |= closes(field.value);
        } else if is(field, "sec-websocket-key") {
            head.key = field.value.trim_ascii().first_chunk::<24>().filter(|_| field.value.trim_ascii().len() == 24).copied();
        }
    }
    head.portal_probe = portal::is_probe(head.host.as_deref(), target);
    head.empty_page = text::has(target.as_bytes(), b"/gen") && (target.contains("/generate_204") || target.contains("/gen_204"));
    head.target_hash = FixedState::default().hash_one((method, head.host.as_deref(), target));
    Ok(head)
}

/// Method and target, as they may be shown.
fn question(method: &str, target: &str) -> String {
    let path = text::path(target);
    let mut question = String::with_capacity(method.len() + 1 + path.len());
    if method.len() <= LONGEST_METHOD {
        question.push_str(method);
    } else {
        question.push_str(&text::printable(method.as_bytes(), LONGEST_METHOD));
    }
    question.push(' ');
    question.push_str(&path);
    question
}

/// Reads the head of a response. Whether it has a body depends on the request, too.
pub(super) fn response(bytes: &[u8]) -> Result<ResponseHead, Unread> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut read = httparse::Response::new(&mut []);
    done(httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut read, bytes, &mut fields))?;
    let framing = Framing::of(read.headers);
    let status = read.code.unwrap_or_default();
    let mut head = ResponseHead {
        status,
        reason: if status < 400 { String::new() } else { text::printable_text(read.reason.unwrap_or_default(), 40) },
        ..ResponseHead::default()
    };
    head.body = framing.body()?;
    for field in read.headers.iter() {
        if is(field, "location") {
            head.location = true;
            head.elsewhere = portal::host_of(field.value);
        } else if is(field, "connection") {
            head.closes |= closes(field.value);
        } else if is(field, "upgrade") {
            head.upgrade = Some(upgrade(field.value));
        } else if is(field, "sec-websocket-accept") {
            head.accept = field.value.trim_ascii().first_chunk::<28>().filter(|_| field.value.trim_ascii().len() == 28).copied();
        } else if is(field, "x-squid-error") || is(field, "proxy-status") || is(field, "via") {
            head.proxy.take(field.name, field.value);
        } else if is(field, "grpc-status") {
            head.grpc_status = true;
        } else if is(field, "content-encoding") {
            head.declared.encoded(field.value);
        } else if is(field, "content-type") {
            head.declared.typed(field.value);
        }
    }
    Ok(head)
}

/// Reads the beginning of a request's head, the rest of which was not captured: the lines that are whole, or the first as far as it goes.
pub(super) fn cut_request(bytes: &[u8]) -> Option<RequestHead> {
    let lines = whole_lines(bytes);
    if !lines.is_empty() {
        return request(&[lines, b"\r\n"].concat()).ok().map(|head| RequestHead { cut: true, ..head });
    }
    let mut words = bytes.splitn(3, |byte| *byte == b' ');
    let (method, target, more) = (words.next()?, words.next()?, words.next());
    let target_cut = more.is_none();
    let url = target.windows(3).position(|part| part == b"://");
    let authority = url.map_or(target, |at| &target[at + 3..]);
    let host_cut = target_cut && !target.starts_with(b"/") && !authority.contains(&b'/');
    // Before its end an authority may be a user and a password.
    let shown = if host_cut { &target[..url.map_or(0, |at| at + 3)] } else { target };
    let shown = if shown.is_empty() { b"*" } else { shown };
    let mut head = request(&[method, b" ", shown, b" HTTP/1.1\r\n\r\n"].concat()).ok()?;
    if target_cut {
        head.question.truncate(head.question.len() - usize::from(shown == b"*"));
        head.question.push('…');
    }
    (head.cut, head.target_cut, head.host_cut) = (true, target_cut, host_cut);
    Some(head)
}

/// Reads the beginning of an answer's head: its status, and the lines that are whole. What says something by being absent is left out.
pub(super) fn cut_response(bytes: &[u8]) -> Option<ResponseHead> {
    let lines = whole_lines(bytes);
    let first = if lines.is_empty() { bytes } else { lines };
    // HTTP/1.1 503
    let ends = first.len() == 12 || matches!(first.get(12), Some(b' ' | b'\r' | b'\n'));
    let code = first.get(9..12).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
    if !ends || !code || !first.starts_with(b"HTTP/1.") {
        return None;
    }
    let end: &[u8] = if lines.is_empty() { b"\r\n\r\n" } else { b"\r\n" };
    let first = if lines.is_empty() { first.trim_ascii_end() } else { first };
    let head = response(&[first, end].concat()).ok()?;
    Some(ResponseHead { cut: true, ..head })
}

/// Up to the last end of a line.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

pub(in crate::app) fn only_json(accepts: &[u8]) -> bool {
    let json = |kind: &[u8]| {
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let begins = kind.first_chunk::<12>().is_some_and(|begin| begin.eq_ignore_ascii_case(b"application/"));
        let ends = kind.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
        kind.eq_ignore_ascii_case(b"application/json") || (begins && ends)
    };
    accepts.len() <= LONGEST_LIST && accepts.split(|byte| *byte == b',').all(json)
}

fn done(parsed: httparse::Result<usize>) -> Result<(), Unread> {
    match parsed {
        Ok(Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(Unread::Large),
        Ok(Status::Partial) | Err(_) => Err(Unread::Malformed),
    }
}

/// The value of Content-Length; `None` if it is no number.
fn length(value: &[u8]) -> Option<u64> {
    // What it nearly always is: a few digits, and nothing else.
    if (1..=MOST_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit) {
        return Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    }
    std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok())
}

fn is(field: &Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

fn matches(value: &[u8], any: &[&str]) -> bool {
    let value = value.trim_ascii();
    value.len() <= LONGEST_TOKEN && any.iter().any(|one| value.eq_ignore_ascii_case(one.as_bytes()))
}

/// Whether `close` is among the options of a connection (RFC 9112 §9.6).
fn closes(options: &[u8]) -> bool {
    options.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn upgrade(value: &[u8]) -> Upgrade {
    if matches(value, &["websocket"]) {
        Upgrade::Websocket
    } else if matches(value, &["h2c"]) {
        Upgrade::H2c
    } else {
        Upgrade::Other
    }
}

/// Asked for by software on its own account; that it is missing says nothing about the service.
fn idle_curiosity(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.ends_with("/favicon.ico")
        || path == "/robots.txt"
        || path.starts_with("/.well-known/")
        || path.starts_with("/apple-touch-icon")
        || path == "/wpad.dat"
}

/// Content-Length and Transfer-Encoding (RFC 9112 §6.3).
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    conflict: bool,
    chunked: bool,
    coded: bool,
}

impl Framing {
    fn of(fields: &[Header<'_>]) -> Self {
        let mut framing = Self::default();
        for field in fields {
            if is(field, "content-length") {
                let value = length(field.value);
                framing.conflict |= value.is_none() || (framing.length.is_some() && framing.length != value);
                framing.length = value;
            } else if is(field, "transfer-encoding") {
                framing.coded = true;
                let last = field.value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                framing.chunked = matches(last, &["chunked"]);
            }
        }
        framing
    }

    /// The body as the fields describe it; `None` if they do not.
    fn body(&self) -> Result<Option<Body>, Unread> {
        if self.chunked {
            return Ok(Some(Body::Chunked(Chunks::new())));
        }
        if self.coded {
            return Ok(Some(Body::UntilClose));
        }
        if self.conflict {
            return Err(Unread::Malformed);
        }
        Ok(self.length.map(Body::Length))
    }
}
