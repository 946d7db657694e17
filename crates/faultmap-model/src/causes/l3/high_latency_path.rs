//! Distance, or a detour: the round trip alone explains the slowness.

use crate::causes::{Cause, Claim, Tool};
use crate::compare;
use crate::observation::{Baseline, ConnectOutcome, Dialogue, Echo, Facts, HttpExchange, TlsHandshake, Walk};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::{IpAddr, SocketAddr};

/// A round trip from which each exchange is felt: half the earth, or a detour. Within a continent it stays below 80 ms, and between two that face
/// each other across an ocean below 130 ms.
const FAR_MS: f64 = 130.0;
/// A rise between two hops that is worth naming.
const JUMP_MS: f64 = 40.0;

/// `l3.high-latency-path`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.high-latency-path",
    layer: Layer::L3,
    title: "the path is long",
    what: "Every round trip takes long: the target is on another continent, behind a satellite link, or the route makes a detour. A fresh HTTPS request \
           pays it three times and more.",
    shows: "The smallest round trip of the handshake is large, and stays so; the walk shows the hop where it jumps. A loaded link shows a round trip that varies. \
            Against a baseline (--baseline) a detour shows much earlier: another path, and a round trip longer by half and by 15 ms.",
    confirm: &[Tool { run: "mtr -rwzbc 20 {ip}", on: "here", why: "the hop at which the round trip jumps" }],
    fix: &[
        "Pay fewer round trips: keep connections alive, HTTP/2 or HTTP/3, TLS 1.3 with resumption.",
        "Serve from nearer: a CDN edge, a region near the client, anycast.",
        "If the path makes a detour, compare it with an earlier one and ask the operator.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let main = ev.main_address()?;
    let (id, _) = ev.connected().find(|(_, connect)| connect.to == main)?;
    let smallest = round_trip(ev, main)?;
    if let Some(claim) = detour(ev, main.ip(), id) {
        return Some(claim);
    }
    if smallest < FAR_MS {
        return None;
    }
    let jump = jump(ev, main.ip());
    let place = jump.map_or_else(String::new, |(_, hop, router)| format!("; it jumps at hop {hop} ({router})"));
    let at = jump.map_or_else(|| format!("between here and {}", main.ip()), |(_, _, router)| format!("before {router}"));
    let summary = format!("The path to {} is long: {smallest:.0} ms for each round trip{place}.", main.ip());
    Some(Claim::degrades(0.92, Where::Path, at, summary).citing([id]).citing(jump.map(|(id, _, _)| id)))
}

/// The smallest round trip that was measured to the target.
pub(super) fn round_trip(ev: &Evidence<'_>, main: SocketAddr) -> Option<f64> {
    // A handshake whose SYN was sent again was measured from the first.
    let handshakes = ev.connected().filter_map(|(_, connect)| match connect.outcome {
        ConnectOutcome::Connected { rtt_ms, retransmits: 0, .. } if connect.to == main => Some(rtt_ms),
        _ => None,
    });
    let echoed = ev.all::<Echo>().filter(|(_, echo)| echo.to == main.ip()).flat_map(|(_, echo)| echo.rtts_ms.iter().copied());
    // The first packet to a neighbour waits until its address is resolved; those of the conversation do not.
    let http = ev.all::<HttpExchange>().filter(|(_, http)| http.to == main).filter_map(|(_, http)| http.tcp.as_ref());
    let tls = ev.all::<TlsHandshake>().filter(|(_, tls)| tls.to == main).filter_map(|(_, tls)| tls.tcp.as_ref());
    let spoken = ev.all::<Dialogue>().filter(|(_, talk)| talk.to == main).filter_map(|(_, talk)| talk.tcp.as_ref());
    let acknowledged = http.chain(tls).chain(spoken).map(|tcp| tcp.min_rtt_ms).filter(|rtt| *rtt > 0.0);
    handshakes.chain(echoed).chain(acknowledged).min_by(f64::total_cmp)
}

/// The path is another one than in the baseline, and each round trip on it takes longer: a detour, however near the target is.
fn detour(ev: &Evidence<'_>, ip: IpAddr, connected: ObservationId) -> Option<Claim> {
    let (baseline_id, baseline) = ev.first::<Baseline>(|_| true)?;
    let (before, after) = (&baseline.facts, &compare::facts_of(ev));
    let (was, is) = compare::round_trip_rose(before, after)?;
    let change = compare::path_change(before, after)?;
    let (hop, router) = new_router_with_most_delay(before, after).or(change.reroute.map(|(ttl, _, now)| (ttl, now)))?;
    let length = change.length.map_or_else(String::new, |(then, now)| format!(" has {now} hops instead of {then} and"));
    let summary = format!(
        "The path to {ip} is another one than in the baseline: it{length} goes through {router} at hop {hop}, and each round trip takes {is:.0} ms \
         instead of {was:.0}."
    );
    let walk = ev.walks(ip).next().map(|(id, _)| id);
    let claim = Claim::degrades(0.92, Where::Path, format!("hop {hop} ({router})"), summary).citing([connected, baseline_id]).citing(walk);
    Some(claim.advising(format!("Ask the operator of the path why traffic to {ip} goes through {router}: a failed link, a changed route.")))
}

