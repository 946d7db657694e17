//! ICMP for IPv4 (RFC 792, RFC 1191, RFC 1812).

use std::net::Ipv4Addr;

use crate::checksum;
use crate::error::WireError;
use crate::ip::proto;
use crate::ipv4::Ipv4;
use crate::read::{set16, split};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Type: echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type: destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Type: redirect.
pub const REDIRECT: u8 = 5;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Code of [`UNREACHABLE`]: no route.
pub const NET_UNREACHABLE: u8 = 0;
/// Code of [`UNREACHABLE`]: the host does not answer.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of [`UNREACHABLE`]: no listener.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: too big and not to be fragmented; the header carries the MTU.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`UNREACHABLE`]: forbidden by policy.
pub const ADMIN_PROHIBITED: u8 = 13;

/// Bytes an error may have in all, IP header included (RFC 1812 §4.3.2.3).
const ERROR_LIMIT: usize = 576;

/// An ICMP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum as read; emitting computes it anew.
    pub checksum: u16,
    /// The second half: identifier and sequence of an echo, MTU of a "fragmentation needed".
    pub rest: [u8; 4],
}

impl Icmp {
    /// A header whose second half is zero.
    pub fn new(kind: u8, code: u8) -> Icmp {
        Icmp { kind, code, checksum: 0, rest: [0; 4] }
    }

    /// An echo request or reply.
    pub fn echo(kind: u8, id: u16, seq: u16) -> Icmp {
        let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
        Icmp { rest: [a, b, c, d], ..Icmp::new(kind, 0) }
    }

    /// The header and what follows it: an echo's data or an error's quotation.
    pub fn parse(bytes: &[u8]) -> Result<(Icmp, &[u8]), WireError> {
        let ([kind, code, c0, c1, rest @ ..], payload) = split::<HEADER_LEN>("ICMP", bytes)?;
        Ok((Icmp { kind: *kind, code: *code, checksum: u16::from_be_bytes([*c0, *c1]), rest: *rest }, payload))
    }

    /// The message; the checksum is computed.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend([self.kind, self.code, 0, 0]);
        bytes.extend(self.rest);
        bytes.extend(payload);
        let sum = checksum::of(&bytes);
        set16(&mut bytes, 2, sum);
        bytes
    }

    /// Whether the message reports an error and quotes a packet.
    pub fn is_error(&self) -> bool {
        matches!(self.kind, UNREACHABLE | 4 | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }

    /// Identifier and sequence of an echo request or reply.
    pub fn echo_id(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = self.rest;
        let echo = matches!(self.kind, ECHO_REQUEST | ECHO_REPLY);
        echo.then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// The next hop's MTU in a "fragmentation needed"; zero from routers before RFC 1191.
    pub fn mtu(&self) -> Option<u16> {
        let too_big = self.kind == UNREACHABLE && self.code == FRAGMENTATION_NEEDED;
        too_big.then(|| u16::from_be_bytes([self.rest[2], self.rest[3]]))
    }
}

/// The whole packet by which `from` reports an error about `offending`, an IPv4 packet. `rest` is the header's
/// second half (the MTU, where there is one). `None` where RFC 1122 §3.2.2 forbids an answer: about an ICMP error,
/// a later fragment, or an address that is not one host's.
pub fn error_about(offending: &[u8], from: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4]) -> Option<Vec<u8>> {
    let (header, payload) = Ipv4::parse(offending).ok()?;
    let about_error = header.protocol == proto::ICMP && Icmp::parse(payload).is_ok_and(|(icmp, _)| icmp.is_error());
    let no_host = header.dst.is_multicast() || header.dst.is_broadcast() || header.src.is_unspecified();
    if about_error || no_host || header.fragment_offset > 0 {
        return None;
    }
    let room = ERROR_LIMIT - crate::ipv4::HEADER_LEN - HEADER_LEN;
    let len = (header.header_len() + payload.len()).min(room);
    let message = Icmp { rest, ..Icmp::new(kind, code) }.emit(offending.get(..len)?);
    let outer = Ipv4 { dont_fragment: false, tos: 0xc0, ..Ipv4::new(from, header.src, proto::ICMP) };
    Some(outer.emit(&message))
}
