//! What is wrong with a body that came whole and cannot be used: the most fundamental defect first. It claims nothing.
//!
//! Undecoded bytes say nothing of their charset, bytes in a wrong charset nothing of their type, and another type nothing of its syntax.

use crate::Evidence;
use crate::causes::l7::answer::{Answer, usable};
use crate::observation::{BodyEnd, BodyReading};

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Defect {
    /// Content-Encoding and the bytes disagree.
    Encoding(Encoding),
    /// The bytes are not of the declared charset: offset of the first that is not.
    Charset(u64),
    /// Another type than was declared or asked for.
    Type(Mismatch),
    /// Declared JSON that does not parse: the parser's words.
    Syntax(String),
}

/// How Content-Encoding and the bytes disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Declared, and the bytes do not decode: the decoder's words.
    Undecodable(String),
    /// Compressed and not declared: the coding.
    Undeclared(String),
}

/// HTML where something else was to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// Content-Type says so.
    Declared(String),
    /// The request asked for it.
    Expected(String),
}

/// The usable answer, and the first defect of its body.
pub(super) fn defective<'a>(ev: &Evidence<'a>) -> Option<(Answer<'a>, Defect)> {
    let answer = usable(ev)?;
    let body = &answer.response.body;
    let found = encoding(&answer)
        .map(Defect::Encoding)
        .or_else(|| charset(body).map(Defect::Charset))
        .or_else(|| type_of(ev, body).map(Defect::Type))
        .or_else(|| syntax(body).map(Defect::Syntax))?;
    Some((answer, found))
}

fn encoding(answer: &Answer<'_>) -> Option<Encoding> {
    let body = &answer.response.body;
    // What we cut ourselves may end within a compressed block; if nothing at all decodes, the beginning is wrong.
    let judged = body.end == BodyEnd::Complete || (body.end == BodyEnd::Limit && body.decoded_bytes == 0);
    if let Some(words) = body.decode_error.as_ref().filter(|_| judged && body.declared_encoding.is_some()) {
        return Some(Encoding::Undecodable(words.clone()));
    }
    let path = answer.http.url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    // A compressed file may be served as the file that it is.
    let file = [".gz", ".tgz", ".zst", ".svgz", ".br"].iter().any(|ending| path.ends_with(ending));
    let coding = body.undeclared_encoding.clone().filter(|_| !file)?;
    Some(match body.declared_encoding {
        None => Encoding::Undeclared(coding),
        Some(_) => Encoding::Undecodable(format!("what comes out is compressed again, with {coding}: two layers compress and one says so")),
    })
}

fn charset(body: &BodyReading) -> Option<u64> {
    let at = body.charset_error_at?;
    match body.end {
        BodyEnd::Complete => Some(at),
        // A character may be cut in two at our limit.
        BodyEnd::Limit => (at.saturating_add(4) < body.decoded_bytes).then_some(at),
        _ => None,
    }
}

fn type_of(ev: &Evidence<'_>, body: &BodyReading) -> Option<Mismatch> {
    let declared = body.declared_type.as_deref().unwrap_or_default();
    if body.sniffed != "html" {
        return None;
    }
    if is_json(declared) {
        return Some(Mismatch::Declared(declared.to_owned()));
    }
    let expected = ev.header.expect.media_type.as_deref().map(str::to_ascii_lowercase)?;
    let takes_html = expected.contains("html") || expected.contains('*') || expected == declared;
    (!takes_html).then_some(Mismatch::Expected(expected))
}

fn syntax(body: &BodyReading) -> Option<String> {
    let declared = body.declared_type.as_deref().unwrap_or_default();
    // A byte order mark may be ignored (RFC 8259 8.1); guards against script inclusion are stripped by their clients.
    let tolerated =
        ["\u{feff}", "\\xef\\xbb\\xbf", "\\u{feff}", ")]}'", "while(1)", "for(;;)"].iter().any(|start| body.excerpt.starts_with(start));
    let judged = body.end == BodyEnd::Complete && is_json(declared) && !tolerated && body.sniffed != "empty";
    body.syntax_error.clone().filter(|_| judged)
}

/// One JSON value by declaration (RFC 8259, RFC 6839); streams of values are another thing.
fn is_json(declared: &str) -> bool {
    let stream = ["ndjson", "jsonl", "json-seq", "stream+json"].iter().any(|kind| declared.contains(kind));
    !stream && (declared == "application/json" || declared == "text/json" || declared.ends_with("+json"))
}
