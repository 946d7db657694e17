//! Layer 2: a full neighbour table, a router that does not answer, an address that another station holds.

use super::super::advice;
use super::super::reading::State;
use super::super::readings::l2::{UNANSWERED_S, is_mute};
use super::super::sample::UnreachedSample;
use super::{Finding, Read, Severity};

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    found.extend(table_full(read));
    gateways(read, found);
    found.extend(unreached(read));
    for reading in read.each("address.duplicate") {
        let words = format!("{}.", reading.text);
        found.push(Finding::new("l2.duplicate-address", Severity::Crit, &reading.object, words).citing([reading]));
    }
}

fn table_full(read: &Read<'_>) -> Option<Finding> {
    let refused = read
        .each("neighbor.table-fulls")
        .filter(|reading| reading.state == State::Crit)
        .max_by(|one, other| one.value.unwrap_or_default().total_cmp(&other.value.unwrap_or_default()));
    if let Some(reading) = refused {
        let entries = read.of("neighbor.entries", &reading.object);
        let words = format!(
            "The neighbour table ({}) of the whole host is full: {} neighbours could not be added.",
            reading.object,
            reading.value.unwrap_or_default()
        );
        let finding = Finding::new("l2.neighbor-table-full", Severity::Crit, &reading.object, words).losing();
        return Some(finding.citing([reading]).citing(entries).advised(advice::neighbors(read.window, &reading.object)));
    }
    let reading = read.each("neighbor.entries").find(|reading| reading.state >= State::Warn)?;
    let words = format!("The neighbour table ({}) is nearly full: {}.", reading.object, reading.text);
    let finding = Finding::new("l2.neighbor-table-full", Severity::Warn, &reading.object, words).citing([reading]);
    Some(finding.advised(advice::neighbors(read.window, &reading.object)))
}

fn gateways(read: &Read<'_>, found: &mut Vec<Finding>) {
    for gateway in read.window.after.gateways.iter().filter(|gateway| is_mute(read.window, gateway)) {
        let v6 = gateway.address.is_ipv6();
        if v6 && has_way_out(read, false) && !super::l3::owns_global_ipv6(read) {
            // Programs prefer IPv4 to a private IPv6 address for the Internet (RFC 6724): nobody misses this router.
            continue;
        }
        let lonely = !has_way_out(read, v6);
        // With the other family whole, what fails is a part.
        let severity = if gateway.default && lonely && !(v6 && has_way_out(read, false)) { Severity::Crit } else { Severity::Warn };
        let object = format!("{} on {}", gateway.address, gateway.iface);
        let role = if gateway.default { "router" } else { "next hop of a route" };
        let question = if v6 { "neighbour discovery" } else { "ARP" };
        let words = format!("The {role} {} on {} does not answer {question}.", gateway.address, gateway.iface);
        found.push(Finding::new("l2.gateway-unresolved", severity, &object, words).losing().citing(read.of("gateway.state", &object)));
    }
}

/// A station of the segment that programs of this host try to reach over the whole interval, and that does not answer.
fn unreached(read: &Read<'_>) -> Option<Finding> {
    let long = read.window.seconds.is_some_and(|seconds| seconds >= UNANSWERED_S);
    let router = |address| read.window.after.gateways.iter().any(|gateway| gateway.address == address);
    let lasting = |now: &&UnreachedSample| {
        let mut then = read.window.before.unreached.iter();
        !router(now.address) && then.any(|then| then.address == now.address && then.iface == now.iface)
    };
    let stations: Vec<&UnreachedSample> = read.window.after.unreached.iter().filter(lasting).collect();
    let first = stations.first().filter(|_| long)?;
    let others = stations.len().saturating_sub(1);
    let more = if others > 0 { format!(", nor do {others} others that are tried") } else { String::new() };
    let question = if first.address.is_ipv6() { "neighbour discovery" } else { "ARP" };
    let object = format!("{} on {}", first.address, first.iface);
    let words = format!("{object} does not answer {question}, though programs here try to connect to it{more}.");
    let finding = Finding::new("l2.neighbor-unresolved", Severity::Warn, object, words).losing();
    Some(finding.citing(read.one("neighbor.unresolved")))
}

/// A default router of this family that answers, as far as is known.
fn has_way_out(read: &Read<'_>, v6: bool) -> bool {
    let mut routers = read.window.after.gateways.iter().filter(|router| router.default && router.address.is_ipv6() == v6);
    routers.any(|router| !is_mute(read.window, router))
}
