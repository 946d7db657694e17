//! What the whole capture knows of addresses and services: whether they answered anything, and from how far. Bounded; beyond the bound new ones are
//! not remembered, and nothing is concluded from their absence.

use crate::flow::tcp::report::hops;
use crate::packet::Stamp;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

const MOST_HOSTS: usize = 16_384;
const MOST_SERVICES: usize = 16_384;

#[derive(Debug, Clone, Copy)]
struct Host {
    hops: u8,
    last: Stamp,
}

/// Addresses and services heard of.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: HashMap<IpAddr, Host, RandomState>,
    services: HashMap<SocketAddr, Stamp, RandomState>,
}

impl Hosts {
    /// A packet of this address went by.
    pub(super) fn heard(&mut self, address: IpAddr, ttl: u8, at: Stamp) {
        if let Some(host) = self.hosts.get_mut(&address) {
            host.last = host.last.max(at);
        } else if self.hosts.len() < MOST_HOSTS {
            self.hosts.insert(address, Host { hops: hops(ttl), last: at });
        }
    }

    /// A service accepted a connection.
    pub(super) fn accepted(&mut self, service: SocketAddr, at: Stamp) {
        if let Some(last) = self.services.get_mut(&service) {
            *last = (*last).max(at);
        } else if self.services.len() < MOST_SERVICES {
            self.services.insert(service, at);
        }
    }

    /// The address has been heard in this capture.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.hosts.contains_key(&address)
    }

    /// The address was heard at that time or later.
    pub(super) fn heard_since(&self, address: IpAddr, since: Stamp) -> bool {
        self.hosts.get(&address).is_some_and(|host| host.last >= since)
    }

    /// Hops to it, by the first of its packets.
    pub(super) fn hops_to(&self, address: IpAddr) -> Option<u8> {
        self.hosts.get(&address).map(|host| host.hops)
    }

    /// The service accepted a connection at that time or later.
    pub(super) fn accepted_since(&self, service: SocketAddr, since: Stamp) -> bool {
        self.services.get(&service).is_some_and(|last| *last >= since)
    }
}
