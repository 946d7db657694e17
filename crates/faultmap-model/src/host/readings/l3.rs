//! Layer 3 of this host: packets without a route, discarded, not reassembled, filtered by reverse path; learned MTUs.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::window::{Window, float};
use super::Counted;
use crate::Layer::L3;

/// Learned path MTUs shown.
const MTUS_MAX: usize = 16;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    for counted in counters() {
        found.push(counted.read(window));
    }
    if let Some(filter) = window.after.counters.get("TcpExt.IPReversePathFilter") {
        let rise = window.rise("TcpExt.IPReversePathFilter");
        let reading = Reading::new(L3, "ip.reverse-path-filter", "", Kind::Errors, Unit::Count)
            .rising(rise.map(float), window.per_second(rise), Some(float(*filter)))
            .against(Threshold::per_second(Some(5.0), None, "faultmap"));
        found.push(reading.saying(rise.map_or_else(
            || NOT_KNOWN.to_owned(),
            |rise| format!("{rise} packets dropped because the answer would leave by another interface"),
        )));
    }
    for learned in window.after.learned_mtus.iter().take(MTUS_MAX) {
        let mut reading = Reading::new(L3, "path.mtu", learned.destination.to_string(), Kind::Info, Unit::Bytes);
        (reading.value, reading.limit) = (Some(f64::from(learned.mtu)), learned.link_mtu.map(f64::from));
        reading.state = State::Ok;
        found.push(
            reading
                .saying(format!("packets to {} may have at most {} bytes, as a router on the way told", learned.destination, learned.mtu)),
        );
    }
}

fn counters() -> [Counted; 7] {
    let row = |id, names, kind, text, threshold| Counted { layer: L3, id, names, kind, text, threshold };
    [
        row("ip.no-route.ipv4", &["Ip.OutNoRoutes"], Kind::Errors, "{n} packets had no route (IPv4)", Some(rate(1.0))),
        // A host without IPv6 whose programs try it first counts these all day.
        row("ip.no-route.ipv6", &["Ip6.OutNoRoutes"], Kind::Info, "{n} packets had no route (IPv6)", None),
        row("ip.no-route.forwarded", &["IpExt.InNoRoutes"], Kind::Info, "{n} packets for others had no route", None),
        row("ip.discards", &["Ip.InDiscards", "Ip.OutDiscards"], Kind::Errors, "{n} packets discarded, in and out", Some(rate(100.0))),
        row(
            "ip.reassembly-failed",
            &["Ip.ReasmFails", "Ip6.ReasmFails"],
            Kind::Errors,
            "{n} packets not made whole from their fragments",
            Some(rate(5.0)),
        ),
        row("ip.fragmentation-failed", &["Ip.FragFails", "Ip6.FragFails"], Kind::Info, "{n} packets too big for the next link", None),
        row(
            "icmp.rate-limited",
            &["Icmp.OutRateLimitGlobal", "Icmp.OutRateLimitHost", "Icmp6.OutRateLimitHost"],
            Kind::Info,
            "{n} ICMP errors held back by this host's rate limit: who waits for them sees silence",
            None,
        ),
    ]
}

fn rate(warn: f64) -> Threshold {
    Threshold::per_second(Some(warn), None, "faultmap")
}
