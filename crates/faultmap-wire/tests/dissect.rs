//! Media, tunnels and lengths that etherparse does not read: frames built by hand around one TCP segment from 10.0.0.1:40000 to 10.0.0.2:80 with five
//! bytes of payload. Each test says what stands around it, and `check` that it is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use faultmap_wire::dissect::{Frame, Header, LinkType, Network, Packet, Transport, Verdict, checksums, dissect};
use faultmap_wire::{Ipv4, Ipv6, Tcp, TcpFlags, Udp, proto};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OUTER: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));

fn segment() -> Vec<u8> {
    let tcp = Tcp::new(40000, 80, TcpFlags::ACK).emit(A.into(), B.into(), b"hello");
    Ipv4::new(A, B, proto::TCP).emit(&tcp)
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 6][..], &[4; 6], &ethertype.to_be_bytes(), payload].concat()
}

fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &Ipv4::new(OUTER.0, OUTER.1, protocol).emit(payload))
}

fn outer_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    outer(proto::UDP, &Udp::new(50000, port).emit(OUTER.0.into(), OUTER.1.into(), payload))
}

fn headers(frame: &Frame<'_>) -> Vec<Header> {
    frame.spans().as_slice().iter().map(|span| span.header).collect()
}

fn inner<'a>(frame: &Frame<'a>) -> Packet<'a> {
    match frame.network {
        Network::Ip(packet) => packet,
        other => panic!("{other:?}, {:?}", frame.problem),
    }
}

/// The segment is found, whole, behind these headers.
#[track_caller]
fn check(link: LinkType, bytes: &[u8], before: &[Header]) -> u32 {
    let frame = dissect(link, bytes, bytes.len());
    assert_eq!(frame.problem, None);
    assert_eq!(headers(&frame), [before, &[Header::Ipv4, Header::Tcp, Header::Payload]].concat());
    let packet = inner(&frame);
    assert_eq!((packet.ip.src, packet.ip.dst), (IpAddr::V4(A), IpAddr::V4(B)));
    assert!(matches!(packet.transport, Transport::Tcp(tcp, b"hello") if tcp.dst_port == 80), "{:?}", packet.transport);
    assert_eq!((packet.payload_len, packet.bytes), (5, &segment()[..]));
    assert_eq!(checksums(&packet).transport, Verdict::Good);
    frame.realm
}

#[test]
fn every_medium_leads_to_the_packet() {
    for link in [12, 14, 101, 228] {
        check(LinkType(link), &segment(), &[]);
    }
    let with = |before: &[u8]| [before, &segment()].concat();
    for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        check(LinkType::NULL, &with(&family), &[Header::Loopback]);
        check(LinkType::LOOP, &with(&family), &[Header::Loopback]);
    }
    let mut sll = [0_u8; 16];
    sll[14..].copy_from_slice(&[8, 0]);
    check(LinkType::LINUX_SLL, &with(&sll), &[Header::Sll]);
    let mut sll2 = [0_u8; 20];
    sll2[..2].copy_from_slice(&[8, 0]);
    check(LinkType::LINUX_SLL2, &with(&sll2), &[Header::Sll2]);
    for ppp in [&[0xff, 0x03, 0, 0x21][..], &[0, 0x21], &[0x21]] {
        check(LinkType::PPP, &with(ppp), &[Header::Ppp]);
        check(LinkType::PPP_HDLC, &with(ppp), &[Header::Ppp]);
    }
    for link in [LinkType::CISCO_HDLC, LinkType::PPP_HDLC] {
        check(link, &with(&[0x0f, 0, 8, 0]), &[Header::CiscoHdlc]);
    }
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &segment(), &[0; 9]].concat();
    check(LinkType::ETHERNET, &ethernet(8 + segment().len() as u16, &snap), &[Header::Ethernet, Header::Llc]);
}

