//! Programs are run by an interpreter and compared with what the expression means for the frame taken apart, over random frames and expressions; and with
//! tcpdump over captures, where both are there.

use super::parse::{Dir, Expr, Primitive, Protocol};
use super::*;
use crate::file::Files;
use faultmap_wire::dissect::{Frame, Header, LinkType, Network, Transport, dissect};
use faultmap_wire::ethernet::Vlan;
use faultmap_wire::{Arp, Ethernet, Icmp, Ipv4, Ipv6, Mac, Tcp, TcpFlags, Udp, arp, proto};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;

/// What the kernel does with a program; `tag` is the one beside the frame.
fn runs(program: &Program, frame: &[u8], wire_len: usize, tag: Option<u16>) -> bool {
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    let load = |at: u32, len: usize| {
        let at = match at {
            0xffff_f000 => 12,
            0xfff0_0000.. => 14 + (at - 0xfff0_0000) as usize,
            at => at as usize,
        };
        frame.get(at..at + len).map(|bytes| bytes.iter().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte)))
    };
    for _ in 0..=program.0.len() {
        let i = program.0[at];
        at += 1;
        let loaded = match (i.code, i.k) {
            (0x28, k) if k == 0xffff_f000 + 44 => Some(u32::from(tag.unwrap_or(0))),
            (0x30, k) if k == 0xffff_f000 + 48 => Some(u32::from(tag.is_some())),
            (0x20, k) => load(k, 4),
            (0x28, k) => load(k, 2),
            (0x30, k) => load(k, 1),
            (0x48, k) => load(x.wrapping_add(k), 2),
            (0x80, _) => Some(wire_len as u32),
            (0xb1, k) => {
                let Some(byte) = load(k, 1) else { return false };
                x = 4 * (byte & 0x0f);
                continue;
            }
            (0x54, k) => Some(a & k),
            (0x05, k) => {
                at += k as usize;
                continue;
            }
            (0x15 | 0x25 | 0x35, k) => {
                let holds = match i.code {
                    0x15 => a == k,
                    0x25 => a > k,
                    _ => a >= k,
                };
                at += usize::from(if holds { i.jt } else { i.jf });
                continue;
            }
            (0x06, k) => return k > 0,
            other => panic!("unknown instruction {other:x?}"),
        };
        // A load beyond the frame ends the program: the frame is left.
        let Some(loaded) = loaded else { return false };
        a = loaded;
    }
    panic!("the program does not end");
}

/// A frame taken apart, and the ids of the tags of which `vlan` may still speak.
struct View<'a> {
    frame: &'a Frame<'a>,
    bytes: &'a [u8],
    wire_len: usize,
    /// Tags in the frame.
    tags: Vec<u16>,
    beside: Option<u16>,
}

/// What the expression means. `used` tags of the frame have been spoken of, and `beside` says whether the one beside it still may be.
fn means(expr: &Expr, view: &View<'_>, used: usize, beside: bool) -> bool {
    match expr {
        Expr::Not(part) => !means(part, view, used, beside),
        Expr::Is(Primitive::Vlan(_)) => chain(std::slice::from_ref(expr), view, used, beside),
        Expr::Is(primitive) => is(primitive, view, used),
        Expr::Any(parts) => parts.iter().any(|part| means(part, view, used, beside)),
        Expr::All(parts) => chain(parts, view, used, beside),
    }
}

fn chain(parts: &[Expr], view: &View<'_>, used: usize, beside: bool) -> bool {
    let Some((first, rest)) = parts.split_first() else { return true };
    let ids: Vec<Option<u16>> = match first {
        Expr::Is(Primitive::Vlan(id)) => vec![*id],
        Expr::Any(either) if either.iter().all(|part| matches!(part, Expr::Is(Primitive::Vlan(_)))) => {
            either.iter().map(|part| if let Expr::Is(Primitive::Vlan(id)) = part { *id } else { None }).collect()
        }
        first => return means(first, view, used, beside) && chain(rest, view, used, beside),
    };
    let fits = |tag: u16| ids.iter().any(|id| id.is_none_or(|id| id == tag & 0x0fff));
    match view.beside.filter(|_| beside) {
        Some(tag) => fits(tag) && chain(rest, view, used, false),
        None => view.tags.get(used).is_some_and(|tag| fits(*tag)) && chain(rest, view, used + 1, false),
    }
}

