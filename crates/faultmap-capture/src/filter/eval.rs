//! Asks a tree about a subject. Values are handed one by one to a visitor, so that nothing is collected per packet.

use super::field::{End, Field, Kind, What};
use super::lex::Op;
use super::parse::{Expr, Item, Value};
use super::{Facts, Subject};
use crate::flow::Protocol;
use crate::packet::Captured;
use faultmap_model::Layer;
use faultmap_wire::Mac;
use faultmap_wire::dissect::{Frame, Header, Network, Packet, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A value that the subject has.
#[derive(Clone, Copy)]
enum Has<'v> {
    Number(u64),
    Addr(IpAddr),
    Mac(Mac),
    Text(&'v str),
    Layer(Layer),
    Bytes(&'v [u8]),
    /// There, without a value.
    There,
}

/// Sees a value; `true` ends the search.
type Visit<'f> = &'f mut dyn FnMut(Has<'_>) -> bool;

pub(super) fn matches(expr: &Expr, subject: &Subject<'_>) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| matches(part, subject)),
        Expr::Any(parts) => parts.iter().any(|part| matches(part, subject)),
        Expr::Not(part) => !matches(part, subject),
        Expr::Has(field) => any(field, subject, &mut |value| !matches!((field.kind, value), (Kind::Flag, Has::Number(0)))),
        Expr::Compare(field, Op::NotEqual, wanted) => {
            let mut there = false;
            let equal = any(field, subject, &mut |value| {
                there = true;
                compare(value, Op::Equal, wanted)
            });
            there && !equal
        }
        Expr::Compare(field, op, wanted) => any(field, subject, &mut |value| compare(value, *op, wanted)),
        Expr::In(field, items) => any(field, subject, &mut |value| items.iter().any(|item| is_in(value, item))),
        Expr::Contains(field, wanted) => any(field, subject, &mut |value| match value {
            Has::Bytes(bytes) => contains(bytes, wanted),
            Has::Text(text) => contains(text.to_ascii_lowercase().as_bytes(), &wanted.to_ascii_lowercase()),
            _ => false,
        }),
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len().max(1)).any(|window| window == wanted)
}

fn compare(value: Has<'_>, op: Op, wanted: &Value) -> bool {
    match (value, wanted) {
        (Has::Number(value), Value::Number(wanted)) => match op {
            Op::Equal => value == *wanted,
            Op::NotEqual => value != *wanted,
            Op::Less => value < *wanted,
            Op::AtMost => value <= *wanted,
            Op::More => value > *wanted,
            Op::AtLeast => value >= *wanted,
        },
        (Has::Addr(value), Value::Net(wanted, bits)) => in_net(value, *wanted, *bits),
        (Has::Mac(value), Value::Mac(wanted)) => value == *wanted,
        (Has::Text(value), Value::Text(wanted)) => value.eq_ignore_ascii_case(wanted),
        (Has::Layer(value), Value::Layer(wanted)) => value == *wanted,
        _ => false,
    }
}

fn is_in(value: Has<'_>, item: &Item) -> bool {
    match (value, item) {
        (value, Item::One(wanted)) => compare(value, Op::Equal, wanted),
        (Has::Number(value), Item::Range(from, to)) => (*from..=*to).contains(&value),
        _ => false,
    }
}

fn in_net(value: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (value, net) {
        (IpAddr::V4(value), IpAddr::V4(net)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(value) & mask == u32::from(net) & mask
        }
        (IpAddr::V6(value), IpAddr::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(value) & mask == u128::from(net) & mask
        }
        _ => false,
    }
}

/// Whether any value of a field satisfies.
fn any(field: &Field, subject: &Subject<'_>, visit: Visit<'_>) -> bool {
    let in_packet = subject.packet.is_some_and(|(captured, frame)| packet_value(field, captured, frame, visit));
    if in_packet {
        return true;
    }
    // What a packet has itself is not looked for in its flow, too.
    let facts = subject.facts.filter(|_| subject.packet.is_none() || field.scope() == super::field::Scope::Flow);
    facts.is_some_and(|facts| flow_value(field, facts, visit))
}

fn number(value: impl Into<u64>, visit: Visit<'_>) -> bool {
    visit(Has::Number(value.into()))
}

fn packet_value(field: &Field, captured: &Captured<'_>, frame: &Frame<'_>, visit: Visit<'_>) -> bool {
    match field.what {
        What::FrameBytes => visit(Has::Bytes(captured.bytes)),
        What::FrameNumber => number(captured.number.0, visit),
        What::FrameLen => number(captured.wire_len, visit),
        What::FrameCaptured => number(captured.bytes.len() as u64, visit),
        What::EthSrc => frame.macs.is_some_and(|(src, _)| visit(Has::Mac(src))),
        What::EthDst => frame.macs.is_some_and(|(_, dst)| visit(Has::Mac(dst))),
        What::Eth => frame.macs.is_some_and(|(src, dst)| visit(Has::Mac(src)) || visit(Has::Mac(dst))),
        What::Has(header) => has(frame, header) && visit(Has::There),
        What::Tcp => has(frame, Header::Tcp) && visit(Has::There),
        What::Udp => has(frame, Header::Udp) && visit(Has::There),
        What::VlanId => each(frame, Header::Vlan, captured, &mut |tag| {
            tag.first_chunk::<2>().is_some_and(|control| number(u16::from_be_bytes(*control) & 0x0fff, visit))
        }),
        What::Vni => each(frame, Header::Vxlan, captured, &mut |header| {
            header.get(4..7).is_some_and(|vni| visit(Has::Number(vni.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))))
        }),
        What::IpSrc => addresses(frame, captured, End::Src, visit),
        What::IpDst => addresses(frame, captured, End::Dst, visit),
        What::IpAddr => addresses(frame, captured, End::Any, visit),
        _ => match &frame.network {
            Network::Ip(packet) => ip_value(field, packet, visit),
            _ => false,
        },
    }
}

fn ip_value(field: &Field, packet: &Packet<'_>, visit: Visit<'_>) -> bool {
    let ip = &packet.ip;
    match (field.what, packet.transport) {
        (What::IpTtl, _) => number(ip.hop_limit, visit),
        (What::IpProto, _) => number(ip.protocol, visit),
        (What::IpLen, _) => number(ip.total_len as u64, visit),
        (What::IpId, _) => packet.id.is_some_and(|id| number(id, visit)),
        (What::IpFragment, _) => number(ip.fragment.map_or(0, |(offset, _)| offset), visit),
        (What::DontFragment, _) => number(ip.dont_fragment, visit),
        (What::MoreFragments, _) => number(packet.more_fragments, visit),
        (What::IcmpType, Transport::Icmp(icmp, _)) => number(icmp.kind, visit),
        (What::IcmpType, Transport::Icmpv6(icmp, _)) => number(icmp.kind, visit),
        (What::IcmpCode, Transport::Icmp(icmp, _)) => number(icmp.code, visit),
        (What::IcmpCode, Transport::Icmpv6(icmp, _)) => number(icmp.code, visit),
        (What::TcpFlags, Transport::Tcp(tcp, _)) => number(tcp.flags.0, visit),
        (What::TcpFlag(bit), Transport::Tcp(tcp, _)) => number(tcp.flags.0 & bit != 0, visit),
        (What::TcpLen, Transport::Tcp(..)) => number(packet.payload_len, visit),
        (What::TcpSeq, Transport::Tcp(tcp, _)) => number(tcp.seq, visit),
        (What::TcpAck, Transport::Tcp(tcp, _)) => number(tcp.ack, visit),
        (What::TcpWindow, Transport::Tcp(tcp, _)) => number(tcp.window, visit),
        (What::UdpLen, Transport::Udp(udp, _)) => number(udp.len, visit),
        (What::Port(0 | 6, end), Transport::Tcp(tcp, _)) => ports(tcp.src_port, tcp.dst_port, end, visit),
        (What::Port(0 | 17, end), Transport::Udp(udp, _)) => ports(udp.src_port, udp.dst_port, end, visit),
        _ => false,
    }
}

fn ports(src: u16, dst: u16, end: End, visit: Visit<'_>) -> bool {
    (end != End::Dst && number(src, visit)) || (end != End::Src && number(dst, visit))
}

fn has(frame: &Frame<'_>, header: Header) -> bool {
    frame.spans().as_slice().iter().any(|span| span.header == header)
}

/// The bytes of each header of a kind.
fn each(frame: &Frame<'_>, header: Header, captured: &Captured<'_>, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let spans = frame.spans();
    let mut of_kind = spans.as_slice().iter().filter(|span| span.header == header);
    of_kind.any(|span| captured.bytes.get(span.start as usize..(span.start + span.len) as usize).is_some_and(&mut *visit))
}

/// Addresses of every IP header, those around tunnels included.
fn addresses(frame: &Frame<'_>, captured: &Captured<'_>, end: End, visit: Visit<'_>) -> bool {
    let mut both = |src: Option<IpAddr>, dst: Option<IpAddr>| {
        (end != End::Dst && src.is_some_and(|src| visit(Has::Addr(src))))
            || (end != End::Src && dst.is_some_and(|dst| visit(Has::Addr(dst))))
    };
    let v4 = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk::<4>().map(|addr| IpAddr::V4(Ipv4Addr::from(*addr)));
    let v6 = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk::<16>().map(|addr| IpAddr::V6(Ipv6Addr::from(*addr)));
    each(frame, Header::Ipv4, captured, &mut |bytes| both(v4(bytes, 12), v4(bytes, 16)))
        || each(frame, Header::Ipv6, captured, &mut |bytes| both(v6(bytes, 8), v6(bytes, 24)))
}

fn flow_value(field: &Field, facts: &dyn Facts, visit: Visit<'_>) -> bool {
    let protocol = facts.protocol();
    match field.what {
        What::Flow => facts.flow().is_some_and(|flow| number(flow.0, visit)),
        What::Spoken => {
            let inside = facts.is_decrypted() && field.name == "tls";
            (inside || facts.application().is_some_and(|spoken| same_protocol(spoken, field.name))) && visit(Has::There)
        }
        What::Server => facts.server_name().is_some_and(|name| visit(Has::Text(name))),
        What::Finding => facts.any_finding(&mut |_| visit(Has::There)),
        What::Layer => facts.any_finding(&mut |finding| finding.layer.is_some_and(|layer| visit(Has::Layer(layer)))),
        What::Cause => facts.any_finding(&mut |finding| finding.cause.is_some_and(|cause| visit(Has::Text(cause)))),
        What::Rule => facts.any_finding(&mut |finding| visit(Has::Text(finding.rule))),
        What::Weight => facts.any_finding(&mut |finding| visit(Has::Text(finding.weight.name()))),
        What::Tcp => protocol == Some(Protocol::Tcp) && visit(Has::There),
        What::Udp => protocol == Some(Protocol::Udp) && visit(Has::There),
        What::Has(header) => facts.ends().is_some_and(|(client, _)| is_of(header, client.is_ipv4(), protocol)) && visit(Has::There),
        What::IpAddr | What::IpSrc | What::IpDst => facts.ends().is_some_and(|(client, server)| {
            let (src, dst) = (field.what != What::IpDst, field.what != What::IpSrc);
            (src && visit(Has::Addr(client.ip()))) || (dst && visit(Has::Addr(server.ip())))
        }),
        What::Port(number, end) => facts.ends().is_some_and(|(client, server)| {
            let of = matches!((number, protocol), (0 | 6, Some(Protocol::Tcp)) | (0 | 17, Some(Protocol::Udp)));
            of && ports(client.port(), server.port(), end, visit)
        }),
        _ => false,
    }
}

/// A flow's addresses and protocol tell of these headers, too.
fn is_of(header: Header, v4: bool, protocol: Option<Protocol>) -> bool {
    match header {
        Header::Ipv4 => v4,
        Header::Ipv6 => !v4,
        Header::Icmp => v4 && protocol == Some(Protocol::Icmp),
        Header::Icmpv6 => !v4 && protocol == Some(Protocol::Icmp),
        _ => false,
    }
}

/// The analysis has names of its own for some protocols.
fn same_protocol(spoken: &str, field: &str) -> bool {
    let spoken = match spoken {
        "h2" => "http2",
        "postgres" | "postgresql" => "pgsql",
        "ws" => "websocket",
        spoken => spoken,
    };
    spoken == field
}
