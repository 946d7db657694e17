//! Frames are corrupted on the way.

use super::{rise, used_delta};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Counters, HttpOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l1.bit-errors`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.bit-errors",
    layer: Layer::L1,
    title: "frames arrive corrupted",
    what: "Bits flip on the way: a bad cable or connector, dirty fibre, electrical noise, a duplex mismatch, failing memory in a switch. Checksums catch \
           the damage and the frame is dropped; TCP sends it again, so that it looks like loss and slowness.",
    shows: "rx CRC or frame errors on the interface, or IP, TCP, UDP or ICMP checksum errors in this host's counters, rising during the check. \
            Loss without checksum errors is congestion or filtering.",
    confirm: &[
        Tool {
            run: "nstat -az TcpInCsumErrors UdpInCsumErrors IcmpInCsumErrors IpInHdrErrors; ip -s -s link show {iface}",
            on: "here and on {ip}",
            why: "rising checksum or CRC errors",
        },
        Tool {
            run: "ethtool -S {iface} | grep -i -e crc -e err; ethtool -m {iface}",
            on: "here",
            why: "errors of the port and light levels of the transceiver",
        },
    ],
    fix: &[
        "Replace cable and transceiver along the path, first on {iface}; clean the fibre.",
        "If checksum errors appear without CRC errors, a device after the last cable corrupts: update or replace it; try disabling offloads (ethtool -K {iface} rx off).",
    ],
    claim,
};

const CHECKSUM: [&str; 6] =
    ["Tcp.InCsumErrors", "Udp.InCsumErrors", "Icmp.InCsumErrors", "IpExt.InCsumErrors", "Udp6.InCsumErrors", "Icmp6.InCsumErrors"];

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (count, id, what) = checksum_errors(ev).or_else(|| frame_errors(ev))?;
    let at = used_delta(ev).map_or_else(|| "the path to here".to_owned(), |(_, delta)| delta.iface.clone());
    let summary = format!("Frames arrive corrupted: {count} {what} during the check.");
    match ev.failure() {
        Some(failure) => Some(Claim::proven(0.9, Where::Path, at, summary).citing([failure.id, id])),
        None if let Some(silent) = unanswered(ev).filter(|_| count >= OFTEN) => {
            let claim = Claim::likely(0.6, Where::Path, at, format!("{summary} The conversation may have ended by it."));
            Some(claim.citing([silent, id]).despite_answers())
        }
        None => Some(Claim::degrades(0.95, Where::Path, at, summary).citing([id])),
    }
}

/// A conversation does not end by a single frame.
const OFTEN: u64 = 5;

/// The request that got no answer.
fn unanswered(ev: &Evidence<'_>) -> Option<ObservationId> {
    ev.exchange().filter(|(_, http)| matches!(http.outcome, HttpOutcome::Silent { .. })).map(|(id, _)| id)
}

/// More than one packet came damaged: others may not have come at all.
pub(in crate::causes) fn damaged(ev: &Evidence<'_>) -> bool {
    checksum_errors(ev).is_some_and(|(count, ..)| count >= 2)
}

fn checksum_errors(ev: &Evidence<'_>) -> Option<(u64, ObservationId, &'static str)> {
    let (id, counters) = ev.first::<Counters>(|_| true)?;
    let count: u64 = CHECKSUM.iter().filter_map(|name| counters.rose.get(*name)).fold(0, |sum, rise| sum.saturating_add(*rise));
    let headers = counters.rose.get("Ip.InHdrErrors").copied().unwrap_or(0);
    // A single header error may be a TTL that ran out in a router; together with checksum errors it is the same damage.
    (count >= 1).then_some((count.saturating_add(headers), id, "checksum errors"))
}

fn frame_errors(ev: &Evidence<'_>) -> Option<(u64, ObservationId, &'static str)> {
    let (id, delta) = used_delta(ev)?;
    let count = rise(delta, "rx_crc_errors").saturating_add(rise(delta, "rx_frame_errors"));
    (count >= 1).then_some((count, id, "CRC or frame errors on the interface"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, counters, own_link, route_via};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn checksum_errors_are_bits_that_flipped() {
        let check = |extra: Seen, expect| {
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), own_link("10.1.0.2"), extra];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(counters(&[("Tcp.InCsumErrors", 3)]), Some((0.95, false)));
        check(counters(&[("Tcp.RetransSegs", 3)]), None);
    }

    #[test]
    fn an_answer_that_never_came_may_have_come_damaged() {
        let check = |errors, expect| {
            let silent = crate::testkit::exchange("default", HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 0 });
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), Seen::HttpExchange(silent)];
            let seen = [seen, vec![own_link("10.1.0.2"), counters(&[("Tcp.InCsumErrors", errors)])]].concat();
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(30, Some((0.6, true)));
        check(1, Some((0.95, false)));
    }
}
