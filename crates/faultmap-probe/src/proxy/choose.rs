//! Which proxy a target goes through, by the variables that curl reads (curl(1), "environment") or by `--proxy`. Pure.
//!
//! `http_proxy` counts in lower case only: a CGI program gets the request's header `Proxy:` as HTTP_PROXY. `tcp://`, `tls://` and the
//! databases' own clients know no proxy variables: they go through one only when `--proxy` says so.

use super::Proxy;
use crate::dialogue::Credentials;
use faultmap_model::observation::ProxyProtocol;
use faultmap_model::{Scheme, Target};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;

/// curl's port for a proxy whose URL names none, whatever its scheme.
const DEFAULT_PORT: u16 = 1080;

/// The way to the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// No proxy is configured for it.
    #[default]
    Direct,
    /// One is configured, and an entry of NO_PROXY covers the target.
    Exempt {
        /// The proxy that is not used.
        proxy: Proxy,
        /// The entry.
        entry: String,
    },
    /// Through this one.
    Via(Proxy),
}

/// What is configured is no proxy that can be used. The text never quotes credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// A scheme that is not spoken.
    #[error(
        "{by}: a proxy of kind {scheme}:// is not supported; supported are http://, socks5:// and socks5h:// (--no-proxy checks the direct way)"
    )]
    Scheme {
        /// Where it is configured.
        by: String,
        /// Its scheme.
        scheme: String,
    },
    /// No URL of a proxy.
    #[error(
        "{by}: not the URL of a proxy; write http://[USER:PASSWORD@]HOST:PORT, reserved characters as %XX (--no-proxy checks the direct way)"
    )]
    Malformed {
        /// Where it is configured.
        by: String,
    },
    /// The target's protocol does not run on TCP.
    #[error("--proxy: {0}:// does not run through a proxy; leave --proxy out")]
    NotOverTcp(&'static str),
}

