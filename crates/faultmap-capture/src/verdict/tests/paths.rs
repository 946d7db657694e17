//! What connections of the same hosts tell of each other: of size, of ports that are asked to compare, of distance, and of loss.

use super::*;

/// The client asks `wanted` first, then looks at the path to the host and asks another port to compare.
fn compared(wanted: FlowRecord, other: &str) -> (Vec<FlowRecord>, Finding) {
    let mut walk = flow(7, SERVER, State::S0);
    walk.searching = true;
    let refused = finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 8, service(other));
    (vec![wanted, walk, flow(8, other, State::Rej)], refused)
}

#[test]
fn a_port_that_is_asked_to_compare_is_not_what_failed() {
    let (flows, refused) = compared(flow(1, SERVER, State::Sf), "10.2.0.10:22");
    check(&outcome(flows, vec![refused]), Status::Healthy, None, 0);
    // Somebody else, who searches nothing, wants the port.
    let (mut flows, refused) = compared(flow(1, SERVER, State::Sf), "10.2.0.10:22");
    let mut other = flow(9, "10.2.0.10:22", State::Rej);
    other.client = at("10.1.0.3:40000");
    flows.push(other);
    let wanted = finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 9, service("10.2.0.10:22"));
    check(&outcome(flows, vec![refused, wanted]), Status::Fault, Some("l4.port-closed"), 1);
}

#[test]
fn a_traceroute_beside_a_service_that_fails_excuses_nothing() {
    let (mut flows, refused) = compared(flow(1, SERVER, State::Sf), "10.2.0.10:22");
    for walk in flows.iter_mut().filter(|flow| flow.searching) {
        (walk.protocol, walk.tcp) = (Protocol::Udp, None);
    }
    check(&outcome(flows, vec![refused]), Status::Fault, Some("l4.port-closed"), 1);
}

#[test]
fn the_port_that_was_asked_first_is_the_one_that_is_wanted() {
    let (flows, compare) = compared(flow(1, SERVER, State::Rej), "10.2.0.10:22");
    let wanted = finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 1, service(SERVER));
    let judged = check(&outcome(flows, vec![wanted, compare]), Status::Fault, Some("l4.port-closed"), 1);
    assert_eq!(judged.groups[0].party, SERVER);
}

#[test]
fn a_second_port_that_a_client_uses_is_wanted_as_well() {
    let (mut flows, refused) = compared(flow(1, SERVER, State::Sf), "10.2.0.10:22");
    let mut used = flow(5, "10.2.0.10:22", State::Sf);
    used.bytes.client = 100;
    flows.push(used);
    check(&outcome(flows, vec![refused]), Status::Fault, Some("l4.port-closed"), 1);
}

/// A connection of which the server's largest segment and the client's announced largest are these.
fn sized(id: u64, mss: u16, largest: u32, bytes: u64) -> FlowRecord {
    let mut flow = flow(id, SERVER, State::Sf);
    flow.bytes.server = bytes;
    if let Some(tcp) = &mut flow.tcp {
        (tcp.sides.client.mss, tcp.sides.server.largest_payload) = (Some(mss), largest);
        (tcp.sides.client.ttl, tcp.sides.server.ttl) = (Some(64), Some(61));
    }
    flow
}

fn mute(flow: u64) -> Finding {
    finding("http.unanswered", Weight::Fault, "l7.service-mute", flow, service(SERVER))
}

#[test]
fn an_answer_that_comes_in_small_segments_only_is_the_paths_fault() {
    let flows = vec![sized(1, 1460, 0, 0), sized(2, 536, 524, 5000)];
    check(&outcome(flows.clone(), vec![mute(1)]), Status::Fault, Some("l3.pmtu-blackhole"), 1);
    // No router between them: their own segment does it.
    let mut near = flows;
    for flow in &mut near {
        if let Some(tcp) = &mut flow.tcp {
            tcp.sides.server.ttl = Some(64);
        }
    }
    check(&outcome(near, vec![mute(1)]), Status::Fault, Some("l2.mtu-mismatch"), 1);
}

#[test]
fn a_service_is_mute_where_the_path_is_known_to_carry_its_answers() {
    // Full segments came in another connection; or small ones would do, and none came.
    check(&outcome(vec![sized(1, 1460, 0, 0), sized(2, 1460, 1448, 9000)], vec![mute(1)]), Status::Fault, Some("l7.service-mute"), 1);
    let both = vec![sized(1, 1460, 0, 0), sized(2, 536, 0, 0)];
    check(&outcome(both, vec![mute(1), mute(2)]), Status::Fault, Some("l7.service-mute"), 1);
}

