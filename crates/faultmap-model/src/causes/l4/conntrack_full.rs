//! A connection-tracking table, here or on the path, has no room: old flows live, new ones are dropped.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{Flows, HostTables};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.conntrack-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.conntrack-full",
    layer: Layer::L4,
    title: "a connection-tracking table is full",
    what: "A stateful box (NAT gateway, firewall, balancer, or this host's netfilter) remembers every flow in a table of fixed size. When the table is \
           full it drops the first packet of every new flow, of any protocol, without a word, while flows it already knows live on. \
           Services behind it look intermittent: pooled connections work, new ones hang.",
    shows: "New connections to every port, and even pings, stay silent, while a connection to the same host that existed before still receives. \
            A blackhole would stop the old ones too; a filter would stop one port. On this host nf_conntrack_count is at nf_conntrack_max.",
    confirm: &[
        Tool {
            run: "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max; dmesg | grep 'table full'",
            on: "each NAT or firewall on the path",
            why: "count at max: the table is full",
        },
        Tool {
            run: "conntrack -S | grep -o 'drop=[0-9]*'",
            on: "each NAT or firewall on the path",
            why: "rising drops: new flows are refused",
        },
        Tool { run: "ss -tno dst {ip}", on: "here", why: "old connections that still move prove that the path itself is alive" },
    ],
    fix: &[
        "Raise net.netfilter.nf_conntrack_max (and the hash size) on the box, or scale out the NAT gateway.",
        "Find who fills it: many short connections, a scan, UDP without replies; reuse connections (keep-alive, pools).",
        "Lower net.netfilter.nf_conntrack_tcp_timeout_established (5 days by default) and nf_conntrack_tcp_timeout_time_wait.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let failure = ev.failure()?;
    here(ev, &failure).or_else(|| on_the_path(ev, &failure))
}

fn here(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    if !failure.silent() && failure.errno() != Some("EPERM") {
        return None;
    }
    let (id, tables) = ev.first::<HostTables>(|_| true)?;
    let (count, max) = (tables.conntrack_count?, tables.conntrack_max.filter(|max| *max > 0)?);
    let drops = tables.conntrack_drops.unwrap_or(0);
    if drops == 0 && count.saturating_mul(100) < max.saturating_mul(99) {
        return None;
    }
    let summary =
        format!("This host's connection-tracking table is full ({count} of {max}, {drops} drops during the check): it drops new flows.");
    Some(Claim::proven(0.97, Where::Local, "nf_conntrack of this host", summary).citing([failure.id, id]))
}

fn on_the_path(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    if !failure.silent() || ev.host_answers(failure.ip).is_some() {
        return None;
    }
    by_old_flows(ev, failure).or_else(|| without_old_flows(ev, failure))
}

/// A full table drops a packet before the router looks at its time to live: from there on nothing new is seen, to no address. Without a flow
/// from before, a route that swallows everything looks the same, and is more common.
fn without_old_flows(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    let id = crate::causes::l3::all_stops(ev)?;
    let (_, router) = ev.last_router(failure.ip)?;
    let summary = format!("Nothing new passes {router}, to no address behind it: a connection-tracking table there may be full.");
    let claim = Claim::likely(0.12, Where::Path, format!("after {router}"), summary).citing([failure.id, id]);
    Some(claim.decided_by(
        "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
        format!("the router after {router}"),
        "count at max: the table is full; else look for a route that swallows the packets",
    ))
}

fn by_old_flows(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    let (id, flows) = ev.first::<Flows>(|flows| flows.to == Some(failure.ip))?;
    let gateway = ev.gateway(failure.ip);
    let at = match gateway {
        Some(gateway) => format!("a stateful box at or behind {gateway}"),
        None => "a stateful box on the path".to_owned(),
    };
    if flows.alive > 0 {
        let summary = format!(
            "New connections to {} are dropped silently on every port while {} established one(s) to it are alive: a connection-tracking table on the path is full.",
            failure.ip, flows.alive
        );
        return Some(Claim::proven(0.93, Where::Path, at, summary).citing([failure.id, id]).citing(ev.walks(failure.ip).map(|(id, _)| id)));
    }
    if flows.established > flows.stuck {
        let summary = format!(
            "No new flow to {} passes, and {} established one(s) to it are idle: a connection-tracking table on the path may be full.",
            failure.ip, flows.established
        );
        let claim = Claim::likely(0.42, Where::Path, at, summary).citing([failure.id, id]);
        return Some(claim.decided_by(
            format!("ss -tino dst {}", failure.ip),
            "here, while the old connections are used",
            "old ones that go on working while new ones hang name the table",
        ));
    }
    if flows.alive_elsewhere > 0 && ev.last_router(failure.ip).is_none() && gateway.is_some() {
        let summary =
            format!("No new flow to {} passes, not even to the first router, while older connections through it are alive.", failure.ip);
        let claim = Claim::likely(0.45, Where::Path, at, summary).citing([failure.id, id]);
        return Some(claim.decided_by(
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
            "the gateway",
            "count at max: the table is full",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, reset, route_via, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::{Hop, HopAnswer, HopSaid, IcmpError, Role, Walk, WalkProtocol};
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        let base = vec![route_via("10.2.0.10"), connect("10.2.0.10:50051", Role::Target, silent())];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:50051", [base, seen].concat())), expect);
    }

    fn flows(alive: u32) -> Seen {
        Seen::Flows(Flows { to: Some("10.2.0.10".parse().expect("ip")), established: 2, alive, ..Flows::default() })
    }

    #[test]
    fn old_flows_live_and_new_ones_are_silent() {
        check(vec![flows(2)], Some((0.93, true)));
        check(vec![flows(0)], Some((0.42, true)));
        check(vec![], None);
    }

    #[test]
    fn without_an_old_flow_a_whole_network_that_is_silent_leaves_it_possible() {
        let walk = |to: &str, role, answers: Vec<HopAnswer>| {
            let hops = vec![Hop { ttl: 1, sent: 1, answers }, Hop { ttl: 2, sent: 3, answers: vec![] }];
            Seen::Walk(Walk { to: to.parse().expect("addr"), role, protocol: WalkProtocol::Tcp, hops, reached_ttl: None })
        };
        let router = || {
            let from = "10.1.0.1".parse().expect("ip");
            vec![HopAnswer { from, said: HopSaid::Icmp(IcmpError { icmp_type: 11, code: 0, from, mtu: None }), rtt_ms: 1.0 }]
        };
        let stopped = walk("10.2.0.10:50051", Role::Target, router());
        check(vec![stopped.clone(), walk("10.2.0.11:33434", Role::Control, vec![])], Some((0.12, true)));
        check(vec![stopped], None);
    }

    #[test]
    fn another_port_that_answers_refutes_it() {
        check(vec![flows(2), connect("10.2.0.10:22", Role::Control, reset())], None);
    }

    #[test]
    fn this_hosts_own_table_is_read() {
        let tables =
            |count| Seen::HostTables(HostTables { conntrack_count: Some(count), conntrack_max: Some(1000), ..HostTables::default() });
        check(vec![tables(1000)], Some((0.97, true)));
        check(vec![tables(500)], None);
    }
}