/// Finds the proxy for a target: `explicit` is the value of `--proxy`, `variable` looks up the environment.
///
/// # Errors
/// What is configured for this target is no proxy that can be used.
pub fn choose(target: &Target, explicit: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Choice, BadProxy> {
    if let Some(url) = explicit {
        return match target.scheme.uses_tcp() {
            true => Ok(parse(url, "--proxy", target.scheme)?.map_or(Choice::Direct, Choice::Via)),
            false => Err(BadProxy::NotOverTcp(target.scheme.name())),
        };
    }
    let found = names(target.scheme).iter().find_map(|name| variable(name).map(|value| (*name, value)));
    let Some((by, value)) = found else { return Ok(Choice::Direct) };
    // Of an empty variable curl makes "no proxy", and looks no further.
    let Some(proxy) = parse(&value, by, target.scheme)? else { return Ok(Choice::Direct) };
    let exempt = variable("no_proxy").or_else(|| variable("NO_PROXY")).and_then(|list| exempting(&list, target));
    Ok(match exempt {
        Some(entry) => Choice::Exempt { proxy, entry },
        None => Choice::Via(proxy),
    })
}

/// The variables for a scheme, the one that wins first.
const fn names(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::Https => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Http => &["http_proxy", "all_proxy", "ALL_PROXY"],
        Scheme::Wss => &["wss_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Ws => &["ws_proxy", "http_proxy", "all_proxy", "ALL_PROXY"],
        // The core libraries of gRPC read these, for both schemes.
        Scheme::Grpcs | Scheme::Grpc => &["grpc_proxy", "https_proxy", "HTTPS_PROXY", "http_proxy"],
        _ => &[],
    }
}

fn parse(url: &str, by: &str, scheme: Scheme) -> Result<Option<Proxy>, BadProxy> {
    let malformed = || BadProxy::Malformed { by: by.to_owned() };
    let url = url.trim();
    if url.is_empty() {
        return Ok(None);
    }
    let (kind, rest) = url.split_once("://").unwrap_or(("http", url));
    let protocol = match kind.to_ascii_lowercase().as_str() {
        "http" => ProxyProtocol::Http,
        "socks5" => ProxyProtocol::Socks5,
        "socks5h" => ProxyProtocol::Socks5h,
        other if !other.is_empty() && other.len() < 16 && other.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            return Err(BadProxy::Scheme { by: by.to_owned(), scheme: other.to_owned() });
        }
        _ => return Err(malformed()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user_info, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let (host, port) = split_port(place).ok_or_else(malformed)?;
    if host.is_empty() || host.len() > 253 || !host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%')) {
        return Err(malformed());
    }
    let credentials = user_info.filter(|user| !user.is_empty()).map(login);
    let forwards = protocol == ProxyProtocol::Http && scheme == Scheme::Http;
    Ok(Some(Proxy { protocol, host: host.to_owned(), port, credentials, configured_by: by.to_owned(), forwards }))
}

fn split_port(place: &str) -> Option<(&str, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    match port {
        None | Some("") => Some((host, DEFAULT_PORT)),
        Some(port) => port.parse().ok().filter(|port| *port > 0).map(|port| (host, port)),
    }
}

fn login(user_info: &str) -> Credentials {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = user_info.split_once(':').map_or((user_info, None), |(user, password)| (user, Some(password)));
    Credentials { user: plain(user), password: password.map(plain) }
}

/// The entry of a NO_PROXY list that covers the target: `*`; a name, which covers its subdomains; an address or a prefix; each with `:PORT` or not.
fn exempting(list: &str, target: &Target) -> Option<String> {
    let list = list.trim();
    let mut entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    entries.find(|entry| *entry == "*" || covers(entry, target)).map(|entry| entry.chars().take(80).collect())
}

fn covers(entry: &str, target: &Target) -> bool {
    let (place, port) = split_entry(entry);
    if port.is_some_and(|port| port != target.port) {
        return false;
    }
    match target.literal() {
        Some(ip) => within(place, ip),
        None => {
            let name = target.host.trim_end_matches('.').to_ascii_lowercase();
            let place = place.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
            !place.is_empty() && name.strip_suffix(&place).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
    }
}

/// The entry without its port, if it has one.
fn split_entry(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, after)) = entry.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return (host, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// An address, or one within a prefix (CIDR).
fn within(place: &str, ip: IpAddr) -> bool {
    let (base, bits) = place.split_once('/').map_or((place, None), |(base, bits)| (base, Some(bits)));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let Some(bits) = bits else { return base == ip };
    let Ok(bits) = bits.parse::<u32>() else { return false };
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) if bits <= 32 => (u32::from(base) ^ u32::from(ip)).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(base), IpAddr::V6(ip)) if bits <= 128 => (u128::from(base) ^ u128::from(ip)).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chosen(target: &str, set: &[(&str, &str)]) -> Result<Choice, BadProxy> {
        let target = Target::parse(target).expect("target");
        choose(&target, None, |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn way(target: &str, set: &[(&str, &str)]) -> String {
        match chosen(target, set).expect("choice") {
            Choice::Direct => "direct".to_owned(),
            Choice::Exempt { entry, .. } => format!("exempt by {entry}"),
            Choice::Via(proxy) => format!("{:?} {}:{} by {}", proxy.protocol, proxy.host, proxy.port, proxy.configured_by),
        }
    }

    #[test]
    fn the_variables_are_those_of_curl() {
        let proxy = "http://p.test:3128";
        let by = |name: &str| format!("Http p.test:3128 by {name}");
        assert_eq!(way("https://shop.test/", &[("HTTPS_PROXY", proxy)]), by("HTTPS_PROXY"));
        assert_eq!(way("https://shop.test/", &[("https_proxy", proxy), ("HTTPS_PROXY", "http://other.test")]), by("https_proxy"));
        assert_eq!(way("https://shop.test/", &[("https_proxy", ""), ("ALL_PROXY", proxy)]), "direct");
        assert_eq!(way("http://shop.test/", &[("HTTP_PROXY", proxy)]), "direct");
        assert_eq!(way("http://shop.test/", &[("http_proxy", proxy)]), by("http_proxy"));
        assert_eq!(way("wss://shop.test/", &[("HTTPS_PROXY", proxy)]), by("HTTPS_PROXY"));
        assert_eq!(way("grpc://shop.test/", &[("HTTPS_PROXY", proxy)]), by("HTTPS_PROXY"));
        assert_eq!(way("https://shop.test/", &[("ALL_PROXY", "socks5h://p.test")]), "Socks5h p.test:1080 by ALL_PROXY");
        assert_eq!(way("https://shop.test/", &[("https_proxy", "p.test:3128")]), by("https_proxy"));
        assert_eq!(way("https://shop.test/", &[("https_proxy", "http://[fd00::1]:3128/")]), "Http fd00::1:3128 by https_proxy");
        for target in ["db.test:5432", "tcp://db.test:9", "tls://shop.test", "icmp://shop.test"] {
            assert_eq!(way(target, &[("ALL_PROXY", proxy)]), "direct", "{target}");
        }
    }

    #[test]
    fn no_proxy_covers_names_their_subdomains_addresses_and_prefixes() {
        let cases: &[(&str, &str, bool)] = &[
            ("https://shop.test/", "shop.test", true),
            ("https://api.shop.test/", "shop.test", true),
            ("https://api.shop.test/", ".shop.test", true),
            ("https://api.shop.test/", "*.shop.test", true),
            ("https://myshop.test/", "shop.test", false),
            ("https://shop.test./", "SHOP.test.", true),
            ("https://shop.test/", "other.test, shop.test", true),
            ("https://shop.test/", "other.test shop.test", true),
            ("https://shop.test/", "*", true),
            ("https://shop.test/", "shop.test:443", true),
            ("https://shop.test/", "shop.test:8443", false),
            ("https://10.2.0.10/", "10.2.0.0/16", true),
            ("https://10.2.0.10/", "10.3.0.0/16", false),
            ("https://10.2.0.10/", "0.0.0.0/0", true),
            ("https://10.2.0.10/", "10.2.0.10:443", true),
            ("https://10.2.0.10/", "10.2", false),
            ("https://[fd00::1]/", "fd00::/8", true),
            ("https://[fd00::1]/", "[fd00::1]:443", true),
            ("https://shop.test/", "10.0.0.0/8", false),
            ("https://shop.test/", "", false),
        ];
        for (target, list, exempt) in cases {
            let way = way(target, &[("HTTPS_PROXY", "http://p.test:1"), ("NO_PROXY", list)]);
            assert_eq!(way.starts_with("exempt"), *exempt, "{target} {list}");
        }
        assert_eq!(
            way("https://shop.test/", &[("HTTPS_PROXY", "p.test:1"), ("no_proxy", "a"), ("NO_PROXY", "*")]),
            "Http p.test:1 by HTTPS_PROXY"
        );
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_quoted() {
        for url in ["https://me:s3cret@p.test", "socks4://p.test", "http://me:s3cret@p.test:99999", "http://me:s3cret@p te:1", "http://:80"]
        {
            let error = chosen("https://shop.test/", &[("https_proxy", url)]).expect_err(url).to_string();
            assert!(error.starts_with("https_proxy: ") && !error.contains("s3cret"), "{error}");
        }
        let target = Target::parse("icmp://shop.test").expect("target");
        assert_eq!(choose(&target, Some("http://p.test:1"), |_| None), Err(BadProxy::NotOverTcp("icmp")));
    }

    #[test]
    fn credentials_are_decoded_and_hidden() {
        let Ok(Choice::Via(proxy)) = chosen("https://shop.test/", &[("https_proxy", "http://me:s3%40cret@p.test:1")]) else {
            panic!("proxy")
        };
        assert_eq!(proxy.authorization().expect("login"), "Basic bWU6czNAY3JldA==");
        assert!(!format!("{proxy:?}{:?}", proxy.shown(None)).contains("s3"));
    }

    proptest! {
        #[test]
        fn no_setting_makes_it_panic(url in "\\PC{0,40}", list in "\\PC{0,40}") {
            let _ = chosen("https://shop.test/", &[("https_proxy", &url), ("no_proxy", &list)]);
            let _ = chosen("https://10.0.0.1/", &[("https_proxy", "p"), ("no_proxy", &list)]);
        }
    }
}
