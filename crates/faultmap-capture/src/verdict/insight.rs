//! What only several connections together show: a name that is refused while others are served, a long hello that is lost while short ones arrive, somebody in
//! between who answers for everybody, a service of another protocol than most clients speak. Each is a problem that explains what was found in its connections.

use super::documents::is_nobodys;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::record::State;
use crate::flow::{FlowId, FlowRecord, Protocol};
use faultmap_model::causes;
use faultmap_model::verdict::NextStep;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// A hello beyond this takes two segments on most paths (1500 bytes less the headers of IPv6 and TCP).
const ONE_SEGMENT: u32 = 1380;
/// A router asks three times for a neighbour, a second apart, before it gives up (RFC 4861 §10; Linux asks so for IPv4, too).
const NEIGHBOUR_MS: f64 = 4000.0;
/// So many handshakes that a client broke off after the certificate are no change of mind.
const REFUSALS: usize = 3;
/// A silence as long as this is no slowness, in milliseconds: clients give up after it.
const MUTE_MS: f64 = 5000.0;
/// Causes of encrypted refusals that only the client could tell apart.
pub(super) const CERTIFICATE: [(&str, f64); 4] =
    [("l6.cert-untrusted-ca", 0.5), ("l6.cert-wrong-host", 0.4), ("l6.cert-expired", 0.35), ("l6.tls-intercepted", 0.3)];

/// What was understood: the problems, and the connections whose own findings they replace.
#[derive(Default)]
pub(super) struct Insights {
    pub(super) problems: Vec<Problem>,
    pub(super) explained: BTreeSet<FlowId>,
}

/// Handshakes that a client broke off, and how many it did not.
type BrokenOff<'a> = (Vec<&'a FlowRecord>, usize);

/// All of them.
pub(super) fn all(outcome: &Outcome) -> Insights {
    let mut insights = Insights::default();
    let mut services: BTreeMap<SocketAddr, Vec<&FlowRecord>> = BTreeMap::new();
    for flow in outcome.flows.iter().filter(|flow| flow.protocol == Protocol::Tcp) {
        services.entry(flow.server).or_default().push(flow);
    }
    insights.interposed(outcome, &services);
    for (server, flows) in &services {
        insights.hellos(*server, flows, outcome);
        insights.protocols(*server, flows, outcome);
        insights.promised(*server, flows, outcome);
        insights.refusals(*server, flows, outcome);
        insights.silences(*server, flows, outcome);
    }
    insights
}

/// What became of a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    /// The server said something to it.
    Answered,
    /// Closed, reset, or no answer until the client went.
    Refused,
}

fn hello(flow: &FlowRecord) -> Option<Hello> {
    flow.hello_bytes.filter(|_| flow.is_tls())?;
    // Who goes at once has changed its mind: that is no finding.
    let refused = is_found(flow, "tls.no-server-hello") || is_found(flow, "tls.closed-in-handshake");
    match flow.bytes.server {
        1.. => Some(Hello::Answered),
        0 if refused => Some(Hello::Refused),
        0 => None,
    }
}

/// A router said so within the time that it takes to ask for a neighbour: of the very packets that had just been answered. A host that dies later is told
/// of later.
fn told_unreachable(flow: &FlowRecord, outcome: &Outcome) -> bool {
    let Some(answered) = flow.tcp.and_then(|tcp| tcp.handshake.syn_ack) else { return false };
    let said =
        |finding: &&Finding| finding.flow == Some(flow.id) && matches!(finding.rule, "icmp.net-unreachable" | "icmp.host-unreachable");
    outcome
        .findings
        .iter()
        .filter(said)
        .any(|finding| finding.weight >= Weight::Warning && finding.first.ms_since(answered.at()) < NEIGHBOUR_MS)
}

fn is_found(flow: &FlowRecord, rule: &str) -> bool {
    flow.findings.iter().any(|found| found.rule == rule && found.weight >= Weight::Warning)
}

/// Nothing of the segments was lost on the way: the hello arrived, and its sender was told so.
fn arrived(flow: &FlowRecord) -> bool {
    flow.tcp.as_ref().is_some_and(|tcp| tcp.sides.client.retransmits.needed() == 0)
}

impl Insights {
    /// With what else was understood, of connections that are not explained already.
    pub(super) fn join(&mut self, others: Vec<Problem>) {
        for problem in others {
            if problem.flows.is_disjoint(&self.explained) {
                self.add(problem);
            }
        }
    }

    fn add(&mut self, problem: Problem) {
        self.explained.extend(problem.flows.iter().copied());
        self.problems.push(problem);
    }

