//! From the target's name to addresses, with every resolver asked beside the system's own way.

use super::{Check, edns, wanted};
use crate::dns::{self, DnsAsk};
use crate::questions::{ConnectAsk, connect};
use faultmap_model::observation::{DnsAnswer, DnsConfig, DnsOutcome, DnsQuery, RecordType, Role, SystemLookup, Transport};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Resolvers beyond this are not used by the C library either (resolv.conf(5) MAXNS is 3).
const MOST_RESOLVERS: usize = 3;
/// Domains of the search list that are tried; as many as the C library knew for thirty years (MAXDNSRCH of resolv.h).
const MOST_SEARCHED: usize = 6;
/// Addresses beyond this are not tried.
const MOST_ADDRESSES: usize = 8;
/// A resolver that has not answered by then gets its path examined.
const RESOLVER_SUSPECT: Duration = Duration::from_millis(1_100);
/// When the system has answered, a silent resolver is waited for only this long.
const GRACE: Duration = Duration::from_millis(2_500);
/// After the last direct answer, the system lookup gets this much more.
const SYSTEM_GRACE: Duration = Duration::from_millis(400);

/// Addresses to try, and the questions to resolvers that are still under way.
pub(super) struct Resolved<'f> {
    /// In the order of RFC 8305.
    pub(super) addresses: Vec<IpAddr>,
    /// Completes when the remaining resolvers have answered or were waited for.
    pub(super) rest: LocalBoxFuture<'f, ()>,
    /// What the resolvers said, whatever the system used.
    pub(super) direct: Rc<Direct>,
}

/// What the direct questions have told so far.
#[derive(Default)]
pub(super) struct Direct {
    addresses: RefCell<Vec<IpAddr>>,
    system_done: Cell<bool>,
}

impl Direct {
    /// Keeps what the owners of the name say beside what resolvers say.
    pub(super) fn learn(&self, addresses: &[IpAddr]) {
        let mut known = self.addresses.borrow_mut();
        for address in addresses {
            if !known.contains(address) {
                known.push(*address);
            }
        }
    }
}

impl<'a> Check<'a> {
    /// Resolves a host, the target's or the proxy's; a literal needs no resolver.
    pub(super) async fn resolve<'s>(&'s self, host: &'s str) -> Resolved<'s> {
        if let Some(ip) = literal(host) {
            return Resolved { addresses: vec![ip], rest: async {}.boxed_local(), direct: Rc::default() };
        }
        let asked = Instant::now();
        let config = dns::config();
        let hosts = dns::hosts(host);
        self.rec.note(asked, config.clone());
        let in_hosts = !hosts.addresses.is_empty();
        self.rec.note(asked, hosts.clone());

        let direct = Rc::new(Direct::default());
        let mut rest = self.ask_resolvers(host, config, Rc::clone(&direct)).boxed_local();
        let system = self.ask_system(host);
        tokio::pin!(system);
        let lookup = tokio::select! {
            lookup = &mut system => Some(lookup),
            () = &mut rest => {
                rest = async {}.boxed_local();
                tokio::time::timeout(SYSTEM_GRACE, &mut system).await.ok()
            }
        };
        direct.system_done.set(lookup.as_ref().is_some_and(|lookup| !lookup.addresses.is_empty()));
        let lookup = lookup.unwrap_or_else(|| self.gave_up_on_system(host, asked));
        if lookup.addresses.is_empty() && !in_hosts {
            // The name did not resolve: the direct answers say why, so wait for all of them.
            rest.await;
            rest = async {}.boxed_local();
        }
        let mut addresses = match (lookup.addresses.is_empty(), in_hosts) {
            (false, _) => lookup.addresses,
            (true, true) => hosts.addresses,
            (true, false) => direct.addresses.borrow().clone(),
        };
        addresses.retain(|address| wanted(self.options, address));
        let mut addresses = dns::happy_eyeballs_order(&addresses);
        addresses.truncate(MOST_ADDRESSES);
        Resolved { addresses, rest, direct }
    }

    /// The addresses that were used fail, and DNS names others: does the service answer there?
    pub(super) async fn try_what_dns_says(&self, used: &[IpAddr], direct: &Direct) {
        let others: Vec<IpAddr> =
            direct.addresses.borrow().iter().filter(|ip| !used.contains(ip) && wanted(self.options, ip)).copied().collect();
        if !self.target.scheme.uses_tcp() || self.something_connected() {
            return;
        }
        let ask = |ip: IpAddr| async move {
            self.approach(ip, Role::Control);
            let ask = ConnectAsk::new(SocketAddr::new(ip, self.near_port()), Role::Control, self.within(Duration::from_millis(1_200)));
            self.rec.ask(async { connect(&ask).await.0 }).await;
        };
        join_all(others.into_iter().take(2).map(ask)).await;
    }

    async fn ask_system(&self, host: &str) -> SystemLookup {
        let wait = self.within(self.options.dns_wait);
        self.rec.ask(dns::system(host, wait)).await
    }

    /// getaddrinfo goes on for a long time when resolvers are silent; the direct answers are complete, so it is left.
    fn gave_up_on_system(&self, host: &str, asked: Instant) -> SystemLookup {
        let lookup = SystemLookup { name: host.to_owned(), addresses: Vec::new(), error: Some("timeout".to_owned()) };
        self.rec.note(asked, lookup.clone());
        lookup
    }

