//! What an IP packet carries, and whether that carries another packet.

use super::{Cursor, Frame, Header, Next, Transport, tunnel};
use crate::error::WireError;
use crate::icmp::{self, Icmp};
use crate::icmpv6::{self, Icmpv6};
use crate::ip::{IpPacket, proto};
use crate::tcp::Tcp;
use crate::udp::{self, Udp};

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const ESP: u8 = 50;
const SCTP: u8 = 132;
const MPLS_IN_IP: u8 = 137;

/// What was read.
pub(super) struct Carried<'a> {
    pub(super) transport: Transport<'a>,
    /// Bytes of its payload on the wire.
    pub(super) payload_len: usize,
    pub(super) next: Next,
}

/// Reads the transport header at the cursor; `on_wire` is the length of the packet behind the IP headers.
pub(super) fn read<'a>(ip: &IpPacket<'a>, on_wire: usize, frame: &mut Frame<'a>, cursor: &mut Cursor<'a>) -> Carried<'a> {
    let opaque = |next| Carried { transport: Transport::Other(ip.payload), payload_len: on_wire, next };
    if !ip.has_upper_header() {
        cursor.spans.push(Header::Payload, cursor.at, ip.payload.len());
        return opaque(Next::End);
    }
    let read = match ip.protocol {
        proto::TCP => tcp(ip, on_wire, frame),
        proto::UDP => udp(ip, on_wire, frame),
        proto::ICMP => Icmp::parse(ip.payload).map(|(icmp, rest)| (Transport::Icmp(icmp, rest), Header::Icmp, icmp::HEADER_LEN)),
        proto::ICMPV6 => Icmpv6::parse(ip.payload).map(|(icmp, rest)| (Transport::Icmpv6(icmp, rest), Header::Icmpv6, icmpv6::HEADER_LEN)),
        IPV4_IN_IP | IPV6_IN_IP => return opaque(Next::IpInIp),
        GRE => return opaque(Next::Gre),
        MPLS_IN_IP => return opaque(Next::MplsInIp),
        protocol => {
            other(protocol, ip, cursor);
            return opaque(Next::End);
        }
    };
    match read {
        Ok((transport, header, len)) => carried(transport, header, len, on_wire, cursor),
        Err(error) => {
            frame.problem.get_or_insert(error);
            cursor.spans.push(Header::Payload, cursor.at, ip.payload.len());
            opaque(Next::End)
        }
    }
}

fn other(protocol: u8, ip: &IpPacket<'_>, cursor: &mut Cursor<'_>) {
    let named = match protocol {
        ESP => Some((Header::Esp, 8)),
        SCTP => Some((Header::Sctp, 12)),
        _ => None,
    };
    let len = match named {
        Some((header, len)) if ip.payload.len() >= len => {
            cursor.spans.push(header, cursor.at, len);
            len
        }
        _ => 0,
    };
    if ip.payload.len() > len {
        cursor.spans.push(Header::Payload, cursor.at + len, ip.payload.len() - len);
    }
}

type Read<'a> = Result<(Transport<'a>, Header, usize), WireError>;

/// Where the capture cut the options, the header without them still tells the flow.
fn tcp<'a>(ip: &IpPacket<'a>, on_wire: usize, frame: &mut Frame<'a>) -> Read<'a> {
    let (tcp, header_len) = Tcp::parse_header(ip.payload)?;
    if header_len > on_wire {
        return Err(WireError::Malformed { header: "TCP", reason: "data offset beyond the packet" });
    }
    if ip.payload.len() < header_len {
        frame.problem.get_or_insert(WireError::Truncated { header: "TCP", need: header_len, have: ip.payload.len() });
    }
    let payload = ip.payload.get(header_len..).unwrap_or_default();
    Ok((Transport::Tcp(tcp, payload), Header::Tcp, header_len))
}

fn udp<'a>(ip: &IpPacket<'a>, on_wire: usize, frame: &mut Frame<'a>) -> Read<'a> {
    let (header, rest) = match (Udp::parse(ip.payload), ip.payload.first_chunk::<{ udp::HEADER_LEN }>()) {
        // A jumbogram's length does not fit and is 0 (RFC 2675 §4); nor is it known before the network card has cut it.
        (Err(_), Some([s0, s1, d0, d1, 0, 0, c0, c1])) if on_wire > usize::from(u16::MAX) => {
            let [src_port, dst_port, checksum] = [[*s0, *s1], [*d0, *d1], [*c0, *c1]].map(u16::from_be_bytes);
            let rest = ip.payload.get(udp::HEADER_LEN..).unwrap_or_default();
            return Ok((Transport::Udp(Udp { src_port, dst_port, len: 0, checksum }, rest), Header::Udp, udp::HEADER_LEN));
        }
        (read, _) => read?,
    };
    if usize::from(header.len) > on_wire && ip.fragment.is_none() {
        frame.problem.get_or_insert(WireError::Malformed { header: "UDP", reason: "longer than the packet" });
    }
    Ok((Transport::Udp(header, rest), Header::Udp, udp::HEADER_LEN))
}

fn carried<'a>(transport: Transport<'a>, header: Header, len: usize, on_wire: usize, cursor: &mut Cursor<'a>) -> Carried<'a> {
    let captured = len.min(cursor.rest().len());
    cursor.spans.push(header, cursor.at, captured);
    cursor.at += captured;
    let mut payload_len = on_wire.saturating_sub(len);
    let (mut next, mut payload) = (Next::End, cursor.rest().len());
    if let Transport::Udp(udp, bytes) = transport {
        payload = bytes.len();
        if udp.len != 0 {
            payload_len = payload_len.min(usize::from(udp.len).saturating_sub(len));
        }
        next = by_port(udp.dst_port);
        cursor.cut(payload_len);
    }
    if matches!(next, Next::End) && payload > 0 {
        cursor.spans.push(Header::Payload, cursor.at, payload);
    }
    Carried { transport, payload_len, next }
}

fn by_port(port: u16) -> Next {
    match port {
        tunnel::GENEVE_PORT => Next::Geneve,
        port if tunnel::VXLAN_PORTS.contains(&port) => Next::Vxlan,
        _ => Next::End,
    }
}
