//! Bytes from the network as text that may be shown.

/// UTF-8 kept, control and direction characters shown as escapes, cut to `most` characters. Reads no more of `bytes` than it shows.
#[must_use]
pub fn printable(bytes: &[u8], most: usize) -> String {
    // What most text is: each byte is a character, and all of them may be shown.
    if is_plain(bytes, most)
        && let Ok(plain) = std::str::from_utf8(bytes)
    {
        return plain.to_owned();
    }
    // A character has at most four bytes: no more than these can be shown.
    let shown = bytes.get(..most.saturating_mul(4).saturating_add(4)).unwrap_or(bytes);
    let mut out = String::new();
    for (count, c) in String::from_utf8_lossy(shown).chars().enumerate() {
        if count >= most {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same of what is known to be text.
#[must_use]
pub fn printable_text(text: &str, most: usize) -> String {
    if is_plain(text.as_bytes(), most) { text.to_owned() } else { printable(text.as_bytes(), most) }
}

fn is_plain(bytes: &[u8], most: usize) -> bool {
    bytes.len() <= most && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_text};

    #[test]
    fn an_escape_sequence_never_reaches_the_terminal() {
        assert_eq!(printable(b"\x1b[2Jhi\r\n", 32), "\\u{1b}[2Jhi\\r\\n");
        assert_eq!(printable(b"abcdef", 3), "abc…");
        assert_eq!(printable_text("\u{1b}[2J", 32), "\\u{1b}[2J");
        assert_eq!(printable_text("abcdef", 3), "abc…");
        assert_eq!(printable_text("/path", 32), "/path");
    }
}
