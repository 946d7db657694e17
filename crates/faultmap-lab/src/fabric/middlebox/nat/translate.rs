//! What a connection table does to one packet: find or make its connection, rewrite it, or end its journey.

use std::net::IpAddr;
use std::time::Instant;

use faultmap_wire::rewrite::{Side, set_endpoint};
use faultmap_wire::{Icmp, Icmpv6, IpPacket, TcpFlags, checksum, proto};

use super::table::{Endpoint, Flow, FragmentKey, Table};
use super::{Emit, Pass, UnknownMidStream};
use crate::fabric::Direction;
use crate::fabric::middlebox::seen::Seen;

/// The parts of a packet a table cares about; owned, because the frame is about to be rewritten.
struct Parts {
    protocol: u8,
    src: Endpoint,
    dst: Endpoint,
    flags: Option<TcpFlags>,
    /// Where the IP header starts and the packet ends in the frame.
    at: usize,
    end: usize,
    fragment: Option<FragmentKey>,
}

pub(super) fn handle(table: &mut Table, direction: Direction, frame: &mut [u8], now: Instant, out: &mut Emit) -> Pass {
    let outward = direction == table.config.outward;
    let Some(seen) = Seen::look(frame).filter(|seen| !seen.is_discovery() && !is_local(seen)) else {
        return Pass::Forward;
    };
    let span = (seen.ethernet.len(), seen.ethernet.len() + seen.packet.len());
    if seen.is_icmp_error() {
        let (header_len, protocol) = (seen.ip.header_len, seen.ip.protocol);
        let quoted = quoted_endpoints(seen.ip.payload);
        return handle_error(table, outward, frame, span, header_len, protocol, quoted, now);
    }
    if !seen.ip.has_upper_header() {
        let key = fragment_key(&seen.ip);
        return handle_later_fragment(table, outward, frame, span, key);
    }
    let Some(parts) = parts(&seen, span) else {
        return Pass::Forward;
    };
    let flow = match find(table, outward, &parts, now) {
        Some(flow) => flow,
        None => match handle_unknown(table, outward, &parts, &seen, now, out) {
            Ok(flow) => flow,
            Err(pass) => return pass,
        },
    };
    table.touch(&flow, outward, parts.flags, now);
    table.stats.passed += 1;
    rewrite(table, outward, &parts, &flow, frame);
    Pass::Forward
}

/// Link-local and multicast packets never leave the link and are not tracked.
fn is_local(seen: &Seen<'_>) -> bool {
    let link_local = |addr: IpAddr| match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    seen.ip.dst.is_multicast() || link_local(seen.ip.src) || link_local(seen.ip.dst)
}

fn parts(seen: &Seen<'_>, (at, end): (usize, usize)) -> Option<Parts> {
    let (src, dst) = endpoints(&seen.ip)?;
    let flags = seen.tcp().map(|(tcp, _)| tcp.flags);
    Some(Parts { protocol: seen.ip.protocol, src, dst, flags, at, end, fragment: fragment_key(&seen.ip) })
}

/// Both endpoints of a TCP, UDP or ICMP echo packet. An echo has its identifier on both sides.
fn endpoints(packet: &IpPacket<'_>) -> Option<(Endpoint, Endpoint)> {
    let (src_port, dst_port) = match packet.protocol {
        proto::ICMP => Icmp::parse(packet.payload).ok()?.0.echo_id().map(|(id, _)| (id, id))?,
        proto::ICMPV6 => Icmpv6::parse(packet.payload).ok()?.0.echo_id().map(|(id, _)| (id, id))?,
        _ => packet.ports()?,
    };
    Some(((packet.src, src_port), (packet.dst, dst_port)))
}

fn fragment_key(packet: &IpPacket<'_>) -> Option<FragmentKey> {
    packet.fragment.map(|(_, id)| (packet.src, packet.dst, id))
}

/// An echo's remote side has no port of its own.
fn remote(protocol: u8, endpoint: Endpoint) -> Endpoint {
    match protocol {
        proto::ICMP | proto::ICMPV6 => (endpoint.0, 0),
        _ => endpoint,
    }
}

fn find(table: &mut Table, outward: bool, parts: &Parts, now: Instant) -> Option<Flow> {
    if outward {
        table.seen_inside((parts.protocol, parts.src, remote(parts.protocol, parts.dst)), now)
    } else {
        table.seen_outside((parts.protocol, parts.dst, remote(parts.protocol, parts.src)), now)
    }
}

