//! Direct DNS questions, grouped and read: what each server says of the name, and what all of them together. It claims nothing.

use crate::observation::{DnsAnswer, DnsOutcome, DnsQuery, HostsFile, RecordType, Role, SystemLookup, Transport};
use crate::{Evidence, ObservationId, Scheme};
use std::net::{IpAddr, SocketAddr};

/// What our questions offer unless they say otherwise.
const USUAL_PAYLOAD: u16 = 1232;

/// What one server, or all together, say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// There are addresses (or, for other types, records).
    Found,
    /// RCODE 3.
    NxDomain,
    /// NOERROR without what was asked for.
    NoData,
    /// A server under test refers to the zone's servers further down: it does what an owner of a zone above does.
    Referred,
    /// NOERROR without anything, neither authoritative nor willing to recurse.
    Lame,
    /// RCODE 2, or another that says that the server failed.
    Failing(u16),
    /// RCODE 5, or another that says that the server will not.
    Refusing(u16),
    /// No complete answer.
    Nothing,
}

/// The questions to one group of servers about one name.
#[derive(Debug, Clone)]
pub(super) struct Questions<'a> {
    /// `Resolver`, or `Target` when the DNS server is the target.
    pub(super) role: Role,
    /// The name asked for.
    pub(super) name: &'a str,
    /// All questions, those with CD set included.
    pub(super) asked: Vec<(ObservationId, &'a DnsQuery)>,
}

/// What the configured resolvers were asked about the target's name (and that name under the search list).
pub(super) fn of_resolvers<'a>(ev: &Evidence<'a>) -> Option<Questions<'a>> {
    let host = ev.sought_host().trim_end_matches('.').to_ascii_lowercase();
    let ours = |query: &DnsQuery| {
        let name = query.name.to_ascii_lowercase();
        query.role == Role::Resolver && name.strip_prefix(&host).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let asked: Vec<_> = ev.all::<DnsQuery>().filter(|(_, query)| ours(query)).collect();
    let literal = ev.sought_literal().is_some();
    (!asked.is_empty() && !literal).then(|| Questions { role: Role::Resolver, name: ev.sought_host(), asked })
}

/// What the target itself was asked, when it is a DNS server.
pub(super) fn of_target<'a>(ev: &Evidence<'a>) -> Option<Questions<'a>> {
    let asked: Vec<_> = ev.all::<DnsQuery>().filter(|(_, query)| query.role == Role::Target).collect();
    let name = asked.first()?.1.name.as_str();
    (ev.target().scheme == Scheme::Dns).then_some(Questions { role: Role::Target, name, asked })
}

/// The questions whose failure is the check's: those about the target's own name when nothing resolved it, else those to the target.
pub(super) fn failing<'a>(ev: &Evidence<'a>) -> Option<Questions<'a>> {
    let resolvers = of_resolvers(ev).filter(|questions| ev.name_unresolved() && questions.reply() != Reply::Found);
    resolvers.or_else(|| of_target(ev).filter(|questions| !matches!(questions.reply(), Reply::Found | Reply::Referred)))
}

/// The system resolver's own failure to find the name, when it said so itself (and we did not merely stop waiting).
pub(super) fn system_failure<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a str)> {
    let proxied = ev.proxy().is_some();
    let (id, lookup) = ev.all::<SystemLookup>().filter(|(_, lookup)| !proxied || lookup.name == ev.sought_host()).last()?;
    let error = lookup.error.as_deref().filter(|error| *error != "timeout")?;
    let in_hosts = ev.all::<HostsFile>().any(|(_, hosts)| !hosts.addresses.is_empty());
    (lookup.addresses.is_empty() && !in_hosts).then_some((id, error))
}

