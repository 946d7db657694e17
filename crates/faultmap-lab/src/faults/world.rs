//! A running scenario: the network, its services, and what the lab itself keeps going in it. Faults change it, witnesses
//! read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::client::CheckEnvironment;
use super::flows::Held;
use super::program::Program;
use crate::error::LabError;
use crate::host::{Family, Host};
use crate::nft::{self, TableFamily};
use crate::runner::BASELINE_FILE;
use crate::sandbox::Sandbox;
use crate::scenario::{BASELINE, Placed, Scenario, address_placeholder};
use crate::services::{self, DnsSpec, Pki, ServiceError, ServiceHandle, ServiceSpec, SpawnIn};
use crate::topology::Net;

/// Why a scenario could not be built or a fault not be applied.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The network failed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A service failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A host's kernel refused.
    #[error("{doing} {what}: {source}")]
    Kernel {
        /// The operation.
        doing: &'static str,
        /// The operand.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The scenario asks for what its network cannot do.
    #[error("{reason}")]
    Impossible {
        /// Why not.
        reason: String,
    },
}

/// About 24 kB: more than a small window and a first burst, less than what servers take in a header.
const FILLER_WORDS: usize = 3_400;

/// A service and where it runs.
#[derive(Debug)]
pub struct Running {
    /// The host.
    pub at: String,
    /// The service.
    pub handle: ServiceHandle,
}

impl Running {
    /// The kind of service, for messages.
    pub fn kind(&self) -> &'static str {
        match self.handle.spec() {
            ServiceSpec::Http(_) => "http",
            ServiceSpec::Https(_) => "https",
            ServiceSpec::Balancer(_) => "balancer",
            ServiceSpec::Dns(_) => "dns",
            ServiceSpec::Tcp(_) => "tcp",
            ServiceSpec::Udp(_) => "udp",
            ServiceSpec::Http3(_) => "http3",
        }
    }
}

/// Lets services start their threads in a host.
struct Inside<'a>(&'a Host);

impl SpawnIn for Inside<'_> {
    fn spawn(&self, name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.0.spawn(name, f).map(|_| ()).map_err(io::Error::other)
    }
}

/// A network with its services, alive.
#[derive(Debug)]
pub struct World {
    /// How the check is started.
    pub check: CheckEnvironment,
    /// The lab's certificate authority.
    pub pki: Pki,
    /// Cables that faults keep the lab from carrying frames on: into interfaces that are set down, out of rings that nobody empties.
    pub downed: BTreeSet<String>,
    services: Vec<Running>,
    held: Vec<Held>,
    listeners: Vec<std::net::TcpListener>,
    programs: Vec<Program>,
    ca_path: String,
    /// The network; last, so that services end before their hosts do.
    pub net: Net,
}

impl World {
    /// Builds the scenario's network and starts its services; nothing is broken yet.
    ///
    /// `ca_path` is where the check will find the lab's root certificate.
    pub fn build(scenario: &Scenario, sandbox: &Sandbox, ca_path: &str) -> Result<World, FaultError> {
        let mut topology = scenario.wired()?;
        if let Some(witness) = &scenario.witness {
            topology.add_management(witness)?;
        }
        let net = Net::build(&topology, sandbox)?;
        let pki = Pki::new(net.names().into_keys())?;
        let mut world = World {
            check: CheckEnvironment::default(),
            pki,
            downed: BTreeSet::new(),
            services: Vec::new(),
            held: Vec::new(),
            listeners: Vec::new(),
            programs: Vec::new(),
            ca_path: ca_path.to_owned(),
            net,
        };
        // As systemd sets it; without it no unprivileged process may send an echo request.
        world.net.client()?.sysctl("net/ipv4/ping_group_range", "0 0")?;
        world.start_resolver(&scenario.services)?;
        for service in &scenario.services {
            world.start(&service.at, &service.what)?;
        }
        Ok(world)
    }

    /// The lab's own DNS server, unless the scenario brings one; every host asks it.
    fn start_resolver(&mut self, own: &[Placed<ServiceSpec>]) -> Result<(), FaultError> {
        let at = self.net.topology.dns.clone();
        if !own.iter().any(|service| service.at == at && matches!(service.what, ServiceSpec::Dns(_))) {
            self.start(&at, &ServiceSpec::Dns(zone(&self.net.names())?))?;
        }
        let addr = self.net.host(&at)?.addr(Family::V4).or(self.net.host(&at)?.addr(Family::V6));
        if let Some(addr) = addr {
            for host in self.net.hosts.values() {
                host.set_resolv_conf(format!("nameserver {addr}\n"));
            }
        }
        Ok(())
    }

