//! The check that goes through a proxy, as the causes read it: whose address was connected, whose name was looked up, what the proxy said.
//!
//! Connects, routes, walks and echoes concern the proxy's address then, and their role is `Target`: it is the destination of our packets. TLS
//! and what stands above it is said by the target, at the far end of the tunnel.

use super::Evidence;
use crate::ObservationId;
use crate::observation::{
    HttpExchange, HttpOutcome, HttpResponse, ProxyBypass, ProxyChoice, ProxyProtocol, ProxyTunnel, SystemLookup, TunnelOutcome,
};
use std::net::IpAddr;

impl<'a> Evidence<'a> {
    /// The proxy that the check goes through.
    #[must_use]
    pub fn proxy(&self) -> Option<(ObservationId, &'a ProxyChoice)> {
        self.first::<ProxyChoice>(|choice| choice.exempted_by.is_none())
    }

    /// The proxy is given whole requests: what is seen of connections and caches is its own.
    #[must_use]
    pub fn proxy_forwards(&self) -> bool {
        self.proxy().is_some_and(|(_, proxy)| proxy.forwards)
    }

    /// The answer to the request for the first conversation's tunnel.
    #[must_use]
    pub fn tunnel(&self) -> Option<(ObservationId, &'a ProxyTunnel)> {
        self.all::<ProxyTunnel>().filter(|(_, tunnel)| tunnel.purpose == "default").last()
    }

    /// The tunnel that did not open.
    #[must_use]
    pub fn failed_tunnel(&self) -> Option<(ObservationId, &'a ProxyTunnel)> {
        self.tunnel().filter(|(_, tunnel)| !matches!(tunnel.outcome, TunnelOutcome::Open { .. }))
    }

    /// The way without the proxy, when it was tried.
    #[must_use]
    pub fn bypass(&self) -> Option<(ObservationId, &'a ProxyBypass)> {
        self.all::<ProxyBypass>().last()
    }

    /// The host that we connect to: the proxy's, or the target's.
    #[must_use]
    pub fn near_host(&self) -> &'a str {
        self.proxy().map_or(self.header.target.host.as_str(), |(_, proxy)| proxy.host.as_str())
    }

    /// The name whose resolution here decides: the target's own where no proxy is used, the proxy's, and for `socks5://` both.
    #[must_use]
    pub fn sought_host(&self) -> &'a str {
        let target = self.header.target.host.as_str();
        match self.proxy() {
            Some((_, proxy)) if proxy.protocol == ProxyProtocol::Socks5 && self.looked_up(target) && !self.resolved(target) => target,
            Some((_, proxy)) => proxy.host.as_str(),
            None => target,
        }
    }

    /// That host, when it is a literal.
    #[must_use]
    pub fn sought_literal(&self) -> Option<IpAddr> {
        self.sought_host().split('%').next().and_then(|host| host.parse().ok())
    }

    /// It is the target's own name that keeps a check through a proxy from going on: what the proxy's address answered says nothing of it.
    pub(super) fn lacks_target_address(&self) -> bool {
        self.proxy().is_some() && self.sought_host() == self.header.target.host && self.near_host() != self.sought_host()
    }

    fn looked_up(&self, name: &str) -> bool {
        self.all::<SystemLookup>().any(|(_, lookup)| lookup.name == name)
    }

    /// The name has an address, by the system or the hosts file.
    pub(super) fn resolved(&self, name: &str) -> bool {
        self.all::<SystemLookup>().any(|(_, lookup)| lookup.name == name && !lookup.addresses.is_empty())
            || self.all::<crate::observation::HostsFile>().any(|(_, hosts)| hosts.name == name && !hosts.addresses.is_empty())
    }

    /// The answer to a request that the proxy was to pass on, when the proxy wrote it itself.
    #[must_use]
    pub fn proxys_own_answer(&self) -> Option<(ObservationId, &'a HttpResponse)> {
        self.proxy().filter(|(_, proxy)| proxy.forwards)?;
        let (id, response) = self.response()?;
        let control = match self.exchange_for("proxy-control") {
            Some((_, HttpExchange { outcome: HttpOutcome::Response(response), .. })) => Some(response.as_ref()),
            _ => None,
        };
        is_proxys_own(response, control).then_some((id, response))
    }
}

/// 407 is a proxy's alone (RFC 9110 15.5.8). Errors are its own when its headers say so, or when it writes the same to a name that cannot exist.
fn is_proxys_own(response: &HttpResponse, control: Option<&HttpResponse>) -> bool {
    let reported = response.header("x-squid-error").is_some_and(|value| !value.starts_with("0"))
        || response.header("proxy-status").is_some_and(|value| value.contains("error="));
    if response.status == 407 || (response.status >= 400 && reported) {
        return true;
    }
    let alike = |control: &HttpResponse| {
        let start = |response: &HttpResponse| response.body.excerpt.chars().take(60).collect::<String>();
        control.status >= 400
            && control.header("server") == response.header("server")
            && control.header("via") == response.header("via")
            && (control.header("server").is_some() || control.header("via").is_some() || start(control) == start(response))
    };
    matches!(response.status, 400 | 403 | 404 | 500..=504) && control.is_some_and(alike)
}
