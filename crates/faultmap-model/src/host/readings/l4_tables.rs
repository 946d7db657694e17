//! Layer 4 of this host, what has a limit: conntrack, ports, listen queues, TIME_WAIT, orphans, memory, descriptors.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::sample::{DestinationSample, ListenerSample, PortRange, ProcessFds};
use super::super::window::{Window, float};
use super::{OBJECTS_MAX, percent_text};
use crate::Layer::L4;
use std::cmp::Reverse;
use std::collections::BTreeSet;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    conntrack(window, found);
    ports(window, found);
    for listener in fullest_listeners(window) {
        found.push(accept_queue(listener));
        found.extend(syn_backlog(window, listener));
    }
    time_wait(window, found);
    memory(window, found);
    descriptors(window, found);
}

fn conntrack(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(now) = &window.after.conntrack else { return };
    let fill = Reading::new(L4, "conntrack.entries", "", Kind::Utilisation, Unit::Count)
        .filled(now.count.map(float), now.max.map(float))
        .against(Threshold::percent(75.0, 90.0, "node_exporter mixin (75), Netdata (90)"));
    let words = match (now.count, now.max) {
        (Some(count), Some(max)) => format!("conntrack holds {count} of {max} entries"),
        (Some(count), None) => format!("conntrack holds {count} entries; its limit is not known"),
        _ => "conntrack: not known".to_owned(),
    };
    found.push(fill.saying(words));
    let then = window.before.conntrack.as_ref().map(|then| &then.stats);
    for (id, names, words) in [
        ("conntrack.drops", &["drop", "early_drop"][..], "packets dropped or entries thrown out for want of room"),
        ("conntrack.insert-failed", &["insert_failed"][..], "connections that found no place in conntrack (no free NAT port, or a clash)"),
    ] {
        let rises = names.iter().filter_map(|name| window.rise_in(then?, &now.stats, name));
        let rise = rises.fold(None, |sum: Option<u64>, rise| Some(sum.unwrap_or(0).saturating_add(rise)));
        let total: u64 = names.iter().filter_map(|name| now.stats.get(*name)).fold(0, |sum, value| sum.saturating_add(*value));
        let reading = Reading::new(L4, id, "", Kind::Saturation, Unit::Count).rising(
            rise.map(float),
            window.per_second(rise),
            Some(float(total)).filter(|_| !now.stats.is_empty()),
        );
        found.push(reading.saying(rise.map_or_else(|| NOT_KNOWN.to_owned(), |rise| format!("{rise} {words}"))));
    }
}

/// Ports that cannot be taken again: with `tcp_tw_reuse` those in TIME_WAIT can (`tcp_twsk_unique`).
pub(in crate::host) fn ports_held(window: &Window<'_>, pair: &DestinationSample) -> u64 {
    let reused = match window.sysctl("net.ipv4.tcp_tw_reuse") {
        Some(1) => true,
        Some(2) => pair.destination.ip().to_canonical().is_loopback(),
        _ => false,
    };
    if reused { pair.used.saturating_sub(pair.time_wait) } else { pair.used }
}

fn ports(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(range) = window.after.ports else { return };
    let usable = range.usable();
    for pair in window.after.destinations.iter().take(16) {
        let held = ports_held(window, pair);
        let object = format!("{} -> {}", pair.source, pair.destination);
        let words = format!(
            "{} of {usable} ports used from {} to {}, {} left, {} in TIME_WAIT",
            pair.used,
            pair.source,
            pair.destination,
            usable.saturating_sub(held),
            pair.time_wait
        );
        found.push(port_reading(object, held, &range).saying(words));
    }
    if window.after.destinations.is_empty() && window.after.tcp.is_some() {
        found.push(port_reading(String::new(), 0, &range).saying(format!("0 of {usable} ports used")));
    }
}

fn port_reading(object: String, held: u64, range: &PortRange) -> Reading {
    Reading::new(L4, "ports.used", object, Kind::Utilisation, Unit::Count)
        .filled(Some(float(held)), Some(float(range.usable())))
        .against(Threshold::percent(70.0, 90.0, "faultmap"))
}

/// The fullest listeners first; of several on one address (SO_REUSEPORT) only the fullest.
pub(in crate::host) fn fullest_listeners<'a>(window: &Window<'a>) -> Vec<&'a ListenerSample> {
    let mut listeners: Vec<&ListenerSample> = window.after.listeners.iter().collect();
    let full = |listener: &ListenerSample| listener.waiting.saturating_mul(1000) / listener.limit.saturating_add(1);
    listeners.sort_by_key(|listener| (Reverse(full(listener)), Reverse(listener.half_open), listener.bound));
    let mut told = BTreeSet::new();
    listeners.retain(|listener| told.insert(listener.bound));
    listeners.truncate(OBJECTS_MAX);
    listeners
}

/// One more connection than the limit still fits (`sk_acceptq_is_full`).
fn accept_queue(listener: &ListenerSample) -> Reading {
    let room = listener.limit.saturating_add(1);
    let who = listener.program.as_deref().map(|program| format!(" ({program})")).unwrap_or_default();
    Reading::new(L4, "listener.accept-queue", listener.bound.to_string(), Kind::Utilisation, Unit::Count)
        .filled(Some(float(listener.waiting)), Some(float(room)))
        .against(Threshold::percent(50.0, 100.0, "faultmap"))
        .unless(listener.waiting < 2)
        .saying(format!("{}{who}: {} of {room} connections wait to be accepted", listener.bound, listener.waiting))
}

