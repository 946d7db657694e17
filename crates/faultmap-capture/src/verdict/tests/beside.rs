//! What a finding means beside others: damage behind repairs, a datagram too small, a scan beside work, addresses of documents that are in use.

use super::super::*;
use super::{SERVER, asked, at, candidates, check, finding, flow, outcome, service, silent};
use crate::finding::{Party, Weight};
use crate::flow::record::{RuleCount, State};
use crate::flow::{FlowRecord, Protocol};

fn repaired(count: u32, damaged: u32) -> FlowRecord {
    let mut flow = flow(1, SERVER, State::Sf);
    flow.packets.server = 1000;
    let tcp = flow.tcp.get_or_insert_default();
    (tcp.sides.server.retransmits.fast, tcp.sides.server.bad_checksums) = (count, damaged);
    flow
}

#[test]
fn repairs_of_damaged_packets_are_bit_errors_and_others_are_loss() {
    let loss = finding("tcp.fast-retx", Weight::Warning, "l4.retransmissions", 1, None);
    let damage = finding("tcp.bad-checksum", Weight::Warning, "l1.bit-errors", 1, None);
    check(&outcome(vec![repaired(60, 50)], vec![loss.clone(), damage.clone()]), Status::Degraded, Some("l1.bit-errors"), 1);
    check(&outcome(vec![repaired(60, 0)], vec![loss]), Status::Degraded, Some("l4.retransmissions"), 1);
}

#[test]
fn where_checksums_were_cut_off_damage_stays_open_beside_loss() {
    let loss = || finding("tcp.fast-retx", Weight::Warning, "l4.retransmissions", 1, None);
    let cut = |behind: u32, left_to_the_card: u32| {
        let mut flow = repaired(60, 0);
        flow.cut.payload = true;
        let side = &mut flow.tcp.get_or_insert_default().sides.server;
        (side.lost_after, side.lost_before, side.unchecked) = (behind, 60 - behind, left_to_the_card);
        outcome(vec![flow], vec![loss()])
    };
    let judged = check(&cut(60, 0), Status::Inconclusive, Some("l4.retransmissions"), 1);
    assert_eq!(candidates(&judged), ["l4.retransmissions", "l1.bit-errors"]);
    // What never came here cannot be seen to be damaged, and what leaves its own host is not yet.
    check(&cut(0, 0), Status::Degraded, Some("l4.retransmissions"), 1);
    check(&cut(60, 9), Status::Degraded, Some("l4.retransmissions"), 1);
}

/// Connects to a host that answers nothing; of some of them a router says that it forbids them.
fn forbidden(asked: &[(&str, bool)]) -> Outcome {
    let (mut flows, mut findings) = (Vec::new(), Vec::new());
    for (id, (server, told)) in (1..).zip(asked) {
        let mut flow = flow(id, server, State::S0);
        if *told {
            flow.findings.push(RuleCount { rule: "icmp.admin-prohibited", count: 1, weight: Weight::Fault });
            let error = finding("icmp.admin-prohibited", Weight::Fault, "l4.firewall-reject", id, Some(Party::Host(at("10.2.0.1:0").ip())));
            findings.push(Finding { cause: None, ..error });
        }
        flows.push(flow);
    }
    outcome(flows, findings)
}

#[test]
fn a_router_that_forbids_several_ports_of_a_silent_host_forbids_the_host() {
    let (web, ssh, sql) = ("10.2.0.10:80", "10.2.0.10:22", "10.2.0.10:5432");
    check(&forbidden(&[(web, true), (ssh, true)]), Status::Fault, Some("l3.admin-prohibited"), 2);
    let one = check(&forbidden(&[(web, true), (web, true)]), Status::Inconclusive, Some("l4.firewall-reject"), 1);
    assert_eq!(candidates(&one), ["l4.firewall-reject", "l3.admin-prohibited"]);
    // Errors are rationed: what one of forty says may be meant for all.
    let mut asked = vec![(web, true), (ssh, false), (sql, false)];
    asked.extend([(web, false); 40]);
    let rationed = check(&forbidden(&asked), Status::Inconclusive, Some("l3.admin-prohibited"), 1);
    assert_eq!(candidates(&rationed), ["l3.admin-prohibited", "l4.firewall-reject"]);
}

#[test]
fn a_closed_tcp_port_of_a_server_that_truncates_blocks_dns_over_tcp() {
    let refused = || finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 2, service("10.0.0.53:53"));
    let mut datagrams = asked(flow(1, "10.0.0.53:53", State::Sf), 2, 0);
    datagrams.protocol = Protocol::Udp;
    let flows = vec![datagrams, flow(2, "10.0.0.53:53", State::Rej)];
    let truncated = finding("dns.truncated", Weight::Note, "l7.dns-slow", 1, service("10.0.0.53:53"));
    check(&outcome(flows.clone(), vec![truncated, refused()]), Status::Fault, Some("l7.dns-tcp-blocked"), 1);
    // Nobody was told to come over TCP.
    check(&outcome(flows, vec![refused()]), Status::Fault, Some("l4.port-closed"), 1);
}

#[test]
fn a_scan_beside_clients_that_are_served_is_no_fault() {
    let tried = |id| flow(id, SERVER, State::Rej);
    let mut scan = finding("tcp.scan", Weight::Note, "l4.port-filtered", 0, Some(Party::Host(at("10.1.0.2:1").ip())));
    (scan.cause, scan.cited.count) = (None, 100);
    let alone: Vec<FlowRecord> = (1..=100).map(tried).collect();
    check(&outcome(alone.clone(), vec![scan.clone()]), Status::Degraded, Some("l4.port-filtered"), 1);
    let served = (101..=104).map(|id| {
        let mut flow = asked(flow(id, SERVER, State::Sf), 3, 0);
        flow.client = at("10.1.0.9:40000");
        flow
    });
    check(&outcome(alone.into_iter().chain(served).collect(), vec![scan]), Status::Healthy, None, 0);
}

#[test]
fn an_address_of_documents_is_a_control_unless_the_network_is_built_of_them() {
    let (mut control, silence) = silent(1, "192.0.2.1:443");
    let refused = finding("icmp.net-unreachable", Weight::Fault, "l3.remote-no-route", 1, service("192.0.2.1:443"));
    check(&outcome(vec![control.clone()], vec![silence.clone(), refused.clone()]), Status::Healthy, None, 0);
    control.client = at("192.0.2.7:40000");
    check(&outcome(vec![control], vec![silence, refused]), Status::Fault, Some("l3.remote-no-route"), 1);
}
