//! Who is in the capture and how they fared: for each host and each service, how many flows and exchanges there were, how far they came, and how
//! long they took. Against this a problem is weighed.

use crate::analysis::{Outcome, Part};
use crate::finding::Party;
use crate::flow::record::State;
use crate::flow::{FlowId, FlowRecord, Protocol};
use faultmap_model::Layer;
use foldhash::fast::RandomState;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Samples of one service that its median is taken from.
const MOST_SAMPLES: usize = 4096;

/// What a party did.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Flows toward it, or of it.
    pub(super) flows: u64,
    /// Flows in which it answered.
    pub(super) answered: u64,
    /// Those of them that were of UDP, or of which no record tells the protocol.
    pub(super) answered_in_datagrams: u64,
    /// Flows that were opened from both sides, or answered where there is nothing to open.
    pub(super) opened: u64,
    /// Exchanges.
    pub(super) exchanges: u64,
    /// The highest layer from which it answered, and the flow.
    pub(super) highest: Option<(Layer, FlowId)>,
}

/// Waits of the exchanges of a service, milliseconds; of each flow the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// The median over flows.
    pub median_ms: f64,
    /// The longest.
    pub worst_ms: f64,
}

/// A service as the capture shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Where.
    pub server: SocketAddr,
    /// Over TCP or UDP.
    pub transport: Protocol,
    /// What it speaks.
    pub app: Option<&'static str>,
    /// A name that clients asked for.
    pub name: Option<String>,
    /// Flows.
    pub flows: u64,
    /// Flows that got no answer, were refused, or in which something failed.
    pub failed_flows: u64,
    /// Clients.
    pub clients: u64,
    /// Packets, both ways.
    pub packets: u64,
    /// Payload bytes, both ways.
    pub bytes: u64,
    /// Questions.
    pub exchanges: u64,
    /// Those without the answer that the client wanted.
    pub failing: u64,
    /// Round trip of the handshakes: the network's time.
    pub network: Option<Times>,
    /// From question to answer.
    pub wait: Option<Times>,
    /// The server's part of it.
    pub think: Option<Times>,
    /// Segments sent again of all segments, both ways.
    pub retransmits: u64,
}

/// Counts by party.
#[derive(Debug, Default)]
pub(super) struct Census {
    services: HashMap<SocketAddr, Tally, RandomState>,
    hosts: HashMap<IpAddr, Tally, RandomState>,
    wants: super::wants::Wants,
}

impl Census {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let mut census = Self { wants: super::wants::Wants::of(&outcome.flows), ..Self::default() };
        for flow in &outcome.flows {
            let highest = highest(flow);
            census.services.entry(flow.server).or_default().add(flow, highest);
            census.hosts.entry(flow.server.ip()).or_default().add(flow, highest);
            // A client is heard, too; what it was answered says nothing of itself.
            census.hosts.entry(flow.client.ip()).or_default().add(flow, None);
        }
        for ((server, _), part) in outcome.untold.services() {
            census.services.entry(*server).or_default().join(part);
            census.hosts.entry(server.ip()).or_default().join(part);
        }
        census
    }

    pub(super) fn service(&self, server: SocketAddr) -> Option<&Tally> {
        self.services.get(&server)
    }

    pub(super) fn host(&self, host: IpAddr) -> Option<&Tally> {
        self.hosts.get(&host)
    }

    pub(super) fn party(&self, party: Party) -> Option<&Tally> {
        match party {
            Party::Service(server) => self.service(server),
            Party::Host(host) => self.host(host),
        }
    }

    /// The flow asked a port for comparison, and not because anybody wants it.
    pub(super) fn is_for_comparison(&self, flow: &FlowRecord) -> bool {
        self.wants.is_for_comparison(flow)
    }

    pub(super) fn flow<'a>(&self, outcome: &'a Outcome, id: FlowId) -> Option<&'a FlowRecord> {
        let at = outcome.flows.binary_search_by_key(&id, |flow| flow.id).ok()?;
        outcome.flows.get(at)
    }

    /// The services of the capture, the busiest first.
    pub(super) fn services(&self, outcome: &Outcome) -> Vec<Service> {
        let mut found: HashMap<(SocketAddr, Protocol), Gathering, RandomState> = HashMap::default();
        for flow in outcome.flows.iter().filter(|flow| matches!(flow.protocol, Protocol::Tcp | Protocol::Udp)) {
            found.entry((flow.server, flow.protocol)).or_default().add(flow);
        }
        for ((server, protocol), part) in outcome.untold.services() {
            if matches!(protocol, Protocol::Tcp | Protocol::Udp) {
                found.entry((*server, *protocol)).or_default().join(part);
            }
        }
        let mut services: Vec<Service> =
            found.into_iter().map(|((server, transport), gathered)| gathered.done(server, transport)).collect();
        services.sort_by(|a, b| b.flows.cmp(&a.flows).then(b.bytes.cmp(&a.bytes)).then(a.server.cmp(&b.server)));
        services
    }
}

