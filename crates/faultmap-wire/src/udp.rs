//! UDP headers (RFC 768).

use std::net::IpAddr;

use crate::checksum;
use crate::error::WireError;
use crate::ip::proto;
use crate::read::{len16, set16, split};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// A UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and payload as the header states them.
    pub len: u16,
    /// Checksum as read; zero means none (IPv4 only).
    pub checksum: u16,
}

impl Udp {
    /// A header to emit.
    pub fn new(src_port: u16, dst_port: u16) -> Udp {
        Udp { src_port, dst_port, len: 0, checksum: 0 }
    }

    /// The header and its payload as far as it goes.
    pub fn parse(bytes: &[u8]) -> Result<(Udp, &[u8]), WireError> {
        let ([s0, s1, d0, d1, l0, l1, c0, c1], rest) = split::<HEADER_LEN>("UDP", bytes)?;
        let len = u16::from_be_bytes([*l0, *l1]);
        let payload_len =
            usize::from(len).checked_sub(HEADER_LEN).ok_or(WireError::Malformed { header: "UDP", reason: "length below 8" })?;
        let header = Udp {
            src_port: u16::from_be_bytes([*s0, *s1]),
            dst_port: u16::from_be_bytes([*d0, *d1]),
            len,
            checksum: u16::from_be_bytes([*c0, *c1]),
        };
        Ok((header, rest.get(..payload_len).unwrap_or(rest)))
    }

    /// The datagram; length and checksum are computed.
    pub fn emit(&self, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend(self.src_port.to_be_bytes());
        bytes.extend(self.dst_port.to_be_bytes());
        bytes.extend(len16(HEADER_LEN + payload.len()).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        let sum = match checksum::of_transport(src, dst, proto::UDP, &bytes) {
            0 => 0xffff,
            sum => sum,
        };
        set16(&mut bytes, 6, sum);
        bytes
    }
}
