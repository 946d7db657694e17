//! A router refuses all traffic to the destination by policy.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::IcmpMeaning;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.admin-prohibited`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.admin-prohibited",
    layer: Layer::L3,
    title: "a router refuses the destination by policy",
    what: "A router or firewall on the path refuses every packet to the destination, whatever the port, and says so: an access list, a prohibit route, \
           a zone policy.",
    shows: "ICMP 3/9, 3/10 or 3/13 (v6: 1/1, 1/5) from that router for every port and protocol. When another port of the host answers, it is a firewall rule for a port (L4).",
    confirm: &[Tool {
        run: "nft list ruleset; iptables-save; ip route show type prohibit",
        on: "the router that sent the error",
        why: "the rule or route that refuses",
    }],
    fix: &["Allow the destination in that router's policy, or reach it from a permitted network."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let icmp = failure.icmp().filter(|icmp| icmp.meaning() == IcmpMeaning::Prohibited)?;
    if ev.is_self(icmp.from) || icmp.from == failure.ip || ev.host_answers(failure.ip).is_some() {
        return None;
    }
    let summary =
        format!("The router {} refuses all traffic to {} by policy (ICMP {}/{}).", icmp.from, failure.ip, icmp.icmp_type, icmp.code);
    let controls = ev.control_connects(failure.ip).map(|(id, _)| id);
    Some(Claim::proven(0.94, Where::Path, icmp.from.to_string(), summary).citing([failure.id]).citing(controls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, icmp_from, reset, route_via};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn prohibited_on_every_port_is_a_policy_for_the_destination() {
        let refused = || connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 13));
        let all = vec![route_via("10.2.0.10"), refused(), connect("10.2.0.10:22", Role::Control, icmp_from("10.9.0.2", 3, 13))];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", all)), Some((0.94, true)));
        let one = vec![route_via("10.2.0.10"), refused(), connect("10.2.0.10:22", Role::Control, reset())];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", one)), None);
    }
}