impl Tally {
    /// Flows of which there is no record.
    fn join(&mut self, part: &Part) {
        self.flows = self.flows.saturating_add(part.flows);
        self.answered = self.answered.saturating_add(part.answered);
        self.answered_in_datagrams = self.answered_in_datagrams.saturating_add(part.answered);
        self.opened = self.opened.saturating_add(part.opened);
        self.exchanges = self.exchanges.saturating_add(part.exchanges);
    }

    fn add(&mut self, flow: &FlowRecord, highest: Option<Layer>) {
        self.flows += 1;
        let opened = |tcp: &crate::flow::record::TcpRecord| tcp.handshake.ack.is_some() || flow.state == State::Oth;
        self.opened += u64::from(flow.tcp.as_ref().map_or(flow.packets.server > 0, opened));
        self.exchanges = self.exchanges.saturating_add(flow.exchanges.count);
        if let Some(layer) = highest {
            self.answered += 1;
            self.answered_in_datagrams += u64::from(flow.protocol == Protocol::Udp);
            if self.highest.is_none_or(|(known, _)| layer > known) {
                self.highest = Some((layer, flow.id));
            }
        }
    }
}

/// The highest layer from which the server of a flow answered.
fn highest(flow: &FlowRecord) -> Option<Layer> {
    if flow.packets.server == 0 {
        return None;
    }
    let answered = flow.exchanges.count > flow.exchanges.failing;
    match flow.protocol {
        _ if answered => Some(Layer::L7),
        Protocol::Tcp if flow.state == State::Rej => Some(Layer::L3),
        Protocol::Tcp | Protocol::Udp => Some(Layer::L4),
        Protocol::Icmp | Protocol::Other(_) => Some(Layer::L3),
    }
}

/// The client got nowhere, or something went wrong in the flow.
pub(super) fn failed(flow: &FlowRecord) -> bool {
    let refused = matches!(flow.state, State::S0 | State::Rej | State::Rstos0 | State::Sh) && flow.protocol == Protocol::Tcp;
    refused || flow.exchanges.failing > 0 || flow.worst() == Some(crate::finding::Weight::Fault)
}

#[derive(Default)]
struct Gathering {
    app: Option<&'static str>,
    name: Option<String>,
    flows: u64,
    failed: u64,
    clients: HashSet<IpAddr, RandomState>,
    packets: u64,
    bytes: u64,
    exchanges: u64,
    failing: u64,
    retransmits: u64,
    network: Vec<f64>,
    wait: Vec<f64>,
    think: Vec<f64>,
}

impl Gathering {
    /// Flows of which there is no record: they are counted, and have no times.
    fn join(&mut self, part: &Part) {
        self.flows = self.flows.saturating_add(part.flows);
        self.failed = self.failed.saturating_add(part.failed);
        self.packets = self.packets.saturating_add(part.packets);
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.exchanges = self.exchanges.saturating_add(part.exchanges);
        self.failing = self.failing.saturating_add(part.failing);
    }

    fn add(&mut self, flow: &FlowRecord) {
        self.app = flow.app.or(self.app);
        if self.name.is_none() {
            self.name.clone_from(&flow.server_name);
        }
        self.flows += 1;
        self.failed += u64::from(failed(flow));
        if self.clients.len() < MOST_SAMPLES {
            self.clients.insert(flow.client.ip());
        }
        self.packets = self.packets.saturating_add(flow.packets.client).saturating_add(flow.packets.server);
        self.bytes = self.bytes.saturating_add(flow.bytes.client).saturating_add(flow.bytes.server);
        self.exchanges = self.exchanges.saturating_add(flow.exchanges.count);
        self.failing = self.failing.saturating_add(flow.exchanges.failing);
        let network = flow.tcp.as_ref().and_then(|tcp| tcp.handshake.rtt_ms());
        let again =
            flow.tcp.as_ref().map_or(0, |tcp| tcp.sides.client.retransmits.needed().saturating_add(tcp.sides.server.retransmits.needed()));
        self.retransmits = self.retransmits.saturating_add(u64::from(again));
        for (samples, value) in
            [(&mut self.network, network), (&mut self.wait, flow.exchanges.worst_wait_ms), (&mut self.think, flow.exchanges.worst_think_ms)]
        {
            if let Some(value) = value.filter(|value| value.is_finite())
                && samples.len() < MOST_SAMPLES
            {
                samples.push(value);
            }
        }
    }

    fn done(self, server: SocketAddr, transport: Protocol) -> Service {
        let clients = self.clients.len() as u64;
        Service {
            server,
            transport,
            app: self.app,
            name: self.name,
            flows: self.flows,
            failed_flows: self.failed,
            clients,
            packets: self.packets,
            bytes: self.bytes,
            exchanges: self.exchanges,
            failing: self.failing,
            network: times(self.network),
            wait: times(self.wait),
            think: times(self.think),
            retransmits: self.retransmits,
        }
    }
}

fn times(mut samples: Vec<f64>) -> Option<Times> {
    samples.sort_by(f64::total_cmp);
    let round = |ms: f64| (ms * 1e3).round() / 1e3;
    let median_ms = round(*samples.get(samples.len() / 2)?);
    Some(Times { median_ms, worst_ms: round(samples.last().copied()?) })
}