    /// One name is refused, others are served; or long hellos are lost, and short ones for the same name served.
    fn hellos(&mut self, server: SocketAddr, flows: &[&FlowRecord], outcome: &Outcome) {
        let (mut refused, mut served) = (Vec::new(), Vec::new());
        for flow in flows.iter().filter(|flow| !self.explained.contains(&flow.id)) {
            match hello(flow) {
                Some(Hello::Refused) => refused.push(*flow),
                Some(Hello::Answered) => served.push(*flow),
                None => {}
            }
        }
        let Some(name) = refused.first().and_then(|flow| flow.server_name.as_deref()) else { return };
        if served.is_empty() || !refused.iter().all(|flow| flow.server_name.as_deref() == Some(name)) {
            return;
        }
        let same: Vec<&&FlowRecord> = served.iter().filter(|flow| flow.server_name.as_deref() == Some(name)).collect();
        let silent = refused.iter().all(|flow| is_found(flow, "tls.no-server-hello"));
        let how = if silent { "meets silence" } else { "is cut off" };
        let least = refused.iter().filter_map(|flow| flow.hello_bytes).min().unwrap_or(0);
        if same.is_empty() && least <= ONE_SEGMENT {
            let others: BTreeSet<&str> = served.iter().map(|flow| flow.server_name.as_deref().unwrap_or("no name")).take(3).collect();
            let others: Vec<&str> = others.into_iter().collect();
            let text = format!(
                "a ClientHello for {name} {how}, {} times of {}; one for {} is answered",
                refused.len(),
                refused.len(),
                others.join(", ")
            );
            let confidence = if refused.len() > 1 { 0.93 } else { 0.75 };
            return self.told("tls.name-refused", "l6.sni-rejected", (server, &refused), (confidence, true), text, outcome);
        }
        let most = same.iter().filter_map(|flow| flow.hello_bytes).max().unwrap_or(u32::MAX);
        if !same.is_empty() && least > ONE_SEGMENT && most < least && refused.len() > 1 && refused.iter().all(|flow| arrived(flow)) {
            let text = format!(
                "a ClientHello of {least} bytes for {name} {how}, {} times; one of {most} bytes is answered: somebody on the way, or the server, cannot \
                 put a hello together that comes in several segments",
                refused.len()
            );
            self.told("tls.long-hello", "l6.tls-handshake-stalled", (server, &refused), (0.9, true), text, outcome);
        }
    }

    /// Somebody in between answers for hosts that are not there: an address of documents shakes hands, or a router says that there is no way to somebody
    /// who has just done so.
    fn interposed(&mut self, outcome: &Outcome, services: &BTreeMap<SocketAddr, Vec<&FlowRecord>>) {
        let shook = |flow: &&&FlowRecord| flow.tcp.is_some_and(|tcp| tcp.handshake.syn_ack.is_some());
        let flows = || services.values().flatten();
        let unreachable = |flow: &FlowRecord| told_unreachable(flow, outcome);
        let Some(ghost) =
            flows().filter(shook).find(|flow| flow.bytes.server == 0 && (is_nobodys(flow.server.ip(), outcome) || unreachable(flow)))
        else {
            return;
        };
        let client = ghost.client.ip();
        let hollow = |flow: &&&FlowRecord| {
            let closed = matches!(flow.state, State::Rstr | State::Sf | State::S3 | State::S2 | State::S1 | State::Rsto);
            shook(flow) && closed && flow.bytes.server == 0 && flow.client.ip() == client
        };
        for (server, of_service) in services {
            let hollow: Vec<&FlowRecord> = of_service.iter().filter(hollow).copied().collect();
            let asked = hollow.iter().any(|flow| flow.bytes.client > 0);
            if !asked || hollow.len() < of_service.iter().filter(|flow| flow.client.ip() == client).count() {
                continue;
            }
            let why =
                if is_nobodys(ghost.server.ip(), outcome) { "an address that nobody has" } else { "which a router says cannot be reached" };
            let text = format!(
                "something on the way answers every handshake: {}, {why}, shook hands, too, and {server} never said a byte",
                ghost.server.ip()
            );
            let mut all = hollow;
            if !all.iter().any(|flow| flow.id == ghost.id) {
                all.push(ghost);
            }
            self.told("tcp.interposed", "l4.interposed-proxy", (*server, &all), (0.9, true), text, outcome);
        }
        // What else was asked only to see who answers says the same.
        let others: Vec<FlowId> = flows().filter(hollow).filter(|flow| flow.bytes.client == 0).map(|flow| flow.id).collect();
        if !self.problems.is_empty() {
            self.explained.extend(others);
        }
    }