fn is(primitive: &Primitive, view: &View<'_>, used: usize) -> bool {
    match primitive {
        Primitive::Less(len) => return view.wire_len <= *len as usize,
        Primitive::Greater(len) => return view.wire_len >= *len as usize,
        Primitive::Broadcast => return view.bytes[..6] == [0xff; 6],
        Primitive::Multicast => return view.bytes[0] & 1 == 1,
        Primitive::EtherHost(dir, mac) => {
            let (src, dst) = view.frame.macs.unwrap();
            return either(*dir, src == *mac, dst == *mac);
        }
        _ => {}
    }
    // Behind another number of tags nothing is where it is looked for.
    if view.tags.len() != used {
        return false;
    }
    match (primitive, &view.frame.network) {
        (Primitive::Protocol(Protocol::Arp) | Primitive::EtherType(0x0806), Network::Arp(_)) => true,
        (Primitive::Net(Protocol::Any | Protocol::Arp, dir, net, bits), Network::Arp(arp)) => {
            either(*dir, inside(arp.sender_ip.into(), *net, *bits), inside(arp.target_ip.into(), *net, *bits))
        }
        (primitive, Network::Ip(packet)) => {
            let v4 = packet.ip.src.is_ipv4();
            // The program looks at the fixed header, and one fragment header behind it.
            let number = packet.ip.protocol;
            match primitive {
                Primitive::Protocol(Protocol::Ip) | Primitive::EtherType(0x0800) => v4,
                Primitive::Protocol(Protocol::Ip6) | Primitive::EtherType(0x86dd) => !v4,
                Primitive::Protocol(Protocol::Tcp) => number == 6,
                Primitive::Protocol(Protocol::Udp) => number == 17,
                Primitive::Protocol(Protocol::Sctp) => number == 132,
                Primitive::Protocol(Protocol::Icmp) => v4 && number == 1,
                Primitive::Protocol(Protocol::Icmp6) => !v4 && number == 58,
                Primitive::IpProto(family, wanted) => number == *wanted && (*family == Protocol::Any || (*family == Protocol::Ip) == v4),
                Primitive::Net(protocol, dir, net, bits) => {
                    !matches!(protocol, Protocol::Arp | Protocol::Rarp)
                        && either(*dir, inside(packet.ip.src, *net, *bits), inside(packet.ip.dst, *net, *bits))
                }
                Primitive::Ports(protocol, dir, low, high) => {
                    let (kind, src, dst) = match packet.transport {
                        Transport::Tcp(tcp, _) => (Protocol::Tcp, tcp.src_port, tcp.dst_port),
                        Transport::Udp(udp, _) => (Protocol::Udp, udp.src_port, udp.dst_port),
                        _ => return false,
                    };
                    // Behind IPv6's fragment header the program looks for no ports.
                    let hidden = !v4 && view.frame.spans().last(Header::Ipv6Fragment).is_some();
                    let fits = |port| (*low..=*high).contains(&port);
                    !hidden && (*protocol == Protocol::Any || *protocol == kind) && either(*dir, fits(src), fits(dst))
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn either(dir: Dir, src: bool, dst: bool) -> bool {
    match dir {
        Dir::Src => src,
        Dir::Dst => dst,
        Dir::Either => src || dst,
        Dir::Both => src && dst,
    }
}

fn inside(addr: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (addr, net) {
        (IpAddr::V4(addr), IpAddr::V4(net)) => (u32::from(addr) ^ u32::from(net)).leading_zeros() >= u32::from(bits),
        (IpAddr::V6(addr), IpAddr::V6(net)) => (u128::from(addr) ^ u128::from(net)).leading_zeros() >= u32::from(bits),
        _ => false,
    }
}

fn addr4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![Just([10, 0, 0, 1]), Just([10, 0, 0, 2]), Just([192, 168, 7, 9])].prop_map(Ipv4Addr::from)
}

fn addr6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![Just("2001:db8::1"), Just("2001:db8:0:1::2"), Just("fe80::9")].prop_map(|text| text.parse().unwrap())
}

fn port_number() -> impl Strategy<Value = u16> {
    prop_oneof![Just(80), Just(443), Just(53), Just(4000)]
}

fn message() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (0..4_u8, port_number(), port_number()).prop_map(|(kind, a, b)| {
        let (src, dst) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into());
        match kind {
            0 => (proto::TCP, Tcp::new(a, b, TcpFlags::SYN).emit(src, dst, b"hello")),
            1 => (proto::UDP, Udp::new(a, b).emit(src, dst, b"hello")),
            2 => (proto::ICMP, Icmp::echo(8, a, b).emit(b"hello")),
            _ => (proto::ICMPV6, vec![128, 0, 0, 0, 0, 0, 0, 0]),
        }
    })
}

fn network() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let v4 = (addr4(), addr4(), message(), any::<bool>(), 0..3_u16).prop_map(|(src, dst, (number, message), options, fragment)| {
        let options: &[u8] = if options { &[1, 1, 1, 0] } else { &[] };
        let header = Ipv4 { options, dont_fragment: false, fragment_offset: fragment.saturating_sub(1) * 8, ..Ipv4::new(src, dst, number) };
        (0x0800, header.emit(&message))
    });
    let v6 = (addr6(), addr6(), message(), any::<bool>()).prop_map(|(src, dst, (number, message), fragment)| match fragment {
        true => (0x86dd, Ipv6::new(src, dst, proto::FRAGMENT).emit(&[&[number, 0, 0, 1, 0, 0, 0, 9], &message[..]].concat())),
        false => (0x86dd, Ipv6::new(src, dst, number).emit(&message)),
    });
    let arp = (addr4(), addr4()).prop_map(|(a, b)| {
        let arp = Arp { operation: arp::REQUEST, sender_mac: Mac([2; 6]), sender_ip: a, target_mac: Mac([0; 6]), target_ip: b };
        (0x0806, arp.emit())
    });
    prop_oneof![4 => v4, 3 => v6, 1 => arp, 1 => Just((0x88cc, vec![0; 50]))]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let mac = || prop_oneof![Just(Mac([0xff; 6])), Just(Mac([2, 0, 0, 0, 0, 1])), Just(Mac([1, 0, 0x5e, 0, 0, 1]))];
    let tag = || prop::option::of((0..4_u16).prop_map(|id| Vlan { ethertype: 0x8100, control: 0x6000 | id }));
    (mac(), mac(), tag(), tag(), network()).prop_map(|(dst, src, outer, inner, (ethertype, payload))| {
        let inner = inner.filter(|_| outer.is_some());
        let mut bytes = Ethernet { vlans: [outer, inner], ..Ethernet::new(dst, src, ethertype) }.emit(&payload);
        bytes.resize(bytes.len().max(60), 0);
        bytes
    })
}

