//! An on-link segment drops large frames without a word.

use crate::causes::l3::pmtu_blackhole::size_limit;
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l2.mtu-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l2.mtu-mismatch",
    layer: Layer::L2,
    title: "the segment drops large frames",
    what: "Both hosts are on one segment and believe in an MTU that something between them (a switch port, a bridge, a tunnel, the other host's \
           interface) does not carry. Large frames are dropped without an error, for no router is there to report one.",
    shows: "Small packets pass and large ones stall, although no router is between us and the peer; a connection with a small segment size passes.",
    confirm: &[
        Tool { run: "ping -M do -s 1472 -c 3 {ip}; ping -M do -s 1200 -c 3 {ip}", on: "here", why: "large lost, small answered" },
        Tool {
            run: "ip link show; ip -s link show",
            on: "{ip}, and each bridge or switch between",
            why: "the port with the smaller MTU, and its rx drops",
        },
    ],
    fix: &[
        "Set the same MTU on every port of the segment, or lower it on {iface}: ip link set {iface} mtu 1400.",
        "With jumbo frames, enable them on every switch of the segment.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = size_limit(ev)?;
    if !ev.on_link(limit.to.ip()) {
        return None;
    }
    let summary = format!("The segment between here and {} drops large frames: {}.", limit.to.ip(), limit.words);
    let at = format!("between here and {}", limit.to.ip());
    let claim = if limit.breaks { Claim::proven(0.94, Where::Path, at, summary) } else { Claim::degrades(0.85, Where::Path, at, summary) };
    Some(claim.citing(limit.because).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::l3::pmtu_blackhole::tests::clamped_passes;
    use crate::causes::tests_support::{route_on_link, route_via};
    use crate::testkit::{claims, recording};

    #[test]
    fn without_a_router_between_it_is_the_segment() {
        let check = |route, expect| {
            let seen = [vec![route], clamped_passes()].concat();
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(route_on_link("10.2.0.10"), Some((0.94, true)));
        check(route_via("10.2.0.10"), None);
    }
}
