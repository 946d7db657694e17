//! The attempt whose failure is to be explained: one reading for TCP, UDP, ICMP and DNS, for the target and for a resolver.
//!
//! A check tries many addresses. When none works, the one that got furthest is explained, for mending that one mends the check; that this
//! host has no IPv6 at all does not explain why the service refuses over IPv4. When a name cannot be resolved because no resolver can be
//! reached, the failed attempt is the one at the resolver, so that the causes of L1 to L4 judge the way to the resolver as any other.

use super::Evidence;
use crate::observation::{
    ConnectOutcome, DnsOutcome, DnsQuery, Echo, HopSaid, IcmpError, IcmpMeaning, Role, TcpConnect, TcpRepeat, UdpOutcome, UdpProbe, Walk,
};
use crate::{ObservationId, Scheme};
use std::net::IpAddr;

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How<'a> {
    /// A RST answered.
    Reset,
    /// An ICMP error, with its sender; the sender may be this host itself.
    Icmp(IcmpError),
    /// Our own kernel refused, by this errno, with no ICMP error behind it.
    Errno(&'a str),
    /// Nothing came.
    Silent {
        /// How long we waited.
        waited_ms: f64,
    },
}

/// The failed attempt that got furthest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure<'a> {
    /// The observation.
    pub id: ObservationId,
    /// `Target`, or `Resolver` when resolution failed for want of a reachable resolver.
    pub role: Role,
    /// The address that was tried.
    pub ip: IpAddr,
    /// The port; 0 for ICMP.
    pub port: u16,
    /// What was sent.
    pub protocol: Protocol,
    /// How it failed.
    pub how: How<'a>,
}

impl Failure<'_> {
    /// The ICMP error, if one ended it.
    #[must_use]
    pub const fn icmp(&self) -> Option<IcmpError> {
        match self.how {
            How::Icmp(icmp) => Some(icmp),
            _ => None,
        }
    }

    /// Nothing came.
    #[must_use]
    pub const fn silent(&self) -> bool {
        matches!(self.how, How::Silent { .. })
    }

    /// errno of our own kernel.
    #[must_use]
    pub const fn errno(&self) -> Option<&str> {
        match self.how {
            How::Errno(errno) => Some(errno),
            _ => None,
        }
    }

    /// `10.2.0.10 port 443`, or the address alone for ICMP.
    #[must_use]
    pub fn place(&self) -> String {
        if self.port == 0 { self.ip.to_string() } else { format!("{} port {}", self.ip, self.port) }
    }

    /// How far the packets got, as a rank: an answer from the far end outranks one from the way, that outranks silence, that outranks a refusal at home.
    const fn progress(&self) -> u8 {
        match self.how {
            How::Reset => 4,
            How::Icmp(_) => 3,
            How::Silent { .. } => 2,
            How::Errno(_) => 1,
        }
    }
}

impl<'a> Evidence<'a> {
    /// The failed attempt to explain; `None` when the target (or some address of it) answered at its transport, or when nothing was tried.
    #[must_use]
    pub fn failure(&self) -> Option<Failure<'a>> {
        let attempts = if self.lacks_target_address() { Vec::new() } else { self.attempts(Role::Target) };
        if attempts.iter().any(Option::is_none) {
            return None;
        }
        if !attempts.is_empty() {
            return furthest(attempts).map(|failure| self.with_report(failure));
        }
        let at_resolvers = self.attempts(Role::Resolver);
        if self.sought_literal().is_some() || at_resolvers.iter().any(Option::is_none) || !self.name_unresolved() {
            return None;
        }
        furthest(at_resolvers).map(|failure| self.with_report(failure))
    }

    /// Failed attempts at addresses of the target although another address of it works.
    #[must_use]
    pub fn partial_failures(&self) -> Vec<Failure<'a>> {
        let attempts = self.attempts(Role::Target);
        if attempts.iter().any(Option::is_none) { attempts.into_iter().flatten().collect() } else { Vec::new() }
    }

    /// No resolver and no hosts file gave an address.
    #[must_use]
    pub fn name_unresolved(&self) -> bool {
        if self.proxy().is_some() {
            return !self.resolved(self.sought_host());
        }
        !self.all::<crate::observation::SystemLookup>().any(|(_, lookup)| !lookup.addresses.is_empty())
            && !self.all::<crate::observation::HostsFile>().any(|(_, hosts)| !hosts.addresses.is_empty())
    }

    /// Every attempt at the role's addresses; `None` in the list for one that was answered.
    fn attempts(&self, role: Role) -> Vec<Option<Failure<'a>>> {
        let mut found = Vec::new();
        if role == Role::Target {
            found.extend(self.target_connects().map(|(id, connect)| tcp_failure(id, connect)));
        }
        if role == Role::Target && self.target().scheme == Scheme::Udp {
            found.extend(self.all::<UdpProbe>().filter(|(_, udp)| udp.role == role).map(|(id, udp)| udp_failure(id, udp)));
        }
        if role == Role::Target && self.target().scheme == Scheme::Icmp {
            found.extend(self.all::<Echo>().filter(|(_, echo)| echo.role == role).map(|(id, echo)| echo_failure(id, echo)));
        }
        if role == Role::Target && self.target().scheme == Scheme::Icmp && found.is_empty() {
            found.extend(self.substitutes_for_echo());
        }
        if role == Role::Resolver || self.target().scheme == Scheme::Dns {
            found.extend(self.all::<DnsQuery>().filter(|(_, query)| query.role == role).map(|(id, query)| dns_failure(id, query)));
        }
        found
    }
}