const PRIMITIVES: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "sctp",
    "host 10.0.0.1",
    "src host 10.0.0.2",
    "dst 192.168.7.9",
    "net 10.0.0.0/8",
    "src net 192.168",
    "dst net 10 mask 255.0.0.0",
    "ip6 host 2001:db8::1",
    "net 2001:db8::/33",
    "dst net 2001:db8:0:1::/64",
    "arp host 10.0.0.1",
    "ip src 10.0.0.1",
    "port 80",
    "tcp port 443",
    "udp dst port 53",
    "tcp src port 4000",
    "portrange 50-100",
    "tcp dst portrange 80-443",
    "src and dst port 80",
    "port http",
    "vlan",
    "vlan 1",
    "vlan 2 and vlan 3",
    "(vlan 1 or vlan 2)",
    "ether host 02:00:00:00:00:01",
    "ether src ff:ff:ff:ff:ff:ff",
    "ether proto 0x0800",
    "ether broadcast",
    "multicast",
    "ip proto 6",
    "ip6 proto \\\\tcp",
    "proto 17",
    "less 62",
    "greater 61",
    "2001:db8::1",
    "10.0.0.1",
    "tcp port 80 or 443",
    "host 10.0.0.1 or 10.0.0.2",
];

fn expression() -> impl Strategy<Value = String> {
    let primitive = prop::sample::select(PRIMITIVES).prop_map(|text| text.replace("\\\\", "\\"));
    primitive.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

fn tags(frame: &Frame<'_>, bytes: &[u8]) -> Vec<u16> {
    let spans = frame.spans();
    let spans = spans.as_slice().iter().filter(|span| span.header == Header::Vlan);
    spans.map(|span| u16::from_be_bytes([bytes[span.start as usize], bytes[span.start as usize + 1]])).collect()
}

/// The frame as AF_PACKET filters see it: the outermost tag is beside it.
fn untagged(bytes: &[u8]) -> (Vec<u8>, Option<u16>) {
    match bytes[12..14] {
        [0x81, 0] => ([&bytes[..12], &bytes[16..]].concat(), Some(u16::from_be_bytes([bytes[14], bytes[15]]))),
        _ => (bytes.to_vec(), None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_program_takes_what_the_expression_means(text in expression(), bytes in frame(), kernel: bool) {
        let expr = parse::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let (bytes, beside) = if kernel { untagged(&bytes) } else { (bytes, None) };
        let frame = dissect(LinkType::ETHERNET, &bytes, bytes.len());
        let view = View { frame: &frame, bytes: &bytes, wire_len: bytes.len(), tags: tags(&frame, &bytes), beside };
        let program = Program::compile(&text, if kernel { Tags::Kernel } else { Tags::InFrame }).unwrap();
        prop_assert_eq!(runs(&program, &bytes, bytes.len(), beside), means(&expr, &view, 0, kernel), "{}", text);
    }

    #[test]
    fn no_words_make_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "tcp", "ip", "host", "net", "port", "portrange", "src", "dst", "and", "or", "not", "(", ")", "vlan", "ether", "proto", "10.0.0.1", "80", "1-5",
        "10.0.0.0/8", "mask", "less", "::1", "02:00:00:00:00:01", "!", "[", "broadcast",
    ]), 0..20)) {
        let text = words.join(" ");
        match Program::compile(&text, Tags::Kernel) {
            Ok(program) => { runs(&program, &[0; 60], 60, None); }
            Err(error) => prop_assert!(error.column <= text.len()),
        }
    }
}

