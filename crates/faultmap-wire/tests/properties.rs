//! What holds for every header: parsing never panics, parsing undoes emitting, and what is emitted or rewritten
//! carries right checksums.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use faultmap_wire::ethernet::Vlan;
use faultmap_wire::icmpv6::Neighbor;
use faultmap_wire::rewrite::{Side, set_endpoint, set_hop_limit};
use faultmap_wire::{
    Arp, Ethernet, Icmp, Icmpv6, IpPacket, Ipv4, Ipv6, Mac, Tcp, TcpFlags, TcpOption, Udp, checksum, icmp, icmpv6, ip, proto, tcp,
};
use proptest::prelude::*;

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<[u8; 4]>(), 0..10).prop_map(|words| words.concat())
}

fn addr_pair() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (IpAddr::V4(a), IpAddr::V4(b)));
    let v6 = any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (IpAddr::V6(a), IpAddr::V6(b)));
    prop_oneof![v4, v6]
}

/// A whole packet of one of the protocols a translator rewrites.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    (addr_pair(), 0..4_u8, any::<(u16, u16, u16)>(), payload()).prop_map(|((src, dst), kind, (a, b, id), payload)| {
        let (protocol, message) = match (kind, src, dst) {
            (0, ..) => (proto::TCP, Tcp::new(a, b, TcpFlags::SYN).emit(src, dst, &payload)),
            (1, ..) => (proto::UDP, Udp::new(a, b).emit(src, dst, &payload)),
            (_, IpAddr::V6(src), IpAddr::V6(dst)) => (proto::ICMPV6, Icmpv6::echo(icmpv6::ECHO_REQUEST, id, a).emit(src, dst, &payload)),
            _ => (proto::ICMP, Icmp::echo(icmp::ECHO_REQUEST, id, a).emit(&payload)),
        };
        ip::emit(src, dst, protocol, 64, &message).unwrap()
    })
}

