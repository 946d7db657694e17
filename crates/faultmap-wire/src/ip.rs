//! An IP packet of either family, seen through one pair of glasses.

use std::net::IpAddr;

use crate::error::WireError;
use crate::ethernet;
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};

/// Protocol numbers (IANA).
pub mod proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// A packet of either family, extension headers skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPacket<'a> {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// The upper protocol, see [`proto`].
    pub protocol: u8,
    /// Bytes of IP headers in front of `payload`.
    pub header_len: usize,
    /// Bytes of the whole packet as its header states them.
    pub total_len: usize,
    /// May not be fragmented on the way (always so in IPv6).
    pub dont_fragment: bool,
    /// Offset in bytes and identification, for a packet in fragments.
    pub fragment: Option<(u16, u32)>,
    /// The upper protocol's bytes, as far as they are there.
    pub payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    /// Reads a packet by its version.
    pub fn parse(bytes: &'a [u8]) -> Result<IpPacket<'a>, WireError> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => {
                let (header, payload) = Ipv4::parse(bytes)?;
                Ok(IpPacket::from_v4(&header, payload))
            }
            Some(6) => {
                let (header, payload) = Ipv6::parse(bytes)?;
                IpPacket::from_v6(&header, payload)
            }
            Some(_) => Err(WireError::Malformed { header: "IP", reason: "version is neither 4 nor 6" }),
            None => Err(WireError::Truncated { header: "IP", need: 1, have: 0 }),
        }
    }

    /// Reads the packet in an Ethernet frame's payload; `None` if the frame carries something else.
    pub fn in_frame(ethertype: u16, payload: &'a [u8]) -> Option<Result<IpPacket<'a>, WireError>> {
        match ethertype {
            ethernet::IPV4 | ethernet::IPV6 => Some(IpPacket::parse(payload)),
            _ => None,
        }
    }

    fn from_v4(header: &Ipv4<'a>, payload: &'a [u8]) -> IpPacket<'a> {
        IpPacket {
            src: header.src.into(),
            dst: header.dst.into(),
            hop_limit: header.ttl,
            protocol: header.protocol,
            header_len: header.header_len(),
            total_len: usize::from(header.total_len),
            dont_fragment: header.dont_fragment,
            fragment: header.is_fragment().then_some((header.fragment_offset, u32::from(header.id))),
            payload,
        }
    }

    fn from_v6(header: &Ipv6, payload: &'a [u8]) -> Result<IpPacket<'a>, WireError> {
        let upper = header.upper(payload)?;
        Ok(IpPacket {
            src: header.src.into(),
            dst: header.dst.into(),
            hop_limit: header.hop_limit,
            protocol: upper.protocol,
            header_len: ipv6::HEADER_LEN + upper.extensions_len,
            total_len: ipv6::HEADER_LEN + usize::from(header.payload_len),
            dont_fragment: true,
            fragment: upper.fragment.map(|fragment| (fragment.offset, fragment.id)),
            payload: upper.payload,
        })
    }

    /// Whether `payload` starts with the upper protocol's header.
    pub fn has_upper_header(&self) -> bool {
        self.fragment.is_none_or(|(offset, _)| offset == 0)
    }

    /// Source and destination port, for TCP and UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.protocol, proto::TCP | proto::UDP) || !self.has_upper_header() {
            return None;
        }
        let [s0, s1, d0, d1] = *self.payload.first_chunk::<4>()?;
        Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }
}

/// A packet of the addresses' family around `payload`, TTL as given. Mixed families give `None`.
pub fn emit(src: IpAddr, dst: IpAddr, protocol: u8, hop_limit: u8, payload: &[u8]) -> Option<Vec<u8>> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Some(Ipv4 { ttl: hop_limit, ..Ipv4::new(src, dst, protocol) }.emit(payload)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Some(Ipv6 { hop_limit, ..Ipv6::new(src, dst, protocol) }.emit(payload)),
        _ => None,
    }
}

/// Bytes of the smallest IP header of an address's family.
pub fn min_header_len(addr: IpAddr) -> usize {
    if addr.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
}
