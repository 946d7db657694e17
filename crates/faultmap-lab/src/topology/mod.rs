//! The shape of a lab network as data: hosts, switches, links, addresses, routes, middleboxes.
//! It describes healthy networks only; what breaks them are faults, applied later.

mod build;
mod builtin;
mod prefix;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

pub use build::Net;
pub use builtin::{builtin, builtin_names};
pub use prefix::Prefix;

use crate::error::LabError;
use crate::fabric::TapSpec;
use crate::rtnl::RouteKind;

/// A network to build.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name, by which scenarios refer to it.
    pub name: String,
    /// One sentence: what it looks like and what it is for.
    pub about: String,
    /// The host on which checks run.
    pub client: String,
    /// The host on which the lab's DNS server for the zone `lab.` runs.
    pub dns: String,
    /// The host that the target services run on, unless a scenario says otherwise.
    pub server: String,
    /// DNS names of the zone and the hosts they resolve to; several hosts for one name are several records.
    #[serde(default)]
    pub names: BTreeMap<String, Vec<String>>,
    /// The hosts; routers are hosts that forward.
    #[serde(rename = "host")]
    pub hosts: Vec<HostSpec>,
    /// The switches.
    #[serde(rename = "switch", default)]
    pub switches: Vec<SwitchSpec>,
    /// The cables.
    #[serde(rename = "link")]
    pub links: Vec<LinkSpec>,
    /// Boxes on the cables that are there from the start.
    #[serde(rename = "middlebox", default)]
    pub middleboxes: Vec<MiddleboxSpec>,
}

/// A host: one network namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Its name.
    pub name: String,
    /// Whether it forwards packets of others.
    #[serde(default)]
    pub forward: bool,
    /// Routers for the default route, one per family.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Further routes.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// Further addresses on the loopback interface (the address of a balancer, for one).
    #[serde(default)]
    pub loopback: Vec<Prefix>,
}

/// A route in a topology file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Destinations.
    pub to: Prefix,
    /// The next router.
    pub via: Option<IpAddr>,
    /// What it does, delivery by default.
    pub kind: Option<RouteKind>,
    /// Lower wins.
    pub metric: Option<u32>,
}

/// A learning switch.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchSpec {
    /// Its name.
    pub name: String,
}

/// A cable between two ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Its name, usually `END-END`.
    pub name: String,
    /// The first end; frames from here travel [`Direction::Forward`](crate::fabric::Direction).
    pub a: EndSpec,
    /// The second end.
    pub b: EndSpec,
    /// One-way delay in milliseconds; 0.3 unless given.
    pub delay_ms: Option<f64>,
}

/// One end of a cable: an interface of a host or a port of a switch.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSpec {
    /// The host, if it is one.
    pub host: Option<String>,
    /// The switch, if it is one.
    pub switch: Option<String>,
    /// The interface name; `eth0`, `eth1`, … in order unless given.
    pub iface: Option<String>,
    /// The interface's addresses with their prefix lengths.
    #[serde(default)]
    pub addrs: Vec<Prefix>,
    /// Makes a host's interface a TAP device, with a carrier, a speed and a ring of its own; a veth end unless given.
    pub tap: Option<TapSpec>,
}

/// A middlebox on a cable.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MiddleboxSpec {
    /// A connection table, translating source addresses when `snat4`/`snat6` are given.
    Nat {
        /// Its name.
        name: String,
        /// The cable it sits on.
        link: String,
        /// The host on whose side of the cable the inside is.
        inside: String,
        /// Connections it can hold.
        capacity: Option<usize>,
        /// Address that IPv4 sources become.
        snat4: Option<Ipv4Addr>,
        /// Address that IPv6 sources become.
        snat6: Option<Ipv6Addr>,
        /// First and last port to hand out.
        ports: Option<(u16, u16)>,
    },
    /// A packet filter without rules; faults add them.
    Firewall {
        /// Its name.
        name: String,
        /// The cable it sits on.
        link: String,
    },
}

impl MiddleboxSpec {
    /// The box's name and its cable's.
    pub fn name_and_link(&self) -> (&str, &str) {
        match self {
            MiddleboxSpec::Nat { name, link, .. } | MiddleboxSpec::Firewall { name, link } => (name, link),
        }
    }
}