#[test]
fn equal_addresses_in_other_vlans_sessions_and_tunnels_are_of_another_realm() {
    use Header::{Ethernet, Geneve, Gre, Ipv4 as Ip, PppoeSession, Udp, Vlan, Vxlan};
    let plain = check(LinkType::ETHERNET, &ethernet(0x0800, &segment()), &[Ethernet]);
    assert_eq!(plain, 0);
    let tagged =
        |control: [u8; 2]| check(LinkType::ETHERNET, &ethernet(0x8100, &[&control[..], &[8, 0], &segment()].concat()), &[Ethernet, Vlan]);
    let double = |a: u8, b: u8| {
        let frame = ethernet(0x88a8, &[&[0, a, 0x81, 0, 0, b, 8, 0], &segment()[..]].concat());
        check(LinkType::ETHERNET, &frame, &[Ethernet, Vlan, Vlan])
    };
    let vxlan = |vni: u8| {
        let frame = outer_udp(4789, &[&[8, 0, 0, 0, 0, 0, vni, 0], &ethernet(0x0800, &segment())[..]].concat());
        check(LinkType::ETHERNET, &frame, &[Ethernet, Ip, Udp, Vxlan, Ethernet])
    };
    let gpe = |vni: u8| {
        let framed = outer_udp(4789, &[&[0x0c, 0, 0, 3, 0, 0, vni, 0], &ethernet(0x0800, &segment())[..]].concat());
        check(LinkType::ETHERNET, &framed, &[Ethernet, Ip, Udp, Vxlan, Ethernet]);
        let bare = outer_udp(4790, &[&[0x0c, 0, 0, 1, 0, 0, vni, 0], &segment()[..]].concat());
        check(LinkType::ETHERNET, &bare, &[Ethernet, Ip, Udp, Vxlan])
    };
    let geneve = |vni: u8| {
        let frame = outer_udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, vni, 0, 1, 2, 3, 0], &ethernet(0x0800, &segment())[..]].concat());
        check(LinkType::ETHERNET, &frame, &[Ethernet, Ip, Udp, Geneve, Ethernet])
    };
    let gre = |key: u8| {
        check(
            LinkType::ETHERNET,
            &outer(47, &[&[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 9], &segment()[..]].concat()),
            &[Ethernet, Ip, Gre],
        )
    };
    let pppoe = |session: u8| {
        let len = segment().len() as u8 + 2;
        let frame = ethernet(0x8864, &[&[0x11, 0, 0, session, 0, len, 0, 0x21], &segment()[..], &[0; 7]].concat());
        check(LinkType::ETHERNET, &frame, &[Ethernet, PppoeSession, Header::Ppp])
    };
    assert_eq!(tagged([0xe0, 0]), 0, "a priority is no VLAN");
    assert_eq!(tagged([0x20, 7]), tagged([0, 7]), "the priority does not count");
    let mut realms = vec![
        plain,
        tagged([0, 7]),
        tagged([0, 8]),
        double(1, 2),
        double(2, 1),
        vxlan(7),
        vxlan(8),
        gpe(10),
        geneve(9),
        gre(7),
        gre(8),
        pppoe(7),
        pppoe(8),
    ];
    let all = realms.len();
    realms.sort_unstable();
    realms.dedup();
    assert_eq!(realms.len(), all);
}

