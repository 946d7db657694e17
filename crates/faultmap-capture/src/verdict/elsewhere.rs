//! Answers from another address than the one that was asked. A host with several addresses that answers from the wrong one, or a translation that is not undone
//! on the way back: the client does not know the sender, and drops what it says (RFC 2181 §4.1).

use super::insight;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::verdict::NextStep;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

/// Services of one question and one answer, which comes from where it was sent: DNS, NTP, SNMP. Others may choose whom to answer from.
const ASKED: [u16; 3] = [53, 123, 161];
/// It comes so soon after the question.
const SOON_MS: f64 = 5000.0;

/// Questions of one service that were answered from one other address.
type Pairs<'a> = BTreeMap<(SocketAddr, IpAddr), Vec<&'a FlowRecord>>;

/// Services that answer so.
pub(super) fn all(outcome: &Outcome) -> Vec<Problem> {
    let of_interest = |flow: &&FlowRecord| flow.protocol == Protocol::Udp && ASKED.contains(&flow.server.port());
    let mut strangers: HashMap<SocketAddr, Vec<&FlowRecord>> = HashMap::new();
    for flow in outcome.flows.iter().filter(of_interest).filter(|flow| flow.packets.client == 0 && flow.packets.server > 0) {
        strangers.entry(flow.client).or_default().push(flow);
    }
    let mut pairs = Pairs::new();
    for asked in outcome.flows.iter().filter(of_interest).filter(|flow| flow.packets.server == 0 && !is_group(flow.server.ip())) {
        let answers = |other: &&&FlowRecord| {
            let soon = other.first >= asked.first && other.first.ms_since(asked.last) <= SOON_MS;
            soon && other.server.port() == asked.server.port() && other.server.ip().is_ipv4() == asked.server.is_ipv4()
        };
        if let Some(answer) = strangers.get(&asked.client).and_then(|flows| flows.iter().find(answers)) {
            pairs.entry((asked.server, answer.server.ip())).or_default().extend([asked, *answer]);
        }
    }
    pairs.into_iter().filter_map(|((server, from), flows)| problem(server, from, &flows, outcome)).collect()
}

const fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

fn problem(server: SocketAddr, from: IpAddr, flows: &[&FlowRecord], outcome: &Outcome) -> Option<Problem> {
    let client = flows.first()?.client.ip();
    let text =
        format!("{client} asks {server}, and {from} answers in its place: the client drops what comes from an address that it did not ask");
    let mut problem = insight::problem("udp.answer-elsewhere", "l3.no-return-route", (server, flows), (0.9, true), text, outcome)?;
    problem.times = flows.len() as u64 / 2;
    problem.decides = vec![NextStep {
        run: format!("ip route get {client} from {}; ss -lunp 'sport = :{}'", server.ip(), server.port()),
        on: server.ip().to_string(),
        why: "a service that listens on all addresses answers from that of the route: bind it to each, or undo the translation".to_owned(),
    }];
    Some(problem)
}
