//! Where an answer sends the check on to: another scheme, port or host than the one just asked, and whether to go there.
//!
//! What a server writes in a Location must not make the check speak for it within our own network: a name that leads to addresses nearer to
//! us than the server's own is shown and not followed, nor is any address literal.

use crate::{CheckOptions, dns};
use faultmap_model::observation::{HttpOutcome, Onward, Role};
use faultmap_model::{Observation, Seen, Target};
use std::net::IpAddr;
use std::time::Duration;

/// Places beyond the first; `http://` to `https://` to `www` is two.
const MOST_PLACES: usize = 3;
/// A place whose name takes longer to look up is not gone to: its addresses are unknown.
const LOOKUP_WAIT: Duration = Duration::from_secs(3);

/// The next place to check, with the options that hold there; nothing when the journey ends here. `been` ends with the place just checked.
pub(super) async fn next(been: &[Target], options: &CheckOptions, seen: &[Observation]) -> Option<(Onward, CheckOptions)> {
    let here = been.last()?;
    if been.len() > MOST_PLACES || !may_go_on(here, options) {
        return None;
    }
    let (status, url) = sent_on(here, seen)?;
    let target = Target::parse(url.as_str()).ok()?;
    if been.iter().any(|place| same_place(place, &target)) {
        return None;
    }
    let same_host = target.host.eq_ignore_ascii_case(&here.host);
    if !same_host && !may_be_gone_to(&target, seen).await {
        return None;
    }
    let mut there = options.clone();
    there.request_path = target.path.clone();
    there.credentials = None;
    if !same_host || !target.scheme.uses_tls() {
        there.headers.clear();
    }
    Some((Onward { status, target }, there))
}

/// A plain request that nobody tied to its first answer.
fn may_go_on(here: &Target, options: &CheckOptions) -> bool {
    let reads = options.method.eq_ignore_ascii_case("GET") || options.method.eq_ignore_ascii_case("HEAD");
    let first_only = options.expect_status.is_some() || options.expect_body.is_some() || options.peer.is_some();
    options.onward && reads && options.data.is_none() && here.scheme.uses_http() && !first_only
}

/// The last answer's redirect to another place, without user name, password and fragment.
fn sent_on(here: &Target, seen: &[Observation]) -> Option<(u16, url::Url)> {
    let response = seen.iter().rev().find_map(|o| match &o.seen {
        Seen::HttpExchange(http) if matches!(http.purpose.as_str(), "default" | "redirect") => Some(match &http.outcome {
            HttpOutcome::Response(response) => Some(response),
            _ => None,
        }),
        _ => None,
    })??;
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let base = url::Url::parse(&format!("{}://{}/", here.scheme.name(), here.host_port())).ok()?;
    let mut url = base.join(response.header("location")?).ok()?;
    let known = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !known || url.set_username("").is_err() || url.set_password(None).is_err() {
        return None;
    }
    url.set_fragment(None);
    Some((response.status, url))
}

fn same_place(one: &Target, other: &Target) -> bool {
    one.scheme == other.scheme && one.port == other.port && one.host.eq_ignore_ascii_case(&other.host)
}

async fn may_be_gone_to(target: &Target, seen: &[Observation]) -> bool {
    if target.literal().is_some() {
        return false;
    }
    let Some(from) = seen.iter().find_map(connected) else { return false };
    let lookup = dns::system(&target.host, LOOKUP_WAIT).await;
    lookup.addresses.iter().all(|to| distance(*to) >= distance(from) && distance(*to) > Distance::Link)
}

fn connected(observation: &Observation) -> Option<IpAddr> {
    match &observation.seen {
        Seen::TcpConnect(connect) if connect.role == Role::Target && connect.outcome.connected() => Some(connect.to.ip()),
        _ => None,
    }
}

/// How far from this host an address may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    /// This host, or its link: 127/8, 169.254/16 (where clouds keep their secrets), `fe80::`.
    Link,
    /// Our own network: RFC 1918, RFC 6598, RFC 4193.
    Network,
    /// Anywhere.
    World,
}

fn distance(ip: IpAddr) -> Distance {
    let ip = match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    let (link, network) = match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            (v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0, v4.is_private() || shared)
        }
        IpAddr::V6(v6) => (v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(), v6.is_unique_local()),
    };
    match (link, network) {
        (true, _) => Distance::Link,
        (_, true) => Distance::Network,
        _ => Distance::World,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_model::Layer;
    use faultmap_model::observation::{HttpExchange, HttpResponse};

    fn answer(status: u16, location: &str) -> Vec<Observation> {
        let headers = vec![("location".to_owned(), location.to_owned())];
        let exchange = HttpExchange {
            to: "10.2.0.10:80".parse().expect("an address"),
            method: "GET".to_owned(),
            url: "http://shop.test/".to_owned(),
            purpose: "default".to_owned(),
            version: "HTTP/1.1".to_owned(),
            outcome: HttpOutcome::Response(Box::new(HttpResponse { status, headers, ..HttpResponse::default() })),
            tcp: None,
        };
        vec![Observation { id: 1, layer: Layer::L7, at_ms: 0.0, took_ms: 1.0, seen: exchange.into() }]
    }

    #[test]
    fn only_a_redirect_to_another_place_leads_on() {
        let here = Target::parse("http://shop.test/").expect("a target");
        let to = |status, location: &str| sent_on(&here, &answer(status, location)).map(|(_, url)| url.to_string());
        assert_eq!(to(301, "https://shop.test/#top").as_deref(), Some("https://shop.test/"));
        assert_eq!(to(302, "//www.shop.test/a?b=1").as_deref(), Some("http://www.shop.test/a?b=1"));
        assert_eq!(to(302, "https://me:secret@sso.test/").as_deref(), Some("https://sso.test/"));
        for (status, location) in
            [(200, "https://shop.test/"), (304, "https://shop.test/"), (302, "file:///etc/passwd"), (302, "mailto:a@b")]
        {
            assert_eq!(to(status, location), None, "{status} {location}");
        }
    }

    #[test]
    fn an_answer_from_far_leads_to_no_place_nearer_to_us() {
        let far = |text: &str| distance(text.parse().expect("an address"));
        for (text, expect) in [
            ("127.0.0.1", Distance::Link),
            ("169.254.169.254", Distance::Link),
            ("::ffff:127.0.0.1", Distance::Link),
            ("fe80::1", Distance::Link),
            ("10.1.2.3", Distance::Network),
            ("100.64.0.1", Distance::Network),
            ("fd00::1", Distance::Network),
            ("93.184.216.34", Distance::World),
            ("2001:db8::1", Distance::World),
        ] {
            assert_eq!(far(text), expect, "{text}");
        }
        assert!(Distance::World > Distance::Network && Distance::Network > Distance::Link);
    }
}
