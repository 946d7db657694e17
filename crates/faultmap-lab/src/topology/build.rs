//! From a topology to a running network: namespaces, interfaces, addresses, routes, wires, boxes.
//! When it returns, the network is up and healthy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::{EndSpec, HostSpec, LinkSpec, MANAGEMENT, MiddleboxSpec, Prefix, Topology};
use crate::error::LabError;
use crate::fabric::middlebox::{Firewall, Nat, NatConfig, Snat};
use crate::fabric::{Direction, End, Fabric, Impairment, Link, PortSpec, Switch};
use crate::host::{Family, Host, Interface};
use crate::rtnl::{Route, RouteKind};
use crate::sandbox::Sandbox;

const MTU: u32 = 1500;
const GROUPS: &str = "/proc/thread-self/net/igmp6";
const READY_DEADLINE: Duration = Duration::from_secs(10);

/// Settings of every host before its first interface exists: no waiting for IPv6, no addresses from outside, no
/// limit on the ICMP errors that diagnosis depends on.
const HOST_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
];

/// Settings of routers: they forward, tolerate asymmetric paths, and answer from the address the packet came to, so
/// that a path walk names the near side of each hop.
const ROUTER_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/icmp_errors_use_inbound_ifaddr", "1"),
];

/// A running network. Dropping it stops the wires and ends the namespaces.
#[derive(Debug)]
pub struct Net {
    /// The topology it was built from.
    pub topology: Topology,
    /// The hosts by name.
    pub hosts: BTreeMap<String, Host>,
    /// The cables by name.
    pub links: BTreeMap<String, Link>,
    /// The switches by name.
    pub switches: BTreeMap<String, Switch>,
    /// The address translators of the topology by name.
    pub nats: BTreeMap<String, Nat>,
    /// The packet filters of the topology by name.
    pub firewalls: BTreeMap<String, Firewall>,
    _fabric: Fabric,
}

impl Net {
    /// Builds the network and starts its wires.
    pub fn build(topology: &Topology, _sandbox: &Sandbox) -> Result<Net, LabError> {
        let mut fabric = Fabric::create()?;
        let mut hosts = BTreeMap::new();
        for spec in &topology.hosts {
            hosts.insert(spec.name.clone(), create_host(spec)?);
        }
        let mut switches = BTreeMap::new();
        let mut switch_ends = BTreeMap::new();
        for spec in &topology.switches {
            let (end, switch) = fabric.add_switch(&spec.name);
            switch_ends.insert(spec.name.clone(), end);
            switches.insert(spec.name.clone(), switch);
        }
        let mut links = BTreeMap::new();
        let mut wiring = Wiring { fabric: &mut fabric, hosts: &mut hosts, switches: &switch_ends, ports: 0 };
        for spec in &topology.links {
            links.insert(spec.name.clone(), wiring.plug(spec)?);
        }
        let mut net =
            Net { topology: topology.clone(), hosts, links, switches, nats: BTreeMap::new(), firewalls: BTreeMap::new(), _fabric: fabric };
        for spec in &topology.middleboxes {
            net.install(spec)?;
        }
        net._fabric.start()?;
        for spec in &topology.hosts {
            bring_up(net.host(&spec.name)?, spec)?;
        }
        net._fabric.await_ports()?;
        net.introduce_management()?;
        net.hosts.values().try_for_each(await_ready)?;
        net._fabric.forget_losses();
        Ok(net)
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts.get(name).ok_or_else(|| LabError::unknown("host", name, self.hosts.keys()))
    }

    /// The cable of that name.
    pub fn link(&self, name: &str) -> Result<&Link, LabError> {
        self.links.get(name).ok_or_else(|| LabError::unknown("link", name, self.links.keys()))
    }

    /// The switch of that name.
    pub fn switch(&self, name: &str) -> Result<&Switch, LabError> {
        self.switches.get(name).ok_or_else(|| LabError::unknown("switch", name, self.switches.keys()))
    }

