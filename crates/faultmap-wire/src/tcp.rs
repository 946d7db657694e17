//! TCP headers and options (RFC 9293, RFC 7323, RFC 2018).

use std::fmt;
use std::net::IpAddr;

use crate::checksum;
use crate::error::WireError;
use crate::ip::proto;
use crate::read::{set16, split, split_at, u16_at};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

const NAME: &str = "TCP";
const CHECKSUM_AT: usize = 16;

/// The flags of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender is done.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Opens a connection.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Ends it at once.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Hand over without waiting.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement number counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer counts.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// Congestion seen by the receiver (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Window reduced by the sender (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// Whether all of `other` are set.
    pub fn has(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }

    /// A connection's first segment: SYN without ACK.
    pub fn is_opening(self) -> bool {
        self.has(TcpFlags::SYN) && !self.has(TcpFlags::ACK)
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        for (n, (_, name)) in set.enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// One TCP option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Largest segment the sender accepts, in payload bytes.
    Mss(u16),
    /// Shift of the window field (RFC 7323).
    WindowScale(u8),
    /// Selective acknowledgement is understood.
    SackPermitted,
    /// Selective acknowledgement blocks as bytes, eight per block: left edge, right edge.
    Sack(&'a [u8]),
    /// The sender's clock and the echo of ours.
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The clock of ours it saw last.
        echo: u32,
    },
    /// Any other option.
    Other {
        /// Option number.
        kind: u8,
        /// Its data.
        data: &'a [u8],
    },
}

/// A TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Number of the first payload byte.
    pub seq: u32,
    /// Number of the next byte expected.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window before scaling.
    pub window: u16,
    /// Checksum as read; emitting computes it anew.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options as bytes, a multiple of four, at most 40.
    pub options: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// A header without options.
    pub fn new(src_port: u16, dst_port: u16, flags: TcpFlags) -> Tcp<'static> {
        Tcp { src_port, dst_port, seq: 0, ack: 0, flags, window: 0, checksum: 0, urgent: 0, options: &[] }
    }

    /// The header and its payload.
    pub fn parse(bytes: &'a [u8]) -> Result<(Tcp<'a>, &'a [u8]), WireError> {
        let (header, len) = Tcp::parse_header(bytes)?;
        let (_, payload) = split_at(NAME, bytes, len)?;
        Ok((header, payload))
    }

    /// The header and the length that it states, for a segment that the capture may have cut: the options are as far as they are there.
    pub fn parse_header(bytes: &'a [u8]) -> Result<(Tcp<'a>, usize), WireError> {
        let ([s0, s1, d0, d1, seq @ ..], rest) = split::<8>(NAME, bytes)?;
        let (ack, rest) = split::<4>(NAME, rest)?;
        let ([offset, flags, w0, w1, c0, c1, u0, u1], rest) = split::<8>(NAME, rest)?;
        let option_len = (usize::from(offset >> 4) * 4)
            .checked_sub(HEADER_LEN)
            .ok_or(WireError::Malformed { header: NAME, reason: "data offset below 5" })?;
        let header = Tcp {
            src_port: u16::from_be_bytes([*s0, *s1]),
            dst_port: u16::from_be_bytes([*d0, *d1]),
            seq: u32::from_be_bytes(*seq),
            ack: u32::from_be_bytes(*ack),
            flags: TcpFlags(*flags),
            window: u16::from_be_bytes([*w0, *w1]),
            checksum: u16::from_be_bytes([*c0, *c1]),
            urgent: u16::from_be_bytes([*u0, *u1]),
            options: rest.get(..option_len).unwrap_or(rest),
        };
        Ok((header, HEADER_LEN + option_len))
    }

    /// The options in order, up to the first that does not fit.
    pub fn options(&self) -> TcpOptions<'a> {
        TcpOptions { rest: self.options }
    }

    /// The maximum segment size announced, in bytes.
    pub fn mss(&self) -> Option<u16> {
        self.options().find_map(|option| match option {
            TcpOption::Mss(mss) => Some(mss),
            _ => None,
        })
    }

    /// The segment; offset and checksum are computed.
    pub fn emit(&self, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
        let options = self.options.get(..self.options.len().min(40) & !3).unwrap_or_default();
        let header_len = HEADER_LEN + options.len();
        let mut bytes = Vec::with_capacity(header_len + payload.len());
        bytes.extend(self.src_port.to_be_bytes());
        bytes.extend(self.dst_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([((header_len / 4) as u8) << 4, self.flags.0]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(options);
        bytes.extend(payload);
        let sum = checksum::of_transport(src, dst, proto::TCP, &bytes);
        set16(&mut bytes, CHECKSUM_AT, sum);
        bytes
    }

    /// The reset that a host without this connection answers with (RFC 9293 §3.10.7.1). `payload_len` is that of
    /// the offending segment.
    pub fn reset(&self, payload_len: usize) -> Tcp<'static> {
        let back = Tcp::new(self.dst_port, self.src_port, TcpFlags::RST);
        if self.flags.has(TcpFlags::ACK) {
            return Tcp { seq: self.ack, ..back };
        }
        let phantom = u32::from(self.flags.has(TcpFlags::SYN)) + u32::from(self.flags.has(TcpFlags::FIN));
        let ack = self.seq.wrapping_add(payload_len as u32).wrapping_add(phantom);
        Tcp { ack, flags: TcpFlags::RST.with(TcpFlags::ACK), ..back }
    }
}

