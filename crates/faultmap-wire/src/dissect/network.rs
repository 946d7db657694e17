//! IP packets of either version: lengths, options, fragments, the chain of IPv6 extension headers. What the packet carries is the transport's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Cursor, Frame, Header, Network, Next, Packet, Transport, transport};
use crate::error::WireError;
use crate::ip::{IpPacket, proto};
use crate::read::split;
use crate::{ipv4, ipv6};

/// Extension headers followed; RFC 8200 §4.1 has seven in a packet.
const MOST_EXTENSIONS: usize = 12;
/// A frame as short as padding makes it. A packet in it that states no length was not left so by a network card that cuts segments.
const PADDED_LEN: usize = 60;

/// What both versions say, in front of extension headers.
struct Fixed {
    src: IpAddr,
    dst: IpAddr,
    hop_limit: u8,
    protocol: u8,
    header_len: usize,
    total_len: usize,
    dont_fragment: bool,
    more_fragments: bool,
    fragment: Option<(u16, u32)>,
    id: Option<u16>,
}

/// A packet of either version.
pub(super) fn ip<'a>(frame: &mut Frame<'a>, cursor: &mut Cursor<'a>) -> Result<Next, WireError> {
    let fixed = match cursor.rest().first() {
        Some(0x40..=0x4f) => v4(cursor)?,
        Some(0x60..=0x6f) => v6(cursor)?,
        Some(_) => return Err(WireError::Malformed { header: "IP", reason: "version is neither 4 nor 6" }),
        None => return Err(WireError::Truncated { header: "IP", need: 1, have: 0 }),
    };
    if fixed.total_len > cursor.on_wire() {
        frame.problem.get_or_insert(WireError::Malformed { header: "IP", reason: "longer than what carries it" });
    }
    packet(fixed, frame, cursor)
}

/// The length stated, or, where none is, all there is: cards that cut segments themselves are handed packets without (Linux above 64 KiB, Windows always).
fn total_len(stated: usize, cursor: &Cursor<'_>) -> Result<usize, WireError> {
    match stated {
        0 if cursor.wire_end <= PADDED_LEN => Err(WireError::Malformed { header: "IP", reason: "length 0" }),
        0 => Ok(cursor.on_wire()),
        stated => Ok(stated),
    }
}

fn v4(cursor: &mut Cursor<'_>) -> Result<Fixed, WireError> {
    let malformed = |reason| WireError::Malformed { header: "IPv4", reason };
    let bytes = cursor.rest();
    let (fixed, _) = split::<{ ipv4::HEADER_LEN }>("IPv4", bytes)?;
    let [version, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    let header_len = usize::from(version & 0x0f) * 4;
    if header_len < ipv4::HEADER_LEN {
        return Err(malformed("header length below 20"));
    }
    if bytes.len() < header_len {
        return Err(WireError::Truncated { header: "IPv4", need: header_len, have: bytes.len() });
    }
    let total_len = total_len(usize::from(u16::from_be_bytes([l0, l1])), cursor)?;
    if total_len < header_len {
        return Err(malformed("total length below header length"));
    }
    cursor.spans.push(Header::Ipv4, cursor.at, header_len);
    let (id, flags) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([f0, f1]));
    let (more_fragments, offset) = (flags & 0x2000 != 0, (flags & 0x1fff) << 3);
    Ok(Fixed {
        src: Ipv4Addr::new(s0, s1, s2, s3).into(),
        dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
        hop_limit: ttl,
        protocol,
        header_len,
        total_len,
        dont_fragment: flags & 0x4000 != 0,
        more_fragments,
        fragment: (more_fragments || offset > 0).then_some((offset, u32::from(id))),
        id: Some(id),
    })
}

fn v6(cursor: &mut Cursor<'_>) -> Result<Fixed, WireError> {
    /// Next header: nothing follows.
    const NOTHING: u8 = 59;
    let bytes = cursor.rest();
    let ([_, _, _, _, l0, l1, next, hops], rest) = split::<8>("IPv6", bytes)?;
    let (src, rest) = split::<16>("IPv6", rest)?;
    let (dst, rest) = split::<16>("IPv6", rest)?;
    let stated = usize::from(u16::from_be_bytes([*l0, *l1]));
    let total_len = match (stated, *next) {
        (0, NOTHING) => ipv6::HEADER_LEN,
        (0, proto::HOP_BY_HOP) if let Some(jumbo) = jumbo_len(rest) => ipv6::HEADER_LEN + jumbo,
        (0, _) => total_len(0, cursor)?,
        (stated, _) => ipv6::HEADER_LEN + stated,
    };
    cursor.spans.push(Header::Ipv6, cursor.at, ipv6::HEADER_LEN);
    Ok(Fixed {
        src: Ipv6Addr::from(*src).into(),
        dst: Ipv6Addr::from(*dst).into(),
        hop_limit: *hops,
        protocol: *next,
        header_len: ipv6::HEADER_LEN,
        total_len,
        dont_fragment: true,
        more_fragments: false,
        fragment: None,
        id: None,
    })
}

