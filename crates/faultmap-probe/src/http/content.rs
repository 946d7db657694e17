//! What a body turned out to be: decoded, read as text, sniffed, held against what the headers declare. Pure.

use super::charset::{self, Text};
use super::coding::{self, Decoded};
use super::headers::{media_type, text};
use crate::recorder::printable;
use faultmap_model::observation::{BodyEnd, BodyReading};
use http::{HeaderMap, header};
use serde::de::IgnoredAny;

/// Most characters of an excerpt.
const EXCERPT: usize = 160;
/// Bytes that decide what a body looks like (the WHATWG standard reads 1445).
const SNIFFED: usize = 4096;

/// What TLS-only servers say to plain HTTP: nginx, Go, Apache, HAProxy-like and Java servers, Jetty. Shown as the excerpt, so that a reader
/// of the observation sees it.
const TLS_WANTED: &[&str] = &[
    "The plain HTTP request was sent to HTTPS port",
    "Client sent an HTTP request to an HTTPS server",
    "speaking plain HTTP to an SSL-enabled server port",
    "This combination of host and port requires TLS",
    "This web server is running in SSL mode",
];

/// A body as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) bytes: &'a [u8],
    pub(super) end: &'a BodyEnd,
    pub(super) took_ms: f64,
    /// The message has no body by definition (HEAD, 204, 304): headers describe one that is not here.
    pub(super) bodiless: bool,
    pub(super) expect: Option<&'a str>,
}

/// What a page says first, for a human: its title or first line.
pub(super) fn first_words(headers: &HeaderMap, bytes: &[u8], end: &BodyEnd) -> String {
    reading(&Raw { headers, bytes, end, took_ms: 0.0, bodiless: false, expect: None }).excerpt
}

/// Reads it.
pub(super) fn reading(raw: &Raw<'_>) -> BodyReading {
    let (declared_type, declared_charset) = text(raw.headers, header::CONTENT_TYPE).map_or((None, None), |value| media_type(&value));
    let declared_encoding = text(raw.headers, header::CONTENT_ENCODING);
    let complete = *raw.end == BodyEnd::Complete;
    let kind = declared_type.as_deref().unwrap_or_default();
    let Decoded { bytes, error } = coding::decode(raw.bytes, declared_encoding.as_deref(), complete);
    let whole = complete && error.is_none();
    let sniffed = sniff(&bytes, whole);
    let compressed = coding::magic(&bytes).filter(|_| error.is_none() && textual(kind));
    let Text { text, error_at } = charset::read(&bytes, declared_charset.as_deref(), whole);
    let readable = error.is_none() && compressed.is_none() && !raw.bodiless;
    let checked = readable && textual(kind) && (declared_charset.is_some() || json(kind));
    BodyReading {
        end: raw.end.clone(),
        wire_bytes: raw.bytes.len() as u64,
        decoded_bytes: bytes.len() as u64,
        took_ms: raw.took_ms,
        decode_error: error,
        undeclared_encoding: compressed.map(str::to_owned),
        charset_error_at: error_at.filter(|_| checked),
        syntax_error: (readable && whole && json(kind) && !bytes.is_empty())
            .then(|| utf16_undeclared(&bytes, declared_charset.as_deref()).or_else(|| json_error(&text)))
            .flatten(),
        expected_found: raw.expect.map(|expected| text.contains(expected)),
        excerpt: excerpt(&text, sniffed),
        sniffed: sniffed.to_owned(),
        declared_encoding,
        declared_type,
        declared_charset,
    }
}

/// One JSON value by declaration (RFC 8259, RFC 6839); sequences of values are none.
fn json(kind: &str) -> bool {
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

/// Meant to be read as text.
fn textual(kind: &str) -> bool {
    const OTHERS: &[&str] = &["application/xml", "application/javascript", "application/x-ndjson", "application/x-www-form-urlencoded"];
    json(kind) || kind.starts_with("text/") || kind.ends_with("+xml") || OTHERS.contains(&kind)
}

/// JSON that systems exchange is UTF-8 (RFC 8259 8.1): parsers take no other, whatever a browser would read by its byte order mark.
fn utf16_undeclared(bytes: &[u8], charset: Option<&str>) -> Option<String> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let declared = charset.is_some_and(|charset| charset.to_ascii_lowercase().starts_with("utf-16"));
    (marked && !declared).then(|| "the text is UTF-16, and JSON is UTF-8".to_owned())
}

