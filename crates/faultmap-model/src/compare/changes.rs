//! What is different between two checks, one entry for each difference.

use super::{path_change, round_trip_rose};
use crate::Layer;
use crate::observation::Facts;
use crate::verdict::{Status, Verdict};
use serde::Serialize;
use std::fmt::Display;

/// How much a difference matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Happens by itself: a renewed certificate, a rotated address, another of several paths.
    Note,
    /// It got better.
    Better,
    /// Somebody changed something.
    Changed,
    /// It got worse.
    Worse,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The layer that it is of.
    pub layer: Layer,
    /// What differs, a stable word: `verdict`, `resolvers`, `addresses`, `interface`, `gateway`, `mtu`, `path-mtu`, `path`, `round-trip`,
    /// `dns-time`, `tls-time`, `answer-time`, `tls-version`, `alpn`, `cipher`, `certificate`, `issuer`, `server`, `http-version`, `http-status`.
    pub what: &'static str,
    /// How it was.
    pub before: String,
    /// How it is.
    pub after: String,
    /// How much it matters.
    pub weight: Weight,
    /// One sentence.
    pub text: String,
}

impl Change {
    pub(super) fn new(layer: Layer, what: &'static str, weight: Weight, before: impl Display, after: impl Display, text: String) -> Self {
        Self { layer, what, before: before.to_string(), after: after.to_string(), weight, text }
    }

    /// It is more than chance or routine.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.weight != Weight::Note
    }
}

/// Slower by a ratio and by an amount.
pub(super) fn slower(before: f64, after: f64, ratio: f64, amount_ms: f64) -> bool {
    after >= before * ratio && after - before >= amount_ms
}

/// Every difference between two checks, lowest layer first.
#[must_use]
pub fn changes(before: &Facts, after: &Facts) -> Vec<Change> {
    let mut found = Vec::new();
    network(before, after, &mut found);
    path(before, after, &mut found);
    times(before, after, &mut found);
    presentation(before, after, &mut found);
    application(before, after, &mut found);
    found.sort_by_key(|change| change.layer);
    found
}

/// The verdicts differ in status or cause.
pub(super) fn verdicts((status, cause): (Status, Option<&str>), now: &Verdict) -> Option<Change> {
    if status == now.status && cause == now.cause.as_deref() {
        return None;
    }
    let weight = match crate::many::rank(now.status).cmp(&crate::many::rank(status)) {
        std::cmp::Ordering::Less => Weight::Worse,
        std::cmp::Ordering::Equal => Weight::Changed,
        std::cmp::Ordering::Greater => Weight::Better,
    };
    let layer = now.layer.unwrap_or(Layer::L7);
    let (before, after) = (called(status, cause), called(now.status, now.cause.as_deref()));
    let text = format!("The verdict was {before}, is {after}.");
    Some(Change::new(layer, "verdict", weight, before, after, text))
}

/// `fault (l4.port-closed)`
pub(super) fn called(status: Status, cause: Option<&str>) -> String {
    let word = status.word();
    cause.map_or_else(|| word.to_owned(), |cause| format!("{word} ({cause})"))
}

/// A fact that is simply another one.
struct Differ<'a, T> {
    layer: Layer,
    what: &'static str,
    name: &'static str,
    weight: Weight,
    pair: (Option<&'a T>, Option<&'a T>),
}

impl<T: PartialEq + Display> Differ<'_, T> {
    fn note(self, found: &mut Vec<Change>) {
        if let (Some(before), Some(after)) = self.pair
            && before != after
        {
            let text = format!("{} was {before}, is {after}.", self.name);
            found.push(Change::new(self.layer, self.what, self.weight, before, after, text));
        }
    }
}

