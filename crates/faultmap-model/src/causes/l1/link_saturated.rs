//! The local link is full.

use super::{line_rate_mbps, rise, used_delta, used_link};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// Share of the line rate from which a link is full.
const FULL: f64 = 0.9;
/// Above this share the speed named is not the link's real bound: cards of virtual machines move more than they say.
const BEYOND: f64 = 1.05;
/// Shorter windows say more of one burst than of the link.
const SHORTEST_MS: f64 = 50.0;

/// `l1.link-saturated`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.link-saturated",
    layer: Layer::L1,
    title: "the local link is full",
    what: "The interface sends or receives at its line rate. Queues fill, round trips grow, and the overflow is dropped.",
    shows: "Bytes over the check's time come to 90 % or more of the negotiated speed. Links of unknown speed are not judged.",
    confirm: &[Tool {
        run: "sar -n DEV 1 5; nload {iface}; ss -tin | grep -o 'delivery_rate [^ ]*'",
        on: "here",
        why: "who fills the link",
    }],
    fix: &["Find the flow that fills {iface} and move, shape or delay it.", "Take a faster link, or bond several."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (link_id, link) = used_link(ev)?;
    let (delta_id, delta) = used_delta(ev)?;
    let mbps = line_rate_mbps(link)?;
    if delta.window_ms < SHORTEST_MS {
        return None;
    }
    let capacity_bytes = f64::from(mbps) * 1e6 / 8.0 * delta.window_ms / 1e3;
    #[allow(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    let share = rise(delta, "rx_bytes").max(rise(delta, "tx_bytes")) as f64 / capacity_bytes;
    if !(FULL..=BEYOND).contains(&share) {
        return None;
    }
    let summary = format!("The link {} is full: {:.0} % of its {mbps} Mb/s.", link.iface, share * 100.0);
    Some(Claim::degrades(0.9, Where::Local, link.iface.clone(), summary).citing([link_id, delta_id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{link_delta, own_link};
    use crate::observation::Link;
    use crate::testkit::{claims, recording};

    #[test]
    fn bytes_at_line_rate_fill_the_link() {
        check(100, None, 12_400_000, Some((0.9, false)));
        check(100, None, 1_000_000, None);
    }

    #[test]
    fn a_link_that_carries_more_than_its_speed_has_another_bound() {
        check(100, None, 40_000_000, None);
    }

    #[test]
    fn a_tunnel_names_a_speed_that_bounds_nothing_unless_somebody_set_it() {
        check(10, Some("tun"), 1_240_000, None);
        check(100, Some("tun"), 12_400_000, Some((0.9, false)));
        check(10_000, Some("veth"), 1_240_000_000, None);
    }

    fn check(mbps: u32, driver: Option<&str>, bytes: u64, expect: Option<(f64, bool)>) {
        let Seen::Link(link) = own_link("10.1.0.2") else { panic!("a link") };
        let link = Link { speed_mbps: Some(mbps), driver: driver.map(str::to_owned), ..link };
        let seen = vec![Seen::Link(link), link_delta(&[("tx_bytes", bytes)])];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }
}
