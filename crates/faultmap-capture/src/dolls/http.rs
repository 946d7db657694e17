//! HTTP/1 heads line by line, and HTTP/2 frames by their headers.

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;
use faultmap_wire::names::http2_error;

const METHODS: [&[u8]; 9] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];
/// What a client says first in HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames shown.
const MOST_FRAMES: usize = 24;

/// HTTP/1: a head, and a body behind it.
pub(super) fn one(builder: &Builder<'_>) -> Option<Vec<Doll>> {
    let bytes = builder.bytes();
    let answer = bytes.starts_with(b"HTTP/1.");
    if !answer && !METHODS.iter().any(|method| bytes.starts_with(method)) {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let mut b = builder.part(0, end);
    let mut at = 0;
    for line in b.bytes().split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        match (at, answer) {
            (0, true) => status_line(&mut b, text),
            (0, false) => request_line(&mut b, text),
            _ => header(&mut b, at, text),
        }
        at += line.len();
    }
    let (writer, reader) = if answer {
        ("the server program", "the client program; proxies on the way")
    } else {
        ("the client program", "the server program; proxies on the way")
    };
    let mut dolls = vec![b.doll(Some(Layer::L7), if answer { "HTTP/1 answer" } else { "HTTP/1 request" }, writer, reader)];
    if end < bytes.len() {
        let mut body = builder.part(end, bytes.len() - end);
        let len = body.len();
        body.field("length here", 0, 0, len.to_string());
        dolls.push(body.doll(Some(Layer::L7), "HTTP/1 body", writer, reader));
    }
    Some(dolls)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Method, path, query, version: a query alone may be hidden.
fn request_line(b: &mut Builder<'_>, line: &[u8]) {
    let mut at = 0;
    for (n, word) in line.split(|byte| *byte == b' ').enumerate() {
        match n {
            0 => _ = b.field("method", at, word.len(), text(word)),
            1 => {
                let path = word.iter().position(|byte| *byte == b'?').unwrap_or(word.len());
                b.field("path", at, path, text(word.get(..path).unwrap_or_default()));
                if path < word.len() {
                    b.field("query", at + path, word.len() - path, text(word.get(path..).unwrap_or_default()));
                }
            }
            2 => _ = b.field("version", at, word.len(), text(word)),
            _ => return,
        }
        at += word.len() + 1;
    }
}

fn status_line(b: &mut Builder<'_>, line: &[u8]) {
    let code = line.get(9..12).unwrap_or_default();
    b.field("version", 0, 8, text(line.get(..8).unwrap_or_default()));
    b.field("status", 9, 3, text(code)).note(match code.first() {
        Some(b'2') => "worked",
        Some(b'3') => "elsewhere",
        Some(b'4') => "the server blames the request",
        Some(b'5') => "the server blames itself, or what is behind it",
        _ => "",
    });
    b.field("reason", 13, line.len().saturating_sub(13), text(line.get(13..).unwrap_or_default()));
}

fn header(b: &mut Builder<'_>, at: usize, line: &[u8]) {
    if let Some(colon) = line.iter().position(|byte| *byte == b':') {
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        b.field(text(name), at + colon + 1, value.len(), text(value.trim_ascii_start()));
    }
}

/// HTTP/2: the payload must be whole frames, or begin with the preface.
pub(super) fn two(builder: &Builder<'_>) -> Option<Vec<Doll>> {
    let preface = builder.bytes().starts_with(PREFACE);
    let mut at = if preface { PREFACE.len() } else { 0 };
    let (mut dolls, mut known) = (Vec::new(), true);
    if preface {
        dolls.push(builder.part(0, PREFACE.len()).doll(Some(Layer::L7), "HTTP/2 preface", "the client program", "the server program"));
    }
    while let Some([a, b, c, kind, _, stream, ..]) = builder.bytes().get(at..).filter(|rest| rest.len() >= 9 && dolls.len() < MOST_FRAMES) {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        known &= *kind <= 9 && stream & 0x80 == 0 && len <= 1 << 14;
        dolls.push(frame(builder.part(at, 9 + len), *kind));
        at += 9 + len;
    }
    let whole = known && at == builder.len();
    (!dolls.is_empty() && (preface || whole)).then_some(dolls)
}

fn frame(mut b: Builder<'_>, kind: u8) -> Doll {
    let name = match kind {
        0 => "DATA",
        1 => "HEADERS",
        2 => "PRIORITY",
        3 => "RST_STREAM",
        4 => "SETTINGS",
        5 => "PUSH_PROMISE",
        6 => "PING",
        7 => "GOAWAY",
        8 => "WINDOW_UPDATE",
        9 => "CONTINUATION",
        _ => "unknown frame",
    };
    b.number_field("length", 0, 3).number_field("type", 3, 1).note(name).hex_field("flags", 4, 1).number_field("stream", 5, 4);
    let rest = b.len().saturating_sub(9);
    match kind {
        1 | 5 | 9 => {
            b.hide(9, rest);
            b.field("header block", 9, rest, "");
        }
        3 => {
            let code = error(&b, 9);
            b.number_field("error", 9, 4).note(code);
        }
        7 => {
            let code = error(&b, 13);
            b.number_field("last stream", 9, 4).number_field("error", 13, 4).note(code);
        }
        8 => _ = b.number_field("increment", 9, 4),
        _ => {}
    }
    b.doll(Some(Layer::L7), format!("HTTP/2 {name}"), "the sending program's HTTP library", "the receiving program's HTTP library")
}

/// The name of the error code at an offset.
fn error(b: &Builder<'_>, at: usize) -> &'static str {
    u32::try_from(b.number(at, 4)).ok().and_then(http2_error).unwrap_or_default()
}
