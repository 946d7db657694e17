//! Who has which address on our own link? Is the station behind the gateway's neighbour entry the gateway at all, and does another one claim the
//! address that we send from?
//!
//! A station that has lost the gateway's address (a failover whose gratuitous ARP was not heard) still gets our packets, and answers nothing
//! that is not for itself. One that has taken ours gets our answers.

use super::Check;
use super::split::{CONTROL_PORTS, CONTROL_UDP_PORT};
use crate::questions::{arp_probe, udp};
use faultmap_model::observation::{NeighborState, Role, RouteOutcome};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

/// The gateway is one hop away.
const WAIT: Duration = Duration::from_millis(300);

impl Check<'_> {
    /// One datagram and one connect to the gateway toward `ip`, both to ports that are closed on most hosts.
    pub(super) async fn gateway_itself(&self, ip: IpAddr) {
        let RouteOutcome::Found { iface, gateway: Some(gateway), .. } = self.approach(ip, Role::Target) else { return };
        let unresolved = |state| matches!(state, NeighborState::Failed | NeighborState::Incomplete | NeighborState::None);
        if self.host_answered(ip) || self.any_router_answered(ip) || self.next_hop(ip).is_some_and(|(_, _, state)| unresolved(state)) {
            return;
        }
        let at = |port| scoped(gateway, port, &iface);
        let datagram = udp(at(CONTROL_UDP_PORT), Role::Control, &[0], 1, WAIT, self.within(WAIT));
        tokio::join!(self.rec.ask(datagram), self.control_connect(at(CONTROL_PORTS[3]), WAIT));
    }

    /// With CAP_NET_RAW: does anybody else answer ARP for the address that packets to `ip` leave with? Our own kernel does not hear the question.
    pub(super) async fn own_address_elsewhere(&self, ip: IpAddr, wait: Duration) {
        let RouteOutcome::Found { iface, source: Some(source), local: false, .. } = self.approach(ip, Role::Target) else { return };
        if !self.raw || source.is_ipv6() {
            // IPv6 asks before it uses an address (RFC 4862 5.4).
            return;
        }
        let asked = Instant::now();
        let answer = arp_probe(source, &iface, 1, self.within(wait)).await;
        self.keep(asked, answer);
    }
}

/// An address of a link alone is one only together with its interface (RFC 4007).
fn scoped(ip: IpAddr, port: u16, iface: &str) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let scope = nix::net::if_::if_nametoindex(iface).unwrap_or(0);
            SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope))
        }
        _ => SocketAddr::new(ip, port),
    }
}
