//! Outcomes as the engine gives them, and what the judge says of them.

mod beside;
mod dead;
mod inside;
mod lifetimes;
mod paths;
mod reuse;

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
        hello_bytes: None,
        decrypted: false,
        first_packet: id,
        first: Stamp(id as i64 * 1_000_000_000),
        last: Stamp(id as i64 * 1_000_000_000 + 3_000_000),
        packets: PerSide { client: 3, server: if answered { 2 } else { 0 } },
        bytes: PerSide::default(),
        state,
        end: End::Cut,
        tcp: Some(TcpRecord::default()),
        exchanges: Exchanges::default(),
        searching: false,
        cut: Default::default(),
        fragmented: 0,
        answered_in_fragments: 0,
        asked_again: false,
        client_ttl: 64,
        delivered: false,
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
        said_by: None,
        value: None,
    }
}

fn service(text: &str) -> Option<Party> {
    Some(Party::Service(at(text)))
}

fn outcome(flows: Vec<FlowRecord>, findings: Vec<Finding>) -> Outcome {
    let mut outcome = Outcome { flows, findings, ..Outcome::default() };
    outcome.heard_back = true;
    outcome.totals.all.packets = 100;
    outcome.totals.flows = outcome.flows.len() as u64;
    outcome
}

fn candidates(judged: &Judgement) -> Vec<&str> {
    judged.verdict.candidates.iter().map(|candidate| candidate.cause.as_str()).collect()
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
    assert_eq!(causes, ["l4.port-filtered", "l3.remote-blackhole", "l2.remote-neighbor-unresolved", "l3.no-return-route"]);
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
    // Whose ports they are has nothing to mend.
    let steps: Vec<_> = judged.verdict.next.iter().map(|step| step.on.as_str()).collect();
    assert_eq!(steps, ["10.1.0.2"]);
    assert!(judged.verdict.fix.iter().all(|line| !line.contains("Start the service")), "{:?}", judged.verdict.fix);
}

#[test]
fn what_a_router_says_of_a_loop_belongs_to_the_loop() {
    let looped = finding("ip.routing-loop", Weight::Fault, "l3.routing-loop", 0, Some(Party::Host([10, 2, 0, 10].into())));
    let said = finding("icmp.ttl-exceeded", Weight::Fault, "l3.routing-loop", 1, Some(Party::Host([10, 1, 0, 1].into())));
    let judged = check(&outcome(vec![flow(1, SERVER, State::S0)], vec![looped, said]), Status::Fault, Some("l3.routing-loop"), 1);
    assert_eq!((judged.groups[0].party.as_str(), judged.groups[0].cited.count), ("10.2.0.10", 4));
}

#[test]
fn a_certificate_is_asked_for_by_the_name_that_the_client_asked_for() {
    let check = |name: Option<&str>, run: &str| {
        let server = "10.2.0.10:443";
        let flow = FlowRecord { server_name: name.map(str::to_owned), ..flow(1, server, State::Sf) };
        let judged = judge(&outcome(vec![flow], vec![finding("tls.cert-expired", Weight::Fault, "l6.cert-expired", 1, service(server))]));
        assert!(judged.verdict.next[0].run.starts_with(run), "{}", judged.verdict.next[0].run);
    };
    check(Some("shop.test"), "openssl s_client -connect 10.2.0.10:443 -servername shop.test <");
    check(None, "openssl s_client -connect 10.2.0.10:443 <");
}

#[test]
fn two_rules_that_tell_of_one_event_are_not_two_events() {
    let of_rule = |rule: &'static str| finding(rule, Weight::Fault, "l4.reset-mid-stream", 1, service(SERVER));
    let flow = asked(flow(1, SERVER, State::Rstr), 1, 1);
    let judged = judge(&outcome(vec![flow], vec![of_rule("tcp.rst-mid-response"), of_rule("http.truncated-body")]));
    assert!(!judged.verdict.summary.contains("times"), "{}", judged.verdict.summary);
}

#[test]
fn what_was_never_acknowledged_is_left_open_with_the_test_that_decides() {
    let sent_again = Finding { cause: None, ..finding("tcp.rto", Weight::Fault, "l4.retransmissions", 1, service(SERVER)) };
    let judged = check(&outcome(vec![flow(1, SERVER, State::S1)], vec![sent_again]), Status::Inconclusive, Some("l4.retransmissions"), 1);
    assert_eq!(judged.verdict.next[0].run, "faultmap check tcp://10.2.0.10:80");
}

