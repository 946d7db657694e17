//! The path of a target that answers, for recordings that others are compared with. A path that failed has been walked already.

use super::{Check, split};
use crate::questions::{WalkAsk, walk};
use faultmap_model::Seen;
use faultmap_model::observation::{Role, WalkProtocol};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Rounds: routers that balance by flow answer in turn, and one round would show one of them.
const ROUNDS: u32 = 3;
/// An answer of a router on the other side of the earth takes 300 ms.
const WAIT: Duration = Duration::from_millis(400);

impl Check<'_> {
    /// Walks the path to the address that was spoken to, if that was asked for and nobody has walked it.
    pub(super) async fn map_path(&self, addresses: &[IpAddr]) {
        let Some(to) = self.mapped(addresses).filter(|to| self.options.map_path && !self.is_local(to.ip())) else { return };
        if self.rec.look(|seen| seen.iter().any(|o| matches!(&o.seen, Seen::Walk(walk) if walk.to.ip() == to.ip()))) {
            return;
        }
        let protocol = if self.target.scheme.uses_tcp() { WalkProtocol::Tcp } else { WalkProtocol::Udp };
        for _ in 0..ROUNDS {
            let asked = Instant::now();
            let ask = WalkAsk { to, protocol, role: Role::Control, min_ttl: 1, max_ttl: 24, tries: 1, wait: self.within(WAIT) };
            let answer = walk(&ask).await;
            self.keep(asked, answer);
        }
    }

    /// The address that the conversation used, when something connected or answered there. UDP goes to a port where traceroute(8) goes: the
    /// target's own would have to make sense of it.
    fn mapped(&self, addresses: &[IpAddr]) -> Option<SocketAddr> {
        if !self.target.scheme.uses_tcp() {
            return addresses.first().map(|ip| SocketAddr::new(*ip, split::CONTROL_UDP_PORT));
        }
        self.rec.look(|seen| {
            let spoken = seen.iter().rev().find_map(|o| match &o.seen {
                Seen::HttpExchange(http) => Some(http.to),
                Seen::TlsHandshake(tls) if tls.role == Role::Target => Some(tls.to),
                _ => None,
            });
            let connected = seen.iter().find_map(|o| match &o.seen {
                Seen::TcpConnect(connect) if connect.role == Role::Target && connect.outcome.connected() => Some(connect.to),
                _ => None,
            });
            spoken.or(connected)
        })
    }
}
