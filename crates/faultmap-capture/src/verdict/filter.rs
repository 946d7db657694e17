//! The Wireshark display filter that shows the packets of a problem: who is at fault, and what tells its packets from others. Every packet that is
//! cited is among those it shows. Nothing is filtered here.

use crate::finding::{Cited, Party};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses and ports that one filter names; of more, none.
const MOST: usize = 16;

/// What is shown, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    hosts: BTreeSet<IpAddr>,
    /// Of TCP and of UDP; none where a host is meant as a whole.
    ports: Option<BTreeSet<(Transport, u16)>>,
    medium: Medium,
    /// What tells the packets; none where all of the place do.
    signs: Option<BTreeSet<&'static str>>,
    /// Packets that are cited, and that place and signs may leave out.
    beside: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Tcp,
    Udp,
}

/// Where an address is told beside the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Medium {
    None,
    Arp,
    Nd,
}

impl Shown {
    /// For a rule at a party, over this transport.
    pub(super) fn of(rule: &str, party: Party, udp: bool, cited: &Cited, cause: &str) -> Self {
        let medium = match rule.split('.').next() {
            Some("arp") => Medium::Arp,
            Some("nd") => Medium::Nd,
            _ => Medium::None,
        };
        let sign = Some(sign(rule, cause, udp)).filter(|sign| !sign.is_empty());
        let beside = if cites_others(rule) || sign.is_some_and(is_of_answers) { cited.packets.clone() } else { Vec::new() };
        // Answers from elsewhere are told from others by their port alone.
        let hosts = if rule == "udp.answer-elsewhere" { BTreeSet::new() } else { BTreeSet::from([party.ip()]) };
        Self {
            hosts,
            ports: ports(rule, party, udp),
            medium,
            signs: sign.map(|sign| BTreeSet::from([sign])),
            beside: beside.into_iter().collect(),
        }
    }

    /// A host, whatever it says.
    pub(super) fn host(ip: IpAddr) -> Self {
        Self { hosts: BTreeSet::from([ip]), ports: None, medium: Medium::None, signs: None, beside: BTreeSet::new() }
    }

    /// This and that.
    pub(super) fn join(&mut self, other: Self) {
        self.hosts.extend(other.hosts);
        self.ports = both(self.ports.take(), other.ports);
        self.signs = both(self.signs.take(), other.signs);
        self.medium = self.medium.max(other.medium);
        self.beside.extend(other.beside);
        while self.beside.len() > crate::finding::MOST_CITED {
            self.beside.pop_last();
        }
    }
}

/// All of both, unless one of them says nothing.
fn both<T: Ord>(a: Option<BTreeSet<T>>, b: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    let (mut a, b) = a.zip(b)?;
    a.extend(b);
    Some(a)
}

fn ports(rule: &str, party: Party, udp: bool) -> Option<BTreeSet<(Transport, u16)>> {
    let Party::Service(at) = party else { return None };
    let transport = if udp { Transport::Udp } else { Transport::Tcp };
    match rule.split('.').next() {
        _ if at.port() == 0 => None,
        // Their packets are to other ports, or have none.
        Some("icmp" | "dhcp") => None,
        // The truncated answer came over UDP, and the question again over TCP.
        _ if rule == "dns.tcp-blocked" => Some(both_transports(at)),
        _ => Some(BTreeSet::from([(transport, at.port())])),
    }
}

fn both_transports(at: SocketAddr) -> BTreeSet<(Transport, u16)> {
    BTreeSet::from([(Transport::Tcp, at.port()), (Transport::Udp, at.port())])
}

/// Signs that answers have, and the questions before them, which are cited with them, have not.
fn is_of_answers(sign: &str) -> bool {
    sign.starts_with("dns.") || sign.starts_with("(http.")
}

/// Rules that cite packets of others, too: those that prove it.
fn cites_others(rule: &str) -> bool {
    matches!(rule, "tcp.interposed" | "ip.family-dead" | "arp.gateway-mac-change") || rule.starts_with("h2.")
}

