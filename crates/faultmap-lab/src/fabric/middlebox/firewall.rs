//! A stateless packet filter: the first rule that fits decides, no rule means accept. ARP and neighbour discovery
//! always pass.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use faultmap_wire::{icmp, icmpv6, proto};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::{Emit, Middlebox, Pass};
use crate::fabric::Direction;
use crate::host::Family;
use crate::topology::Prefix;

/// Flows whose bytes are counted for `after_bytes`; beyond that the counting starts anew.
const FLOW_LIMIT: usize = 10_000;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6, by the packet's family.
    Icmp,
}

/// What a filter does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Let it pass, whatever later rules say.
    Accept,
    /// Not a word.
    Drop,
    /// TCP: a reset in the destination's name. Anything else: port unreachable in the destination's name.
    RejectReset,
    /// An ICMP error.
    RejectIcmp {
        /// Type and code towards IPv4 senders.
        v4: (u8, u8),
        /// Type and code towards IPv6 senders.
        v6: (u8, u8),
        /// Who it comes from, one address per family; for a family without one, the destination.
        #[serde(default)]
        from: Vec<IpAddr>,
    },
}

impl Action {
    /// Administratively prohibited: 3/13 and 1/1.
    pub fn prohibit(from: Vec<IpAddr>) -> Action {
        let (v4, v6) = (icmp::ADMIN_PROHIBITED, icmpv6::ADMIN_PROHIBITED);
        Action::RejectIcmp { v4: (icmp::UNREACHABLE, v4), v6: (icmpv6::UNREACHABLE, v6), from }
    }

    /// Port unreachable: 3/3 and 1/4.
    pub fn port_unreachable(from: Vec<IpAddr>) -> Action {
        let (v4, v6) = (icmp::PORT_UNREACHABLE, icmpv6::PORT_UNREACHABLE);
        Action::RejectIcmp { v4: (icmp::UNREACHABLE, v4), v6: (icmpv6::UNREACHABLE, v6), from }
    }

    /// Host unreachable: 3/1 and 1/3.
    pub fn host_unreachable(from: Vec<IpAddr>) -> Action {
        let (v4, v6) = (icmp::HOST_UNREACHABLE, icmpv6::ADDRESS_UNREACHABLE);
        Action::RejectIcmp { v4: (icmp::UNREACHABLE, v4), v6: (icmpv6::UNREACHABLE, v6), from }
    }

    /// Network unreachable: 3/0 and 1/0.
    pub fn net_unreachable(from: Vec<IpAddr>) -> Action {
        let (v4, v6) = (icmp::NET_UNREACHABLE, icmpv6::NO_ROUTE);
        Action::RejectIcmp { v4: (icmp::UNREACHABLE, v4), v6: (icmpv6::UNREACHABLE, v6), from }
    }
}

/// A rule. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only packets travelling this way.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// Only this family.
    #[serde(default)]
    pub family: Option<Family>,
    /// Only this protocol.
    #[serde(default)]
    pub proto: Option<Proto>,
    /// Only from here.
    #[serde(default)]
    pub src: Option<Prefix>,
    /// Only to there.
    #[serde(default)]
    pub dst: Option<Prefix>,
    /// Only from these ports, first and last.
    #[serde(default)]
    pub src_ports: Option<(u16, u16)>,
    /// Only to these ports, first and last.
    #[serde(default)]
    pub dst_ports: Option<(u16, u16)>,
    /// Only this ICMP (or ICMPv6) type.
    #[serde(default)]
    pub icmp_type: Option<u8>,
    /// Only segments that open a connection.
    #[serde(default)]
    pub only_syn: bool,
    /// Only fragments.
    #[serde(default)]
    pub only_fragments: bool,
    /// Only packets of at least so many bytes, IP header included.
    #[serde(default)]
    pub min_len: usize,
    /// Only packets whose TCP or UDP payload contains this text.
    #[serde(default)]
    pub contains: Option<String>,
    /// Only once the flow has carried more than so many payload bytes in this direction.
    #[serde(default)]
    pub after_bytes: Option<u64>,
    /// What then.
    pub action: Action,
}

impl Rule {
    /// A rule for everything.
    pub fn new(action: Action) -> Rule {
        Rule {
            direction: None,
            family: None,
            proto: None,
            src: None,
            dst: None,
            src_ports: None,
            dst_ports: None,
            icmp_type: None,
            only_syn: false,
            only_fragments: false,
            min_len: 0,
            contains: None,
            after_bytes: None,
            action,
        }
    }

    /// A rule for one destination port.
    pub fn for_port(proto: Proto, port: u16, action: Action) -> Rule {
        Rule { proto: Some(proto), dst_ports: Some((port, port)), ..Rule::new(action) }
    }

