//! What the body of an answer is declared to be (RFC 9110 §8.3, §8.4), and whether it is that: its coding, JSON, UTF-8. The same for every version of HTTP. A body
//! of which something was not captured is none of its business; who finds a hole lets the [`Content`] go.
//!
//! Memory: of a body that is packed, at most [`MOST_KEPT`] bytes until it is complete; of any other a few dozen.

mod gzip;
mod json;
mod utf8;

use super::gather::keep;
use super::tell::{Mark, tell};
use crate::finding::{Finding, Weight};
use faultmap_model::Layer;
use gzip::BEGIN;
use json::Json;
use utf8::Utf8;

/// Bytes of a packed body that are kept; longer ones are judged by their beginning alone.
const MOST_KEPT: usize = 64 * 1024;
/// Fewer bytes may look like text by chance.
const FEWEST: usize = 32;
/// Longest type or coding that is read.
const LONGEST_TOKEN: usize = 32;

/// How a body is said to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Coding {
    #[default]
    None,
    Gzip,
    Brotli,
    Zstd,
    /// Another one, or several.
    Other,
}

/// What it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    Json,
    Text,
    #[default]
    Other,
}

/// What an answer's header fields say of its body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Declared {
    coding: Coding,
    kind: Kind,
    /// By name.
    utf8: bool,
    /// Its type is that of a page.
    pub(super) page: bool,
}

impl Declared {
    /// The value of Content-Type.
    pub(super) fn typed(&mut self, value: &[u8]) {
        let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        self.page = kind.eq_ignore_ascii_case(b"text/html");
        self.kind = match kind {
            _ if kind.eq_ignore_ascii_case(b"application/json") => Kind::Json,
            // Events come as they happen, and end where somebody leaves.
            _ if kind.eq_ignore_ascii_case(b"text/event-stream") => Kind::Other,
            _ if kind.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case(b"text/")) => Kind::Text,
            _ => Kind::Other,
        };
        self.utf8 = parts.any(|part| {
            let (name, value) = part.split_at_checked(8).unwrap_or_default();
            let value = value.trim_ascii().trim_ascii_start();
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            name.eq_ignore_ascii_case(b"charset=") && (value.eq_ignore_ascii_case(b"utf-8") || value.eq_ignore_ascii_case(b"utf8"))
        });
    }

    /// The value of Content-Encoding; of several the last came last.
    pub(super) fn encoded(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        let is = |name: &str| value.len() <= LONGEST_TOKEN && value.eq_ignore_ascii_case(name.as_bytes());
        self.coding = match self.coding {
            Coding::None if is("gzip") || is("x-gzip") => Coding::Gzip,
            Coding::None if is("br") => Coding::Brotli,
            Coding::None if is("zstd") => Coding::Zstd,
            _ => Coding::Other,
        };
    }
}

/// What is wrong with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The rule.
    pub(super) rule: &'static str,
    /// The cause in the words of the map.
    pub(super) cause: &'static str,
    /// In words, after the question.
    pub(super) text: String,
    /// Readers cannot do without; else they show something odd.
    pub(super) fatal: bool,
}

impl Wrong {
    /// As a finding about the answer to this question.
    pub(super) fn finding(self, question: &str, mark: Mark) -> Finding {
        let weight = if self.fatal { Weight::Fault } else { Weight::Warning };
        tell(self.rule, weight, Layer::L6, mark, format!("{question}: {}", self.text)).for_cause(self.cause)
    }
}

/// A program asked for JSON and nothing else, and got a page: that of a login, of a proxy, or of an application that knows no such path.
pub(super) fn page_for_json(question: &str, mark: Mark) -> Finding {
    let text = format!("{question}: only JSON was accepted, and the answer is a page (text/html)");
    tell("http.page-for-json", Weight::Warning, Layer::L6, mark, text).for_cause("l6.content-type-mismatch")
}

fn coded(text: impl std::fmt::Display) -> Wrong {
    Wrong { rule: "http.encoding", cause: "l6.content-encoding-mismatch", text: format!("the body {text}"), fatal: true }
}

/// A body as its bytes come.
#[derive(Debug)]
pub(super) struct Content {
    declared: Declared,
    /// The answer is a success: its body is the thing itself.
    success: bool,
    begin: [u8; 4],
    seen: u64,
    /// What is packed, until it is complete or too long.
    kept: Vec<u8>,
    text: Text,
    told: bool,
}

/// What is declared as text, unpacked.
#[derive(Debug, Default)]
struct Text {
    json: Option<Json>,
    utf8: Option<Utf8>,
}

impl Text {
    fn take(&mut self, bytes: &[u8]) {
        if let Some(json) = &mut self.json {
            json.take(bytes);
        }
        if let Some(utf8) = &mut self.utf8 {
            utf8.take(bytes);
        }
    }