    /// Who speaks one protocol is answered, who speaks another is hung up on.
    fn protocols(&mut self, server: SocketAddr, flows: &[&FlowRecord], outcome: &Outcome) {
        let family = |flow: &FlowRecord| match flow.app? {
            // Whatever is in it.
            _ if flow.decrypted => Some("tls"),
            "http" | "h2" | "grpc" | "websocket" => Some("http"),
            // Its tunnel may hold anything.
            "socks" => None,
            app => Some(app),
        };
        let chose = |flow: &FlowRecord| {
            flow.is_tls()
                && flow.exchanges.first_failing.iter().any(|one| one.question.starts_with("ClientHello") && one.answered_in.is_some())
        };
        let answered = |flow: &&&FlowRecord| well(flow) > 0 || chose(flow);
        let spoken: BTreeSet<&str> = flows.iter().filter(answered).filter_map(|flow| family(flow)).collect();
        let [spoken] = spoken.into_iter().collect::<Vec<_>>()[..] else { return };
        let hung_up = |flow: &&&FlowRecord| {
            let closed =
                flow.findings.iter().any(|found| found.rule.ends_with(".closed-without-answer") || found.rule == "tls.closed-in-handshake");
            closed && flow.bytes.server == 0 && flow.exchanges.count == 1 && family(flow).is_some_and(|own| own != spoken)
        };
        let strangers: Vec<&FlowRecord> = flows.iter().filter(hung_up).filter(|flow| !self.explained.contains(&flow.id)).copied().collect();
        let Some(first) = strangers.first() else { return };
        let own = family(first).unwrap_or_default();
        // Who tries many protocols at a port where the usual one is spoken wants to find out what it is.
        let usual = crate::app::usual_at(server.port());
        let out_of_place = usual.is_some_and(|usual| usual != spoken && (usual == own || own_is_rare(usual)));
        if !out_of_place {
            return;
        }
        let cause = match (own, spoken) {
            ("tls", _) => "l6.plaintext-on-tls-port",
            (_, "tls") => "l6.tls-on-plaintext-port",
            _ => "l7.protocol-mismatch",
        };
        // TLS is asked for by those who try what a plain service is; the others tell more.
        let telling = strangers.iter().find(|flow| family(flow) != Some("tls")).copied();
        let (own, cause) = match telling {
            Some(flow) if cause == "l6.plaintext-on-tls-port" => (family(flow).unwrap_or_default(), "l7.protocol-mismatch"),
            _ => (own, cause),
        };
        let text = format!("the service speaks {spoken}: who spoke {spoken} was answered, who spoke {own} was hung up on");
        self.told("proto.another", cause, (server, &strangers), (0.8, true), text, outcome);
    }

    /// HTTP/2, agreed on within TLS, is never answered, and HTTP/1.1 is. Only where keys show what is said.
    fn promised(&mut self, server: SocketAddr, flows: &[&FlowRecord], outcome: &Outcome) {
        const RULES: [&str; 3] = ["h2.unanswered", "h2.closed-without-answer", "h2.rst-stream"];
        let inside = || flows.iter().filter(|flow| flow.decrypted).copied();
        // The one that goes well is the handshake.
        let failing = |flow: &FlowRecord| flow.exchanges.failing > 0 && well(flow) <= 1 && RULES.iter().any(|rule| is_found(flow, rule));
        let newer: Vec<&FlowRecord> = inside().filter(|flow| flow.app == Some("h2") && flow.exchanges.count > 1).collect();
        let older = inside().any(|flow| flow.app == Some("http") && flow.exchanges.count > 1 && flow.exchanges.failing == 0);
        if !older || newer.len() < 2 || !newer.iter().all(|flow| failing(flow)) {
            return;
        }
        let count = newer.len();
        let text = format!("HTTP/2 was agreed on in {count} connections and gave no answer, while a question over HTTP/1.1 was answered");
        self.told("h2.promised", "l6.alpn-mismatch", (server, &newer), (0.85, true), text, outcome);
    }

    /// A client that breaks off every handshake after the server's certificate, and never goes on: it has something against that. What, it alone knows.
    fn refusals(&mut self, server: SocketAddr, flows: &[&FlowRecord], outcome: &Outcome) {
        let broken =
            |flow: &&FlowRecord| flow.findings.iter().any(|found| found.rule == "tls.handshake-unfinished") && flow.bytes.server > 0;
        let mut clients: BTreeMap<(IpAddr, Option<&str>), BrokenOff<'_>> = BTreeMap::new();
        for flow in flows.iter().filter(|flow| flow.hello_bytes.is_some()) {
            let (gone, stayed) = clients.entry((flow.client.ip(), flow.server_name.as_deref())).or_default();
            if broken(flow) { gone.push(flow) } else { *stayed += 1 }
        }
        for ((client, name), (gone, stayed)) in clients {
            if gone.len() < REFUSALS || stayed > 0 || gone.iter().any(|flow| self.explained.contains(&flow.id)) {
                continue;
            }
            let text = format!(
                "{client} broke off all of {} handshakes right after the server's certificate, without a readable alert",
                gone.len()
            );
            let (causes, decides) = certificate_causes(server, name);
            for (cause, confidence) in causes {
                if let Some(mut problem) = problem("tls.refused", cause, (server, &gone), (*confidence, false), text.clone(), outcome) {
                    problem.decides.clone_from(&decides);
                    self.add(problem);
                }
            }
        }
    }