fn assert_checksums(bytes: &[u8]) {
    let packet = IpPacket::parse(bytes).unwrap();
    if packet.src.is_ipv4() {
        assert_eq!(checksum::of(&bytes[..packet.header_len]), 0, "IPv4 header");
    }
    let sum = match packet.protocol {
        proto::ICMP => checksum::of(packet.payload),
        protocol => checksum::of_transport(packet.src, packet.dst, protocol, packet.payload),
    };
    assert_eq!(sum, 0, "transport {}", packet.protocol);
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), version in 0..3_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [*first, 0x45, 0x60][usize::from(version)];
        }
        let _ = Ethernet::parse(&bytes);
        let _ = Arp::parse(&bytes);
        let _ = IpPacket::parse(&bytes);
        let _ = Udp::parse(&bytes);
        let _ = Icmp::parse(&bytes);
        let _ = Icmpv6::parse(&bytes);
        let _ = Neighbor::parse(&bytes);
        if let Ok((header, _)) = Tcp::parse(&bytes) {
            assert!(header.options().count() <= 40);
        }
        tcp::clamp_mss(&mut bytes.clone(), 500);
        let _ = icmp::error_about(&bytes, Ipv4Addr::LOCALHOST, 3, 1, [0; 4]);
        let _ = icmpv6::error_about(&bytes, Ipv6Addr::LOCALHOST, 1, 0, [0; 4]);
        for addr in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let _ = set_endpoint(&mut bytes, Side::Source, addr, Some(1));
            let _ = set_endpoint(&mut bytes, Side::Destination, addr, None);
        }
        set_hop_limit(&mut bytes, 1);
    }

    #[test]
    fn ethernet_survives_a_round_trip(
        dst in mac(), src in mac(), tags in prop::collection::vec(any::<u16>(), 0..3), payload in payload(),
    ) {
        let mut frame = Ethernet::new(dst, src, faultmap_wire::ethernet::IPV4);
        for (slot, control) in frame.vlans.iter_mut().zip(tags) {
            *slot = Some(Vlan { ethertype: faultmap_wire::ethernet::VLAN, control });
        }
        let bytes = frame.emit(&payload);
        prop_assert_eq!(Ethernet::parse(&bytes).unwrap(), (frame, &payload[..]));
        prop_assert_eq!(bytes.len(), frame.len() + payload.len());
    }

    #[test]
    fn arp_survives_a_round_trip(
        operation in any::<u16>(), a in mac(), b in mac(), x in any::<Ipv4Addr>(), y in any::<Ipv4Addr>(),
    ) {
        let arp = Arp { operation, sender_mac: a, sender_ip: x, target_mac: b, target_ip: y };
        prop_assert_eq!(Arp::parse(&arp.emit()).unwrap(), arp);
    }

    #[test]
    fn ipv4_survives_a_round_trip_and_sheds_padding(
        src in any::<Ipv4Addr>(), dst in any::<Ipv4Addr>(), id in any::<u16>(), offset in 0..0x2000_u16,
        flags in any::<(bool, bool)>(), ttl in any::<u8>(), options in options(), payload in payload(), padding in payload(),
    ) {
        let header = Ipv4 {
            id, ttl, options: &options, fragment_offset: offset << 3, dont_fragment: flags.0, more_fragments: flags.1,
            ..Ipv4::new(src, dst, 17)
        };
        let mut bytes = header.emit(&payload);
        prop_assert_eq!(checksum::of(&bytes[..header.header_len()]), 0);
        let total_len = bytes.len() as u16;
        bytes.extend(padding);
        let (parsed, rest) = Ipv4::parse(&bytes).unwrap();
        prop_assert_eq!(rest, &payload[..]);
        prop_assert_eq!(parsed, Ipv4 { total_len, checksum: parsed.checksum, ..header });
    }

    #[test]
    fn ipv6_survives_a_round_trip(
        src in any::<Ipv6Addr>(), dst in any::<Ipv6Addr>(), class in any::<u8>(), label in 0..0x10_0000_u32,
        payload in payload(),
    ) {
        let header = Ipv6 { traffic_class: class, flow_label: label, ..Ipv6::new(src, dst, 17) };
        let bytes = header.emit(&payload);
        let (parsed, rest) = Ipv6::parse(&bytes).unwrap();
        prop_assert_eq!(rest, &payload[..]);
        prop_assert_eq!(parsed, Ipv6 { payload_len: payload.len() as u16, ..header });
    }

    #[test]
    fn tcp_survives_a_round_trip(
        addrs in addr_pair(), ports in any::<(u16, u16)>(), numbers in any::<(u32, u32)>(), flags in any::<u8>(),
        options in options(), payload in payload(),
    ) {
        let header = Tcp { seq: numbers.0, ack: numbers.1, options: &options, ..Tcp::new(ports.0, ports.1, TcpFlags(flags)) };
        let bytes = header.emit(addrs.0, addrs.1, &payload);
        prop_assert_eq!(checksum::of_transport(addrs.0, addrs.1, proto::TCP, &bytes), 0);
        let (parsed, rest) = Tcp::parse(&bytes).unwrap();
        prop_assert_eq!(rest, &payload[..]);
        prop_assert_eq!(parsed, Tcp { checksum: parsed.checksum, ..header });
    }

    #[test]
    fn tcp_options_survive_a_round_trip(mss in any::<u16>(), shift in any::<u8>(), stamps in any::<(u32, u32)>()) {
        let options = [
            TcpOption::Mss(mss), TcpOption::SackPermitted,
            TcpOption::Timestamps { value: stamps.0, echo: stamps.1 }, TcpOption::WindowScale(shift),
        ];
        let bytes = tcp::emit_options(&options);
        let header = Tcp { options: &bytes, ..Tcp::new(1, 2, TcpFlags::SYN) };
        prop_assert_eq!(header.options().collect::<Vec<_>>(), options);
        prop_assert_eq!(header.mss(), Some(mss));
    }

    #[test]
    fn a_clamped_mss_keeps_the_checksum_right(addrs in addr_pair(), mss in 501..u16::MAX, lead in 0..4_usize) {
        let mut options = vec![1_u8; lead];
        options.extend(tcp::emit_options(&[TcpOption::Mss(mss)]));
        options.resize(options.len().next_multiple_of(4), 0);
        let mut bytes = Tcp { options: &options, ..Tcp::new(1, 2, TcpFlags::SYN) }.emit(addrs.0, addrs.1, &[]);
        prop_assert!(tcp::clamp_mss(&mut bytes, 500));
        prop_assert_eq!(Tcp::parse(&bytes).unwrap().0.mss(), Some(500));
        prop_assert_eq!(checksum::of_transport(addrs.0, addrs.1, proto::TCP, &bytes), 0);
    }

    #[test]
    fn udp_survives_a_round_trip(addrs in addr_pair(), ports in any::<(u16, u16)>(), payload in payload()) {
        let bytes = Udp::new(ports.0, ports.1).emit(addrs.0, addrs.1, &payload);
        let (parsed, rest) = Udp::parse(&bytes).unwrap();
        prop_assert_eq!((parsed.src_port, parsed.dst_port, rest), (ports.0, ports.1, &payload[..]));
        prop_assert_eq!(checksum::of_transport(addrs.0, addrs.1, proto::UDP, &bytes), 0);
    }

    #[test]
    fn neighbours_survive_a_round_trip(
        src in any::<Ipv6Addr>(), dst in any::<Ipv6Addr>(), target in any::<Ipv6Addr>(), mac in prop::option::of(mac()),
        advertisement in any::<bool>(), flags in any::<(bool, bool, bool)>(),
    ) {
        let neighbor = Neighbor {
            advertisement, target, mac,
            router: advertisement && flags.0, solicited: advertisement && flags.1, override_: advertisement && flags.2,
        };
        prop_assert_eq!(Neighbor::parse(&neighbor.emit(src, dst)).unwrap(), neighbor);
    }

    #[test]
    fn a_translated_packet_keeps_right_checksums_and_comes_back_whole(
        original in packet(), new in addr_pair(), port in any::<u16>(), source in any::<bool>(),
    ) {
        let side = if source { Side::Source } else { Side::Destination };
        let parsed = IpPacket::parse(&original).unwrap();
        let before = if source { parsed.src } else { parsed.dst };
        let new = match before {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, port as u8)),
            IpAddr::V6(_) if new.0.is_ipv6() => new.0,
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let mut bytes = original.clone();
        set_endpoint(&mut bytes, side, new, Some(port)).unwrap();
        assert_checksums(&bytes);
        let after = IpPacket::parse(&bytes).unwrap();
        prop_assert_eq!(if source { after.src } else { after.dst }, new);
        set_endpoint(&mut bytes, side, before, None).unwrap();
        assert_checksums(&bytes);
    }

    #[test]
    fn a_lowered_hop_limit_keeps_the_checksum_right(original in packet(), hops in any::<u8>()) {
        let mut bytes = original;
        set_hop_limit(&mut bytes, hops);
        assert_checksums(&bytes);
        prop_assert_eq!(IpPacket::parse(&bytes).unwrap().hop_limit, hops);
    }

    #[test]
    fn an_error_quotes_what_it_is_about(original in packet()) {
        let packet = IpPacket::parse(&original).unwrap();
        let error = match packet.src {
            IpAddr::V4(_) => icmp::error_about(&original, Ipv4Addr::new(192, 0, 2, 1), 3, 13, [0; 4]),
            IpAddr::V6(_) => icmpv6::error_about(&original, "2001:db8::1".parse().unwrap(), 1, 1, [0; 4]),
        };
        if let Some(error) = error {
            assert_checksums(&error);
            let outer = IpPacket::parse(&error).unwrap();
            prop_assert_eq!(outer.dst, packet.src);
            prop_assert!(original.starts_with(&outer.payload[8..]));
        }
    }
}

