//! Targets that speak in datagrams: do those arrive that must be fragmented? TCP never needs it, so nobody else is asked.

use super::{Check, split};
use crate::dns::{self, DnsAsk};
use crate::questions::fragments;
use faultmap_model::Seen;
use faultmap_model::observation::{DnsOutcome, DnsQuery, FragmentProbe, Role, RouteOutcome, Transport};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Answers larger than this may need fragments on their way: Ethernet's MTU less the headers, and some for tunnels.
const MAY_FRAGMENT_BYTES: u32 = 1_400;
/// What resolvers offered before DNS Flag Day 2020, and many still do.
const LARGE_PAYLOAD: u16 = 4096;
/// Two datagrams of the question fit into this.
const LARGE_WAIT: Duration = Duration::from_millis(2_300);

impl Check<'_> {
    /// Datagrams in fragments to a closed port of the host, beside small and whole ones.
    pub(super) async fn fragments(&self, ip: IpAddr) {
        if self.is_local(ip) || self.rec.look(|seen| seen.iter().any(|one| matches!(&one.seen, Seen::FragmentProbe(it) if it.to == ip))) {
            return;
        }
        let RouteOutcome::Found { iface, .. } = self.approach(ip, Role::Target) else { return };
        let mtu = faultmap_host::Snapshot::take().links().into_iter().find(|link| link.iface == iface).map_or(1500, |link| link.mtu);
        let wait = self.within(Duration::from_millis(500));
        let to = SocketAddr::new(ip, split::CONTROL_UDP_PORT);
        // Jumbo frames end at the first switch that does not know them: that would be another fault.
        let _: FragmentProbe = self.rec.ask(fragments(to, mtu.clamp(1280, 1500), wait)).await;
    }

    /// The whole answer is large: does it also arrive over UDP, for those who ask for it so?
    pub(super) async fn ask_for_large(&self, ask: &DnsAsk, answers: &[DnsQuery]) {
        let truncated = answers.iter().any(|query| matches!(&query.outcome, DnsOutcome::Answer(answer) if answer.truncated));
        let over_tcp = answers.iter().find(|query| query.transport == Transport::Tcp);
        let large = over_tcp.is_none_or(|query| match &query.outcome {
            DnsOutcome::Answer(answer) => answer.bytes > MAY_FRAGMENT_BYTES,
            _ => true,
        });
        if !truncated || !large || self.is_local(ask.resolver.ip()) {
            return;
        }
        let asked = Instant::now();
        let ask = DnsAsk { max_payload: LARGE_PAYLOAD, wait: self.within(LARGE_WAIT), ..ask.clone() };
        self.rec.note(asked, dns::query(&ask).await);
    }
}
