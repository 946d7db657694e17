//! IPv6 headers and the chain of extension headers (RFC 8200).

use std::net::Ipv6Addr;

use crate::error::WireError;
use crate::ip::proto;
use crate::read::{len16, split};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

const NAME: &str = "IPv6";
/// Extension headers followed before the chain is taken for an attack.
const CHAIN_LIMIT: usize = 8;

/// The fixed IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// Differentiated services (6 bits) and congestion notification (2 bits).
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Bytes behind this header as it states them.
    pub payload_len: u16,
    /// What follows: an extension header or the upper protocol.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of this fragment in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Shared by the fragments of a packet.
    pub id: u32,
}

/// What the chain of extension headers leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper<'a> {
    /// The upper protocol, see [`proto`].
    pub protocol: u8,
    /// The fragment header met on the way.
    pub fragment: Option<Fragment>,
    /// Bytes of extension headers skipped.
    pub extensions_len: usize,
    /// The upper protocol's bytes.
    pub payload: &'a [u8],
}

impl Ipv6 {
    /// A plain header, hop limit 64.
    pub fn new(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8) -> Ipv6 {
        Ipv6 { traffic_class: 0, flow_label: 0, payload_len: 0, next_header, hop_limit: 64, src, dst }
    }

    /// The header and its payload, extension headers included. Padding is cut off; a payload cut short is returned
    /// as far as it goes.
    pub fn parse(bytes: &[u8]) -> Result<(Ipv6, &[u8]), WireError> {
        let (first, bytes) = split::<4>(NAME, bytes)?;
        let ([l0, l1, next_header, hop_limit], bytes) = split::<4>(NAME, bytes)?;
        let (src, bytes) = split::<16>(NAME, bytes)?;
        let (dst, rest) = split::<16>(NAME, bytes)?;
        let first = u32::from_be_bytes(*first);
        if first >> 28 != 6 {
            return Err(WireError::Malformed { header: NAME, reason: "version is not 6" });
        }
        let header = Ipv6 {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0x000f_ffff,
            payload_len: u16::from_be_bytes([*l0, *l1]),
            next_header: *next_header,
            hop_limit: *hop_limit,
            src: Ipv6Addr::from(*src),
            dst: Ipv6Addr::from(*dst),
        };
        Ok((header, rest.get(..usize::from(header.payload_len)).unwrap_or(rest)))
    }

    /// Follows the extension headers in `payload` to the upper protocol, or to the end of a first fragment's view:
    /// a later fragment's bytes are returned as they are.
    pub fn upper<'a>(&self, payload: &'a [u8]) -> Result<Upper<'a>, WireError> {
        let mut upper = Upper { protocol: self.next_header, fragment: None, extensions_len: 0, payload };
        for _ in 0..CHAIN_LIMIT {
            let (next, len) = match upper.protocol {
                proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION_OPTIONS => {
                    let ([next, len], _) = split::<2>("IPv6 extension", upper.payload)?;
                    (*next, (usize::from(*len) + 1) * 8)
                }
                proto::AUTHENTICATION => {
                    let ([next, len], _) = split::<2>("authentication header", upper.payload)?;
                    (*next, (usize::from(*len) + 2) * 4)
                }
                proto::FRAGMENT => {
                    let ([next, _, o0, o1, id @ ..], _) = split::<8>("IPv6 fragment", upper.payload)?;
                    let offset = u16::from_be_bytes([*o0, *o1]);
                    let id = u32::from_be_bytes(*id);
                    upper.fragment = Some(Fragment { offset: offset & !7, more: offset & 1 != 0, id });
                    (*next, 8)
                }
                _ => return Ok(upper),
            };
            upper.payload =
                upper.payload.get(len..).ok_or(WireError::Truncated { header: "IPv6 extension", need: len, have: upper.payload.len() })?;
            upper.protocol = next;
            upper.extensions_len += len;
            if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
                return Ok(upper);
            }
        }
        Err(WireError::Malformed { header: NAME, reason: "too many extension headers" })
    }

    /// The packet; the length is computed.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0x000f_ffff);
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend(first.to_be_bytes());
        bytes.extend(len16(payload.len()).to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(payload);
        bytes
    }
}
