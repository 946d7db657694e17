//! From the first byte of a frame to the network layer: media, VLAN tags, 802.2, PPP, MPLS. It knows no address but those of the medium.

use super::{Cursor, Frame, Header, LinkType, Network, Next};
use crate::arp::Arp;
use crate::error::WireError;
use crate::ethernet::{self, Mac};
use crate::read::{split, u16_at};

/// Below this an EtherType is a length (IEEE 802.3 §3.2.6).
const LEAST_ETHERTYPE: u16 = 1536;
/// EtherType of an outer tag before 802.1ad; many switches still send it.
const OLD_SERVICE_VLAN: u16 = 0x9100;
/// EtherType of a PPPoE session (RFC 2516).
const PPPOE_SESSION: u16 = 0x8864;
const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;
/// EtherType of an Ethernet frame in a tunnel (RFC 7637 and others).
const BRIDGED_ETHERNET: u16 = 0x6558;
const ARP_LEN: usize = 28;

/// Reads what stands before the first header that is more than a number.
pub(super) fn first<'a>(link: LinkType, frame: &mut Frame<'a>, cursor: &mut Cursor<'a>) -> Result<Next, WireError> {
    match link {
        LinkType::ETHERNET => ethernet(frame, cursor),
        LinkType(12 | 14) | LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => Ok(Next::Ip),
        LinkType::LINUX_SLL => cooked(cursor),
        LinkType::LINUX_SLL2 => cooked2(cursor),
        LinkType::NULL | LinkType::LOOP => loopback(frame, cursor),
        LinkType::PPP => Ok(Next::Ppp),
        LinkType::PPP_HDLC if !matches!(cursor.rest().first(), Some(0x0f | 0x8f)) => Ok(Next::Ppp),
        LinkType::CISCO_HDLC | LinkType::PPP_HDLC => cisco_hdlc(cursor),
        LinkType::PPPOE => Ok(Next::PppoeSession),
        _ => Err(WireError::Malformed { header: "link layer", reason: "this link type is not known" }),
    }
}

pub(super) fn ethernet(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let (header, _) = split::<{ ethernet::HEADER_LEN }>("Ethernet", cursor.rest())?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    if cursor.tunnels == 0 {
        frame.macs = Some((Mac([s0, s1, s2, s3, s4, s5]), Mac([d0, d1, d2, d3, d4, d5])));
    }
    cursor.spans.push(Header::Ethernet, cursor.at, ethernet::HEADER_LEN);
    cursor.at += ethernet::HEADER_LEN;
    Ok(typed_or_long(u16::from_be_bytes([t0, t1]), cursor))
}

/// An EtherType, or a length and 802.2 behind it.
fn typed_or_long(value: u16, cursor: &mut Cursor<'_>) -> Next {
    match value {
        ethernet::IPV4 | ethernet::IPV6 => Next::Ip,
        LEAST_ETHERTYPE.. => Next::Type(value),
        len => {
            cursor.cut(usize::from(len));
            Next::Llc
        }
    }
}

pub(super) fn by_type(ethertype: u16, frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    match ethertype {
        ethernet::IPV4 | ethernet::IPV6 => return Ok(Next::Ip),
        ethernet::VLAN | ethernet::SERVICE_VLAN | OLD_SERVICE_VLAN => return Ok(Next::Vlan),
        ethernet::ARP => return arp(frame, cursor),
        PPPOE_SESSION => return Ok(Next::PppoeSession),
        MPLS | MPLS_UPSTREAM => return Ok(Next::Mpls),
        BRIDGED_ETHERNET => return Ok(Next::Ethernet),
        _ => {}
    }
    other(ethertype, frame, cursor);
    Ok(Next::End)
}

/// Something that is not read. Inside a tunnel the packet that carries it stays what the frame is about.
fn other(ethertype: u16, frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) {
    if !matches!(frame.network, Network::Ip(_)) {
        frame.network = Network::Other(ethertype);
        frame.realm = cursor.realm;
    }
    cursor.spans.push(Header::Payload, cursor.at, cursor.rest().len());
}

fn arp(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let arp = match Arp::parse(cursor.rest()) {
        Ok(arp) => arp,
        Err(error) => {
            other(ethernet::ARP, frame, cursor);
            return Err(error);
        }
    };
    cursor.spans.push(Header::Arp, cursor.at, ARP_LEN);
    frame.network = Network::Arp(arp);
    frame.realm = cursor.realm;
    frame.tunnels = cursor.tunnels;
    Ok(Next::End)
}

pub(super) fn vlan(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([c0, c1, t0, t1], _) = split::<4>("VLAN tag", cursor.rest())?;
    cursor.spans.push(Header::Vlan, cursor.at, 4);
    cursor.at += 4;
    cursor.enter_realm(u32::from(u16::from_be_bytes([*c0, *c1]) & 0x0fff));
    Ok(typed_or_long(u16::from_be_bytes([*t0, *t1]), cursor))
}

/// 802.2, and the EtherType of SNAP where that follows (RFC 1042).
pub(super) fn llc(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
    let bytes = cursor.rest();
    if let Some(([a, b, c, d, e, f, t0, t1], _)) = bytes.split_first_chunk::<8>()
        && [*a, *b, *c, *d, *e, *f] == SNAP
    {
        cursor.spans.push(Header::Llc, cursor.at, 8);
        cursor.at += 8;
        return Ok(Next::Type(u16::from_be_bytes([*t0, *t1])));
    }
    split::<3>("802.2 LLC", bytes)?;
    cursor.spans.push(Header::Llc, cursor.at, 3);
    cursor.at += 3;
    other(0, frame, cursor);
    Ok(Next::End)
}

