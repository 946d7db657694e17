//! Layer 2 of this host: neighbour tables, neighbours that do not answer, and addresses that somebody else holds too.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::sample::{GatewaySample, NeighborTableSample};
use super::super::window::{Window, float};
use crate::Layer::L2;
use crate::observation::NeighborState;

/// An unanswered request older than this may have been answered had anybody asked again.
const FRESH_MS: u64 = 60_000;
/// A request that is out for so long is not being answered.
pub(in crate::host) const UNANSWERED_S: f64 = 0.4;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    for table in &window.after.neighbor_tables {
        let before = window.before.neighbor_tables.iter().find(|then| then.v6 == table.v6);
        fill(window, table, found);
        fulls(window, before, table, found);
    }
    entries(window, found);
    for gateway in window.after.gateways.iter().take(super::OBJECTS_MAX) {
        found.push(gateway_state(window, gateway));
    }
    for link in &window.after.links {
        for address in link.link.addresses.iter().filter(|address| address.ends_with(" dadfailed")) {
            let object = format!("{} on {}", address.trim_end_matches(" dadfailed"), link.link.iface);
            let mut reading = Reading::new(L2, "address.duplicate", object, Kind::Errors, Unit::Count);
            (reading.value, reading.state) = (Some(1.0), State::Crit);
            found.push(reading.saying(format!("{address} on {}: another station answered for it", link.link.iface)));
        }
    }
}

fn family(table: &NeighborTableSample) -> &'static str {
    if table.v6 { "ipv6" } else { "ipv4" }
}

fn fill(window: &Window<'_>, table: &NeighborTableSample, found: &mut Vec<Reading>) {
    let Some(entries) = table.entries else { return };
    let [_, _, most] = table.thresholds;
    let mut reading = Reading::new(L2, "neighbor.entries", family(table), Kind::Utilisation, Unit::Count)
        .filled(Some(float(entries)), most.map(float))
        .against(Threshold::percent(90.0, 100.0, "faultmap"))
        .at_most_warn();
    // Permanent entries do not count against the limit, and nothing tells how many there are in other namespaces.
    if most.is_some_and(|most| entries > most) {
        (reading.percent, reading.state) = (None, State::Ok);
    }
    // Without a collection that was forced, entries above the thresholds are ones that do not count.
    let before = window.before.neighbor_tables.iter().find(|then| then.v6 == table.v6);
    let forced = window.rise_of(before.and_then(|then| then.forced_gc_runs), table.forced_gc_runs);
    let limit = most.map(|most| format!(" of {most}")).unwrap_or_default();
    found.push(
        reading.unless(forced.unwrap_or(0) == 0).saying(format!("{entries}{limit} neighbours ({}) in the whole host", family(table))),
    );
}

fn fulls(window: &Window<'_>, before: Option<&NeighborTableSample>, table: &NeighborTableSample, found: &mut Vec<Reading>) {
    type Pick = fn(&NeighborTableSample) -> Option<u64>;
    let rows: [(&'static str, Pick, &str); 2] = [
        ("neighbor.table-fulls", |table| table.table_fulls, "neighbours refused because the table was full"),
        ("neighbor.unanswered", |table| table.resolution_failures, "neighbours that answered no request"),
    ];
    for (id, pick, words) in rows {
        let Some(total) = pick(table) else { continue };
        let rise = window.rise_of(before.and_then(pick), Some(total));
        let reading =
            Reading::new(L2, id, family(table), if id == "neighbor.table-fulls" { Kind::Saturation } else { Kind::Info }, Unit::Count)
                .rising(rise.map(float), window.per_second(rise), Some(float(total)));
        let reading = if id == "neighbor.table-fulls" { reading.against(Threshold::value(None, Some(1.0), "faultmap")) } else { reading };
        found.push(reading.saying(rise.map_or_else(|| NOT_KNOWN.to_owned(), |rise| format!("{rise} {words} ({})", family(table)))));
    }
}

fn entries(window: &Window<'_>, found: &mut Vec<Reading>) {
    if window.after.neighbors.is_empty() {
        return;
    }
    let count = |state: &str| window.after.neighbors.get(state).copied().unwrap_or(0);
    let failed = count("failed").saturating_add(count("incomplete"));
    let all = window.after.neighbors.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
    // A scan of the segment leaves as many of these as there are addresses: told, never judged.
    let reading = Reading::new(L2, "neighbor.unresolved", "", Kind::Info, Unit::Count).filled(Some(float(failed)), None);
    found.push(reading.saying(format!("{failed} of {all} neighbours of this namespace do not answer")));
}

/// It does not answer, and was asked within the last minute: by now, or over the whole interval.
pub(in crate::host) fn is_mute(window: &Window<'_>, gateway: &GatewaySample) -> bool {
    let asked = gateway.updated_ms.is_none_or(|age| age <= FRESH_MS);
    let then = window.before.gateways.iter().find(|then| then.address == gateway.address && then.iface == gateway.iface);
    let unanswered_then = then.is_some_and(|then| matches!(then.state, Some(NeighborState::Failed | NeighborState::Incomplete)));
    let long = window.seconds.is_some_and(|seconds| seconds >= UNANSWERED_S);
    match gateway.state {
        Some(NeighborState::Failed) => asked,
        // A request is out; a router answers within milliseconds.
        Some(NeighborState::Incomplete) => unanswered_then && long,
        _ => false,
    }
}

fn gateway_state(window: &Window<'_>, gateway: &GatewaySample) -> Reading {
    let object = format!("{} on {}", gateway.address, gateway.iface);
    let mut reading = Reading::new(L2, "gateway.state", &object, Kind::Errors, Unit::Count);
    let Some(state) = gateway.state else {
        return reading.saying(format!("{object}: its state is not known"));
    };
    let mute = is_mute(window, gateway);
    reading.value = Some(if mute { 1.0 } else { 0.0 });
    reading.state = if mute { State::Crit } else { State::Ok };
    let word = match state {
        _ if mute => "does not answer",
        NeighborState::Failed => "did not answer when it was last asked, over a minute ago",
        NeighborState::Incomplete => "is being asked for",
        NeighborState::None => "has not been needed yet",
        _ => "answers",
    };
    reading.saying(format!("{object} {word}"))
}
