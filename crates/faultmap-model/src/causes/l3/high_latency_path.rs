//! Distance, or a detour: the round trip alone explains the slowness.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{ConnectOutcome, Echo, Walk};
use crate::verdict::Where;
use crate::{Evidence, Layer};
use std::net::IpAddr;

/// A round trip from which each exchange is felt: half the earth, or a detour. Within a continent it stays below 80 ms.
const FAR_MS: f64 = 100.0;
/// A rise between two hops that is worth naming.
const JUMP_MS: f64 = 40.0;

/// `l3.high-latency-path`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.high-latency-path",
    layer: Layer::L3,
    title: "the path is long",
    what: "Every round trip takes long: the target is on another continent, behind a satellite link, or the route makes a detour. A fresh HTTPS request \
           pays it three times and more.",
    shows: "The smallest round trip of the handshake is large, and stays so; the walk shows the hop where it jumps. A loaded link shows a round trip that varies.",
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
    let (id, rtt) = ev.connected().find_map(|(id, connect)| match connect.outcome {
        ConnectOutcome::Connected { rtt_ms, retransmits: 0, .. } if connect.to == main => Some((id, rtt_ms)),
        _ => None,
    })?;
    let echoed = ev.all::<Echo>().filter(|(_, echo)| echo.to == main.ip()).flat_map(|(_, echo)| echo.rtts_ms.iter().copied());
    let smallest = echoed.fold(rtt, f64::min);
    if smallest < FAR_MS {
        return None;
    }
    let jump = jump(ev, main.ip());
    let place = jump.map_or_else(String::new, |(_, hop, router)| format!("; it jumps at hop {hop} ({router})"));
    let at = jump.map_or_else(|| format!("between here and {}", main.ip()), |(_, _, router)| format!("before {router}"));
    let summary = format!("The path to {} is long: {smallest:.0} ms for each round trip{place}.", main.ip());
    Some(Claim::degrades(0.92, Where::Path, at, summary).citing([id]).citing(jump.map(|(id, _, _)| id)))
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
    use crate::causes::tests_support::{connect, route_via};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

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
}
