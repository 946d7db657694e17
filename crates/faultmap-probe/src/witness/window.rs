//! One window: readings of this host when it opens, looks while it is open, and the difference when it closes.

use super::tap::Tap;
use crate::questions::{WalkAsk, arp_probe, walk};
use crate::recorder::ms;
use faultmap_host::{Listener, Snapshot};
use faultmap_model::observation::{
    FarLink, FarNeighbor, FarProgram, FarQueue, FarSide, FarTable, Role, RouteOutcome, Walk, WalkProtocol, WayBack,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Between two looks at the socket list, and so many times the length of the last look: a busy host has a long list.
const LIST_EVERY: Duration = Duration::from_millis(150);
const LIST_SHARE: u32 = 20;
/// The UDP port of the classic traceroute.
const WALK_PORT: u16 = 33_434;
const WALK_WAIT: Duration = Duration::from_millis(400);
const ARP_WAIT: Duration = Duration::from_millis(150);
const MOST_HOPS: u8 = 20;
const MOST_BOUND: usize = 16;

/// Counters worth telling; the rest of the host's business stays its own.
const TOLD: [&str; 40] = [
    "Icmp.InDestUnreachs",
    "Icmp.InEchos",
    "Icmp.InTimeExcds",
    "Icmp.OutDestUnreachs",
    "Icmp.OutEchoReps",
    "Icmp6.InDestUnreachs",
    "Icmp6.InEchos",
    "Icmp6.InPktTooBigs",
    "Icmp6.OutDestUnreachs",
    "Icmp6.OutEchoReplies",
    "Ip.ForwDatagrams",
    "Ip.InAddrErrors",
    "Ip.InDelivers",
    "Ip.InDiscards",
    "Ip.InReceives",
    "Ip.OutDiscards",
    "Ip.OutNoRoutes",
    "Ip6.InDelivers",
    "Ip6.InDiscards",
    "Ip6.InReceives",
    "Ip6.OutDiscards",
    "Ip6.OutForwDatagrams",
    "Ip6.OutNoRoutes",
    "IpExt.InNoRoutes",
    "Tcp.AttemptFails",
    "Tcp.EstabResets",
    "Tcp.InErrs",
    "Tcp.InSegs",
    "Tcp.OutRsts",
    "Tcp.PassiveOpens",
    "Tcp.RetransSegs",
    "TcpExt.IPReversePathFilter",
    "TcpExt.ListenDrops",
    "TcpExt.ListenOverflows",
    "TcpExt.TCPBacklogDrop",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPSynRetrans",
    "Udp.NoPorts",
    "Udp.RcvbufErrors",
];

/// An open window.
pub(super) struct Window {
    number: u32,
    to: SocketAddr,
    clients: Vec<IpAddr>,
    way_back: bool,
    opened: Instant,
    before: Snapshot,
    undelivered: Option<u64>,
    conntrack_drops: Option<u64>,
    tap: Option<Tap>,
    list_at: Instant,
    far: FarSide,
}

impl Window {
    /// Takes the first readings.
    pub(super) fn open(number: u32, to: SocketAddr, clients: Vec<IpAddr>, way_back: bool) -> Self {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let tap = Tap::open(to, &clients).ok();
        let opened = Instant::now();
        let far = FarSide { privileges: faultmap_host::privileges(), clients: clients.clone(), ..FarSide::default() };
        let mut window = Self {
            number,
            to,
            clients,
            way_back,
            opened,
            before: Snapshot::take(),
            undelivered: undelivered(to.is_ipv6()),
            conntrack_drops: faultmap_host::conntrack().2,
            tap,
            list_at: opened,
            far,
        };
        window.look();
        window
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Counts packets; from time to time looks at the sockets.
    pub(super) fn look(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.take_in();
        }
        let now = Instant::now();
        if now >= self.list_at && self.to.port() != 0 {
            self.look_at_sockets();
            self.list_at = Instant::now() + LIST_EVERY.max(now.elapsed() * LIST_SHARE);
        }
    }

    fn look_at_sockets(&mut self) {
        let far = &mut self.far;
        let visitors = faultmap_host::visitors(self.to.port(), &self.clients);
        far.half_open = far.half_open.max(visitors.half_open);
        far.half_open_ours = far.half_open_ours.max(visitors.half_open_from);
        far.established_ours = far.established_ours.max(visitors.established_from);
        far.unread_bytes = far.unread_bytes.max(visitors.unread_bytes);
        if let Some(listener) = self.listener() {
            let (waiting, room) = (listener.waiting, listener.room);
            let share = |waiting: u32, room: u32| u64::from(waiting).saturating_mul(1_000) / u64::from(room.max(1));
            let known = self.far.queue.filter(|known| share(known.waiting, known.room) > share(waiting, room));
            self.far.queue = Some(known.map_or(FarQueue { waiting, room, at_end: waiting }, |known| FarQueue { at_end: waiting, ..known }));
        }
    }

    /// The listener that takes connections to the target: one on the address itself before one on all; of several the fullest.
    fn listener(&self) -> Option<Listener> {
        let ip = self.to.ip();
        let all = faultmap_host::listeners(self.to.port());
        let room = |listener: &&Listener| listener.room.saturating_sub(listener.waiting);
        let own = all.iter().filter(|listener| listener.bound.ip() == ip).min_by_key(room);
        own.or_else(|| all.iter().filter(|listener| listener.takes(ip)).min_by_key(room)).copied()
    }

    /// Takes the last readings, and gives the difference.
    pub(super) async fn close(mut self) -> FarSide {
        self.list_at = self.opened;
        self.look();
        let window_ms = ms(self.opened.elapsed());
        let after = Snapshot::take();
        let v6 = self.to.is_ipv6();
        let counters = self.before.counters(&after, None);
        let rose = counters.rose.into_iter().filter(|(name, _)| TOLD.contains(&name.as_str())).collect();
        let (count, max, drops) = faultmap_host::conntrack();
        let drops = drops.zip(self.conntrack_drops).map(|(now, then)| now.saturating_sub(then));
        let undelivered = undelivered(v6).zip(self.undelivered).map(|(now, then)| now.saturating_sub(then));
        let (bound, program) = self.listeners_and_program();
        let wire = self.tap.as_ref().map(Tap::wire);
        let mut ways_back = Vec::new();
        for client in self.clients.clone() {
            ways_back.push(self.way_back(client, ways_back.is_empty()).await);
        }
        let ifaces = ways_back.iter().filter_map(|way| match &way.route {
            RouteOutcome::Found { iface, .. } => Some(iface.clone()),
            _ => None,
        });
        let on_wire = wire.iter().flat_map(|wire| [wire.in_iface.clone(), wire.out_iface.clone()]).flatten();
        let links = self.links(&after, ifaces.chain(on_wire).collect());
        let conntrack = FarTable { count, max, drops };
        FarSide { window_ms, wire, rose, undelivered, bound, program, ways_back, conntrack, links, ..self.far }
    }

    fn listeners_and_program(&self) -> (Vec<SocketAddr>, Option<FarProgram>) {
        if self.to.port() == 0 {
            return (Vec::new(), None);
        }
        let bound = faultmap_host::listeners(self.to.port()).iter().map(|listener| listener.bound).take(MOST_BOUND).collect();
        // Which program it is matters when connections wait for it.
        let waited_for = self.far.queue.is_some_and(|queue| queue.waiting > 0) || self.far.unread_bytes > 0;
        let program = self.listener().filter(|_| waited_for).and_then(|listener| faultmap_host::program_of(&listener));
        (bound, program.map(|program| FarProgram { name: program.name, state: program.state }))
    }

    /// How answers to one address of the check would go; with packets only if that was asked for, and only for the first address.
    async fn way_back(&self, client: IpAddr, first: bool) -> WayBack {
        let route = match faultmap_host::route(client, Role::Target).outcome {
            RouteOutcome::Unknown { why } => RouteOutcome::Unknown { why: why.chars().take(60).collect() },
            known => known,
        };
        let RouteOutcome::Found { iface, gateway, local: false, .. } = &route else {
            return WayBack { to: client, route, rp_filter: None, next_hop: None, walk: None };
        };
        let rp_filter = faultmap_host::rp_filter(iface);
        let hop = gateway.unwrap_or(client);
        let ask = self.way_back && first;
        let (answers, walk) = if ask { tokio::join!(stations(hop, iface), walk_back(client)) } else { (None, None) };
        let (state, mac) = faultmap_host::neighbor(hop, iface);
        let next_hop = Some(FarNeighbor { address: hop, state, mac, answers });
        WayBack { to: client, route, rp_filter, next_hop, walk }
    }

    fn links(&self, after: &Snapshot, wanted: Vec<String>) -> Vec<FarLink> {
        let deltas = self.before.link_deltas(after);
        let troubles = |rose: &BTreeMap<String, u64>| {
            rose.iter()
                .filter(|(name, _)| name.contains("error") || name.contains("drop"))
                .map(|(name, rise)| (name.clone(), *rise))
                .collect()
        };
        let links = after.links().into_iter().filter(|link| wanted.contains(&link.iface));
        links
            .map(|link| FarLink {
                rose: deltas.iter().find(|delta| delta.iface == link.iface).map(|delta| troubles(&delta.rose)).unwrap_or_default(),
                iface: link.iface,
                mtu: link.mtu,
            })
            .collect()
    }
}

/// The stations that answer for the next hop now; `None` without the right to ask.
async fn stations(hop: IpAddr, iface: &str) -> Option<Vec<String>> {
    arp_probe(hop, iface, 2, ARP_WAIT).await.ok().map(|probe| probe.macs)
}

async fn walk_back(client: IpAddr) -> Option<Walk> {
    let to = SocketAddr::new(client, WALK_PORT);
    let ask = WalkAsk { to, protocol: WalkProtocol::Udp, role: Role::Control, min_ttl: 1, max_ttl: MOST_HOPS, tries: 1, wait: WALK_WAIT };
    walk(&ask).await.ok()
}

/// Packets that reached IP and were neither delivered nor dropped for a reason that IP counts, since boot.
fn undelivered(v6: bool) -> Option<u64> {
    let (received, delivered, explained) = faultmap_host::ip_in_counts(v6)?;
    Some(received.saturating_sub(delivered).saturating_sub(explained))
}
