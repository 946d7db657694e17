//! One zone of a walk: all its servers asked for the name, its keys and signatures checked, and the way further down found.

use super::ask::Heard;
use super::security::{self, Keys, Trust};
use super::zone::{self, NameServer, Zone, absolute, shown_all};
use super::{MOST_SERVERS, Walk};
use crate::dns::message::shown;
use faultmap_model::observation::{DnsOutcome, Security, ServerSaid, TraceEnd, TracedServer, TracedZone};
use futures_util::future::join_all;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, Record, RecordType};
use std::net::SocketAddr;

/// What a zone told.
pub(super) struct Visit {
    pub(super) traced: TracedZone,
    pub(super) next: Next,
}

/// Where the walk goes on.
pub(super) enum Next {
    Down(Box<Zone>),
    Alias(Name),
    End(TraceEnd),
}

/// A server's answer.
struct Told {
    server: NameServer,
    heard: Heard,
    said: ServerSaid,
}

impl Walk<'_> {
    pub(super) async fn visit(&self, zone: &Zone, name: &Name) -> Visit {
        let mut zone = zone.clone();
        self.find_nameless(&mut zone, 4, 0).await;
        let mut servers = self.fitting(&zone);
        let left_out = servers.len().saturating_sub(MOST_SERVERS);
        servers.truncate(MOST_SERVERS);
        let told = self.ask_all(&zone, name, servers).await;
        let good: Vec<&Told> = told.iter().filter(|told| told.said.serves()).collect();
        let keys = self.keys(&zone, &good).await;
        let (next, security) = self.onward(&zone, name, &told, &good, &keys).await;
        let child_ns = match good.first() {
            Some(first) if !zone.name.is_root() => self.own_name_servers(&zone, first.server.address).await,
            _ => Vec::new(),
        };
        let serials = self.serials(&zone, &good, &next).await;
        let traced_servers =
            told.iter().map(|told| traced(told, serials.iter().find(|(at, _)| *at == told.server.address).map(|(_, serial)| *serial)));
        let traced = TracedZone {
            zone: shown(&zone.name),
            parent_ns: shown_all(&zone.ns),
            child_ns,
            delegation_ttl_s: zone.ttl_s,
            servers: traced_servers.collect(),
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            nameless: shown_all(&zone.nameless),
            security,
        };
        Visit { traced, next }
    }

    async fn ask_all(&self, zone: &Zone, name: &Name, servers: Vec<NameServer>) -> Vec<Told> {
        let asks = servers.into_iter().map(|server| async move {
            let heard = self.asker.ask(server.address, name, RecordType::A).await?;
            let said = match (&heard.outcome, &heard.message) {
                (DnsOutcome::Answer(_), Some(message)) => zone::said(message, &zone.name, name),
                (DnsOutcome::Answer(_), None) => ServerSaid::Unreadable,
                (DnsOutcome::Silent { waited_ms, .. }, _) => ServerSaid::Silent { waited_ms: *waited_ms },
                (DnsOutcome::Failed { errno, icmp }, _) => ServerSaid::Failed { errno: errno.clone(), icmp: *icmp },
            };
            Some(Told { server, heard, said })
        });
        join_all(asks).await.into_iter().flatten().collect()
    }

    /// The zone's keys, from the first good server that shows them.
    async fn keys(&self, zone: &Zone, good: &[&Told]) -> Keys {
        if let Trust::Nobody = zone.trust {
            return Keys::Unsigned;
        }
        if let Trust::Unknown(why) = &zone.trust {
            return Keys::Unknown(why.clone());
        }
        let mut last = Keys::Unknown("no server of the zone answered".to_owned());
        for told in good.iter().take(3) {
            let Some(message) = self.message(told.server.address, &zone.name, RecordType::DNSKEY).await else { continue };
            last = security::keys_of(&zone.name, &zone.trust, &message.answers, self.ask.clock_unix);
            if matches!(last, Keys::Good(_) | Keys::Unsigned) {
                return last;
            }
        }
        last
    }

    /// Where to go on, and how far the signatures hold.
    async fn onward(&self, zone: &Zone, name: &Name, told: &[Told], good: &[&Told], keys: &Keys) -> (Next, Security) {
        let Some(first) = good.first() else {
            return (Next::End(nobody(zone, told)), Security::Unknown { why: "no server of the zone answered".to_owned() });
        };
        let Some(message) = &first.heard.message else { return (Next::End(TraceEnd::Stuck), Security::Unsigned) };
        let referred = match &first.said {
            ServerSaid::Referral { .. } => zone::referral(message, &zone.name, name),
            _ => self.hidden_cut(zone, name, first).await,
        };
        if let Some(mut child) = referred {
            let (trust, security) = self.trust_in(zone, &child, first, keys).await;
            child.trust = trust;
            return (Next::Down(Box::new(child)), security);
        }
        let next = match (&first.said, zone::alias(message, name)) {
            (ServerSaid::Alias { .. }, Some(to)) => Next::Alias(to),
            (ServerSaid::Answer { .. }, _) => Next::End(TraceEnd::Found),
            (ServerSaid::NoName, _) => Next::End(TraceEnd::NoName),
            (ServerSaid::NoAddress, _) if self.has_v6(zone, name, first).await => Next::End(TraceEnd::Found),
            _ => Next::End(TraceEnd::NoAddress),
        };
        (next, self.answers_hold(zone, name, good, keys))
    }

    async fn has_v6(&self, zone: &Zone, name: &Name, first: &Told) -> bool {
        let v6 = self.message(first.server.address, name, RecordType::AAAA).await;
        v6.is_some_and(|message| matches!(zone::said(&message, &zone.name, name), ServerSaid::Answer { .. }))
    }

    /// The same servers may serve a zone further down, too, and then answer for it at once: the next cut is where an SOA is.
    async fn hidden_cut(&self, zone: &Zone, name: &Name, first: &Told) -> Option<Zone> {
        let below = usize::from(name.num_labels().saturating_sub(zone.name.num_labels()));
        let labels = usize::from(zone.name.num_labels());
        for more in 1..=below.min(super::MOST_ZONES) {
            let candidate = absolute(&name.trim_to(labels + more));
            let message = self.message(first.server.address, &candidate, RecordType::SOA).await?;
            if zone::serial(&message, &candidate).is_none() {
                continue;
            }
            let message = self.message(first.server.address, &candidate, RecordType::NS).await?;
            let (ns, ttl_s) = zone::name_servers(&message.answers, &candidate);
            let of = |server: &Name| {
                let glue = zone::addresses_of(&message.additionals, server);
                glue.into_iter()
                    .map(|ip| NameServer { name: server.clone(), address: SocketAddr::new(ip, super::DNS_PORT) })
                    .collect::<Vec<_>>()
            };
            let mut servers: Vec<NameServer> = ns.iter().flat_map(of).collect();
            if servers.is_empty() {
                servers = zone.servers.clone();
            }
            let nameless = ns.iter().filter(|server| !servers.iter().any(|known| known.name == **server)).cloned().collect();
            return Some(Zone { name: candidate, ns, ttl_s, servers, nameless, trust: Trust::Nobody });
        }
        None
    }

    /// Who vouches for a child: its DS records, signed by this zone.
    async fn trust_in(&self, zone: &Zone, child: &Zone, first: &Told, keys: &Keys) -> (Trust, Security) {
        let keys = match keys {
            Keys::Good(keys) => keys,
            other => return (untrusted(other), told_of(other, "DNSKEY", first)),
        };
        let referral = first.heard.message.as_ref().map(|message| message.authorities.clone()).unwrap_or_default();
        let mut records = referral;
        if security::digests_of(&child.name, &records).is_empty() {
            let Some(message) = self.message(first.server.address, &child.name, RecordType::DS).await else {
                let why = format!("nobody told whether {} is signed", shown(&child.name));
                return (Trust::Unknown(why), Security::Secure);
            };
            records = message.answers;
        }
        let digests = security::digests_of(&child.name, &records);
        if digests.is_empty() {
            return (Trust::Nobody, Security::Secure);
        }
        match security::check(&records, &child.name, RecordType::DS, &zone.name, keys, self.ask.clock_unix) {
            Ok(()) => (Trust::Parent(digests), Security::Secure),
            Err(broken) => (
                Trust::Unknown(BROKEN_ABOVE.to_owned()),
                Security::Bogus { broken, records: "DS".to_owned(), server: called(&first.server) },
            ),
        }
    }

    /// Every server's answer must bear a good signature.
    fn answers_hold(&self, zone: &Zone, name: &Name, good: &[&Told], keys: &Keys) -> Security {
        let keys = match keys {
            Keys::Good(keys) => keys,
            other => return good.first().map_or(Security::Unsigned, |first| told_of(other, "DNSKEY", first)),
        };
        let broken = good.iter().find_map(|told| {
            let message = told.heard.message.as_ref()?;
            let (records, owner, kind) = to_check(message, zone, name, &told.said)?;
            let verdict = security::check(records, &owner, kind, &zone.name, keys, self.ask.clock_unix);
            verdict.err().map(|broken| Security::Bogus { broken, records: kind.to_string(), server: called(&told.server) })
        });
        broken.unwrap_or(Security::Secure)
    }

    /// The zone's own idea of its servers.
    async fn own_name_servers(&self, zone: &Zone, server: SocketAddr) -> Vec<String> {
        let message = self.message(server, &zone.name, RecordType::NS).await;
        message.map(|message| shown_all(&zone::name_servers(&message.answers, &zone.name).0)).unwrap_or_default()
    }

    /// Serial numbers at the owners of the name.
    async fn serials(&self, zone: &Zone, good: &[&Told], next: &Next) -> Vec<(SocketAddr, u32)> {
        if !matches!(next, Next::End(_) | Next::Alias(_)) {
            return Vec::new();
        }
        let asks = good.iter().map(|told| async {
            let message = self.message(told.server.address, &zone.name, RecordType::SOA).await?;
            Some((told.server.address, zone::serial(&message, &zone.name)?))
        });
        join_all(asks).await.into_iter().flatten().collect()
    }
}