/// A packet of no known connection: it opens one, or is treated as the configuration says.
fn handle_unknown(table: &mut Table, outward: bool, parts: &Parts, seen: &Seen<'_>, now: Instant, out: &mut Emit) -> Result<Flow, Pass> {
    if parts.flags.is_some_and(|flags| !flags.is_opening()) {
        match table.config.unknown {
            UnknownMidStream::Adopt => {}
            UnknownMidStream::Drop => {
                table.stats.unknown_dropped += 1;
                return Err(Pass::Drop);
            }
            UnknownMidStream::Reset => {
                table.stats.unknown_reset += 1;
                seen.reset().into_iter().for_each(|frame| out.back(frame));
                return Err(Pass::Drop);
            }
        }
    }
    let (inside, outside) = if outward { (parts.src, parts.dst) } else { (parts.dst, parts.src) };
    let outside = remote(parts.protocol, outside);
    table.open(parts.protocol, inside, outside, outward, now).map_err(|_| Pass::Drop)
}

fn rewrite(table: &mut Table, outward: bool, parts: &Parts, flow: &Flow, frame: &mut [u8]) {
    if flow.inside == flow.external {
        return;
    }
    let (side, (addr, port)) = if outward { (Side::Source, flow.external) } else { (Side::Destination, flow.inside) };
    if let Some(packet) = frame.get_mut(parts.at..parts.end) {
        // The packet parsed a moment ago and the families agree, so this cannot fail.
        let _ = set_endpoint(packet, side, addr, Some(port));
    }
    if let Some(key) = parts.fragment {
        table.remember_fragment(key, addr);
    }
}

fn handle_later_fragment(table: &mut Table, outward: bool, frame: &mut [u8], (at, end): (usize, usize), key: Option<FragmentKey>) -> Pass {
    if table.config.snat.is_none() {
        return Pass::Forward;
    }
    let Some(new) = key.and_then(|key| table.fragments.get(&key)) else {
        table.stats.stray_fragments += 1;
        return Pass::Drop;
    };
    let side = if outward { Side::Source } else { Side::Destination };
    if let Some(packet) = frame.get_mut(at..end) {
        let _ = set_endpoint(packet, side, *new, None);
    }
    Pass::Forward
}

/// Protocol and endpoints of the packet that an ICMP error quotes.
fn quoted_endpoints(message: &[u8]) -> Option<(u8, Endpoint, Endpoint)> {
    const ICMP_HEADER: usize = 8;
    let packet = IpPacket::parse(message.get(ICMP_HEADER..)?).ok()?;
    let (src, dst) = endpoints(&packet)?;
    Some((packet.protocol, src, dst))
}

/// An error about a known connection is translated with the packet it quotes, or the receiver could make nothing
/// of it (RFC 5508 §4.2). The quotation travelled the other way: an error coming in quotes a packet that went out.
#[allow(clippy::too_many_arguments)]
fn handle_error(
    table: &mut Table,
    outward: bool,
    frame: &mut [u8],
    (at, end): (usize, usize),
    header_len: usize,
    protocol: u8,
    quoted: Option<(u8, Endpoint, Endpoint)>,
    now: Instant,
) -> Pass {
    let Some((quoted_protocol, src, dst)) = quoted else {
        return Pass::Forward;
    };
    let flow = if outward {
        table.seen_inside((quoted_protocol, dst, remote(quoted_protocol, src)), now)
    } else {
        table.seen_outside((quoted_protocol, src, remote(quoted_protocol, dst)), now)
    };
    let Some(flow) = flow else {
        return Pass::Forward;
    };
    table.stats.errors_passed += 1;
    if flow.inside == flow.external {
        return Pass::Forward;
    }
    let (new, quoted_side, outer_side) =
        if outward { (flow.external, Side::Destination, Side::Source) } else { (flow.inside, Side::Source, Side::Destination) };
    let Some(packet) = frame.get_mut(at..end) else {
        return Pass::Forward;
    };
    if let Some(quotation) = packet.get_mut(header_len + 8..) {
        let _ = set_endpoint(quotation, quoted_side, new.0, Some(new.1));
    }
    let _ = set_endpoint(packet, outer_side, new.0, None);
    refresh_icmp_checksum(packet, header_len, protocol);
    Pass::Forward
}

fn refresh_icmp_checksum(packet: &mut [u8], header_len: usize, protocol: u8) {
    let Ok(parsed) = IpPacket::parse(packet) else {
        return;
    };
    let (src, dst) = (parsed.src, parsed.dst);
    let Some(message) = packet.get_mut(header_len..) else {
        return;
    };
    let Some(slot) = message.get_mut(2..4) else {
        return;
    };
    slot.fill(0);
    let sum = match protocol {
        proto::ICMPV6 => checksum::of_transport(src, dst, protocol, message),
        _ => checksum::of(message),
    };
    if let Some(slot) = message.get_mut(2..4) {
        slot.copy_from_slice(&sum.to_be_bytes());
    }
}