    /// Encrypted questions of which not one was answered: each alone may be a stream of events, or a connection opened in advance.
    fn silences(&mut self, server: SocketAddr, flows: &[&FlowRecord], outcome: &Outcome) {
        for (rule, cause) in [("tls.closed-without-answer", "l5.closed-without-answer"), ("tls.unanswered", "l7.service-mute")] {
            let noted: Vec<&FlowRecord> =
                flows.iter().filter(|flow| flow.findings.iter().any(|found| found.rule == rule)).copied().collect();
            let handshakes = noted.iter().map(|flow| well(flow)).max().unwrap_or(0);
            if noted.len() < 2 || flows.iter().any(|flow| well(flow) > handshakes) {
                continue;
            }
            let of_these = |finding: &&Finding| finding.rule == rule && finding.blames == Some(Party::Service(server));
            let longest = outcome.findings.iter().filter(of_these).filter_map(|finding| finding.value).fold(0.0, f64::max);
            let text = match rule {
                "tls.unanswered" => {
                    format!("{} encrypted requests, each received, none answered; the longest for {:.1} s", noted.len(), longest / 1e3)
                }
                _ => format!("{} encrypted requests, and each time the server closed the connection in place of an answer", noted.len()),
            };
            let Some(mut problem) = problem(rule, cause, (server, &noted), (0.85, true), text, outcome) else { continue };
            if rule == "tls.unanswered" && longest < MUTE_MS {
                problem.weight = Weight::Warning;
            }
            self.add(problem);
        }
    }

    fn told(
        &mut self,
        rule: &'static str,
        cause: &str,
        (server, flows): (SocketAddr, &[&FlowRecord]),
        (confidence, proven): (f64, bool),
        text: String,
        outcome: &Outcome,
    ) {
        if let Some(problem) = problem(rule, cause, (server, flows), (confidence, proven), text, outcome) {
            self.add(problem);
        }
    }
}

/// Exchanges that went well.
const fn well(flow: &FlowRecord) -> u64 {
    flow.exchanges.count.saturating_sub(flow.exchanges.failing)
}

/// Protocols in which the server speaks first: who expects them says nothing that could be seen.
fn own_is_rare(usual: &str) -> bool {
    matches!(usual, "mysql" | "smtp" | "ftp" | "ssh")
}

/// A problem of these connections, with the packets of what was found in them.
pub(super) fn problem(
    rule: &'static str,
    cause: &str,
    (server, flows): (SocketAddr, &[&FlowRecord]),
    (confidence, proven): (f64, bool),
    text: String,
    outcome: &Outcome,
) -> Option<Problem> {
    let first = flows.first()?;
    let ids: BTreeSet<FlowId> = flows.iter().map(|flow| flow.id).take(super::problem::MOST_FLOWS).collect();
    let mut cited = Cited::default();
    let of_flows = |finding: &&Finding| finding.weight >= Weight::Note && finding.flow.is_some_and(|flow| ids.contains(&flow));
    outcome.findings.iter().filter(of_flows).for_each(|finding| super::problem::join(&mut cited, &finding.cited));
    Some(Problem {
        rule,
        cause: causes::find(cause)?,
        party: Party::Service(server),
        weight: Weight::Fault,
        proven,
        confidence,
        text,
        times: flows.len() as u64,
        cited,
        first: flows.iter().map(|flow| flow.first).min().unwrap_or(first.first),
        last: flows.iter().map(|flow| flow.last).max().unwrap_or(first.last),
        flows: ids,
        kinds: BTreeSet::new(),
        beyond: 0,
        decides: Vec::new(),
        weighed: false,
    })
}

/// The causes for which a client may refuse a certificate that it alone could read, with the test that decides.
pub(super) fn certificate_causes(server: SocketAddr, name: Option<&str>) -> (&'static [(&'static str, f64)], Vec<NextStep>) {
    let name = name.map(|name| format!(" -servername {name}")).unwrap_or_default();
    let run = format!("openssl s_client -connect {server}{name} -showcerts </dev/null | openssl x509 -noout -dates -subject -issuer");
    let why = "shows the certificate: its dates, its names, and who signed it".to_owned();
    (&CERTIFICATE, vec![NextStep { run, on: "the client".to_owned(), why }])
}