#[test]
fn tunnels_without_a_number_lead_to_the_packet_within() {
    use Header::{Erspan, Ethernet, Gre, Ipv4 as Ip, Mpls, PseudowireControl};
    let with = |before: &[u8], bytes: &[u8]| [before, bytes].concat();
    check(LinkType::ETHERNET, &outer(4, &segment()), &[Ethernet, Ip]);
    check(LinkType::ETHERNET, &outer(47, &with(&[0, 0, 8, 0], &segment())), &[Ethernet, Ip, Gre]);
    check(LinkType::ETHERNET, &outer(137, &with(&[0, 0, 0x11, 64], &segment())), &[Ethernet, Ip, Mpls]);
    check(LinkType::ETHERNET, &ethernet(0x8847, &with(&[0, 0, 0x10, 64, 0, 0, 0x11, 64], &segment())), &[Ethernet, Mpls, Mpls]);
    let pseudowire = [&[0, 0, 0x11, 64, 0, 0, 0, 0], &ethernet(0x0800, &segment())[..]].concat();
    check(LinkType::ETHERNET, &ethernet(0x8847, &pseudowire), &[Ethernet, Mpls, PseudowireControl, Ethernet]);
    let mirrored = ethernet(0x0800, &segment());
    check(LinkType::ETHERNET, &outer(47, &with(&[0, 0, 0x88, 0xbe], &mirrored)), &[Ethernet, Ip, Gre, Ethernet]);
    let type2 = with(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0], &mirrored);
    check(LinkType::ETHERNET, &outer(47, &type2), &[Ethernet, Ip, Gre, Erspan, Ethernet]);
    let type3 = [&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x20; 11], &[1], &[0; 8], &mirrored].concat();
    check(LinkType::ETHERNET, &outer(47, &type3), &[Ethernet, Ip, Gre, Erspan, Ethernet]);
    let six = Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 4).emit(&segment());
    check(LinkType::ETHERNET, &outer(41, &six), &[Ethernet, Ip, Header::Ipv6]);
}

#[test]
fn a_tunnel_that_cannot_be_read_leaves_the_packet_around_it() {
    for (payload, protocol) in
        [(outer(4, &[0x45, 0, 0]), 4), (outer(47, &[0, 0, 8, 0, 0x45]), 47), (outer(47, &[0, 1, 0x88, 0x0b, 1, 2]), 47)]
    {
        let frame = dissect(LinkType::ETHERNET, &payload, payload.len());
        let packet = inner(&frame);
        assert_eq!((packet.ip.src, packet.ip.protocol, frame.tunnels, frame.realm), (OUTER.0.into(), protocol, 0, 0));
    }
    // Bridge control in VXLAN is no IP; datagrams on its port that are not VXLAN are datagrams.
    for payload in [[&[8, 0, 0, 0, 0, 0, 7, 0], &ethernet(0x88cc, b"lldp")[..]].concat(), b"any other protocol".to_vec()] {
        let bytes = outer_udp(4789, &payload);
        let frame = dissect(LinkType::ETHERNET, &bytes, bytes.len());
        assert_eq!((inner(&frame).ip.src, frame.realm, frame.problem), (OUTER.0.into(), 0, None));
        assert!(matches!(inner(&frame).transport, Transport::Udp(_, read) if read == payload));
    }
}

#[test]
fn a_packet_left_to_the_card_to_cut_is_as_long_as_its_frame() {
    let tcp = Tcp::new(40000, 80, TcpFlags::ACK).emit(A.into(), B.into(), &[7; 3000]);
    let mut v4 = ethernet(0x0800, &Ipv4::new(A, B, proto::TCP).emit(&tcp));
    v4[16..18].fill(0);
    let mut v6 = ethernet(0x86dd, &Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, proto::TCP).emit(&tcp));
    v6[18..20].fill(0);
    for bytes in [&v4, &v6] {
        let frame = dissect(LinkType::ETHERNET, bytes, bytes.len());
        assert_eq!((inner(&frame).payload_len, frame.problem), (3000, None));
        let cut = dissect(LinkType::ETHERNET, &bytes[..96], bytes.len());
        assert_eq!((inner(&cut).payload_len, cut.problem), (3000, None), "the capture cut it");
    }
    let mut short = ethernet(0x0800, &segment());
    short[16..18].fill(0);
    short.resize(60, 0);
    assert!(dissect(LinkType::ETHERNET, &short, 60).problem.is_some(), "padding alone is no sign of such a packet");
}

