//! Frames of HTTP/2 in one direction (RFC 9113 §4): their headers, and the payload of those that are read. Bodies are stepped over.

use crate::app::gather::keep;
use faultmap_wire::names::http2_error;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Longest payload that is kept, bytes.
const MOST_KEPT: usize = 32 * 1024;
/// Longest frame that is believed: SETTINGS_MAX_FRAME_SIZE may be 2^24-1, and seldom leaves 2^20.
const LONGEST: u32 = 1 << 22;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    fn read([a, b, c, kind, flags, d, e, f, g]: [u8; 9]) -> Self {
        Self { len: u32::from_be_bytes([0, a, b, c]), kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]) }
    }

    /// Its fields fit one another.
    fn plausible(&self) -> bool {
        let at_connection = self.stream == 0;
        self.len <= LONGEST
            && match self.kind {
                DATA | HEADERS | PUSH_PROMISE | CONTINUATION => !at_connection,
                RST_STREAM => !at_connection && self.len == 4,
                SETTINGS => at_connection && self.len.is_multiple_of(6) && (self.flags & ACK == 0 || self.len == 0),
                PING => at_connection && self.len == 8,
                GOAWAY => at_connection && self.len >= 8,
                WINDOW_UPDATE => self.len == 4,
                _ => true,
            }
    }

    fn kept(&self) -> bool {
        // The answer of the health service is a message of seven bytes.
        matches!(self.kind, HEADERS | RST_STREAM | PUSH_PROMISE | GOAWAY | CONTINUATION) || (self.kind == DATA && self.len <= 7)
    }
}

/// Whether bytes from the middle of a connection look like a frame whose form is strict.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<9>() else { return false };
    let head = Head::read(*header);
    matches!(head.kind, SETTINGS | PING | WINDOW_UPDATE) && head.plausible() && header[5] & 0x80 == 0 && head.flags & !ACK == 0
}

/// Reads frames as their bytes come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; 9],
    have: usize,
    head: Option<Head>,
    left: u32,
    payload: Vec<u8>,
    /// What the last step took of a body: of which frame, and how many bytes.
    taken: Option<(Head, usize)>,
}

/// What the next bytes made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A frame is whole; [`Frames::payload`] holds what was kept of it.
    Whole(Head),
    More,
    /// No frame.
    Broken,
}

impl Frames {
    /// The next byte is the first of a frame.
    pub(super) fn at_start(&self) -> bool {
        self.have == 0 && self.head.is_none()
    }

    /// What stands in place of a header is text: as a frame it would have 2 MiB, and the number of a stream that nobody reaches.
    pub(super) fn is_text(&self) -> bool {
        self.header.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    }

    /// Takes one step: what it met, and what is left of `bytes`.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> (Step, &'a [u8]) {
        let mut rest = bytes;
        self.taken = None;
        let head = match self.head {
            Some(head) => head,
            None => {
                while self.have < self.header.len() {
                    let Some((byte, tail)) = rest.split_first() else { return (Step::More, rest) };
                    self.header[self.have] = *byte;
                    self.have += 1;
                    rest = tail;
                }
                let head = Head::read(self.header);
                if !head.plausible() || self.is_text() {
                    return (Step::Broken, rest);
                }
                self.payload.clear();
                (self.head, self.left) = (Some(head), head.len);
                head
            }
        };
        let (part, tail) = rest.split_at(rest.len().min(self.left as usize));
        if head.kept() {
            keep(&mut self.payload, part, MOST_KEPT);
        }
        self.taken = (head.kind == DATA).then_some((head, part.len()));
        self.left -= part.len() as u32;
        if self.left > 0 {
            return (Step::More, tail);
        }
        (self.head, self.have) = (None, 0);
        (Step::Whole(head), tail)
    }

    /// What the last step, from `before` to `after`, took of a body.
    pub(super) fn body<'a>(&self, before: &'a [u8], after: &[u8]) -> Option<(Head, &'a [u8])> {
        let (head, len) = self.taken?;
        let (taken, _) = before.split_at_checked(before.len().checked_sub(after.len())?)?;
        Some((head, taken.get(taken.len().checked_sub(len)?..)?))
    }

    /// What was kept of the last whole frame, without padding and priority; `None` if it is longer than what is kept, or breaks the rules.
    pub(super) fn payload(&self, head: &Head) -> Option<&[u8]> {
        let mut payload = (head.len as usize <= MOST_KEPT).then_some(&self.payload[..])?;
        let padded = matches!(head.kind, HEADERS | PUSH_PROMISE) && head.flags & PADDED != 0;
        if padded {
            let (pad, rest) = payload.split_first()?;
            payload = rest.get(..rest.len().checked_sub(usize::from(*pad))?)?;
        }
        if head.kind == HEADERS && head.flags & PRIORITY != 0 {
            payload = payload.get(5..)?;
        }
        Some(payload)
    }

    /// Steps over bytes that were not captured; false if the place of the next frame is lost, or one that matters.
    pub(super) fn skip(&mut self, missing: u64) -> bool {
        match self.head {
            Some(head) if !head.kept() && missing < u64::from(self.left) => {
                self.left -= missing as u32;
                true
            }
            _ => {
                *self = Self::default();
                false
            }
        }
    }
}

/// The name of an error code.
pub(super) fn error_name(code: u32) -> &'static str {
    http2_error(code).unwrap_or("an unknown error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_were_split() {
        let bytes = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, SETTINGS, 1, 0, 0, 0, 0];
        for size in 1..bytes.len() {
            let (mut frames, mut kinds) = (Frames::default(), Vec::new());
            for mut piece in bytes.chunks(size) {
                while !piece.is_empty() {
                    let (step, rest) = frames.step(piece);
                    piece = rest;
                    if let Step::Whole(head) = step {
                        kinds.push((head.kind, frames.payload(&head).map(<[u8]>::len)));
                    }
                }
            }
            assert_eq!(kinds, [(RST_STREAM, Some(4)), (SETTINGS, Some(0))], "{size}");
        }
    }

    #[test]
    fn words_are_no_frame() {
        assert_eq!(Frames::default().step(b"HTTP/1.1 200 OK").0, Step::Broken);
        assert!(!begins(b"HTTP/1.1 200 OK"));
        assert!(begins(&[0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
    }
}
