//! What can be broken in a lab network, how it is broken, and how the oracle knows afterwards that it was. Faults act on
//! kernels, wires, boxes and services only; none of them knows the check.

mod adapter;
mod client;
mod exchanges;
mod filter;
mod flows;
mod limits;
mod link;
mod load;
mod names;
mod neighbour;
mod program;
mod queues;
mod raw;
mod routing;
mod service;
mod states;
mod traffic;
mod world;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use client::CheckEnvironment;
pub use filter::{BoxAction, BoxRule, KernelRule, KernelVerdict, Transport};
pub use flows::{Held, KeptFlow};
pub use link::WirePatch;
pub use program::ProgramJob;
pub(crate) use program::program_main;
pub use routing::RejectKind;
pub use traffic::{Load, Reader, TrafficSpec};
pub use world::{FaultError, Running, World};

use crate::fabric::Duplex;
use crate::host::Family;
use crate::nft::Hook;
use crate::oracle::Witness;
use crate::services::Change;
use crate::topology::Prefix;

/// The kind of place a fault is put at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A host.
    Host,
    /// A cable.
    Link,
    /// A middlebox of the topology.
    Middlebox,
    /// The fault has no place.
    Nowhere,
}

/// One thing that breaks. In scenario files `kind` names the variant and `at` the place.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    // ---- L1: at a host, or at a cable
    /// An interface of a host is set down by its administrator.
    InterfaceDown {
        /// The cable it is plugged into; the host's first interface if absent.
        link: Option<String>,
    },
    /// A cable is unplugged.
    CarrierOff,
    /// A cable is unplugged and plugged in again and again, before and during the check.
    CarrierFlap {
        /// Milliseconds without carrier.
        down_ms: u64,
        /// Milliseconds with carrier.
        up_ms: u64,
        /// Flaps before the check starts.
        #[serde(default)]
        before: u32,
        /// Whether it goes on during the check.
        #[serde(default = "yes")]
        during: bool,
    },
    /// A cable impairs what it carries. Absent fields stay as they are.
    Wire(WirePatch),
    /// A host sends more than the shaper of its first interface lets out, so that its own queue drops.
    OverloadedQueue {
        /// What the shaper lets out.
        rate_kbit: u32,
        /// Bytes that may wait.
        limit_bytes: u32,
        /// What the host sends beside the check.
        offered_kbit: u32,
        /// The host it is sent to.
        to: String,
    },
    /// A host's TAP interface (see `[[tap]]`) settles on another speed or duplex mode.
    Medium {
        /// The cable it is plugged into; the host's first interface if absent.
        link: Option<String>,
        /// Megabits per second.
        speed_mbps: u32,
        /// Whether both sides may send at once.
        #[serde(default)]
        duplex: Duplex,
    },
    /// The adapter of a host's TAP interface hangs again and again, and its ring overflows meanwhile.
    AdapterStalls {
        /// The cable it is plugged into; the host's first interface if absent.
        link: Option<String>,
        /// Frames that the ring holds.
        ring: u32,
        /// Milliseconds during which no frame leaves.
        stalled_ms: u64,
        /// Milliseconds between two of those.
        working_ms: u64,
    },
    // ---- load: at a host
    /// A host sends, beside what is measured.
    Traffic(TrafficSpec),
    // ---- L2: at a host
    /// A host looks for more neighbours than the machine's kernel remembers. The table is shared by the whole machine.
    NeighbourTableFull,
    /// A host answers neither ARP requests nor neighbour solicitations.
    NeighbourSilent,
    /// A host's neighbour entry for another host holds a MAC address that nobody has.
    WrongMac {
        /// The host that the entry is about.
        of: String,
        /// Whether the kernel believes it for ever, or only as long as any answer it once got.
        #[serde(default = "yes")]
        permanent: bool,
    },
    /// A host takes an address that another one already has.
    DuplicateAddress {
        /// The host whose addresses are taken.
        of: String,
        /// Whether it asks first whether somebody has its IPv6 address (RFC 4862), and so finds out and does not use it.
        #[serde(default)]
        asks_first: bool,
    },
    // ---- L3: at a host
    /// Routes of a host are gone.
    RouteDelete {
        /// Destinations; the default routes of both families if absent.
        #[serde(default)]
        to: Vec<Prefix>,
    },
    /// A host has a route that rejects.
    RouteReject {
        /// Destinations.
        to: Vec<Prefix>,
        /// In which way.
        with: RejectKind,
    },
    /// A host sends packets for some destinations to a router that sends them back.
    RoutingLoop {
        /// Destinations.
        to: Vec<Prefix>,
        /// The router's addresses.
        via: Vec<IpAddr>,
    },
    /// Routes of a host that go the long way, over another router than usual; packets arrive.
    Detour {
        /// Destinations.
        to: Vec<Prefix>,
        /// The router's addresses.
        via: Vec<IpAddr>,
    },
    /// A host drops what comes in by an interface that it would not answer by (strict reverse path filter).
    RpFilter,
    /// A host has no route back to the client.
    NoReturnRoute,
    /// A cable between two routers carries smaller packets than the hosts believe.
    NarrowHop {
        /// The largest IP packet it carries, in bytes.
        mtu: u32,
        /// Whether the routers' "fragmentation needed" and "packet too big" messages get through.
        icmp: bool,
    },
    /// A router sends an ICMP error once a second at the most, and has just used up what it may send at once.
    IcmpLimited {
        /// The host toward which the client has just sent.
        toward: String,
    },
    /// One IP version does not get through a cable.
    FamilyBlocked {
        /// The version.
        family: Family,
    },
    /// A name resolves to other addresses than those of its host.
    NameMoved {
        /// The name.
        name: String,
        /// The addresses it resolves to.
        addrs: Vec<IpAddr>,
    },
    // ---- L4: at a cable, a host or a middlebox
    /// A packet filter on a cable has rules.
    Firewall {
        /// The rules, the first that matches decides.
        rules: Vec<BoxRule>,
    },
    /// A host's own packet filter has rules.
    KernelFirewall {
        /// Where it looks: at what comes in, goes out or passes through.
        hook: HookName,
        /// The rules, the first that matches decides.
        rules: Vec<KernelRule>,
    },
    /// A service does not accept, and others have filled its queue.
    AcceptQueueFull {
        /// The service's port.
        port: u16,
        /// Its backlog.
        backlog: u16,
        /// Connections that others made; more than the backlog leave no room.
        filled: u16,
        /// The host they came from.
        from: String,
    },
    /// A service's queue of half-open connections is full, SYN cookies are off.
    SynBacklogFull {
        /// The service's port.
        port: u16,
        /// Half-open connections it can hold.
        backlog: u16,
        /// The host that the forged SYNs come from.
        from: String,
        /// Whether the kernel answers with SYN cookies once the queue is full.
        #[serde(default)]
        cookies: bool,
    },
    /// A connection table in the path has no room for further flows; older flows of the client live on.
    ConntrackFull {
        /// Flows it can hold.
        capacity: usize,
        /// The port of a service that echoes, to which the client keeps a connection.
        echo_port: u16,
    },
    /// The connection table of a host's own kernel is full. Costs kernel memory that the whole machine shares.
    KernelConntrackFull {
        /// The share of it that is taken, 0 to 1.
        #[serde(default = "whole")]
        share: f64,
    },
    /// A translator has no port left for new flows; older flows of the client live on.
    SnatPortsExhausted {
        /// First and last port it hands out.
        ports: (u16, u16),
        /// The port of a service that echoes, to which the client keeps the connections that use them up: a
        /// translator may use a port again for another destination.
        echo_port: u16,
    },
    /// A connection table forgets flows that have been idle.
    NatIdleTimeout {
        /// Milliseconds.
        ms: u64,
        /// Whether what belongs to no known flow is answered with a reset, else dropped.
        #[serde(default)]
        reset: bool,
    },
    /// A host has no local port left for one destination.
    EphemeralPortsExhausted {
        /// How many it has.
        ports: u16,
        /// The host of the destination.
        to: String,
        /// The port of the destination.
        port: u16,
    },
    /// The checking process may open hardly any file.
    FdExhausted {
        /// Its limit (RLIMIT_NOFILE).
        limit: u64,
    },
    /// A host sends packets with a time to live too small for the way.
    TtlTooSmall {
        /// The time to live.
        ttl: u8,
    },
    /// A box in the path answers every TCP handshake itself.
    InterposedProxy {
        /// The host or switch on whose side of the cable the clients are.
        clients: String,
    },
    /// A box in the path sends connections to some ports to a host of its own, whatever address they were meant for.
    Diverted {
        /// The host or switch on whose side of the cable the clients are.
        clients: String,
        /// The ports.
        ports: Vec<u16>,
        /// The host that answers in everybody's name.
        to: String,
    },
    // ---- L5 to L7: at a host
    /// A service behaves differently.
    Service {
        /// Its port; the host's first service if absent.
        port: Option<u16>,
        /// The fields of its specification that change.
        change: Change,
    },
    /// A service listens on the loopback addresses of its host only.
    BoundToLoopback {
        /// Its port; the host's first service if absent.
        port: Option<u16>,
    },
    /// The program of a service is frozen: its kernel completes handshakes and takes data in, and nobody accepts.
    ProgramFrozen {
        /// Its port; the host's first service if absent.
        port: Option<u16>,
    },
    /// A program, a process of its own, answers on a port. No fault by itself.
    Program {
        /// The port.
        port: u16,
        /// Files it may open (RLIMIT_NOFILE).
        #[serde(default = "usual_files")]
        files: u64,
    },
    /// A program of that port is stopped, as by a debugger: its kernel completes handshakes, nobody accepts.
    ProgramStopped {
        /// The port.
        port: u16,
    },
    /// A program of that port has opened all the files it may, and cannot accept.
    ProgramOutOfFiles {
        /// The port.
        port: u16,
    },
    /// A program of that port forgets to close its connections when its clients do.
    ProgramLeaks {
        /// The port.
        port: u16,
    },
    /// Time passes before the next fault, or before anything is measured: some kernels need it to notice.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// A setting of a host's kernel has a value.
    Sysctl {
        /// Its name below net, such as `net/ipv4/tcp_max_tw_buckets`.
        key: String,
        /// The value.
        value: String,
    },
    /// The host's resolver is somewhere else.
    Resolver {
        /// The name servers of its /etc/resolv.conf.
        servers: Vec<IpAddr>,
        /// Its search list.
        #[serde(default)]
        search: Vec<String>,
        /// Names with fewer dots are tried under the search list first.
        ndots: Option<u8>,
    },
    /// The host's /etc/hosts names an address for a name.
    HostsEntry {
        /// The name.
        name: String,
        /// The address.
        addr: IpAddr,
    },
    /// The checking process finds environment variables, such as a proxy.
    Environment {
        /// Name and value.
        set: std::collections::BTreeMap<String, String>,
    },
}

