//! Where the body of an HTTP/1 message ends (RFC 9112 §6 and §7). Bytes are counted, never kept.

/// How much of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
    /// Whatever comes until the connection closes.
    UntilClose,
}

/// What a piece of bytes did to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eaten {
    /// All of it belongs to the body, which goes on.
    All,
    /// The body ended after so many bytes of the piece.
    Done(usize),
    /// It is not in chunks as it should be.
    Broken,
}

impl Body {
    /// Takes what belongs to the body from the front of `bytes`; `content` is shown what is not framing.
    pub(super) fn eat(&mut self, bytes: &[u8], content: &mut dyn FnMut(&[u8])) -> Eaten {
        match self {
            Self::UntilClose => {
                content(bytes);
                Eaten::All
            }
            Self::Length(left) => {
                let here = bytes.len() as u64;
                if *left > here {
                    *left -= here;
                    content(bytes);
                    return Eaten::All;
                }
                let count = std::mem::take(left) as usize;
                content(bytes.get(..count).unwrap_or_default());
                Eaten::Done(count)
            }
            Self::Chunked(chunks) => chunks.eat(bytes, content),
        }
    }

    /// Steps over bytes that were not captured; false if nobody can say any more where the body ends.
    pub(super) fn skip(&mut self, missing: u64) -> bool {
        let left = match self {
            Self::UntilClose => return true,
            Self::Length(left) | Self::Chunked(Chunks { at: At::Data, left, .. }) => left,
            Self::Chunked(_) => return false,
        };
        // A hole to the very end of a body of known length is as good as the bytes, but the next message then begins at once.
        let known = missing < *left;
        *left = left.saturating_sub(missing);
        known
    }
}

/// A body in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// Bytes left of this chunk, or its size while that is read.
    left: u64,
    /// Characters of this line: digits of a size, or of a trailer field.
    line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    Data,
    DataEnd,
    Trailer,
}

/// Longest line between chunks that is followed.
const LONGEST_LINE: u32 = 16 * 1024;

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, left: 0, line: 0 }
    }

    fn eat(&mut self, bytes: &[u8], content: &mut dyn FnMut(&[u8])) -> Eaten {
        let mut index = 0;
        while let Some(&byte) = bytes.get(index) {
            if self.at == At::Data {
                let rest = bytes.get(index..).unwrap_or_default();
                let here = rest.len() as u64;
                if self.left > here {
                    self.left -= here;
                    content(rest);
                    return Eaten::All;
                }
                let count = std::mem::take(&mut self.left) as usize;
                content(rest.get(..count).unwrap_or_default());
                index += count;
                (self.at, self.line) = (At::DataEnd, 0);
                continue;
            }
            index += 1;
            match self.step(byte) {
                Some(false) => {}
                Some(true) => return Eaten::Done(index),
                None => return Eaten::Broken,
            }
        }
        Eaten::All
    }

    /// One byte between chunks: whether the body ended with it; `None` where it may not stand.
    fn step(&mut self, byte: u8) -> Option<bool> {
        self.line = self.line.saturating_add(1);
        if self.line > LONGEST_LINE {
            return None;
        }
        match (self.at, byte) {
            (At::Size, b'\n') | (At::Extension, b'\n') => {
                if self.at == At::Size && self.line < 2 {
                    return None;
                }
                (self.at, self.line) = (if self.left == 0 { At::Trailer } else { At::Data }, 0);
            }
            (At::Size, b';' | b' ' | b'\t') if self.line > 1 => self.at = At::Extension,
            (At::Size, b'\r') if self.line > 1 => {}
            (At::Size, digit) => {
                let digit = char::from(digit).to_digit(16)?;
                self.left = self.left.checked_mul(16)?.checked_add(u64::from(digit))?;
            }
            (At::DataEnd, b'\r') if self.line == 1 => {}
            (At::DataEnd, b'\n') => (self.at, self.line) = (At::Size, 0),
            (At::DataEnd, _) => return None,
            (At::Trailer, b'\r') if self.line == 1 => self.line = 0,
            (At::Trailer, b'\n') if self.line == 1 => return Some(true),
            (At::Trailer, b'\n') => self.line = 0,
            _ => {}
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expect: Eaten) {
        let mut whole = Body::Chunked(Chunks::new());
        assert_eq!(whole.eat(body, &mut |_| {}), expect, "{}", body.escape_ascii());
        let mut one = Body::Chunked(Chunks::new());
        let mut last = Eaten::All;
        for (index, byte) in body.iter().enumerate() {
            last = match one.eat(&[*byte], &mut |_| {}) {
                Eaten::Done(n) => Eaten::Done(index + n),
                other => other,
            };
            if last != Eaten::All {
                break;
            }
        }
        assert_eq!(last, expect, "byte by byte: {}", body.escape_ascii());
    }

    #[test]
    fn chunks_end_with_an_empty_chunk_and_its_trailer() {
        check(b"5\r\nhello\r\n0\r\n\r\n", Eaten::Done(15));
        check(b"5;x=1\r\nhello\r\n0\r\nA: b\r\n\r\nHTTP", Eaten::Done(25));
        check(b"a\nhelloworld\n0\n\nrest", Eaten::Done(16));
        check(b"5\r\nhel", Eaten::All);
        check(b"z\r\n", Eaten::Broken);
        check(b"\r\n", Eaten::Broken);
        check(b"3\r\nhello", Eaten::Broken);
        check(b"fffffffffffffffff\r\n", Eaten::Broken);
    }

    #[test]
    fn content_is_what_stands_between_the_sizes() {
        let (mut body, mut content) = (Body::Chunked(Chunks::new()), Vec::new());
        for piece in b"5;x=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n".chunks(4) {
            body.eat(piece, &mut |part| content.extend_from_slice(part));
        }
        assert_eq!(content, b"hello world");
    }

    #[test]
    fn a_hole_within_a_body_of_known_length_is_stepped_over() {
        let mut body = Body::Length(10);
        assert!(body.skip(4));
        assert_eq!(body.eat(b"123456rest", &mut |_| {}), Eaten::Done(6));
        let mut chunked = Body::Chunked(Chunks::new());
        assert_eq!(chunked.eat(b"a\r\n12", &mut |_| {}), Eaten::All);
        assert!(chunked.skip(3));
        assert!(!chunked.skip(9));
    }
}
