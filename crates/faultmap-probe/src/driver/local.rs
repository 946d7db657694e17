//! What this host's kernel tells before and after: routes, next hops, links, counters, tables, sockets.

use super::Check;
use faultmap_host::{NeighborWatch, Snapshot};
use faultmap_model::Seen;
use faultmap_model::observation::{Neighbor, NeighborState, Role, Route, RouteOutcome};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Every link loses its carrier once while it is set up.
const LOSSES_BEFORE: u32 = 2;
/// How long a link that lost its carrier before is watched, from the start of the check.
const WATCHED: Duration = Duration::from_millis(1_300);

/// The next hop toward an address, watched from the first packet on.
pub(super) struct Approach {
    hop: IpAddr,
    iface: String,
    role: Role,
    toward: Option<IpAddr>,
    before: NeighborState,
    mac_before: Option<String>,
    watch: NeighborWatch,
    asked: Instant,
}

impl Check<'_> {
    /// Looks up the route toward an address once, and watches its next hop.
    pub(super) fn approach(&self, to: IpAddr, role: Role) -> RouteOutcome {
        let known = self.rec.look(|seen| {
            seen.iter().find_map(|o| match &o.seen {
                Seen::Route(route) if route.to == to => Some(route.outcome.clone()),
                _ => None,
            })
        });
        if let Some(outcome) = known {
            return outcome;
        }
        let asked = Instant::now();
        let route: Route = faultmap_host::route(to, role);
        self.rec.note(asked, route.clone());
        if let RouteOutcome::Found { iface, gateway, local: false, .. } = &route.outcome {
            self.watch(gateway.unwrap_or(to), iface, if gateway.is_some() { Role::Gateway } else { role }, gateway.map(|_| to));
        }
        route.outcome
    }

    fn watch(&self, hop: IpAddr, iface: &str, role: Role, toward: Option<IpAddr>) {
        let mut approaches = self.approaches.borrow_mut();
        if iface == "lo" || approaches.iter().any(|known| known.hop == hop && known.iface == iface) {
            return;
        }
        let watch = NeighborWatch::start(&[(hop, iface.to_owned())]);
        let (before, mac_before) = faultmap_host::neighbor(hop, iface);
        approaches.push(Approach { hop, iface: iface.to_owned(), role, toward, before, mac_before, watch, asked: Instant::now() });
    }

    /// The next hop toward an address that is being watched: `(address, interface, state now)`.
    pub(super) fn next_hop(&self, to: IpAddr) -> Option<(IpAddr, String, NeighborState)> {
        let approaches = self.approaches.borrow();
        let found = approaches.iter().find(|approach| approach.toward == Some(to) || (approach.hop == to && approach.toward.is_none()));
        let found = found.or_else(|| {
            let gateway = self.rec.look(|seen| {
                seen.iter().find_map(|o| match &o.seen {
                    Seen::Route(Route { to: dst, outcome: RouteOutcome::Found { gateway, .. }, .. }) if *dst == to => *gateway,
                    _ => None,
                })
            })?;
            approaches.iter().find(|approach| approach.hop == gateway)
        })?;
        let (state, _) = faultmap_host::neighbor(found.hop, &found.iface);
        Some((found.hop, found.iface.clone(), state))
    }

    /// A check may be over between two flaps. Where the link lost its carrier before, it is watched for a little while.
    pub(super) async fn linger_at_unsteady_link(&self) {
        let on_path = self.interfaces_on_path();
        let look = || {
            let links = Snapshot::take().links().into_iter().filter(|link| !link.loopback && on_path.contains(&link.iface));
            links.fold((0, true), |(losses, up), link| (losses + link.carrier_down_count.unwrap_or(0), up && link.carrier != Some(false)))
        };
        let (known, _) = look();
        let end = self.rec.start() + WATCHED.min(self.within(WATCHED));
        let mut now = (known, true);
        // Until it is lost and back again: a cable that was just pulled is another fault.
        while known >= LOSSES_BEFORE && (now.0 == known || !now.1) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(40)).await;
            now = look();
        }
    }

    /// The readings that close a check: they cost little and are always taken, also when the budget ran out.
    pub(super) fn last_readings(&self, before: &Snapshot) {
        self.close_watches();
        let asked = Instant::now();
        let after = Snapshot::take();
        let on_path = self.interfaces_on_path();
        for mut link in after.links() {
            link.on_path = on_path.contains(&link.iface) || (on_path.is_empty() && !link.loopback);
            if link.on_path || !link.loopback {
                self.rec.note(asked, link);
            }
        }
        for delta in before.link_deltas(&after) {
            self.rec.note(asked, delta);
        }
        self.rec.note(asked, before.counters(&after, on_path.first().map(String::as_str)));
        let target = self.main_attempt();
        self.rec.note(asked, before.tables(Some(&after), target));
        if let Some(target) = target.filter(|_| self.target.scheme.uses_tcp() && !self.something_connected()) {
            self.rec.note(asked, faultmap_host::flows(target.ip(), None, self.rec.elapsed(), &[]));
        }
        for skipped in after.unavailable() {
            self.rec.note(asked, skipped);
        }
    }

    fn close_watches(&self) {
        for approach in self.approaches.borrow_mut().iter_mut() {
            approach.watch.poll();
            let (after, mac_after) = faultmap_host::neighbor(approach.hop, &approach.iface);
            let mut macs_seen = approach.watch.macs_seen(approach.hop);
            for mac in [&approach.mac_before, &mac_after].into_iter().flatten() {
                if !macs_seen.contains(mac) {
                    macs_seen.push(mac.clone());
                }
            }
            let neighbor = Neighbor {
                address: approach.hop,
                iface: approach.iface.clone(),
                role: approach.role,
                toward: approach.toward,
                before: approach.before,
                after,
                mac_before: approach.mac_before.clone(),
                mac_after,
                macs_seen,
            };
            self.rec.note(approach.asked, neighbor);
        }
    }

    fn interfaces_on_path(&self) -> Vec<String> {
        self.rec.look(|seen| {
            let mut found = Vec::new();
            for observation in seen {
                if let Seen::Route(Route { outcome: RouteOutcome::Found { iface, .. }, .. }) = &observation.seen
                    && !found.contains(iface)
                {
                    found.push(iface.clone());
                }
            }
            found
        })
    }

    /// The first address of the target that a TCP connect or a datagram was sent to.
    fn main_attempt(&self) -> Option<SocketAddr> {
        self.rec.look(|seen| {
            seen.iter().find_map(|o| match &o.seen {
                Seen::TcpConnect(connect) if connect.role == Role::Target => Some(connect.to),
                Seen::UdpProbe(udp) if udp.role == Role::Target => Some(udp.to),
                _ => None,
            })
        })
    }

    pub(super) fn something_connected(&self) -> bool {
        self.rec.look(|seen| {
            seen.iter().any(|o| matches!(&o.seen, Seen::TcpConnect(connect) if connect.role == Role::Target && connect.outcome.connected()))
        })
    }
}