#[test]
fn an_error_is_never_answered_with_an_error() {
    let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let error = Ipv4::new(a, b, proto::ICMP).emit(&Icmp::new(icmp::UNREACHABLE, 1).emit(&[0; 28]));
    assert_eq!(icmp::error_about(&error, b, 3, 1, [0; 4]), None);
}

#[test]
fn a_reset_acknowledges_the_syn_it_refuses() {
    let syn = Tcp { seq: 41, ..Tcp::new(1000, 80, TcpFlags::SYN) };
    let reset = syn.reset(0);
    assert_eq!((reset.src_port, reset.ack, reset.seq), (80, 42, 0));
    assert!(reset.flags.has(TcpFlags::RST.with(TcpFlags::ACK)));
}

#[test]
fn extension_headers_are_followed_to_the_port() {
    let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    let udp = Udp::new(5, 6).emit(src.into(), dst.into(), b"x");
    let chain = [&[proto::FRAGMENT, 0, 0, 0, 0, 0, 0, 0][..], &[proto::UDP, 0, 0, 1, 0, 0, 0, 9], &udp].concat();
    let bytes = Ipv6::new(src, dst, proto::HOP_BY_HOP).emit(&chain);
    let packet = IpPacket::parse(&bytes).unwrap();
    assert_eq!((packet.ports(), packet.fragment, packet.header_len), (Some((5, 6)), Some((0, 9)), 56));
}
