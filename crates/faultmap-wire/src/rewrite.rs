//! Changes addresses and ports of a packet in place, with its checksums updated, as an address translator does
//! (RFC 3022 §4, RFC 1624). Works on whole packets and on the cut-off ones that ICMP errors quote.

use std::net::IpAddr;

use crate::checksum;
use crate::error::WireError;
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ip::{IpPacket, proto};
use crate::read::{set16, u16_at};

/// Which end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// Sets the address of one side and, where given, its port. The "port" of an ICMP echo is its identifier.
/// `packet` starts at the IP header.
pub fn set_endpoint(packet: &mut [u8], side: Side, addr: IpAddr, port: Option<u16>) -> Result<(), WireError> {
    let parsed = IpPacket::parse(packet)?;
    let layout = Layout::of(&parsed, side);
    if parsed.src.is_ipv4() != addr.is_ipv4() {
        return Err(WireError::Malformed { header: "IP", reason: "the new address is of the other family" });
    }
    match addr {
        IpAddr::V4(v4) => set_addr(packet, &layout, &v4.octets(), true),
        IpAddr::V6(v6) => set_addr(packet, &layout, &v6.octets(), false),
    }
    if let (Some(port), Some(at)) = (port, layout.port_at) {
        set_port(packet, &layout, at, port);
    }
    Ok(())
}

/// Sets the TTL or hop limit.
pub fn set_hop_limit(packet: &mut [u8], hop_limit: u8) {
    const TTL_AT: usize = 8;
    const HOP_LIMIT_AT: usize = 7;
    const HEADER_CHECKSUM_AT: usize = 10;
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let Some(&[old, protocol]) = packet.get(TTL_AT..).and_then(|b| b.first_chunk::<2>()) else {
                return;
            };
            if let Some(slot) = packet.get_mut(TTL_AT) {
                *slot = hop_limit;
            }
            update(packet, HEADER_CHECKSUM_AT, &[old, protocol], &[hop_limit, protocol]);
        }
        Some(6) => {
            if let Some(slot) = packet.get_mut(HOP_LIMIT_AT) {
                *slot = hop_limit;
            }
        }
        _ => {}
    }
}

/// Where things stand in a packet.
struct Layout {
    addr_at: usize,
    port_at: Option<usize>,
    /// The transport checksum, if the packet has one.
    checksum_at: Option<usize>,
    /// It covers the addresses.
    pseudo_header: bool,
    /// Zero stands for none.
    udp: bool,
}

impl Layout {
    fn of(packet: &IpPacket<'_>, side: Side) -> Layout {
        let source = side == Side::Source;
        let addr_at = match (packet.src, source) {
            (IpAddr::V4(_), true) => 12,
            (IpAddr::V4(_), false) => 16,
            (IpAddr::V6(_), true) => 8,
            (IpAddr::V6(_), false) => 24,
        };
        let at = packet.header_len;
        let port = at + if source { 0 } else { 2 };
        let echo = match packet.protocol {
            proto::ICMP => Icmp::parse(packet.payload).is_ok_and(|(icmp, _)| icmp.echo_id().is_some()),
            proto::ICMPV6 => Icmpv6::parse(packet.payload).is_ok_and(|(icmp, _)| icmp.echo_id().is_some()),
            _ => false,
        };
        let (port_at, checksum_at) = match packet.protocol {
            _ if !packet.has_upper_header() => (None, None),
            proto::TCP => (Some(port), Some(at + 16)),
            proto::UDP => (Some(port), Some(at + 6)),
            proto::ICMP | proto::ICMPV6 => (echo.then_some(at + 4), Some(at + 2)),
            _ => (None, None),
        };
        let pseudo_header = packet.protocol != proto::ICMP;
        Layout { addr_at, port_at, checksum_at, pseudo_header, udp: packet.protocol == proto::UDP }
    }
}

fn set_addr(packet: &mut [u8], layout: &Layout, new: &[u8], v4: bool) {
    const HEADER_CHECKSUM_AT: usize = 10;
    let mut old = [0_u8; 16];
    let Some(old) = old.get_mut(..new.len()) else {
        return;
    };
    let Some(slot) = packet.get_mut(layout.addr_at..layout.addr_at + new.len()) else {
        return;
    };
    old.copy_from_slice(slot);
    slot.copy_from_slice(new);
    if v4 {
        update(packet, HEADER_CHECKSUM_AT, old, new);
    }
    if layout.pseudo_header {
        update_transport(packet, layout, old, new);
    }
}

fn set_port(packet: &mut [u8], layout: &Layout, at: usize, new: u16) {
    let Some(old) = u16_at(packet, at) else {
        return;
    };
    set16(packet, at, new);
    update_transport(packet, layout, &old.to_be_bytes(), &new.to_be_bytes());
}

fn update_transport(packet: &mut [u8], layout: &Layout, old: &[u8], new: &[u8]) {
    let Some(at) = layout.checksum_at else { return };
    if layout.udp && u16_at(packet, at) == Some(0) {
        return;
    }
    update(packet, at, old, new);
    if layout.udp && u16_at(packet, at) == Some(0) {
        set16(packet, at, 0xffff);
    }
}

/// Updates a checksum, if the packet reaches that far.
fn update(packet: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    if let Some(sum) = u16_at(packet, at) {
        set16(packet, at, checksum::updated(sum, old, new));
    }
}