    /// What is wrong with it now that it is complete.
    fn wrong(&self) -> Option<Wrong> {
        let unparsed = self.json.as_ref().and_then(Json::wrong).map(|wrong| Wrong {
            rule: "http.json",
            cause: "l6.serialization-invalid",
            text: format!("the body is declared as JSON, and {wrong}"),
            fatal: true,
        });
        let odd = || {
            self.utf8.as_ref().and_then(Utf8::broken).map(|at| Wrong {
                rule: "http.charset",
                cause: "l6.charset-mismatch",
                text: format!("the body is declared as UTF-8, and is not from byte {at} on"),
                fatal: false,
            })
        };
        unparsed.or_else(odd)
    }
}

impl Content {
    /// The body of an answer with this status; `None` where nothing of it could be told.
    pub(super) fn of(declared: Declared, status: u16) -> Option<Self> {
        // A part of something begins and ends anywhere (RFC 9110 §15.3.7).
        let untold = status == 206 || declared.coding == Coding::Other || (declared.coding == Coding::None && declared.kind == Kind::Other);
        if untold {
            return None;
        }
        let success = (200..300).contains(&status);
        let text = Text {
            json: (declared.kind == Kind::Json && success).then(Json::default),
            utf8: (declared.kind == Kind::Text && declared.utf8 && success).then(Utf8::default),
        };
        Some(Self { declared, success, begin: [0; 4], seen: 0, kept: Vec::new(), text, told: false })
    }

    /// Takes in the next bytes; what is wrong as soon as that is certain.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Wrong> {
        if self.told {
            return None;
        }
        let before = self.seen as usize;
        for (slot, byte) in self.begin.iter_mut().skip(before).zip(bytes) {
            *slot = *byte;
        }
        self.seen += bytes.len() as u64;
        match self.declared.coding {
            Coding::None => self.text.take(bytes),
            Coding::Gzip | Coding::Brotli => keep(&mut self.kept, bytes, MOST_KEPT),
            Coding::Zstd | Coding::Other => {}
        }
        let at = |place: usize| before < place && self.seen as usize >= place;
        let wrong = if at(3) { self.begins_wrongly() } else { None };
        let wrong = wrong.or_else(|| (at(4) && self.declared.coding == Coding::Zstd).then(|| self.no_zstd()).flatten());
        self.told |= wrong.is_some();
        wrong
    }

    /// The first three bytes are there.
    fn begins_wrongly(&self) -> Option<Wrong> {
        let packed = self.begin.starts_with(&BEGIN);
        match (self.declared.coding, self.declared.kind) {
            (Coding::Gzip, _) if !packed => Some(coded("is declared as gzip and is not")),
            (Coding::None, _) if packed => Some(coded("is gzip and declared as plain text")),
            // Neither JSON (RFC 8259 §2) nor anything that is read as such begins so.
            (Coding::None, Kind::Json) if self.begin[0] == b'<' => Some(Wrong {
                rule: "http.page-for-json",
                cause: "l6.content-type-mismatch",
                text: "the body is markup and declared as JSON".to_owned(),
                fatal: true,
            }),
            _ => None,
        }
    }

    /// The first four bytes are there: a frame begins with them, or one to be skipped (RFC 8878 §3.1).
    fn no_zstd(&self) -> Option<Wrong> {
        let frame = matches!(self.begin, [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
        (!frame).then(|| coded("is declared as zstd and is not"))
    }

    /// What is wrong with a body that is complete now.
    pub(super) fn ended(mut self) -> Option<Wrong> {
        if self.told || (self.declared.coding != Coding::None && self.seen > self.kept.len() as u64) {
            return None;
        }
        match self.declared.coding {
            Coding::None => self.text.wrong(),
            Coding::Gzip => {
                let unpacked = gzip::unpack(&self.kept, &mut |piece| self.text.take(piece));
                match unpacked {
                    // Who breaks off an answer that says of a failure may have no more to say.
                    Err(gzip::Broken::Short(_)) if !self.success => None,
                    Err(broken) => Some(coded(format_args!("is declared as gzip and {}", broken.words()))),
                    Ok(()) => self.text.wrong(),
                }
            }
            // Brotli (RFC 7932) has no signature. But no stream of it is text from the first byte to the last: it begins and ends with a few bits of its own, and packs what
            // is between.
            Coding::Brotli => {
                let plain = self.kept.len() >= FEWEST && is_text(&self.kept);
                plain.then(|| coded("is declared as br (Brotli) and is plain text"))
            }
            Coding::Zstd | Coding::Other => None,
        }
    }
}

/// Nothing but text, from the first byte to the last.
fn is_text(bytes: &[u8]) -> bool {
    let printable = bytes.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..));
    printable && std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests;
