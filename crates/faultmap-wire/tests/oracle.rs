//! Frames taken apart by us and by etherparse: same addresses, ports and place of the payload, in packets made here and in those of the captures folder.
//! Where the two differ, [`Difference`] names the class and why; a difference of no class fails.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests, and a skip is said")]

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use faultmap_wire::dissect::{Frame, Header, LinkType, Network, Transport, Verdict, checksums, dissect};
use faultmap_wire::{WireError, proto};
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use proptest::prelude::*;

/// What both can say about the outermost IP packet of a frame.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    addrs: Option<(IpAddr, IpAddr)>,
    ports: Option<(u16, u16)>,
    /// First byte of the payload of TCP or UDP.
    payload: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Difference {
    /// TCP options that the capture cut: etherparse then has no TCP header at all, we have the ports.
    CutOptions,
    /// A total length of 0: etherparse's packet ends with its header, ours is what the network card was to cut.
    LengthLeftToTheCard,
    /// A first fragment: etherparse has no transport header, we have the ports.
    FirstFragment,
    /// A length that contradicts another. etherparse goes on with what is there; the receiving host drops such a packet, and so do we.
    Contradiction,
    /// A header is broken, and both say so, each as far as it came.
    BothGaveUp,
}

fn theirs(link: LinkType, bytes: &[u8]) -> Option<(Seen, bool)> {
    let packet = match link {
        LinkType::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok()?,
        LinkType(12 | 14) | LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => LaxSlicedPacket::from_ip(bytes).ok()?,
        _ => return None,
    };
    let addrs = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let at = |slice: &[u8]| slice.as_ptr() as usize - bytes.as_ptr() as usize;
    let (ports, payload) = match packet.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => (Some((tcp.source_port(), tcp.destination_port())), Some(at(tcp.payload()))),
        Some(TransportSlice::Udp(udp)) => (Some((udp.source_port(), udp.destination_port())), Some(at(udp.payload()))),
        _ => (None, None),
    };
    Some((Seen { addrs: Some(addrs), ports, payload }, packet.stop_err.is_some()))
}

/// The same from the spans, so that the outermost packet of a tunnel counts, as with etherparse.
fn ours(frame: &Frame<'_>, bytes: &[u8]) -> Seen {
    let spans = frame.spans();
    let spans = spans.as_slice();
    let Some(first) = spans.iter().position(|span| matches!(span.header, Header::Ipv4 | Header::Ipv6)) else { return Seen::default() };
    let ip = &bytes[spans[first].start as usize..];
    let addrs = match spans[first].header {
        Header::Ipv4 => (v4(&ip[12..16]), v4(&ip[16..20])),
        _ => (v6(&ip[8..24]), v6(&ip[24..40])),
    };
    let upper = spans[first + 1..].iter().take_while(|span| !matches!(span.header, Header::Ipv4 | Header::Ipv6));
    let upper = upper.into_iter().find(|span| matches!(span.header, Header::Tcp | Header::Udp)).copied();
    let ports = upper.map(|span| {
        let header = &bytes[span.start as usize..];
        (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]))
    });
    Seen { addrs: Some(addrs), ports, payload: upper.map(|span| (span.start + span.len) as usize) }
}

fn v4(bytes: &[u8]) -> IpAddr {
    Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).into()
}

fn v6(bytes: &[u8]) -> IpAddr {
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).into()
}

fn classed(theirs: &Seen, they_stopped: bool, ours: &Seen, frame: &Frame<'_>) -> Option<Difference> {
    let problem = frame.problem.map(|problem| problem.to_string()).unwrap_or_default();
    match frame.network {
        Network::Ip(packet) if packet.bytes.get(2..4) == Some(&[0, 0]) && theirs.ports.is_none() => Some(Difference::LengthLeftToTheCard),
        Network::Ip(packet) if packet.ip.fragment.is_some() && theirs.ports.is_none() && theirs.addrs == ours.addrs => {
            Some(Difference::FirstFragment)
        }
        _ if matches!(frame.problem, Some(WireError::Malformed { .. })) => Some(Difference::Contradiction),
        _ if problem.starts_with("TCP:") && theirs.ports.is_none() && theirs.addrs == ours.addrs => Some(Difference::CutOptions),
        _ if they_stopped && !problem.is_empty() => Some(Difference::BothGaveUp),
        _ => None,
    }
}

/// Compares one frame; panics on a difference of no class.
fn compare(link: LinkType, bytes: &[u8], wire_len: usize, what: &str) -> Option<Difference> {
    let frame = dissect(link, bytes, wire_len);
    let (theirs, they_stopped) = theirs(link, bytes)?;
    let ours = ours(&frame, bytes);
    if theirs == ours {
        return None;
    }
    let class = classed(&theirs, they_stopped, &ours, &frame);
    assert!(
        class.is_some(),
        "{what}: etherparse {theirs:?} (stopped: {they_stopped}), we {ours:?}, problem {:?}\n{bytes:02x?}",
        frame.problem
    );
    class
}