const BROKEN_ABOVE: &str = "the chain is broken further up";

/// The records of an answer whose signature counts: the addresses or the first alias, else the SOA of a negative answer.
fn to_check<'m>(message: &'m Message, zone: &Zone, name: &Name, said: &ServerSaid) -> Option<(&'m [Record], Name, RecordType)> {
    let owned = |kind: RecordType| message.answers.iter().any(|record| record.record_type() == kind && absolute(&record.name) == *name);
    match said {
        ServerSaid::Answer { .. } | ServerSaid::Alias { .. } if owned(RecordType::CNAME) => {
            Some((&message.answers, name.clone(), RecordType::CNAME))
        }
        ServerSaid::Answer { .. } => Some((&message.answers, name.clone(), RecordType::A)),
        ServerSaid::NoName | ServerSaid::NoAddress => {
            let soa =
                message.authorities.iter().any(|record| record.record_type() == RecordType::SOA && absolute(&record.name) == zone.name);
            soa.then(|| (message.authorities.as_slice(), zone.name.clone(), RecordType::SOA))
        }
        _ => None,
    }
}

fn untrusted(keys: &Keys) -> Trust {
    match keys {
        Keys::Good(_) | Keys::Unsigned => Trust::Nobody,
        Keys::Bogus(_) => Trust::Unknown(BROKEN_ABOVE.to_owned()),
        Keys::Unknown(why) => Trust::Unknown(why.clone()),
    }
}

