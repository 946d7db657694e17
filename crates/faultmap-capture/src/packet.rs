//! One captured frame, before anything is read from it.

use faultmap_wire::dissect::LinkType;
use std::fmt;

/// A moment of the capture: nanoseconds since the Unix epoch. Captures may hold any moment, and time may go backwards: arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Nanoseconds from `earlier` to here; 0 if that lies later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        if self.0 > earlier.0 { self.0.abs_diff(earlier.0) } else { 0 }
    }

    /// Milliseconds from `earlier` to here; 0 if that lies later.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> f64 {
        self.since(earlier) as f64 / 1e6
    }
}

/// The number of a packet within its capture, from 1, as Wireshark shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketNo(pub u64);

impl fmt::Display for PacketNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A frame as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Its number.
    pub number: PacketNo,
    /// When.
    pub at: Stamp,
    /// What its first bytes are.
    pub link: LinkType,
    /// Its length on the wire, bytes.
    pub wire_len: u32,
    /// The bytes that were kept.
    pub bytes: &'a [u8],
}
