//! Readings of the path toward an address: who answered, how far packets got, who we are ourselves.

use super::Evidence;
use crate::ObservationId;
use crate::observation::{
    AckProbe, DnsOutcome, DnsQuery, Echo, HopAnswer, HopSaid, IcmpMeaning, Link, PeerReport, Role, TcpConnect, UdpOutcome, UdpProbe, Walk,
};
use std::net::IpAddr;

impl<'a> Evidence<'a> {
    /// The address belongs to this host.
    #[must_use]
    pub fn is_self(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        self.all::<Link>().any(|(_, link)| link.addresses.iter().any(|a| a.split(['/', ' ']).next() == Some(text.as_str())))
            || self.all::<TcpConnect>().any(|(_, connect)| connect.local.is_some_and(|local| local.ip() == ip))
    }

    /// The link through which the address is reached, or would be.
    #[must_use]
    pub fn link_toward(&self, to: IpAddr) -> Option<(ObservationId, &'a Link)> {
        let iface = self.iface(to);
        match iface {
            Some(iface) => self.first::<Link>(|link| link.iface == iface),
            None => self.first::<Link>(|link| link.on_path),
        }
    }

    /// Proof that the host itself is up and reached: it answered on some port or protocol other than the failed one.
    /// Any answer in its name counts: RST, SYN-ACK, echo reply, port unreachable from it, a DNS answer, a witness on it.
    #[must_use]
    pub fn host_answers(&self, ip: IpAddr) -> Option<ObservationId> {
        self.tcp_control_answers(ip)
            .or_else(|| self.echo_answers(ip))
            .or_else(|| self.udp_answers(ip))
            .or_else(|| self.walks(ip).find(|(_, walk)| walk.reached_ttl.is_some()).map(|(id, _)| id))
            .or_else(|| self.ack_answers(ip))
            .or_else(|| self.first::<PeerReport>(|report| report.peer.ip() == ip).map(|(id, _)| id))
    }

    /// Another TCP port of the host answered, by SYN-ACK or RST.
    #[must_use]
    pub fn tcp_control_answers(&self, ip: IpAddr) -> Option<ObservationId> {
        let answered = |connect: &TcpConnect| connect.outcome.connected() || connect.outcome.reset();
        self.all::<TcpConnect>()
            .find(|(_, c)| c.to.ip() == ip && (c.role == Role::Control || (c.role == Role::Resolver)) && answered(c))
            .map(|(id, _)| id)
    }

    /// The host answered an echo request.
    #[must_use]
    pub fn echo_answers(&self, ip: IpAddr) -> Option<ObservationId> {
        self.first::<Echo>(|echo| echo.to == ip && echo.received > 0).map(|(id, _)| id)
    }

    /// The host answered UDP: by a datagram, or by "port unreachable" from its own address.
    #[must_use]
    pub fn udp_answers(&self, ip: IpAddr) -> Option<ObservationId> {
        let probe = self.first::<UdpProbe>(|udp| {
            udp.to.ip() == ip
                && match &udp.outcome {
                    UdpOutcome::Answer { .. } => true,
                    UdpOutcome::Failed { icmp: Some(icmp), .. } => icmp.from == ip && icmp.meaning() == IcmpMeaning::PortUnreachable,
                    _ => false,
                }
        });
        let dns = || self.first::<DnsQuery>(|query| query.resolver.ip() == ip && matches!(query.outcome, DnsOutcome::Answer(_)));
        probe.map(|(id, _)| id).or_else(|| dns().map(|(id, _)| id))
    }

    /// A bare ACK to the port was answered by RST: packets to the port reach a TCP stack there.
    #[must_use]
    pub fn ack_answers(&self, ip: IpAddr) -> Option<ObservationId> {
        self.first::<AckProbe>(|ack| ack.to.ip() == ip && ack.resets > 0).map(|(id, _)| id)
    }

    /// Every walk toward the address.
    pub fn walks(&self, ip: IpAddr) -> impl Iterator<Item = (ObservationId, &'a Walk)> + use<'a> {
        self.all::<Walk>().filter(move |(_, walk)| walk.to.ip() == ip)
    }

    /// The walk on the port or protocol that failed.
    #[must_use]
    pub fn failed_walk(&self, ip: IpAddr) -> Option<(ObservationId, &'a Walk)> {
        self.walks(ip).find(|(_, walk)| walk.role != Role::Control)
    }

    /// Walks on other ports or protocols of the same host.
    pub fn control_walks(&self, ip: IpAddr) -> impl Iterator<Item = (ObservationId, &'a Walk)> + use<'a> {
        self.walks(ip).filter(|(_, walk)| walk.role == Role::Control)
    }

    /// The highest TTL at which a router (not the destination) answered any walk toward the address, with the router.
    #[must_use]
    pub fn last_router(&self, ip: IpAddr) -> Option<(u8, IpAddr)> {
        let hops = self.walks(ip).flat_map(|(_, walk)| &walk.hops);
        hops.filter_map(|hop| hop.routers().first().map(|router| (hop.ttl, *router))).max_by_key(|(ttl, _)| *ttl)
    }

    /// A RST answered the failing port from a hop at which other packets to the same host found a router: it cannot have reached the host.
    /// Gives the walk and the hop. A host that forwards some of its ports (a container's, a balanced service's) is itself the router of
    /// those: where it answers for itself at that hop, or names its own address, the RST may well be its own.
    #[must_use]
    pub fn reset_before_host(&self, ip: IpAddr) -> Option<(ObservationId, u8)> {
        let (id, walk) = self.failed_walk(ip)?;
        let reset = |answer: &HopAnswer| answer.said == HopSaid::Reset;
        let ttl = walk.hops.iter().find(|hop| hop.answers.iter().any(reset))?.ttl;
        let others: Vec<&HopAnswer> =
            self.control_walks(ip).flat_map(|(_, walk)| &walk.hops).filter(|hop| hop.ttl == ttl).flat_map(|hop| &hop.answers).collect();
        let by_router = |answer: &&&HopAnswer| {
            answer.from != ip && matches!(answer.said, HopSaid::Icmp(icmp) if icmp.meaning() == IcmpMeaning::TtlExceeded)
        };
        let routers = others.iter().filter(by_router).count();
        (routers > 0 && routers == others.len()).then_some((id, ttl))
    }
}