/// A hook's name in scenario files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookName {
    /// What comes in for the host.
    Input,
    /// What the host sends.
    Output,
    /// What passes through.
    Forward,
}

impl HookName {
    fn hook(self) -> Hook {
        match self {
            HookName::Input => Hook::Input,
            HookName::Output => Hook::Output,
            HookName::Forward => Hook::Forward,
        }
    }
}

fn yes() -> bool {
    true
}

fn whole() -> f64 {
    1.0
}

/// What most distributions give a service.
fn usual_files() -> u64 {
    1024
}

impl Fault {
    /// The kind of place that `at` must name.
    pub fn place(&self) -> Place {
        match self {
            Fault::CarrierOff
            | Fault::CarrierFlap { .. }
            | Fault::Wire(_)
            | Fault::NarrowHop { .. }
            | Fault::FamilyBlocked { .. }
            | Fault::Firewall { .. }
            | Fault::InterposedProxy { .. }
            | Fault::Diverted { .. } => Place::Link,
            Fault::ConntrackFull { .. } | Fault::SnatPortsExhausted { .. } | Fault::NatIdleTimeout { .. } => Place::Middlebox,
            Fault::FdExhausted { .. } | Fault::Environment { .. } | Fault::NameMoved { .. } | Fault::Wait { .. } => Place::Nowhere,
            _ => Place::Host,
        }
    }

