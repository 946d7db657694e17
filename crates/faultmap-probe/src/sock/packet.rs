//! The few messages that questions write and read themselves: echo, a bare TCP segment, ARP, neighbour solicitation.
//! Pure bytes, by way of `faultmap-wire`; no socket.

use faultmap_wire::{Arp, Icmp, Icmpv6, IpPacket, Mac, Tcp, TcpFlags, arp, icmp, icmpv6, proto};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An unpredictable number, from the seeds that the standard library gives its hash maps. Not for keys.
pub(crate) fn unpredictable() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// An echo request. For ICMPv6 the kernel fills the checksum in (RFC 3542 3.1).
pub(crate) fn echo_request(v4: bool, id: u16, number: u16, payload_bytes: usize) -> Vec<u8> {
    // No time stamps: raw sockets see replies before the checksum is verified.
    let payload: Vec<u8> = b"faultmap".iter().copied().cycle().take(payload_bytes).collect();
    if v4 {
        Icmp::echo(icmp::ECHO_REQUEST, id, number).emit(&payload)
    } else {
        let unknown = Ipv6Addr::UNSPECIFIED;
        Icmpv6::echo(icmpv6::ECHO_REQUEST, id, number).emit(unknown, unknown, &payload)
    }
}

/// An echo request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EchoHeader {
    pub(crate) reply: bool,
    pub(crate) id: u16,
    pub(crate) number: u16,
}

/// Reads the header of an echo request or reply; `None` for anything else.
pub(crate) fn read_echo(v4: bool, message: &[u8]) -> Option<EchoHeader> {
    let (reply, (id, number)) = if v4 {
        let (header, _) = Icmp::parse(message).ok()?;
        (header.kind == icmp::ECHO_REPLY, header.echo_id()?)
    } else {
        let (header, _) = Icmpv6::parse(message).ok()?;
        (header.kind == icmpv6::ECHO_REPLY, header.echo_id()?)
    };
    Some(EchoHeader { reply, id, number })
}

/// What an IP packet carries.
pub(crate) fn carried(packet: &[u8]) -> Option<&[u8]> {
    IpPacket::parse(packet).ok().map(|packet| packet.payload)
}

/// A TCP segment with ACK set, no options and no data.
pub(crate) fn bare_ack(from: SocketAddr, to: SocketAddr, seq: u32, ack: u32) -> Vec<u8> {
    let header = Tcp { seq, ack, window: 512, ..Tcp::new(from.port(), to.port(), TcpFlags::ACK) };
    header.emit(from.ip(), to.ip(), &[])
}

/// A TCP answer as it lies in an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) flags: TcpFlags,
}

/// Reads an IP packet that carries TCP; `None` for anything else.
pub(crate) fn read_segment(packet: &[u8]) -> Option<Segment> {
    let packet = IpPacket::parse(packet).ok()?;
    if packet.protocol != proto::TCP || !packet.has_upper_header() {
        return None;
    }
    let (tcp, _) = Tcp::parse(packet.payload).ok()?;
    Some(Segment {
        from: SocketAddr::new(packet.src, tcp.src_port),
        to: SocketAddr::new(packet.dst, tcp.dst_port),
        ttl: packet.hop_limit,
        flags: tcp.flags,
    })
}

impl Segment {
    /// A RST.
    pub(crate) fn reset(&self) -> bool {
        self.flags.has(TcpFlags::RST)
    }

    /// What a host says to a SYN: SYN-ACK or RST.
    pub(crate) fn answers_syn(&self) -> bool {
        self.reset() || self.flags.has(TcpFlags::SYN.with(TcpFlags::ACK))
    }
}

/// An ARP request for `target`.
pub(crate) fn arp_request(our_mac: [u8; 6], our_address: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    Arp { operation: arp::REQUEST, sender_mac: Mac(our_mac), sender_ip: our_address, target_mac: Mac::default(), target_ip: target }.emit()
}

/// The MAC of an ARP reply in which `target` speaks; `None` for anything else.
pub(crate) fn read_arp_reply(message: &[u8], target: Ipv4Addr) -> Option<[u8; 6]> {
    let arp = Arp::parse(message).ok()?;
    (arp.operation == arp::REPLY && arp.sender_ip == target).then_some(arp.sender_mac.0)
}

