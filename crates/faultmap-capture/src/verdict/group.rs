//! Problems put before the judge, party by party, and gathered again by what the judge named: one dead dependency behind a hundred failed connects is
//! one group.

use super::advice;
use super::census::Census;
use super::filter::Shown;
use super::problem::{MOST_FLOWS, Problem, join};
use super::weigh::Weighed;
use crate::analysis::Outcome;
use crate::finding::{Cited, Party};
use crate::flow::{FlowId, Protocol};
use crate::packet::Stamp;
use faultmap_model::causes;
use faultmap_model::observation::{CaptureAnswer, CaptureFinding};
use faultmap_model::recording::{self, Header, Recording};
use faultmap_model::verdict::{Status, Where};
use faultmap_model::{Layer, Observation, Scheme, Seen, Target, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// So many services of one host with the same problem are told as one.
const MANY_SERVICES: usize = 5;
/// So many hosts with the same problem are told as one.
const MANY_HOSTS: usize = 5;
/// So many ports of one host, tried by one client, are a scan, unless it came back to each of them so often.
const SCAN: usize = 15;
const CAME_BACK: u64 = 5;

/// A likely cause stands clear of the next one if that has at most this share of its likelihood; as the judge has it.
const APART: f64 = 0.45;

/// How bad a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Works, but slow or at risk.
    Degraded,
    /// Failed, and more than one cause remains.
    Inconclusive,
    /// Failed, and the cause is known.
    Fault,
}

/// What is wrong with one party, or with several in the same way.
#[derive(Debug, Clone)]
pub struct Group {
    /// How bad.
    pub severity: Severity,
    /// The party at fault, in words.
    pub party: String,
    /// What the judge says of it.
    pub verdict: Verdict,
    /// Rules that matched.
    pub rules: BTreeSet<&'static str>,
    /// Flows concerned; their numbers, at most 1000.
    pub flows: BTreeSet<FlowId>,
    /// Of all exchanges or flows of the party, those concerned.
    pub share: Option<f64>,
    /// Packets that show it.
    pub cited: Cited,
    /// First and last time.
    pub first: Stamp,
    /// See `first`.
    pub last: Stamp,
    /// The Wireshark display filter that shows them.
    pub filter: String,
    shown: Shown,
    who: Party,
    parties: BTreeSet<Party>,
    times: u64,
    /// Flows beyond those in `flows`.
    pub more_flows: u64,
}

impl Group {
    /// The layer named.
    #[must_use]
    pub const fn layer(&self) -> Option<Layer> {
        self.verdict.layer
    }
}

/// Judges every party that has a problem; the groups, worst first.
pub(super) fn all(weighed: Vec<Weighed>, census: &Census, outcome: &Outcome) -> Vec<Group> {
    let mut hosts: BTreeMap<IpAddr, Vec<Weighed>> = BTreeMap::new();
    for one in weighed {
        hosts.entry(one.problem.party.ip()).or_default().push(one);
    }
    let mut groups: Vec<Group> = Vec::new();
    for problems in hosts.into_values() {
        for group in host(&problems, census, outcome) {
            match groups.iter_mut().find(|known| known.verdict.cause == group.verdict.cause && known.who == group.who) {
                Some(known) => known.join(group),
                None => groups.push(group),
            }
        }
    }
    let mut groups = gather_hosts(gather_services(groups, outcome, census));
    groups.iter_mut().for_each(|group| group.filter = group.shown.to_string());
    groups.sort_by(|a, b| b.rank().cmp(&a.rank()).then(a.first.cmp(&b.first)).then(a.party.cmp(&b.party)));
    groups
}

