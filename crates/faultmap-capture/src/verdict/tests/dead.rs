//! What is dead, and what only looks so: one family of two, a connection after a pause, a segment that is too large, answers that nobody hears, and silence of a
//! direction that was not captured.

use super::super::*;
use super::{SERVER, asked, at, candidates, check, finding, flow, outcome, service, silent};
use crate::finding::{Finding, Weight};
use crate::flow::record::{Pause, Seen, State};
use crate::flow::{FlowRecord, Protocol};
use crate::packet::Stamp;

const SIX: &str = "[2a00:1::80]:443";
const FOUR: &str = "198.18.1.80:443";

fn established(id: u64, server: &str) -> FlowRecord {
    let mut flow = flow(id, server, State::Sf);
    flow.bytes.server = 900;
    flow.tcp.get_or_insert_default().handshake.ack = Some(Seen { packet: id, at_ns: 1 });
    flow
}

/// Two attempts over IPv6 without an answer, and what else there is; all names and addresses known from DNS.
fn two_families(others: Vec<FlowRecord>) -> Outcome {
    let mut outcome = outcome(vec![flow(1, SIX, State::S0), flow(2, SIX, State::S0)], vec![]);
    outcome.flows.extend(others);
    outcome.totals.last = Some(Stamp(60_000_000_000));
    outcome.names.learn("shop.test".to_owned(), &[at(SIX).ip(), at(FOUR).ip()]);
    outcome
}

#[test]
fn a_family_without_an_answer_is_broken_where_the_other_serves_the_same_name() {
    check(&two_families(vec![established(3, FOUR)]), Status::Degraded, Some("l3.ipv6-broken"), 1);
    // Nobody serves the name; or it is served at another port; or the name has not this address.
    check(&two_families(vec![flow(3, FOUR, State::S0)]), Status::Healthy, None, 0);
    check(&two_families(vec![established(3, "198.18.1.80:22")]), Status::Healthy, None, 0);
    check(&two_families(vec![established(3, "198.18.1.81:443")]), Status::Healthy, None, 0);
}

#[test]
fn an_address_is_dead_and_not_its_family_where_others_of_the_family_answer() {
    check(&two_families(vec![established(3, FOUR), established(4, "[2a00:2::1]:443")]), Status::Degraded, Some("l4.address-dead"), 1);
    // A resolver is near.
    check(&two_families(vec![established(3, FOUR), established(4, "[2a00:2::1]:53")]), Status::Degraded, Some("l3.ipv6-broken"), 1);
}

#[test]
fn an_address_that_answered_anything_is_not_dead() {
    let mut refused = flow(3, SIX, State::Rej);
    refused.packets.server = 1;
    check(&two_families(vec![refused, established(4, FOUR)]), Status::Healthy, None, 0);
    // Who tried last may still be answered.
    let mut soon = two_families(vec![established(3, FOUR)]);
    soon.totals.last = Some(Stamp(1_200_000_000));
    check(&soon, Status::Healthy, None, 0);
}

fn paused(id: u64, survived_ms: f64, died_after_ms: Option<f64>) -> FlowRecord {
    let mut flow = established(id, SERVER);
    flow.last = Stamp(flow.first.0 + 30_000_000_000);
    let until = Stamp(flow.first.0 + 10_000_000_000);
    let tcp = flow.tcp.get_or_insert_default();
    (tcp.survived_ms, tcp.died_after) = (survived_ms, died_after_ms.map(|ms| Pause { ms, until }));
    flow
}