fn captures(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            captures(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng") {
            into.push(path);
        }
    }
}

/// Every packet of a capture: link type, length on the wire, bytes. Stops quietly where the file is broken; that is the file reader's subject.
fn packets(path: &Path, mut each: impl FnMut(usize, LinkType, usize, &[u8])) {
    let mut file = Vec::new();
    File::open(path).unwrap().read_to_end(&mut file).unwrap();
    let Ok(mut reader) = create_reader(1 << 20, file.as_slice()) else { return };
    let (mut links, mut number) = (Vec::new(), 0);
    loop {
        let (consumed, block) = match reader.next() {
            Ok(next) => next,
            Err(PcapError::Incomplete(_)) => match reader.refill() {
                Ok(()) => continue,
                Err(_) => return,
            },
            Err(_) => return,
        };
        let mut packet = |link: LinkType, wire_len: u32, caplen: u32, data: &[u8]| {
            number += 1;
            each(number, link, wire_len as usize, &data[..data.len().min(caplen as usize)]);
        };
        match block {
            PcapBlockOwned::LegacyHeader(header) => links = vec![LinkType(header.network.0 as u32)],
            PcapBlockOwned::Legacy(block) => packet(links[0], block.origlen, block.caplen, block.data),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => links.push(LinkType(interface.linktype.0 as u32)),
            PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                if let Some(link) = links.get(block.if_id as usize) {
                    packet(*link, block.origlen, block.caplen, block.data);
                }
            }
            PcapBlockOwned::NG(_) => {}
        }
        reader.consume(consumed);
    }
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: FAULTMAP_CAPTURES names no folder of captures");
    }
    folder
}

#[test]
fn captures_of_others_read_as_etherparse_reads_them() {
    let Some(folder) = folder() else { return };
    let mut files = Vec::new();
    captures(&folder, &mut files);
    assert!(files.len() > 100, "{} files", files.len());
    let (mut compared, mut differing) = (0, std::collections::HashMap::new());
    for path in files {
        packets(&path, |number, link, wire_len, bytes| {
            compared += 1;
            if let Some(class) = compare(link, bytes, wire_len, &format!("{} packet {number}", path.display())) {
                *differing.entry(class).or_insert(0) += 1;
            }
        });
    }
    println!("{compared} packets, differences {differing:?}");
    assert!(compared > 5000, "{compared} packets");
}

#[test]
fn tunnels_of_captures_are_read_to_the_innermost_packet() {
    let Some(folder) = folder() else { return };
    for (file, header, port) in [
        ("zeek-tunnels__vxlan-encapsulated-http.pcap", Header::Vxlan, 80),
        ("zeek-pppoe-over-qinq.pcap", Header::PppoeSession, 443),
        ("tcpdump-gso-ipv4-vxlan-ipv4.pcap", Header::Vxlan, 0),
    ] {
        let (mut inside, mut all) = (0, 0);
        packets(&folder.join(file), |_, link, wire_len, bytes| {
            let frame = dissect(link, bytes, wire_len);
            all += 1;
            let Network::Ip(packet) = frame.network else { return };
            let Transport::Tcp(tcp, _) = packet.transport else { return };
            let known_port = port == 0 || tcp.src_port == port || tcp.dst_port == port;
            inside += usize::from(frame.spans().last(header).is_some() && frame.realm != 0 && known_port);
        });
        assert!(all > 0 && inside * 4 >= all * 3, "{file}: {inside} of {all}");
    }
}

#[test]
fn healthy_captures_have_no_bad_checksum() {
    let Some(folder) = folder() else { return };
    let mut bad = 0;
    for file in ["zeek-tls__tls1.2.pcap", "chrissanders-http_google.pcapng", "lab-l4_keepalive_ok.pcap", "lab-l3_frag_needed_ok.pcap"] {
        packets(&folder.join(file), |number, link, wire_len, bytes| {
            if let Network::Ip(packet) = dissect(link, bytes, wire_len).network {
                assert!(!checksums(&packet).any_bad(), "{file} packet {number}: {:?}", checksums(&packet));
            }
        });
    }
    packets(&folder.join("zeek-chksums__ip4-tcp-bad-chksum.pcap"), |_, link, wire_len, bytes| {
        let Network::Ip(packet) = dissect(link, bytes, wire_len).network else { return };
        bad += usize::from(checksums(&packet).transport == Verdict::Bad);
    });
    assert_eq!(bad, 1, "the capture of a bad checksum");
}