/// Iterator over a header's options.
#[derive(Debug, Clone)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        const END: u8 = 0;
        const PADDING: u8 = 1;
        while let Some((&PADDING, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        let kind = *self.rest.first().filter(|kind| **kind != END)?;
        let len = usize::from(*self.rest.get(1)?);
        let data = self.rest.get(2..len)?;
        self.rest = self.rest.get(len..)?;
        Some(option(kind, data))
    }
}

fn option(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (2, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
        (3, &[shift]) => TcpOption::WindowScale(shift),
        (4, []) => TcpOption::SackPermitted,
        (5, blocks) => TcpOption::Sack(blocks),
        (8, &[a, b, c, d, e, f, g, h]) => {
            TcpOption::Timestamps { value: u32::from_be_bytes([a, b, c, d]), echo: u32::from_be_bytes([e, f, g, h]) }
        }
        (kind, data) => TcpOption::Other { kind, data },
    }
}

/// The bytes of options, padded to a multiple of four; for [`Tcp::options`].
pub fn emit_options(options: &[TcpOption<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        match *option {
            TcpOption::Mss(mss) => push(&mut bytes, 2, &mss.to_be_bytes()),
            TcpOption::WindowScale(shift) => push(&mut bytes, 3, &[shift]),
            TcpOption::SackPermitted => push(&mut bytes, 4, &[]),
            TcpOption::Sack(blocks) => push(&mut bytes, 5, blocks),
            TcpOption::Timestamps { value, echo } => {
                push(&mut bytes, 8, &[value.to_be_bytes(), echo.to_be_bytes()].concat());
            }
            TcpOption::Other { kind, data } => push(&mut bytes, kind, data),
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u8, data: &[u8]) {
    bytes.extend([kind, u8::try_from(data.len() + 2).unwrap_or(u8::MAX)]);
    bytes.extend(data);
}

/// Lowers the MSS announced in a SYN to at most `mss`, checksum included, as a clamping router does.
/// `segment` starts at the TCP header; false if there was nothing to lower.
pub fn clamp_mss(segment: &mut [u8], mss: u16) -> bool {
    let Ok((header, _)) = Tcp::parse(segment) else {
        return false;
    };
    if !header.flags.has(TcpFlags::SYN) || header.mss().is_none_or(|announced| announced <= mss) {
        return false;
    }
    let Some(at) = mss_offset(header.options) else {
        return false;
    };
    let (at, checksum) = (HEADER_LEN + at, header.checksum);
    let Some(old) = u16_at(segment, at) else {
        return false;
    };
    set16(segment, at, mss);
    // An option may stand at an odd offset; then its bytes fall into the other halves of the words.
    let swap = |value: u16| {
        if at.is_multiple_of(2) { value } else { value.swap_bytes() }
    };
    let sum = checksum::updated(checksum, &swap(old).to_be_bytes(), &swap(mss).to_be_bytes());
    set16(segment, CHECKSUM_AT, sum);
    true
}

fn mss_offset(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match options.get(at)? {
            0 => return None,
            1 => at += 1,
            2 => return Some(at + 2),
            _ => at += usize::from(*options.get(at + 1)?).max(2),
        }
    }
}