#[test]
fn an_error_says_where_and_what_to_write() {
    for (text, column, what) in [
        ("", 0, "empty"),
        ("tcp prot 80", 4, "missing"),
        ("host shop.test", 5, "names are not looked up"),
        ("tcp & udp", 4, "no meaning"),
        ("tcp[13]", 3, "tcp.flags.syn"),
        ("port 70000", 5, "65535"),
        ("icmp port 80", 10, "only tcp, udp and sctp"),
        ("ip host ::1", 8, "not an IPv4 address"),
        ("net 10.0.0.0/40", 4, "not a network"),
        ("(tcp", 4, "closed"),
        ("tcp)", 3, "closes nothing"),
        ("vlan 5000", 5, "4095"),
        ("ether host 10.0.0.1", 11, "MAC"),
        ("not", 3, "missing"),
    ] {
        let error = Program::compile(text, Tags::InFrame).unwrap_err();
        assert!(error.what.contains(what), "{text}: {error}");
        assert_eq!(error.column, column, "{error}");
    }
    assert!(Program::compile(&"(".repeat(500), Tags::InFrame).unwrap_err().what.contains("deeper"));
}

#[test]
fn a_long_list_of_hosts_is_compiled_with_far_jumps() {
    let hosts: Vec<String> = (1..=90).map(|n| format!("10.1.{n}.1")).collect();
    let program = Program::compile(&format!("tcp and (host {})", hosts.join(" or ")), Tags::InFrame).unwrap();
    assert!(program.0.len() > 512 && program.0.len() <= MOST_INSTRUCTIONS, "{}", program.0.len());
    for (last, wanted) in [(1, true), (90, true), (91, false)] {
        let (a, b) = (Ipv4Addr::new(10, 9, 9, 9), Ipv4Addr::new(10, 1, last, 1));
        let tcp = Tcp::new(1, 2, TcpFlags::SYN).emit(a.into(), b.into(), &[]);
        let bytes = Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&Ipv4::new(a, b, proto::TCP).emit(&tcp));
        assert_eq!(runs(&program, &bytes, bytes.len(), None), wanted, "10.1.{last}.1");
    }
    let too_many: Vec<String> = (1..=200).map(|n| format!("10.1.{n}.1")).collect();
    assert!(Program::compile(&format!("host {}", too_many.join(" or ")), Tags::InFrame).unwrap_err().what.contains("4096"));
}

