//! Where every walk begins: the root's name servers. Built in as IANA publishes them, or given by the user.

use super::security::Trust;
use super::zone::{NameServer, Zone, absolute};
use hickory_proto::rr::Name;
use std::net::{IpAddr, SocketAddr};

const DNS_PORT: u16 = 53;
/// Lines of a hints file that are read.
const MOST_LINES: usize = 4_096;

/// Name, IPv4, IPv6 (<https://www.iana.org/domains/root/servers>, named.root of 2026).
const HINTS: [(&str, &str, &str); 13] = [
    ("a.root-servers.net", "198.41.0.4", "2001:503:ba3e::2:30"),
    ("b.root-servers.net", "170.247.170.2", "2801:1b8:10::b"),
    ("c.root-servers.net", "192.33.4.12", "2001:500:2::c"),
    ("d.root-servers.net", "199.7.91.13", "2001:500:2d::d"),
    ("e.root-servers.net", "192.203.230.10", "2001:500:a8::e"),
    ("f.root-servers.net", "192.5.5.241", "2001:500:2f::f"),
    ("g.root-servers.net", "192.112.36.4", "2001:500:12::d0d"),
    ("h.root-servers.net", "198.97.190.53", "2001:500:1::53"),
    ("i.root-servers.net", "192.36.148.17", "2001:7fe::53"),
    ("j.root-servers.net", "192.58.128.30", "2001:503:c27::2:30"),
    ("k.root-servers.net", "193.0.14.129", "2001:7fd::1"),
    ("l.root-servers.net", "199.7.83.42", "2001:500:9f::42"),
    ("m.root-servers.net", "202.12.27.33", "2001:dc3::35"),
];

/// The root of these servers; IANA's if there are none.
pub(super) fn root(given: &[SocketAddr]) -> Zone {
    let servers =
        if given.is_empty() { iana() } else { given.iter().map(|address| NameServer { name: Name::root(), address: *address }).collect() };
    let mut ns: Vec<Name> = servers.iter().map(|server| server.name.clone()).collect();
    ns.sort();
    ns.dedup();
    let trust = if given.is_empty() { Trust::Anchors } else { Trust::AsFound };
    Zone { name: Name::root(), ns, ttl_s: None, servers, nameless: Vec::new(), trust }
}

fn iana() -> Vec<NameServer> {
    let both = |(name, v4, v6): &(&str, &str, &str)| {
        let of = |text: &str| text.parse::<IpAddr>().ok().map(|ip| NameServer::at(name, SocketAddr::new(ip, DNS_PORT)));
        [of(v4), of(v6)]
    };
    HINTS.iter().flat_map(both).flatten().collect()
}

/// What the user names as root: an address, an address with a port, or the text of a hints file (named.root, RFC 9609): the addresses in its A
/// and AAAA records.
#[must_use]
pub fn parse_roots(text: &str) -> Vec<SocketAddr> {
    let text = text.trim();
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, DNS_PORT)];
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return vec![address];
    }
    let addresses = text.lines().take(MOST_LINES).filter_map(|line| {
        let line = line.split(';').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace().rev();
        let ip = words.next()?.parse::<IpAddr>().ok()?;
        let kind = words.next()?;
        let fits = (ip.is_ipv4() && kind.eq_ignore_ascii_case("A")) || (ip.is_ipv6() && kind.eq_ignore_ascii_case("AAAA"));
        fits.then_some(SocketAddr::new(ip, DNS_PORT))
    });
    let mut found = Vec::new();
    for address in addresses {
        if !found.contains(&address) && found.len() < 64 {
            found.push(address);
        }
    }
    found
}

impl NameServer {
    fn at(name: &str, address: SocketAddr) -> Self {
        Self { name: Name::from_ascii(name).map_or_else(|_| Name::root(), |name| absolute(&name)), address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thirteen_names_have_an_address_of_each_family() {
        let root = root(&[]);
        assert_eq!((root.ns.len(), root.servers.len()), (13, 26));
    }

    #[test]
    fn a_root_is_an_address_or_a_file_of_hints() {
        let parse = |text: &str| parse_roots(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(parse("10.0.3.1"), ["10.0.3.1:53"]);
        assert_eq!(parse("fd00::1"), ["[fd00::1]:53"]);
        assert_eq!(parse("10.0.3.1:5353"), ["10.0.3.1:5353"]);
        let hints = "; named.root\n.                        3600000      NS    A.ROOT-SERVERS.NET.\n\
                     A.ROOT-SERVERS.NET.      3600000      A     198.41.0.4\nA.ROOT-SERVERS.NET.      3600000      AAAA  2001:503:ba3e::2:30\n";
        assert_eq!(parse(hints), ["198.41.0.4:53", "[2001:503:ba3e::2:30]:53"]);
        assert!(parse("ns1.shop.test").is_empty() && parse("").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*|([0-9a-f.:; A\t]{0,30}\n){0,9}") {
            prop_assert!(parse_roots(&text).len() <= 64);
        }
    }
}