    /// The address translator of that name.
    pub fn nat(&self, name: &str) -> Result<&Nat, LabError> {
        self.nats.get(name).ok_or_else(|| LabError::unknown("nat", name, self.nats.keys()))
    }

    /// The packet filter of that name.
    pub fn firewall(&self, name: &str) -> Result<&Firewall, LabError> {
        self.firewalls.get(name).ok_or_else(|| LabError::unknown("firewall", name, self.firewalls.keys()))
    }

    /// The host on which checks run.
    pub fn client(&self) -> Result<&Host, LabError> {
        self.host(&self.topology.client)
    }

    /// The host on which the zone's DNS server runs.
    pub fn dns(&self) -> Result<&Host, LabError> {
        self.host(&self.topology.dns)
    }

    /// Every DNS name of the zone with its addresses, in the topology's order.
    pub fn names(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let addresses = |hosts: &Vec<String>| {
            let hosts = hosts.iter().filter_map(|host| self.hosts.get(host));
            hosts.flat_map(|h| [h.addr(Family::V4), h.addr(Family::V6)]).flatten().collect()
        };
        self.topology.names.iter().map(|(name, hosts)| (name.clone(), addresses(hosts))).collect()
    }

    /// The cables plugged into a host or switch.
    pub fn links_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Link> + 'a {
        self.links.values().filter(move |link| link.nodes().contains(&node))
    }

    /// The ends of the management wire know each other's MAC, so that no fault of address resolution reaches it.
    fn introduce_management(&self) -> Result<(), LabError> {
        let ends: Vec<(&Host, &Interface)> = self.hosts.values().filter_map(|host| Some((host, host.management.as_ref()?))).collect();
        for (host, own) in &ends {
            for (_, other) in ends.iter().filter(|(_, other)| other.mac != own.mac) {
                for addr in &other.addrs {
                    host.rtnl()?.set_neighbour(&own.name, addr.addr, other.mac, true)?;
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, spec: &MiddleboxSpec) -> Result<(), LabError> {
        match spec {
            MiddleboxSpec::Nat { name, link, inside, capacity, snat4, snat6, ports } => {
                let link = self.link(link)?;
                let outward = link.direction_from(inside).unwrap_or(Direction::Forward);
                let mut config = NatConfig { outward, ..NatConfig::default() };
                config.capacity = capacity.unwrap_or(config.capacity);
                if snat4.is_some() || snat6.is_some() {
                    let ports = ports.unwrap_or(Snat::DEFAULT_PORTS);
                    config.snat = Some(Snat { v4: *snat4, v6: *snat6, ports });
                }
                let nat = Nat::new(name, config);
                link.add(Box::new(nat.clone()));
                self.nats.insert(name.clone(), nat);
            }
            MiddleboxSpec::Firewall { name, link } => {
                let firewall = Firewall::new(name, Vec::new());
                self.link(link)?.add(Box::new(firewall.clone()));
                self.firewalls.insert(name.clone(), firewall);
            }
        }
        Ok(())
    }
}

fn create_host(spec: &HostSpec) -> Result<Host, LabError> {
    let mut host = Host::create(&spec.name)?;
    let sysctls = if spec.forward { [HOST_SYSCTLS, ROUTER_SYSCTLS].concat() } else { HOST_SYSCTLS.to_vec() };
    host.netns.sysctls(sysctls)?;
    host.loopback.clone_from(&spec.loopback);
    Ok(host)
}

/// Addresses and routes, once every cable is plugged in.
fn bring_up(host: &Host, spec: &HostSpec) -> Result<(), LabError> {
    let rtnl = host.rtnl()?;
    for interface in host.interfaces.iter().chain(&host.management) {
        rtnl.set_up(&interface.name, true)?;
        for addr in &interface.addrs {
            rtnl.add_addr(&interface.name, *addr)?;
        }
    }
    for addr in &spec.loopback {
        rtnl.add_addr("lo", *addr)?;
    }
    for gateway in &spec.gateways {
        rtnl.add_route(&Route::via(Prefix::everything_like(*gateway), *gateway))?;
    }
    for route in &spec.routes {
        let kind = route.kind.unwrap_or(RouteKind::Unicast);
        rtnl.add_route(&Route { via: route.via, metric: route.metric, ..Route::of_kind(route.to, kind) })?;
    }
    Ok(())
}

/// Waits until the host's interfaces pass frames and it hears neighbour solicitations for its IPv6 addresses: the
/// kernel joins their multicast groups some time after the address was added, and until then the first question
/// of a neighbour goes unheard and is repeated only a second later.
fn await_ready(host: &Host) -> Result<(), LabError> {
    let rtnl = host.rtnl()?;
    host.interfaces.iter().chain(&host.management).try_for_each(|interface| rtnl.await_operational(&interface.name))?;
    let groups = host.interfaces.iter().flat_map(solicited_node_groups).collect::<Vec<_>>();
    let deadline = Instant::now() + READY_DEADLINE;
    host.run(move || {
        loop {
            let joined = fs::read_to_string(GROUPS).map_err(|e| LabError::system("read", GROUPS, e))?;
            if groups.iter().all(|group| is_joined(&joined, group)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                return Err(LabError::system("wait for multicast groups in", GROUPS, late));
            }
            thread::sleep(Duration::from_millis(1));
        }
    })?
}

/// Interface and solicited-node group (RFC 4291 §2.7.1) of every IPv6 address, as the kernel prints them.
fn solicited_node_groups(interface: &Interface) -> Vec<(String, String)> {
    let group = |prefix: &Prefix| match prefix.addr {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => {
            let [.., a, b, c] = v6.octets();
            Some(format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}"))
        }
    };
    let groups = interface.addrs.iter().filter_map(group);
    groups.map(|group| (interface.name.clone(), group)).collect()
}

/// Whether a table like /proc/net/igmp6 (index, interface, group, ...) has that interface in that group.
fn is_joined(table: &str, (interface, group): &(String, String)) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(interface) && fields.next() == Some(group)
    })
}

