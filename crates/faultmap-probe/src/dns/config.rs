//! Which resolvers this host uses: `/etc/resolv.conf` as the C library reads it (resolv.conf(5)). Never asks a resolver.

use super::hosts::read_bounded;
use faultmap_model::observation::DnsConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const MOST_BYTES: u64 = 1 << 20;
const DNS_PORT: u16 = 53;
/// The C library uses three (MAXNS); a few more are worth showing.
const MOST_RESOLVERS: usize = 8;
/// The C library has no limit since glibc 2.26; nobody has this many.
const MOST_SEARCH: usize = 32;
/// `RES_MAXNDOTS` of resolv.h.
const MOST_NDOTS: u8 = 15;
const DEFAULT_NDOTS: u8 = 1;

/// Reads `/etc/resolv.conf`. Without a file, or without a nameserver in it, the C library asks this host itself; so the list is never empty.
#[must_use]
pub fn config() -> DnsConfig {
    match read_bounded(RESOLV_CONF, MOST_BYTES) {
        Ok(text) => parse_resolv_conf(&text, RESOLV_CONF, interface_index),
        Err(error) => {
            let mut config = parse_resolv_conf("", "", interface_index);
            config.source = format!("no {RESOLV_CONF} ({error}); the C library then asks this host");
            config
        }
    }
}

fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Reads the text of a resolv.conf. `source` is kept as it is; `interface` gives the index of an interface by name, for scope ids.
///
/// As in the C library: a keyword counts only at the start of its line; the last `search` or `domain` wins; `ndots` is at most 15.
#[must_use]
pub fn parse_resolv_conf(text: &str, source: &str, interface: impl Fn(&str) -> Option<u32>) -> DnsConfig {
    let mut config = DnsConfig { resolvers: Vec::new(), search: Vec::new(), ndots: DEFAULT_NDOTS, source: source.to_owned() };
    for line in text.lines() {
        let Some((keyword, rest)) = line.split_once([' ', '\t']) else { continue };
        let mut words = rest.split_ascii_whitespace().take_while(|word| !word.starts_with(['#', ';']));
        match keyword {
            "nameserver" => config.resolvers.extend(words.next().and_then(|word| nameserver(word, &interface))),
            "search" => config.search = words.take(MOST_SEARCH).map(str::to_owned).collect(),
            "domain" => config.search = words.take(1).map(str::to_owned).collect(),
            "options" => config.ndots = words.filter_map(ndots).last().unwrap_or(config.ndots),
            _ => {}
        }
    }
    config.resolvers.truncate(MOST_RESOLVERS);
    if config.resolvers.is_empty() {
        config.resolvers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT));
    }
    config
}

fn ndots(option: &str) -> Option<u8> {
    let value: u32 = option.strip_prefix("ndots:")?.parse().ok()?;
    u8::try_from(value.min(u32::from(MOST_NDOTS))).ok()
}

/// An address, perhaps with a scope id: a name (`fe80::1%eth0`) or a number. An interface that does not exist leaves scope 0.
fn nameserver(word: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, DNS_PORT));
    }
    let (address, scope) = word.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope_id = scope.parse().ok().or_else(|| interface(scope)).unwrap_or(0);
    Some(SocketAddr::V6(SocketAddrV6::new(address, DNS_PORT, 0, scope_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> DnsConfig {
        parse_resolv_conf(text, "test", |name| (name == "eth0").then_some(7))
    }

    fn check(text: &str, resolvers: &[&str], search: &[&str], ndots: u8) {
        let config = parse(text);
        let shown: Vec<String> = config.resolvers.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown, config.search.iter().map(String::as_str).collect::<Vec<_>>(), config.ndots),
            (resolvers.iter().map(ToString::to_string).collect(), search.to_vec(), ndots)
        );
    }

    #[test]
    fn resolvers_keep_their_order() {
        check("nameserver 10.0.0.2\nnameserver\t2001:db8::53 \n", &["10.0.0.2:53", "[2001:db8::53]:53"], &[], 1);
    }

    #[test]
    fn without_a_nameserver_this_host_is_asked() {
        check("", &["127.0.0.1:53"], &[], 1);
        check("# nameserver 10.0.0.2\n;nameserver 10.0.0.3\nnameserver dns.test\n nameserver 10.0.0.4\n", &["127.0.0.1:53"], &[], 1);
    }

    #[test]
    fn a_scope_id_names_an_interface_or_its_number() {
        check("nameserver fe80::1%eth0\n", &["[fe80::1%7]:53"], &[], 1);
        check("nameserver fe80::1%3\n", &["[fe80::1%3]:53"], &[], 1);
        check("nameserver fe80::1%gone\n", &["[fe80::1]:53"], &[], 1);
    }

    #[test]
    fn the_last_search_or_domain_wins() {
        check("search a.test b.test\ndomain c.test d.test\n", &["127.0.0.1:53"], &["c.test"], 1);
        check("domain c.test\nsearch a.test b.test # ours\n", &["127.0.0.1:53"], &["a.test", "b.test"], 1);
    }

    #[test]
    fn ndots_is_read_and_capped() {
        check("options edns0 ndots:5 timeout:1\n", &["127.0.0.1:53"], &[], 5);
        check("options ndots:99\n", &["127.0.0.1:53"], &[], 15);
        check("options ndots:two\noptions\n", &["127.0.0.1:53"], &[], 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*|((nameserver|search|options|domain)[ \t][0-9a-z:.%#; \t]{0,30}\n){0,12}") {
            let config = parse(&text);
            prop_assert!((1..=MOST_RESOLVERS).contains(&config.resolvers.len()) && config.ndots <= MOST_NDOTS);
        }

        #[test]
        fn what_is_written_is_read(
            resolvers in proptest::collection::vec(any::<IpAddr>(), 1..MOST_RESOLVERS),
            search in proptest::collection::vec("[a-z]{1,9}\\.[a-z]{1,5}", 1..6),
            ndots in 0..=MOST_NDOTS,
        ) {
            let servers: String = resolvers.iter().map(|address| format!("nameserver {address}\n")).collect();
            let config = parse(&format!("{servers}search {}\noptions ndots:{ndots}\n", search.join(" ")));
            prop_assert_eq!(config.resolvers.iter().map(SocketAddr::ip).collect::<Vec<_>>(), resolvers);
            prop_assert_eq!((config.search, config.ndots), (search, ndots));
        }
    }
}