/// The problems of one host: those of each service beside those of the host as a whole.
fn host(problems: &[Weighed], census: &Census, outcome: &Outcome) -> Vec<Group> {
    let services: BTreeSet<Party> =
        problems.iter().map(|one| one.problem.party).filter(|party| matches!(party, Party::Service(_))).collect();
    let of_host = |one: &&Weighed| matches!(one.problem.party, Party::Host(_));
    if services.is_empty() {
        let Some(first) = problems.first() else { return Vec::new() };
        return rounds(problems.iter().collect(), first.problem.party, census, outcome);
    }
    let pool = |service: &Party| problems.iter().filter(|one| of_host(one) || one.problem.party == *service).collect();
    services.iter().flat_map(|service| rounds(pool(service), *service, census, outcome)).collect()
}

/// The judge names a cause; what it explains is told with it; what remains is judged anew.
fn rounds(mut pool: Vec<&Weighed>, party: Party, census: &Census, outcome: &Outcome) -> Vec<Group> {
    let mut groups = Vec::new();
    while !pool.is_empty() {
        let verdict = faultmap_model::judge::judge(&recording(&pool, party, census, outcome));
        let Some(named) = pool.iter().copied().find(|one| Some(one.problem.cause.id) == verdict.cause.as_deref()) else { break };
        let (explained, left): (Vec<&Weighed>, Vec<&Weighed>) = pool.into_iter().partition(|one| explains(named, one));
        let mut group = Group::of(named, &explained, verdict, outcome, census);
        leave_open(&mut group.verdict, &explained);
        groups.push(group);
        pool = left;
    }
    groups
}

/// What works at risk for one of the causes that one rule leaves, and none of them stands clear, is as undecided as what failed so.
fn leave_open(verdict: &mut Verdict, explained: &[&Weighed]) {
    let [likeliest, next, ..] = &verdict.candidates[..] else { return };
    let guess = |cause: &str| explained.iter().map(|one| &one.problem).find(|problem| problem.cause.id == cause && !problem.proven);
    let alternatives = guess(&likeliest.cause).zip(guess(&next.cause)).is_some_and(|(a, b)| a.rule == b.rule);
    if verdict.status != Status::Degraded || !alternatives || next.confidence <= likeliest.confidence * APART {
        return;
    }
    let titles: Vec<&str> = verdict.candidates.iter().take(4).filter_map(|one| causes::find(&one.cause)).map(|cause| cause.title).collect();
    verdict.status = Status::Inconclusive;
    verdict.summary = format!("{} It is one of: {}.", verdict.summary, titles.join("; "));
}

/// What failed because of the named problem: what stands above it in the same flows, and all else of a host that cannot be reached at all.
fn explains(named: &Weighed, other: &Weighed) -> bool {
    let (a, b) = (&named.problem, &other.problem);
    let root = named.breaks && a.proven && a.cause.layer <= Layer::L3 && other.breaks && b.cause.layer >= a.cause.layer;
    let same = a.cause.id == b.cause.id && a.party == b.party;
    same || root || (a.flows.is_empty() && b.flows.is_empty()) || !a.flows.is_disjoint(&b.flows)
}

/// What the packets show of a party, as the judge reads it.
fn recording(pool: &[&Weighed], party: Party, census: &Census, outcome: &Outcome) -> Recording {
    let failed: BTreeSet<FlowId> = pool.iter().filter(|one| one.breaks).flat_map(|one| one.problem.flows.iter().copied()).collect();
    let mut seen: Vec<Seen> = pool.iter().map(|one| finding(one).into()).collect();
    // What other flows were answered proves the road to the service. An answer in the failing flows themselves is told by the findings.
    if let Some((layer, flow)) = census.party(party).and_then(|tally| tally.highest)
        && (failed.is_empty() || !failed.contains(&flow))
    {
        seen.push(CaptureAnswer { layer: layer.min(Layer::L4), flow: flow.0 }.into());
    }
    let observe = |(id, seen): (usize, Seen)| Observation { id: id as u32 + 1, layer: seen.layer(), at_ms: 0.0, took_ms: 0.0, seen };
    let first = outcome.totals.first.unwrap_or_default();
    let header = Header {
        schema: recording::SCHEMA.to_owned(),
        target: target(party, pool, census, outcome),
        started_unix_ms: first.0 / 1_000_000,
        total_ms: outcome.totals.duration_ms(),
        cut_short: false,
        privileges: Vec::new(),
        expect: recording::Expect::default(),
        from: None,
    };
    Recording { header, observations: seen.into_iter().enumerate().map(observe).collect() }
}