    fn start(&mut self, at: &str, spec: &ServiceSpec) -> Result<(), FaultError> {
        let host = self.net.host(at)?;
        let addrs = host.addrs().collect::<Vec<_>>();
        let spec = self.with_zone(spec)?;
        let handle = services::start(&spec, &addrs, &self.pki, &Inside(host))?;
        self.services.push(Running { at: at.to_owned(), handle });
        Ok(())
    }

    /// A scenario's own DNS server knows the topology's names unless it brings a zone of its own.
    fn with_zone(&self, spec: &ServiceSpec) -> Result<ServiceSpec, FaultError> {
        let mut spec = spec.clone();
        if let ServiceSpec::Dns(dns) = &mut spec
            && dns.records.is_empty()
            && dns.recurse.is_empty()
        {
            let known = zone(&self.net.names())?;
            dns.zones.extend(known.zones);
            dns.records = known.records;
        }
        Ok(spec)
    }

    /// What placeholders in targets and arguments stand for.
    pub fn placeholders(&self) -> BTreeMap<String, String> {
        let hosts = self.net.hosts.values().flat_map(|host| {
            let addrs = [host.addr(Family::V4), host.addr(Family::V6)].into_iter().flatten();
            addrs.map(|addr| (address_placeholder(&host.name, addr), addr.to_string())).collect::<Vec<_>>()
        });
        let baseline = std::path::Path::new(&self.ca_path).with_file_name(BASELINE_FILE).display().to_string();
        let filler = "filler ".repeat(FILLER_WORDS).trim().to_owned();
        hosts.chain([("ca".to_owned(), self.ca_path.clone()), (BASELINE.to_owned(), baseline), ("filler".to_owned(), filler)]).collect()
    }

