//! Filters over one packet, 10.0.0.1:40000 → 10.0.0.2:443, SYN, TTL 64, VLAN 7, and over a flow with one finding; and the words of errors.

use super::*;
use crate::finding::{Cited, Weight};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use faultmap_wire::dissect::{LinkType, dissect};
use faultmap_wire::{Ethernet, Ipv4, Mac, Tcp, TcpFlags, Udp, proto};
use proptest::prelude::*;
use std::net::Ipv4Addr;

struct Known(Vec<Finding>);

impl Facts for Known {
    fn flow(&self) -> Option<FlowId> {
        Some(FlowId(3))
    }
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::Tcp)
    }
    fn application(&self) -> Option<&str> {
        Some("h2")
    }
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some(("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:443".parse().unwrap()))
    }
    fn server_name(&self) -> Option<&str> {
        Some("shop.test")
    }
    fn any_finding(&self, matches: &mut dyn FnMut(&Finding) -> bool) -> bool {
        self.0.iter().any(matches)
    }
}

fn finding() -> Finding {
    Finding {
        rule: "tcp.zero-window",
        weight: Weight::Fault,
        layer: Some(Layer::L4),
        cause: Some("l4.zero-window"),
        flow: Some(FlowId(3)),
        blames: None,
        first: Stamp(0),
        last: Stamp(0),
        cited: Cited { packets: vec![7, 9], count: 2 },
        text: String::new(),
        said_by: None,
        value: None,
    }
}

fn syn() -> Vec<u8> {
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let tcp = Tcp::new(40000, 443, TcpFlags::SYN).emit(a.into(), b.into(), b"GET /");
    let mut tagged = Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800);
    tagged.vlans[0] = Some(faultmap_wire::ethernet::Vlan { ethertype: 0x8100, control: 7 });
    tagged.emit(&Ipv4::new(a, b, proto::TCP).emit(&tcp))
}

fn of_packet(filter: &str, bytes: &[u8]) -> bool {
    let captured = Captured { number: PacketNo(5), at: Stamp(0), link: LinkType::ETHERNET, wire_len: bytes.len() as u32, bytes };
    let frame = dissect(captured.link, bytes, bytes.len());
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
    let facts = Known(vec![finding()]);
    filter.matches(&Subject { packet: Some((&captured, &frame)), facts: Some(&facts) })
}

fn of_flow(filter: &str) -> bool {
    let facts = Known(vec![finding()]);
    Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).matches(&Subject { packet: None, facts: Some(&facts) })
}

#[test]
fn fields_of_a_packet_are_compared() {
    for filter in [
        "ip.addr == 10.0.0.1",
        "ip.addr == 10.0.0.2 && tcp.port == 443",
        "ip.src == 10.0.0.0/8 and not ip.dst == 10.0.0.1",
        "ip.src != 10.0.0.2",
        "host == 10.0.0.1",
        "tcp.port in {80, 443}",
        "tcp.port in {1..79 400..500}",
        "port == 40000 || udp",
        "tcp && !udp",
        "tcp.flags.syn == 1 && tcp.flags.ack == 0",
        "tcp.flags.syn",
        "!tcp.flags.ack",
        "tcp.flags == 0x02",
        "tcp.len > 0 and tcp.len <= 5",
        "ip.ttl == 64",
        "ip.proto == 6",
        "eth.addr == 04:04:04:04:04:04",
        "eth.src == 04-04-04-04-04-04 && eth.dst == 02:02:02:02:02:02",
        "vlan.id == 7",
        "vlan && eth",
        "frame.number == 5",
        "frame.len == 63",
        "frame contains \"GET /\"",
        "frame contains 47:45:54",
        "(((tcp)))",
        "udp or tcp and ip",
        "http2 && layer == L4",
        "flow == 3",
    ] {
        assert!(of_packet(filter, &syn()), "{filter}");
    }
    for filter in [
        "ip.addr == 10.0.0.3",
        "ip.addr != 10.0.0.1",
        "udp.port == 443",
        "tcp.len > 5",
        "udp.length < 1000",
        "vlan.id == 0",
        "frame contains \"POST\"",
        "arp or icmp or ipv6 or gre",
        "not tcp",
        "ip.addr == 2001:db8::/32",
        "flow == 4",
    ] {
        assert!(!of_packet(filter, &syn()), "{filter}");
    }
}

#[test]
fn addresses_around_a_tunnel_count_as_well_as_those_in_it() {
    let outer = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let vxlan = [&[8, 0, 0, 0, 0, 1, 2, 0], &syn()[..]].concat();
    let udp = Udp::new(5, 4789).emit(outer.0.into(), outer.1.into(), &vxlan);
    let bytes = Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&Ipv4::new(outer.0, outer.1, proto::UDP).emit(&udp));
    for filter in ["ip.addr == 192.0.2.1 && ip.addr == 10.0.0.1", "vxlan.vni == 258", "udp && tcp", "tcp.port == 443"] {
        assert!(of_packet(filter, &bytes), "{filter}");
    }
}