/// What tells the packets of the rule from others, in Wireshark's fields.
fn sign(rule: &str, cause: &str, udp: bool) -> &'static str {
    match (rule, cause) {
        ("dns.nxdomain", _) => "dns.flags.rcode == 3",
        ("dns.servfail", _) => "dns.flags.rcode == 2",
        ("dns.refused", _) => "dns.flags.rcode == 5",
        ("http.status", "l7.http-redirect-loop") => "",
        ("http.status", cause) => status(cause),
        ("tcp.syn-unanswered", _) => "tcp.flags.syn == 1",
        ("tcp.syn-refused", _) => "(tcp.flags.syn == 1 || tcp.flags.reset == 1)",
        ("tcp.loss", _) => "(tcp.analysis.retransmission || tcp.analysis.out_of_order || tcp.analysis.duplicate_ack)",
        _ if rule.starts_with("tcp.zero-window") => {
            "(tcp.analysis.zero_window || tcp.analysis.window_update || tcp.analysis.zero_window_probe)"
        }
        _ if rule.starts_with("tcp.rst") => "tcp.flags.reset == 1",
        // What is no TLS, too, and how it ended.
        _ if rule.starts_with("tls.") && !udp => "(tcp.len > 0 || tcp.flags.fin == 1 || tcp.flags.reset == 1)",
        _ if rule.starts_with("h2.") => "http2",
        _ if rule.starts_with("icmp") => "(icmp || icmpv6)",
        _ if rule.starts_with("dhcp.") => "(dhcp || dhcpv6)",
        _ if rule.starts_with("ntp.") => "ntp",
        _ => "",
    }
}

/// The status that has this cause, where it is one.
fn status(cause: &str) -> &'static str {
    match cause {
        "l7.http-bad-request" => "(http.response.code == 400 || http2.headers.status == 400)",
        "l7.http-unauthorized" => "(http.response.code == 401 || http2.headers.status == 401)",
        "l7.http-forbidden" => "(http.response.code == 403 || http2.headers.status == 403)",
        "l7.http-not-found" => "(http.response.code == 404 || http2.headers.status == 404)",
        "l7.http-method-not-allowed" => "(http.response.code == 405 || http2.headers.status == 405)",
        "l7.http-rate-limited" => "(http.response.code == 429 || http2.headers.status == 429)",
        "l7.http-bad-gateway" => "(http.response.code == 502 || http2.headers.status == 502)",
        "l7.http-unavailable" => "(http.response.code == 503 || http2.headers.status == 503)",
        "l7.http-gateway-timeout" => "(http.response.code == 504 || http2.headers.status == 504)",
        _ => "(http.response.code >= 400 || http2.headers.status >= 400)",
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.addresses());
        parts.extend(self.ports.as_ref().and_then(said_ports));
        parts.extend(self.signs.as_ref().map(|signs| either(&signs.iter().map(ToString::to_string).collect::<Vec<_>>())));
        let beside: Vec<String> = self.beside.iter().map(ToString::to_string).collect();
        let beside = (!beside.is_empty()).then(|| format!("frame.number in {{{}}}", beside.join(", ")));
        match (&parts[..], beside) {
            ([], None) => f.write_str("frame"),
            (_, None) => f.write_str(&parts.join(" && ")),
            ([], Some(beside)) => f.write_str(&beside),
            (_, Some(beside)) => write!(f, "({}) || {beside}", parts.join(" && ")),
        }
    }
}