    /// Further places that the fault names.
    pub fn further_places(&self) -> Vec<(Place, &str)> {
        match self {
            Fault::InterfaceDown { link: Some(link) }
            | Fault::Medium { link: Some(link), .. }
            | Fault::AdapterStalls { link: Some(link), .. } => vec![(Place::Link, link)],
            Fault::Traffic(spec) => vec![(Place::Host, &spec.to)],
            Fault::WrongMac { of: host, .. }
            | Fault::DuplicateAddress { of: host, .. }
            | Fault::AcceptQueueFull { from: host, .. }
            | Fault::SynBacklogFull { from: host, .. }
            | Fault::Diverted { to: host, .. }
            | Fault::OverloadedQueue { to: host, .. }
            | Fault::IcmpLimited { toward: host }
            | Fault::EphemeralPortsExhausted { to: host, .. } => vec![(Place::Host, host)],
            _ => Vec::new(),
        }
    }

    /// The name that scenario files call it by.
    pub fn kind(&self) -> String {
        let debug = format!("{self:?}");
        let variant = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let mut kind = String::new();
        for letter in variant.chars() {
            if letter.is_uppercase() && !kind.is_empty() {
                kind.push('-');
            }
            kind.extend(letter.to_lowercase());
        }
        kind
    }

    /// Breaks it. The witness knows afterwards whether the fault met any traffic.
    pub fn apply(&self, at: &str, world: &mut World) -> Result<Witness, FaultError> {
        let witness = self.dispatch(at, world)?;
        let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
        Ok(witness.of(format!("{}{place}", self.kind())))
    }