    /// Keeps connections open until the world ends.
    pub(super) fn keep(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Keeps a socket listening until the world ends.
    pub(super) fn keep_listening(&mut self, listener: std::net::TcpListener) {
        self.listeners.push(listener);
    }

    /// Keeps a program running until the world ends.
    pub(super) fn keep_program(&mut self, program: Program) {
        self.programs.push(program);
    }

    pub(super) fn programs_mut(&mut self) -> &mut [Program] {
        &mut self.programs
    }

    /// Every service, the lab's own DNS server first.
    pub fn services(&self) -> &[Running] {
        &self.services
    }

    pub(super) fn running(&self, index: usize) -> Option<&Running> {
        self.services.get(index)
    }

    pub(super) fn service(&self, index: usize) -> Result<&Running, FaultError> {
        self.running(index).ok_or_else(|| FaultError::Impossible { reason: format!("there is no service {index}") })
    }

    pub(super) fn service_index(&self, at: &str, port: Option<u16>) -> Result<usize, FaultError> {
        let fits = |service: &Running| service.at == at && port.is_none_or(|p| service.handle.spec().port() == p);
        let missing = || {
            let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
            FaultError::Impossible { reason: format!("no service runs at {at}{port}") }
        };
        // The lab's own DNS server comes first in the list and is rarely meant.
        let last = self.services.iter().rposition(fits).ok_or_else(missing)?;
        Ok(self.services.iter().skip(1).position(fits).map_or(last, |found| found + 1))
    }

    /// The interfaces of `at` and the addresses of `of` that share a network with them.
    pub(super) fn on_link_addresses(&self, at: &str, of: &str) -> Result<Vec<(String, IpAddr)>, LabError> {
        let foreign = self.net.host(of)?.addrs().collect::<Vec<_>>();
        let interfaces = self.net.host(at)?.interfaces();
        let shared = interfaces.iter().flat_map(|interface| {
            let near = foreign.iter().filter(|addr| interface.addrs.iter().any(|prefix| prefix.contains(**addr)));
            near.map(|addr| (interface.name.clone(), *addr)).collect::<Vec<_>>()
        });
        Ok(shared.collect())
    }

    /// Makes every other host forget what it knows of a host's MAC addresses.
    pub(super) fn forget_neighbour(&self, of: &str) -> Result<(), LabError> {
        for (name, host) in self.net.hosts.iter().filter(|(name, _)| *name != of) {
            let rtnl = host.rtnl()?;
            for (interface, addr) in self.on_link_addresses(name, of)? {
                // There may be nothing to forget.
                let _ = rtnl.delete_neighbour(&interface, addr);
            }
        }
        Ok(())
    }

    /// Packets that the rules of a table in a host's kernel matched.
    pub(super) fn dropped_by(&self, at: &str, table: &'static str) -> Result<u64, FaultError> {
        let counts = self.net.host(at)?.run(move || nft::counts(TableFamily::Inet, table))?;
        let counts =
            counts.map_err(|source| FaultError::Kernel { doing: "read packet filter counters of", what: at.to_owned(), source })?;
        Ok(counts.iter().map(|count| count.packets).sum())
    }

    /// The DNS server that hosts ask.
    fn resolver(&self) -> Result<&Running, FaultError> {
        let is_dns = |service: &&Running| matches!(service.handle.spec(), ServiceSpec::Dns(_));
        let none = || FaultError::Impossible { reason: "no DNS server runs".to_owned() };
        self.services.iter().find(is_dns).ok_or_else(none)
    }

    /// Makes a name resolve to other addresses. Returns how often it has been asked for so far.
    pub(super) fn redirect_name(&self, name: &str, addrs: &[IpAddr]) -> Result<u64, FaultError> {
        let change = serde_json::json!({ "names": { name: { "addresses": addrs } } });
        let change = serde_json::from_value(change).map_err(|e| ServiceError::spec("names", e))?;
        self.resolver()?.handle.alter(&change)?;
        Ok(self.queries_for(name))
    }

    /// Queries for a name so far.
    pub(super) fn queries_for(&self, name: &str) -> u64 {
        let Ok(resolver) = self.resolver() else {
            return 0;
        };
        let asked = |key: &String| key.split([' ', '.']).zip(name.split('.')).all(|(a, b)| a.eq_ignore_ascii_case(b));
        resolver.handle.stats().queries.iter().filter(|(key, _)| asked(key)).map(|(_, count)| count).sum()
    }

    /// The routers on the other ends of a host's cables.
    pub(super) fn routers_beside(&self, at: &str) -> Vec<String> {
        let routers = self.net.topology.hosts.iter().filter(|host| host.forward).map(|host| host.name.as_str());
        let beside = |router: &&str| self.net.links_of(at).any(|link| link.nodes().contains(router));
        routers.filter(|router| *router != at).filter(beside).map(str::to_owned).collect()
    }
}

/// The zone `lab` with the names of a topology.
fn zone(names: &BTreeMap<String, Vec<IpAddr>>) -> Result<DnsSpec, FaultError> {
    let record = |(name, addrs): (&String, &Vec<IpAddr>)| {
        let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) = addrs.iter().partition(|addr| addr.is_ipv4());
        serde_json::json!({ "name": name, "a": v4, "aaaa": v6 })
    };
    let records = names.iter().map(record).collect::<Vec<_>>();
    let spec = serde_json::json!({ "zones": ["lab"], "records": records });
    serde_json::from_value(spec).map_err(|e| ServiceError::spec("records", e).into())
}

/// A counter of a host's network namespace by group and name as in /proc/net/snmp, /proc/net/netstat and
/// /proc/net/snmp6 (there `Ip6` and `InReceives` are written in one word); 0 where the kernel has none.
pub(super) fn snmp(host: &Host, group: &str, name: &str) -> Result<u64, LabError> {
    if group.ends_with('6') {
        let text = host.read("/proc/thread-self/net/snmp6")?;
        return Ok(snmp6_counter(&text, &format!("{group}{name}")).unwrap_or(0));
    }
    let file = if group.ends_with("Ext") { "netstat" } else { "snmp" };
    let text = host.read(&format!("/proc/thread-self/net/{file}"))?;
    Ok(counter(&text, group, name).unwrap_or(0))
}

/// Two lines per group: names, then values.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':')).filter(|(found, _)| *found == group);
    let (names, values) = (lines.next()?.1, lines.next()?.1);
    let at = names.split_whitespace().position(|found| found == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

fn snmp6_counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_counters_are_found_by_group_and_name() {
        let text = "Ip: Forwarding InReceives\nIp: 1 42\nTcpExt: A B\nTcpExt: 7 8\n";
        assert_eq!(counter(text, "Ip", "InReceives"), Some(42));
        assert_eq!(counter(text, "TcpExt", "B"), Some(8));
        assert_eq!(counter(text, "TcpExt", "C"), None);
        assert_eq!(snmp6_counter("Ip6InReceives     \t12\nIp6OutNoRoutes 3\n", "Ip6OutNoRoutes"), Some(3));
    }
}
