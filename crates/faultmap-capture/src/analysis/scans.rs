//! Connections that came to nothing, held back until it is clear what they are: who tries many services once or twice is searching, and a search is one
//! finding, not a thousand; who comes back again and again to the same one wants it, and misses it.

use super::book::Book;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Services tried in vain that make a scan. A browser or a crawler does not meet so many dead ones of one host, or one dead port on so many hosts.
const SCAN_FROM: usize = 15;
/// So many dead services without such a pattern are a search as well: peers of a swarm that are gone, addresses of a list that is old.
const SEARCH_FROM: usize = 4 * SCAN_FROM;
/// A scanner asks once, and again where it got no answer.
const ONCE_OR_TWICE: u32 = 2;
/// Who comes to a service so often in vain wants it.
const WANTED_FROM: u32 = 5;
/// The same where a search goes on beside, or at many ports of one host: watchers scan their network every hour, a swarm asks for lost peers again.
const WANTED_THOUGH_SEARCHING: u32 = 20;
/// A program that wants a host knows its ports.
const FEW_PORTS: usize = 8;
/// A service that so many clients came back to in vain is wanted, though none of them came often.
const CLIENTS: u32 = 3;

/// Clients that are watched.
const MOST_CLIENTS: usize = 4096;
/// Services remembered of each, and of all of them.
const MOST_SERVICES: usize = 256;
const MOST_SERVICES_OF_ALL: usize = 65_536;
/// Findings held back.
const MOST_HELD: usize = 16_384;

/// What one client had of one service: nothing.
#[derive(Default)]
struct Service {
    tries: u32,
    wanted: bool,
    held: Vec<Finding>,
}

#[derive(Default)]
struct Client {
    services: HashMap<SocketAddr, Service, RandomState>,
    wanted: usize,
    /// Of its search: by rule, the first finding, what all cite, and until when.
    rules: BTreeMap<&'static str, (Finding, Cited, Stamp)>,
}

/// Failed attempts by client.
#[derive(Default)]
pub(super) struct Scans {
    clients: HashMap<IpAddr, Client, RandomState>,
    services: usize,
    held: usize,
}

impl Scans {
    /// An attempt of `client` at `service` failed. What is no part of a search goes into the book, at once or when that is clear.
    pub(super) fn failed(&mut self, client: IpAddr, service: SocketAddr, finding: Finding, book: &mut Book) {
        if self.clients.len() >= MOST_CLIENTS && !self.clients.contains_key(&client) {
            return book.add(finding);
        }
        let known = self.clients.entry(client).or_default();
        if !known.services.contains_key(&service) {
            if known.services.len() >= MOST_SERVICES || self.services >= MOST_SERVICES_OF_ALL {
                return known.beyond(finding, book);
            }
            self.services += 1;
        }
        let state = known.services.entry(service).or_default();
        state.tries = state.tries.saturating_add(1);
        if state.wanted {
            return book.add(finding);
        }
        if self.held >= MOST_HELD {
            return known.beyond(finding, book);
        }
        state.held.push(finding);
        self.held += 1;
        if known.is_wanted(service) {
            self.held -= known.want(service, book);
        }
    }

    /// The capture is over: what is still held is a search, or it is not. Searches are told as one finding each, and one for each rule that matched.
    pub(super) fn finish(&mut self, book: &mut Book) {
        let shared = self.wanted_by_several();
        let mut clients: Vec<(IpAddr, Client)> = std::mem::take(&mut self.clients).into_iter().collect();
        clients.sort_by_key(|(address, _)| *address);
        let (mut due, mut sums) = (Vec::new(), Vec::new());
        for (address, mut client) in clients {
            for service in client.services.iter_mut().filter(|(at, _)| shared.contains(at)).map(|(_, service)| service) {
                service.wanted = true;
                due.append(&mut service.held);
            }
            let searches = client.searches(|service| !service.wanted);
            let held = client.services.values_mut().flat_map(|service| std::mem::take(&mut service.held));
            let held = in_order(held.collect());
            match searches {
                true => held.into_iter().for_each(|finding| client.sum_up(finding)),
                false => due.extend(held),
            }
            sums.extend(client.sum(address));
        }
        in_order(due).into_iter().chain(sums).for_each(|finding| book.add(finding));
    }

    /// Services that refused several clients, each of them more than once.
    fn wanted_by_several(&self) -> HashSet<SocketAddr, RandomState> {
        let mut came: HashMap<SocketAddr, u32, RandomState> = HashMap::default();
        let refused = |service: &Service| service.held.iter().filter(|finding| finding.rule == "tcp.syn-refused").count() > 1;
        for (at, _) in self.clients.values().flat_map(|client| &client.services).filter(|(_, service)| refused(service)) {
            *came.entry(*at).or_default() += 1;
        }
        came.into_iter().filter(|(_, clients)| *clients >= CLIENTS).map(|(at, _)| at).collect()
    }
}

