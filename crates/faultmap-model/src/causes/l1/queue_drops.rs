//! The interface's rings or its queueing discipline drop frames.

use super::{rise, used_delta};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// Drops of one check that are more than an accident.
const NOTABLE: u64 = 5;
/// So many that a handful of SYNs among them hardly had a chance.
const MANY: u64 = 100;

/// `l1.queue-drops`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.queue-drops",
    layer: Layer::L1,
    title: "the interface drops frames in its queues",
    what: "Frames are dropped at the local interface: the transmit queue or a shaper (qdisc) overflows, or the receive ring is not emptied in time.",
    shows: "tx_dropped, fifo errors or qdisc drops rise during the check.",
    confirm: &[
        Tool {
            run: "tc -s qdisc show dev {iface}; ip -s -s link show {iface}",
            on: "here",
            why: "drops of the queueing discipline and of the device",
        },
        Tool { run: "ethtool -g {iface}; cat /proc/net/softnet_stat", on: "here", why: "ring sizes, and packets dropped before the stack" },
    ],
    fix: &[
        "Raise the queue or the shaper's rate (tc qdisc change dev {iface} ...), or send less.",
        "Enlarge the rings: ethtool -G {iface} rx 4096 tx 4096.",
        "Spread interrupts over cores (RSS, irqbalance).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, delta) = used_delta(ev)?;
    let counters = ["tx_dropped", "rx_fifo_errors", "tx_fifo_errors", "qdisc_drops"];
    let drops = counters.iter().fold(0_u64, |sum, name| sum.saturating_add(rise(delta, name)));
    if drops < NOTABLE {
        return None;
    }
    let summary = format!("The interface {} dropped {drops} frames in its own queues during the check.", delta.iface);
    match ev.failure().filter(crate::evidence::Failure::silent) {
        Some(failure) => {
            Some(Claim::likely(if drops >= MANY { 0.85 } else { 0.7 }, Where::Local, delta.iface.clone(), summary).citing([failure.id, id]))
        }
        None => Some(Claim::degrades(0.94, Where::Local, delta.iface.clone(), summary).citing([id])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{link_delta, own_link};
    use crate::testkit::{claims, recording};

    #[test]
    fn drops_of_the_queue_degrade() {
        let check = |drops, expect| {
            let seen = vec![own_link("10.1.0.2"), link_delta(&[("qdisc_drops", drops)])];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(40, Some((0.94, false)));
        check(1, None);
    }
}
