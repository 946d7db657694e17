//! A whole frame taken apart: every header from the medium to the transport, tunnels included, with the place of each in the bytes.
//! It borrows and never allocates. What it cannot read it names, and keeps what stood before.
//!
//! One loop walks from header to header: each reader looks at the bytes under the cursor, notes what stands there, and says what comes next. Nests are
//! bounded by [`MOST_HEADERS`]. Lengths stated by headers only ever shrink what the headers inside may claim, so that padding is never payload.

mod checksums;
mod everyday;
mod link;
mod network;
mod transport;
mod tunnel;

pub use checksums::{Checksums, Verdict, checksums, header_checksum, transport_checksum};

use crate::arp::Arp;
use crate::error::WireError;
use crate::ethernet::Mac;
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ip::IpPacket;
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Headers of one frame that are remembered; the rest of a deeper nest is left unread.
pub const MOST_HEADERS: usize = 24;

/// What the first bytes of a captured frame are (`LINKTYPE_` numbers of the tcpdump group).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the address family, four bytes in the byte order of the host that captured.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// PPP, with or without its address and control bytes.
    pub const PPP: LinkType = LinkType(9);
    /// An IP packet with nothing before it.
    pub const RAW: LinkType = LinkType(101);
    /// PPP or Cisco HDLC, told apart by the first byte.
    pub const PPP_HDLC: LinkType = LinkType(50);
    /// A PPPoE session without the Ethernet header.
    pub const PPPOE: LinkType = LinkType(51);
    /// Cisco HDLC.
    pub const CISCO_HDLC: LinkType = LinkType(104);
    /// OpenBSD loopback: the address family, four bytes in network order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux "cooked": what `-i any` gives.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// An IPv4 packet with nothing before it.
    pub const IPV4: LinkType = LinkType(228);
    /// An IPv6 packet with nothing before it.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux "cooked", second form: with the number of the interface.
    pub const LINUX_SLL2: LinkType = LinkType(276);

    /// Whether [`dissect`] knows the type.
    pub const fn is_known(self) -> bool {
        matches!(self.0, 0 | 1 | 9 | 12 | 14 | 50 | 51 | 101 | 104 | 108 | 113 | 228 | 229 | 276)
    }
}

/// One kind of header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Header {
    /// Addresses and EtherType or length; the tags that follow are headers of their own.
    Ethernet,
    /// One tag: priority, id, the EtherType behind it.
    Vlan,
    /// 802.2, with SNAP where that follows.
    Llc,
    /// Linux "cooked" capture.
    Sll,
    Sll2,
    /// The address family before a packet on a loopback interface.
    Loopback,
    CiscoHdlc,
    PppoeSession,
    Ppp,
    /// One label.
    Mpls,
    /// The word before an Ethernet frame in MPLS (RFC 4448).
    PseudowireControl,
    Arp,
    /// Options included.
    Ipv4,
    /// The fixed header.
    Ipv6,
    HopByHop,
    Routing,
    Ipv6Fragment,
    DestinationOptions,
    /// Mobility, HIP, Shim6 and the like.
    Ipv6Extension,
    Authentication,
    /// SPI and sequence number; the rest is encrypted.
    Esp,
    Gre,
    Erspan,
    Vxlan,
    Geneve,
    Icmp,
    Icmpv6,
    /// Options included.
    Tcp,
    Udp,
    /// The common header.
    Sctp,
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

    /// The innermost header of this kind.
    pub fn last(&self, header: Header) -> Option<Span> {
        self.as_slice().iter().rfind(|span| span.header == header).copied()
    }
}

/// A frame taken apart. Where packets are nested in tunnels, `network` is the innermost that can be read.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What was taken apart, for who asks where each header stands.
    source: Source<'a>,
    /// Source and destination on the medium, outermost; none on media without addresses.
    pub macs: Option<(Mac, Mac)>,
    /// What tells equal addresses apart: a mix of VLAN ids, PPPoE sessions, VNIs and GRE keys above `network`, 0 where there are none. Equal for both
    /// directions. VLAN 0 (a priority alone) and tunnels without a number add nothing.
    pub realm: u32,
    /// Tunnels between the medium and `network`; where there are any, `macs` are not those of `network`'s addresses.
    pub tunnels: u8,
    /// What the frame carries.
    pub network: Network<'a>,
    /// Why taking apart ended early, if it did, or which length contradicts another.
    pub problem: Option<WireError>,
}

/// A frame as it was captured.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    link: LinkType,
    bytes: &'a [u8],
    wire_len: usize,
}