    async fn ask_resolvers(&self, host: &str, config: DnsConfig, direct: Rc<Direct>) {
        let names = query_names(host, &config);
        let asks = config.resolvers.iter().take(MOST_RESOLVERS).map(|resolver| self.ask_resolver(*resolver, &names, &direct));
        join_all(asks).await;
    }

    async fn ask_resolver(&self, resolver: SocketAddr, names: &[String], direct: &Direct) {
        self.approach(resolver.ip(), Role::Resolver);
        let answered = Cell::new(false);
        let questions = async {
            for name in names {
                let (v4, v6) = tokio::join!(
                    self.ask_type(resolver, name, RecordType::A, direct),
                    self.ask_type(resolver, name, RecordType::Aaaa, direct)
                );
                if v4.is_some() || v6.is_some() {
                    answered.set(true);
                }
                let found = [v4, v6].into_iter().flatten().any(|answer| !answer.addresses.is_empty());
                if found || !answered.get() {
                    break;
                }
            }
        };
        let path = async {
            tokio::time::sleep(RESOLVER_SUSPECT).await;
            if !answered.get() {
                Box::pin(self.split_resolver(resolver)).await;
            }
        };
        tokio::pin!(questions, path);
        tokio::select! {
            () = &mut questions => {
                // An error that came at once (no route, closed port) still wants its path examined.
                if !answered.get() {
                    if self.rec.look(|seen| super::split::already_split(seen, resolver.ip())) { path.await } else { Box::pin(self.split_resolver(resolver)).await }
                }
            }
            () = &mut path => questions.await,
        }
    }

    /// One type, with the questions that its answer calls for: TCP when truncated, CD when the resolver fails.
    async fn ask_type(&self, resolver: SocketAddr, name: &str, record_type: RecordType, direct: &Direct) -> Option<DnsAnswer> {
        let ask = DnsAsk::new(resolver, Role::Resolver, Transport::Udp, name, record_type);
        let (first, plain) = self.or_without_edns(&ask, self.ask_once(resolver, name, record_type, false, GRACE)).await;
        let silent = first.as_ref().is_some_and(edns::silent);
        let more = self.options.dns_wait.saturating_sub(GRACE);
        let last = if silent && plain.is_none() && !direct.system_done.get() && !more.is_zero() {
            self.ask_once(resolver, name, record_type, false, more).await
        } else {
            first
        }?;
        let answered = match last.outcome {
            DnsOutcome::Answer(answer) => Some(answer),
            _ => None,
        };
        let answer = plain.or(answered)?;
        if answer.rcode == 2 {
            self.ask_once(resolver, name, record_type, true, Duration::from_secs(2)).await;
        }
        direct.learn(&answer.addresses);
        Some(answer)
    }

    /// UDP, then TCP when truncated. Gives the last answer.
    async fn ask_once(&self, resolver: SocketAddr, name: &str, record_type: RecordType, cd: bool, wait: Duration) -> Option<DnsQuery> {
        let asked = Instant::now();
        let ask = DnsAsk {
            checking_disabled: cd,
            wait: self.within(wait),
            ..DnsAsk::new(resolver, Role::Resolver, Transport::Udp, name, record_type)
        };
        let answers = dns::query_with_fallback(&ask).await;
        for answer in &answers {
            self.rec.note(asked, answer.clone());
        }
        if answers.len() > 1 && !answers.last().is_some_and(|query| matches!(query.outcome, DnsOutcome::Answer(_))) {
            self.ask_for_large(&ask, &answers).await;
        }
        answers.into_iter().last()
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.split('%').next().and_then(|host| host.parse().ok())
}

/// The name as the C library would ask it: a name with fewer dots than `ndots` gets the search list first (resolv.conf(5)).
fn query_names(host: &str, config: &DnsConfig) -> Vec<String> {
    let dots = host.trim_end_matches('.').matches('.').count();
    let bare = host.trim_end_matches('.').to_owned();
    let mut names: Vec<String> = Vec::new();
    if dots < usize::from(config.ndots) && !host.ends_with('.') {
        names.extend(
            config
                .search
                .iter()
                .filter(|domain| !domain.is_empty() && *domain != ".")
                .take(MOST_SEARCHED)
                .map(|domain| format!("{bare}.{}", domain.trim_end_matches('.'))),
        );
    }
    names.push(bare);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, search: &[&str], ndots: u8, expect: &[&str]) {
        let search = search.iter().map(|domain| (*domain).to_owned()).collect();
        let config = DnsConfig { resolvers: Vec::new(), search, ndots, source: String::new() };
        assert_eq!(query_names(host, &config), expect);
    }

    #[test]
    fn the_search_list_is_tried_before_a_name_with_few_dots() {
        check("db", &["svc.test"], 1, &["db.svc.test", "db"]);
        check("db.svc", &["test"], 5, &["db.svc.test", "db.svc"]);
        check("shop.test", &["svc.test"], 1, &["shop.test"]);
        check("shop.", &["svc.test"], 1, &["shop"]);
    }
}