/// The parser's words with line and column.
fn json_error(text: &str) -> Option<String> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?.to_string();
    // A limit of our parser is no fault of the document.
    (!error.starts_with("recursion limit")).then(|| printable(error.as_bytes(), EXCERPT))
}

/// `json`, `html`, `xml`, `text`, `binary`, `empty`.
fn sniff(bytes: &[u8], whole: bool) -> &'static str {
    if bytes.is_empty() {
        return "empty";
    }
    let head = bytes.get(..SNIFFED).unwrap_or(bytes);
    let utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    if !utf16 && binary(head) {
        return "binary";
    }
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if html(start) {
        return "html";
    }
    if start.starts_with(b"<?xml") || matches!(start, [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'!', ..]) {
        return "xml";
    }
    if matches!(start, [b'{' | b'[' | b'"', ..]) && looks_json(bytes, start, whole) {
        return "json";
    }
    "text"
}

fn html(start: &[u8]) -> bool {
    const TAGS: &[&[u8]] = &[
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<body",
        b"<title",
        b"<script",
        b"<style",
        b"<meta",
        b"<h1",
        b"<div",
        b"<p>",
        b"<center",
        b"<!--",
        b"<br",
        b"<table",
    ];
    let lower = start.get(..512).unwrap_or(start).to_ascii_lowercase();
    let xhtml = lower.starts_with(b"<?xml") && lower.windows(5).any(|part| part == b"<html");
    xhtml || TAGS.iter().any(|tag| lower.starts_with(tag))
}

/// NUL, or control characters beyond those of text (the WHATWG binary data bytes).
fn binary(head: &[u8]) -> bool {
    head.iter().any(|byte| matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f))
}

