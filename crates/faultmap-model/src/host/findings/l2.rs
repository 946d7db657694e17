//! Layer 2: a full neighbour table, a router that does not answer, an address that another station holds.

use super::super::advice;
use super::super::reading::State;
use super::super::readings::l2::is_mute;
use super::{Finding, Read, Severity};

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    found.extend(table_full(read));
    gateways(read, found);
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

/// A default router of this family that answers, as far as is known.
fn has_way_out(read: &Read<'_>, v6: bool) -> bool {
    let mut routers = read.window.after.gateways.iter().filter(|router| router.default && router.address.is_ipv6() == v6);
    routers.any(|router| !is_mute(read.window, router))
}
