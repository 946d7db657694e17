//! Whether bytes are text of the charset that they claim. Pure.

use encoding_rs::{DecoderResult, Encoding, UTF_8};

/// Text, as far as it can be read, and the offset of the first byte that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) error_at: Option<u64>,
}

/// Reads bytes as `label` (WHATWG encoding labels), UTF-8 without one. A byte order mark wins over the label, as in every browser. `complete`:
/// the whole body is here; otherwise a character cut at the end is no fault. An unknown label is read as UTF-8 and blamed for nothing.
pub(super) fn read(bytes: &[u8], label: Option<&str>, complete: bool) -> Text {
    let declared = match label {
        Some(label) => Encoding::for_label(label.as_bytes()),
        None => Some(UTF_8),
    };
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((declared.unwrap_or(UTF_8), 0));
    let body = bytes.get(mark..).unwrap_or_default();
    let (text, _) = encoding.decode_without_bom_handling(body);
    let bad = declared.and_then(|_| first_bad(body, encoding, complete));
    Text { text: text.into_owned(), error_at: bad.map(|at| (at + mark) as u64) }
}

fn first_bad(bytes: &[u8], encoding: &'static Encoding, complete: bool) -> Option<usize> {
    if encoding == UTF_8 {
        let error = std::str::from_utf8(bytes).err()?;
        // No `error_len`: the input ended within a character.
        return (complete || error.error_len().is_some()).then(|| error.valid_up_to());
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut out = vec![0_u8; 4096];
    let mut at = 0;
    loop {
        let (result, read, _) = decoder.decode_to_utf8_without_replacement(bytes.get(at..)?, &mut out, complete);
        at += read;
        match result {
            DecoderResult::InputEmpty => return None,
            DecoderResult::OutputFull => {}
            // `read` covers the bad bytes and those consumed after them.
            DecoderResult::Malformed(bad, after) => return Some(at.saturating_sub(usize::from(bad) + usize::from(after))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_held_against_the_charset_they_claim() {
        // Bytes, label, complete; then: first bad byte, text.
        type Row<'a> = (&'a [u8], Option<&'a str>, bool, Option<u64>, &'a str);
        let cases: &[Row<'_>] = &[
            ("Grüße".as_bytes(), Some("utf-8"), true, None, "Grüße"),
            (b"Gr\xfc\xdfe", Some("utf-8"), true, Some(2), "Gr\u{fffd}\u{fffd}e"),
            (b"Gr\xfc\xdfe", Some("iso-8859-1"), true, None, "Grüße"),
            (b"Gr\xfc\xdfe", None, true, Some(2), "Gr\u{fffd}\u{fffd}e"),
            (b"abc\xc3", Some("utf-8"), true, Some(3), "abc\u{fffd}"),
            (b"abc\xc3", Some("utf-8"), false, None, "abc\u{fffd}"),
            (b"\xef\xbb\xbf{}", Some("utf-8"), true, None, "{}"),
            (b"\x93\xfa\x96\x7b", Some("shift_jis"), true, None, "日本"),
            (b"a\x81\xff", Some("shift_jis"), true, Some(1), "a\u{fffd}"),
            (b"Gr\xfc", Some("no-such-charset"), true, None, "Gr\u{fffd}"),
        ];
        for (bytes, label, complete, error_at, text) in cases {
            let read = read(bytes, *label, *complete);
            assert_eq!((read.error_at, read.text.as_str()), (*error_at, *text), "{bytes:?} {label:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_the_offset_is_within(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            label in "utf-8|utf-16|shift_jis|euc-kr|gb18030|big5|iso-2022-jp|windows-1252|x",
            complete in any::<bool>(),
        ) {
            let read = read(&bytes, Some(&label), complete);
            prop_assert!(read.error_at.is_none_or(|at| at <= bytes.len() as u64));
        }
    }
}
