//! Content codings (RFC 9110 8.4): undoes them under a bound, and says why it cannot. Pure.

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use std::io::{self, BufRead, Read};

/// Most bytes after decoding: against bombs.
const MOST: u64 = 8 << 20;
/// Most codings in a row that are undone.
const LAYERS: usize = 4;
/// Larger windows than this need no web server (RFC 9659: 8 MiB).
const ZSTD_WINDOW: u64 = 8 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What came of decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    /// As far as it could be decoded.
    pub(super) bytes: Vec<u8>,
    /// Why it ended early.
    pub(super) error: Option<String>,
}

/// Compressed bytes that say so themselves.
pub(super) fn magic(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(GZIP) && bytes.get(2) == Some(&8) {
        Some("gzip")
    } else if bytes.starts_with(ZSTD) {
        Some("zstd")
    } else {
        None
    }
}

/// Undoes the codings of a Content-Encoding value, last applied first. `complete`: the whole body is here; otherwise an early end is no fault.
/// A coding that nobody registered is left alone, as clients do.
pub(super) fn decode(wire: &[u8], declared: Option<&str>, complete: bool) -> Decoded {
    let mut bytes = wire.to_vec();
    let codings: Vec<&str> = declared.unwrap_or_default().split(',').map(str::trim).collect();
    for coding in codings.iter().rev().take(LAYERS) {
        if bytes.is_empty() {
            break;
        }
        let result = match *coding {
            "gzip" | "x-gzip" => gzip(&bytes),
            "deflate" => deflate(&bytes),
            "br" => unpack(brotli::Decompressor::new(bytes.as_slice(), 4096)),
            "zstd" => zstd(&bytes),
            _ => continue,
        };
        let (decoded, error) = result;
        let mismatch = decoded.is_empty() && wrong_magic(coding, &bytes);
        bytes = decoded;
        if let Some(error) = error.filter(|_| complete || mismatch) {
            return Decoded { bytes, error: Some(format!("{coding}: {error}")) };
        }
    }
    Decoded { bytes, error: None }
}

fn wrong_magic(coding: &str, bytes: &[u8]) -> bool {
    match coding {
        "gzip" | "x-gzip" => bytes.len() > 1 && !bytes.starts_with(GZIP),
        "zstd" => bytes.len() > 3 && !bytes.starts_with(ZSTD),
        _ => false,
    }
}

type Unpacked = (Vec<u8>, Option<String>);

fn unpack(decoder: impl Read) -> Unpacked {
    let mut out = Vec::new();
    let error = decoder.take(MOST).read_to_end(&mut out).err().map(said);
    (out, error)
}

fn said(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed data ends early".to_owned(),
        _ => crate::recorder::printable(error.to_string().as_bytes(), 160),
    }
}

/// Several members in a row are one body (RFC 1952 2.2); what follows and is none is ignored, as curl and browsers do.
fn gzip(bytes: &[u8]) -> Unpacked {
    let mut rest = bytes;
    let mut all = Vec::new();
    loop {
        let (part, error) = unpack(GzDecoder::new(&mut rest));
        all.extend(part);
        if error.is_some() || all.len() as u64 >= MOST {
            return (all, error);
        }
        let more = rest.fill_buf().is_ok_and(|rest| rest.starts_with(GZIP));
        if !more {
            return (all, None);
        }
    }
}

/// "deflate" is zlib (RFC 9110 8.4.1.2), but many servers send it raw, and clients take both.
fn deflate(bytes: &[u8]) -> Unpacked {
    let zlib = unpack(ZlibDecoder::new(bytes));
    if zlib.1.is_none() || matches!(bytes, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0) {
        return zlib;
    }
    let raw = unpack(DeflateDecoder::new(bytes));
    if raw.1.is_none() { raw } else { zlib }
}