fn finding(one: &Weighed) -> CaptureFinding {
    let problem = &one.problem;
    CaptureFinding {
        rule: problem.rule.to_owned(),
        cause: problem.cause.id.to_owned(),
        proven: problem.proven,
        confidence: problem.confidence,
        breaks: one.breaks,
        // A finding is of packets that were sent and seen: it holds whatever others were answered. Only what was guessed from silence gives way.
        despite_answers: problem.proven || says_nothing_of(problem),
        side: side(problem.cause.layer, problem.party),
        at: words(problem.party),
        summary: sentence(one),
        packets: problem.cited.packets.clone(),
        count: problem.cited.count,
        flows: problem.flows.len() as u64,
        decides: problem.decides.clone(),
    }
}

/// What others were answered says nothing of it: small packets that pass of large ones that do not, and answers that go by here of whether they arrive.
fn says_nothing_of(problem: &Problem) -> bool {
    matches!(problem.rule, "dns.large-answer-lost" | "dns.answers-lost" | "tcp.synack-unheard")
        || matches!(problem.cause.id, "l3.pmtu-blackhole" | "l2.mtu-mismatch")
}

const fn side(layer: Layer, party: Party) -> Where {
    match (layer, party) {
        (Layer::L1 | Layer::L2 | Layer::L3, Party::Host(_)) => Where::Path,
        _ => Where::Remote,
    }
}

/// The finding's own words, and how often it was so.
fn sentence(one: &Weighed) -> String {
    let problem = &one.problem;
    let mut text = problem.text.trim_end_matches('.').to_owned();
    // An address stays as it is written.
    let word = text.split(' ').next().is_some_and(|word| word.chars().all(char::is_alphabetic));
    if let Some(first) = text.get(..1).map(str::to_uppercase).filter(|_| word) {
        text.replace_range(..1, &first);
    }
    let place = words(problem.party);
    let named = matches!(problem.party, Party::Service(at) if !text.contains(&at.ip().to_string()));
    let place = if named { format!(" ({place})") } else { String::new() };
    let flows = problem.concerned();
    let often = match (problem.weighed || !problem.decides.is_empty(), problem.times) {
        (true, _) | (_, 0 | 1) => String::new(),
        // Several rules that tell of one event.
        (false, times) if times <= problem.rules() => String::new(),
        (false, times) if flows > 1 => format!("; {times} times in {flows} flows"),
        (false, times) => format!("; {times} times"),
    };
    format!("{text}{place}{often}.")
}

fn words(party: Party) -> String {
    match party {
        Party::Host(ip) => ip.to_string(),
        Party::Service(at) if at.port() == 0 => at.ip().to_string(),
        Party::Service(at) => at.to_string(),
    }
}

/// The party as a target of `faultmap check`, so that advice names it so.
fn target(party: Party, pool: &[&Weighed], census: &Census, outcome: &Outcome) -> Target {
    let (ip, port) = match party {
        Party::Host(ip) => (ip, 0),
        Party::Service(at) => (at.ip(), at.port()),
    };
    let flow = pool.iter().flat_map(|one| one.problem.flows.iter()).find_map(|id| census.flow(outcome, *id));
    let udp = flow.is_some_and(|flow| flow.protocol == Protocol::Udp);
    let app = flow.and_then(|flow| flow.app);
    let scheme = match app.and_then(scheme) {
        _ if port == 0 => Scheme::Icmp,
        Some(scheme) if flow.is_some_and(|flow| flow.decrypted) => secured(scheme, port),
        Some(scheme) => scheme,
        None if udp => Scheme::Udp,
        None => Scheme::Tcp,
    };
    let host = ip.to_string();
    let shown = if ip.is_ipv6() { format!("[{host}]") } else { host.clone() };
    let input = if port == 0 { format!("icmp://{shown}") } else { format!("{}://{shown}:{port}", scheme.name()) };
    Target { input, scheme, host, port, path: String::new() }
}

