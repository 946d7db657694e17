//! Layer 3: packets without a route, answers that the reverse-path filter drops, fragments that are not made whole.

use super::super::advice;
use super::super::reading::State;
use super::super::window::float;
use super::{Finding, Read, Severity};

/// Events that it takes: a few stray packets are on every network.
const EVENTS_MIN: f64 = 5.0;

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    found.extend(no_route(read));
    found.extend(reverse_path(read));
    found.extend(fragments(read));
}

fn no_route(read: &Read<'_>) -> Option<Finding> {
    let v4 = read.one("ip.no-route.ipv4").filter(|reading| reading.state >= State::Warn && reading.value.is_some_and(|n| n >= EVENTS_MIN));
    let reading = v4.or_else(|| ipv6_misses_its_route(read))?;
    let v6 = reading.id == "ip.no-route.ipv6";
    let way_out = read.window.after.gateways.iter().any(|gateway| gateway.default && gateway.address.is_ipv6() == v6)
        || read.window.after.links.iter().any(|link| link.gateway_routes > 0 && !v6);
    let severity = if way_out { Severity::Warn } else { Severity::Crit };
    let tail = if way_out { "" } else { "; there is no default route" };
    Some(Finding::new("l3.no-route", severity, "", format!("{}{tail}.", reading.text)).losing().citing([reading]))
}

/// This host has an address of the IPv6 Internet (2000::/3).
pub(super) fn owns_global_ipv6(read: &Read<'_>) -> bool {
    let global = |address: &String| address.starts_with('2') || address.starts_with('3');
    let mut links = read.window.after.links.iter().filter(|link| !link.link.loopback);
    links.any(|link| link.link.addresses.iter().any(|address| address.contains(':') && global(address)))
}

/// Programs try IPv6 everywhere; that matters only where it could work.
fn ipv6_misses_its_route<'a>(read: &Read<'a>) -> Option<&'a super::super::reading::Reading> {
    let reading = read.one("ip.no-route.ipv6").filter(|_| owns_global_ipv6(read))?;
    (reading.value.is_some_and(|n| n >= EVENTS_MIN) && reading.per_second.is_some_and(|rate| rate >= 1.0)).then_some(reading)
}

fn reverse_path(read: &Read<'_>) -> Option<Finding> {
    let reading = read.one("ip.reverse-path-filter").filter(|reading| reading.state >= State::Warn)?;
    let lost = reading.value.filter(|lost| *lost >= EVENTS_MIN)?;
    let received = read.window.rise("Ip.InReceives").map(float).unwrap_or_default();
    // A stray sender with a false address is a trickle beside the rest.
    let share = lost / received.max(lost) * 100.0;
    if share < 1.0 {
        return None;
    }
    let severity = if share >= 20.0 { Severity::Crit } else { Severity::Warn };
    let finding = Finding::new("l3.rp-filter", severity, "", format!("{}.", reading.text)).losing().citing([reading]);
    Some(finding.advised(advice::rp_filter(read.window)))
}

fn fragments(read: &Read<'_>) -> Option<Finding> {
    let failed = read.one("ip.reassembly-failed").filter(|reading| reading.state >= State::Warn);
    let memory = read.one("fragments.memory");
    let full = memory.filter(|reading| reading.state >= State::Warn);
    let failed = failed.filter(|reading| reading.value.is_some_and(|n| n >= EVENTS_MIN))?;
    let asked = read.window.rises(&["Ip.ReasmReqds", "Ip6.ReasmReqds"]).map(float).unwrap_or_default();
    let share = failed.value.unwrap_or_default() / asked.max(1.0) * 100.0;
    if share < 5.0 && full.is_none() {
        return None;
    }
    let why = if full.is_some() { " The memory for fragments is full." } else { "" };
    let severity = if full.is_some() || share >= 50.0 { Severity::Crit } else { Severity::Warn };
    let finding =
        Finding::new("l3.fragments-dropped", severity, "", format!("{}.{why}", failed.text)).losing().citing([failed]).citing(full);
    Some(finding.advised(full.and_then(|_| advice::fragments(read.window))))
}
