//! What a finding means beside others: damage behind repairs, a datagram too small, a scan beside work, addresses of documents that are in use.

use super::super::*;
use super::{SERVER, asked, at, check, finding, flow, outcome, service, silent};
use crate::finding::{Party, Weight};
use crate::flow::record::State;
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
