//! What is counted and not kept: flows whose records were let go, and findings of which enough were told. A share is one of all that went by, however
//! much of it there was room for. It judges nothing.

use crate::finding::{Finding, Party};
use crate::flow::record::State;
use crate::flow::{FlowRecord, Protocol};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Parties that are counted; what went to others is counted with nobody.
const MOST_PARTIES: usize = 20_000;

/// Findings of one kind: rule, cause, and whom they blame.
pub type Kind = (&'static str, Option<&'static str>, Option<Party>);

/// The kind of a finding.
#[must_use]
pub const fn kind(finding: &Finding) -> Kind {
    (finding.rule, finding.cause, finding.blames)
}

/// Flows that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Flows.
    pub flows: u64,
    /// Those in which the server answered.
    pub answered: u64,
    /// Those that were opened from both sides, or answered where there is nothing to open.
    pub opened: u64,
    /// Those without the answer that was wanted, refused, or with a fault.
    pub failed: u64,
    /// Questions.
    pub exchanges: u64,
    /// Questions without the answer that was wanted.
    pub failing: u64,
    /// Packets, both ways.
    pub packets: u64,
    /// Payload bytes, both ways.
    pub bytes: u64,
}

impl Part {
    fn add(&mut self, more: &Self) {
        self.flows = self.flows.saturating_add(more.flows);
        self.answered = self.answered.saturating_add(more.answered);
        self.opened = self.opened.saturating_add(more.opened);
        self.failed = self.failed.saturating_add(more.failed);
        self.exchanges = self.exchanges.saturating_add(more.exchanges);
        self.failing = self.failing.saturating_add(more.failing);
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// One flow of which no record is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct LetGo {
    pub(super) server: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) state: State,
    pub(super) answered: bool,
    pub(super) faulty: bool,
    pub(super) exchanges: u64,
    pub(super) failing: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl From<&FlowRecord> for LetGo {
    fn from(flow: &FlowRecord) -> Self {
        Self {
            server: flow.server,
            protocol: flow.protocol,
            state: flow.state,
            answered: flow.packets.server > 0,
            faulty: flow.worst() == Some(crate::finding::Weight::Fault),
            exchanges: flow.exchanges.count,
            failing: flow.exchanges.failing,
            packets: flow.packets.client.saturating_add(flow.packets.server),
            bytes: flow.bytes.client.saturating_add(flow.bytes.server),
        }
    }
}

impl LetGo {
    fn part(&self) -> Part {
        let refused = matches!(self.state, State::S0 | State::Rej | State::Rstos0 | State::Sh) && self.protocol == Protocol::Tcp;
        Part {
            flows: 1,
            answered: u64::from(self.answered),
            opened: u64::from(self.answered && !refused),
            failed: u64::from(refused || self.faulty || self.failing > 0),
            exchanges: self.exchanges,
            failing: self.failing,
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

/// Everything that is counted and not kept.
#[derive(Debug, Clone, Default)]
pub struct Untold {
    services: HashMap<(SocketAddr, Protocol), Part, RandomState>,
    /// TCP connections by how far they came.
    pub connections: BTreeMap<State, u64>,
    /// Flows of UDP.
    pub datagrams: u64,
    /// All of them together.
    pub all: Part,
    findings: HashMap<Kind, u64, RandomState>,
}

impl Untold {
    /// One more flow without a record.
    pub(super) fn flow(&mut self, flow: &LetGo) {
        let part = flow.part();
        self.all.add(&part);
        match flow.protocol {
            Protocol::Tcp => *self.connections.entry(flow.state).or_default() += 1,
            Protocol::Udp => self.datagrams += 1,
            _ => {}
        }
        let service = (flow.server, flow.protocol);
        if let Some(known) = self.services.get_mut(&service) {
            known.add(&part);
        } else if self.services.len() < MOST_PARTIES {
            self.services.insert(service, part);
        }
    }

    /// Findings beyond those that are kept.
    pub(super) fn set_findings(&mut self, findings: HashMap<Kind, u64, RandomState>) {
        self.findings = findings;
    }

    /// Flows by the service that they went to.
    pub fn services(&self) -> impl Iterator<Item = (&(SocketAddr, Protocol), &Part)> {
        self.services.iter()
    }

    /// Findings of this kind beyond those that are kept.
    #[must_use]
    pub fn of_kind(&self, kind: &Kind) -> u64 {
        self.findings.get(kind).copied().unwrap_or(0)
    }
}