    fn fits(&self, direction: Direction, seen: &Seen<'_>, flow_bytes: u64) -> bool {
        let ip = &seen.ip;
        let within = |range: Option<(u16, u16)>, port: Option<u16>| {
            range.is_none_or(|(first, last)| port.is_some_and(|port| (first..=last).contains(&port)))
        };
        let ports = ip.ports();
        let kind = seen.icmp().map(|(kind, _)| kind);
        self.direction.is_none_or(|wanted| wanted == direction)
            && self.family.is_none_or(|family| Family::of(ip.src) == family)
            && self.proto.is_none_or(|proto| proto_of(ip.protocol) == Some(proto))
            && self.src.is_none_or(|prefix| prefix.contains(ip.src))
            && self.dst.is_none_or(|prefix| prefix.contains(ip.dst))
            && within(self.src_ports, ports.map(|(src, _)| src))
            && within(self.dst_ports, ports.map(|(_, dst)| dst))
            && self.icmp_type.is_none_or(|wanted| kind == Some(wanted))
            && (!self.only_syn || seen.tcp().is_some_and(|(tcp, _)| tcp.flags.is_opening()))
            && (!self.only_fragments || ip.fragment.is_some())
            && seen.packet.len() >= self.min_len
            && self.contains.as_ref().is_none_or(|text| contains(ip.payload, text.as_bytes()))
            && self.after_bytes.is_none_or(|limit| flow_bytes > limit)
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

fn proto_of(number: u8) -> Option<Proto> {
    match number {
        proto::TCP => Some(Proto::Tcp),
        proto::UDP => Some(Proto::Udp),
        proto::ICMP | proto::ICMPV6 => Some(Proto::Icmp),
        _ => None,
    }
}

type FlowKey = (u8, IpAddr, IpAddr, Option<(u16, u16)>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    hits: Vec<u64>,
    accepted: u64,
    dropped: u64,
    rejected: u64,
    flow_bytes: HashMap<FlowKey, u64>,
}

/// A packet filter on a cable. Clones are handles on the same filter.
#[derive(Debug, Clone)]
pub struct Firewall {
    name: String,
    state: Arc<Mutex<State>>,
}

impl Firewall {
    /// A filter with these rules.
    pub fn new(name: &str, rules: Vec<Rule>) -> Firewall {
        let firewall = Firewall { name: name.to_owned(), state: Arc::default() };
        firewall.set_rules(rules);
        firewall
    }

    /// Adds a rule behind the others.
    pub fn push(&self, rule: Rule) {
        let mut state = self.lock();
        state.rules.push(rule);
        state.hits.push(0);
    }

    /// Replaces all rules; their hit counters start at zero.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        let mut state = self.lock();
        state.hits = vec![0; rules.len()];
        state.rules = rules;
    }

    /// Packets each rule decided about.
    pub fn hits(&self) -> Vec<u64> {
        self.lock().hits.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn decide(&mut self, direction: Direction, seen: &Seen<'_>) -> Action {
        let bytes = self.count_flow(seen);
        let Some(at) = self.rules.iter().position(|rule| rule.fits(direction, seen, bytes)) else {
            return Action::Accept;
        };
        if let Some(hits) = self.hits.get_mut(at) {
            *hits += 1;
        }
        self.rules.get(at).map_or(Action::Accept, |rule| rule.action.clone())
    }

    fn count_flow(&mut self, seen: &Seen<'_>) -> u64 {
        if self.rules.iter().all(|rule| rule.after_bytes.is_none()) {
            return 0;
        }
        if self.flow_bytes.len() >= FLOW_LIMIT {
            self.flow_bytes.clear();
        }
        let len = seen.tcp().map_or(seen.ip.payload.len(), |(_, payload)| payload.len());
        let key = (seen.ip.protocol, seen.ip.src, seen.ip.dst, seen.ip.ports());
        let bytes = self.flow_bytes.entry(key).or_default();
        *bytes += len as u64;
        *bytes
    }
}

impl Middlebox for Firewall {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, _now: Instant, out: &mut Emit) -> Pass {
        let Some(seen) = Seen::look(frame).filter(|seen| !seen.is_discovery()) else {
            return Pass::Forward;
        };
        let mut state = self.lock();
        let answer = match state.decide(direction, &seen) {
            Action::Accept => {
                state.accepted += 1;
                return Pass::Forward;
            }
            Action::Drop => {
                state.dropped += 1;
                return Pass::Drop;
            }
            Action::RejectReset if seen.tcp().is_some() => seen.reset(),
            Action::RejectReset => seen.icmp_error((3, icmp::PORT_UNREACHABLE), (1, icmpv6::PORT_UNREACHABLE), None),
            Action::RejectIcmp { v4, v6, from } => {
                let same_family = from.iter().find(|from| from.is_ipv4() == seen.ip.dst.is_ipv4());
                seen.icmp_error(v4, v6, same_family.copied())
            }
        };
        state.rejected += 1;
        answer.into_iter().for_each(|frame| out.back(frame));
        Pass::Drop
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let totals = [("accepted", state.accepted), ("dropped", state.dropped), ("rejected", state.rejected)];
        let rules = state.hits.iter().enumerate().map(|(n, hits)| (format!("rule_{n}"), *hits));
        totals.map(|(name, count)| (name.to_owned(), count)).into_iter().chain(rules).collect()
    }
}