fn network(before: &Facts, after: &Facts, found: &mut Vec<Change>) {
    let pair = (before.iface.as_ref(), after.iface.as_ref());
    Differ { layer: Layer::L1, what: "interface", name: "The outgoing interface", weight: Weight::Changed, pair }.note(found);
    let pair = (before.mtu.as_ref(), after.mtu.as_ref());
    Differ { layer: Layer::L2, what: "mtu", name: "The interface's MTU", weight: Weight::Changed, pair }.note(found);
    let pair = (before.gateway.as_ref(), after.gateway.as_ref());
    Differ { layer: Layer::L3, what: "gateway", name: "The next-hop router", weight: Weight::Changed, pair }.note(found);
    if let (Some(then), Some(now)) = (before.pmtu, after.pmtu).filter_same(before, after)
        && then != now
    {
        let weight = if now < then { Weight::Worse } else { Weight::Better };
        found.push(Change::new(Layer::L3, "path-mtu", weight, then, now, format!("The path MTU was {then} bytes, is {now}.")));
    }
}

/// Facts of a connection can be compared when it went to the same address.
trait SameAddress: Sized {
    fn filter_same(self, before: &Facts, after: &Facts) -> Self;
}

impl<T> SameAddress for (Option<T>, Option<T>) {
    fn filter_same(self, before: &Facts, after: &Facts) -> Self {
        if before.to.map(|to| to.ip()) == after.to.map(|to| to.ip()) { self } else { (None, None) }
    }
}

fn path(before: &Facts, after: &Facts, found: &mut Vec<Change>) {
    let rose = round_trip_rose(before, after);
    if let Some(change) = path_change(before, after) {
        // Packets of one length and one round trip may take either of two equal paths, today this one, tomorrow that.
        let weight = match (rose, change.length) {
            (Some(_), _) => Weight::Worse,
            (None, Some(_)) => Weight::Changed,
            (None, None) => Weight::Note,
        };
        let hops = |hops: u8| format!("{hops} hop{}", if hops == 1 { "" } else { "s" });
        let text = match (change.length, change.reroute) {
            (Some((then, now)), Some((ttl, was, is))) => {
                format!("The path had {}, has {now}; it parts at hop {ttl}, where {was} was and {is} is.", hops(then))
            }
            (Some((then, now)), None) => format!("The path had {}, has {now}.", hops(then)),
            (None, Some((ttl, was, is))) => format!("The path goes another way from hop {ttl} on, where {was} was and {is} is."),
            (None, None) => return,
        };
        found.push(Change::new(Layer::L3, "path", weight, routers(before), routers(after), text));
    }
    if let Some((then, now)) = rose {
        let text = format!("A round trip took {then:.1} ms, takes {now:.1}.");
        found.push(Change::new(Layer::L3, "round-trip", Weight::Worse, ms(then), ms(now), text));
    } else if let Some((now, then)) = round_trip_rose(after, before) {
        let text = format!("A round trip took {then:.1} ms, takes {now:.1}.");
        found.push(Change::new(Layer::L3, "round-trip", Weight::Better, ms(then), ms(now), text));
    }
}

/// `10.0.1.1 10.0.12.2 *`
fn routers(facts: &Facts) -> String {
    let hop = |hop: &crate::observation::HopFact| {
        let all: Vec<String> = hop.routers.iter().map(ToString::to_string).collect();
        if all.is_empty() { "*".to_owned() } else { all.join("|") }
    };
    facts.hops.iter().map(hop).collect::<Vec<_>>().join(" ")
}

fn ms(value: f64) -> String {
    format!("{value:.1} ms")
}

/// One reading each, so the margins are wide: twice and more, and as much as a person notices.
fn times(before: &Facts, after: &Facts, found: &mut Vec<Change>) {
    let rows = [
        (Layer::L7, "dns-time", "Name resolution", before.dns_ms, after.dns_ms, 3.0, 100.0),
        (Layer::L6, "tls-time", "The TLS handshake", before.tls_ms, after.tls_ms, 2.0, 80.0),
        (Layer::L7, "answer-time", "The answer", before.ttfb_ms, after.ttfb_ms, 2.5, 150.0),
    ];
    for (layer, what, name, then, now, ratio, amount) in rows {
        let (Some(then), Some(now)) = (then, now) else { continue };
        let weight = match () {
            () if slower(then, now, ratio, amount) => Weight::Worse,
            () if slower(now, then, ratio, amount) => Weight::Better,
            () => continue,
        };
        found.push(Change::new(layer, what, weight, ms(then), ms(now), format!("{name} took {then:.0} ms, takes {now:.0}.")));
    }
}

