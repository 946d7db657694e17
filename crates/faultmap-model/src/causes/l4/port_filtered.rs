//! A firewall drops this port: silence on it, while the host answers otherwise.

use super::unheard::Unheard;
use super::{queue_signs, stopped_before, stops_at_translator};
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, Protocol};
use crate::observation::{AckProbe, ArpProbe, Flows, NeighborState};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l4.port-filtered`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.port-filtered",
    layer: Layer::L4,
    title: "a firewall drops this port",
    what: "Packets to this port disappear without a word, while another port or protocol of the same host answers: a packet filter on the host or \
           on the way drops them. Clients hang until their connect timeout.",
    shows: "Silence on the port where a control on the same host answers. The walk tells where: the failing port's packets stop after hop k while \
            the control's go on. At the last hop a listener whose queue is full looks the same to a socket; a bare ACK (root) or the server's \
            counters decide.",
    confirm: &[
        Tool {
            run: "nft list ruleset; iptables-save -c",
            on: "{ip} and the last router that answered",
            why: "shows the drop rule and its counter",
        },
        Tool {
            run: "ss -ltn 'sport = :{port}'; nstat -az TcpExtListenOverflows TcpExtListenDrops",
            on: "{ip}",
            why: "a full listen queue shows Recv-Q above Send-Q",
        },
        Tool { run: "tcpdump -ni any tcp port {port}", on: "{ip}", why: "no SYN arriving means that the filter is before the host" },
    ],
    fix: &[
        "Allow {port}/tcp from this source on the filter at the named place.",
        "In a cloud, check security groups, network ACLs and network policies for {port}/tcp.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let Some(failure) = ev.failure() else { return after_the_handshake(ev) };
    if !failure.silent() || failure.protocol != Protocol::Tcp {
        return None;
    }
    if ev.is_local(failure.ip) {
        return None;
    }
    if let Some(id) = queue_signs(ev, failure.ip) {
        return Some(Claim::contradicted(vec![id], "some connects to the port pass"));
    }
    let Some(control) = ev.host_answers(failure.ip) else { return drops_everything(ev, &failure) };
    let old_flows = ev.first::<Flows>(|flows| flows.to == Some(failure.ip) && flows.established > flows.stuck);
    let place = |at: &str| format!("{} answers otherwise, but packets to port {} disappear {at}.", failure.ip, failure.port);
    if let Some((id, router)) = stopped_before(ev, failure.ip) {
        let at = format!("after {router}");
        let summary = format!("A firewall on the path drops the port: {}", place(&at));
        // Old connections through the same place live: a NAT without ports does the same.
        // ... and where its own side ends, no flow of ours is needed to suspect it.
        let claim = match old_flows {
            Some(_) => Claim::likely(0.45, Where::Path, at, summary),
            None if stops_at_translator(ev, failure.ip, router) => Claim::likely(0.65, Where::Path, at, summary),
            None => Claim::proven(0.95, Where::Path, at, summary),
        };
        return Some(claim.citing([failure.id, control, id]));
    }
    let at = match ev.last_router(failure.ip) {
        Some((_, router)) => format!("between {router} and {}", failure.ip),
        None => format!("at {}", failure.ip),
    };
    if let Some(id) = ev.ack_answers(failure.ip) {
        return Some(only_openings(&failure, at, id));
    }
    let summary = format!("A firewall drops the port: {}", place(&at));
    let acked = ev.first::<AckProbe>(|ack| ack.to.ip() == failure.ip && ack.to.port() == failure.port && ack.sent > 0);
    let claim = match acked {
        Some((id, _)) if old_flows.is_none() => Claim::proven(0.93, Where::Remote, at, summary).citing([id]),
        Some((id, _)) => Claim::likely(0.5, Where::Remote, at, summary).citing([id]),
        None => Claim::likely(without_ack(ev, &failure), Where::Remote, at, summary).decided_by(
            format!("sudo faultmap check {}", ev.target().input),
            "here",
            "a bare ACK is dropped by a filter, but answered with RST by a listener whose queue is full",
        ),
    };
    Some(claim.citing([failure.id, control]))
}

/// Handshakes pass, and no segment that follows one arrives.
fn after_the_handshake(ev: &Evidence<'_>) -> Option<Claim> {
    let Unheard { because, to } = super::unheard::unheard(ev)?;
    let summary = format!(
        "Connections to {to} open, and nothing that follows arrives there: a firewall lets the handshake pass and drops the rest. One that keeps \
         state drops what it takes for no part of a connection, as where it sees one direction only."
    );
    let claim = Claim::likely(0.84, Where::Path, format!("between here and {}", to.ip()), summary).citing(because).despite_answers();
    let claim = claim.advising("See that both directions go through the same stateful firewall, and what it logs as invalid.");
    Some(claim.decided_by(
        format!("tcpdump -ni any 'tcp port {} and tcp[13] & 16 != 0'", to.port()),
        to.ip().to_string(),
        "ACKs and data of ours that do not arrive are dropped on the way; where they arrive, the host itself drops them",
    ))
}

/// Without the right to send a bare ACK. Where no other TCP port says so much as RST, a filter is there for certain, and lets pass but a few; one
/// that lets this port pass, to a listener whose queue is full, is far rarer.
fn without_ack(ev: &Evidence<'_>, failure: &Failure<'_>) -> f64 {
    let of_others = || ev.control_connects(failure.ip).filter(|(_, connect)| connect.to.port() != failure.port);
    let mut mute: Vec<u16> = of_others().filter(|(_, connect)| connect.outcome.silent()).map(|(_, connect)| connect.to.port()).collect();
    mute.sort_unstable();
    mute.dedup();
    let refused = of_others().any(|(_, connect)| connect.outcome.reset());
    if mute.len() >= 2 && !refused { 0.86 } else { 0.7 }
}

/// A bare ACK passes, and no SYN is answered: mostly a listener's queue. But a filter without states lets pass what looks established.
fn only_openings(failure: &Failure<'_>, at: String, id: ObservationId) -> Claim {
    let summary = format!(
        "Packets to port {} that open no connection are answered, those that do are not: a filter may drop SYNs only.",
        failure.port
    );
    Claim::likely(0.14, Where::Remote, at, summary).citing([failure.id, id]).decided_by(
        format!("tcpdump -ni any 'tcp port {} and tcp[13] & 2 != 0'", failure.port),
        failure.ip.to_string(),
        "SYNs that arrive blame the listener's queue; none arriving blames a filter before it",
    )
}

/// The host is there by its neighbour entry, or its segment is reached, and it answers nothing at all: it may drop everything.
fn drops_everything(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    let at = failure.ip.to_string();
    if let Some(id) = crate::causes::l3::road_is_good(ev) {
        let summary = format!("The road to the segment of {} is good, and the host answers nothing: it may drop everything.", failure.ip);
        let claim = Claim::likely(0.35, Where::Remote, at, summary).citing([failure.id, id]);
        return Some(claim.decided_by(
            format!("tcpdump -ni any host {}", failure.ip),
            failure.ip.to_string(),
            "packets that arrive without an answer: a filter there, or no way back",
        ));
    }
    let (id, neighbor) = ev.next_hop_neighbor(failure.ip).filter(|_| ev.on_link(failure.ip))?;
    let fresh = matches!(neighbor.before, NeighborState::None | NeighborState::Incomplete | NeighborState::Failed);
    let confirmed = ev.first::<ArpProbe>(|probe| {
        probe.address == failure.ip && probe.macs.len() == 1 && probe.macs.first() == neighbor.mac_after.as_ref()
    });
    if neighbor.mac_after.is_none() || !(fresh || confirmed.is_some()) {
        return None;
    }
    let summary = format!("{} answers ARP on our own segment and nothing else: a firewall there drops everything.", failure.ip);
    Some(Claim::likely(0.85, Where::Remote, at, summary).citing([failure.id, id]).citing(confirmed.map(|(id, _)| id)))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, reset, route_via, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::{Role, TcpRepeat};
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    fn silent_with_control() -> Vec<Seen> {
        vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), connect("10.2.0.10:22", Role::Control, reset())]
    }

    fn ack(resets: u32) -> Seen {
        Seen::AckProbe(AckProbe { to: "10.2.0.10:80".parse().expect("addr"), sent: 2, resets, answer_ttl: None })
    }

    #[test]
    fn silence_with_an_answering_control_is_likely_a_filter() {
        check(silent_with_control(), Some((0.7, true)));
    }

    #[test]
    fn an_unanswered_bare_ack_proves_it() {
        check([silent_with_control(), vec![ack(0)]].concat(), Some((0.93, true)));
    }

    #[test]
    fn an_answered_bare_ack_leaves_only_a_filter_of_syns() {
        check([silent_with_control(), vec![ack(2)]].concat(), Some((0.14, true)));
    }

    #[test]
    fn some_connects_passing_refute_it() {
        let to = "10.2.0.10:80".parse().expect("addr");
        let some = Seen::TcpRepeat(TcpRepeat {
            to,
            tried: 10,
            connected: 3,
            connected_late: 0,
            failed: 0,
            silent: 7,
            waited_ms: 900.0,
            order: String::new(),
            icmp: None,
        });
        check([silent_with_control(), vec![some]].concat(), None);
    }

    #[test]
    fn data_that_never_arrives_after_good_handshakes_meets_a_filter() {
        use super::super::unheard::tests::request_unheard;
        let check = |seen, expect| assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        check(request_unheard(5, 16), Some((0.84, true)));
        // One timer is chance, and connects that hang are a queue's or the path's.
        check(request_unheard(1, 16), None);
        check(request_unheard(5, 12), None);
        // The server's kernel took the request: it is the service's matter.
        let acked = request_unheard(5, 16).into_iter().map(|seen| match seen {
            Seen::HttpExchange(mut http) => {
                http.tcp = http.tcp.map(|tcp| crate::observation::TcpHealth { unacked: 0, bytes_acked: 90, backoff: 0, ..tcp });
                Seen::HttpExchange(http)
            }
            other => other,
        });
        check(acked.collect(), None);
    }

    #[test]
    fn silence_alone_proves_nothing() {
        check(vec![connect("10.2.0.10:80", Role::Target, silent())], None);
    }

    #[test]
    fn a_host_whose_other_ports_are_mute_too_has_a_filter() {
        let with = |others: [crate::observation::ConnectOutcome; 3]| {
            let controls =
                [443, 22, 9].into_iter().zip(others).map(|(port, outcome)| connect(&format!("10.2.0.10:{port}"), Role::Control, outcome));
            let answered = connect("10.2.0.10:8443", Role::Control, super::super::tests_support::connected());
            let base = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), answered];
            [base, controls.collect()].concat()
        };
        check(with([silent(), silent(), silent()]), Some((0.86, true)));
        check([with([silent(), silent(), silent()]), vec![ack(0)]].concat(), Some((0.93, true)));
        check(with([silent(), silent(), reset()]), Some((0.7, true)));
        check(with([reset(), reset(), reset()]), Some((0.7, true)));
    }
}