/// The wire between client and witness, outside the network of the scenario.
pub const MANAGEMENT: &str = "management";
/// Its ends: the client's, and the witness's. Of documentation (RFC 5737), for a private range of our own would be a finding.
const MANAGEMENT_ENDS: [&str; 2] = ["203.0.113.1/24", "203.0.113.2/24"];

impl Topology {
    /// Adds a wire of its own from the client to the host at which a witness runs. Nothing else of the network changes.
    pub fn add_management(&mut self, witness: &str) -> Result<(), LabError> {
        let [near, far] = MANAGEMENT_ENDS.map(|text| text.parse::<Prefix>());
        let end = |host: &str, addr: Result<Prefix, _>| {
            let reason = || LabError::Topology { name: self.name.clone(), reason: "the management wire has no address".to_owned() };
            let addrs = vec![addr.map_err(|_| reason())?];
            Ok(EndSpec { host: Some(host.to_owned()), switch: None, iface: Some("mgmt0".to_owned()), addrs, tap: None })
        };
        let (a, b) = (end(&self.client, near)?, end(witness, far)?);
        self.links.push(LinkSpec { name: MANAGEMENT.to_owned(), a, b, delay_ms: None });
        Ok(())
    }
}

impl Topology {
    /// Makes an interface of a host a TAP device: the one plugged into `link`, the host's first if absent. False if there is none.
    pub fn set_tap(&mut self, host: &str, link: Option<&str>, tap: TapSpec) -> bool {
        let links = self.links.iter_mut().filter(|spec| link.is_none_or(|link| spec.name == link));
        let mut ends = links.flat_map(|link| [&mut link.a, &mut link.b]);
        let found = ends.find(|end| end.host.as_deref() == Some(host));
        found.map(|end| end.tap = Some(tap)).is_some()
    }

    /// Whether an interface is a TAP device.
    pub fn needs_tap(&self) -> bool {
        self.links.iter().any(|link| link.a.tap.is_some() || link.b.tap.is_some())
    }
}

impl EndSpec {
    /// The name of the host or the switch.
    pub fn node(&self) -> &str {
        self.host.as_deref().or(self.switch.as_deref()).unwrap_or_default()
    }
}

impl Topology {
    /// Reads a topology from TOML and checks that its names hang together.
    pub fn parse(text: &str) -> Result<Topology, LabError> {
        let topology: Topology = toml::from_str(text).map_err(|e| LabError::Topology { name: "?".to_owned(), reason: e.to_string() })?;
        match topology.contradiction() {
            None => Ok(topology),
            Some(reason) => Err(LabError::Topology { name: topology.name, reason }),
        }
    }

    /// The first thing wrong with it.
    fn contradiction(&self) -> Option<String> {
        let hosts = self.hosts.iter().map(|h| h.name.as_str()).collect::<BTreeSet<_>>();
        let switches = self.switches.iter().map(|s| s.name.as_str()).collect::<BTreeSet<_>>();
        let links = self.links.iter().map(|l| l.name.as_str()).collect::<BTreeSet<_>>();
        let duplicates = hosts.len() < self.hosts.len()
            || links.len() < self.links.len()
            || switches.len() < self.switches.len()
            || hosts.intersection(&switches).next().is_some();
        if duplicates {
            return Some("a name is used twice".to_owned());
        }
        let named = self.names.values().flatten().chain([&self.client, &self.dns, &self.server]);
        if let Some(missing) = named.map(String::as_str).find(|name| !hosts.contains(name)) {
            return Some(format!("no host is named {missing:?}"));
        }
        let ends = self.links.iter().flat_map(|link| [(link, &link.a), (link, &link.b)]);
        for (link, end) in ends {
            let known = match (&end.host, &end.switch) {
                (Some(host), None) => hosts.contains(host.as_str()),
                (None, Some(switch)) => switches.contains(switch.as_str()) && end.addrs.is_empty() && end.tap.is_none(),
                _ => false,
            };
            if !known {
                return Some(format!("an end of {:?} names neither a host nor an address-less switch port", link.name));
            }
        }
        let stray = self.middleboxes.iter().map(MiddleboxSpec::name_and_link).find(|(_, link)| !links.contains(link));
        stray.map(|(name, link)| format!("{name:?} sits on {link:?}, which is no link"))
    }
}
