//! Messages that say in a header of fixed length how long they are: found in a stream, with the first bytes of each kept and the rest stepped over.

use super::gather::keep;

/// What the next bytes made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<const H: usize> {
    /// A message is whole: its header. [`Packets::kept`] holds the first bytes of its body.
    Whole([u8; H]),
    More,
    /// A header that is none.
    Broken,
}

/// Reads messages with a header of `H` bytes as their bytes come.
#[derive(Debug)]
pub(super) struct Packets<const H: usize> {
    header: [u8; H],
    have: usize,
    inside: bool,
    left: u64,
    kept: Vec<u8>,
    most: usize,
}

impl<const H: usize> Packets<H> {
    /// Keeps at most `most` bytes of each body.
    pub(super) const fn keeping(most: usize) -> Self {
        Self { header: [0; H], have: 0, inside: false, left: 0, kept: Vec::new(), most }
    }

    /// The next byte is the first of a message.
    pub(super) const fn at_start(&self) -> bool {
        self.have == 0
    }

    /// The first bytes of the body that was last read.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes one step: what it met, and what is left of `bytes`. `body` tells the length of the body from the header; `None` if it is no header.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8], body: impl Fn(&[u8; H]) -> Option<u64>) -> (Step<H>, &'a [u8]) {
        let mut rest = bytes;
        if !self.inside {
            while self.have < H {
                let Some((byte, tail)) = rest.split_first() else { return (Step::More, rest) };
                self.header[self.have] = *byte;
                self.have += 1;
                rest = tail;
            }
            let Some(left) = body(&self.header) else { return (Step::Broken, rest) };
            (self.inside, self.left) = (true, left);
            self.kept.clear();
        }
        let (part, tail) = rest.split_at(usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len()));
        keep(&mut self.kept, part, self.most);
        self.left -= part.len() as u64;
        if self.left > 0 {
            return (Step::More, tail);
        }
        (self.inside, self.have) = (false, 0);
        (Step::Whole(self.header), tail)
    }

    /// Steps over bytes that were not captured; false if the place of the next message is lost.
    pub(super) fn skip(&mut self, missing: u64) -> bool {
        if self.inside && missing < self.left && self.kept.len() >= self.most {
            self.left -= missing;
            return true;
        }
        *self = Self::keeping(self.most);
        false
    }
}

/// Bytes of a body, one after the other, as numbers and texts.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// So many bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    /// Two bytes, most significant first.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Four bytes, most significant first.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Text that ends with a zero, or with the bytes.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = self.0.get(..end).unwrap_or_default();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }
}
