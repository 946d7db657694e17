//! A frame as boxes look at it, and the answers they give in the name of others.

use std::net::IpAddr;

use faultmap_wire::{Ethernet, Icmp, Icmpv6, IpPacket, Tcp, ethernet, icmp, icmpv6, ip, proto};

/// TTL of packets that boxes make up.
const TTL: u8 = 64;

/// An IP packet in its frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) ethernet: Ethernet,
    pub(super) ip: IpPacket<'a>,
    /// The packet's bytes, from the IP header, without Ethernet's padding.
    pub(super) packet: &'a [u8],
}

impl<'a> Seen<'a> {
    /// `None` for frames that boxes pass on unread: anything but IP, broken IP, and neighbour discovery, without
    /// which there is no link to speak of.
    pub(super) fn look(frame: &'a [u8]) -> Option<Seen<'a>> {
        let (ethernet, payload) = Ethernet::parse(frame).ok()?;
        if ethernet.ethertype != ethernet::IPV4 && ethernet.ethertype != ethernet::IPV6 {
            return None;
        }
        let ip = IpPacket::parse(payload).ok()?;
        let packet = payload.get(..ip.total_len).unwrap_or(payload);
        Some(Seen { ethernet, ip, packet })
    }

    pub(super) fn is_discovery(&self) -> bool {
        self.icmpv6().is_some_and(|icmp| icmp.is_discovery())
    }

    pub(super) fn tcp(&self) -> Option<(Tcp<'a>, &'a [u8])> {
        let is_tcp = self.ip.protocol == proto::TCP && self.ip.has_upper_header();
        if is_tcp { Tcp::parse(self.ip.payload).ok() } else { None }
    }

    /// Type and code, for ICMP and ICMPv6.
    pub(super) fn icmp(&self) -> Option<(u8, u8)> {
        match self.ip.protocol {
            proto::ICMP if self.ip.has_upper_header() => Icmp::parse(self.ip.payload).ok().map(|(icmp, _)| (icmp.kind, icmp.code)),
            proto::ICMPV6 => self.icmpv6().map(|icmp| (icmp.kind, icmp.code)),
            _ => None,
        }
    }

    /// Whether it is an ICMP or ICMPv6 error.
    pub(super) fn is_icmp_error(&self) -> bool {
        match self.ip.protocol {
            proto::ICMP => Icmp::parse(self.ip.payload).is_ok_and(|(icmp, _)| icmp.is_error()),
            proto::ICMPV6 => self.icmpv6().is_some_and(|icmp| icmp.is_error()),
            _ => false,
        }
    }

    fn icmpv6(&self) -> Option<Icmpv6> {
        let is_icmpv6 = self.ip.protocol == proto::ICMPV6 && self.ip.has_upper_header();
        if is_icmpv6 { Icmpv6::parse(self.ip.payload).ok().map(|(icmp, _)| icmp) } else { None }
    }

    /// The reset that the destination would answer with; none to a reset.
    pub(super) fn reset(&self) -> Option<Vec<u8>> {
        let (tcp, payload) = self.tcp()?;
        if tcp.flags.has(faultmap_wire::TcpFlags::RST) {
            return None;
        }
        let segment = tcp.reset(payload.len()).emit(self.ip.dst, self.ip.src, &[]);
        let packet = ip::emit(self.ip.dst, self.ip.src, proto::TCP, TTL, &segment)?;
        Some(self.ethernet.reply().emit(&packet))
    }

    /// An ICMP error about the packet, from `from` or, where that is of the other family, from the destination.
    pub(super) fn icmp_error(&self, v4: (u8, u8), v6: (u8, u8), from: Option<IpAddr>) -> Option<Vec<u8>> {
        let packet = match (self.ip.dst, from) {
            (IpAddr::V4(_), Some(IpAddr::V4(from))) | (IpAddr::V4(from), _) => icmp::error_about(self.packet, from, v4.0, v4.1, [0; 4]),
            (IpAddr::V6(_), Some(IpAddr::V6(from))) | (IpAddr::V6(from), _) => icmpv6::error_about(self.packet, from, v6.0, v6.1, [0; 4]),
        };
        Some(self.ethernet.reply().emit(&packet?))
    }
}
