//! The transport layer, and ICMP.

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Header, Network, Packet, Transport, Verdict, checksums};
use faultmap_wire::{TcpFlags, icmp, icmpv6};

const ENDS: (&str, &str) = ("the sending host's kernel", "the receiving host's kernel; firewalls and NAT on the way look at it");

pub(super) fn doll(header: Header, builder: Builder<'_>, packet: Option<&Packet<'_>>) -> Doll {
    match header {
        Header::Tcp => tcp(builder, packet),
        Header::Udp => udp(builder, packet),
        Header::Sctp => {
            let mut b = builder;
            ports(&mut b);
            b.hex_field("verification tag", 4, 4).hex_field("checksum", 8, 4);
            b.doll(Some(Layer::L4), "SCTP", ENDS.0, ENDS.1)
        }
        _ => message(header, builder, packet),
    }
}

/// Whether the payload is a packet that an ICMP error quotes.
pub(super) fn quotes(frame: &Frame<'_>) -> bool {
    match &frame.network {
        Network::Ip(packet) => match packet.transport {
            Transport::Icmp(icmp, _) => icmp.is_error(),
            Transport::Icmpv6(icmp, _) => icmp.kind < 128,
            _ => false,
        },
        _ => false,
    }
}

fn ports(b: &mut Builder<'_>) {
    b.number_field("source port", 0, 2).number_field("destination port", 2, 2);
}

fn verdict(packet: Option<&Packet<'_>>) -> &'static str {
    match packet.map(|packet| checksums(packet).transport) {
        Some(Verdict::Good) => "holds",
        Some(Verdict::Bad) => "does not hold: damaged on the way, or changed after the capture",
        Some(Verdict::Offloaded) => "not yet there: the network card fills it in",
        Some(Verdict::Unknown) => "cannot be checked here: part of the packet is missing",
        Some(Verdict::None) => "none",
        None => "",
    }
}

fn tcp(mut b: Builder<'_>, packet: Option<&Packet<'_>>) -> Doll {
    ports(&mut b);
    b.number_field("sequence number", 4, 4).note("of the first payload byte");
    b.number_field("acknowledgement", 8, 4).note("the next byte that the sender of this expects");
    let (header_len, flags) = (b.number(12, 1) >> 4, TcpFlags(b.number(13, 1) as u8));
    b.field("header length", 12, 1, (header_len * 4).to_string()).note("bytes");
    b.field("flags", 13, 1, flags.to_string()).note(if flags.is_opening() { "opens a connection" } else { "" });
    b.number_field("window", 14, 2).note("bytes the sender of this has room for, before scaling");
    b.hex_field("checksum", 16, 2).note(verdict(packet));
    if flags.has(TcpFlags::URG) {
        b.number_field("urgent pointer", 18, 2);
    }
    options(&mut b);
    b.doll(Some(Layer::L4), "TCP", ENDS.0, ENDS.1)
}

fn options(b: &mut Builder<'_>) {
    let bytes = b.bytes();
    let mut at = 20;
    while let Some(kind) = bytes.get(at) {
        let len = match kind {
            0 => return,
            1 => {
                at += 1;
                continue;
            }
            _ => usize::from(bytes.get(at + 1).copied().unwrap_or(0)),
        };
        if len < 2 || at + len > bytes.len() {
            b.field("options", at, 0, "cut, or broken");
            return;
        }
        let value = b.number(at + 2, (len - 2).min(8));
        match (kind, len) {
            (2, 4) => b.field("option: MSS", at, len, value.to_string()).note("largest payload the sender of this accepts"),
            (3, 3) => {
                b.field("option: window scale", at, len, value.to_string()).note(format!("windows count × {}", 1_u64 << value.min(14)))
            }
            (4, 2) => b.field("option: use SACK", at, len, "yes"),
            (5, _) => {
                let edges = bytes.get(at + 2..at + len).unwrap_or_default().as_chunks::<8>().0;
                let blocks: Vec<String> = edges
                    .iter()
                    .map(|[a, c, d, e, f, g, h, i]| {
                        format!("{}–{}", u32::from_be_bytes([*a, *c, *d, *e]), u32::from_be_bytes([*f, *g, *h, *i]))
                    })
                    .collect();
                b.field("option: SACK", at, len, blocks.join(", ")).note("arrived beyond the acknowledgement")
            }
            (8, 10) => b.field("option: timestamps", at, len, format!("{} echoes {}", value >> 32, value & 0xffff_ffff)),
            (kind, _) => b.field("option", at, len, format!("number {kind}")),
        };
        at += len;
    }
}

fn udp(mut b: Builder<'_>, packet: Option<&Packet<'_>>) -> Doll {
    ports(&mut b);
    b.number_field("length", 4, 2).note("header and payload");
    b.hex_field("checksum", 6, 2).note(verdict(packet));
    b.doll(Some(Layer::L4), "UDP", ENDS.0, ENDS.1)
}

fn message(header: Header, mut b: Builder<'_>, packet: Option<&Packet<'_>>) -> Doll {
    let (kind, code) = (b.number(0, 1) as u8, b.number(1, 1) as u8);
    let six = header == Header::Icmpv6;
    let words = if six { v6_words(kind, code) } else { v4_words(kind, code) };
    b.number_field("type", 0, 1).note(words).number_field("code", 1, 1);
    b.hex_field("checksum", 2, 2).note(verdict(packet));
    let echo = if six { matches!(kind, 128 | 129) } else { matches!(kind, 0 | 8) };
    if echo {
        b.hex_field("identifier", 4, 2).number_field("sequence", 6, 2);
    } else if !six && (kind, code) == (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) {
        b.number_field("MTU of the next hop", 6, 2);
    } else if six && kind == icmpv6::PACKET_TOO_BIG {
        b.number_field("MTU of the next hop", 4, 4);
    }
    let writer = match echo {
        true => "the host that pings or answers",
        false => "the host or router that reports",
    };
    b.doll(Some(Layer::L3), if six { "ICMPv6" } else { "ICMP" }, writer, "the host that it is addressed to")
}

fn v4_words(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (0, _) => "echo reply",
        (3, 0) => "network unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "too big, and must not be fragmented",
        (3, 9 | 10 | 13) => "forbidden by policy",
        (3, _) => "unreachable",
        (5, _) => "redirect",
        (8, _) => "echo request",
        (11, 0) => "TTL used up on the way",
        (11, _) => "fragments missing",
        (12, _) => "a header that cannot be understood",
        _ => "",
    }
}

fn v6_words(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "forbidden by policy",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, 0) => "hop limit used up on the way",
        (3, _) => "fragments missing",
        (4, _) => "a header that cannot be understood",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbour solicitation: who has this address?",
        (136, _) => "neighbour advertisement: I have it",
        (137, _) => "redirect",
        _ => "",
    }
}
