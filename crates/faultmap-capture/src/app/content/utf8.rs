//! Whether text that is declared as UTF-8 is some (RFC 3629), as its bytes come: nothing of it is kept but a character that is not whole. Of what is no text at
//! all it says nothing.

/// Longest character, bytes.
const LONGEST: usize = 4;
/// Bytes of a text that are looked at.
const MOST: u64 = 64 * 1024;

/// Text as its bytes come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character.
    begun: [u8; LONGEST],
    have: usize,
    seen: u64,
    broken: Option<u64>,
    /// Bytes that stand in no text: a file under a wrong name, which nobody reads as text.
    is_binary: bool,
}

impl Utf8 {
    /// Takes in the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.seen > MOST {
            return;
        }
        let mut rest = bytes;
        self.is_binary |= bytes.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31));
        while self.have > 0 && self.broken.is_none() {
            let Some((byte, tail)) = rest.split_first() else { return };
            rest = tail;
            self.put(*byte);
        }
        if self.broken.is_some() {
            return;
        }
        match std::str::from_utf8(rest) {
            Ok(_) => self.seen += rest.len() as u64,
            Err(error) => {
                self.seen += error.valid_up_to() as u64;
                match error.error_len() {
                    Some(_) => self.broken = Some(self.seen),
                    None => rest.iter().skip(error.valid_up_to()).for_each(|byte| self.put(*byte)),
                }
            }
        }
    }

    /// One more byte of a character that is not whole.
    fn put(&mut self, byte: u8) {
        if let Some(slot) = self.begun.get_mut(self.have) {
            *slot = byte;
            self.have += 1;
        }
        match std::str::from_utf8(self.begun.get(..self.have).unwrap_or_default()) {
            Ok(_) => {
                self.seen += self.have as u64;
                self.have = 0;
            }
            Err(error) if error.error_len().is_some() || self.have == LONGEST => self.broken = Some(self.seen),
            Err(_) => {}
        }
    }

    /// At which byte it is no UTF-8. A character that breaks off at the end harms nobody.
    pub(super) fn broken(&self) -> Option<u64> {
        self.broken.filter(|_| !self.is_binary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(text: &[u8], size: usize) -> Option<u64> {
        let mut utf8 = Utf8::default();
        text.chunks(size).for_each(|piece| utf8.take(piece));
        utf8.broken()
    }

    #[test]
    fn the_first_byte_that_is_none_is_told_wherever_the_pieces_end() {
        for size in 1..12 {
            assert_eq!(broken("Grüße aus Köln, 😀 €".as_bytes(), size), None, "{size}");
            assert_eq!(broken(b"Gr\xfc\xdfe aus K\xf6ln", size), Some(2), "{size}");
            assert_eq!(broken(b"gr\xc3", size), None, "a character that breaks off at the end");
            assert_eq!(broken(b"\x89PNG\r\n\x1a\n\0\0", size), None, "no text at all");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_library(text in prop::collection::vec(32_u8.., 0..60), size in 1_usize..9) {
            let whole = std::str::from_utf8(&text).err().filter(|error| error.error_len().is_some()).map(|error| error.valid_up_to() as u64);
            prop_assert_eq!(broken(&text, size), whole);
        }
    }
}
