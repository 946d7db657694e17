//! The session keys of TLS that the user has: read from a key log (RFC 9850, `SSLKEYLOGFILE`) or from the secrets of a pcapng file, and found by the random of
//! the ClientHello. It guesses no key, and shows none: secrets are wiped when they are let go, and have no printable form.
//!
//! Memory: `MOST_CONNECTIONS` connections, about 300 bytes each; of more, the oldest are let go.

mod file;
mod log;
mod protect;
mod schedule;
#[cfg(test)]
mod tests;

pub use file::KeyFile;
pub(crate) use protect::{Opener, TAG};
pub(crate) use schedule::{Suite, Traffic, next_traffic, opener, openers_of_master};

use foldhash::fast::RandomState;
use log::{Line, Lines};
use serde::Serialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Connections whose secrets are kept.
const MOST_CONNECTIONS: usize = 50_000;
/// The longest secret: that of SHA-384, and the master secret of TLS 1.2.
pub(crate) const LONGEST_SECRET: usize = 48;

/// Lines of a key log; wiped when they are let go.
pub type KeyLines = Zeroizing<Vec<u8>>;

/// The random of a ClientHello, which names a connection.
pub(crate) type Random = [u8; 32];

/// A secret; wiped when it is let go.
#[derive(Clone)]
pub(crate) struct Secret {
    bytes: Zeroizing<[u8; LONGEST_SECRET]>,
    len: u8,
}

impl Secret {
    /// `None` if no secret of TLS is so long.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut kept = Zeroizing::new([0; LONGEST_SECRET]);
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: kept, len: bytes.len() as u8 })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What a secret is for: the labels of RFC 9850 that open records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// `CLIENT_RANDOM`: the master secret, up to TLS 1.2.
    Master,
    ClientHandshake,
    ServerHandshake,
    ClientTraffic,
    ServerTraffic,
}

impl Label {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Master, "CLIENT_RANDOM"),
        (Self::ClientHandshake, "CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        (Self::ServerHandshake, "SERVER_HANDSHAKE_TRAFFIC_SECRET"),
        (Self::ClientTraffic, "CLIENT_TRAFFIC_SECRET_0"),
        (Self::ServerTraffic, "SERVER_TRAFFIC_SECRET_0"),
    ];
}

/// The secrets of one connection.
#[derive(Clone, Default)]
pub(crate) struct Secrets([Option<Secret>; Label::ALL.len()]);

impl Secrets {
    pub(crate) fn of(&self, label: Label) -> Option<&Secret> {
        self.0.get(label as usize)?.as_ref()
    }
}

/// What was read of keys, and what it was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct KeysSeen {
    /// Secrets read.
    pub secrets: u64,
    /// Connections that they are of.
    pub connections: u64,
    /// Lines that are no key log.
    pub unreadable_lines: u64,
    /// Secrets let go for want of room.
    pub let_go: u64,
    /// Connections of the capture that were opened with them.
    pub opened: u64,
    /// Connections of the capture that they name, and do not open.
    pub misfits: u64,
    /// Connections of the capture that they name, under a cipher that is not read here.
    pub unread_ciphers: u64,
}

#[derive(Default)]
struct Ring {
    lines: Lines,
    by_random: HashMap<Random, Box<Secrets>, RandomState>,
    order: VecDeque<Random>,
    seen: KeysSeen,
    /// Connections opened; their secrets are asked for by who writes an extract.
    used: HashSet<Random, RandomState>,
    fresh: Vec<Random>,
    /// More may come while packets pass.
    growing: bool,
    /// Something was given to be read, be it empty.
    given: bool,
}

/// Keys, shared by who reads them and who opens connections with them.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Ring>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// How the keys of a connection served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Opened,
    Misfit,
    UnreadCipher,
}

impl Keys {
    /// Takes in a piece of a key log, wherever it is cut.
    pub fn read(&self, bytes: &[u8]) {
        let mut ring = self.ring();
        ring.given = true;
        let mut lines = std::mem::take(&mut ring.lines);
        lines.read(bytes, &mut |line| ring.line(line));
        ring.lines = lines;
    }

    /// A key log is over: its last line may lack its end.
    pub fn end_of_log(&self) {
        self.read(b"\n");
    }

    /// More keys may come while packets pass: connections whose keys are not here yet are worth a second look.
    pub fn will_grow(&self) {
        self.ring().growing = true;
    }

    /// What was read, and what it was good for; `None` where there was nothing to read.
    #[must_use]
    pub fn seen(&self) -> Option<KeysSeen> {
        let ring = self.ring();
        ring.given.then(|| KeysSeen { connections: ring.by_random.len() as u64, ..ring.seen })
    }

    /// The secrets of the connections that were opened since the last call, as lines of a key log.
    #[must_use]
    pub fn take_used(&self) -> KeyLines {
        let mut ring = self.ring();
        let mut out = Zeroizing::new(Vec::new());
        for random in std::mem::take(&mut ring.fresh) {
            if let Some(secrets) = ring.by_random.get(&random) {
                log::write(&random, secrets, &mut out);
            }
        }
        out
    }

    /// There is something to open connections with, or more may come.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        !self.is_idle()
    }

    /// There is nothing to open anything with, and nothing will come.
    pub(crate) fn is_idle(&self) -> bool {
        let ring = self.ring();
        ring.by_random.is_empty() && !ring.growing
    }

    /// Worth asking again later.
    pub(crate) fn is_growing(&self) -> bool {
        self.ring().growing
    }

    /// A number that changes whenever a secret is read.
    pub(crate) fn edition(&self) -> u64 {
        self.ring().seen.secrets
    }

    pub(crate) fn of(&self, random: &Random) -> Option<Box<Secrets>> {
        self.ring().by_random.get(random).cloned()
    }

    pub(crate) fn served(&self, random: &Random, how: Served) {
        let mut ring = self.ring();
        match how {
            Served::Opened if ring.used.len() < MOST_CONNECTIONS && ring.used.insert(*random) => {
                ring.seen.opened += 1;
                ring.fresh.push(*random);
            }
            Served::Opened => {}
            Served::Misfit => ring.seen.misfits += 1,
            Served::UnreadCipher => ring.seen.unread_ciphers += 1,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn line(&mut self, line: Line<'_>) {
        let Line::Secret(label, random, secret) = line else {
            self.seen.unreadable_lines += u64::from(matches!(line, Line::Unreadable));
            return;
        };
        if !self.by_random.contains_key(&random) {
            if self.order.len() >= MOST_CONNECTIONS
                && let Some(oldest) = self.order.pop_front()
                && let Some(gone) = self.by_random.remove(&oldest)
            {
                self.seen.let_go += gone.0.iter().flatten().count() as u64;
            }
            self.order.push_back(random);
        }
        let secrets = self.by_random.entry(random).or_default();
        if let Some(place) = secrets.0.get_mut(label as usize) {
            *place = Secret::new(secret);
            self.seen.secrets += 1;
        }
    }
}
