//! A whole frame taken apart: every header from the medium to the transport, tunnels included, with the place of each in the bytes.
//! It borrows and never allocates. What it cannot read it names, and keeps what stood before.

use crate::arp::Arp;
use crate::error::WireError;
use crate::ethernet::{self, Ethernet, Mac};
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ip::{IpPacket, proto};
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Headers of one frame that are remembered; the rest of a deeper nest is left unread.
pub const MOST_HEADERS: usize = 24;

/// What the first bytes of a captured frame are (`LINKTYPE_` numbers of the tcpdump group).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// An IP packet with nothing before it.
    pub const RAW: LinkType = LinkType(101);
}

/// One kind of header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Header {
    Ethernet,
    Vlan,
    Arp,
    Ipv4,
    Ipv6,
    Icmp,
    Icmpv6,
    Tcp,
    Udp,
    /// What no header claims: the payload.
    Payload,
}

/// Where a header stands in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which header.
    pub header: Header,
    /// Its first byte.
    pub start: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// The headers of a frame, outermost first.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    spans: [Span; MOST_HEADERS],
    count: u8,
}

impl Spans {
    fn new() -> Spans {
        Spans { spans: [Span { header: Header::Payload, start: 0, len: 0 }; MOST_HEADERS], count: 0 }
    }

    fn push(&mut self, header: Header, start: usize, len: usize) {
        if let Some(slot) = self.spans.get_mut(usize::from(self.count)) {
            *slot = Span { header, start: start as u32, len: len as u32 };
            self.count += 1;
        }
    }

    /// The headers, outermost first.
    pub fn as_slice(&self) -> &[Span] {
        self.spans.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// A frame taken apart. Where packets are nested in tunnels, `network` is the innermost.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Every header, with its place.
    pub spans: Spans,
    /// Source and destination on the medium, outermost; none on media without addresses.
    pub macs: Option<(Mac, Mac)>,
    /// What tells equal addresses apart: a mix of VLAN ids and tunnel ids, 0 where there are none. Equal for both directions.
    pub realm: u32,
    /// What the frame carries.
    pub network: Network<'a>,
    /// Why taking apart ended early, if it did.
    pub problem: Option<WireError>,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy)]
pub enum Network<'a> {
    /// ARP.
    Arp(Arp),
    /// An IP packet.
    Ip(Packet<'a>),
    /// Something else, by its EtherType; 0 where there is none.
    Other(u16),
}

/// The innermost IP packet of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Addresses, hop limit, fragment and the like; its `payload` ends where the IP header says, or where the capture was cut.
    pub ip: IpPacket<'a>,
    /// IPv4's identification; `None` in IPv6.
    pub id: Option<u16>,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Bytes from the first of the IP header to the end of the packet as captured: what two copies of it have in common.
    pub bytes: &'a [u8],
    /// What the packet carries.
    pub transport: Transport<'a>,
    /// Bytes of `transport`'s payload on the wire; more than its slice holds where the capture cut the packet.
    pub payload_len: u32,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// A segment and its payload.
    Tcp(Tcp<'a>, &'a [u8]),
    /// A datagram and its payload.
    Udp(Udp, &'a [u8]),
    /// An ICMP message and what follows its header: for an error, the packet quoted.
    Icmp(Icmp, &'a [u8]),
    /// An ICMPv6 message and what follows its header.
    Icmpv6(Icmpv6, &'a [u8]),
    /// A fragment that has no transport header, or another protocol, or a header that cannot be read.
    Other(&'a [u8]),
}

/// Takes a frame apart. `wire_len` is its length before the capture cut it.
pub fn dissect(link: LinkType, bytes: &[u8], wire_len: usize) -> Frame<'_> {
    let _ = wire_len;
    let mut frame = Frame { spans: Spans::new(), macs: None, realm: 0, network: Network::Other(0), problem: None };
    match link {
        LinkType::ETHERNET => ethernet(&mut frame, bytes),
        LinkType::RAW => network(&mut frame, bytes, 0),
        _ => frame.problem = Some(WireError::Malformed { header: "link layer", reason: "this link type is not known" }),
    }
    frame
}

fn ethernet<'a>(frame: &mut Frame<'a>, bytes: &'a [u8]) {
    let (header, payload) = match Ethernet::parse(bytes) {
        Ok(read) => read,
        Err(error) => return frame.problem = Some(error),
    };
    frame.spans.push(Header::Ethernet, 0, header.len());
    frame.macs = Some((header.src, header.dst));
    frame.realm = header.vlans.iter().flatten().fold(0, |realm, vlan| (realm << 12) | u32::from(vlan.id()));
    frame.network = Network::Other(header.ethertype);
    match header.ethertype {
        ethernet::ARP => match Arp::parse(payload) {
            Ok(arp) => {
                frame.spans.push(Header::Arp, header.len(), 28);
                frame.network = Network::Arp(arp);
            }
            Err(error) => frame.problem = Some(error),
        },
        ethernet::IPV4 | ethernet::IPV6 => network(frame, bytes, header.len()),
        _ => {}
    }
}

fn network<'a>(frame: &mut Frame<'a>, bytes: &'a [u8], start: usize) {
    let packet = bytes.get(start..).unwrap_or_default();
    let ip = match IpPacket::parse(packet) {
        Ok(ip) => ip,
        Err(error) => return frame.problem = Some(error),
    };
    let header = if ip.src.is_ipv4() { Header::Ipv4 } else { Header::Ipv6 };
    frame.spans.push(header, start, ip.header_len);
    let (transport, payload_len) = transport(frame, &ip, start);
    let (id, more_fragments) = match packet {
        [0x40..=0x4f, _, _, _, a, b, flags, ..] => (Some(u16::from_be_bytes([*a, *b])), flags & 0x20 != 0),
        _ => (None, false),
    };
    let bytes = packet.get(..ip.total_len).unwrap_or(packet);
    frame.network = Network::Ip(Packet { ip, id, more_fragments, bytes, transport, payload_len });
}

fn transport<'a>(frame: &mut Frame<'a>, ip: &IpPacket<'a>, start: usize) -> (Transport<'a>, u32) {
    let at = start + ip.header_len;
    let on_wire = ip.total_len.saturating_sub(ip.header_len);
    if !ip.has_upper_header() {
        return (Transport::Other(ip.payload), on_wire as u32);
    }
    let read = match ip.protocol {
        proto::TCP => Tcp::parse(ip.payload).map(|(tcp, payload)| (Transport::Tcp(tcp, payload), Header::Tcp, payload.len())),
        proto::UDP => Udp::parse(ip.payload).map(|(udp, payload)| (Transport::Udp(udp, payload), Header::Udp, payload.len())),
        proto::ICMP => Icmp::parse(ip.payload).map(|(icmp, rest)| (Transport::Icmp(icmp, rest), Header::Icmp, rest.len())),
        proto::ICMPV6 => Icmpv6::parse(ip.payload).map(|(icmp, rest)| (Transport::Icmpv6(icmp, rest), Header::Icmpv6, rest.len())),
        _ => return (Transport::Other(ip.payload), on_wire as u32),
    };
    match read {
        Ok((transport, header, payload)) => {
            let header_len = ip.payload.len().saturating_sub(payload);
            frame.spans.push(header, at, header_len);
            (transport, on_wire.saturating_sub(header_len) as u32)
        }
        Err(error) => {
            frame.problem = Some(error);
            (Transport::Other(ip.payload), on_wire as u32)
        }
    }
}