#[test]
fn a_mute_service_of_which_nothing_large_was_seen_is_left_open() {
    let judged = check(&outcome(vec![sized(1, 1460, 0, 0)], vec![mute(1)]), Status::Inconclusive, Some("l7.service-mute"), 1);
    let causes: Vec<&str> = judged.verdict.candidates.iter().map(|candidate| candidate.cause.as_str()).collect();
    assert_eq!(causes, ["l7.service-mute", "l3.pmtu-blackhole"]);
    assert!(judged.verdict.next.iter().any(|next| next.run.starts_with("ping")), "{:?}", judged.verdict.next);
}

#[test]
fn a_hole_is_no_matter_of_size_where_other_connections_carry_full_segments() {
    let hole = || finding("ip.pmtu-hole", Weight::Fault, "l3.pmtu-blackhole", 1, service(SERVER));
    check(&outcome(vec![sized(1, 1460, 200, 300)], vec![hole()]), Status::Fault, Some("l3.pmtu-blackhole"), 1);
    check(&outcome(vec![sized(1, 1460, 200, 300), sized(2, 1460, 1448, 9000)], vec![hole()]), Status::Healthy, None, 0);
}

fn unheard(flow: u64) -> Finding {
    let mut found = finding("tcp.synack-unheard", Weight::Fault, "l4.local-firewall", flow, service(SERVER));
    found.cause = None;
    found
}

#[test]
fn a_client_that_hears_one_port_and_not_another_has_a_filter_of_its_own() {
    let seen = Some(crate::flow::record::Seen { packet: 1, at_ns: 1 });
    let mut deaf = sized(1, 1460, 0, 0);
    let mut hears = flow(2, "10.2.0.10:22", State::Sf);
    for flow in [&mut deaf, &mut hears] {
        if let Some(tcp) = &mut flow.tcp {
            (tcp.handshake.syn_ack, tcp.sides.client.ttl) = (seen, Some(64));
        }
    }
    if let Some(tcp) = &mut hears.tcp {
        tcp.handshake.ack = seen;
    }
    check(&outcome(vec![deaf.clone(), hears], vec![unheard(1)]), Status::Fault, Some("l4.local-firewall"), 1);
    // It hears nothing of this host: the check of the reverse path does that as well.
    check(&outcome(vec![deaf], vec![unheard(1)]), Status::Inconclusive, Some("l3.rp-filter"), 1);
}

#[test]
fn a_router_that_cannot_find_a_host_which_answers_meanwhile_is_a_firewall() {
    let unreachable = || {
        let mut found =
            finding("icmp.host-unreachable", Weight::Fault, "l2.remote-neighbor-unresolved", 1, Some(Party::Host(at(SERVER).ip())));
        (found.first, found.last) = (Stamp(1_000_000_000), Stamp(1_000_000_000));
        found
    };
    let asked = flow(1, SERVER, State::S0);
    check(&outcome(vec![asked.clone()], vec![unreachable()]), Status::Fault, Some("l2.remote-neighbor-unresolved"), 1);
    let meanwhile = vec![asked.clone(), flow(2, "10.2.0.10:22", State::Sf)];
    check(&outcome(meanwhile, vec![unreachable()]), Status::Fault, Some("l4.firewall-reject"), 1);
    let long_after = vec![asked, flow(60, "10.2.0.10:22", State::Sf)];
    check(&outcome(long_after, vec![unreachable()]), Status::Fault, Some("l2.remote-neighbor-unresolved"), 1);
}

