//! Faults of packet filters: boxes on a cable and the rules of a host's own kernel.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::neighbour;
use super::world::{FaultError, World};
use crate::fabric::middlebox::{self, Action, Diverter, Firewall, Interposer, Middlebox, Proto};
use crate::host::Family;
use crate::nft::{Chain, Hook, Match, Rule, Unreachable, Verdict, ct_state};
use crate::oracle::{Sight, Witness};

const KERNEL_TABLE: &str = "faultmap-lab";

/// A protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
}

/// A rule of a filter on a cable; absent conditions always hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BoxRule {
    /// Only packets towards this host or switch.
    pub toward: Option<String>,
    /// Only this protocol.
    pub protocol: Option<Transport>,
    /// Only these destination ports, first and last.
    pub ports: Option<(u16, u16)>,
    /// Only this destination port.
    pub port: Option<u16>,
    /// Only this source port.
    pub source_port: Option<u16>,
    /// Only TCP segments that open a connection.
    #[serde(default)]
    pub only_syn: bool,
    /// Only IP packets of at least this length in bytes.
    pub min_len: Option<usize>,
    /// Only this ICMP type, in the numbering of ICMPv4.
    pub icmp_type: Option<u8>,
    /// Only this IP version.
    pub family: Option<Family>,
    /// Only fragments.
    #[serde(default)]
    pub only_fragments: bool,
    /// Only packets whose payload contains this text (a server name in a ClientHello, for one).
    pub contains: Option<String>,
    /// Only once the flow has carried more than so many bytes this way.
    pub after_bytes: Option<u64>,
    /// What becomes of the packet.
    pub action: BoxAction,
}

/// What a filter on a cable does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BoxAction {
    /// It goes on.
    Accept,
    /// It vanishes.
    Drop,
    /// A reset that seems to come from the destination.
    Reset,
    /// An ICMP destination unreachable with this code (RFC 792; for IPv6 its nearest relative).
    Unreachable {
        /// 0 network, 1 host, 3 port, 9 10 13 prohibited.
        code: u8,
        /// The host that seems to send it; the destination itself if absent.
        from: Option<String>,
    },
}

/// A rule of a host's own kernel; absent conditions always hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KernelRule {
    /// Only this protocol.
    pub protocol: Option<Transport>,
    /// Only this destination port.
    pub port: Option<u16>,
    /// Only this source port.
    pub source_port: Option<u16>,
    /// Only to the addresses of this host.
    pub to: Option<IpAddr>,
    /// Only from this address.
    pub from: Option<IpAddr>,
    /// Only what fits no connection.
    #[serde(default)]
    pub invalid: bool,
    /// What becomes of the packet.
    pub verdict: KernelVerdict,
}

/// What a host's own kernel does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelVerdict {
    /// It goes on.
    Accept,
    /// It vanishes.
    Drop,
    /// A TCP reset.
    RejectReset,
    /// ICMP port unreachable.
    RejectPort,
    /// ICMP host unreachable.
    RejectHost,
    /// ICMP network unreachable.
    RejectNet,
    /// ICMP administratively prohibited.
    RejectAdmin,
}

impl KernelVerdict {
    fn verdict(self) -> Verdict {
        match self {
            KernelVerdict::Accept => Verdict::Accept,
            KernelVerdict::Drop => Verdict::Drop,
            KernelVerdict::RejectReset => Verdict::RejectReset,
            KernelVerdict::RejectPort => Verdict::Reject(Unreachable::Port),
            KernelVerdict::RejectHost => Verdict::Reject(Unreachable::Host),
            KernelVerdict::RejectNet => Verdict::Reject(Unreachable::NoRoute),
            KernelVerdict::RejectAdmin => Verdict::Reject(Unreachable::AdminProhibited),
        }
    }
}

impl KernelRule {
    /// ICMP has another number in IPv6, so one rule may become two.
    fn rules(&self) -> Vec<Rule> {
        let numbers: &[Option<u8>] = match self.protocol {
            None => &[None],
            Some(Transport::Tcp) => &[Some(6)],
            Some(Transport::Udp) => &[Some(17)],
            Some(Transport::Icmp) => &[Some(1), Some(58)],
        };
        numbers.iter().map(|number| self.rule(*number)).collect()
    }

    fn rule(&self, protocol: Option<u8>) -> Rule {
        let invalid = self.invalid.then_some(Match::ConnectionState(ct_state::INVALID));
        let matches = [
            protocol.map(Match::Protocol),
            self.port.map(Match::DestinationPort),
            self.source_port.map(Match::SourcePort),
            self.to.map(Match::Destination),
            self.from.map(Match::Source),
            invalid,
        ];
        Rule { matches: matches.into_iter().flatten().collect(), verdict: self.verdict.verdict() }
    }
}

pub(super) fn in_kernel(world: &mut World, at: &str, hook: Hook, rules: &[KernelRule]) -> Result<Witness, FaultError> {
    let rules = rules.iter().flat_map(KernelRule::rules).collect();
    neighbour::install(world.net.host(at)?, KERNEL_TABLE, vec![Chain { hook, priority: 0, rules }])?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = world.dropped_by(&at, KERNEL_TABLE)?;
        Ok(Sight::count(&format!("packets decided by the rules of {at}"), met))
    }))
}