/// The length in a jumbo payload option (RFC 2675), if it is one that needs the option.
fn jumbo_len(hop_by_hop: &[u8]) -> Option<usize> {
    const PAD1: u8 = 0;
    const JUMBO: u8 = 0xc2;
    let len = (usize::from(*hop_by_hop.get(1)?) + 1) * 8;
    let mut options = hop_by_hop.get(2..len)?;
    while let Some(kind) = options.first() {
        options = match (*kind, options) {
            (PAD1, _) => options.get(1..)?,
            (JUMBO, [_, 4, a, b, c, d, ..]) => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                return (len > usize::from(u16::MAX)).then_some(len);
            }
            _ => options.get(2 + usize::from(*options.get(1)?)..)?,
        };
    }
    None
}

/// Notes the packet and what it carries; then what is inside, if it is a tunnel.
fn packet<'a>(mut fixed: Fixed, frame: &mut Frame<'a>, cursor: &mut Cursor<'a>) -> Result<Next, WireError> {
    let bytes = cursor.rest();
    let bytes = bytes.get(..fixed.total_len).unwrap_or(bytes);
    let start = cursor.at;
    cursor.cut(fixed.total_len);
    cursor.at += fixed.header_len;
    let problem = extensions(&mut fixed, cursor).err();
    if let Some(problem) = problem {
        frame.problem.get_or_insert(problem);
    }
    fixed.header_len = cursor.at - start;
    let ip = IpPacket {
        src: fixed.src,
        dst: fixed.dst,
        hop_limit: fixed.hop_limit,
        protocol: fixed.protocol,
        header_len: fixed.header_len,
        total_len: fixed.total_len,
        dont_fragment: fixed.dont_fragment,
        fragment: fixed.fragment,
        payload: cursor.rest(),
    };
    // What the header states counts, also where the capture states less: a capture that was cut twice forgets the first time.
    let on_wire = fixed.total_len.saturating_sub(fixed.header_len);
    let carried = match problem {
        Some(_) => transport::Carried { transport: Transport::Other(ip.payload), payload_len: on_wire, next: Next::End },
        None => transport::read(&ip, on_wire, frame, cursor),
    };
    frame.realm = cursor.realm;
    frame.tunnels = cursor.tunnels;
    frame.network = Network::Ip(Packet {
        ip,
        id: fixed.id,
        more_fragments: fixed.more_fragments,
        bytes,
        transport: carried.transport,
        payload_len: carried.payload_len as u32,
    });
    Ok(carried.next)
}

/// Walks the extension headers to the upper protocol, or to a later fragment's bytes. AH is one of them in IPv4, too.
fn extensions(fixed: &mut Fixed, cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    const MOBILITY: u8 = 135;
    const HIP: u8 = 139;
    const SHIM6: u8 = 140;
    let is_v6 = fixed.id.is_none();
    for _ in 0..MOST_EXTENSIONS {
        if fixed.fragment.is_some_and(|(offset, _)| offset > 0) {
            return Ok(());
        }
        let bytes = cursor.rest();
        let (header, len) = match fixed.protocol {
            proto::TCP | proto::UDP => return Ok(()),
            proto::AUTHENTICATION => (Header::Authentication, (usize::from(second(bytes)?) + 2) * 4),
            _ if !is_v6 => return Ok(()),
            proto::HOP_BY_HOP => (Header::HopByHop, (usize::from(second(bytes)?) + 1) * 8),
            proto::ROUTING => (Header::Routing, (usize::from(second(bytes)?) + 1) * 8),
            proto::DESTINATION_OPTIONS => (Header::DestinationOptions, (usize::from(second(bytes)?) + 1) * 8),
            MOBILITY | HIP | SHIM6 => (Header::Ipv6Extension, (usize::from(second(bytes)?) + 1) * 8),
            proto::FRAGMENT => {
                let ([_, _, o0, o1, id @ ..], _) = split::<8>("IPv6 fragment", bytes)?;
                let offset = u16::from_be_bytes([*o0, *o1]);
                fixed.more_fragments = offset & 1 != 0;
                fixed.fragment = Some((offset & !7, u32::from_be_bytes(*id)));
                (Header::Ipv6Fragment, 8)
            }
            _ => return Ok(()),
        };
        if bytes.len() < len {
            return Err(WireError::Truncated { header: "IPv6 extension", need: len, have: bytes.len() });
        }
        cursor.spans.push(header, cursor.at, len);
        fixed.protocol = bytes.first().copied().unwrap_or_default();
        cursor.at += len;
    }
    Err(WireError::Malformed { header: "IPv6", reason: "too many extension headers" })
}

fn second(bytes: &[u8]) -> Result<u8, WireError> {
    split::<2>("IPv6 extension", bytes).map(|([_, second], _)| *second)
}