fn presentation(before: &Facts, after: &Facts, found: &mut Vec<Change>) {
    if let (Some(then), Some(now)) = (&before.tls_version, &after.tls_version)
        && then != now
    {
        // `TLS 1.2` sorts before `TLS 1.3`.
        let weight = if now < then { Weight::Worse } else { Weight::Better };
        found.push(Change::new(Layer::L6, "tls-version", weight, then, now, format!("The TLS version was {then}, is {now}.")));
    }
    let pair = (before.tls_cipher.as_ref(), after.tls_cipher.as_ref());
    Differ { layer: Layer::L6, what: "cipher", name: "The cipher suite", weight: Weight::Note, pair }.note(found);
    let pair = (before.alpn.as_ref(), after.alpn.as_ref());
    Differ { layer: Layer::L6, what: "alpn", name: "The protocol chosen by ALPN", weight: Weight::Changed, pair }.note(found);
    let pair = (before.issuer.as_ref(), after.issuer.as_ref());
    Differ { layer: Layer::L6, what: "issuer", name: "The certificate's issuer", weight: Weight::Changed, pair }.note(found);
    if let (Some(then), Some(now)) = (&before.certificate, &after.certificate)
        && then != now
    {
        let renewed = before.issuer == after.issuer && after.not_after_unix > before.not_after_unix;
        let (weight, text) = if renewed {
            (Weight::Note, "The certificate was renewed by the same issuer.")
        } else {
            (Weight::Changed, "The certificate is another one.")
        };
        found.push(Change::new(Layer::L6, "certificate", weight, then, now, text.to_owned()));
    }
}

fn application(before: &Facts, after: &Facts, found: &mut Vec<Change>) {
    if !before.resolvers.is_empty() && !after.resolvers.is_empty() && before.resolvers != after.resolvers {
        let (then, now) = (list(&before.resolvers), list(&after.resolvers));
        found.push(Change::new(Layer::L7, "resolvers", Weight::Changed, &then, &now, format!("The resolvers were {then}, are {now}.")));
    }
    if !before.addresses.is_empty() && !after.addresses.is_empty() && before.addresses != after.addresses {
        let rotated = before.addresses.iter().any(|address| after.addresses.contains(address));
        let weight = if rotated { Weight::Note } else { Weight::Changed };
        let (then, now) = (list(&before.addresses), list(&after.addresses));
        found.push(Change::new(Layer::L7, "addresses", weight, &then, &now, format!("The name had {then}, has {now}.")));
    }
    let pair = (before.server.as_ref(), after.server.as_ref());
    Differ { layer: Layer::L7, what: "server", name: "The Server header", weight: Weight::Changed, pair }.note(found);
    let pair = (before.http_version.as_ref(), after.http_version.as_ref());
    Differ { layer: Layer::L7, what: "http-version", name: "The HTTP version", weight: Weight::Changed, pair }.note(found);
    let pair = (before.http_status.as_ref(), after.http_status.as_ref());
    Differ { layer: Layer::L7, what: "http-status", name: "The HTTP status", weight: Weight::Changed, pair }.note(found);
}

