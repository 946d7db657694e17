//! What each client wants of a host: the ports that it asked for something, or asked first. A client that searches the path to a host asks further
//! ports there to compare; that one of those is closed says nothing of what the user came for. It reads no packet.

use crate::flow::{FlowRecord, Protocol};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// So many ports of one host tried within so long are one question, not several.
const SWEEP: usize = 3;
const AT_ONCE_NS: u64 = 100_000_000;
/// More ports than this are a scan, which is told as such.
const MANY: usize = 8;

/// One client at one host.
#[derive(Debug, Default)]
struct Dealings {
    /// Some of its packets had few hops to go: it examines the path to the host.
    searches: bool,
    /// Others had all hops to go.
    means_it: bool,
    /// The port that it asked first.
    first: Option<(i64, u16)>,
    /// Ports to which it sent payload.
    used: HashSet<u16, RandomState>,
    /// Each TCP port that it tried: when first, and how often.
    tried: HashMap<u16, (i64, u32), RandomState>,
}

/// All clients and hosts of a capture.
#[derive(Debug, Default)]
pub(super) struct Wants {
    dealings: HashMap<(IpAddr, IpAddr), Dealings, RandomState>,
}

impl Wants {
    pub(super) fn of(flows: &[FlowRecord]) -> Self {
        let mut wants = Self::default();
        for flow in flows {
            wants.dealings.entry((flow.client.ip(), flow.server.ip())).or_default().add(flow);
        }
        wants
    }

    /// The flow asked a port for comparison only: its client searches the path to this host, and came for another port.
    pub(super) fn is_for_comparison(&self, flow: &FlowRecord) -> bool {
        if flow.protocol != Protocol::Tcp || flow.bytes.client > 0 {
            return false;
        }
        let dealings = self.dealings.get(&(flow.client.ip(), flow.server.ip()));
        let port = flow.server.port();
        let compares = |dealings: &Dealings| (dealings.searches && dealings.means_it) || dealings.swept(port);
        flow.searching || dealings.is_some_and(|dealings| compares(dealings) && !dealings.wants(port))
    }
}

impl Dealings {
    fn add(&mut self, flow: &FlowRecord) {
        let asks = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let port = flow.server.port();
        // A user's traceroute or ping beside a service that fails compares no ports.
        self.searches |= flow.searching && flow.protocol == Protocol::Tcp;
        self.means_it |= !flow.searching;
        if asks && !flow.searching && self.first.is_none_or(|(at, _)| flow.first.0 < at) {
            self.first = Some((flow.first.0, port));
        }
        if flow.protocol == Protocol::Tcp && !flow.searching && (self.tried.len() <= MANY || self.tried.contains_key(&port)) {
            let (first, times) = self.tried.entry(port).or_insert((flow.first.0, 0));
            *first = (*first).min(flow.first.0);
            *times = times.saturating_add(1);
        }
        if asks && !flow.searching && flow.bytes.client > 0 {
            self.used.insert(port);
        }
    }

    /// The port was tried once, in one go with others, of which none was used: no program that wants something does that.
    fn swept(&self, port: u16) -> bool {
        let Some((first, 1)) = self.tried.get(&port) else { return false };
        let beside = |(other, (at, _)): &(&u16, &(i64, u32))| at.abs_diff(*first) <= AT_ONCE_NS && !self.used.contains(other);
        self.tried.len() <= MANY && self.tried.iter().filter(beside).count() >= SWEEP
    }

    fn wants(&self, port: u16) -> bool {
        self.used.contains(&port) || self.first.is_some_and(|(_, first)| first == port)
    }
}