/// `LINKTYPE_LINUX_SLL`: packet type, ARPHRD type, address length, address, protocol.
fn cooked(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([_, _, a0, a1, .., p0, p1], _) = split::<16>("Linux cooked", cursor.rest())?;
    cursor.spans.push(Header::Sll, cursor.at, 16);
    cursor.at += 16;
    Ok(cooked_protocol(u16::from_be_bytes([*p0, *p1]), u16::from_be_bytes([*a0, *a1])))
}

/// `LINKTYPE_LINUX_SLL2`: protocol, reserved, interface, ARPHRD type, packet type, address length, address.
fn cooked2(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([p0, p1, _, _, _, _, _, _, a0, a1, ..], _) = split::<20>("Linux cooked", cursor.rest())?;
    cursor.spans.push(Header::Sll2, cursor.at, 20);
    cursor.at += 20;
    Ok(cooked_protocol(u16::from_be_bytes([*p0, *p1]), u16::from_be_bytes([*a0, *a1])))
}

fn cooked_protocol(protocol: u16, hardware: u16) -> Next {
    /// `ARPHRD_IPGRE`: the protocol is that of GRE.
    const IPGRE: u16 = 778;
    /// `ETH_P_802_2`: 802.2 follows.
    const LLC: u16 = 0x0004;
    match protocol {
        LLC => Next::Llc,
        0x6558 if hardware != IPGRE => Next::Ethernet,
        protocol => Next::Type(protocol),
    }
}

/// Address family, in either byte order: 2 is IPv4 everywhere, IPv6 has a number of its own on each system.
fn loopback(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let (family, _) = split::<4>("loopback", cursor.rest())?;
    cursor.spans.push(Header::Loopback, cursor.at, 4);
    cursor.at += 4;
    let family = match u32::from_be_bytes(*family) {
        big @ 0..=0xffff => big,
        little => little.swap_bytes(),
    };
    match family {
        2 | 10 | 24 | 28 | 30 => Ok(Next::Ip),
        _ => {
            other(0, frame, cursor);
            Ok(Next::End)
        }
    }
}

fn cisco_hdlc(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([_, _, t0, t1], _) = split::<4>("Cisco HDLC", cursor.rest())?;
    cursor.spans.push(Header::CiscoHdlc, cursor.at, 4);
    cursor.at += 4;
    Ok(Next::Type(u16::from_be_bytes([*t0, *t1])))
}

/// A PPPoE session's header (RFC 2516 §4): version and type 1, code 0, session, length.
pub(super) fn pppoe(cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([version, code, s0, s1, l0, l1], _) = split::<6>("PPPoE", cursor.rest())?;
    if (*version, *code) != (0x11, 0) {
        return Err(WireError::Malformed { header: "PPPoE", reason: "not version 1, type 1, session data" });
    }
    cursor.spans.push(Header::PppoeSession, cursor.at, 6);
    cursor.at += 6;
    cursor.enter_realm(0x1_0000 | u32::from(u16::from_be_bytes([*s0, *s1])));
    cursor.cut(usize::from(u16::from_be_bytes([*l0, *l1])));
    Ok(Next::Ppp)
}

/// PPP (RFC 1661): address and control may be left out, and so may the first byte of the protocol.
pub(super) fn ppp(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let bytes = cursor.rest();
    let skipped = if bytes.starts_with(&[0xff, 0x03]) { 2 } else { 0 };
    let (protocol, len) = match bytes.get(skipped) {
        Some(odd) if odd & 1 == 1 => (u16::from(*odd), skipped + 1),
        _ => {
            let protocol = u16_at(bytes, skipped).ok_or(WireError::Truncated { header: "PPP", need: skipped + 2, have: bytes.len() })?;
            (protocol, skipped + 2)
        }
    };
    cursor.spans.push(Header::Ppp, cursor.at, len);
    cursor.at += len;
    match protocol {
        0x21 | 0x57 => Ok(Next::Ip),
        0x281 | 0x283 => Ok(Next::Mpls),
        _ => {
            other(0, frame, cursor);
            Ok(Next::End)
        }
    }
}

/// One label (RFC 3032). What follows the last is not said; its first half byte tells (RFC 4928, RFC 4385).
pub(super) fn mpls(frame: &mut Frame<'_>, cursor: &mut Cursor<'_>) -> Result<Next, WireError> {
    let ([_, _, bottom, _], _) = split::<4>("MPLS", cursor.rest())?;
    cursor.spans.push(Header::Mpls, cursor.at, 4);
    cursor.at += 4;
    if bottom & 1 == 0 {
        return Ok(Next::Mpls);
    }
    match cursor.rest() {
        [0x40..=0x6f, ..] => Ok(Next::Ip),
        // The control word's length is not 0 only where the frame had to be padded.
        [0, _, _, _, inner @ ..] if u16_at(inner, 12).is_some_and(|ethertype| ethertype >= LEAST_ETHERTYPE) => {
            cursor.spans.push(Header::PseudowireControl, cursor.at, 4);
            cursor.at += 4;
            cursor.enter_tunnel();
            Ok(Next::Ethernet)
        }
        _ => {
            other(0, frame, cursor);
            Ok(Next::End)
        }
    }
}