/// More controls than this were refused aloud, and the failing port never: then they are treated differently.
const FEW_REPORTS: usize = 2;

impl<'a> Evidence<'a> {
    /// A router sends an ICMP error only once a second (net.ipv4.icmp_ratelimit), so that a silent attempt may have been refused all the same:
    /// what another packet to the same port was told, or, where nothing of the host answers, a packet to the same host, holds for it too.
    fn with_report(&self, failure: Failure<'a>) -> Failure<'a> {
        if !failure.silent() {
            return failure;
        }
        let report = self.report_to_port(&failure).or_else(|| self.report_to_host(failure.ip));
        report.map_or(failure, |icmp| Failure { how: How::Icmp(icmp), ..failure })
    }

    /// What other packets to the failing port were told.
    fn report_to_port(&self, failure: &Failure<'_>) -> Option<IcmpError> {
        let to = std::net::SocketAddr::new(failure.ip, failure.port);
        let again = self.all::<TcpRepeat>().filter(|(_, repeat)| repeat.to == to && failure.protocol == Protocol::Tcp);
        let again = again.filter_map(|(_, repeat)| repeat.icmp).find(|icmp| icmp.meaning() != IcmpMeaning::TtlExceeded);
        if again.is_some() {
            return again;
        }
        let (_, walk) = self.failed_walk(failure.ip).filter(|(_, walk)| walk.reached_ttl.is_none() && walk.to.port() == failure.port)?;
        reports_of(walk).find(|icmp| icmp.from != failure.ip || icmp.meaning() != IcmpMeaning::PortUnreachable)
    }

    /// What the host's other ports were told, where it does not answer at all.
    fn report_to_host(&self, ip: IpAddr) -> Option<IcmpError> {
        if self.host_answers(ip).is_some() {
            return None;
        }
        let connects = self.control_connects(ip).filter_map(|(_, connect)| connect.outcome.icmp());
        let datagrams = self.all::<UdpProbe>().filter(|(_, udp)| udp.to.ip() == ip).filter_map(|(_, udp)| match udp.outcome {
            UdpOutcome::Failed { icmp, .. } => icmp,
            _ => None,
        });
        let walked = self.control_walks(ip).flat_map(|(_, walk)| reports_of(walk));
        let of_host = |icmp: &IcmpError| match icmp.meaning() {
            IcmpMeaning::NoRoute | IcmpMeaning::HostUnreachable | IcmpMeaning::Prohibited => true,
            // A filter's usual way to reject; from the host itself it would be an answer.
            IcmpMeaning::PortUnreachable => icmp.from != ip,
            _ => false,
        };
        // Sent with full time to live, and yet used up: a loop.
        let looped = |icmp: &IcmpError| icmp.meaning() == IcmpMeaning::TtlExceeded;
        let reports: Vec<IcmpError> = connects.chain(datagrams).filter(|icmp| of_host(icmp) || looped(icmp)).collect();
        if reports.len() > FEW_REPORTS {
            return None;
        }
        reports.first().copied().or_else(|| walked.filter(of_host).last())
    }

    /// Without the right to send echo requests, other questions to the host stand in for them: any answer shows that it is reached.
    fn substitutes_for_echo(&self) -> Vec<Option<Failure<'a>>> {
        let controls = self.all::<UdpProbe>().filter(|(_, udp)| udp.role == Role::Control);
        let reading = |(id, udp): (ObservationId, &'a UdpProbe)| match self.host_answers(udp.to.ip()) {
            Some(_) => None,
            None => udp_failure(id, udp),
        };
        controls.map(reading).collect()
    }
}