#[test]
fn connections_that_die_after_a_pause_and_only_then_are_forgotten_on_the_way() {
    let dead = |id| paused(id, 1200.0, Some(4000.0));
    check(&outcome(vec![dead(1), dead(2), paused(3, 2000.0, None)], vec![]), Status::Fault, Some("l4.nat-idle-timeout"), 1);
    // One alone; or another lived through as long a pause.
    check(&outcome(vec![dead(1), paused(3, 2000.0, None)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![dead(1), dead(2), paused(3, 5000.0, None)], vec![]), Status::Healthy, None, 0);
    // Both were silent when something else may have happened, and none was at work meanwhile.
    let mut later = paused(9, 2000.0, None);
    later.first = Stamp(60_000_000_000);
    check(&outcome(vec![dead(1), dead(2), later], vec![]), Status::Healthy, None, 0);
}

fn stuck(id: u64, largest_acked: u32) -> (FlowRecord, Finding) {
    let mut flow = established(id, SERVER);
    flow.last = Stamp(flow.first.0 + 20_000_000_000);
    let sides = &mut flow.tcp.get_or_insert_default().sides;
    (sides.client.stuck_payload, sides.client.largest_acked) = (Some(1448), largest_acked);
    let mut again = finding("tcp.rto", Weight::Fault, "l4.retransmissions", id, service(SERVER));
    again.cause = None;
    (flow, again)
}

#[test]
fn a_segment_larger_than_any_that_got_through_may_be_too_large() {
    let (dead, again) = stuck(1, 125);
    let judged = check(&outcome(vec![dead.clone()], vec![again.clone()]), Status::Inconclusive, Some("l3.pmtu-blackhole"), 1);
    assert!(candidates(&judged).contains(&"l3.remote-blackhole"), "{:?}", judged.verdict.candidates);
    // Others are opened meanwhile, so that the path is there.
    let judged =
        check(&outcome(vec![dead.clone(), established(5, SERVER)], vec![again.clone()]), Status::Fault, Some("l3.pmtu-blackhole"), 1);
    assert_eq!(judged.verdict.layer, Some(faultmap_model::Layer::L3));
    // As large a segment got through in another connection.
    let mut other = established(5, SERVER);
    other.tcp.get_or_insert_default().sides.client.largest_acked = 1448;
    let judged = judge(&outcome(vec![dead, other], vec![again]));
    assert!(!candidates(&judged).contains(&"l3.pmtu-blackhole"), "{:?}", judged.verdict.candidates);
}

/// So many answers of a resolver, the first of which were asked for again.
fn resolver(answers: u64, unheard: u64, fragments: bool, client_ttl: u8) -> Outcome {
    let mut flows = Vec::new();
    let mut findings = Vec::new();
    for id in 1..=answers {
        let mut flow = asked(flow(id, "10.0.0.53:53", State::Sf), 1, 0);
        (flow.protocol, flow.tcp, flow.app, flow.client_ttl) = (Protocol::Udp, None, Some("dns"), client_ttl);
        (flow.packets.client, flow.packets.server) = (1, 1);
        if id <= unheard {
            flow.answered_in_fragments = u64::from(fragments);
            let mut found = finding("dns.answer-not-taken", Weight::Fault, "l7.dns-timeout", id, service("10.0.0.53:53"));
            found.cause = None;
            findings.push(found);
        }
        flows.push(flow);
    }
    outcome(flows, findings)
}

#[test]
fn answers_that_now_and_then_do_not_arrive_are_lost_behind_the_capture() {
    check(&resolver(20, 4, false, 61), Status::Degraded, Some("l3.packet-loss"), 1);
    // Two of them are an accident, three of a hundred are everyday's.
    check(&resolver(20, 2, false, 61), Status::Healthy, None, 0);
    check(&resolver(100, 3, false, 61), Status::Healthy, None, 0);
    // None arrives: no loss, but a way back that is closed.
    check(&resolver(4, 2, false, 61), Status::Inconclusive, Some("l3.no-return-route"), 1);
}

#[test]
fn answers_in_fragments_that_do_not_arrive_while_whole_ones_do_name_the_fragments() {
    check(&resolver(6, 2, true, 61), Status::Fault, Some("l3.fragments-dropped"), 1);
}

#[test]
fn a_resolver_that_answers_over_tcp_alone_is_not_mute() {
    let resolver = "10.0.0.53:53";
    let over = |protocol: Protocol, id: u64, answered: bool| {
        let mut flow = asked(flow(id, resolver, State::Sf), 1, u64::from(!answered));
        (flow.protocol, flow.app) = (protocol, Some("dns"));
        if protocol == Protocol::Udp {
            flow.tcp = None;
        }
        (flow.packets.client, flow.packets.server) = (2, u64::from(answered));
        flow
    };
    let lost = |id: u64| finding("dns.timeout", Weight::Fault, "l7.dns-timeout", id, service(resolver));
    let mute = || vec![over(Protocol::Udp, 1, false), over(Protocol::Udp, 2, false)];
    let with = |other: FlowRecord| outcome([mute(), vec![other]].concat(), vec![lost(1), lost(2)]);
    check(&with(over(Protocol::Tcp, 3, true)), Status::Fault, Some("l4.udp-filtered"), 1);
    // Over UDP it answers others.
    check(&with(over(Protocol::Udp, 3, true)), Status::Fault, Some("l7.dns-timeout"), 1);
    // TCP is opened, and nothing is said there: the service is as mute.
    let mut opened = over(Protocol::Tcp, 3, false);
    opened.packets.server = 1;
    check(&with(opened), Status::Fault, Some("l7.dns-timeout"), 1);
}

#[test]
fn a_host_that_does_not_take_answers_that_reached_it_has_itself_to_blame() {
    let judged = check(&resolver(4, 2, false, 64), Status::Inconclusive, Some("l7.dns-timeout"), 1);
    assert!(candidates(&judged).contains(&"l4.local-firewall"), "{:?}", judged.verdict.candidates);
}

#[test]
fn silence_of_a_station_that_has_the_address_is_its_own() {
    let (mut flow, silence) = silent(1, SERVER);
    flow.delivered = true;
    let judged = check(&outcome(vec![flow], vec![silence]), Status::Inconclusive, Some("l4.port-filtered"), 1);
    assert!(candidates(&judged).contains(&"l3.rp-filter") && !candidates(&judged).contains(&"l3.remote-blackhole"));
}

#[test]
fn where_nobody_is_heard_only_what_is_sent_again_is_silence() {
    let (flow, mut silence) = silent(1, SERVER);
    let mut deaf = outcome(vec![flow], vec![silence.clone()]);
    deaf.heard_back = false;
    check(&deaf, Status::Inconclusive, Some("l4.port-filtered"), 1);
    silence.cited.count = 1;
    deaf.findings = vec![silence];
    check(&deaf, Status::Healthy, None, 0);
}

#[test]
fn a_router_that_refuses_dns_over_tcp_blocks_it_as_well() {
    let dns = "10.0.0.53:53";
    let rejected = || {
        finding("icmp.admin-prohibited", Weight::Fault, "l4.firewall-reject", 1, Some(crate::finding::Party::Host(at("10.0.0.1:0").ip())))
    };
    let mut truncated = finding("dns.truncated", Weight::Note, "l7.dns-timeout", 2, service(dns));
    truncated.cause = None;
    let mut tcp = flow(1, dns, State::S0);
    tcp.packets.server = 0;
    check(&outcome(vec![tcp.clone()], vec![rejected(), truncated]), Status::Fault, Some("l7.dns-tcp-blocked"), 1);
    check(&outcome(vec![tcp], vec![rejected()]), Status::Fault, Some("l4.firewall-reject"), 1);
}

/// A question to one address, and an answer from another to the same port.
fn answered_from(id: u64, asked: &str, from: &str) -> [FlowRecord; 2] {
    let datagrams = |id: u64, server: &str, client: u64, packets: u64| {
        let mut flow = flow(id, server, State::Sf);
        (flow.protocol, flow.tcp, flow.client) = (Protocol::Udp, None, at("10.1.0.2:50000"));
        (flow.packets.client, flow.packets.server) = (client, packets);
        flow
    };
    [datagrams(id, asked, 2, 0), datagrams(id + 1, from, 0, 2)]
}

#[test]
fn an_answer_from_an_address_that_was_not_asked_is_no_answer() {
    check(&outcome(answered_from(1, "10.0.0.53:53", "10.0.0.80:53").into(), vec![]), Status::Fault, Some("l3.no-return-route"), 1);
    // Who asks a group is answered by its members.
    check(&outcome(answered_from(1, "224.0.0.251:53", "10.0.0.80:53").into(), vec![]), Status::Healthy, None, 0);
    // Both were asked from the same port: one of the two is enough.
    let mut both = answered_from(1, "10.0.0.53:53", "10.0.0.80:53");
    both[1].packets.client = 1;
    check(&outcome(both.into(), vec![]), Status::Healthy, None, 0);
}

#[test]
fn a_private_address_of_which_nobody_else_is_heard_may_be_one_of_elsewhere() {
    let causes = |server: &str, client: &str| {
        let (mut flow, silence) = silent(1, server);
        flow.client = at(client);
        let silence = Finding { blames: service(server), ..silence };
        let mut outcome = outcome(vec![flow], vec![silence]);
        outcome.names.learn("shop.test".to_owned(), &[at(server).ip()]);
        candidates(&judge(&outcome)).contains(&"l3.private-address")
    };
    assert!(causes("192.168.77.7:443", "10.1.0.2:40000"));
    assert!(!causes("10.1.7.7:443", "10.1.0.2:40000"), "of the same network");
    assert!(!causes("198.51.100.7:443", "10.1.0.2:40000"), "a public one");
}