#[test]
fn what_was_found_in_a_flow_is_asked_for() {
    for filter in [
        "layer == L4",
        "layer == transport",
        "cause == l4.zero-window",
        "rule == tcp.zero-window",
        "rule contains tcp.",
        "weight == fault",
        "finding",
        "http2",
        "server contains \"SHOP\"",
        "ip.addr == 10.0.0.2 && tcp.port == 443 && tcp",
        "tcp.dstport == 443",
        "layer in {L3, L4}",
        "!(tcp.len > 0)",
    ] {
        assert!(of_flow(filter), "{filter}");
    }
    for filter in ["layer == L7", "cause == l4.rst", "tls", "udp", "tcp.flags.syn", "layer != L4", "icmp"] {
        assert!(!of_flow(filter), "{filter}");
    }
    assert_eq!(Filter::parse("tcp.len > 0 or cause == x").unwrap().asks(), Asks { packets: true, flows: true });
    assert_eq!(Filter::parse("ip.addr == ::1 && tcp").unwrap().asks(), Asks::default());
}

#[test]
fn an_error_says_where_and_what_to_write() {
    for (filter, column, what) in [
        ("", 0, "empty"),
        ("tcp.prt == 1", 0, "did you mean tcp.port?"),
        ("tcp.port = 443", 9, "write =="),
        ("tcp & udp", 4, "&&"),
        ("ip.addr == 10.0.0", 11, "10.0.0 is not an address"),
        ("ip.addr == 10.0.0.0/33", 11, "is not an address"),
        ("(tcp", 0, "not closed"),
        ("tcp)", 3, "closes nothing"),
        ("tcp udp", 4, "missing"),
        ("(tcp udp)", 5, "missing"),
        ("tcp and", 7, "missing"),
        ("tcp == 1", 4, "there or not"),
        ("ip.addr > 10.0.0.1", 8, "no order"),
        ("tcp.port in 443", 12, "{1, 2"),
        ("tcp.port in {", 13, "not closed"),
        ("tcp.port in {}", 13, "empty set"),
        ("frame contains \"a", 15, "no end"),
        ("frame == 1", 6, "searched"),
        ("layer == L9", 9, "L1 to L7"),
        ("tcp.flags.syn == 2", 17, "0 or 1"),
        ("ärger", 0, "no meaning"),
    ] {
        let error = Filter::parse(filter).unwrap_err();
        assert_eq!(error.column, column, "{error}");
        assert!(error.what.contains(what), "{error}");
    }
    let shown = Filter::parse("tcp.prt == 1").unwrap_err().to_string();
    assert_eq!(shown, "filter: tcp.prt is not a field that is known here; did you mean tcp.port?\n  tcp.prt == 1\n  ^");
    assert!(Filter::parse(&"(".repeat(4000)).unwrap_err().what.contains("deeper"));
    assert!(Filter::parse(&"!".repeat(4000)).unwrap_err().what.contains("deeper"));
    assert!(Filter::parse(&"tcp&&".repeat(4000)).unwrap_err().what.contains("longer"));
    assert!(Filter::parse(&format!("tcp{}", "&&tcp".repeat(800))).is_ok());
}

#[test]
fn every_field_has_a_name_of_its_own_which_the_documentation_tells() {
    let page = include_str!("../../../../docs/capture-filter.md");
    for (at, field) in field::ALL.iter().enumerate() {
        assert!(field::ALL[..at].iter().all(|other| other.name != field.name), "{}", field.name);
        assert!(Filter::parse(field.name).is_ok(), "{}", field.name);
        // The flags of TCP are told by their last word.
        let short = field.name.strip_prefix("tcp.flags.").map(|flag| format!("`.{flag}`"));
        let told = |name: &str| page.contains(&format!("`{name}`")) || page.contains(&format!("`{name} "));
        assert!(told(field.name) || short.is_some_and(|short| page.contains(&short)), "{} is not documented", field.name);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9.:(){}!&|=<>\" ]{0,60}") {
        if let Ok(filter) = Filter::parse(&text) {
            let _ = filter.asks();
        }
    }

    #[test]
    fn words_in_any_order_never_panic(words in prop::collection::vec(prop::sample::select(vec![
        "tcp", "ip.addr", "==", "10.0.0.1", "and", "or", "not", "(", ")", "in", "{", "}", "443", "tcp.port", "contains", "\"x\"", "frame", "layer", "L4", "1..5", ",",
    ]), 0..20)) {
        let text = words.join(" ");
        match Filter::parse(&text) {
            Ok(_) => { of_packet(&text, &syn()); }
            Err(error) => prop_assert!(error.column <= text.chars().count()),
        }
    }
}
