//! The record layer of TLS (RFC 8446 §5, RFC 5246 §6.2) in one direction, without keeping what it carries.

/// Longest record: 2^14 bytes and what encryption may add (RFC 5246 §6.2.3).
const LONGEST: u16 = 16_384 + 2048;

/// Content types.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// Reads records as their bytes come.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; 5],
    have: usize,
    left: u16,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A part of a record's content, with the record's type and length; `last` if the record ends with it.
    Part { kind: u8, len: u16, part: &'a [u8], last: bool },
    /// A header is not complete.
    More,
    /// No record.
    Broken,
}

impl Records {
    /// Takes one step: what it met, and what is left of `bytes`.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> (Step<'a>, &'a [u8]) {
        let mut rest = bytes;
        if self.left == 0 {
            while self.have < self.header.len() {
                let Some((byte, tail)) = rest.split_first() else { return (Step::More, rest) };
                self.header[self.have] = *byte;
                self.have += 1;
                rest = tail;
                if !self.plausible() {
                    return (Step::Broken, rest);
                }
            }
            self.left = self.len();
        }
        let (part, tail) = rest.split_at(rest.len().min(usize::from(self.left)));
        self.left -= part.len() as u16;
        let last = self.left == 0;
        if part.is_empty() && !last {
            return (Step::More, tail);
        }
        if last {
            self.have = 0;
        }
        (Step::Part { kind: self.header[0], len: self.len(), part, last }, tail)
    }

    /// The header of the record that the last [`Step::Part`] is of.
    pub(super) const fn header(&self) -> [u8; 5] {
        self.header
    }

    fn len(&self) -> u16 {
        u16::from_be_bytes([self.header[3], self.header[4]])
    }

    /// The header may be one, as far as it came.
    fn plausible(&self) -> bool {
        let [kind, major, minor, ..] = self.header;
        (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&kind)
            && (self.have < 2 || major == 3)
            && (self.have < 3 || minor <= 4)
            && (self.have < 5 || self.len() <= LONGEST)
    }

    /// The bytes of a header that was none.
    pub(super) fn odd(&self) -> &[u8] {
        self.header.get(..self.have).unwrap_or_default()
    }

    /// Steps over bytes that were not captured: what of the record under way they end, and whether the place of the next header is still known.
    pub(super) fn skip(&mut self, missing: u64) -> (Option<(u8, u16)>, bool) {
        let left = u64::from(self.left);
        if missing < left {
            self.left -= missing as u16;
            return (None, true);
        }
        let ended = (left > 0).then(|| (self.header[0], self.len()));
        *self = Self::default();
        (ended, left > 0 && missing == left)
    }

    /// Whether a record may begin here, for who looks for one.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        let [kind, major, minor, a, b, ..] = *bytes else { return false };
        let header = Self { header: [kind, major, minor, a, b], have: 5, left: 0 };
        header.plausible() && minor >= 1 && header.len() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_wherever_the_bytes_were_split() {
        let bytes = [23, 3, 3, 0, 3, 1, 2, 3, 21, 3, 3, 0, 2, 1, 0, 20, 3, 3, 0, 0];
        for size in 1..bytes.len() {
            let (mut records, mut ends) = (Records::default(), Vec::new());
            for mut piece in bytes.chunks(size) {
                loop {
                    let (step, rest) = records.step(piece);
                    match step {
                        Step::Part { kind, len, last: true, .. } => ends.push((kind, len)),
                        Step::Part { .. } => {}
                        Step::More => break,
                        Step::Broken => panic!("broken"),
                    }
                    piece = rest;
                }
            }
            assert_eq!(ends, [(23, 3), (21, 2), (20, 0)], "{size}");
        }
    }

    #[test]
    fn words_are_no_record() {
        assert_eq!(Records::default().step(b"HTTP/1.1").0, Step::Broken);
        assert_eq!(Records::default().step(&[22, 3, 1, 255, 255]).0, Step::Broken);
    }
}