/// Expressions for which libpcap and we mean the same.
const SHARED: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "tcp port 443",
    "port 53",
    "udp port 53 or tcp port 80",
    "host 10.66.2.200",
    "net 192.168.0.0/16",
    "src net 10",
    "not tcp",
    "tcp and not port 80",
    "tcp portrange 400-500",
    "less 80",
    "greater 1000",
    "ether broadcast",
    "ether multicast",
    "vlan",
    "vlan and ip",
    "vlan and vlan and tcp port 80",
    "ip proto 17",
    "ip6 and udp",
    "icmp or arp",
    "udp or tcp and port 443",
    "tcp src port 80 or dst port 443",
    "src and dst net 172.16",
    "tcp port http",
    "ether proto 0x88cc",
    "dst host 4.2.2.1 or 4.2.2.2",
];

#[test]
fn captures_give_the_counts_that_tcpdump_gives() {
    let Some(folder) = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from) else { return };
    if Command::new("tcpdump").arg("--version").output().is_err() {
        return;
    }
    let mut compared = 0;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng"));
    paths.sort();
    // Each file with some of the expressions, each expression with some of the files.
    for (number, path) in paths.iter().enumerate() {
        for expression in SHARED.iter().skip(number % 8).step_by(8) {
            let Some(ours) = counted(path, expression) else { continue };
            let out = Command::new("tcpdump").args(["-n", "-t", "-q", "--count", "-r"]).arg(path).arg(expression).output().unwrap();
            let text = String::from_utf8_lossy(&out.stdout);
            let theirs = text.split_whitespace().next().and_then(|count| count.parse::<u64>().ok());
            let Some(theirs) = theirs.filter(|_| out.status.success()) else { continue };
            assert_eq!(ours, theirs, "{} {expression}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

/// Packets that the program takes; `None` if the file holds anything but Ethernet.
fn counted(path: &std::path::Path, expression: &str) -> Option<u64> {
    let program = Program::compile(expression, Tags::InFrame).unwrap_or_else(|error| panic!("{error}"));
    let (mut files, mut count) = (Files::new(&[path.to_owned()]), 0);
    while let Ok(Some(packet)) = files.next() {
        if packet.link != LinkType::ETHERNET {
            return None;
        }
        count += u64::from(runs(&program, packet.bytes, packet.wire_len as usize, None));
    }
    Some(count)
}
