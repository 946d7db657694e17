//! QUIC as far as it can be read without keys of the endpoints: headers of the packets in a datagram (RFC 8999, RFC 9000 §17, RFC 9369), and what Initial
//! packets hold, whose keys anybody can derive who saw the client's first one ([`Initial`]). Pure functions of bytes: no state, no panic, bounded.

mod frames;
mod initial;

pub use frames::{CryptoStream, Frame, Frames};
#[cfg(test)]
pub(crate) use initial::testkit::protect;
pub use initial::{Initial, Opened};

/// QUIC version 1 (RFC 9000).
pub const V1: u32 = 1;
/// QUIC version 2 (RFC 9369).
pub const V2: u32 = 0x6b33_43cf;
/// Longest connection id of the versions known (RFC 9000 §17.2).
const MOST_ID: usize = 20;
/// Packets read from one datagram.
const MOST_PACKETS: usize = 8;
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;

/// What kind of packet with a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The handshake's first messages; anybody may read it.
    Initial,
    /// Data before the handshake is over.
    ZeroRtt,
    /// The rest of the handshake, encrypted for the two ends.
    Handshake,
}

/// A packet with a long header that carries frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Long<'a> {
    /// [`V1`], [`V2`] or another.
    pub version: u32,
    /// Which kind.
    pub kind: Kind,
    /// The receiver's connection id.
    pub dcid: &'a [u8],
    /// The sender's.
    pub scid: &'a [u8],
    /// An Initial's token: what a Retry or an earlier connection gave.
    pub token: &'a [u8],
    /// The whole packet; where the capture cut it, what there is.
    pub bytes: &'a [u8],
    /// Where the packet number starts in `bytes`.
    pub number_at: usize,
    /// The packet is not whole.
    pub cut: bool,
}

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Frames behind a long header.
    Long(Long<'a>),
    /// The server does not speak the version asked for (RFC 9000 §17.2.1).
    VersionNegotiation {
        /// The client's connection id.
        dcid: &'a [u8],
        /// The one the client chose for the server.
        scid: &'a [u8],
        /// The versions it speaks, four bytes each.
        versions: &'a [u8],
    },
    /// The server wants to see the token back before it does more (RFC 9000 §17.2.5).
    Retry {
        /// The version.
        version: u32,
        /// The client's connection id.
        dcid: &'a [u8],
        /// The server's new one.
        scid: &'a [u8],
        /// The token.
        token: &'a [u8],
    },
    /// A long header of a version whose packets are not known; only ids can be read (RFC 8999).
    Unknown {
        /// The version.
        version: u32,
        /// The receiver's connection id.
        dcid: &'a [u8],
        /// The sender's.
        scid: &'a [u8],
    },
    /// A short header: all but the first bits is encrypted, and how long the connection id is only the ends know.
    Short {
        /// The packet.
        bytes: &'a [u8],
    },
}

/// The version a number stands for, in words.
#[must_use]
pub fn version_name(version: u32) -> &'static str {
    match version {
        0 => "version negotiation",
        V1 => "QUIC 1",
        V2 => "QUIC 2",
        0xff00_0000..=0xff00_00ff => "a draft of QUIC",
        // RFC 9000 §15: versions that only test whether unknown ones are ignored.
        version if version & 0x0f0f_0f0f == 0x0a0a_0a0a => "a version that nobody speaks, to test",
        _ => "unknown version",
    }
}

/// Whether a datagram may be the first of a QUIC connection: a long header of a known version, an Initial of a length that RFC 9000 §14.1 asks for.
#[must_use]
pub fn opens_connection(datagram: &[u8], wire_len: usize) -> bool {
    let first = packets(datagram).next();
    wire_len >= 1200 && matches!(first, Some(Packet::Long(Long { kind: Kind::Initial, .. })))
}

/// The packets of a datagram, in order: several may share one (RFC 9000 §12.2). Ends at the first that is none.
#[must_use]
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram, left: MOST_PACKETS }
}

/// Iterator over a datagram's packets.
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (packet, rest) = packet(self.rest)?;
        self.rest = rest;
        Some(packet)
    }
}

/// One packet and what follows it in the datagram.
fn packet(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let first = *bytes.first()?;
    if first & LONG == 0 {
        let quic = first & FIXED != 0 && bytes.len() > MOST_ID;
        return quic.then_some((Packet::Short { bytes }, &[]));
    }
    let (version, rest) = bytes.get(1..)?.split_first_chunk::<4>()?;
    let version = u32::from_be_bytes(*version);
    let (dcid, rest) = id(rest)?;
    let (scid, rest) = id(rest)?;
    if version == 0 {
        let versions = rest.get(..rest.len() & !3).filter(|versions| !versions.is_empty())?;
        return Some((Packet::VersionNegotiation { dcid, scid, versions }, &[]));
    }
    let numbered = matches!(version, V1 | V2 | 0xff00_0017..=0xff00_0022);
    if !numbered {
        return Some((Packet::Unknown { version, dcid, scid }, &[]));
    }
    if first & FIXED == 0 || dcid.len() > MOST_ID || scid.len() > MOST_ID {
        return None;
    }
    let kind = match (version, (first >> 4) & 3) {
        (V2, 1) | (V1 | 0xff00_0000.., 0) => Kind::Initial,
        (V2, 2) | (V1 | 0xff00_0000.., 1) => Kind::ZeroRtt,
        (V2, 3) | (V1 | 0xff00_0000.., 2) => Kind::Handshake,
        // The last 16 bytes are the integrity tag.
        _ => return Some((Packet::Retry { version, dcid, scid, token: rest.get(..rest.len().checked_sub(16)?)? }, &[])),
    };
    let (token, rest) = match kind {
        Kind::Initial => {
            let (len, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(len).ok()?)?
        }
        _ => (&[][..], rest),
    };
    let (len, rest) = varint(rest)?;
    let number_at = bytes.len() - rest.len();
    let end = number_at.checked_add(usize::try_from(len).ok()?)?;
    let (whole, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    Some((Packet::Long(Long { version, kind, dcid, scid, token, bytes: whole, number_at, cut: end > bytes.len() }), rest))
}

/// A connection id with its length in front.
fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// A variable-length integer (RFC 9000 §16) and what follows it.
#[must_use]
pub fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    let (number, rest) = bytes.split_at_checked(len)?;
    let value = number.iter().skip(1).fold(u64::from(first & 0x3f), |value, byte| (value << 8) | u64::from(*byte));
    Some((value, rest))
}

#[cfg(test)]
mod tests;