fn looks_json(bytes: &[u8], start: &[u8], whole: bool) -> bool {
    if whole && serde_json::from_slice::<IgnoredAny>(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).is_ok() {
        return true;
    }
    // Broken or cut JSON still begins like JSON.
    let mut rest = start.iter().skip(1).filter(|byte| !byte.is_ascii_whitespace());
    matches!(
        (start.first(), rest.next()),
        (Some(b'{'), Some(b'"' | b'}')) | (Some(b'['), Some(b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
    )
}

/// The sentence by which a TLS-only server answers plain HTTP, a page's title, or the first line.
fn excerpt(text: &str, sniffed: &str) -> String {
    if sniffed == "binary" || sniffed == "empty" {
        return String::new();
    }
    let said = TLS_WANTED.iter().find(|phrase| text.contains(**phrase)).copied();
    let title = || if sniffed == "html" { title(text) } else { None };
    let line = || text.lines().map(str::trim).find(|line| !line.is_empty());
    let chosen = said.or_else(title).or_else(line).unwrap_or_default();
    printable(chosen.as_bytes(), EXCERPT - 1)
}

fn title(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let after = lower.find("<title")?;
    let start = after + lower.get(after..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find('<')?;
    // ASCII lower-casing keeps every offset.
    text.get(start..end).map(str::trim).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(content_type: &str, bytes: &[u8], end: BodyEnd) -> BodyReading {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        }
        reading(&Raw { headers: &headers, bytes, end: &end, took_ms: 0.0, bodiless: false, expect: Some("needle") })
    }

    #[test]
    fn a_body_is_held_against_its_declaration() {
        // Declared type, bytes, then: sniffed, charset error, syntax error, undeclared coding, excerpt.
        type Row<'a> = (&'a str, &'a [u8], &'a str, Option<u64>, bool, Option<&'a str>, &'a str);
        let cases: &[Row<'_>] = &[
            ("application/json", b"{\"a\": [1, 2]}", "json", None, false, None, "{\"a\": [1, 2]}"),
            ("application/json", b"\xef\xbb\xbf{}", "json", None, false, None, "{}"),
            ("application/json", b"{\"a\": 1,}", "json", None, true, None, "{\"a\": 1,}"),
            ("application/json", b"{\"a\": \"\xfc\"}", "json", Some(7), false, None, "{\"a\": \"\u{fffd}\"}"),
            ("application/problem+json", b"<html><head><title> Bad Gateway </title>", "html", None, true, None, "Bad Gateway"),
            ("application/json", b"", "empty", None, false, None, ""),
            ("application/json", b"17", "text", None, false, None, "17"),
            ("application/json", b"\xff\xfe1\x007\x00", "text", None, true, None, "17"),
            ("application/json; charset=utf-16", b"\xff\xfe1\x007\x00", "text", None, false, None, "17"),
            ("application/x-ndjson", b"{}\n{}\n", "json", None, false, None, "{}"),
            (
                "text/html; charset=utf-8",
                b"<!DOCTYPE html><p>Gr\xfc\xdfe",
                "html",
                Some(20),
                false,
                None,
                "<!DOCTYPE html><p>Gr\u{fffd}\u{fffd}e",
            ),
            ("text/html; charset=iso-8859-1", b"<!DOCTYPE html><p>Gr\xfc\xdfe", "html", None, false, None, "<!DOCTYPE html><p>Grüße"),
            ("text/html", b"<p>Gr\xfc\xdfe", "html", None, false, None, "<p>Gr\u{fffd}\u{fffd}e"),
            ("text/plain", b"\n\nhello\nworld", "text", None, false, None, "hello"),
            ("text/xml", b"<?xml version=\"1.0\"?><a/>", "xml", None, false, None, "<?xml version=\"1.0\"?><a/>"),
            ("text/html", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "binary", None, false, Some("gzip"), ""),
            ("application/json", &[0x28, 0xb5, 0x2f, 0xfd, 0, 1], "binary", None, false, Some("zstd"), ""),
            ("application/gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "binary", None, false, None, ""),
            ("image/png", b"\x89PNG\r\n\x1a\n\0\0", "binary", None, false, None, ""),
            ("", b"plain", "text", None, false, None, "plain"),
            (
                "text/html",
                b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
                "html",
                None,
                false,
                None,
                "The plain HTTP request was sent to HTTPS port",
            ),
            (
                "text/plain",
                b"Client sent an HTTP request to an HTTPS server.\n",
                "text",
                None,
                false,
                None,
                "Client sent an HTTP request to an HTTPS server",
            ),
        ];
        for (kind, bytes, sniffed, charset, syntax, undeclared, excerpt) in cases {
            let seen = read(kind, bytes, BodyEnd::Complete);
            let got = (
                seen.sniffed.as_str(),
                seen.charset_error_at,
                seen.syntax_error.is_some(),
                seen.undeclared_encoding.as_deref(),
                seen.excerpt.as_str(),
            );
            assert_eq!(got, (*sniffed, *charset, *syntax, *undeclared, *excerpt), "{kind} {:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_body_that_we_cut_is_not_called_invalid() {
        let seen = read("application/json; charset=utf-8", b"{\"a\": \"\xc3", BodyEnd::Limit);
        assert_eq!((seen.syntax_error, seen.charset_error_at, seen.sniffed.as_str()), (None, None, "json"));
    }

    #[test]
    fn a_syntax_error_tells_line_and_column() {
        let seen = read("application/json", b"{\n  \"a\" 1}", BodyEnd::Complete);
        assert_eq!(seen.syntax_error.as_deref(), Some("expected `:` at line 2 column 7"));
    }

    #[test]
    fn deep_nesting_is_a_limit_of_ours_and_no_fault_of_the_document() {
        let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
        assert_eq!(read("application/json", &deep, BodyEnd::Complete).syntax_error, None);
    }

    #[test]
    fn an_expected_text_is_found_in_the_decoded_body() {
        assert_eq!(read("text/plain", b"hay needle hay", BodyEnd::Complete).expected_found, Some(true));
        assert_eq!(read("text/plain", b"hay", BodyEnd::Complete).expected_found, Some(false));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(kind in "application/json|text/html; charset=utf-8|text/plain|x", bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let seen = read(&kind, &bytes, BodyEnd::Complete);
            prop_assert!(seen.excerpt.chars().count() <= EXCERPT * 10);
        }

        #[test]
        fn sound_json_is_never_blamed(text in "[a-zA-Z0-9äöü \"\\\\]{0,40}", number in any::<i64>()) {
            let document = serde_json::json!({"text": text, "list": [number, null, true]}).to_string();
            let seen = read("application/json", document.as_bytes(), BodyEnd::Complete);
            prop_assert_eq!((seen.syntax_error, seen.charset_error_at, seen.sniffed.as_str()), (None, None, "json"));
        }
    }
}
