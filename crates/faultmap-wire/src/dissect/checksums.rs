//! Whether the checksums of a packet hold. Nothing of this is computed while a frame is taken apart.
//!
//! A capture on the sending host sees packets before the network card fills in their checksums: Linux leaves the sum of the pseudo header there, others 0.
//! Such a packet is not damaged; it is [`Verdict::Offloaded`].

use super::{Packet, Transport};
use crate::checksum;
use crate::ip::proto;

/// What a checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It holds.
    Good,
    /// It does not: the packet was damaged, or forged without care.
    Bad,
    /// It is not yet there: the network card was to fill it in.
    Offloaded,
    /// It cannot be computed: part of the packet is missing, or addresses stand elsewhere than in the IP header.
    Unknown,
    /// There is none to check: UDP over IPv4 may go without, IPv6 has none of its own, and other protocols are not known.
    None,
}

/// The verdicts on a packet's own checksum and on that of what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksums {
    /// The IPv4 header's.
    pub header: Verdict,
    /// TCP's, UDP's, ICMP's or ICMPv6's.
    pub transport: Verdict,
}

impl Checksums {
    /// Either is bad.
    #[must_use]
    pub fn any_bad(self) -> bool {
        self.header == Verdict::Bad || self.transport == Verdict::Bad
    }
}

/// Computes the checksums of a packet.
#[must_use]
pub fn checksums(packet: &Packet<'_>) -> Checksums {
    Checksums { header: header_checksum(packet), transport: transport_checksum(packet) }
}

/// Whether the IPv4 header's checksum holds.
#[must_use]
pub fn header_checksum(packet: &Packet<'_>) -> Verdict {
    if packet.ip.src.is_ipv6() {
        return Verdict::None;
    }
    let len = packet.bytes.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let Some(bytes) = packet.bytes.get(..len) else { return Verdict::Unknown };
    match (checksum::of(bytes), bytes.get(10..12)) {
        (0, _) => Verdict::Good,
        (_, Some([0, 0])) => Verdict::Offloaded,
        _ => Verdict::Bad,
    }
}

/// Whether the checksum of TCP, UDP, ICMP or ICMPv6 holds.
#[must_use]
pub fn transport_checksum(packet: &Packet<'_>) -> Verdict {
    let ip = &packet.ip;
    let (protocol, stated) = match packet.transport {
        Transport::Tcp(tcp, _) => (proto::TCP, tcp.checksum),
        Transport::Udp(udp, _) if udp.checksum == 0 && ip.src.is_ipv4() => return Verdict::None,
        Transport::Udp(udp, _) => (proto::UDP, udp.checksum),
        Transport::Icmp(icmp, _) => (proto::ICMP, icmp.checksum),
        Transport::Icmpv6(icmp, _) => (proto::ICMPV6, icmp.checksum),
        Transport::Other(_) => return Verdict::None,
    };
    let on_wire = ip.total_len.saturating_sub(ip.header_len);
    if ip.fragment.is_some_and(|(offset, _)| offset > 0 || packet.more_fragments) || ip.payload.len() < on_wire {
        return Verdict::Unknown;
    }
    // UDP's own length counts, not that of the packet around it.
    let covered = match packet.transport {
        Transport::Udp(udp, _) if udp.len != 0 => ip.payload.get(..usize::from(udp.len)),
        _ => Some(ip.payload),
    };
    let Some(covered) = covered else { return Verdict::Unknown };
    let pseudo = match protocol {
        proto::ICMP => checksum::Sum::default(),
        _ => checksum::pseudo_header(ip.src, ip.dst, protocol, covered.len()),
    };
    if pseudo.with(covered).finish() == 0 {
        return Verdict::Good;
    }
    let left_to_the_card = || {
        let without_len = checksum::pseudo_header(ip.src, ip.dst, protocol, 0);
        stated == 0 || stated == !pseudo.finish() || stated == !without_len.finish()
    };
    match protocol {
        proto::TCP | proto::UDP if left_to_the_card() => Verdict::Offloaded,
        // With a routing header or a home address the sum is over other addresses than those of the fixed header.
        _ if ip.src.is_ipv6() && ip.header_len > crate::ipv6::HEADER_LEN => Verdict::Unknown,
        _ => Verdict::Bad,
    }
}