/// Refusals that a walk met, other than the end of a packet's time to live.
fn reports_of(walk: &Walk) -> impl Iterator<Item = IcmpError> {
    let answers = walk.hops.iter().flat_map(|hop| &hop.answers);
    answers.filter_map(|answer| match answer.said {
        HopSaid::Icmp(icmp) if !matches!(icmp.meaning(), IcmpMeaning::TtlExceeded | IcmpMeaning::TooBig | IcmpMeaning::Other) => Some(icmp),
        _ => None,
    })
}

fn furthest(attempts: Vec<Option<Failure<'_>>>) -> Option<Failure<'_>> {
    attempts.into_iter().flatten().rev().max_by_key(Failure::progress)
}

fn tcp_failure(id: ObservationId, connect: &TcpConnect) -> Option<Failure<'_>> {
    let how = match &connect.outcome {
        ConnectOutcome::Connected { .. } => return None,
        ConnectOutcome::Failed { icmp: Some(icmp), .. } | ConnectOutcome::Silent { icmp: Some(icmp), .. } => How::Icmp(*icmp),
        outcome if outcome.reset() => How::Reset,
        ConnectOutcome::Failed { errno, .. } => How::Errno(errno),
        ConnectOutcome::Silent { waited_ms, .. } => How::Silent { waited_ms: *waited_ms },
    };
    Some(Failure { id, role: connect.role, ip: connect.to.ip(), port: connect.to.port(), protocol: Protocol::Tcp, how })
}

fn udp_failure(id: ObservationId, udp: &UdpProbe) -> Option<Failure<'_>> {
    let how = match &udp.outcome {
        UdpOutcome::Answer { .. } => return None,
        UdpOutcome::Failed { icmp: Some(icmp), .. } => How::Icmp(*icmp),
        UdpOutcome::Failed { errno, .. } => How::Errno(errno),
        UdpOutcome::Silent { waited_ms } => How::Silent { waited_ms: *waited_ms },
    };
    Some(Failure { id, role: udp.role, ip: udp.to.ip(), port: udp.to.port(), protocol: Protocol::Udp, how })
}

fn echo_failure(id: ObservationId, echo: &Echo) -> Option<Failure<'_>> {
    if echo.received > 0 {
        return None;
    }
    let how = match (&echo.icmp, &echo.errno) {
        (Some(icmp), _) => How::Icmp(*icmp),
        (None, Some(errno)) => How::Errno(errno),
        (None, None) => How::Silent { waited_ms: 0.0 },
    };
    Some(Failure { id, role: echo.role, ip: echo.to, port: 0, protocol: Protocol::Icmp, how })
}

fn dns_failure(id: ObservationId, query: &DnsQuery) -> Option<Failure<'_>> {
    let how = match &query.outcome {
        DnsOutcome::Answer(_) => return None,
        DnsOutcome::Failed { icmp: Some(icmp), .. } => How::Icmp(*icmp),
        DnsOutcome::Failed { errno, .. } if query.transport == crate::observation::Transport::Tcp && errno == "ECONNREFUSED" => How::Reset,
        DnsOutcome::Failed { errno, .. } => How::Errno(errno),
        DnsOutcome::Silent { waited_ms, .. } => How::Silent { waited_ms: *waited_ms },
    };
    let protocol = match query.transport {
        crate::observation::Transport::Udp => Protocol::Udp,
        crate::observation::Transport::Tcp => Protocol::Tcp,
    };
    Some(Failure { id, role: query.role, ip: query.resolver.ip(), port: query.resolver.port(), protocol, how })
}
