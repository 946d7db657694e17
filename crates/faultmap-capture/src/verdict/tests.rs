//! Outcomes as the engine gives them, and what the judge says of them.

use super::*;
use crate::app::End;
use crate::finding::{Cited, Party};
use crate::flow::record::{Exchanges, PerSide, State, TcpRecord};
use crate::flow::{FlowId, FlowRecord, Protocol};
use crate::packet::Stamp;
use std::net::SocketAddr;

const SERVER: &str = "10.2.0.10:80";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn flow(id: u64, server: &str, state: State) -> FlowRecord {
    let answered = !matches!(state, State::S0);
    FlowRecord {
        id: FlowId(id),
        protocol: Protocol::Tcp,
        client: SocketAddr::new([10, 1, 0, 2].into(), 40_000 + id as u16),
        server: at(server),
        realm: 0,
        app: None,
        server_name: None,
        first_packet: id,
        first: Stamp(id as i64 * 1_000_000_000),
        last: Stamp(id as i64 * 1_000_000_000 + 3_000_000),
        packets: PerSide { client: 3, server: if answered { 2 } else { 0 } },
        bytes: PerSide::default(),
        state,
        end: End::Cut,
        tcp: Some(TcpRecord::default()),
        exchanges: Exchanges::default(),
        findings: Vec::new(),
    }
}

fn asked(mut flow: FlowRecord, count: u64, failing: u64) -> FlowRecord {
    flow.exchanges.count = count;
    flow.exchanges.failing = failing;
    flow
}

fn finding(rule: &'static str, weight: Weight, cause: &'static str, flow: u64, party: Option<Party>) -> Finding {
    let cause = faultmap_model::causes::find(cause).expect("a cause of the registry");
    Finding {
        rule,
        weight,
        layer: Some(cause.layer),
        cause: Some(cause.id),
        flow: (flow > 0).then_some(FlowId(flow)),
        blames: party,
        first: Stamp(1),
        last: Stamp(2),
        cited: Cited { packets: vec![flow, flow + 10], count: 2 },
        text: format!("{rule} it was"),
        value: None,
    }
}

fn service(text: &str) -> Option<Party> {
    Some(Party::Service(at(text)))
}

fn outcome(flows: Vec<FlowRecord>, findings: Vec<Finding>) -> Outcome {
    let mut outcome = Outcome { flows, findings, ..Outcome::default() };
    outcome.totals.all.packets = 100;
    outcome.totals.flows = outcome.flows.len() as u64;
    outcome
}

fn check(outcome: &Outcome, status: Status, cause: Option<&str>, groups: usize) -> Judgement {
    let judged = judge(outcome);
    let told: Vec<_> = judged.groups.iter().map(|group| (&group.party, &group.verdict.cause, &group.verdict.summary)).collect();
    assert_eq!((judged.verdict.status, judged.verdict.cause.as_deref(), judged.groups.len()), (status, cause, groups), "{told:?}");
    judged
}

fn silent(id: u64, server: &str) -> (FlowRecord, Finding) {
    (flow(id, server, State::S0), finding("tcp.syn-unanswered", Weight::Fault, "l4.port-filtered", id, service(server)))
}

#[test]
fn silence_alone_is_inconclusive() {
    let (flow, finding) = silent(1, SERVER);
    let judged = check(&outcome(vec![flow], vec![finding]), Status::Inconclusive, Some("l4.port-filtered"), 1);
    let causes: Vec<&str> = judged.verdict.candidates.iter().map(|candidate| candidate.cause.as_str()).collect();
    assert_eq!(causes, ["l4.port-filtered", "l3.remote-blackhole", "l2.remote-neighbor-unresolved"]);
}

#[test]
fn silence_of_one_port_of_a_host_that_answers_elsewhere_is_a_filter() {
    let (first, finding) = silent(1, SERVER);
    let flows = vec![first, flow(2, "10.2.0.10:22", State::Sf)];
    check(&outcome(flows, vec![finding]), Status::Fault, Some("l4.port-filtered"), 1);
}