impl Shown {
    fn addresses(&self) -> Option<String> {
        if self.hosts.is_empty() || self.hosts.len() > MOST {
            return None;
        }
        let v4: Vec<String> = self.hosts.iter().filter(|ip| ip.is_ipv4()).map(ToString::to_string).collect();
        let v6: Vec<String> = self.hosts.iter().filter(|ip| ip.is_ipv6()).map(ToString::to_string).collect();
        let (fields4, fields6): (&[&str], &[&str]) = match self.medium {
            Medium::None => (&["ip.addr"], &["ipv6.addr"]),
            Medium::Arp => (&["arp.src.proto_ipv4", "arp.dst.proto_ipv4", "ip.addr"], &["ipv6.addr"]),
            Medium::Nd => (&["ip.addr"], &["icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "ipv6.addr"]),
        };
        let of = |fields: &[&str], values: &[String]| fields.iter().filter_map(|field| among(field, values)).collect::<Vec<_>>();
        let said = [of(fields4, &v4), of(fields6, &v6)].concat();
        Some(either(&said))
    }
}

fn said_ports(ports: &BTreeSet<(Transport, u16)>) -> Option<String> {
    if ports.len() > MOST {
        return None;
    }
    let of = |of: Transport, field: &str| {
        let values: Vec<String> = ports.iter().filter(|(transport, _)| *transport == of).map(|(_, port)| port.to_string()).collect();
        among(field, &values)
    };
    let said: Vec<String> = [of(Transport::Tcp, "tcp.port"), of(Transport::Udp, "udp.port")].into_iter().flatten().collect();
    Some(either(&said)).filter(|said| !said.is_empty())
}

/// `ip.addr == 10.0.0.1`, `tcp.port in {80, 443}`.
fn among(field: &str, values: &[String]) -> Option<String> {
    match values {
        [] => None,
        [one] => Some(format!("{field} == {one}")),
        _ => Some(format!("{field} in {{{}}}", values.join(", "))),
    }
}

fn either(said: &[String]) -> String {
    match said {
        [one] => one.clone(),
        _ => format!("({})", said.join(" || ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "10.2.0.10:80";

    fn service(at: &str) -> Party {
        Party::Service(at.parse().expect("an address"))
    }

    fn host(ip: &str) -> Party {
        Party::Host(ip.parse().expect("an address"))
    }

    fn cited(packets: &[u64]) -> Cited {
        Cited { packets: packets.to_vec(), count: packets.len() as u64 }
    }

    #[test]
    fn a_filter_names_who_is_at_fault_and_what_tells_the_packets() {
        let check = |rule: &str, party: Party, udp: bool, said: &str| {
            assert_eq!(Shown::of(rule, party, udp, &cited(&[4, 6]), "").to_string(), said, "{rule}");
        };
        check("tcp.syn-unanswered", service(SERVER), false, "ip.addr == 10.2.0.10 && tcp.port == 80 && tcp.flags.syn == 1");
        check("pg.error", service("[fd00::2]:5432"), false, "ipv6.addr == fd00::2 && tcp.port == 5432");
        check("dns.timeout", service("10.2.0.53:53"), true, "ip.addr == 10.2.0.53 && udp.port == 53");
        check("icmp.net-unreachable", service(SERVER), false, "ip.addr == 10.2.0.10 && (icmp || icmpv6)");
        // What follows of a question for an address that nobody has is told, too.
        check(
            "arp.unanswered",
            host("10.2.0.9"),
            false,
            "(arp.src.proto_ipv4 == 10.2.0.9 || arp.dst.proto_ipv4 == 10.2.0.9 || ip.addr == 10.2.0.9)",
        );
        // Who looks for a neighbour asks a group.
        check(
            "nd.unanswered",
            host("fd00::9"),
            false,
            "(icmpv6.nd.ns.target_address == fd00::9 || icmpv6.nd.na.target_address == fd00::9 || ipv6.addr == fd00::9)",
        );
        // Packets in a loop lose their hops one by one: all of them are shown.
        check("ip.routing-loop", host("10.2.0.9"), false, "ip.addr == 10.2.0.9");
        check("dns.tcp-blocked", service("10.2.0.53:53"), false, "ip.addr == 10.2.0.53 && (tcp.port == 53 || udp.port == 53)");
        check("udp.answer-elsewhere", service("10.2.0.53:53"), true, "udp.port == 53");
    }

    #[test]
    fn the_question_before_a_failing_answer_is_shown_beside_it() {
        let check = |rule: &str, said: &str| {
            assert_eq!(Shown::of(rule, service(SERVER), false, &cited(&[4, 6]), "").to_string(), said, "{rule}");
        };
        check("dns.servfail", "(ip.addr == 10.2.0.10 && tcp.port == 80 && dns.flags.rcode == 2) || frame.number in {4, 6}");
        check(
            "http.status",
            "(ip.addr == 10.2.0.10 && tcp.port == 80 && (http.response.code >= 400 || http2.headers.status >= 400)) || frame.number in {4, 6}",
        );
        assert!(Shown::of("http.status", service(SERVER), false, &cited(&[]), "l7.http-not-found").to_string().contains("code == 404 "));
        // A frame of HTTP/2 at a port where nobody looks for it.
        check("h2.goaway", "(ip.addr == 10.2.0.10 && tcp.port == 80 && http2) || frame.number in {4, 6}");
    }

    #[test]
    fn several_parties_are_named_together_as_long_as_there_are_few() {
        let mut shown = Shown::of("tcp.syn-unanswered", service(SERVER), false, &cited(&[1]), "");
        shown.join(Shown::of("tcp.syn-unanswered", service("10.2.0.11:443"), false, &cited(&[2]), ""));
        assert_eq!(shown.to_string(), "ip.addr in {10.2.0.10, 10.2.0.11} && tcp.port in {80, 443} && tcp.flags.syn == 1");
        shown.join(Shown::of("tcp.syn-refused", service("[fd00::2]:80"), false, &cited(&[3]), ""));
        assert_eq!(
            shown.to_string(),
            "(ip.addr in {10.2.0.10, 10.2.0.11} || ipv6.addr == fd00::2) && tcp.port in {80, 443} && ((tcp.flags.syn == 1 || tcp.flags.reset == 1) || \
             tcp.flags.syn == 1)"
        );
        for n in 1..=30u8 {
            shown.join(Shown::of("tcp.syn-unanswered", service(&format!("10.3.0.{n}:80")), false, &cited(&[3]), ""));
        }
        assert!(shown.to_string().starts_with("tcp.port in {80, 443} && "), "{shown}");
        shown.join(Shown::host("10.9.0.1".parse().expect("an address")));
        assert_eq!(shown.to_string(), "frame");
    }
}