fn told_of(keys: &Keys, records: &str, first: &Told) -> Security {
    match keys {
        Keys::Good(_) => Security::Secure,
        Keys::Unsigned => Security::Unsigned,
        Keys::Bogus(broken) => Security::Bogus { broken: *broken, records: records.to_owned(), server: called(&first.server) },
        Keys::Unknown(why) => Security::Unknown { why: why.clone() },
    }
}

fn called(server: &NameServer) -> String {
    format!("{} ({})", shown(&server.name), server.address.ip())
}

/// Why nobody helps.
fn nobody(zone: &Zone, told: &[Told]) -> TraceEnd {
    let reached = told.iter().any(|told| matches!(told.heard.outcome, DnsOutcome::Answer(_)));
    let recursive = |told: &Told| matches!(told.said, ServerSaid::NotAuthoritative { recursion_available: true });
    match () {
        () if zone.name.is_root() && !reached => TraceEnd::NoRoot,
        () if zone.name.is_root() && told.iter().any(recursive) => TraceEnd::Intercepted,
        () => TraceEnd::Stuck,
    }
}

fn traced(told: &Told, serial: Option<u32>) -> TracedServer {
    TracedServer {
        name: shown(&told.server.name),
        address: told.server.address,
        took_ms: told.heard.took_ms,
        said: told.said.clone(),
        serial,
        tcp: told.heard.tcp,
    }
}
