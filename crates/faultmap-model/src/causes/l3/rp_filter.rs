//! This host's reverse-path filter drops the answers.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Counters, IngressGap, LocalDrops};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.rp-filter`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.rp-filter",
    layer: Layer::L3,
    title: "the reverse-path filter drops the answers",
    what: "Answers arrive on another interface than the one by which this host would reach their sender. With strict reverse-path filtering \
           (rp_filter=1, RFC 3704) the kernel drops them without a word. Typical with two uplinks, VPNs and asymmetric routes.",
    shows: "IPReversePathFilter rises with each attempt, and the attempts stay silent.",
    confirm: &[
        Tool {
            run: "nstat -az TcpExtIPReversePathFilter; sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.{iface}.rp_filter",
            on: "here",
            why: "rises with each attempt; 1 is strict",
        },
        Tool {
            run: "ip route get {ip}; tcpdump -ni any host {ip}",
            on: "here",
            why: "the interface that answers arrive on against the one that is routed",
        },
    ],
    fix: &[
        "Make the routing symmetric: answer and request on one interface (ip rule by source address).",
        "Or loosen the filter: sysctl -w net.ipv4.conf.all.rp_filter=2 (loose: any interface with a route will do).",
    ],
    claim,
};

/// The kernel's drop reason.
const REASON: &str = "IP_RPFILTER";

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let failure = ev.failure().filter(crate::evidence::Failure::silent)?;
    // The kernel's own word, for packets of this very target: no other traffic can have raised it.
    let by_name =
        ev.first::<LocalDrops>(|drops| drops.to.ip() == failure.ip && drops.of(REASON).1 > 0).map(|(id, drops)| (id, drops.of(REASON).1));
    let by_gap = ev.first::<IngressGap>(|gap| gap.rp_filtered > 0).map(|(id, gap)| (id, gap.rp_filtered));
    let by_counter = || {
        let (id, counters) = ev.first::<Counters>(|counters| counters.rose.contains_key("TcpExt.IPReversePathFilter"))?;
        Some((id, counters.rose.get("TcpExt.IPReversePathFilter").copied()?))
    };
    let confidence = if by_name.is_some() { 0.98 } else { 0.94 };
    let (id, count) = by_name.or(by_gap).or_else(by_counter)?;
    let summary = format!("Answers from {} arrive and this host's reverse-path filter drops them ({count} during the check).", failure.ip);
    Some(Claim::proven(confidence, Where::Local, "rp_filter of this host", summary).citing([failure.id, id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, connected, counters, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn the_filters_counter_rises_with_the_silence() {
        let check = |outcome, rose: &[(&str, u64)], expect| {
            let seen = vec![connect("10.2.0.10:80", Role::Target, outcome), counters(rose)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(silent(), &[("TcpExt.IPReversePathFilter", 2)], Some((0.94, true)));
        check(silent(), &[], None);
        check(connected(), &[("TcpExt.IPReversePathFilter", 2)], None);
    }
}