/// The same inside TLS, where it does not begin TLS itself.
const fn secured(scheme: Scheme, port: u16) -> Scheme {
    match scheme {
        Scheme::Http => Scheme::Https,
        Scheme::Ws => Scheme::Wss,
        Scheme::Grpc => Scheme::Grpcs,
        Scheme::Redis => Scheme::Rediss,
        Scheme::Amqp => Scheme::Amqps,
        Scheme::Mqtt => Scheme::Mqtts,
        Scheme::Smtp if port == 465 => Scheme::Smtps,
        Scheme::Dns => Scheme::Tls,
        other => other,
    }
}

fn scheme(app: &str) -> Option<Scheme> {
    Some(match app {
        "http" | "h2" => Scheme::Http,
        "https" => Scheme::Https,
        "tls" | "quic" => Scheme::Tls,
        "dns" => Scheme::Dns,
        "postgres" => Scheme::Postgres,
        "mysql" => Scheme::Mysql,
        "redis" => Scheme::Redis,
        "smtp" => Scheme::Smtp,
        "ssh" => Scheme::Ssh,
        "amqp" => Scheme::Amqp,
        "mqtt" => Scheme::Mqtt,
        "grpc" => Scheme::Grpc,
        "websocket" => Scheme::Ws,
        _ => return None,
    })
}

impl Group {
    fn of(named: &Weighed, explained: &[&Weighed], verdict: Verdict, outcome: &Outcome, census: &Census) -> Self {
        let problem = &named.problem;
        let udp = problem.flows.iter().next().and_then(|id| census.flow(outcome, *id)).is_some_and(|flow| flow.protocol == Protocol::Udp);
        let severity = match verdict.status {
            Status::Fault => Severity::Fault,
            Status::Inconclusive => Severity::Inconclusive,
            Status::Degraded | Status::Healthy => Severity::Degraded,
        };
        let mut group = Self {
            severity,
            party: words(problem.party),
            verdict,
            rules: explained.iter().map(|one| one.problem.rule).collect(),
            flows: explained.iter().flat_map(|one| one.problem.flows.iter().copied()).collect(),
            share: named.share,
            cited: problem.cited.clone(),
            first: problem.first,
            last: problem.last,
            filter: String::new(),
            shown: Shown::of(problem.rule, problem.party, udp, &problem.cited, problem.cause.id),
            who: problem.party,
            parties: BTreeSet::from([problem.party]),
            more_flows: problem.concerned().saturating_sub(problem.flows.len() as u64),
            times: problem.times.max(problem.flows.len() as u64).max(tries(problem)),
        };
        let mut flows = explained.iter().flat_map(|one| &one.problem.flows).filter_map(|id| census.flow(outcome, *id));
        let name = flows.find_map(|flow| flow.server_name.as_deref());
        advice::fit(&mut group.verdict, problem, name, outcome);
        if group.cited.packets.is_empty() {
            group.cited = Cited::default();
            explained.iter().for_each(|one| join(&mut group.cited, &one.problem.cited));
        }
        group
    }