struct Wiring<'a> {
    fabric: &'a mut Fabric,
    hosts: &'a mut BTreeMap<String, Host>,
    switches: &'a BTreeMap<String, End>,
    ports: u16,
}

impl Wiring<'_> {
    fn plug(&mut self, spec: &LinkSpec) -> Result<Link, LabError> {
        let ends = [self.end(spec, &spec.a)?, self.end(spec, &spec.b)?];
        let mut impairment = Impairment::default();
        impairment.delay_ms = spec.delay_ms.unwrap_or(impairment.delay_ms);
        let nodes = [spec.a.node().to_owned(), spec.b.node().to_owned()];
        Ok(self.fabric.add_link(&spec.name, nodes, ends, &impairment))
    }

    fn end(&mut self, link: &LinkSpec, spec: &EndSpec) -> Result<End, LabError> {
        if let Some(end) = self.switches.get(spec.node()) {
            return Ok(*end);
        }
        self.ports += 1;
        let [high, low] = self.ports.to_be_bytes();
        let have = self.hosts.keys().cloned().collect::<Vec<_>>();
        let unknown = || LabError::unknown("host", spec.node(), have.iter());
        let host = self.hosts.get_mut(spec.node()).ok_or_else(unknown)?;
        let name = spec.iface.clone().unwrap_or_else(|| format!("eth{}", host.interfaces.len()));
        // Locally administered; the last bytes count the ports, so a capture is easy to read.
        let mac = [0x02, 0, 0, 0, high, low];
        let port = PortSpec { netns: &host.netns, iface: &name, mac, mtu: MTU, tap: spec.tap };
        let end = self.fabric.add_port(&port)?;
        let interface = Interface { name, link: link.name.clone(), mac, addrs: spec.addrs.clone() };
        if link.name == MANAGEMENT {
            host.management = Some(interface);
        } else {
            host.interfaces.push(interface);
        }
        Ok(end)
    }
}
