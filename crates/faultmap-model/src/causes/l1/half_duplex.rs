//! The link negotiated less than the port can do.

use super::used_link;
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l1.half-duplex`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.half-duplex",
    layer: Layer::L1,
    title: "duplex or speed negotiated below the port's best",
    what: "The two ends of the link settled on half duplex or a low speed, usually because one end has autonegotiation off or a pair of the cable is \
           broken. Half duplex against full duplex loses frames under load (late collisions, CRC errors).",
    shows: "ethtool reports half duplex, or a speed below what the port supports. Virtual links report nothing reliable and are not judged.",
    confirm: &[Tool { run: "ethtool {iface}", on: "here and on the switch port", why: "speed, duplex and autonegotiation of both ends" }],
    fix: &["Turn autonegotiation on at both ends (ethtool -s {iface} autoneg on); replace the cable."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, link) = used_link(ev)?;
    let speed = link.speed_mbps.filter(|mbps| *mbps > 0)?;
    let half = link.full_duplex == Some(false);
    let slow = link.max_speed_mbps.is_some_and(|best| speed < best) && speed <= 100;
    if !half && !slow {
        return None;
    }
    let words = if half { "half duplex" } else { "a speed below its best" };
    let summary = format!("The link {} negotiated {words}: {speed} Mb/s.", link.iface);
    Some(Claim::degrades(0.85, Where::Local, link.iface.clone(), summary).citing([id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::own_link;
    use crate::observation::Link;
    use crate::testkit::{claims, recording};

    #[test]
    fn half_duplex_degrades() {
        let check = |speed_mbps, full_duplex, expect| {
            let Seen::Link(link) = own_link("10.1.0.2") else { panic!("a link") };
            let seen = vec![Seen::Link(Link { speed_mbps, full_duplex, ..link })];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(Some(100), Some(false), Some((0.85, false)));
        check(Some(10_000), Some(true), None);
        check(None, None, None);
    }
}
