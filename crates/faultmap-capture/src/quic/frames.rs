//! The frames in an Initial packet (RFC 9000 §19), and the handshake bytes that its CRYPTO frames carry, put in order. An Initial may hold only few kinds
//! (RFC 9000 §12.4); at any other kind reading ends.

use super::varint;
use std::collections::BTreeMap;

/// Frames read from one packet.
const MOST_FRAMES: usize = 256;
/// Pieces that wait for what comes before them.
const MOST_PIECES: usize = 64;
/// Handshake bytes kept: a ClientHello with all that is in fashion has two thousand.
const MOST_BYTES: usize = 32 * 1024;

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// So many bytes of nothing.
    Padding(usize),
    /// Asks for an acknowledgement.
    Ping,
    /// Acknowledges packets up to this one.
    Ack {
        /// The largest packet number.
        largest: u64,
    },
    /// Bytes of the TLS handshake.
    Crypto {
        /// Their place in the handshake.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// The connection is refused or ended.
    Close {
        /// RFC 9000 §20.1; 0x100 to 0x1ff are TLS alerts.
        code: u64,
        /// Words for people; may be anything.
        reason: &'a [u8],
    },
}

/// Iterator over the frames of an opened packet.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Frames<'a> {
    /// The frames in these bytes.
    #[must_use]
    pub fn new(frames: &'a [u8]) -> Frames<'a> {
        Frames { rest: frames, left: MOST_FRAMES }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (frame, rest) = frame(self.rest)?;
        self.rest = rest;
        Some(frame)
    }
}

fn frame(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        0 => {
            let len = bytes.iter().take_while(|byte| **byte == 0).count();
            Some((Frame::Padding(len), bytes.get(len..)?))
        }
        1 => Some((Frame::Ping, rest)),
        2 | 3 => ack(*kind, rest),
        6 => {
            let (offset, rest) = varint(rest)?;
            let (len, rest) = varint(rest)?;
            let (data, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            Some((Frame::Crypto { offset, data }, rest))
        }
        0x1c => {
            let (code, rest) = varint(rest)?;
            let (_, rest) = varint(rest)?;
            let (len, rest) = varint(rest)?;
            let (reason, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            Some((Frame::Close { code, reason }, rest))
        }
        _ => None,
    }
}

/// RFC 9000 §19.3: largest, delay, ranges of a gap and a length each; with ECN three counts more.
fn ack(kind: u8, bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (largest, rest) = varint(bytes)?;
    let (_delay, rest) = varint(rest)?;
    let (ranges, rest) = varint(rest)?;
    let (_first, mut rest) = varint(rest)?;
    let counts = if kind == 3 { 3 } else { 0 };
    // Each number takes a byte at least.
    let numbers = ranges.checked_mul(2)?.checked_add(counts)?;
    if numbers > rest.len() as u64 {
        return None;
    }
    for _ in 0..numbers {
        (_, rest) = varint(rest)?;
    }
    Some((Frame::Ack { largest }, rest))
}

/// The handshake bytes of one side, in order. Browsers send them in pieces out of order, and in two datagrams; what cannot yet be placed waits, bounded.
#[derive(Debug, Default, Clone)]
pub struct CryptoStream {
    ready: Vec<u8>,
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl CryptoStream {
    /// Takes the CRYPTO frames of an opened packet.
    pub fn take(&mut self, frames: &[u8]) {
        for frame in Frames::new(frames) {
            if let Frame::Crypto { offset, data } = frame {
                self.insert(offset, data);
            }
        }
    }

    /// Takes one piece.
    pub fn insert(&mut self, offset: u64, data: &[u8]) {
        let end = offset.saturating_add(data.len() as u64);
        if data.is_empty() || end > MOST_BYTES as u64 || self.waiting.len() >= MOST_PIECES {
            return;
        }
        let longer = self.waiting.get(&offset).is_none_or(|there| there.len() < data.len());
        if longer {
            self.waiting.insert(offset, data.to_vec());
        }
        while let Some(piece) = self.waiting.first_entry().filter(|piece| *piece.key() <= self.ready.len() as u64) {
            let (at, bytes) = piece.remove_entry();
            let known = self.ready.len() - usize::try_from(at).unwrap_or(usize::MAX).min(self.ready.len());
            self.ready.extend(bytes.get(known..).unwrap_or_default());
        }
    }

    /// The bytes from the first on without a hole: TLS handshake messages, without records around them.
    #[must_use]
    pub fn ready(&self) -> &[u8] {
        &self.ready
    }

    /// Pieces that wait for what comes before them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The first handshake message, if it is whole: its type and its bytes after type and length.
    #[must_use]
    pub fn first_message(&self) -> Option<(u8, &[u8])> {
        let [kind, a, b, c, rest @ ..] = self.ready.as_slice() else { return None };
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        Some((*kind, rest.get(..len)?))
    }
}