/// Several frames in a row are one body (RFC 8878 3.1).
fn zstd(bytes: &[u8]) -> Unpacked {
    let mut rest = bytes;
    let mut all = Vec::new();
    loop {
        let (part, error) = match ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW) {
            Ok(decoder) => unpack(decoder),
            Err(error) => (Vec::new(), Some(crate::recorder::printable(error.to_string().as_bytes(), 160))),
        };
        all.extend(part);
        if error.is_some() || all.len() as u64 >= MOST || !rest.starts_with(ZSTD) {
            return (all, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const PAGE: &[u8] = b"<html><title>hello</title>hello hello hello hello</html>";

    fn gz(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn br(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(plain).unwrap();
        out
    }

    fn zst(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn cut(bytes: &[u8]) -> Vec<u8> {
        bytes[..bytes.len() / 2].to_vec()
    }

    #[test]
    fn each_coding_is_undone_and_each_lie_is_named() {
        let cases: Vec<(&str, Vec<u8>, bool, Option<&str>)> = vec![
            ("gzip", gz(PAGE), true, None),
            ("x-gzip", gz(PAGE), true, None),
            ("deflate", zlib(PAGE), true, None),
            ("deflate", raw(PAGE), true, None),
            ("br", br(PAGE), true, None),
            ("zstd", zst(PAGE), true, None),
            ("gzip, br", br(&gz(PAGE)), true, None),
            ("identity", PAGE.to_vec(), true, None),
            ("utf-8", PAGE.to_vec(), true, None),
            ("gzip", [gz(&PAGE[..20]), gz(&PAGE[20..])].concat(), true, None),
            ("gzip", [gz(PAGE), b"\0\0".to_vec()].concat(), true, None),
            ("gzip", PAGE.to_vec(), true, Some("gzip")),
            ("gzip", PAGE.to_vec(), false, Some("gzip")),
            ("zstd", PAGE.to_vec(), true, Some("zstd")),
            ("br", PAGE.to_vec(), true, Some("br")),
            ("deflate", PAGE.to_vec(), true, Some("deflate")),
            ("gzip", zlib(PAGE), true, Some("gzip")),
            ("gzip", cut(&gz(PAGE)), true, Some("ends early")),
            ("gzip", cut(&gz(PAGE)), false, None),
            ("br", cut(&br(PAGE)), true, Some("br")),
            ("br", cut(&br(PAGE)), false, None),
            ("zstd", cut(&zst(PAGE)), true, Some("zstd")),
            ("zstd", cut(&zst(PAGE)), false, None),
            ("gzip", Vec::new(), true, None),
        ];
        for (declared, wire, complete, says) in cases {
            let decoded = decode(&wire, Some(declared), complete);
            match (says, &decoded.error) {
                (None, None) if complete && !wire.is_empty() => assert_eq!(decoded.bytes, PAGE, "{declared}"),
                (None, None) => {}
                (Some(says), Some(error)) => assert!(error.contains(says), "{declared}: {error}"),
                (_, error) => panic!("{declared}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_bomb_is_cut_and_is_no_error() {
        let bomb = gz(&vec![0; 20 << 20]);
        let decoded = decode(&bomb, Some("gzip"), true);
        assert_eq!((decoded.bytes.len() as u64, decoded.error), (MOST, None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), coding in "gzip|deflate|br|zstd", seed in 0_u8..4) {
            let start: &[u8] = match seed { 0 => &[0x1f, 0x8b, 8, 0], 1 => ZSTD, 2 => &[0x78, 0x9c], _ => &[] };
            let _ = decode(&[start, &bytes].concat(), Some(&coding), true);
        }

        #[test]
        fn what_was_encoded_is_decoded(plain in proptest::collection::vec(any::<u8>(), 1..2000)) {
            for (name, wire) in [("gzip", gz(&plain)), ("deflate", zlib(&plain)), ("deflate", raw(&plain)), ("br", br(&plain)), ("zstd", zst(&plain))] {
                let decoded = decode(&wire, Some(name), true);
                prop_assert_eq!((name, &decoded.bytes, decoded.error), (name, &plain, None));
            }
        }
    }
}