    fn join(&mut self, other: Self) {
        if other.severity > self.severity {
            self.severity = other.severity;
            self.verdict = other.verdict;
            self.share = other.share;
        }
        self.times = self.times.saturating_add(other.times);
        self.more_flows = self.more_flows.saturating_add(other.more_flows);
        self.rules.extend(other.rules);
        self.flows.extend(other.flows);
        while self.flows.len() > MOST_FLOWS {
            self.flows.pop_last();
        }
        if self.cited != other.cited {
            join(&mut self.cited, &other.cited);
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.parties.extend(other.parties);
        self.shown.join(other.shown);
    }

    /// What failed before what is at risk; what keeps a whole segment from talking first; then how much it concerns; what is known before what is
    /// not; then the lower layer.
    fn rank(&self) -> (bool, bool, u32, Severity, std::cmp::Reverse<Option<Layer>>) {
        const ROOTS: [&str; 4] = ["l2.gateway-unresolved", "l2.duplicate-address", "l1.bit-errors", "l3.routing-loop"];
        let root = self.verdict.cause.as_deref().is_some_and(|cause| ROOTS.contains(&cause));
        let failed = self.severity > Severity::Degraded;
        (failed, root && failed, self.times.checked_ilog2().unwrap_or(0), self.severity, std::cmp::Reverse(self.verdict.layer))
    }
}

/// A question without an answer concerns as many packets as it had tries, though it is one.
fn tries(problem: &Problem) -> u64 {
    if problem.rule == "dns.timeout" { problem.cited.count } else { 0 }
}

/// The same problem at many services of one host is one of the host.
fn gather_services(groups: Vec<Group>, outcome: &Outcome, census: &Census) -> Vec<Group> {
    let key = |group: &Group| match group.who {
        Party::Service(at) => Some((group.severity, group.verdict.cause.clone(), at.ip())),
        Party::Host(_) => None,
    };
    gather(groups, MANY_SERVICES, key, |group, (_, _, ip)| {
        let ports = group.parties.len();
        group.who = Party::Host(*ip);
        group.party = format!("{ip} ({ports} ports)");
        group.shown = Shown::host(*ip);
        let clients: BTreeSet<IpAddr> =
            group.flows.iter().filter_map(|id| census.flow(outcome, *id)).map(|flow| flow.client.ip()).collect();
        let came_back = group.times >= CAME_BACK.saturating_mul(ports as u64);
        let scanner = clients.first().filter(|_| clients.len() == 1 && ports >= SCAN && !came_back);
        group.verdict.summary = match scanner {
            Some(client) => {
                format!("{client} tried {ports} ports of {ip}: a scan, not a service that fails. First: {}", group.verdict.summary)
            }
            None => format!("{ports} ports of {ip} have the same problem. First: {}", group.verdict.summary),
        };
        if let Some(scanner) = scanner {
            advice::scan(&mut group.verdict, *scanner);
            group.severity = Severity::Degraded;
            group.verdict.status = Status::Degraded;
        }
    })
}

/// The same problem at many hosts is one group.
fn gather_hosts(groups: Vec<Group>) -> Vec<Group> {
    gather(
        groups,
        MANY_HOSTS,
        |group| Some((group.severity, group.verdict.cause.clone())),
        |group, _| {
            let hosts = group.parties.len();
            let named: Vec<String> = group.parties.iter().take(3).map(|party| words(*party)).collect();
            group.party = format!("{hosts} parties: {}, …", named.join(", "));
            group.verdict.summary = format!("{hosts} parties have the same problem. First: {}", group.verdict.summary);
        },
    )
}

/// Joins groups of one key where there are at least `many`.
fn gather<K: Ord>(groups: Vec<Group>, many: usize, key: impl Fn(&Group) -> Option<K>, told: impl Fn(&mut Group, &K)) -> Vec<Group> {
    let mut alone = Vec::new();
    let mut kinds: BTreeMap<K, Vec<Group>> = BTreeMap::new();
    for group in groups {
        match key(&group) {
            Some(key) => kinds.entry(key).or_default().push(group),
            None => alone.push(group),
        }
    }
    for (key, kind) in kinds {
        if kind.len() < many {
            alone.extend(kind);
            continue;
        }
        let joined = kind.into_iter().reduce(|mut joined, group| {
            joined.join(group);
            joined
        });
        if let Some(mut group) = joined {
            told(&mut group, &key);
            alone.push(group);
        }
    }
    alone
}
