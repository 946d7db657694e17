//! Whether a path carries large packets: what other connections between the same hosts tell of a question that stays without an answer, or of segments
//! that vanish. A service that is mute and a path that swallows large answers look the same from one connection.

use super::census::Census;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::Party;
use crate::flow::tcp::report::hops;
use crate::flow::{FlowId, FlowRecord, Side};
use faultmap_model::verdict::NextStep;
use faultmap_model::{Layer, causes};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Packets no larger than IPv6 passes everywhere (RFC 8200 §5: 1280 bytes) are too large for no path: payload that fits into them.
const PASSES_EVERYWHERE: u32 = 1220;
/// A segment is full if it lacks no more than options and a tunnel's headers of what the receiver takes.
const NEARLY: u32 = 100;
/// What a receiver takes that announces nothing else: an Ethernet's 1500 bytes less headers.
const USUAL_MSS: u32 = 1460;
/// An answer of more bytes than this would have been larger than a small segment.
const ANSWERED: u64 = 700;

/// The rule of segments that never got through while others did.
const TOO_LARGE: &str = "tcp.rto-large";

/// What of a question without an answer may be the path's fault, and what is known of it.
enum Path {
    /// Large packets of this server arrive, or its small ones would have done.
    Carries,
    /// The same service answers where the client takes only small segments.
    SwallowsLarge { small: u32, large: u32 },
    /// Nothing tells.
    Unknown,
}

/// Questions and holes that size may explain, weighed against what else went well between the same hosts.
pub(super) fn weigh(problems: Vec<Problem>, outcome: &Outcome, census: &Census) -> Vec<Problem> {
    let mut weighed = Vec::new();
    for mut problem in problems {
        let flows: Vec<&FlowRecord> = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).collect();
        if problem.rule == "ip.pmtu-hole" && flows.iter().any(|flow| carries(flow, Side::Server, outcome)) {
            continue;
        }
        if is_mute(&problem) && !flows.is_empty() {
            match path(&flows, outcome) {
                Path::Carries => {}
                Path::SwallowsLarge { small, large } => swallowed(&mut problem, small, large),
                Path::Unknown => weighed.extend(perhaps(&mut problem, &flows)),
            }
        }
        if problem.rule == "tcp.rto" && problem.cause.id == "l4.retransmissions" && !problem.proven {
            weighed.extend(too_large(&mut problem, &flows, outcome));
        }
        if problem.cause.id == "l3.pmtu-blackhole" && !flows.is_empty() && flows.iter().all(|flow| is_on_link(flow)) {
            problem.cause = causes::find("l2.mtu-mismatch").unwrap_or(problem.cause);
        }
        weighed.push(problem);
    }
    let alive: BTreeSet<FlowId> =
        weighed.iter().filter(|problem| problem.rule == TOO_LARGE).flat_map(|problem| problem.flows.iter().copied()).collect();
    // A path that carried other connections meanwhile is there, and so is the host.
    let dead = |problem: &Problem| problem.rule == "tcp.rto" && problem.cause.layer <= Layer::L3;
    weighed.retain(|problem| !(dead(problem) && problem.flows.is_subset(&alive)));
    weighed
}

/// A question was acknowledged, and no byte of an answer came.
fn is_mute(problem: &Problem) -> bool {
    let of_tcp = problem.rule.ends_with(".unanswered") && !problem.rule.starts_with("dns") && !problem.rule.starts_with("udp");
    (of_tcp || problem.rule == "tls.no-server-hello") && matches!(problem.cause.id, "l7.service-mute" | "l6.tls-handshake-stalled")
}

fn mss_of_client(flow: &FlowRecord) -> Option<u32> {
    flow.tcp.as_ref().and_then(|tcp| tcp.sides.client.mss).map(u32::from)
}

fn largest(flow: &FlowRecord, side: Side) -> u32 {
    flow.tcp.as_ref().map_or(0, |tcp| tcp.sides.of(side).largest_payload)
}

/// Another connection between these hosts delivered a full segment in this direction.
fn carries(flow: &FlowRecord, side: Side, outcome: &Outcome) -> bool {
    let ends = |flow: &FlowRecord| (flow.client.ip(), flow.server.ip());
    let mut others = outcome.flows.iter().filter(|other| ends(other) == ends(flow));
    others.any(|other| largest(other, side).saturating_add(NEARLY) >= mss_of_client(flow).unwrap_or(USUAL_MSS))
}

fn path(mute: &[&FlowRecord], outcome: &Outcome) -> Path {
    let small = |flow: &&&FlowRecord| mss_of_client(flow).is_some_and(|mss| mss <= PASSES_EVERYWHERE);
    if mute.iter().any(|flow| small(&flow)) || mute.iter().any(|flow| carries(flow, Side::Server, outcome)) {
        return Path::Carries;
    }
    for flow in mute {
        let large = mss_of_client(flow).unwrap_or(USUAL_MSS);
        let same =
            |other: &&FlowRecord| other.server == flow.server && other.client.ip() == flow.client.ip() && other.bytes.server >= ANSWERED;
        let answered = outcome.flows.iter().filter(same).filter_map(mss_of_client).filter(|mss| mss.saturating_add(NEARLY) <= large).max();
        if let Some(small) = answered {
            return Path::SwallowsLarge { small, large };
        }
    }
    Path::Unknown
}