/// Of the routers that the baseline's path did not have, the first before which the round trip rises by at least half of the most that it
/// rises before any of them.
fn new_router_with_most_delay(before: &Facts, after: &Facts) -> Option<(u8, IpAddr)> {
    let known = |router: &IpAddr| before.hops.iter().any(|hop| hop.routers.contains(router));
    let mut earlier_ms = 0.0;
    let mut rises: Vec<(f64, u8, IpAddr)> = Vec::new();
    for (ttl, hop) in (1_u8..).zip(&after.hops) {
        let Some(best_ms) = hop.best_ms else { continue };
        rises.extend(hop.routers.iter().find(|router| !known(router)).map(|router| (best_ms - earlier_ms, ttl, *router)));
        earlier_ms = best_ms;
    }
    let most = rises.iter().map(|(rise, ..)| *rise).fold(0.0, f64::max);
    rises.into_iter().find(|(rise, ..)| *rise >= most / 2.0).map(|(_, ttl, router)| (ttl, router))
}

/// The hop whose best round trip exceeds that of all hops before it by the most.
fn jump(ev: &Evidence<'_>, ip: IpAddr) -> Option<(u32, u8, IpAddr)> {
    let (id, walk): (u32, &Walk) = ev.walks(ip).next()?;
    let mut before = 0.0;
    let mut best: Option<(f64, u8, IpAddr)> = None;
    for hop in &walk.hops {
        let Some(answer) = hop.answers.iter().min_by(|a, b| a.rtt_ms.total_cmp(&b.rtt_ms)) else { continue };
        let rise = answer.rtt_ms - before;
        if rise >= JUMP_MS && best.is_none_or(|(known, _, _)| rise > known) {
            best = Some((rise, hop.ttl, answer.from));
        }
        before = answer.rtt_ms;
    }
    best.map(|(_, ttl, from)| (id, ttl, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, route_via};
    use crate::observation::{Hop, HopAnswer, HopSaid, IcmpError, Role, WalkProtocol};
    use crate::testkit::{claims, plus, recording};

    /// A walk whose routers answer after so many milliseconds, to a destination after `rtt_ms`.
    fn walked(routers: &[(&str, f64)], rtt_ms: f64) -> Vec<Seen> {
        let answer = |from: &str, said, rtt_ms| HopAnswer { from: from.parse().expect("ip"), said, rtt_ms };
        let expired = |from: &str| HopSaid::Icmp(IcmpError { icmp_type: 11, code: 0, from: from.parse().expect("ip"), mtu: None });
        let mut hops: Vec<Hop> = (1..)
            .zip(routers)
            .map(|(ttl, (from, rtt_ms))| Hop { ttl, sent: 1, answers: vec![answer(from, expired(from), *rtt_ms)] })
            .collect();
        let end = u8::try_from(hops.len()).expect("few") + 1;
        hops.push(Hop { ttl: end, sent: 1, answers: vec![answer("10.2.0.10", HopSaid::Reached, rtt_ms)] });
        let to = "10.2.0.10:80".parse().expect("addr");
        let walk = Walk { to, role: Role::Control, protocol: WalkProtocol::Tcp, hops, reached_ttl: Some(end) };
        let outcome = ConnectOutcome::Connected { rtt_ms, retransmits: 0, mss: 1448, pmtu: 1500 };
        vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), Seen::Walk(walk)]
    }

    #[test]
    fn a_detour_against_the_baseline_degrades_and_neither_half_of_it_does() {
        const USUAL: &[(&str, f64)] = &[("10.1.0.1", 0.3), ("10.9.0.2", 2.0)];
        const LONGER: &[(&str, f64)] = &[("10.1.0.1", 0.3), ("10.8.0.9", 25.0), ("10.9.0.2", 49.0)];
        let check = |routers, rtt_ms, expect| {
            let earlier = recording("tcp://10.2.0.10:80", walked(USUAL, 2.4));
            let later = recording("tcp://10.2.0.10:80", walked(routers, rtt_ms));
            let later = plus(later, compare::baseline(&earlier, "good.jsonl"));
            assert_eq!(claims(&CAUSE, &later), expect, "{routers:?} {rtt_ms}");
        };
        check(LONGER, 50.0, Some((0.92, false)));
        check(LONGER, 3.0, None);
        check(USUAL, 50.0, None);
        check(USUAL, 2.9, None);
    }

    #[test]
    fn a_round_trip_across_the_earth_degrades() {
        let check = |rtt_ms, expect| {
            let outcome = ConnectOutcome::Connected { rtt_ms, retransmits: 0, mss: 1448, pmtu: 1500 };
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(152.0, Some((0.92, false)));
        check(24.0, None);
    }

    #[test]
    fn a_handshake_that_outlasts_the_first_timer_is_measured_by_the_conversation() {
        use crate::observation::{HttpOutcome, HttpResponse, TcpHealth};
        let check = |min_rtt_ms, expect| {
            let outcome = ConnectOutcome::Connected { rtt_ms: 1_801.0, retransmits: 1, mss: 1448, pmtu: 1500 };
            let http = crate::testkit::exchange(
                "default",
                HttpOutcome::Response(Box::new(HttpResponse { status: 200, ..HttpResponse::default() })),
            );
            let http = HttpExchange {
                to: "10.2.0.10:80".parse().expect("addr"),
                tcp: Some(TcpHealth { min_rtt_ms, ..TcpHealth::default() }),
                ..http
            };
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), Seen::HttpExchange(http)];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(901.0, Some((0.92, false)));
        check(20.0, None);
        check(0.0, None);
    }
}