/// Half-open connections against what the listener takes before it sends cookies or drops (`inet_csk_reqsk_queue_is_full`).
fn syn_backlog(window: &Window<'_>, listener: &ListenerSample) -> Option<Reading> {
    // Most hosts have none at all; a row of zeroes for each listener tells nothing.
    if listener.half_open == 0 {
        return None;
    }
    let own = listener.limit.max(1);
    let cookies = window.sysctl("net.ipv4.tcp_syncookies");
    let backlog = window.sysctl("net.ipv4.tcp_max_syn_backlog");
    // Without cookies the last quarter is kept for peers that are known (`tcp_conn_request`).
    let limit = match (cookies, backlog) {
        (Some(0), Some(backlog)) => own.min((backlog / 4).saturating_mul(3).max(1)),
        _ => own,
    };
    let reading = Reading::new(L4, "listener.syn-backlog", listener.bound.to_string(), Kind::Utilisation, Unit::Count)
        .filled(Some(float(listener.half_open)), Some(float(limit)))
        .saying(format!("{}: {} of {limit} half-open connections", listener.bound, listener.half_open));
    // With cookies a full backlog turns nobody away.
    Some(if cookies == Some(0) { reading.against(Threshold::percent(80.0, 100.0, "faultmap")) } else { reading })
}

fn time_wait(window: &Window<'_>, found: &mut Vec<Reading>) {
    let (now, most) = (window.after.sockstat.get("TCP.tw").copied(), window.sysctl("net.ipv4.tcp_max_tw_buckets"));
    let Some(now) = now else { return };
    found.push(
        Reading::new(L4, "tcp.time-wait", "", Kind::Utilisation, Unit::Count)
            .filled(Some(float(now)), most.map(float))
            .against(Threshold::percent(80.0, 100.0, "faultmap"))
            .at_most_warn()
            .saying(format!("{now} connections in TIME_WAIT{}", most.map(|most| format!(" of {most}")).unwrap_or_default())),
    );
}

fn memory(window: &Window<'_>, found: &mut Vec<Reading>) {
    let orphans = window.after.sockstat.get("TCP.orphan").copied();
    if let Some(orphans) = orphans {
        let most = window.sysctl("net.ipv4.tcp_max_orphans");
        found.push(
            Reading::new(L4, "tcp.orphans", "", Kind::Utilisation, Unit::Count)
                .filled(Some(float(orphans)), most.map(float))
                .against(Threshold::percent(25.0, 50.0, "Netdata"))
                .saying(format!("{orphans} connections of the whole host that no program holds any more")),
        );
    }
    for (id, gauge, setting, name) in
        [("tcp.memory", "TCP.mem", "net.ipv4.tcp_mem", "TCP"), ("udp.memory", "UDP.mem", "net.ipv4.udp_mem", "UDP")]
    {
        let Some(pages) = window.after.sockstat.get(gauge).copied() else { continue };
        let limits = window.sysctl_numbers(setting);
        let reading = Reading::new(L4, id, "", Kind::Utilisation, Unit::Count)
            .filled(Some(float(pages)), limits.get(2).copied().map(float))
            .against(Threshold::percent(75.0, 90.0, "Netdata"));
        found.push(reading.saying(format!("{name} buffers hold {pages} pages of memory in the whole host")));
    }
    if let (Some(bytes), Some(most)) = (window.after.sockstat.get("FRAG.memory"), window.sysctl("net.ipv4.ipfrag_high_thresh")) {
        found.push(
            Reading::new(crate::Layer::L3, "fragments.memory", "", Kind::Utilisation, Unit::Bytes)
                .filled(Some(float(*bytes)), Some(float(most)))
                .against(Threshold::percent(75.0, 95.0, "faultmap"))
                .saying(format!("{bytes} of {most} bytes hold fragments of packets that are not whole yet")),
        );
    }
}

fn descriptors(window: &Window<'_>, found: &mut Vec<Reading>) {
    let fds = &window.after.fds;
    if let (Some(open), Some(most)) = (fds.host_open, fds.host_max) {
        found.push(
            Reading::new(L4, "fds.host", "", Kind::Utilisation, Unit::Count)
                .filled(Some(float(open)), Some(float(most)))
                .against(Threshold::percent(70.0, 90.0, "node_exporter mixin"))
                .saying(format!("{open} of {most} file descriptors of the host are open")),
        );
    }
    // Fullest first: of those far from their limit a few tell enough.
    let worth = |(place, process): &(usize, &ProcessFds)| *place < 3 || process.open.saturating_mul(2) >= process.limit;
    found.extend(fds.processes.iter().enumerate().filter(worth).map(|(_, process)| process_fds(process)));
}

fn process_fds(process: &ProcessFds) -> Reading {
    let object = format!("{}[{}]", process.program, process.pid);
    let reading = Reading::new(L4, "fds.process", &object, Kind::Utilisation, Unit::Count)
        .filled(Some(float(process.open)), Some(float(process.limit)))
        .against(Threshold::percent(95.0, 100.0, "Netdata (95)"));
    let share = percent_text(reading.percent.unwrap_or_default());
    let mut reading = reading.saying(format!("{object} holds {} of {} file descriptors: {share}", process.open, process.limit));
    if process.limit == 0 {
        reading.state = State::Unknown;
    }
    reading
}
