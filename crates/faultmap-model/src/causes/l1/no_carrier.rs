//! The cable is out, or the other end is down.

use super::used_link;
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l1.no-carrier`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.no-carrier",
    layer: Layer::L1,
    title: "no carrier on the local link",
    what: "The interface is up but senses no medium: the cable is out, the switch port or the peer is down, the transceiver failed, or the virtual \
           switch side was removed. Frames never leave.",
    shows: "carrier 0 (NO-CARRIER, operstate down or lowerlayerdown) on the interface that the route uses; SYNs time out without a retransmit being counted as sent.",
    confirm: &[
        Tool {
            run: "ip -br link show {iface}; ethtool {iface} | grep -i 'link detected'",
            on: "here",
            why: "NO-CARRIER: the medium is missing",
        },
        Tool { run: "ethtool -m {iface}; journalctl -k | grep {iface}", on: "here", why: "a dead transceiver, or when the link was lost" },
    ],
    fix: &[
        "Plug in or replace the cable or transceiver of {iface}; enable the switch port.",
        "For a virtual interface, bring up its peer (the host side of the veth or the bridge port).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let (id, link) = used_link(ev).filter(|(_, link)| link.up && link.carrier == Some(false))?;
    ev.route(failure.ip)?;
    let summary = format!("The link {} has no carrier ({}): the cable is out or the other end is down.", link.iface, link.operstate);
    Some(Claim::proven(0.97, Where::Local, link.iface.clone(), summary).citing([failure.id, id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, own_link, route_via, silent};
    use crate::observation::{Link, Role};
    use crate::testkit::{claims, recording};

    #[test]
    fn a_missing_carrier_explains_the_silence() {
        let check = |carrier, expect| {
            let Seen::Link(link) = own_link("10.1.0.2") else { panic!("a link") };
            let link = Seen::Link(Link { carrier, ..link });
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), link];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(Some(false), Some((0.97, true)));
        check(Some(true), None);
        check(None, None);
    }
}