#[test]
fn a_jumbogram_states_its_length_in_an_option() {
    let len = 8 + 20 + 70_000_u32;
    let [a, b, c, d] = len.to_be_bytes();
    let tcp = Tcp::new(40000, 80, TcpFlags::ACK).emit(A.into(), B.into(), &[]);
    let mut bytes = Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, proto::HOP_BY_HOP)
        .emit(&[&[proto::TCP, 0, 0xc2, 4, a, b, c, d], &tcp[..]].concat());
    bytes[4..6].fill(0);
    let frame = dissect(LinkType::IPV6, &bytes, 40 + len as usize);
    assert_eq!((inner(&frame).payload_len, frame.problem), (70_000, None));
    assert_eq!(headers(&frame), [Header::Ipv6, Header::HopByHop, Header::Tcp]);
}

#[test]
fn options_cut_by_the_capture_leave_the_ports() {
    let options = [1; 20];
    let tcp = Tcp { options: &options, ..Tcp::new(40000, 80, TcpFlags::SYN) }.emit(A.into(), B.into(), b"hello");
    let bytes = ethernet(0x0800, &Ipv4::new(A, B, proto::TCP).emit(&tcp));
    let frame = dissect(LinkType::ETHERNET, &bytes[..60], bytes.len());
    assert!(matches!(inner(&frame).transport, Transport::Tcp(tcp, []) if (tcp.dst_port, tcp.options.len()) == (80, 6)));
    assert_eq!((inner(&frame).payload_len, frame.problem.is_some()), (5, true));
}

#[test]
fn fragments_say_which_they_are_and_only_the_first_has_ports() {
    let udp = Udp::new(1, 2).emit(A.into(), B.into(), &[7; 24]);
    let first = Ipv4 { more_fragments: true, dont_fragment: false, id: 9, ..Ipv4::new(A, B, proto::UDP) }.emit(&udp[..16]);
    let later = Ipv4 { fragment_offset: 16, dont_fragment: false, id: 9, ..Ipv4::new(A, B, proto::UDP) }.emit(&udp[16..]);
    let frame = dissect(LinkType::RAW, &first, first.len());
    let packet = inner(&frame);
    assert!(matches!(packet.transport, Transport::Udp(..)) && packet.more_fragments && packet.ip.fragment == Some((0, 9)));
    assert_eq!(checksums(&packet).transport, Verdict::Unknown);
    let frame = dissect(LinkType::RAW, &later, later.len());
    let packet = inner(&frame);
    assert!(matches!(packet.transport, Transport::Other(bytes) if bytes.len() == 16) && packet.ip.fragment == Some((16, 9)));
    let chain = [&[proto::UDP, 0, 0, 1, 0, 0, 0, 9], &udp[..16]].concat();
    let six = Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, proto::FRAGMENT).emit(&chain);
    let frame = dissect(LinkType::RAW, &six, six.len());
    assert!(inner(&frame).more_fragments && inner(&frame).ip.fragment == Some((0, 9)));
    assert_eq!(headers(&frame), [Header::Ipv6, Header::Ipv6Fragment, Header::Udp, Header::Payload]);
}

#[test]
fn a_checksum_left_to_the_card_is_not_a_bad_one() {
    let pseudo = faultmap_wire::checksum::pseudo_header(A.into(), B.into(), proto::TCP, 25).finish();
    for left in [!pseudo, 0] {
        let mut bytes = segment();
        bytes[36..38].copy_from_slice(&left.to_be_bytes());
        let frame = dissect(LinkType::RAW, &bytes, bytes.len());
        assert_eq!(checksums(&inner(&frame)).transport, Verdict::Offloaded);
    }
}

#[test]
fn a_nest_without_end_is_left_where_the_bound_is() {
    let mut bytes = segment();
    for _ in 0..40 {
        bytes = Ipv4::new(A, B, 4).emit(&bytes);
    }
    let frame = dissect(LinkType::RAW, &bytes, bytes.len());
    assert!(frame.problem.is_some());
    assert!(matches!(frame.network, Network::Ip(_)));
    let labels = ethernet(0x8847, &[0; 4000]);
    assert!(dissect(LinkType::ETHERNET, &labels, labels.len()).problem.is_some());
}