/// Both ends send with all hops to go, and that is how their packets pass here: no router is between them.
fn is_on_link(flow: &FlowRecord) -> bool {
    let full = |ttl: Option<u8>| ttl.is_some_and(|ttl| hops(ttl) == 0);
    flow.tcp.as_ref().is_some_and(|tcp| full(tcp.sides.client.ttl) && full(tcp.sides.server.ttl))
}

fn swallowed(problem: &mut Problem, small: u32, large: u32) {
    let Some(cause) = causes::find("l3.pmtu-blackhole") else { return };
    problem.text = format!(
        "{} answers where the client takes segments of at most {small} bytes, and not where it takes {large}: the path swallows larger packets.",
        named(problem.party)
    );
    (problem.cause, problem.proven, problem.confidence) = (cause, true, 0.88);
}

/// Every connection died at a segment larger than any that got through, and none as large is known to have done so between these hosts: its size may be
/// the reason. It is, if the path carried others meanwhile.
fn too_large(problem: &mut Problem, flows: &[&FlowRecord], outcome: &Outcome) -> Option<Problem> {
    let stuck = |flow: &&FlowRecord| {
        let sides = flow.tcp.as_ref().map(|tcp| &tcp.sides)?;
        [Side::Client, Side::Server].into_iter().find_map(|side| Some((side, sides.of(side).stuck_payload?)))
    };
    let (side, size) = flows.first().and_then(stuck)?;
    if !flows.iter().all(|flow| stuck(flow).is_some_and(|(other, _)| other == side)) {
        return None;
    }
    let ends = |flow: &FlowRecord| (flow.client.ip(), flow.server.ip());
    let between = || outcome.flows.iter().filter(|other| flows.iter().any(|flow| ends(flow) == ends(other)));
    let got_through = |flow: &FlowRecord| flow.tcp.as_ref().map_or(0, |tcp| tcp.sides.of(side).largest_acked);
    if between().map(got_through).max().is_some_and(|largest| largest >= size) {
        return None;
    }
    let meanwhile = |other: &FlowRecord| flows.iter().any(|flow| (flow.first..flow.last).contains(&other.first));
    let opened = |other: &FlowRecord| other.tcp.as_ref().is_some_and(|tcp| tcp.handshake.ack.is_some());
    let alive = between().any(|other| meanwhile(other) && opened(other) && !flows.iter().any(|flow| flow.id == other.id));
    let text = problem.text.trim_end_matches('.').to_owned();
    let beside = if alive { ", while other connections were opened" } else { "" };
    let mut other = problem.clone();
    other.text = format!("{text}; each segment has {size} bytes, and none as large ever got through{beside}");
    other.cause = causes::find("l3.pmtu-blackhole")?;
    other.confidence = if alive { 0.85 } else { 0.55 };
    if alive {
        other.rule = TOO_LARGE;
    }
    other.decides = flows.first().map(|flow| decides(flow.server)).unwrap_or_default();
    problem.confidence = if alive { 0.3 } else { 0.35 };
    Some(other)
}

/// The answer may have been swallowed by the path: both remain.
fn perhaps(problem: &mut Problem, flows: &[&FlowRecord]) -> Option<Problem> {
    let cause = causes::find("l3.pmtu-blackhole")?;
    let server = flows.first()?.server;
    // A TLS server's first answer carries its certificates and is large; what others would have said is not known.
    let (mute, swallowed) = if problem.rule == "tls.no-server-hello" { (0.55, 0.4) } else { (0.6, 0.25) };
    (problem.proven, problem.confidence) = (false, mute);
    problem.decides = decides(server);
    let text = problem.text.trim_end_matches('.');
    problem.text =
        format!("{text}. The question arrived; no large packet of this server did, so that the path may have swallowed the answer");
    let mut other = problem.clone();
    (other.cause, other.confidence) = (cause, swallowed);
    Some(other)
}

fn named(party: Party) -> String {
    match party {
        Party::Host(ip) => ip.to_string(),
        Party::Service(at) => at.to_string(),
    }
}

fn decides(server: SocketAddr) -> Vec<NextStep> {
    let ip = server.ip();
    let (size, six) = if ip.is_ipv6() { (1452, " -6") } else { (1472, "") };
    vec![
        NextStep {
            run: format!("ping{six} -M do -s {size} -c 3 {ip}"),
            on: "the client, and the other way from the server".to_owned(),
            why: "large packets that get through show that the service is mute; if only small ones do, the path swallows the answer"
                .to_owned(),
        },
        NextStep {
            run: format!("ss -tino state established '( sport = :{} )'", server.port()),
            on: ip.to_string(),
            why: "unacked and retrans above 0: the server answers and the path swallows it; 0: it has not answered".to_owned(),
        },
    ]
}
