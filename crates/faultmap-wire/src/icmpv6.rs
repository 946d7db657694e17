//! ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use crate::checksum;
use crate::error::WireError;
use crate::ethernet::Mac;
use crate::ip::proto;
use crate::ipv6::{self, Ipv6};
use crate::read::{set16, split};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Type: destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Type: packet too big; the header carries the MTU.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type: echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type: router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type: router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type: neighbour solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type: neighbour advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Type: redirect.
pub const REDIRECT: u8 = 137;
/// Code of [`UNREACHABLE`]: no route.
pub const NO_ROUTE: u8 = 0;
/// Code of [`UNREACHABLE`]: forbidden by policy.
pub const ADMIN_PROHIBITED: u8 = 1;
/// Code of [`UNREACHABLE`]: the host does not answer.
pub const ADDRESS_UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: no listener.
pub const PORT_UNREACHABLE: u8 = 4;

/// Bytes an error may have in all: IPv6's minimum MTU (RFC 4443 §2.4 c).
const ERROR_LIMIT: usize = 1280;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Options read before a message is taken for an attack.
const OPTION_LIMIT: usize = 16;

/// An ICMPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmpv6 {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum as read; emitting computes it anew.
    pub checksum: u16,
    /// The second half: identifier and sequence of an echo, MTU, flags of an advertisement.
    pub rest: [u8; 4],
}

/// A neighbour solicitation or advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Advertisement, not solicitation.
    pub advertisement: bool,
    /// The sender is a router (advertisements).
    pub router: bool,
    /// It answers a solicitation (advertisements).
    pub solicited: bool,
    /// It replaces what was known (advertisements).
    pub override_: bool,
    /// The address asked for or spoken of.
    pub target: Ipv6Addr,
    /// The link-layer address given: the sender's in a solicitation, the target's in an advertisement.
    pub mac: Option<Mac>,
}

impl Icmpv6 {
    /// A header whose second half is zero.
    pub fn new(kind: u8, code: u8) -> Icmpv6 {
        Icmpv6 { kind, code, checksum: 0, rest: [0; 4] }
    }

    /// An echo request or reply.
    pub fn echo(kind: u8, id: u16, seq: u16) -> Icmpv6 {
        let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
        Icmpv6 { rest: [a, b, c, d], ..Icmpv6::new(kind, 0) }
    }

    /// The header and what follows it.
    pub fn parse(bytes: &[u8]) -> Result<(Icmpv6, &[u8]), WireError> {
        let ([kind, code, c0, c1, rest @ ..], payload) = split::<HEADER_LEN>("ICMPv6", bytes)?;
        Ok((Icmpv6 { kind: *kind, code: *code, checksum: u16::from_be_bytes([*c0, *c1]), rest: *rest }, payload))
    }

    /// The message; the checksum is computed.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend([self.kind, self.code, 0, 0]);
        bytes.extend(self.rest);
        bytes.extend(payload);
        let sum = checksum::of_transport(IpAddr::V6(src), IpAddr::V6(dst), proto::ICMPV6, &bytes);
        set16(&mut bytes, 2, sum);
        bytes
    }

    /// Whether the message reports an error and quotes a packet.
    pub fn is_error(&self) -> bool {
        self.kind < 128
    }

    /// Whether it belongs to neighbour discovery, which never leaves the link.
    pub fn is_discovery(&self) -> bool {
        (ROUTER_SOLICITATION..=REDIRECT).contains(&self.kind)
    }

    /// Identifier and sequence of an echo request or reply.
    pub fn echo_id(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = self.rest;
        let echo = matches!(self.kind, ECHO_REQUEST | ECHO_REPLY);
        echo.then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// The next hop's MTU in a "packet too big".
    pub fn mtu(&self) -> Option<u32> {
        (self.kind == PACKET_TOO_BIG).then(|| u32::from_be_bytes(self.rest))
    }
}

impl Neighbor {
    /// Reads a solicitation or advertisement from an ICMPv6 message.
    pub fn parse(bytes: &[u8]) -> Result<Neighbor, WireError> {
        let (header, body) = Icmpv6::parse(bytes)?;
        let advertisement = match header.kind {
            NEIGHBOR_SOLICITATION => false,
            NEIGHBOR_ADVERTISEMENT => true,
            _ => {
                return Err(WireError::Malformed { header: "neighbour discovery", reason: "another message" });
            }
        };
        let (target, options) = split::<16>("neighbour discovery", body)?;
        let wanted = if advertisement { TARGET_LINK_ADDRESS } else { SOURCE_LINK_ADDRESS };
        let flag = |bit: u8| advertisement && header.rest[0] & bit != 0;
        Ok(Neighbor {
            advertisement,
            router: flag(0x80),
            solicited: flag(0x40),
            override_: flag(0x20),
            target: Ipv6Addr::from(*target),
            mac: link_address(options, wanted),
        })
    }

    /// The ICMPv6 message.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.router, 0x80) | bit(self.solicited, 0x40) | bit(self.override_, 0x20);
        let (kind, option, flags) = if self.advertisement {
            (NEIGHBOR_ADVERTISEMENT, TARGET_LINK_ADDRESS, flags)
        } else {
            (NEIGHBOR_SOLICITATION, SOURCE_LINK_ADDRESS, 0)
        };
        let mut body = self.target.octets().to_vec();
        if let Some(mac) = self.mac {
            body.extend([option, 1]);
            body.extend(mac.0);
        }
        Icmpv6 { rest: [flags, 0, 0, 0], ..Icmpv6::new(kind, 0) }.emit(src, dst, &body)
    }
}

fn link_address(mut options: &[u8], wanted: u8) -> Option<Mac> {
    for _ in 0..OPTION_LIMIT {
        let ([kind, units], _) = options.split_first_chunk::<2>()?;
        let len = usize::from(*units) * 8;
        if len == 0 {
            return None;
        }
        if *kind == wanted {
            return options.get(2..8)?.first_chunk::<6>().map(|mac| Mac(*mac));
        }
        options = options.get(len..)?;
    }
    None
}

/// The whole packet by which `from` reports an error about `offending`, an IPv6 packet. `rest` is the header's
/// second half. `None` where RFC 4443 §2.4 e forbids an answer.
pub fn error_about(offending: &[u8], from: Ipv6Addr, kind: u8, code: u8, rest: [u8; 4]) -> Option<Vec<u8>> {
    let (header, payload) = Ipv6::parse(offending).ok()?;
    let upper = header.upper(payload).ok()?;
    let about_error =
        upper.protocol == proto::ICMPV6 && Icmpv6::parse(upper.payload).is_ok_and(|(icmp, _)| icmp.is_error() || icmp.kind == REDIRECT);
    let later = upper.fragment.is_some_and(|fragment| fragment.offset > 0);
    if about_error || later || header.dst.is_multicast() || header.src.is_unspecified() || header.src.is_multicast() {
        return None;
    }
    let room = ERROR_LIMIT - ipv6::HEADER_LEN - HEADER_LEN;
    let len = (ipv6::HEADER_LEN + payload.len()).min(room);
    let message = Icmpv6 { rest, ..Icmpv6::new(kind, code) }.emit(from, header.src, offending.get(..len)?);
    Some(Ipv6::new(from, header.src, proto::ICMPV6).emit(&message))
}