/// As they happened: maps have no order that would be the same each time.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| a.first.cmp(&b.first).then(a.flow.cmp(&b.flow)).then(a.rule.cmp(b.rule)));
    findings
}

impl Client {
    /// It came to the service so often that no search explains it.
    fn is_wanted(&self, at: SocketAddr) -> bool {
        let tries = self.services.get(&at).map_or(0, |service| service.tries);
        let few_ports = || self.services.keys().filter(|other| other.ip() == at.ip()).count() <= FEW_PORTS;
        let often = tries >= WANTED_FROM && few_ports() && !self.searches(|service| service.tries <= ONCE_OR_TWICE);
        often || tries >= WANTED_THOUGH_SEARCHING
    }

    /// The service is wanted: what was held of it is told. How much that was.
    fn want(&mut self, at: SocketAddr, book: &mut Book) -> usize {
        let Some(service) = self.services.get_mut(&at) else { return 0 };
        service.wanted = true;
        self.wanted += 1;
        let held = std::mem::take(&mut service.held);
        let count = held.len();
        held.into_iter().for_each(|finding| book.add(finding));
        count
    }

    /// For one of which no more is remembered: it is as the others are.
    fn beyond(&mut self, finding: Finding, book: &mut Book) {
        let mostly_wanted = self.wanted * 2 > self.services.len();
        if mostly_wanted || !self.searches(|service| !service.wanted) { book.add(finding) } else { self.sum_up(finding) }
    }

    /// Of the services of this kind there are many ports of one host, one port of many hosts, or very many.
    fn searches(&self, kind: impl Fn(&Service) -> bool) -> bool {
        let tried = || self.services.iter().filter(|(_, service)| kind(service)).map(|(at, _)| at);
        if tried().count() >= SEARCH_FROM {
            return true;
        }
        let (mut hosts, mut ports) = (BTreeMap::<IpAddr, usize>::new(), BTreeMap::<u16, usize>::new());
        for service in tried() {
            *hosts.entry(service.ip()).or_default() += 1;
            *ports.entry(service.port()).or_default() += 1;
        }
        hosts.values().chain(ports.values()).any(|count| *count >= SCAN_FROM)
    }

    fn sum_up(&mut self, finding: Finding) {
        let (first, last) = (finding.cited.packets.first().copied(), finding.last);
        let (_, cited, until) = self.rules.entry(finding.rule).or_insert_with(|| (finding, Cited::default(), last));
        *until = (*until).max(last);
        if let Some(first) = first {
            cited.add(PacketNo(first));
        }
    }

    fn sum(self, client: IpAddr) -> Vec<Finding> {
        let tried: u64 = self.rules.values().map(|(_, cited, _)| cited.count).sum();
        let searched = self.services.iter().filter(|(_, service)| !service.wanted);
        let hosts: HashSet<IpAddr, RandomState> = searched.map(|(at, _)| at.ip()).collect();
        let mut sums: Vec<Finding> = self.rules.into_values().map(|(first, cited, last)| summed(first, cited, last, client)).collect();
        let Some(template) = sums.first() else { return sums };
        let (first, last) = (sums.iter().map(|sum| sum.first).min(), sums.iter().map(|sum| sum.last).max());
        let times = (first.unwrap_or_default(), last.unwrap_or_default());
        let cited = Cited { count: tried, ..template.cited.clone() };
        let text = format!("{client} tried {tried} connections to {} in vain: a scan", hosts_or_more(hosts.len()));
        let (layer, blames, value) = (Some(Layer::L4), Some(Party::Host(client)), Some(tried as f64));
        sums.push(Finding { layer, blames, value, ..Finding::of("tcp.scan", Weight::Note, times, cited, text) });
        sums
    }
}

/// As many as are remembered; there may be more.
fn hosts_or_more(count: usize) -> String {
    format!("{count} {} or more", if count == 1 { "host" } else { "hosts" })
}

fn summed(first: Finding, cited: Cited, last: Stamp, client: IpAddr) -> Finding {
    let what = match first.rule {
        "tcp.syn-refused" => "were refused",
        "tcp.syn-unanswered" => "got no answer",
        "tcp.synack-retransmit" | "tcp.handshake-incomplete" => "were answered, and not followed up",
        _ => "failed",
    };
    let text = format!("{} attempts of a scan by {client} {what}", cited.count);
    let value = Some(cited.count as f64);
    Finding { weight: Weight::Note, cause: None, flow: None, blames: None, cited, last, text, value, ..first }
}
