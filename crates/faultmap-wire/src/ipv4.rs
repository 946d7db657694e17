//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;

use crate::checksum;
use crate::error::WireError;
use crate::read::{len16, set16, split, split_at};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

const NAME: &str = "IPv4";
const CHECKSUM_AT: usize = 10;

/// An IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// Differentiated services (6 bits) and congestion notification (2 bits).
    pub tos: u8,
    /// Bytes of header and payload as the header states them.
    pub total_len: u16,
    /// Identification, shared by the fragments of a packet.
    pub id: u16,
    /// May not be fragmented.
    pub dont_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Offset of this fragment in bytes, a multiple of eight.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload, see [`crate::proto`].
    pub protocol: u8,
    /// Header checksum as read; emitting computes it anew.
    pub checksum: u16,
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Options, a multiple of four bytes, at most 40.
    pub options: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// A plain header, not to be fragmented, TTL 64.
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Ipv4<'static> {
        Ipv4 {
            tos: 0,
            total_len: 0,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            checksum: 0,
            src,
            dst,
            options: &[],
        }
    }

    /// The header and its payload. Padding behind the packet is cut off; a payload cut short (as in the quotation
    /// of an ICMP error) is returned as far as it goes.
    pub fn parse(bytes: &'a [u8]) -> Result<(Ipv4<'a>, &'a [u8]), WireError> {
        let malformed = |reason| WireError::Malformed { header: NAME, reason };
        let (fixed, rest) = split::<HEADER_LEN>(NAME, bytes)?;
        let [version, tos, l0, l1, i0, i1, f0, f1, ttl, protocol, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
        let header_len = usize::from(version & 0x0f) * 4;
        if version >> 4 != 4 {
            return Err(malformed("version is not 4"));
        }
        let option_len = header_len.checked_sub(HEADER_LEN).ok_or(malformed("header length below 20"))?;
        let (options, rest) = split_at(NAME, rest, option_len)?;
        let total_len = u16::from_be_bytes([l0, l1]);
        let payload_len = usize::from(total_len).checked_sub(header_len).ok_or(malformed("total length below header length"))?;
        let flags = u16::from_be_bytes([f0, f1]);
        let header = Ipv4 {
            tos,
            total_len,
            id: u16::from_be_bytes([i0, i1]),
            dont_fragment: flags & 0x4000 != 0,
            more_fragments: flags & 0x2000 != 0,
            fragment_offset: (flags & 0x1fff) << 3,
            ttl,
            protocol,
            checksum: u16::from_be_bytes([c0, c1]),
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
            options,
        };
        Ok((header, rest.get(..payload_len).unwrap_or(rest)))
    }

    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Whether this is part of a fragmented packet.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset > 0
    }

    /// The packet; length and checksum are computed.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let options = self.options.get(..self.options.len().min(40) & !3).unwrap_or_default();
        let header_len = HEADER_LEN + options.len();
        let dont = if self.dont_fragment { 0x4000 } else { 0 };
        let more = if self.more_fragments { 0x2000 } else { 0 };
        let mut bytes = Vec::with_capacity(header_len + payload.len());
        bytes.extend([0x40 | (header_len / 4) as u8, self.tos]);
        bytes.extend(len16(header_len + payload.len()).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend((dont | more | (self.fragment_offset >> 3)).to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(options);
        let sum = checksum::of(&bytes);
        set16(&mut bytes, CHECKSUM_AT, sum);
        bytes.extend(payload);
        bytes
    }
}
