//! The walk from the root to a name: every server that a parent delegates to is asked, side by side, and the signatures are held against the
//! keys above. Says what was seen; never what it means for the target.
//!
//! Bounded: servers per zone, zones, aliases, questions, time. Nothing is asked recursively.

mod ask;
mod roots;
mod security;
mod visit;
mod zone;

#[cfg(test)]
mod tests;

pub use roots::parse_roots;

use super::message::{shown, wire_name};
use ask::Asker;
use faultmap_model::observation::{Broken, DnsTrace, Security, ServerSaid, TraceEnd};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use security::{Keys, Trust};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;
use visit::{Next, Visit};
use zone::{NameServer, Zone, absolute};

/// Zones visited, all aliases together.
const MOST_ZONES: usize = 12;
/// Aliases followed.
const MOST_ALIASES: usize = 8;
/// Servers asked of one zone.
const MOST_SERVERS: usize = 8;
/// Questions of one walk.
const MOST_QUESTIONS: u32 = 240;
/// Name servers outside of what is delegated need a walk of their own; and theirs, perhaps, another.
const MOST_DEPTH: u8 = 3;
const DNS_PORT: u16 = 53;

/// What to trace.
#[derive(Debug, Clone)]
pub struct TraceAsk {
    /// The name.
    pub name: String,
    /// The root's servers; empty for IANA's.
    pub roots: Vec<SocketAddr>,
    /// Only servers of this family, if the user wants that.
    pub only_v4: Option<bool>,
    /// Our clock, seconds since 1970.
    pub clock_unix: i64,
    /// How long all of it may take.
    pub wait: Duration,
}

/// Walks. `None` when the name is no name (RFC 1035 2.3.4).
pub async fn trace(ask: &TraceAsk) -> Option<DnsTrace> {
    let name = absolute(&wire_name(&ask.name)?);
    let asker = Asker { sent: Cell::new(0), most: MOST_QUESTIONS, deadline: Instant::now() + ask.wait };
    let walk = Walk { ask, asker, visited: RefCell::default() };
    let mut trace = DnsTrace {
        name: shown(&name),
        given_roots: !ask.roots.is_empty(),
        clock_unix: ask.clock_unix,
        zones: Vec::new(),
        aliases: Vec::new(),
        end: TraceEnd::CutShort,
        addresses: Vec::new(),
        ttl_s: None,
        questions: 0,
    };
    walk.down(name, &mut trace).await;
    trace.questions = walk.asker.sent.get();
    doubt_the_clock(&mut trace);
    Some(trace)
}

/// Signatures of the root itself that are out of their time speak against our clock, not against the root.
fn doubt_the_clock(trace: &mut DnsTrace) {
    let Some(root) = trace.zones.first_mut().filter(|zone| zone.zone == ".") else { return };
    if let Security::Bogus { broken: Broken::Expired { .. } | Broken::NotYetValid { .. }, .. } = root.security {
        let why = "the root's own signatures are out of their time by this host's clock: it is probably wrong (timedatectl)";
        root.security = Security::Unknown { why: why.to_owned() };
    }
}

/// Reads a message in every way that a walk would: for tests and fuzzing, which want to know that no bytes make it panic. True if it can be
/// read as a whole.
#[must_use]
pub fn read_any(bytes: &[u8]) -> bool {
    let Ok(message) = Message::from_vec(bytes) else { return false };
    let name = message.queries.first().map_or_else(Name::root, |query| absolute(query.name()));
    let parents = (0..=usize::from(name.num_labels())).map(|labels| absolute(&name.trim_to(labels)));
    for parent in parents.take(MOST_ZONES) {
        let _ = zone::said(&message, &parent, &name);
        let _ = zone::serial(&message, &parent);
        let digests = security::digests_of(&name, &message.authorities);
        let keys = security::keys_of(&parent, &Trust::Parent(digests), &message.answers, 0);
        let keys = if let Keys::Good(keys) = keys { keys } else { security::published(&parent, &message.answers) };
        let _ = security::check(&message.answers, &name, RecordType::A, &parent, &keys, 0);
        let _ = zone::referral(&message, &parent, &name).map(|child| child.ns.len());
    }
    true
}

struct Walk<'a> {
    ask: &'a TraceAsk,
    asker: Asker,
    /// Zones whose servers are known, the root first.
    visited: RefCell<Vec<Zone>>,
}

