//! One direction of a TLS connection whose keys are known: which key and which number the next sealed record has. A number is only ever believed when the tag
//! of a record verifies under it, so that one lost in a hole of the capture is found again, or not at all.

use crate::keys::{Opener, Suite, TAG, Traffic, next_traffic, opener};

/// Records that may be missing in a hole whose end is found again.
const MOST_MISSING: u64 = 512;
/// Keys and numbers tried in one direction in vain.
const MOST_TRIALS: u32 = 2048;
/// Records of a beginning that no key opens: those of a handshake whose secrets are not in the log, early data that the server refuses.
const MOST_STRANGE: u32 = 48;

/// Where a direction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// No record has been opened yet.
    Untried,
    /// Records are opened one after the other.
    Good,
    /// The number was lost in a hole of the capture.
    Lost,
    /// A record does not verify although the one before it did, and nothing is missing between.
    Damaged,
    /// None of the first records verified.
    Misfit,
}

/// One direction.
pub(super) struct Way {
    /// The record that is being put together.
    body: Vec<u8>,
    /// A part of it was not captured.
    torn: bool,
    /// The keys of the handshake and after it, in their order; `None` where the log lacks one.
    openers: Vec<Option<Opener>>,
    /// The secret of the last of them.
    traffic: Option<Traffic>,
    /// The number of the next record under the first of the openers.
    number: u64,
    /// So many more records may have gone by unseen.
    unsure: u64,
    /// Bytes that were not captured since the last record that was.
    missing: u64,
    trials: u32,
    strange: u32,
    pub(super) trust: Trust,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            body: Vec::new(),
            torn: false,
            openers: Vec::new(),
            traffic: None,
            number: 0,
            unsure: 0,
            missing: 0,
            trials: 0,
            strange: 0,
            trust: Trust::Untried,
        }
    }
}

/// What became of a sealed record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It goes on.
    Part,
    /// It was opened: its true type, and whether there is a hole before it.
    Opened(u8, bool),
    /// It was not captured whole: so many bytes of content are missing, if it is of the application.
    Torn(u64),
    /// It cannot be opened.
    Sealed,
}

impl Way {
    /// The keys are known: those of TLS 1.3 in their order, or the one of TLS 1.2.
    pub(super) fn unlock(&mut self, openers: Vec<Option<Opener>>, traffic: Option<Traffic>) {
        if self.openers.is_empty() {
            // What went by before counts under the first key, or is of a handshake whose key is gone.
            (self.unsure, self.number) = (self.number.min(MOST_MISSING), 0);
            (self.openers, self.traffic) = (openers, traffic);
            return;
        }
        // Some were here before: the later ones are what a growing log adds.
        self.traffic = self.traffic.take().or(traffic);
        for (mine, new) in self.openers.iter_mut().rev().zip(openers.into_iter().rev()) {
            if mine.is_none() {
                *mine = new;
            }
        }
    }

    /// Records were tried, and none was opened.
    pub(super) fn has_failed(&self) -> bool {
        self.trust == Trust::Misfit || (self.trust == Trust::Untried && self.strange > 0)
    }

    /// Other keys than those of the log are used from here on.
    pub(super) fn lock(&mut self) {
        (self.openers, self.trust) = (Vec::new(), Trust::Lost);
    }

    /// Whether records can be opened.
    pub(super) fn is_locked(&self) -> bool {
        self.openers.is_empty() || matches!(self.trust, Trust::Lost | Trust::Damaged | Trust::Misfit)
    }

    /// A part of a sealed record; its content in `out` once it is opened.
    pub(super) fn take(&mut self, (header, part, last): ([u8; 5], &[u8], bool), suite: Option<Suite>, out: &mut Vec<u8>) -> Record {
        if self.is_locked() {
            self.number += u64::from(last && self.openers.is_empty());
            self.body = Vec::new();
            return if last { Record::Sealed } else { Record::Part };
        }
        if !last {
            self.body.extend_from_slice(part);
            return Record::Part;
        }
        let body = std::mem::take(&mut self.body);
        if self.torn {
            return Record::Torn(self.pass(u16::from_be_bytes([header[3], header[4]]), suite).unwrap_or_default());
        }
        if body.is_empty() {
            return self.open(header, part, suite, out);
        }
        let mut whole = body;
        whole.extend_from_slice(part);
        let record = self.open(header, &whole, suite, out);
        // Its room is used again.
        whole.clear();
        self.body = whole;
        record
    }

