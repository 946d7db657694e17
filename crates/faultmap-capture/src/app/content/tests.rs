//! Bodies written by hand, whole and byte by byte.

use super::*;
use flate2::Compression;
use std::io::Write as _;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text).expect("memory");
    packer.finish().expect("memory")
}

/// The rule by which a whole body is not what it is declared to be.
fn rule(status: u16, kind: &str, coding: &[&str], body: &[u8]) -> Option<&'static str> {
    let mut declared = Declared::default();
    declared.typed(kind.as_bytes());
    coding.iter().for_each(|coding| declared.encoded(coding.as_bytes()));
    let told = |size: usize| {
        let mut content = Content::of(declared, status)?;
        let early: Vec<Wrong> = body.chunks(size).filter_map(|piece| content.take(piece)).collect();
        assert!(early.len() < 2, "told once");
        early.into_iter().next().or(content.ended())
    };
    let (whole, pieces) = (told(usize::MAX), told(1));
    assert_eq!(whole, pieces);
    whole.map(|wrong| wrong.rule)
}

const PAGE: &[u8] = b"<!doctype html><title>shop</title><p>nothing but words, and enough of them";

#[test]
fn what_is_declared_as_packed_and_is_not_is_told() {
    for coding in ["gzip", "x-gzip", "GZIP", "br", "zstd"] {
        assert_eq!(rule(200, "text/html", &[coding], PAGE), Some("http.encoding"), "{coding}");
        assert_eq!(rule(206, "text/html", &[coding], PAGE), None, "a part of something begins anywhere: {coding}");
    }
    assert_eq!(rule(200, "text/html", &[], &gzip(PAGE)), Some("http.encoding"));
    assert_eq!(rule(200, "application/octet-stream", &[], &gzip(PAGE)), None);
}

#[test]
fn gzip_that_is_damaged_is_told_once_it_is_complete() {
    let whole = gzip(&PAGE.repeat(40));
    let mut changed = whole.clone();
    let at = changed.len() - 7;
    changed[at] ^= 1;
    assert_eq!(rule(200, "text/html", &["gzip"], &whole), None);
    assert_eq!(rule(200, "text/html", &["gzip"], &changed), Some("http.encoding"));
    assert_eq!(rule(200, "text/html", &["gzip"], &whole[..whole.len() - 20]), Some("http.encoding"));
    assert_eq!(rule(502, "text/html", &["gzip"], &whole[..whole.len() - 20]), None);
    assert_eq!(rule(200, "text/event-stream", &["gzip"], &whole), None);
    // Longer than what is kept: judged by its beginning alone.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(200_000)
    .collect();
    let mut long = gzip(&noise);
    assert!(long.len() > MOST_KEPT);
    long.truncate(100_000);
    assert_eq!(rule(200, "text/html", &["gzip"], &long), None);
}

#[test]
fn what_is_packed_is_looked_at_unpacked() {
    assert_eq!(rule(200, "application/json", &["gzip"], &gzip(b"{\"a\": [1, }")), Some("http.json"));
    assert_eq!(rule(200, "application/json", &["gzip"], &gzip(b"{\"a\": [1]}")), None);
    assert_eq!(rule(200, "text/html; charset=\"UTF-8\"", &["gzip"], &gzip(b"Gr\xfc\xdfe")), Some("http.charset"));
}

#[test]
fn brotli_and_zstd_that_are_some_are_left_alone() {
    // What their own tools make of "hello hello …"; and text that Brotli stores as it is (RFC 7932 §9.2).
    let brotli = b"\x1b\x2f\x00\xf8\x8d\x94\x6e\xde\x44\x55\x86\xd6\x0a\x20\x6c\x6f\x4a\x11\x7b\xe2\x80\xa6\x5a\x00";
    let stored = [&b"\x8b\x1f\x80"[..], &PAGE[..64], b"\x03"].concat();
    assert_eq!(rule(200, "text/html", &["br"], brotli), None);
    assert_eq!(rule(200, "text/html", &["br"], &stored), None);
    assert_eq!(rule(200, "text/html", &["br"], b"short"), None);
    assert_eq!(rule(200, "text/html", &["zstd"], b"\x28\xb5\x2f\xfd\x04\x58\x6d\x00\x00\x38\x68\x65\x6c\x6c\x6f\x20"), None);
    assert_eq!(rule(200, "text/html", &["zstd"], b"\x50\x2a\x4d\x18\x00\x00\x00\x00"), None);
    assert_eq!(rule(200, "text/html", &["deflate"], PAGE), None);
    assert_eq!(rule(200, "text/html", &["gzip", "br"], PAGE), None, "several codings");
}

#[test]
fn text_in_another_charset_than_the_declared_is_told() {
    let latin = b"<p>Gr\xfc\xdfe aus K\xf6ln, d\xe9j\xe0 vu</p>";
    assert_eq!(rule(200, "text/html; charset=utf-8", &[], latin), Some("http.charset"));
    for kind in ["text/html; charset=iso-8859-1", "text/html", "application/octet-stream; charset=utf-8"] {
        assert_eq!(rule(200, kind, &[], latin), None, "{kind}");
    }
    assert_eq!(rule(200, "text/plain; charset=utf-8", &[], "Grüße".as_bytes()), None);
    assert_eq!(rule(200, "text/plain; charset=utf-8", &[], b"\x7fELF\x02\x01\x01\0\0\xff"), None, "a file, and no text");
}

#[test]
fn json_is_looked_at_where_it_is_the_thing_itself() {
    assert_eq!(rule(200, "application/json", &[], b"{\"a\": 1,}"), Some("http.json"));
    assert_eq!(rule(500, "application/json", &[], b"{\"a\": 1,}"), None);
    assert_eq!(rule(500, "application/json", &[], b"<html></html>"), Some("http.page-for-json"));
}