impl Walk<'_> {
    async fn down(&self, mut name: Name, trace: &mut DnsTrace) {
        let mut zone = roots::root(&self.ask.roots);
        for _ in 0..MOST_ZONES {
            self.remember(&zone);
            let Visit { traced, next } = self.visit(&zone, &name).await;
            trace.zones.push(traced);
            match next {
                Next::Down(child) => zone = *child,
                Next::Alias(to) if trace.aliases.len() < MOST_ALIASES => {
                    trace.aliases.push(shown(&to));
                    zone = self.deepest(&to);
                    name = to;
                }
                Next::Alias(_) => return,
                Next::End(end) => {
                    trace.end = end;
                    if end == TraceEnd::Found {
                        (trace.addresses, trace.ttl_s) = self.found(trace, &zone, &name).await;
                    }
                    return;
                }
            }
        }
    }

    fn remember(&self, zone: &Zone) {
        let mut visited = self.visited.borrow_mut();
        if !visited.iter().any(|known| known.name == zone.name) && visited.len() < 64 {
            visited.push(zone.clone());
        }
    }

    /// The deepest zone whose servers are known and which the name lies in.
    fn deepest(&self, name: &Name) -> Zone {
        let visited = self.visited.borrow();
        let enclosing = visited.iter().filter(|zone| zone.name.zone_of(name)).max_by_key(|zone| zone.name.num_labels());
        enclosing.cloned().unwrap_or_else(|| roots::root(&self.ask.roots))
    }

    /// The addresses that the owners gave, with those of IPv6 asked for as well.
    async fn found(&self, trace: &DnsTrace, zone: &Zone, name: &Name) -> (Vec<IpAddr>, Option<u32>) {
        let said = trace.zones.last().into_iter().flat_map(|zone| &zone.servers).filter_map(|server| match &server.said {
            ServerSaid::Answer { addresses, ttl_s } => Some((server.address, addresses, *ttl_s)),
            _ => None,
        });
        let (mut all, mut least, mut good): (Vec<IpAddr>, Option<u32>, Option<SocketAddr>) = (Vec::new(), None, None);
        for (address, addresses, ttl_s) in said {
            all.extend(addresses);
            least = [least, ttl_s].into_iter().flatten().min();
            good = good.or(Some(address));
        }
        if let Some(server) = good
            && zone.name.zone_of(name)
            && let Some(message) = self.message(server, name, RecordType::AAAA).await
            && let ServerSaid::Answer { addresses, .. } = zone::said(&message, &zone.name, name)
        {
            all.extend(addresses);
        }
        all.sort();
        all.dedup();
        all.truncate(16);
        (all, least)
    }

    /// The answer of one server, if it can be read.
    async fn message(&self, server: SocketAddr, name: &Name, kind: RecordType) -> Option<Message> {
        self.asker.ask(server, name, kind).await?.message
    }

    /// Addresses of a name server that nobody gave: a walk of its own, one server at a time.
    async fn addresses_of(&self, server: &Name, depth: u8) -> Vec<IpAddr> {
        if depth >= MOST_DEPTH {
            return Vec::new();
        }
        let mut zone = self.deepest(server);
        for _ in 0..MOST_ZONES {
            let Some((message, said)) = self.any_good(&zone, server).await else { return Vec::new() };
            match said {
                ServerSaid::Answer { addresses, .. } => return addresses,
                ServerSaid::Referral { .. } => {
                    let Some(mut child) = zone::referral(&message, &zone.name, server) else { return Vec::new() };
                    if child.servers.is_empty() {
                        self.find_nameless(&mut child, 1, depth + 1).await;
                    }
                    self.remember(&child);
                    zone = child;
                }
                ServerSaid::NoAddress => {
                    // Perhaps only of the other family.
                    let Some(first) = self.fitting(&zone).first().cloned() else { return Vec::new() };
                    let v6 = self.message(first.address, server, RecordType::AAAA).await;
                    return v6.map(|message| zone::addresses_of(&message.answers, server)).unwrap_or_default();
                }
                _ => return Vec::new(),
            }
        }
        Vec::new()
    }

    /// The first server of the zone that serves it, with what it said.
    async fn any_good(&self, zone: &Zone, name: &Name) -> Option<(Message, ServerSaid)> {
        for server in self.fitting(zone).into_iter().take(3) {
            let Some(message) = self.message(server.address, name, RecordType::A).await else { continue };
            let said = zone::said(&message, &zone.name, name);
            if said.serves() {
                return Some((message, said));
            }
        }
        None
    }

    /// Gives up to `most` nameless servers of the zone their addresses.
    async fn find_nameless(&self, zone: &mut Zone, most: usize, depth: u8) {
        let missing: Vec<Name> = zone.nameless.iter().filter(|name| !zone.name.zone_of(name)).take(most).cloned().collect();
        for name in missing {
            // Boxed, for the walk for a server may need a walk for a server.
            let addresses = Box::pin(self.addresses_of(&name, depth)).await;
            if !addresses.is_empty() {
                zone.nameless.retain(|other| *other != name);
            }
            let known = addresses.into_iter().map(|ip| NameServer { name: name.clone(), address: SocketAddr::new(ip, DNS_PORT) });
            zone.servers.extend(known);
        }
    }

    /// The zone's servers of the wanted family, by turns of their names, so that a bound leaves no name out.
    fn fitting(&self, zone: &Zone) -> Vec<NameServer> {
        let wanted = |server: &&NameServer| self.ask.only_v4.is_none_or(|v4| server.address.is_ipv4() == v4);
        let mut by_turns: Vec<(usize, NameServer)> = Vec::new();
        for (place, name) in zone.ns.iter().enumerate() {
            let mut of_name: Vec<&NameServer> = zone.servers.iter().filter(wanted).filter(|server| server.name == *name).collect();
            // Of every other name the other family first, so that each family is asked whatever the bound.
            of_name.sort_by_key(|server| server.address.is_ipv4() == (place % 2 == 1));
            by_turns.extend(of_name.into_iter().cloned().enumerate());
        }
        by_turns.sort_by_key(|(turn, _)| *turn);
        by_turns.into_iter().map(|(_, server)| server).collect()
    }
}