#[test]
fn distance_is_told_where_most_connections_go_far() {
    let far = |id, ms: f64| {
        let mut flow = flow(id, SERVER, State::Sf);
        if let Some(tcp) = &mut flow.tcp {
            (tcp.handshake.server_rtt_ms, tcp.handshake.client_rtt_ms) = (Some(ms), Some(0.1));
        }
        flow
    };
    check(&outcome(vec![far(1, 282.0), far(2, 290.0)], vec![]), Status::Degraded, Some("l3.high-latency-path"), 1);
    // Between continents.
    check(&outcome(vec![far(1, 152.0), far(2, 160.0)], vec![]), Status::Healthy, None, 0);
    // One slow handshake is chance, and a loaded path is short at times.
    check(&outcome(vec![far(1, 282.0)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![far(1, 282.0), far(2, 20.0)], vec![]), Status::Healthy, None, 0);
}

#[test]
fn fragments_do_not_arrive_where_whole_datagrams_to_the_same_port_do() {
    let datagram = |id, port: u16, fragmented, answers| {
        let mut flow = flow(id, "10.2.0.10:80", State::S0);
        flow.server.set_port(port);
        (flow.protocol, flow.tcp, flow.fragmented) = (Protocol::Udp, None, fragmented);
        flow.packets.server = answers;
        flow
    };
    let cut = || datagram(1, 9000, 3, 0);
    check(&outcome(vec![cut(), datagram(2, 9000, 0, 1)], vec![]), Status::Fault, Some("l3.fragments-dropped"), 1);
    // Nobody answers there at all; another port is another matter; fragments of others arrive; one alone is chance.
    check(&outcome(vec![cut(), datagram(2, 9000, 0, 0)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![cut(), datagram(2, 53, 0, 1)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![cut(), datagram(2, 9000, 0, 1), datagram(3, 9000, 1, 1)], vec![]), Status::Healthy, None, 0);
    check(&outcome(vec![datagram(1, 9000, 1, 0), datagram(2, 9000, 0, 1)], vec![]), Status::Healthy, None, 0);
}

#[test]
fn a_closed_port_of_a_dns_server_that_truncates_its_answers_is_dns_over_tcp() {
    let dns = "10.0.0.53:53";
    let refused = || finding("tcp.syn-refused", Weight::Fault, "l4.port-closed", 1, service(dns));
    let mut truncated = finding("dns.truncated", Weight::Note, "l7.dns-timeout", 2, service(dns));
    (truncated.cause, truncated.layer) = (None, None);
    let flows = || vec![flow(1, dns, State::Rej)];
    check(&outcome(flows(), vec![refused(), truncated]), Status::Fault, Some("l7.dns-tcp-blocked"), 1);
    check(&outcome(flows(), vec![refused()]), Status::Fault, Some("l4.port-closed"), 1);
}

/// A path on which some of a train of echo requests and some of TCP's segments are lost.
fn lossy(unanswered: u64, again: u32, damaged: u32, server_ttl: u8) -> Outcome {
    let mut train = flow(1, "10.2.0.10:7", State::Sf);
    (train.protocol, train.tcp) = (Protocol::Icmp, None);
    (train.packets.client, train.packets.server) = (60, 60 - unanswered);
    let mut tcp = flow(2, SERVER, State::Sf);
    (tcp.packets.client, tcp.packets.server) = (200, 280);
    if let Some(tcp) = &mut tcp.tcp {
        tcp.handshake.syn_ack = Some(crate::flow::record::Seen { packet: 1, at_ns: 1 });
        tcp.sides.server.retransmits.fast = again;
        tcp.sides.server.bad_checksums = damaged;
        (tcp.sides.client.ttl, tcp.sides.server.ttl) = (Some(64), Some(server_ttl));
    }
    outcome(vec![train, tcp], vec![])
}

#[test]
fn loss_of_echo_requests_and_segments_alike_is_the_paths() {
    check(&lossy(12, 24, 0, 60), Status::Degraded, Some("l3.packet-loss"), 1);
    // TCP alone suffers: its effect is all that is known. ICMP alone: a router limits it.
    check(&lossy(0, 24, 0, 60), Status::Degraded, Some("l4.retransmissions"), 1);
    check(&lossy(30, 0, 0, 60), Status::Healthy, None, 0);
    // No router between: there is no path.
    check(&lossy(12, 24, 0, 64), Status::Degraded, Some("l4.retransmissions"), 1);
}

#[test]
fn segments_that_came_damaged_explain_that_they_were_sent_again() {
    check(&lossy(12, 24, 20, 60), Status::Degraded, Some("l1.bit-errors"), 1);
    // One in twenty only: they were lost otherwise. Sums that a network card fills in say nothing.
    check(&lossy(0, 24, 1, 60), Status::Degraded, Some("l4.retransmissions"), 1);
    let mut unchecked = lossy(0, 24, 20, 60);
    if let Some(tcp) = &mut unchecked.flows[1].tcp {
        tcp.sides.server.unchecked = 5;
    }
    check(&unchecked, Status::Degraded, Some("l4.retransmissions"), 1);
}