impl<'a> Questions<'a> {
    /// The servers asked, in order.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = Vec::new();
        for (_, query) in &self.asked {
            if !servers.contains(&query.resolver) {
                servers.push(query.resolver);
            }
        }
        servers
    }

    /// Ordinary questions to one server: without CD, and not those that ask for a larger answer than a client would.
    pub(super) fn to(&self, server: SocketAddr) -> impl Iterator<Item = (ObservationId, &'a DnsQuery)> + '_ {
        let ordinary = |query: &DnsQuery| !query.checking_disabled && query.offered.is_none_or(|offered| offered < USUAL_PAYLOAD);
        self.asked.iter().copied().filter(move |(_, query)| query.resolver == server && ordinary(query))
    }

    /// Complete answers of one server: not those cut short by UDP.
    pub(super) fn answers(&self, server: SocketAddr) -> impl Iterator<Item = (ObservationId, &'a DnsQuery, &'a DnsAnswer)> + '_ {
        self.to(server).filter_map(|(id, query)| match &query.outcome {
            DnsOutcome::Answer(answer) if !(answer.truncated && query.transport == Transport::Udp) => Some((id, query, answer)),
            _ => None,
        })
    }

    /// Every complete answer with its number.
    pub(super) fn all_answers(&self) -> Vec<(ObservationId, &'a DnsQuery, &'a DnsAnswer)> {
        self.servers().into_iter().flat_map(|server| self.answers(server).collect::<Vec<_>>()).collect()
    }

    /// Addresses that one server gave.
    pub(super) fn addresses(&self, server: SocketAddr) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = self.answers(server).flat_map(|(_, _, answer)| answer.addresses.iter().copied()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What one server says.
    pub(super) fn reply_of(&self, server: SocketAddr) -> Reply {
        let answers: Vec<(&DnsQuery, &DnsAnswer)> = self.answers(server).map(|(_, query, answer)| (query, answer)).collect();
        let found = |(query, answer): &(&DnsQuery, &DnsAnswer)| {
            answer.rcode == 0 && (!answer.addresses.is_empty() || (query.record_type == RecordType::Other && answer.records > 0))
        };
        if answers.iter().any(found) {
            return Reply::Found;
        }
        let with = |wanted: &dyn Fn(u16) -> bool| answers.iter().map(|(_, answer)| answer.rcode).find(|rcode| wanted(*rcode));
        let empty = with(&|rcode| rcode == 0).is_some();
        if with(&|rcode| rcode == 3).is_some() {
            return if empty { Reply::NoData } else { Reply::NxDomain };
        }
        if let Some(rcode) = with(&|rcode| matches!(rcode, 1 | 2)) {
            return Reply::Failing(rcode);
        }
        if let Some(rcode) = with(&|rcode| rcode != 0) {
            return Reply::Refusing(rcode);
        }
        // "No address" needs the answer for every type that was asked for.
        if !empty || self.unanswered_types(server) {
            return Reply::Nothing;
        }
        // A resolver offers recursion, an owner is authoritative: who is neither does not have the zone.
        let lame = |(_, answer): &(&DnsQuery, &DnsAnswer)| !answer.authoritative && !answer.recursion_available && answer.records == 0;
        let refers = |(_, answer): &(&DnsQuery, &DnsAnswer)| answer.referral.is_some() && !answer.recursion_available;
        if self.role == Role::Target && answers.iter().all(refers) {
            return Reply::Referred;
        }
        if answers.iter().all(lame) { Reply::Lame } else { Reply::NoData }
    }

    /// What all say together, as a stub resolver sees it: an address from any wins, then the answers that end the search.
    pub(super) fn reply(&self) -> Reply {
        let replies: Vec<Reply> = self.servers().into_iter().map(|server| self.reply_of(server)).collect();
        let rank = |reply: &Reply| match reply {
            Reply::Found | Reply::Referred => 0,
            Reply::NxDomain => 1,
            Reply::NoData => 2,
            Reply::Lame => 3,
            Reply::Failing(_) => 4,
            Reply::Refusing(_) => 5,
            Reply::Nothing => 6,
        };
        replies.into_iter().min_by_key(rank).unwrap_or(Reply::Nothing)
    }

    /// The first server with this reply.
    pub(super) fn server_replying(&self, reply: Reply) -> Option<SocketAddr> {
        self.servers().into_iter().find(|server| self.reply_of(*server) == reply)
    }

    /// A type was asked for and never answered in full.
    pub(super) fn unanswered_types(&self, server: SocketAddr) -> bool {
        let answered = |kind: RecordType| self.answers(server).any(|(_, query, _)| query.record_type == kind);
        self.to(server).any(|(_, query)| !answered(query.record_type))
    }

    /// Questions to a server that ended in silence.
    pub(super) fn silences(&self, server: SocketAddr) -> Vec<(ObservationId, &'a DnsQuery)> {
        self.to(server).filter(|(_, query)| matches!(query.outcome, DnsOutcome::Silent { .. })).collect()
    }

    /// `the resolver 10.1.0.53`, or `10.1.0.53` when the server is the target.
    pub(super) fn called(&self, server: SocketAddr) -> String {
        let at = if server.port() == 53 { server.ip().to_string() } else { server.to_string() };
        if self.role == Role::Target { format!("the DNS server {at}") } else { format!("the resolver {at}") }
    }
}

/// The RCODE's name (RFC 1035, RFC 6895).
pub(super) fn rcode_name(rcode: u16) -> String {
    match rcode {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        9 => "NOTAUTH".to_owned(),
        other => format!("RCODE {other}"),
    }
}

/// ` (extended error 22: No Reachable Authority)`, from the first answer that carries one.
pub(super) fn extended_error<'a>(answers: impl IntoIterator<Item = &'a DnsAnswer>) -> String {
    let first = answers.into_iter().find_map(|answer| answer.ede.first());
    match first {
        Some((code, text)) if text.is_empty() => format!(" (extended error {code})"),
        Some((code, text)) => format!(" (extended error {code}: {text})"),
        None => String::new(),
    }
}

/// Addresses for a sentence: at most three.
pub(super) fn list(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().take(3).map(ToString::to_string).collect();
    let more = if addresses.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// A first letter for the beginning of a sentence.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