#[test]
fn silence_of_a_port_that_answers_others_is_left_open() {
    let (first, finding) = silent(1, SERVER);
    let flows = vec![first, flow(2, SERVER, State::Sf), flow(3, SERVER, State::Sf)];
    check(&outcome(flows, vec![finding]), Status::Inconclusive, Some("l4.accept-queue-full"), 1);
}

#[test]
fn a_host_that_answers_no_arp_explains_that_its_services_are_silent() {
    let (first, silence) = silent(1, SERVER);
    let arp = finding("arp.unanswered", Weight::Fault, "l2.neighbor-unresolved", 0, Some(Party::Host(at(SERVER).ip())));
    check(&outcome(vec![first], vec![silence, arp]), Status::Fault, Some("l2.neighbor-unresolved"), 1);
}

#[test]
fn where_one_direction_was_captured_silence_is_the_captures() {
    let (first, silence) = silent(1, SERVER);
    let mut outcome = outcome(vec![first], vec![silence]);
    outcome.quality.one_sided_flows = 1;
    check(&outcome, Status::Healthy, None, 0);
}

#[test]
fn one_dead_dependency_behind_a_hundred_connects_is_one_group() {
    let refused = |id| (flow(id, SERVER, State::Rej), finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", id, service(SERVER)));
    let (mut flows, findings): (Vec<_>, Vec<_>) = (1..=100).map(refused).unzip();
    flows.push(asked(flow(200, "10.2.0.11:80", State::Sf), 5, 0));
    let judged = check(&outcome(flows, findings), Status::Fault, Some("l4.port-closed"), 1);
    assert_eq!((judged.groups[0].flows.len(), judged.groups[0].cited.count), (100, 200));
    assert_eq!(judged.groups[0].filter, "ip.addr == 10.2.0.10 && tcp.port == 80 && (tcp.flags.syn == 1 || tcp.flags.reset == 1)");
}

#[test]
fn many_ports_of_one_host_tried_by_one_client_are_a_scan() {
    let refused = |id: u64| {
        let server = format!("10.2.0.10:{id}");
        (flow(id, &server, State::Rej), finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", id, service(&server)))
    };
    let (flows, findings): (Vec<_>, Vec<_>) = (1..=30).map(refused).unzip();
    let judged = check(&outcome(flows, findings), Status::Degraded, Some("l4.port-closed"), 1);
    assert!(judged.verdict.summary.contains("a scan"), "{}", judged.verdict.summary);
}

#[test]
fn a_share_of_failing_exchanges_decides_between_fault_risk_and_accident() {
    let check_share = |failing: u64, status, cause, groups| {
        let flows = vec![asked(flow(1, SERVER, State::Sf), 1000, failing)];
        let failure = |_| finding("http.status", Weight::Fault, "l7.http-unavailable", 1, service(SERVER));
        check(&outcome(flows, (0..failing).map(failure).collect()), status, cause, groups);
    };
    check_share(500, Status::Fault, Some("l7.http-unavailable"), 1);
    check_share(50, Status::Degraded, Some("l7.http-unavailable"), 1);
    check_share(5, Status::Healthy, None, 0);
}

#[test]
fn what_was_asked_wrongly_now_and_then_is_everyday() {
    let missing = || finding("http.status", Weight::Warning, "l7.http-not-found", 1, service(SERVER));
    check(&outcome(vec![asked(flow(1, SERVER, State::Sf), 10, 1)], vec![missing()]), Status::Healthy, None, 0);
    let all = vec![missing(), missing(), missing()];
    check(&outcome(vec![asked(flow(1, SERVER, State::Sf), 4, 3)], all), Status::Degraded, Some("l7.http-not-found"), 1);
}

#[test]
fn a_name_of_a_search_list_is_no_fault_where_the_client_goes_on() {
    let mut lookup = asked(flow(1, "10.0.0.53:53", State::Sf), 1, 1);
    lookup.protocol = Protocol::Udp;
    lookup.app = Some("dns");
    let missing = || finding("dns.nxdomain", Weight::Warning, "l7.dns-nxdomain", 1, service("10.0.0.53:53"));
    check(&outcome(vec![lookup.clone()], vec![missing()]), Status::Degraded, Some("l7.dns-nxdomain"), 1);
    let went_on = asked(flow(2, SERVER, State::Sf), 1, 0);
    check(&outcome(vec![lookup, went_on], vec![missing()]), Status::Healthy, None, 0);
}

#[test]
fn loss_is_told_by_its_share_of_a_path_and_not_by_flow() {
    let lossy = |id, again| {
        let mut flow = flow(id, SERVER, State::Sf);
        flow.packets.server = 1000;
        if let Some(tcp) = &mut flow.tcp {
            tcp.sides.server.retransmits.fast = again;
        }
        flow
    };
    check(&outcome(vec![lossy(1, 2), lossy(2, 1)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![lossy(1, 30), lossy(2, 0)], vec![]), Status::Degraded, Some("l4.retransmissions"), 1);
}

#[test]
fn the_lower_of_two_faults_of_one_flow_is_named_and_the_upper_is_its_consequence() {
    let flows = vec![asked(flow(1, SERVER, State::Rstr), 1, 1)];
    let findings = vec![
        finding("http.truncated", Weight::Fault, "l7.http-malformed", 1, service(SERVER)),
        finding("tcp.rst-mid-response", Weight::Fault, "l4.reset-mid-stream", 1, service(SERVER)),
    ];
    let judged = check(&outcome(flows, findings), Status::Fault, Some("l4.reset-mid-stream"), 1);
    assert_eq!(judged.verdict.also.len(), 1);
}

#[test]
fn two_faults_of_one_service_in_different_flows_are_two_groups() {
    let flows = vec![asked(flow(1, SERVER, State::Sf), 1, 1), asked(flow(2, SERVER, State::Sf), 1, 1)];
    let findings = vec![
        finding("tls.alert", Weight::Fault, "l6.cert-expired", 1, service(SERVER)),
        finding("http.status", Weight::Fault, "l7.http-unavailable", 2, service(SERVER)),
    ];
    check(&outcome(flows, findings), Status::Fault, Some("l6.cert-expired"), 2);
}

#[test]
fn findings_about_the_capture_never_fault_the_network() {
    let mut copies = finding("cap.duplicate", Weight::Capture, "l4.retransmissions", 1, None);
    (copies.layer, copies.cause) = (None, None);
    let judged = check(&outcome(vec![flow(1, SERVER, State::Sf)], vec![copies]), Status::Healthy, None, 0);
    assert_eq!(judged.capture.len(), 1);
}

#[test]
fn a_port_that_is_asked_because_nobody_listens_is_no_dead_service() {
    let probe = |server: &str| finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 1, service(server));
    let discard = "10.2.0.10:9";
    check(&outcome(vec![flow(1, discard, State::Rej)], vec![probe(discard)]), Status::Fault, Some("l4.port-closed"), 1);
    let flows = vec![flow(1, discard, State::Rej), flow(2, SERVER, State::Sf)];
    check(&outcome(flows, vec![probe(discard)]), Status::Healthy, None, 0);
}

#[test]
fn a_client_that_goes_away_now_and_then_is_everyday() {
    let client = Some(Party::Host([10, 1, 0, 2].into()));
    let left = || finding("tls.handshake-unfinished", Weight::Warning, "l6.tls-handshake-failed", 1, client);
    let flows = (1..=5).map(|id| flow(id, SERVER, State::Sf)).collect();
    check(&outcome(flows, vec![left()]), Status::Healthy, None, 0);
    check(&outcome(vec![flow(1, SERVER, State::Rsto)], vec![left()]), Status::Degraded, Some("l6.tls-handshake-failed"), 1);
}
