//! The layers of the medium: Ethernet, tags, PPP, MPLS, ARP, and what only a capture has.

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;
use faultmap_wire::dissect::Header;

const CAPTURE: (&str, &str) = ("the capturing host's kernel; it was never on a wire", "capture tools");

pub(super) fn doll(header: Header, builder: Builder<'_>) -> Doll {
    match header {
        Header::Ethernet => ethernet(builder),
        Header::Vlan => vlan(builder),
        Header::Arp => arp(builder),
        Header::Mpls => mpls(builder),
        Header::Sll | Header::Sll2 => cooked(header, builder),
        Header::PppoeSession => pppoe(builder),
        Header::Loopback => {
            let mut b = builder;
            b.hex_field("address family", 0, 4);
            b.doll(None, "loopback", CAPTURE.0, CAPTURE.1)
        }
        Header::Llc => {
            let mut b = builder;
            b.hex_field("destination service", 0, 1).hex_field("source service", 1, 1).hex_field("control", 2, 1);
            b.hex_field("organisation", 3, 3).hex_field("EtherType", 6, 2);
            b.doll(Some(Layer::L2), "802.2 LLC", "the sending host", "the receiving host")
        }
        Header::CiscoHdlc => {
            builder.doll(Some(Layer::L2), "Cisco HDLC", "the router at the other end of the line", "the router at this end")
        }
        Header::Ppp => {
            let mut b = builder;
            let at = b.len().saturating_sub(2);
            b.hex_field("protocol", at, 2);
            b.doll(Some(Layer::L2), "PPP", "one end of the line", "the other end")
        }
        _ => builder.doll(Some(Layer::L2), "header", "the sender", "the receiver"),
    }
}

pub(super) fn ethertype(number: u64) -> &'static str {
    match number {
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x86dd => "IPv6",
        0x8100 => "VLAN tag follows",
        0x88a8 | 0x9100 => "outer VLAN tag follows",
        0x8847 | 0x8848 => "MPLS",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE session",
        0x88cc => "LLDP",
        0x6558 => "Ethernet",
        0..1536 => "a length: 802.2 follows",
        _ => "",
    }
}

fn ethernet(mut b: Builder<'_>) -> Doll {
    for (name, at) in [("destination", 0), ("source", 6)] {
        let (mac, first) = (b.mac(at), b.number(at, 1));
        let note = match (mac.as_str(), first & 3) {
            ("ff:ff:ff:ff:ff:ff", _) => "everybody on this segment",
            (_, 1 | 3) => "a group",
            (_, 2) => "given by software: a virtual machine, a container, or for privacy",
            _ => "",
        };
        b.field(name, at, 6, mac).note(note);
    }
    let kind = ethertype(b.number(12, 2));
    b.hex_field("EtherType", 12, 2).note(kind);
    b.doll(
        Some(Layer::L2),
        "Ethernet",
        "the last host or router before this wire, new on every wire",
        "switches, and the network card that it is addressed to",
    )
}

fn vlan(mut b: Builder<'_>) -> Doll {
    let control = b.number(0, 2);
    b.field("priority", 0, 2, (control >> 13).to_string());
    b.field("VLAN id", 0, 2, (control & 0xfff).to_string()).note(if control & 0xfff == 0 { "none; only the priority counts" } else { "" });
    let kind = ethertype(b.number(2, 2));
    b.hex_field("EtherType", 2, 2).note(kind);
    b.doll(
        Some(Layer::L2),
        "VLAN tag",
        "the switch port or interface by which it came into the VLAN",
        "every switch, until one takes it off",
    )
}

fn arp(mut b: Builder<'_>) -> Doll {
    let operation = b.number(6, 2);
    b.number_field("hardware type", 0, 2).note("Ethernet");
    b.hex_field("protocol type", 2, 2).note("IPv4");
    b.number_field("operation", 6, 2).note(match operation {
        1 => "request: who has the target address?",
        2 => "reply: the sender has it",
        _ => "",
    });
    for (name, at) in [("sender MAC", 8), ("target MAC", 18)] {
        let mac = b.mac(at);
        b.field(name, at, 6, mac);
    }
    for (name, at) in [("sender address", 14), ("target address", 24)] {
        let addr = b.v4(at);
        b.field(name, at, 4, addr);
    }
    b.doll(Some(Layer::L2), "ARP", "the kernel of the host that asks or answers", "every host on the segment; routers do not pass it on")
}

fn mpls(mut b: Builder<'_>) -> Doll {
    let word = b.number(0, 4);
    b.field("label", 0, 3, (word >> 12).to_string());
    b.field("traffic class", 2, 1, ((word >> 9) & 7).to_string());
    b.field("bottom of stack", 2, 1, if word & 0x100 == 0 { "no" } else { "yes" });
    b.number_field("TTL", 3, 1);
    b.doll(
        Some(Layer::L2),
        "MPLS label",
        "the router by which it came into the MPLS network; swapped by each after it",
        "every router of that network",
    )
}

fn cooked(header: Header, mut b: Builder<'_>) -> Doll {
    let (kind_at, protocol_at) = if header == Header::Sll { (0, 14) } else { (10, 0) };
    let kind = b.number(kind_at, if header == Header::Sll { 2 } else { 1 });
    let protocol = ethertype(b.number(protocol_at, 2));
    if header == Header::Sll {
        b.number_field("packet type", 0, 2);
    } else {
        b.hex_field("protocol", 0, 2).note(protocol).number_field("interface", 4, 4).number_field("packet type", 10, 1);
    }
    b.note(match kind {
        0 => "to this host",
        1 => "broadcast",
        2 => "multicast",
        3 => "between others",
        4 => "sent by this host",
        _ => "",
    });
    let mac_at = if header == Header::Sll { 6 } else { 12 };
    let mac = b.mac(mac_at);
    b.field("sender", mac_at, 6, mac);
    if header == Header::Sll {
        b.hex_field("protocol", 14, 2).note(protocol);
    }
    b.doll(None, "Linux cooked capture", CAPTURE.0, CAPTURE.1)
}

fn pppoe(mut b: Builder<'_>) -> Doll {
    b.hex_field("version and type", 0, 1).number_field("code", 1, 1).hex_field("session", 2, 2).number_field("length", 4, 2);
    b.doll(Some(Layer::L2), "PPPoE session", "the modem or router of the customer, or the provider's access server", "the other of the two")
}