/// Rules are added to the cable's filter, which is put there if the topology has none.
pub(super) fn on_link(world: &mut World, at: &str, rules: &[BoxRule]) -> Result<Witness, FaultError> {
    let firewall = Firewall::new("fault-firewall", rules_of(world, at, rules)?);
    world.net.link(at)?.add(Box::new(firewall.clone()));
    Ok(witness(firewall, format!("packets decided by the filter on {at}")))
}

fn witness(firewall: Firewall, what: String) -> Witness {
    Witness::new(move |_| Ok(Sight::count(&what, firewall.hits().iter().sum())))
}

fn rules_of(world: &World, at: &str, rules: &[BoxRule]) -> Result<Vec<middlebox::Rule>, FaultError> {
    let mut made = Vec::new();
    for rule in rules {
        for family in families(rule) {
            made.push(rule_of(world, at, rule, family)?);
        }
    }
    Ok(made)
}

/// An ICMP type has another number in IPv6, so a rule that names one becomes two.
fn families(rule: &BoxRule) -> Vec<Option<Family>> {
    if rule.icmp_type.is_some() { vec![Some(Family::V4), Some(Family::V6)] } else { vec![None] }
}

fn rule_of(world: &World, at: &str, rule: &BoxRule, family: Option<Family>) -> Result<middlebox::Rule, FaultError> {
    let link = world.net.link(at)?;
    let direction = match &rule.toward {
        None => None,
        Some(node) => {
            let missing = || FaultError::Impossible { reason: format!("{at} does not lead to {node}") };
            Some(link.direction_to(node).ok_or_else(missing)?)
        }
    };
    let proto = rule.protocol.map(|protocol| match protocol {
        Transport::Tcp => Proto::Tcp,
        Transport::Udp => Proto::Udp,
        Transport::Icmp => Proto::Icmp,
    });
    Ok(middlebox::Rule {
        direction,
        family: rule.family.or(family),
        proto,
        dst_ports: rule.ports.or(rule.port.map(|port| (port, port))),
        src_ports: rule.source_port.map(|port| (port, port)),
        icmp_type: rule.icmp_type.map(|kind| if family == Some(Family::V6) { icmpv6_type(kind) } else { kind }),
        only_syn: rule.only_syn,
        only_fragments: rule.only_fragments,
        min_len: rule.min_len.unwrap_or(0),
        contains: rule.contains.clone(),
        after_bytes: rule.after_bytes,
        ..middlebox::Rule::new(action_of(world, &rule.action)?)
    })
}

/// The ICMPv6 type that means what an ICMP type means (RFC 4443 against RFC 792).
fn icmpv6_type(kind: u8) -> u8 {
    match kind {
        0 => 129,
        3 => 1,
        8 => 128,
        11 => 3,
        other => other,
    }
}

fn action_of(world: &World, action: &BoxAction) -> Result<Action, FaultError> {
    let (code, from) = match action {
        BoxAction::Accept => return Ok(Action::Accept),
        BoxAction::Drop => return Ok(Action::Drop),
        BoxAction::Reset => return Ok(Action::RejectReset),
        BoxAction::Unreachable { code, from } => (*code, from),
    };
    let from = match from {
        Some(host) => world.net.host(host)?.addrs().collect(),
        None => Vec::new(),
    };
    Ok(match code {
        0 => Action::net_unreachable(from),
        1 => Action::host_unreachable(from),
        3 => Action::port_unreachable(from),
        // 1/1 is the only ICMPv6 code for "prohibited by policy".
        code => Action::RejectIcmp { v4: (3, code), v6: (1, 1), from },
    })
}

pub(super) fn family_blocked(world: &mut World, at: &str, family: Family) -> Result<Witness, FaultError> {
    let rule = middlebox::Rule { family: Some(family), ..middlebox::Rule::new(Action::Drop) };
    let firewall = Firewall::new("family-filter", vec![rule]);
    world.net.link(at)?.add(Box::new(firewall.clone()));
    Ok(witness(firewall, format!("{family:?} packets swallowed on {at}")))
}

pub(super) fn interpose(world: &mut World, at: &str, clients: &str) -> Result<Witness, FaultError> {
    let link = world.net.link(at)?;
    let missing = || FaultError::Impossible { reason: format!("{at} does not lead to {clients}") };
    let proxy = Interposer::new("proxy", link.direction_from(clients).ok_or_else(missing)?);
    link.add(Box::new(proxy.clone()));
    let what = format!("handshakes answered by the proxy on {at}");
    Ok(Witness::new(move |_| {
        let answered = proxy.counters().get("interposed").copied();
        Ok(Sight::count(&what, answered.unwrap_or(0)))
    }))
}

pub(super) fn divert(world: &mut World, at: &str, clients: &str, ports: &[u16], to: &str) -> Result<Witness, FaultError> {
    let hosts = world.net.host(to)?.addrs().collect();
    let link = world.net.link(at)?;
    let missing = || FaultError::Impossible { reason: format!("{at} does not lead to {clients}") };
    let diverter = Diverter::new("diverter", link.direction_from(clients).ok_or_else(missing)?, ports.to_vec(), hosts);
    link.add(Box::new(diverter.clone()));
    let what = format!("packets sent to {to} by the box on {at}");
    Ok(Witness::new(move |_| Ok(Sight::count(&what, diverter.counters().get("diverted").copied().unwrap_or(0)))))
}
