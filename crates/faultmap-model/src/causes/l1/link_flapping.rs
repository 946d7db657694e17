//! The carrier is lost and regained.

use super::used_link;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::LinkDelta;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l1.link-flapping`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.link-flapping",
    layer: Layer::L1,
    title: "the local link flaps",
    what: "The carrier of the link comes and goes: a loose connector, a dying transceiver or power supply, a switch port in error recovery, or \
           autonegotiation that never settles. Each loss drops frames and may drop routes and neighbours with it.",
    shows: "The carrier change counter of the interface rises during the check.",
    confirm: &[Tool {
        run: "ip -s -s link show {iface} | grep -i carrier; ip monitor link dev {iface}",
        on: "here",
        why: "shows each loss of carrier as it happens",
    }],
    fix: &[
        "Reseat or replace the cable and transceiver of {iface}; look at the switch port's log.",
        "Pin speed and duplex on both ends if autonegotiation does not settle.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let flapping = |delta: &LinkDelta| delta.carrier_changes > 0;
    let used = used_link(ev).map(|(_, link)| link.iface.as_str());
    let (id, delta) = match used {
        Some(iface) => ev.first::<LinkDelta>(|delta| flapping(delta) && delta.iface == iface),
        None => ev.first::<LinkDelta>(|delta| flapping(delta) && delta.iface != "lo"),
    }?;
    // One change without return is a cable that was just pulled: that is "no carrier".
    let back = used_link(ev).is_none_or(|(_, link)| link.carrier == Some(true));
    if delta.carrier_changes < 2 && !back {
        return None;
    }
    let summary = format!("The link {} flaps: its carrier changed {} times during the check.", delta.iface, delta.carrier_changes);
    match ev.failure() {
        Some(failure) => Some(Claim::proven(0.95, Where::Local, delta.iface.clone(), summary).citing([failure.id, id])),
        None => Some(Claim::degrades(0.95, Where::Local, delta.iface.clone(), summary).citing([id])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, link_delta, own_link, route_via, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn carrier_changes_during_the_check_are_a_flap() {
        let check = |changes, outcome, expect| {
            let Seen::LinkDelta(delta) = link_delta(&[]) else { panic!("a delta") };
            let delta = Seen::LinkDelta(LinkDelta { carrier_changes: changes, ..delta });
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), own_link("10.1.0.2"), delta];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(4, silent(), Some((0.95, true)));
        check(2, connected(), Some((0.95, false)));
        check(0, silent(), None);
    }
}
