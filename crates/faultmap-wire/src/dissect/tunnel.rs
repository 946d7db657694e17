//! Headers that put a packet or a frame into a packet: GRE, ERSPAN, VXLAN, Geneve. Numbers that tell customers apart go into the realm.

use super::{Cursor, Header, Next};
use crate::error::WireError;
use crate::ethernet;
use crate::read::{split, u16_at};

/// UDP ports of VXLAN: IANA's (RFC 7348), the one Linux had before, and that of the extension for other protocols.
pub(super) const VXLAN_PORTS: [u16; 3] = [4789, 8472, 4790];
/// UDP port of Geneve (RFC 8926).
pub(super) const GENEVE_PORT: u16 = 6081;

/// Marks in front of the numbers, so that VNI 5 and GRE key 5 are not one realm.
const VNI: u32 = 0x1 << 28;
const GRE_KEY: u32 = 0x2 << 28;

/// GRE, version 0 with its optional fields (RFC 2784, RFC 2890). Version 1 is PPTP's, whose PPP is compressed more often than not: it is only named.
pub(super) fn gre(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    let bytes = cursor.rest();
    let ([flags, version, p0, p1], _) = split::<4>("GRE", bytes)?;
    let has = |flag: u8| usize::from(flags & flag != 0);
    let len = 4 + 4 * (has(CHECKSUM) + has(KEY) + has(SEQUENCE));
    if bytes.len() < len {
        return Err(WireError::Truncated { header: "GRE", need: len, have: bytes.len() });
    }
    cursor.spans.push(Header::Gre, cursor.at, len);
    if version & 7 != 0 || flags & ROUTING != 0 {
        cursor.spans.push(Header::Payload, cursor.at + len, bytes.len() - len);
        return Ok(Next::End);
    }
    if flags & KEY != 0 {
        let at = 4 + 4 * has(CHECKSUM);
        let key = (u32::from(u16_at(bytes, at).unwrap_or(0)) << 16) | u32::from(u16_at(bytes, at + 2).unwrap_or(0));
        cursor.enter_realm(GRE_KEY ^ key);
    }
    cursor.at += len;
    cursor.enter_tunnel();
    Ok(match u16::from_be_bytes([*p0, *p1]) {
        // Type I has no header of its own, and no sequence number in GRE's.
        0x88be if flags & SEQUENCE == 0 => Next::Ethernet,
        0x88be => Next::Erspan(8),
        0x22eb => Next::Erspan(12),
        protocol => Next::Type(protocol),
    })
}

/// The header of a mirrored frame, type II or III (draft-foschiano-erspan).
pub(super) fn erspan(len: usize, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let bytes = cursor.rest();
    let platform = if len == 12 && bytes.get(11).is_some_and(|last| last & 1 == 1) { 8 } else { 0 };
    let len = len + platform;
    if bytes.len() < len {
        return Err(WireError::Truncated { header: "ERSPAN", need: len, have: bytes.len() });
    }
    cursor.spans.push(Header::Erspan, cursor.at, len);
    cursor.at += len;
    Ok(Next::Ethernet)
}

/// VXLAN (RFC 7348 §5) and its extension for other protocols (draft-ietf-nvo3-vxlan-gpe §3). Other uses of the port lack the flag, or set bytes that are
/// reserved.
pub(super) fn vxlan(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    const HAS_VNI: u8 = 0x08;
    /// "Group policy", an extension that Linux and Cisco set.
    const GROUP_POLICY: u8 = 0x80;
    /// The fourth byte tells what follows.
    const NEXT_PROTOCOL: u8 = 0x04;
    let Some(([flags, more, _, protocol, v0, v1, v2, reserved], _)) = cursor.rest().split_first_chunk::<8>() else {
        return Ok(datagram(cursor));
    };
    const TELLS_NEXT: u8 = HAS_VNI | NEXT_PROTOCOL;
    let inner = match (flags & !GROUP_POLICY, protocol) {
        (HAS_VNI, _) | (TELLS_NEXT, 3) => Next::Ethernet,
        (TELLS_NEXT, 1) => Next::Type(ethernet::IPV4),
        (TELLS_NEXT, 2) => Next::Type(ethernet::IPV6),
        _ => return Ok(datagram(cursor)),
    };
    if *reserved != 0 || (*more != 0 && flags & GROUP_POLICY == 0) {
        return Ok(datagram(cursor));
    }
    cursor.spans.push(Header::Vxlan, cursor.at, 8);
    cursor.at += 8;
    cursor.enter_realm(VNI | u32::from_be_bytes([0, *v0, *v1, *v2]));
    cursor.enter_tunnel();
    Ok(inner)
}

/// On the port of a tunnel, and none.
fn datagram(cursor: &mut Cursor<'_>) -> Next {
    let len = cursor.rest().len();
    if len > 0 {
        cursor.spans.push(Header::Payload, cursor.at, len);
    }
    Next::End
}

/// Geneve (RFC 8926 §3.4).
pub(super) fn geneve(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let bytes = cursor.rest();
    let Some(([first, _, p0, p1, v0, v1, v2, _], _)) = bytes.split_first_chunk::<8>() else { return Ok(datagram(cursor)) };
    let len = 8 + 4 * usize::from(first & 0x3f);
    if first >> 6 != 0 || bytes.len() < len {
        return Ok(datagram(cursor));
    }
    cursor.spans.push(Header::Geneve, cursor.at, len);
    cursor.at += len;
    cursor.enter_realm(VNI | u32::from_be_bytes([0, *v0, *v1, *v2]));
    cursor.enter_tunnel();
    Ok(Next::Type(u16::from_be_bytes([*p0, *p1])))
}