fn list<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::HopFact;

    fn hop(routers: &[&str], best_ms: f64) -> HopFact {
        HopFact { routers: routers.iter().map(|ip| ip.parse().expect("ip")).collect(), best_ms: Some(best_ms) }
    }

    /// Three routers to a server 12 ms away.
    fn usual() -> Facts {
        Facts {
            addresses: vec!["10.2.0.10".parse().expect("ip"), "10.2.0.11".parse().expect("ip")],
            to: Some("10.2.0.10:443".parse().expect("addr")),
            resolvers: vec!["10.1.0.53:53".parse().expect("addr")],
            iface: Some("eth0".to_owned()),
            mtu: Some(1500),
            gateway: Some("10.1.0.1".parse().expect("ip")),
            pmtu: Some(1500),
            hops: vec![hop(&["10.1.0.1"], 0.4), hop(&["10.9.0.2"], 4.0), hop(&["10.9.1.2"], 11.0)],
            distance: Some((4, 4)),
            rtt_ms: Some(12.0),
            dns_ms: Some(1.0),
            tls_ms: Some(26.0),
            ttfb_ms: Some(15.0),
            tls_version: Some("TLS 1.3".to_owned()),
            tls_cipher: Some("TLS13_AES_256_GCM_SHA384".to_owned()),
            alpn: Some("h2".to_owned()),
            certificate: Some("aa".to_owned()),
            issuer: Some("CN=Intermediate".to_owned()),
            not_after_unix: Some(100),
            server: Some("nginx".to_owned()),
            http_version: Some("HTTP/2".to_owned()),
            http_status: Some(200),
        }
    }

    fn check(change: impl Fn(&mut Facts), expect: &[(&str, Weight)]) {
        let mut after = usual();
        change(&mut after);
        let found: Vec<(&str, Weight)> = changes(&usual(), &after).iter().map(|change| (change.what, change.weight)).collect();
        assert_eq!(found, expect);
        // What cannot be known is no change, in either direction.
        assert_eq!((changes(&Facts::default(), &after), changes(&after, &Facts::default())), (Vec::new(), Vec::new()));
    }

    #[test]
    fn jitter_is_no_change() {
        check(|_| {}, &[]);
        check(
            |facts| {
                facts.rtt_ms = Some(19.0);
                facts.dns_ms = Some(48.0);
                facts.tls_ms = Some(70.0);
                facts.ttfb_ms = Some(120.0);
                facts.hops[1].best_ms = Some(40.0);
            },
            &[],
        );
    }

    #[test]
    fn a_longer_path_that_costs_time_is_worse_and_one_that_does_not_is_a_change() {
        let longer = |facts: &mut Facts| {
            facts.hops.insert(1, hop(&["10.8.0.9"], 30.0));
            facts.distance = Some((5, 5));
        };
        check(longer, &[("path", Weight::Changed)]);
        check(
            |facts| {
                longer(facts);
                facts.rtt_ms = Some(52.0);
            },
            &[("path", Weight::Worse), ("round-trip", Weight::Worse)],
        );
    }

    #[test]
    fn packets_spread_over_equal_paths_are_no_reroute() {
        check(|facts| facts.hops[1] = hop(&["10.9.0.2", "10.9.0.6"], 4.0), &[]);
        check(|facts| facts.hops[1] = hop(&[], 4.0), &[]);
        check(|facts| facts.hops[1] = hop(&["10.9.0.6"], 4.0), &[("path", Weight::Note)]);
    }

    #[test]
    fn a_path_to_another_address_is_not_compared() {
        check(
            |facts| {
                facts.to = Some("10.2.0.11:443".parse().expect("addr"));
                facts.hops[1] = hop(&["10.9.0.6"], 4.0);
                facts.distance = Some((9, 9));
                facts.pmtu = Some(1400);
            },
            &[],
        );
    }

    #[test]
    fn what_happens_by_itself_is_a_note() {
        check(|facts| facts.addresses[0] = "10.2.0.99".parse().expect("ip"), &[("addresses", Weight::Note)]);
        check(
            |facts| {
                facts.certificate = Some("bb".to_owned());
                facts.not_after_unix = Some(200);
            },
            &[("certificate", Weight::Note)],
        );
    }

    #[test]
    fn what_somebody_changed_is_told_at_its_layer() {
        check(
            |facts| {
                facts.mtu = Some(9000);
                facts.gateway = Some("10.1.0.2".parse().expect("ip"));
                facts.pmtu = Some(1400);
                facts.tls_version = Some("TLS 1.2".to_owned());
                facts.issuer = Some("CN=Proxy".to_owned());
                facts.certificate = Some("bb".to_owned());
                facts.resolvers.push("9.9.9.9:53".parse().expect("addr"));
                facts.server = Some("envoy".to_owned());
                facts.http_status = Some(404);
                facts.ttfb_ms = Some(900.0);
            },
            &[
                ("mtu", Weight::Changed),
                ("gateway", Weight::Changed),
                ("path-mtu", Weight::Worse),
                ("tls-version", Weight::Worse),
                ("issuer", Weight::Changed),
                ("certificate", Weight::Changed),
                ("answer-time", Weight::Worse),
                ("resolvers", Weight::Changed),
                ("server", Weight::Changed),
                ("http-status", Weight::Changed),
            ],
        );
    }
}
