//! ICMP errors, tied to the flow whose packet they quote (RFC 792, RFC 4443): what they say about it, and who says so.

use crate::finding::Weight;
use crate::flow::{FlowKey, Protocol, SEARCHING_TTL};
use faultmap_model::Layer;
use faultmap_wire::dissect::{Packet, Transport};
use faultmap_wire::{IpPacket, icmp, icmpv6, proto};
use std::net::{IpAddr, SocketAddr};

/// What an error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    NoRoute,
    HostUnreachable,
    PortUnreachable,
    ProtocolUnreachable,
    Prohibited,
    TooBig(u32),
    TtlExceeded,
    FragmentsMissing,
    Other,
}

/// An ICMP error and the packet that it quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct IcmpError {
    pub(super) says: Says,
    /// Who says so.
    pub(super) by: IpAddr,
    /// Sender and receiver of the quoted packet.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) protocol: Protocol,
}

impl IcmpError {
    /// Reads it out of a packet; `None` if the packet is no ICMP error, or quotes too little.
    pub(super) fn read(packet: &Packet<'_>) -> Option<Self> {
        let (says, quoted) = match packet.transport {
            Transport::Icmp(header, quoted) => (of_v4(header.kind, header.code, header.rest)?, quoted),
            Transport::Icmpv6(header, quoted) => (of_v6(header.kind, header.code, header.rest)?, quoted),
            _ => return None,
        };
        let quoted = IpPacket::parse(quoted).ok()?;
        let (from_port, to_port, protocol) = match quoted.protocol {
            proto::TCP | proto::UDP => {
                let (from, to) = quoted.ports().unwrap_or_default();
                (from, to, if quoted.protocol == proto::TCP { Protocol::Tcp } else { Protocol::Udp })
            }
            proto::ICMP | proto::ICMPV6 => {
                let id = quoted.payload.get(4..6).and_then(|id| id.first_chunk::<2>()).map_or(0, |id| u16::from_be_bytes(*id));
                (id, id, Protocol::Icmp)
            }
            other => (0, 0, Protocol::Other(other)),
        };
        let (from, to) = (SocketAddr::new(quoted.src, from_port), SocketAddr::new(quoted.dst, to_port));
        Some(Self { says, by: packet.ip.src, from, to, protocol })
    }

    /// The key of the flow that it is about.
    pub(super) fn key(&self, realm: u32) -> FlowKey {
        FlowKey::of(self.from.into(), self.to.into(), self.protocol, realm).0
    }
}

fn of_v4(kind: u8, code: u8, rest: [u8; 4]) -> Option<Says> {
    Some(match (kind, code) {
        (icmp::UNREACHABLE, 0 | 5 | 6 | 8 | 11) => Says::NoRoute,
        (icmp::UNREACHABLE, 1 | 7 | 12) => Says::HostUnreachable,
        (icmp::UNREACHABLE, 2) => Says::ProtocolUnreachable,
        (icmp::UNREACHABLE, 3) => Says::PortUnreachable,
        (icmp::UNREACHABLE, 4) => Says::TooBig(u32::from(u16::from_be_bytes([rest[2], rest[3]]))),
        (icmp::UNREACHABLE, 9 | 10 | 13) => Says::Prohibited,
        (icmp::TIME_EXCEEDED, 0) => Says::TtlExceeded,
        (icmp::TIME_EXCEEDED, 1) => Says::FragmentsMissing,
        (icmp::UNREACHABLE | icmp::PARAMETER_PROBLEM, _) => Says::Other,
        _ => return None,
    })
}

fn of_v6(kind: u8, code: u8, rest: [u8; 4]) -> Option<Says> {
    Some(match (kind, code) {
        (icmpv6::UNREACHABLE, 0 | 2 | 6) => Says::NoRoute,
        (icmpv6::UNREACHABLE, 1 | 5) => Says::Prohibited,
        (icmpv6::UNREACHABLE, 3) => Says::HostUnreachable,
        (icmpv6::UNREACHABLE, 4) => Says::PortUnreachable,
        (icmpv6::PACKET_TOO_BIG, _) => Says::TooBig(u32::from_be_bytes(rest)),
        (icmpv6::TIME_EXCEEDED, 0) => Says::TtlExceeded,
        (icmpv6::TIME_EXCEEDED, 1) => Says::FragmentsMissing,
        (icmpv6::UNREACHABLE | icmpv6::PARAMETER_PROBLEM, _) => Says::Other,
        _ => return None,
    })
}