#[test]
fn the_filter_of_many_dead_hosts_names_them_all() {
    let (flows, findings) = (1..=6).map(|id| silent(id, &format!("10.2.0.{id}:80"))).unzip();
    let judged = check(&outcome(flows, findings), Status::Inconclusive, Some("l4.port-filtered"), 1);
    assert_eq!(
        judged.groups[0].filter,
        "ip.addr in {10.2.0.1, 10.2.0.2, 10.2.0.3, 10.2.0.4, 10.2.0.5, 10.2.0.6} && tcp.port == 80 && tcp.flags.syn == 1"
    );
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

/// A connection in TLS for a name, with a hello of so many bytes, that the server refused or answered.
fn hello(id: u64, name: Option<&str>, bytes: u32, refused: bool) -> FlowRecord {
    let mut flow = asked(flow(id, "10.2.0.10:443", if refused { State::Rstr } else { State::Sf }), 1, u64::from(refused));
    (flow.app, flow.server_name, flow.hello_bytes) = (Some("tls"), name.map(str::to_owned), Some(bytes));
    flow.bytes.client = u64::from(bytes);
    flow.bytes.server = if refused { 0 } else { 1500 };
    if let Some(tcp) = &mut flow.tcp {
        tcp.sides.server.largest_payload = flow.bytes.server.min(1428) as u32;
    }
    flow
}

fn noted(mut flow: FlowRecord, rule: &'static str, weight: Weight) -> FlowRecord {
    flow.findings.push(crate::flow::record::RuleCount { rule, count: 1, weight });
    flow
}

fn cut_off(id: u64, name: &str, bytes: u32) -> (FlowRecord, Finding) {
    let flow = noted(hello(id, Some(name), bytes, true), "tls.closed-in-handshake", Weight::Fault);
    (flow, finding("tls.closed-in-handshake", Weight::Fault, "l6.tls-handshake-failed", id, service("10.2.0.10:443")))
}

#[test]
fn a_name_that_is_cut_off_where_others_are_served_is_refused() {
    let (flows, findings): (Vec<_>, Vec<_>) = (1..=3).map(|id| cut_off(id, "shop.test", 250)).unzip();
    let with = |more: FlowRecord| outcome(flows.iter().cloned().chain([more]).collect(), findings.clone());
    check(&with(hello(9, Some("example.com"), 252, false)), Status::Fault, Some("l6.sni-rejected"), 1);
    check(&with(hello(9, None, 232, false)), Status::Fault, Some("l6.sni-rejected"), 1);
    // The same name is served, too: something else is wrong.
    check(&with(hello(9, Some("shop.test"), 250, false)), Status::Fault, Some("l6.tls-handshake-failed"), 1);
    check(&outcome(flows.clone(), findings.clone()), Status::Fault, Some("l6.tls-handshake-failed"), 1);
}

#[test]
fn a_hello_of_several_segments_that_is_cut_off_where_short_ones_are_served_is_too_long_for_somebody() {
    let (mut flows, findings): (Vec<_>, Vec<_>) = (1..=2).map(|id| cut_off(id, "shop.test", 1800)).unzip();
    flows.push(hello(9, Some("shop.test"), 250, false));
    check(&outcome(flows.clone(), findings.clone()), Status::Fault, Some("l6.tls-handshake-stalled"), 1);
    flows.push(hello(10, Some("shop.test"), 1900, false));
    check(&outcome(flows, findings), Status::Fault, Some("l6.tls-handshake-failed"), 1);
}

#[test]
fn who_shakes_hands_for_an_address_that_nobody_has_stands_in_between() {
    let shook = |id, server: &str, asked: u64| {
        let mut flow = flow(id, server, State::Rstr);
        let seen = crate::flow::record::Seen { packet: id, at_ns: flow.first.0 };
        flow.tcp = Some(TcpRecord {
            handshake: crate::flow::record::Handshake { syn_ack: Some(seen), ..Default::default() },
            ..TcpRecord::default()
        });
        flow.bytes.client = asked;
        flow
    };
    let closed = |id| finding("http.closed-without-answer", Weight::Fault, "l5.closed-without-answer", id, service(SERVER));
    let mut flows = vec![shook(1, SERVER, 118), shook(2, SERVER, 118)];
    check(&outcome(flows.clone(), vec![closed(1), closed(2)]), Status::Fault, Some("l5.closed-without-answer"), 1);
    flows.push(shook(3, "192.0.2.1:9", 0));
    check(&outcome(flows.clone(), vec![closed(1), closed(2)]), Status::Fault, Some("l4.interposed-proxy"), 1);
    // The service does speak: the one in between does no harm to it.
    flows[1].bytes.server = 500;
    check(&outcome(flows, vec![closed(1)]), Status::Fault, Some("l5.closed-without-answer"), 1);
}

#[test]
fn a_service_of_another_protocol_than_its_ports_hangs_up_on_who_expects_that() {
    let at_mysql = |id, app, failing| {
        let mut flow = asked(flow(id, "10.2.0.10:3306", State::Sf), 1, failing);
        flow.app = Some(app);
        flow.bytes.server = u64::from(failing == 0);
        flow
    };
    let hung_up = noted(at_mysql(2, "http", 1), "http.closed-without-answer", Weight::Fault);
    let closed = finding("http.closed-without-answer", Weight::Fault, "l5.closed-without-answer", 2, service("10.2.0.10:3306"));
    let flows = vec![at_mysql(1, "postgres", 0), hung_up.clone()];
    check(&outcome(flows, vec![closed.clone()]), Status::Fault, Some("l7.protocol-mismatch"), 1);
    // Who tries HTTP on a port that speaks what it should is closed without an answer, and no more.
    check(&outcome(vec![at_mysql(1, "mysql", 0), hung_up], vec![closed]), Status::Fault, Some("l5.closed-without-answer"), 1);
}

#[test]
fn encrypted_silence_is_told_where_it_is_all_that_there_is() {
    let silent = |id| noted(hello(id, Some("shop.test"), 250, false), "tls.unanswered", Weight::Note);
    let mut note = finding("tls.unanswered", Weight::Note, "l7.service-mute", 1, service("10.2.0.10:443"));
    note.value = Some(12_000.0);
    let told = |flows: Vec<FlowRecord>, status, cause, groups| check(&outcome(flows, vec![note.clone()]), status, cause, groups);
    told(vec![silent(1)], Status::Healthy, None, 0);
    told(vec![silent(1), silent(2)], Status::Fault, Some("l7.service-mute"), 1);
    let answered = asked(hello(3, Some("shop.test"), 250, false), 2, 0);
    told(vec![silent(1), silent(2), answered], Status::Healthy, None, 0);
}

#[test]
fn a_client_that_breaks_off_every_handshake_has_something_against_the_certificate() {
    let gone = |id| noted(hello(id, Some("shop.test"), 250, false), "tls.handshake-unfinished", Weight::Note);
    let judged = check(&outcome(vec![gone(1), gone(2), gone(3)], vec![]), Status::Inconclusive, Some("l6.cert-untrusted-ca"), 1);
    assert!(judged.verdict.next.iter().any(|next| next.run.starts_with("openssl s_client")), "{:?}", judged.verdict.next);
    check(&outcome(vec![gone(1), gone(2)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![gone(1), gone(2), gone(3), hello(4, Some("shop.test"), 250, false)], vec![]), Status::Healthy, None, 0);
}

fn valued(rule: &'static str, cause: &'static str, flow: u64, value: f64) -> Finding {
    Finding { value: Some(value), ..finding(rule, Weight::Note, cause, flow, service(SERVER)) }
}

#[test]
fn a_login_that_is_wanted_and_not_brought_is_told_only_if_the_client_went_away() {
    let challenged = |id, left: bool| {
        let mut flow = asked(flow(id, SERVER, State::Sf), 1, 1);
        if let Some(tcp) = &mut flow.tcp {
            tcp.sides.client.fin = left.then_some(crate::flow::record::Seen { packet: 9, at_ns: 0 });
        }
        flow
    };
    let proxy = || vec![valued("http.status", "l5.proxy-refused", 1, 407.0)];
    check(&outcome(vec![challenged(1, true)], proxy()), Status::Fault, Some("l5.proxy-refused"), 1);
    check(&outcome(vec![challenged(1, false)], proxy()), Status::Healthy, None, 0);
    check(&outcome(vec![challenged(1, true), asked(flow(2, SERVER, State::Sf), 1, 0)], proxy()), Status::Healthy, None, 0);
    let page = vec![valued("http.status", "l7.http-unauthorized", 1, 401.0)];
    check(&outcome(vec![challenged(1, true)], page), Status::Degraded, Some("l7.http-unauthorized"), 1);
}

#[test]
fn redirects_and_nothing_else_are_a_circle() {
    let hop = |id: u64| (asked(flow(id, SERVER, State::Sf), 1, 0), valued("http.redirect", "l7.http-redirect-loop", id, 302.0));
    let (mut flows, findings): (Vec<_>, Vec<_>) = (1..=9).map(hop).unzip();
    check(&outcome(flows.clone(), findings.clone()), Status::Fault, Some("l7.http-redirect-loop"), 1);
    flows.push(asked(flow(10, SERVER, State::Sf), 1, 0));
    check(&outcome(flows, findings), Status::Healthy, None, 0);
}

#[test]
fn tls_that_a_client_tries_after_another_protocol_is_an_experiment() {
    let speaks = |id: u64, app: &'static str| {
        let mut flow = flow(id, SERVER, State::Sf);
        (flow.app, flow.bytes) = (Some(app), PerSide { client: 8, server: 8 });
        flow
    };
    let answer = || vec![finding("tls.plaintext-reply", Weight::Fault, "l6.plaintext-on-tls-port", 2, service(SERVER))];
    check(&outcome(vec![speaks(1, "amqp"), speaks(2, "tls")], answer()), Status::Healthy, None, 0);
    check(&outcome(vec![speaks(2, "tls")], answer()), Status::Fault, Some("l6.plaintext-on-tls-port"), 1);
    check(&outcome(vec![speaks(1, "tls"), speaks(2, "tls")], answer()), Status::Fault, Some("l6.plaintext-on-tls-port"), 1);
}
