//! The recording as the causes read it: questions by type, and the shared readings that many causes need.

mod failure;
mod path;
mod peer;
mod proxy;

pub use failure::{Failure, How, Protocol};
pub use peer::{Fate, LossByWay, Told};

use crate::observation::{
    CaptureAnswer, ConnectOutcome, Dialogue, DnsOutcome, DnsQuery, Echo, HttpExchange, HttpOutcome, HttpResponse, Neighbor, Payload, Role,
    Route, RouteOutcome, TcpConnect, TlsHandshake, TlsOutcome, UdpOutcome, UdpProbe,
};
use crate::recording::Header;
use crate::{Layer, Observation, ObservationId, Recording, Target};
use std::net::{IpAddr, SocketAddr};

/// A recording under judgement. Cheap to make and to copy.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What the check was asked.
    pub header: &'a Header,
    observations: &'a [Observation],
}

impl<'a> Evidence<'a> {
    /// The recording's evidence.
    #[must_use]
    pub fn new(recording: &'a Recording) -> Self {
        Self::of(&recording.header, &recording.observations)
    }

    /// The evidence of a part of a recording, with the header that holds for it.
    pub(crate) const fn of(header: &'a Header, observations: &'a [Observation]) -> Self {
        Self { header, observations }
    }

    /// The target.
    #[must_use]
    pub const fn target(&self) -> &'a Target {
        &self.header.target
    }

    /// Every observation, in order.
    #[must_use]
    pub const fn observations(&self) -> &'a [Observation] {
        self.observations
    }

    /// All observations of one kind, in order, with their numbers.
    pub fn all<T: Payload + 'a>(&self) -> impl Iterator<Item = (ObservationId, &'a T)> + use<'a, T> {
        self.observations.iter().filter_map(|observation| T::of(&observation.seen).map(|payload| (observation.id, payload)))
    }

    /// The first observation of a kind that fits.
    pub fn first<T: Payload + 'a>(&self, fits: impl Fn(&T) -> bool) -> Option<(ObservationId, &'a T)> {
        self.all::<T>().find(|(_, payload)| fits(payload))
    }

    /// The observation with this number.
    #[must_use]
    pub fn get(&self, id: ObservationId) -> Option<&'a Observation> {
        self.observations.iter().find(|observation| observation.id == id)
    }

    /// We hold this capability, by its name `CAP_NET_RAW`.
    #[must_use]
    pub fn privileged(&self, capability: &str) -> bool {
        self.header.privileges.iter().any(|held| held == capability)
    }

    /// The target's connects, one for each address tried.
    pub fn target_connects(&self) -> impl Iterator<Item = (ObservationId, &'a TcpConnect)> + use<'a> {
        self.all::<TcpConnect>().filter(|(_, connect)| connect.role == Role::Target)
    }

    /// Connects to other ports of the same address, as controls.
    pub fn control_connects(&self, address: IpAddr) -> impl Iterator<Item = (ObservationId, &'a TcpConnect)> + use<'a> {
        self.all::<TcpConnect>().filter(move |(_, connect)| connect.role == Role::Control && connect.to.ip() == address)
    }

    /// Connects to the target that completed.
    pub fn connected(&self) -> impl Iterator<Item = (ObservationId, &'a TcpConnect)> + use<'a> {
        self.target_connects().filter(|(_, connect)| connect.outcome.connected())
    }

    /// Connects to the target that did not complete.
    pub fn unconnected(&self) -> impl Iterator<Item = (ObservationId, &'a TcpConnect)> + use<'a> {
        self.target_connects().filter(|(_, connect)| !connect.outcome.connected())
    }

    /// Connects to the target that ended in silence.
    pub fn silent_connects(&self) -> impl Iterator<Item = (ObservationId, &'a TcpConnect)> + use<'a> {
        self.target_connects().filter(|(_, connect)| matches!(connect.outcome, ConnectOutcome::Silent { .. }))
    }

    /// No address of the target could be connected, and at least one was tried.
    #[must_use]
    pub fn nothing_connects(&self) -> bool {
        self.target_connects().next().is_some() && self.connected().next().is_none()
    }

    /// The route toward an address.
    #[must_use]
    pub fn route(&self, to: IpAddr) -> Option<(ObservationId, &'a Route)> {
        self.first::<Route>(|route| route.to == to)
    }

    /// The next-hop router toward an address, if it is not on-link.
    #[must_use]
    pub fn gateway(&self, to: IpAddr) -> Option<IpAddr> {
        match self.route(to)?.1.outcome {
            RouteOutcome::Found { gateway, .. } => gateway,
            _ => None,
        }
    }

    /// The address is reached without a router (and is not our own).
    #[must_use]
    pub fn on_link(&self, to: IpAddr) -> bool {
        matches!(self.route(to), Some((_, Route { outcome: RouteOutcome::Found { gateway: None, local: false, .. }, .. })))
    }

    /// The address is one of our own.
    #[must_use]
    pub fn is_local(&self, to: IpAddr) -> bool {
        matches!(self.route(to), Some((_, Route { outcome: RouteOutcome::Found { local: true, .. }, .. })))
    }

    /// The outgoing interface toward an address.
    #[must_use]
    pub fn iface(&self, to: IpAddr) -> Option<&'a str> {
        match &self.route(to)?.1.outcome {
            RouteOutcome::Found { iface, .. } => Some(iface),
            _ => None,
        }
    }

    /// The neighbour entry that traffic to the address uses: the gateway's, or the destination's own.
    #[must_use]
    pub fn next_hop_neighbor(&self, to: IpAddr) -> Option<(ObservationId, &'a Neighbor)> {
        let hop = self.gateway(to).unwrap_or(to);
        self.first::<Neighbor>(|neighbor| neighbor.address == hop)
    }

    /// The last of the handshakes with the default offer.
    #[must_use]
    pub fn handshake(&self) -> Option<(ObservationId, &'a TlsHandshake)> {
        self.all::<TlsHandshake>().filter(|(_, tls)| tls.role == Role::Target && tls.offer.name == "default").last()
    }

    /// The handshake with an offer of this name.
    #[must_use]
    pub fn handshake_offering(&self, name: &str) -> Option<(ObservationId, &'a TlsHandshake)> {
        self.all::<TlsHandshake>().filter(|(_, tls)| tls.role == Role::Target && tls.offer.name == name).last()
    }

    /// The default handshake completed.
    #[must_use]
    pub fn handshake_done(&self) -> bool {
        matches!(self.handshake(), Some((_, TlsHandshake { outcome: TlsOutcome::Done { .. }, .. })))
    }

    /// The exchange that answers the user's question: the last of purpose `default` or `redirect`.
    #[must_use]
    pub fn exchange(&self) -> Option<(ObservationId, &'a HttpExchange)> {
        let asked = self.all::<HttpExchange>().filter(|(_, http)| matches!(http.purpose.as_str(), "default" | "redirect")).last()?;
        Some(self.in_place_of(asked.1).unwrap_or(asked))
    }

    /// Where HTTP/2 gave no answer: the one over HTTP/1.1, if it says what is wrong with both, or if the server asked for HTTP/1.1.
    fn in_place_of(&self, failed: &HttpExchange) -> Option<(ObservationId, &'a HttpExchange)> {
        // Bytes of HTTP/1.1 where HTTP/2 was agreed on say enough by themselves.
        if failed.version != "HTTP/2" || matches!(failed.outcome, HttpOutcome::Response(_) | HttpOutcome::Malformed { .. }) {
            return None;
        }
        let wanted = matches!(&failed.outcome, HttpOutcome::StreamRefused { reason } if reason == "HTTP_1_1_REQUIRED");
        let answered = |http: &HttpExchange| matches!(&http.outcome, HttpOutcome::Response(response) if wanted || response.status >= 400);
        self.exchange_for("http/1.1").filter(|(_, http)| answered(http))
    }

    /// The exchange of this purpose.
    #[must_use]
    pub fn exchange_for(&self, purpose: &str) -> Option<(ObservationId, &'a HttpExchange)> {
        self.all::<HttpExchange>().filter(|(_, http)| http.purpose == purpose).last()
    }

    /// The final response, if there was one.
    #[must_use]
    pub fn response(&self) -> Option<(ObservationId, &'a HttpResponse)> {
        match self.exchange() {
            Some((id, HttpExchange { outcome: HttpOutcome::Response(response), .. })) => Some((id, response)),
            _ => None,
        }
    }

    /// The last conversation of purpose `default` in the target's own protocol.
    #[must_use]
    pub fn dialogue(&self) -> Option<(ObservationId, &'a Dialogue)> {
        self.dialogue_for("default")
    }

    /// The last conversation of this purpose in the target's own protocol.
    #[must_use]
    pub fn dialogue_for(&self, purpose: &str) -> Option<(ObservationId, &'a Dialogue)> {
        self.all::<Dialogue>().filter(|(_, dialogue)| dialogue.purpose == purpose).last()
    }

    /// Addresses that the target's name resolved to and that were tried, in order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (_, connect) in self.target_connects() {
            if !found.contains(&connect.to.ip()) {
                found.push(connect.to.ip());
            }
        }
        found
    }

    /// The socket address that TLS and HTTP were spoken to, else the first that was tried.
    #[must_use]
    pub fn main_address(&self) -> Option<SocketAddr> {
        let spoken = self.exchange().map(|(_, http)| http.to);
        let spoken =
            spoken.or_else(|| self.dialogue().map(|(_, dialogue)| dialogue.to)).or_else(|| self.handshake().map(|(_, tls)| tls.to));
        spoken.or_else(|| self.connected().next().map(|(_, c)| c.to)).or_else(|| self.target_connects().next().map(|(_, c)| c.to))
    }

    /// The highest layer from which an answer came on the way that was finally used: the road below it is proven there.
    #[must_use]
    pub fn answered_up_to(&self) -> Option<(Layer, ObservationId)> {
        if let Some((id, answer)) = self.all::<CaptureAnswer>().max_by_key(|(_, answer)| answer.layer) {
            return Some((answer.layer, id));
        }
        if self.lacks_target_address() {
            return None;
        }
        if let Some((id, _)) = self.response() {
            return Some((Layer::L7, id));
        }
        if let Some((id, _)) = self.dialogue().filter(|(_, dialogue)| dialogue.answered()) {
            return Some((Layer::L7, id));
        }
        let answered = |query: &DnsQuery| query.role == Role::Target && matches!(query.outcome, DnsOutcome::Answer(_));
        if let Some((id, _)) = self.first::<DnsQuery>(answered) {
            return Some((Layer::L7, id));
        }
        if let Some((id, tls)) = self.handshake() {
            match tls.outcome {
                TlsOutcome::Done { .. } | TlsOutcome::Alert { .. } | TlsOutcome::NotTls { .. } => return Some((Layer::L6, id)),
                _ => {}
            }
        }
        if let Some((id, _)) = self.connected().next() {
            return Some((Layer::L4, id));
        }
        let datagram = |udp: &UdpProbe| udp.role == Role::Target && matches!(udp.outcome, UdpOutcome::Answer { .. });
        if let Some((id, _)) = self.first::<UdpProbe>(datagram) {
            return Some((Layer::L4, id));
        }
        if self.target().scheme == crate::Scheme::Icmp && !self.all::<Echo>().any(|(_, echo)| echo.role == Role::Target) {
            let reached = self.all::<UdpProbe>().find_map(|(_, udp)| self.host_answers(udp.to.ip()));
            return reached.map(|id| (Layer::L3, id));
        }
        let echoed = |echo: &Echo| echo.role == Role::Target && echo.received > 0 && self.target().scheme == crate::Scheme::Icmp;
        self.first::<Echo>(echoed).map(|(id, _)| (Layer::L3, id))
    }
}