    fn open(&mut self, header: [u8; 5], body: &[u8], suite: Option<Suite>, out: &mut Vec<u8>) -> Record {
        let Some(kind) = self.attempt(header, body, suite, out) else {
            self.fail();
            return Record::Sealed;
        };
        let hole = std::mem::take(&mut self.missing) > 0;
        (self.unsure, self.trust) = (0, Trust::Good);
        Record::Opened(kind, hole)
    }

    fn fail(&mut self) {
        self.strange += 1;
        let spent = self.trials > MOST_TRIALS;
        self.trust = match self.trust {
            // Or the key of what follows is not in the log.
            Trust::Good if self.missing > 0 || self.openers.iter().any(Option::is_none) => Trust::Lost,
            Trust::Good => Trust::Damaged,
            Trust::Untried if self.missing > 0 => Trust::Lost,
            Trust::Untried if spent || self.strange > MOST_STRANGE => Trust::Misfit,
            same => same,
        };
    }

    /// Tries the keys from the present one on, each with the numbers that are possible; gives the record's true type.
    fn attempt(&mut self, header: [u8; 5], body: &[u8], suite: Option<Suite>, out: &mut Vec<u8>) -> Option<u8> {
        for at in 0..self.openers.len() {
            let first = if at == 0 { self.number } else { 0 };
            let Some((kind, number)) = self.search(at, first, header, body, out) else { continue };
            self.openers.drain(..at);
            self.number = number + 1;
            return Some(kind);
        }
        // A KeyUpdate may have been in the hole.
        if self.unsure == 0 || self.openers.len() > 1 {
            return None;
        }
        let (opener, traffic) = self.successor(suite?)?;
        self.openers.push(Some(opener));
        let Some((kind, number)) = self.search(1, 0, header, body, out) else {
            self.openers.truncate(1);
            return None;
        };
        self.openers.remove(0);
        (self.traffic, self.number) = (Some(traffic), number + 1);
        Some(kind)
    }

    fn search(&mut self, at: usize, first: u64, header: [u8; 5], body: &[u8], out: &mut Vec<u8>) -> Option<(u8, u64)> {
        let opener = self.openers.get(at)?.as_ref()?;
        for number in first..=first.saturating_add(self.unsure) {
            if self.trials > MOST_TRIALS {
                return None;
            }
            if let Some(kind) = opener.open(number, header, body, out) {
                return Some((kind, number));
            }
            self.trials += 1;
        }
        None
    }

    fn successor(&self, suite: Suite) -> Option<(Opener, Traffic)> {
        let next = next_traffic(suite, self.traffic.as_ref()?)?;
        Some((opener(suite, &next)?, next))
    }

    /// The sender goes on under new keys (RFC 8446 §4.6.3).
    pub(super) fn update(&mut self, suite: Suite) {
        match self.successor(suite) {
            Some((opener, traffic)) => (self.openers, self.traffic, self.number) = (vec![Some(opener)], Some(traffic), 0),
            None => self.openers = Vec::new(),
        }
    }

    /// The present record, of this length, ends in what was not captured: bytes of content that are missing, if it was sealed.
    pub(super) fn pass(&mut self, len: u16, suite: Option<Suite>) -> Option<u64> {
        self.body.clear();
        self.torn = false;
        let sealed = !self.is_locked();
        self.number += u64::from(sealed);
        sealed.then(|| u64::from(len).saturating_sub(suite.map_or(TAG, |suite| suite.sealed_as.overhead()) as u64))
    }

    /// Bytes within the present record were not captured.
    pub(super) fn tear(&mut self) {
        self.torn = true;
        self.body.clear();
    }

    /// So many bytes were not captured, and with them the place of the next record.
    pub(super) fn lose(&mut self, missing: u64) {
        self.body.clear();
        self.torn = false;
        self.missing = self.missing.saturating_add(missing);
        // No record is shorter than its header, a type and a tag. Most are longer: the bound holds long holes, too.
        let records = self.missing.div_ceil(5 + 1 + TAG as u64).saturating_add(1);
        self.unsure = self.unsure.max(records.min(MOST_MISSING));
    }
}
