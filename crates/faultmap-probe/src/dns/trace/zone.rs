//! Zones, name servers, and what an answer says of them: the name, a referral further down, or nothing. Pure.

use super::super::message::shown;
use super::security::Trust;
use faultmap_model::observation::ServerSaid;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, SocketAddr};

const DNS_PORT: u16 = 53;
/// Addresses kept of one answer.
const MOST_ADDRESSES: usize = 16;
/// Name servers kept of one referral.
const MOST_NS: usize = 32;

/// One address of one name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServer {
    pub(super) name: Name,
    pub(super) address: SocketAddr,
}

/// A zone as its parent describes it.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Name,
    /// Names of its servers, sorted.
    pub(super) ns: Vec<Name>,
    pub(super) ttl_s: Option<u32>,
    pub(super) servers: Vec<NameServer>,
    /// Names without an address.
    pub(super) nameless: Vec<Name>,
    pub(super) trust: Trust,
}

/// The name in lower case, with the final dot: so that names compare.
pub(super) fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

/// Names as shown, sorted.
pub(super) fn shown_all(names: &[Name]) -> Vec<String> {
    let mut texts: Vec<String> = names.iter().map(shown).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Name servers of `zone` in these records, sorted, with the smallest TTL.
pub(super) fn name_servers(records: &[Record], zone: &Name) -> (Vec<Name>, Option<u32>) {
    let of_zone = records.iter().filter(|record| absolute(&record.name) == *zone);
    let mut ttl_s = None;
    let mut names = Vec::new();
    for record in of_zone {
        if let RData::NS(ns) = &record.data {
            names.push(absolute(&ns.0));
            ttl_s = Some(ttl_s.map_or(record.ttl, |ttl: u32| ttl.min(record.ttl)));
        }
    }
    names.sort();
    names.dedup();
    names.truncate(MOST_NS);
    (names, ttl_s)
}

/// Addresses in these records for a name.
pub(super) fn addresses_of(records: &[Record], name: &Name) -> Vec<IpAddr> {
    let fits = records.iter().filter(|record| absolute(&record.name) == *name);
    let mut found = Vec::new();
    for ip in fits.filter_map(|record| address(&record.data)) {
        if !found.contains(&ip) && found.len() < MOST_ADDRESSES {
            found.push(ip);
        }
    }
    found
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    }
}

/// The child zone that the message refers to: below `zone`, at or above `name`.
pub(super) fn referral(message: &Message, zone: &Name, name: &Name) -> Option<Zone> {
    if message.metadata.authoritative && !message.answers.is_empty() {
        return None;
    }
    let owners = message.authorities.iter().filter(|record| record.record_type() == RecordType::NS).map(|record| absolute(&record.name));
    let child = owners.filter(|owner| zone.zone_of(owner) && owner != zone && owner.zone_of(name)).max_by_key(Name::num_labels)?;
    let (ns, ttl_s) = name_servers(&message.authorities, &child);
    // Only glue below the zone that gives it is to be believed (RFC 9471).
    let glued = |server: &Name| {
        let believed = zone.zone_of(server);
        let found = if believed { addresses_of(&message.additionals, server) } else { Vec::new() };
        found.into_iter().map(|ip| NameServer { name: server.clone(), address: SocketAddr::new(ip, DNS_PORT) }).collect::<Vec<_>>()
    };
    let servers: Vec<NameServer> = ns.iter().flat_map(glued).collect();
    let nameless = ns.iter().filter(|server| !servers.iter().any(|known| known.name == **server)).cloned().collect();
    Some(Zone { name: child, ns, ttl_s, servers, nameless, trust: Trust::Nobody })
}

/// What a server delegated for `zone` said when asked for the addresses of `name`.
pub(super) fn said(message: &Message, zone: &Name, name: &Name) -> ServerSaid {
    let head = &message.metadata;
    match head.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        other => return ServerSaid::Refused { rcode: other.into() },
    }
    if head.authoritative {
        return authoritative(message, name);
    }
    match referral(message, zone, name) {
        Some(child) => ServerSaid::Referral { zone: shown(&child.name), ns: shown_all(&child.ns) },
        None => ServerSaid::NotAuthoritative { recursion_available: head.recursion_available },
    }
}

fn authoritative(message: &Message, name: &Name) -> ServerSaid {
    let (last, aliased) = end_of_chain(message, name);
    let fits = message.answers.iter().filter(|record| absolute(&record.name) == last && address(&record.data).is_some());
    let addresses = addresses_of(&message.answers, &last);
    if !addresses.is_empty() {
        // A chain within the zone: the whole may be kept as long as its shortest link.
        let chain = message.answers.iter().filter(|record| record.record_type() == RecordType::CNAME);
        return ServerSaid::Answer { addresses, ttl_s: fits.chain(chain).map(|record| record.ttl).min() };
    }
    if aliased {
        return ServerSaid::Alias { to: shown(&last) };
    }
    if message.metadata.response_code == ResponseCode::NXDomain { ServerSaid::NoName } else { ServerSaid::NoAddress }
}

/// The name at the end of the aliases that the message holds, and whether there were any.
fn end_of_chain(message: &Message, name: &Name) -> (Name, bool) {
    let mut seen = vec![name.clone()];
    while let Some(last) = seen.last().cloned() {
        let next = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if absolute(&record.name) == last => Some(absolute(&target.0)),
            _ => None,
        });
        match next {
            Some(next) if !seen.contains(&next) && seen.len() <= super::MOST_ALIASES => seen.push(next),
            _ => return (last, seen.len() > 1),
        }
    }
    (name.clone(), false)
}

/// Where the last alias leads.
pub(super) fn alias(message: &Message, name: &Name) -> Option<Name> {
    let (last, aliased) = end_of_chain(message, name);
    aliased.then_some(last)
}

/// The serial number in an answer to a question for SOA, if `zone` owns it.
pub(super) fn serial(message: &Message, zone: &Name) -> Option<u32> {
    message.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if absolute(&record.name) == *zone => Some(soa.serial),
        _ => None,
    })
}
