//! The network layer: IP of both versions with options and extensions, and the headers of tunnels.

use super::Doll;
use super::builder::Builder;
use super::link::ethertype;
use faultmap_model::Layer;
use faultmap_wire::checksum;
use faultmap_wire::dissect::Header;

pub(super) fn doll(header: Header, builder: Builder<'_>) -> Doll {
    match header {
        Header::Ipv4 => v4(builder),
        Header::Ipv6 => v6(builder),
        Header::Gre => gre(builder),
        Header::Vxlan => vxlan(builder),
        Header::Geneve => geneve(builder),
        Header::Esp => {
            let mut b = builder;
            b.hex_field("SPI", 0, 4).number_field("sequence", 4, 4);
            b.doll(Some(Layer::L3), "IPsec ESP", "one end of the IPsec tunnel", "the other end; what follows is encrypted")
        }
        Header::Erspan => builder.doll(Some(Layer::L2), "ERSPAN", "the switch that mirrors the frame within", "the host that analyses"),
        extension => v6_extension(extension, builder),
    }
}

pub(super) fn protocol(number: u64) -> &'static str {
    match number {
        0 => "hop-by-hop options",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4 in IP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6 in IP",
        43 => "routing header",
        44 => "fragment header",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        59 => "nothing follows",
        60 => "destination options",
        89 => "OSPF",
        112 => "VRRP",
        132 => "SCTP",
        _ => "",
    }
}

fn service(b: &mut Builder<'_>, class: u64, at: usize, len: usize) {
    let ecn = match class & 3 {
        0 => "sender does not use ECN",
        3 => "congestion was met on the way",
        _ => "congestion may be marked instead of dropped",
    };
    b.field("DSCP", at, len, (class >> 2).to_string());
    b.field("ECN", at, len, (class & 3).to_string()).note(ecn);
}

fn v4(mut b: Builder<'_>) -> Doll {
    b.field("version", 0, 1, "4");
    let header_len = b.len();
    b.field("header length", 0, 1, header_len.to_string()).note("bytes");
    let class = b.number(1, 1);
    service(&mut b, class, 1, 1);
    let total = b.number(2, 2);
    b.number_field("total length", 2, 2).note(if total == 0 { "left to the network card, which cuts the segment" } else { "" });
    b.hex_field("identification", 4, 2).note("equal in all fragments of a packet");
    let flags = b.number(6, 2);
    b.field("don't fragment", 6, 1, yes(flags & 0x4000 != 0)).field("more fragments", 6, 1, yes(flags & 0x2000 != 0));
    b.field("fragment offset", 6, 2, ((flags & 0x1fff) * 8).to_string());
    b.number_field("TTL", 8, 1).note("each router takes one off");
    let kind = protocol(b.number(9, 1));
    b.number_field("protocol", 9, 1).note(kind);
    let holds = checksum::of(b.bytes()) == 0;
    b.hex_field("header checksum", 10, 2).note(if holds { "holds" } else { "does not hold, or is left to the network card" });
    for (name, at) in [("source", 12), ("destination", 16)] {
        let addr = b.v4(at);
        b.field(name, at, 4, addr);
    }
    let options = b.len().saturating_sub(20);
    if options > 0 {
        b.field("options", 20, options, format!("{options} bytes"));
    }
    b.doll(
        Some(Layer::L3),
        "IPv4",
        "the sending host's IP stack; NAT may rewrite addresses on the way",
        "every router on the path, and the receiving host's IP stack",
    )
}

fn v6(mut b: Builder<'_>) -> Doll {
    let first = b.number(0, 4);
    b.field("version", 0, 1, "6");
    service(&mut b, (first >> 20) & 0xff, 0, 2);
    b.field("flow label", 1, 3, format!("0x{:05x}", first & 0xf_ffff)).note("equal for all packets of a flow, so that they take one path");
    b.number_field("payload length", 4, 2);
    let kind = protocol(b.number(6, 1));
    b.number_field("next header", 6, 1).note(kind);
    b.number_field("hop limit", 7, 1).note("each router takes one off");
    for (name, at) in [("source", 8), ("destination", 24)] {
        let addr = b.v6(at);
        b.field(name, at, 16, addr);
    }
    b.doll(Some(Layer::L3), "IPv6", "the sending host's IP stack", "every router on the path, and the receiving host's IP stack")
}

fn v6_extension(header: Header, mut b: Builder<'_>) -> Doll {
    let kind = protocol(b.number(0, 1));
    b.number_field("next header", 0, 1).note(kind);
    let (name, reader) = match header {
        Header::HopByHop => ("IPv6 hop-by-hop options", "every router on the path"),
        Header::Routing => ("IPv6 routing", "the routers that it names"),
        Header::Ipv6Fragment => {
            let word = b.number(2, 2);
            b.field("offset", 2, 2, (word & 0xfff8).to_string()).field("more fragments", 3, 1, yes(word & 1 == 1));
            b.hex_field("identification", 4, 4);
            ("IPv6 fragment", "the receiving host, which joins the fragments")
        }
        Header::Authentication => {
            b.hex_field("SPI", 4, 4).number_field("sequence", 8, 4);
            ("IPsec AH", "the other end of the IPsec association")
        }
        Header::DestinationOptions => ("IPv6 destination options", "the receiving host"),
        _ => ("IPv6 extension", "the receiving host"),
    };
    b.doll(Some(Layer::L3), name, "the sending host's IP stack", reader)
}

fn gre(mut b: Builder<'_>) -> Doll {
    let flags = b.number(0, 2);
    let kind = ethertype(b.number(2, 2));
    b.hex_field("flags and version", 0, 2).hex_field("protocol", 2, 2).note(kind);
    let mut at = 4;
    for (bit, name) in [(0x8000, "checksum"), (0x2000, "key"), (0x1000, "sequence")] {
        if flags & bit != 0 {
            b.hex_field(name, at, 4);
            at += 4;
        }
    }
    b.doll(Some(Layer::L3), "GRE tunnel", "the router or host where the tunnel begins", "the one where it ends")
}

fn vxlan(mut b: Builder<'_>) -> Doll {
    b.hex_field("flags", 0, 1).number_field("VNI", 4, 3).note("the virtual network");
    b.doll(Some(Layer::L2), "VXLAN", "the host or switch where the virtual network's frame is packed", "the one that unpacks it")
}

fn geneve(mut b: Builder<'_>) -> Doll {
    let kind = ethertype(b.number(2, 2));
    b.hex_field("protocol", 2, 2).note(kind).number_field("VNI", 4, 3).note("the virtual network");
    let options = b.len().saturating_sub(8);
    if options > 0 {
        b.field("options", 8, options, format!("{options} bytes"));
    }
    b.doll(Some(Layer::L2), "Geneve", "the host or switch where the virtual network's frame is packed", "the one that unpacks it")
}

pub(super) const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