/// What the analysis knows beside the error.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside {
    /// The flow quoted is followed.
    pub(super) flow_known: bool,
    /// The quoted packet went from the server to the client.
    pub(super) about_answer: bool,
    /// The flow got answers before.
    pub(super) answered: bool,
    /// The quoted packet's receiver answers elsewhere in this capture.
    pub(super) host_heard: bool,
    /// The TTL with which the packets of the flow passed the capture: the smallest.
    pub(super) ttl: Option<u8>,
}

/// An error in the words of a finding.
pub(super) struct Reading {
    pub(super) rule: &'static str,
    pub(super) weight: Weight,
    pub(super) layer: Layer,
    pub(super) cause: Option<&'static str>,
    pub(super) text: String,
    pub(super) value: Option<f64>,
}

/// What an error means.
pub(super) fn read(error: &IcmpError, beside: &Beside) -> Reading {
    let IcmpError { by, to, .. } = *error;
    // Who closed its socket does not want late answers, and says so.
    let unwanted = beside.about_answer;
    let fault = if unwanted || !beside.flow_known { Weight::Note } else { Weight::Fault };
    let of_host = by == to.ip();
    let (rule, weight, layer, cause, words) = match error.says {
        Says::NoRoute => ("icmp.net-unreachable", fault, Layer::L3, Some("l3.remote-no-route"), "has no route to"),
        // The sender's own kernel, about a packet that never left: neither ARP nor neighbour discovery got an answer.
        Says::HostUnreachable if by == error.from.ip() => {
            ("icmp.host-unreachable", Weight::Fault, Layer::L2, None, "itself cannot resolve its neighbour on the way to")
        }
        Says::HostUnreachable => {
            ("icmp.host-unreachable", fault, Layer::L2, Some("l2.remote-neighbor-unresolved"), "cannot resolve its neighbour")
        }
        Says::PortUnreachable if error.protocol == Protocol::Udp && of_host => {
            ("icmp.port-unreachable", fault, Layer::L4, Some("l4.udp-port-unreachable"), "has no listener on")
        }
        Says::PortUnreachable => ("icmp.port-unreachable", fault, Layer::L4, Some("l4.firewall-reject"), "rejects packets to"),
        Says::ProtocolUnreachable => ("icmp.protocol-unreachable", fault, Layer::L4, None, "does not speak this protocol:"),
        Says::Prohibited if beside.host_heard => {
            ("icmp.admin-prohibited", fault, Layer::L4, Some("l4.firewall-reject"), "forbids by policy, while the host answers elsewhere:")
        }
        Says::Prohibited => ("icmp.admin-prohibited", fault, Layer::L4, None, "forbids by policy (this port, or all traffic):"),
        Says::TooBig(_) if to.is_ipv6() => ("icmp6.packet-too-big", Weight::Note, Layer::L3, None, "passes only smaller packets to"),
        Says::TooBig(_) => ("icmp.frag-needed", Weight::Note, Layer::L3, None, "passes only smaller packets to"),
        Says::TtlExceeded if beside.ttl.is_some_and(|ttl| ttl >= SEARCHING_TTL) && !beside.answered => {
            ("icmp.ttl-exceeded", Weight::Fault, Layer::L3, Some("l3.routing-loop"), "saw a packet with full TTL run out of hops to")
        }
        Says::TtlExceeded => ("icmp.ttl-exceeded", Weight::Note, Layer::L3, None, "saw a packet run out of hops to"),
        Says::FragmentsMissing => {
            ("icmp.frag-incomplete", Weight::Warning, Layer::L3, Some("l3.fragments-dropped"), "missed fragments of a packet to")
        }
        Says::Other => ("icmp.error", Weight::Note, Layer::L3, None, "does not accept a packet to"),
    };
    let value = match error.says {
        Says::TooBig(mtu) => Some(f64::from(mtu)),
        _ => None,
    };
    let mtu = value.map_or(String::new(), |mtu| format!(" (MTU {mtu})"));
    let cause = cause.filter(|_| weight > Weight::Note);
    Reading { rule, weight, layer, cause, text: format!("{by} {words} {to}{mtu}"), value }
}