/// A frame of any nesting that etherparse can build, cut or padded at the end.
fn frame() -> impl Strategy<Value = (Vec<u8>, usize)> {
    use etherparse::PacketBuilder;
    let shape = (any::<[u8; 4]>(), any::<[u8; 16]>(), 0..3_u8, 0..2_u8, 0..3_u8, any::<(u16, u16)>());
    (shape, prop::collection::vec(any::<u8>(), 0..100), 0..20_usize, 0..30_usize).prop_map(
        |((a, b, tags, version, upper, ports), payload, padding, cut)| {
            let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
            let [p, q, r, _] = a;
            let tagged = match tags {
                0 => None,
                1 => Some(ethernet().single_vlan(u16::from(p).try_into().unwrap())),
                _ => Some(ethernet().double_vlan(u16::from(q).try_into().unwrap(), u16::from(r).try_into().unwrap())),
            };
            let builder = match (tagged, version) {
                (Some(tagged), 0) => tagged.ipv4(a, [b[0], b[1], b[2], b[3]], 64),
                (Some(tagged), _) => tagged.ipv6(b, [7; 16], 64),
                (None, 0) => ethernet().ipv4(a, [b[0], b[1], b[2], b[3]], 64),
                (None, _) => ethernet().ipv6(b, [7; 16], 64),
            };
            let mut bytes = Vec::new();
            match upper {
                0 => builder.tcp(ports.0, ports.1, 1, 2).write(&mut bytes, &payload),
                1 => builder.udp(ports.0, ports.1).write(&mut bytes, &payload),
                _ => builder.icmpv4_echo_request(1, 2).write(&mut bytes, &payload),
            }
            .unwrap();
            bytes.resize(bytes.len() + padding, 0xee);
            let wire_len = bytes.len();
            bytes.truncate(wire_len - cut.saturating_sub(10).min(wire_len));
            (bytes, wire_len)
        },
    )
}

proptest! {
    #[test]
    fn frames_that_etherparse_builds_are_read_as_it_reads_them((bytes, wire_len) in frame()) {
        compare(LinkType::ETHERNET, &bytes, wire_len, "built");
    }

    #[test]
    fn damaged_frames_are_read_as_etherparse_reads_them(
        (mut bytes, wire_len) in frame(), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = value;
        compare(LinkType::ETHERNET, &bytes, wire_len, "damaged");
    }

    #[test]
    fn padding_and_a_cut_capture_change_no_length_on_the_wire((bytes, wire_len) in frame()) {
        let Network::Ip(packet) = dissect(LinkType::ETHERNET, &bytes, wire_len).network else { return Ok(()) };
        let headers = match packet.transport {
            Transport::Tcp(..) => 20,
            Transport::Udp(..) | Transport::Icmp(..) | Transport::Icmpv6(..) => 8,
            Transport::Other(_) => return Ok(()),
        };
        prop_assert_eq!(packet.payload_len as usize, packet.ip.total_len - packet.ip.header_len - headers);
        prop_assert!(packet.ip.payload.len() <= headers + packet.payload_len as usize);
    }

    #[test]
    fn a_packet_built_has_good_checksums_and_bad_ones_once_damaged((bytes, _) in frame(), at in 0..1000_usize) {
        let Network::Ip(packet) = dissect(LinkType::ETHERNET, &bytes, bytes.len()).network else { return Ok(()) };
        let whole = packet.ip.payload.len() == packet.ip.total_len - packet.ip.header_len;
        let checked = matches!(packet.ip.protocol, proto::TCP | proto::ICMP) && !matches!(packet.transport, Transport::Other(_));
        if !whole || !checked || packet.ip.payload.len() <= 20 {
            return Ok(());
        }
        // Of ICMP over IPv6 etherparse computes what IPv4 asks for; nobody sends that.
        prop_assert_eq!(checksums(&packet).transport, Verdict::Good);
        let mut damaged = bytes.clone();
        let from = packet.bytes.as_ptr() as usize - bytes.as_ptr() as usize + packet.ip.header_len;
        let at = from + 18 + at % (packet.ip.payload.len() - 18);
        damaged[at] ^= 0x10;
        let Network::Ip(packet) = dissect(LinkType::ETHERNET, &damaged, damaged.len()).network else { return Ok(()) };
        prop_assert_eq!(checksums(&packet).transport, Verdict::Bad);
    }

    #[test]
    fn no_bytes_of_any_link_type_make_it_panic(link in 0..300_u32, bytes in prop::collection::vec(any::<u8>(), 0..200), more in 0..2000_usize) {
        let frame = dissect(LinkType(link), &bytes, bytes.len() + more);
        for span in frame.spans().as_slice() {
            prop_assert!((span.start + span.len) as usize <= bytes.len(), "{span:?} of {}", bytes.len());
        }
        if let Network::Ip(packet) = frame.network {
            let _ = checksums(&packet);
        }
    }
}