/// A neighbour solicitation for `target` with our link-layer address. The kernel fills the checksum in.
pub(crate) fn neighbor_solicitation(our_mac: [u8; 6], target: Ipv6Addr) -> Vec<u8> {
    let solicitation =
        icmpv6::Neighbor { advertisement: false, router: false, solicited: false, override_: false, target, mac: Some(Mac(our_mac)) };
    solicitation.emit(Ipv6Addr::UNSPECIFIED, solicited_node(target))
}

/// The MAC of a neighbour advertisement for `target`; `None` for anything else.
pub(crate) fn read_neighbor_advertisement(message: &[u8], target: Ipv6Addr) -> Option<[u8; 6]> {
    let neighbor = icmpv6::Neighbor::parse(message).ok()?;
    let speaks = neighbor.advertisement && neighbor.target == target;
    neighbor.mac.filter(|_| speaks).map(|mac| mac.0)
}

/// The solicited-node multicast address (RFC 4291 2.7.1) of `target`.
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// The address without flow label and scope, which no packet carries.
pub(crate) fn bare(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// A MAC as everybody writes it.
pub(crate) fn spelled(mac: [u8; 6]) -> String {
    Mac(mac).to_string()
}

/// Whether the two are of one family.
pub(crate) const fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x1f];

    #[test]
    fn an_echo_request_is_read_back_by_its_number_and_is_no_reply() {
        for v4 in [true, false] {
            let expected = EchoHeader { reply: false, id: 7, number: 300 };
            assert_eq!(read_echo(v4, &echo_request(v4, 7, 300, 56)), Some(expected));
            assert_eq!(read_echo(v4, &echo_request(!v4, 7, 300, 56)), None);
        }
    }

    #[test]
    fn a_bare_ack_is_no_answer_to_a_syn_and_a_reset_is() {
        for (from, to) in [("10.0.0.1:1000", "10.0.0.2:80"), ("[fd00::1]:1000", "[fd00::2]:80")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let ack = bare_ack(from, to, 1, 2);
            let (header, _) = Tcp::parse(&ack).unwrap();
            let reset = header.reset(0).emit(to.ip(), from.ip(), &[]);
            let read = |from: SocketAddr, to: SocketAddr, segment: &[u8]| {
                read_segment(&faultmap_wire::ip::emit(from.ip(), to.ip(), proto::TCP, 61, segment).unwrap()).unwrap()
            };
            assert!(!read(from, to, &ack).answers_syn());
            let answer = read(to, from, &reset);
            assert!(answer.answers_syn() && answer.reset());
            assert_eq!((answer.from, answer.to, answer.ttl), (to, from, 61));
        }
    }

    #[test]
    fn only_a_reply_in_the_name_of_the_address_names_a_station() {
        let (ours, asked, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let request = arp_request(MAC, ours, asked);
        assert_eq!(read_arp_reply(&request, ours), None);
        let mut reply = Arp::parse(&request).unwrap();
        reply.operation = arp::REPLY;
        reply.sender_ip = asked;
        assert_eq!(read_arp_reply(&reply.emit(), asked), Some(MAC));
        assert_eq!(read_arp_reply(&reply.emit(), other), None);
    }

    #[test]
    fn only_an_advertisement_of_the_address_names_a_station() {
        let asked: Ipv6Addr = "fd00::1:2:3".parse().unwrap();
        let solicitation = neighbor_solicitation(MAC, asked);
        assert_eq!(read_neighbor_advertisement(&solicitation, asked), None);
        let mut neighbor = icmpv6::Neighbor::parse(&solicitation).unwrap();
        neighbor.advertisement = true;
        let advertisement = neighbor.emit(asked, asked);
        assert_eq!(read_neighbor_advertisement(&advertisement, asked), Some(MAC));
        assert_eq!(read_neighbor_advertisement(&advertisement, Ipv6Addr::LOCALHOST), None);
        assert_eq!(solicited_node(asked), "ff02::1:ff02:3".parse::<Ipv6Addr>().unwrap());
    }
    proptest::proptest! {
        #[test]
        fn no_bytes_from_the_network_make_a_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..160), version in 0_u8..=15) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = (version << 4) | (*first & 0x0f);
            }
            let _seen = (read_segment(&bytes), carried(&bytes), read_echo(true, &bytes), read_echo(false, &bytes));
            let _stations = (read_arp_reply(&bytes, Ipv4Addr::LOCALHOST), read_neighbor_advertisement(&bytes, Ipv6Addr::LOCALHOST));
        }
    }
}
