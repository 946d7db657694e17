//! The Wireshark display filter that shows the packets of a problem.

use crate::finding::Party;
use std::net::{IpAddr, SocketAddr};

/// For a rule at a party, over this transport.
pub(super) fn of(rule: &str, cause: &str, party: Party, udp: bool) -> String {
    let place = match party {
        Party::Host(ip) => host(rule, ip),
        Party::Service(at) => service(rule, at, udp),
    };
    match signature(rule, cause) {
        "" => place,
        signature => format!("{place} && {signature}"),
    }
}

fn host(rule: &str, ip: IpAddr) -> String {
    match (rule.split('.').next(), ip) {
        (Some("arp"), IpAddr::V4(ip)) => format!("(arp.src.proto_ipv4 == {ip} || arp.dst.proto_ipv4 == {ip})"),
        (_, IpAddr::V4(ip)) => format!("ip.addr == {ip}"),
        (_, IpAddr::V6(ip)) => format!("ipv6.addr == {ip}"),
    }
}

fn service(rule: &str, at: SocketAddr, udp: bool) -> String {
    let place = host("", at.ip());
    match (rule.split('.').next(), udp) {
        _ if at.port() == 0 => place,
        (Some("icmp" | "dhcp"), _) => place,
        (_, true) => format!("{place} && udp.port == {}", at.port()),
        (_, false) => format!("{place} && tcp.port == {}", at.port()),
    }
}

/// What tells the packets of the rule from others, in Wireshark's fields.
fn signature(rule: &str, cause: &str) -> &'static str {
    match cause {
        "l7.dns-nxdomain" => return "dns.flags.rcode == 3",
        "l7.dns-servfail" => return "dns.flags.rcode == 2",
        "l7.dns-refused" => return "dns.flags.rcode == 5",
        "l3.routing-loop" => return "(ip.ttl < 5 || ipv6.hlim < 5 || icmp.type == 11 || icmpv6.type == 3)",
        _ if cause.starts_with("l7.http-")
            && !matches!(cause, "l7.http-malformed" | "l7.http-redirect-loop" | "l7.http-unexpected-answer") =>
        {
            return "(http.response.code >= 400 || http2.headers.status >= 400)";
        }
        _ => {}
    }
    match rule {
        "tcp.syn-unanswered" => "tcp.flags.syn == 1",
        "tcp.syn-refused" => "(tcp.flags.syn == 1 || tcp.flags.reset == 1)",
        "tcp.loss" => "(tcp.analysis.retransmission || tcp.analysis.duplicate_ack)",
        rule if rule.starts_with("tcp.zero-window") => {
            "(tcp.analysis.zero_window || tcp.analysis.window_update || tcp.analysis.zero_window_probe)"
        }
        rule if rule.starts_with("tcp.rst") => "tcp.flags.reset == 1",
        rule if rule.starts_with("tls.") => "tls",
        rule if rule.starts_with("icmp") => "(icmp || icmpv6)",
        rule if rule.starts_with("dns.") => "dns",
        rule if rule.starts_with("dhcp.") => "(dhcp || dhcpv6)",
        rule if rule.starts_with("ntp.") => "ntp",
        _ => "",
    }
}