    fn dispatch(&self, at: &str, world: &mut World) -> Result<Witness, FaultError> {
        match self {
            Fault::InterfaceDown { link } => link::interface_down(world, at, link.as_deref()),
            Fault::CarrierOff => link::carrier_off(world, at),
            Fault::CarrierFlap { down_ms, up_ms, before, during } => link::carrier_flap(world, at, (*down_ms, *up_ms), *before, *during),
            Fault::Wire(patch) => link::wire(world, at, patch),
            Fault::OverloadedQueue { rate_kbit, limit_bytes, offered_kbit, to } => {
                load::overloaded_queue(world, at, (*rate_kbit, *limit_bytes), *offered_kbit, to)
            }
            Fault::Medium { link, speed_mbps, duplex } => adapter::medium(world, at, link.as_deref(), *speed_mbps, *duplex),
            Fault::AdapterStalls { link, ring, stalled_ms, working_ms } => {
                adapter::stalls(world, at, link.as_deref(), *ring, (*stalled_ms, *working_ms))
            }
            Fault::Traffic(spec) => traffic::start(world, at, spec),
            Fault::IcmpLimited { toward } => limits::icmp_limited(world, at, toward),
            Fault::NeighbourTableFull => load::neighbour_table(world, at),
            Fault::NeighbourSilent => neighbour::silent(world, at),
            Fault::WrongMac { of, permanent } => neighbour::wrong_mac(world, at, of, *permanent),
            Fault::DuplicateAddress { of, asks_first } => neighbour::duplicate_address(world, at, of, *asks_first),
            Fault::RouteDelete { to } => routing::delete(world, at, to),
            Fault::RouteReject { to, with } => routing::reject(world, at, to, *with),
            Fault::RoutingLoop { to, via } | Fault::Detour { to, via } => routing::redirect(world, at, to, via),
            Fault::RpFilter => routing::rp_filter(world, at),
            Fault::NoReturnRoute => routing::no_return(world, at),
            Fault::NarrowHop { mtu, icmp } => routing::narrow_hop(world, at, *mtu, *icmp),
            Fault::TtlTooSmall { ttl } => routing::small_ttl(world, at, *ttl),
            Fault::FamilyBlocked { family } => filter::family_blocked(world, at, *family),
            Fault::Firewall { rules } => filter::on_link(world, at, rules),
            Fault::KernelFirewall { hook, rules } => filter::in_kernel(world, at, hook.hook(), rules),
            Fault::InterposedProxy { clients } => filter::interpose(world, at, clients),
            Fault::Diverted { clients, ports, to } => filter::divert(world, at, clients, ports, to),
            Fault::AcceptQueueFull { port, backlog, filled, from } => queues::accept_queue(world, at, *port, (*backlog, *filled), from),
            Fault::SynBacklogFull { port, backlog, from, cookies } => queues::syn_backlog(world, at, *port, (*backlog, *cookies), from),
            Fault::ConntrackFull { capacity, echo_port } => states::table_full(world, at, *capacity, *echo_port),
            Fault::KernelConntrackFull { share } => states::kernel_table_full(world, at, *share),
            Fault::SnatPortsExhausted { ports, echo_port } => states::ports_gone(world, at, *ports, *echo_port),
            Fault::NatIdleTimeout { ms, reset } => states::idle_timeout(world, at, *ms, *reset),
            Fault::EphemeralPortsExhausted { ports, to, port } => states::ephemeral(world, at, *ports, to, *port),
            Fault::FdExhausted { limit } => client::fd_exhausted(world, *limit),
            Fault::Environment { set } => client::environment(world, set),
            Fault::Service { port, change } => service::alter(world, at, *port, change),
            Fault::BoundToLoopback { port } => service::bound_to_loopback(world, at, *port),
            Fault::ProgramFrozen { port } => service::frozen(world, at, *port),
            Fault::Program { port, files } => program::start(world, at, *port, *files),
            Fault::ProgramStopped { port } => program::stop(world, at, *port),
            Fault::ProgramOutOfFiles { port } => program::take_files(world, at, *port),
            Fault::ProgramLeaks { port } => program::leak(world, at, *port),
            Fault::Wait { ms } => Ok(limits::wait(*ms)),
            Fault::Sysctl { key, value } => limits::sysctl(world, at, key, value),
            Fault::NameMoved { name, addrs } => names::moved(world, name, addrs),
            Fault::Resolver { servers, search, ndots } => names::resolver(world, at, servers, search, *ndots),
            Fault::HostsEntry { name, addr } => names::hosts_entry(world, at, name, *addr),
        }
    }
}