impl Frame<'_> {
    /// Source and destination on the medium, where they are those of `network`'s packet: below a tunnel they are its ends'.
    pub fn own_macs(&self) -> Option<(Mac, Mac)> {
        self.macs.filter(|_| self.tunnels == 0)
    }

    /// Every header, with its place. Walks through the frame once more: who follows flows never asks, and does not pay for it.
    #[must_use]
    pub fn spans(&self) -> Spans {
        the_long_way(self.source).1
    }
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
    /// Where the header states no length (a segment not yet cut by the network card), `total_len` is what the frame has room for.
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
    /// A segment and its payload. Where the capture cut the options, they hold what is left.
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

/// What stands under the cursor.
#[derive(Clone, Copy)]
enum Next {
    /// Nothing more to read.
    End,
    Ethernet,
    /// What this EtherType says.
    Type(u16),
    Vlan,
    Llc,
    PppoeSession,
    Ppp,
    Mpls,
    /// IP of either version.
    Ip,
    IpInIp,
    MplsInIp,
    Gre,
    /// ERSPAN header of 8 or 12 bytes.
    Erspan(usize),
    Vxlan,
    Geneve,
}

/// The place reached, and what the headers so far said about the rest.
struct Cursor<'a> {
    /// The frame, cut where the headers so far say that it ends.
    bytes: &'a [u8],
    at: usize,
    /// Where it ended on the wire: beyond `bytes` if the capture cut it.
    wire_end: usize,
    realm: u32,
    tunnels: u8,
    /// The headers passed.
    spans: Spans,
}

impl<'a> Cursor<'a> {
    /// The captured bytes from here.
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Bytes from here to the end on the wire.
    fn on_wire(&self) -> usize {
        self.wire_end.saturating_sub(self.at)
    }

    /// What is inside ends `len` bytes from here at the latest.
    fn cut(&mut self, len: usize) {
        let end = self.at.saturating_add(len);
        self.wire_end = self.wire_end.min(end);
        self.bytes = self.bytes.get(..end).unwrap_or(self.bytes);
    }

    fn enter_tunnel(&mut self) {
        self.tunnels = self.tunnels.saturating_add(1);
    }

    /// Enters what an id sets apart. 0 stands for "none".
    fn enter_realm(&mut self, id: u32) {
        if id != 0 {
            self.realm = self.realm.rotate_left(12).wrapping_mul(0x9e37_79b1) ^ id;
        }
    }
}

/// Takes a frame apart. `wire_len` is its length before the capture cut it.
#[inline]
pub fn dissect(link: LinkType, bytes: &[u8], wire_len: usize) -> Frame<'_> {
    let source = Source { link, bytes, wire_len };
    if link == LinkType::ETHERNET
        && let Some(frame) = everyday::frame(source)
    {
        return frame;
    }
    the_long_way(source).0
}

fn the_long_way(source: Source<'_>) -> (Frame<'_>, Spans) {
    let Source { link, bytes, wire_len } = source;
    let mut frame = Frame { source, macs: None, realm: 0, tunnels: 0, network: Network::Other(0), problem: None };
    let mut cursor = Cursor { bytes, at: 0, wire_end: wire_len.max(bytes.len()), realm: 0, tunnels: 0, spans: Spans::new() };
    let mut next = link::first(link, &mut frame, &mut cursor);
    // Each step notes a header; one more finds the bound, and one more ends.
    for _ in 0..MOST_HEADERS + 2 {
        next = match next {
            Ok(Next::End) => break,
            Ok(_) if usize::from(cursor.spans.count) >= MOST_HEADERS => {
                Err(WireError::Malformed { header: "frame", reason: "too many headers" })
            }
            Ok(header) => step(header, &mut frame, &mut cursor),
            Err(error) => {
                frame.problem.get_or_insert(error);
                break;
            }
        };
    }
    (frame, cursor.spans)
}

fn step<'a>(next: Next, frame: &mut Frame<'a>, cursor: &mut Cursor<'a>) -> Result<Next, WireError> {
    match next {
        Next::End => Ok(Next::End),
        Next::Ip => network::ip(frame, cursor),
        Next::Ethernet => link::ethernet(frame, cursor),
        Next::Type(ethertype) => link::by_type(ethertype, frame, cursor),
        Next::Vlan => link::vlan(cursor),
        Next::Llc => link::llc(frame, cursor),
        Next::PppoeSession => link::pppoe(cursor),
        Next::Ppp => link::ppp(frame, cursor),
        Next::Mpls => link::mpls(frame, cursor),
        Next::IpInIp => {
            cursor.enter_tunnel();
            network::ip(frame, cursor)
        }
        Next::MplsInIp => {
            cursor.enter_tunnel();
            link::mpls(frame, cursor)
        }
        Next::Gre => tunnel::gre(cursor),
        Next::Erspan(len) => tunnel::erspan(len, cursor),
        Next::Vxlan => tunnel::vxlan(cursor),
        Next::Geneve => tunnel::geneve(cursor),
    }
}
