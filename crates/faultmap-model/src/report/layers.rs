//! The tower: for each layer a status, one line, and its time.

use super::{LayerReport, LayerStatus};
use crate::observation::{
    ConnectOutcome, Dialogue, DialogueOutcome, DnsOutcome, DnsQuery, Echo, HeldFor, HttpExchange, HttpOutcome, NeighborState, Role,
    RouteOutcome, SessionIdle, SystemLookup, TlsChain, TlsOutcome, TunnelOutcome, UdpOutcome, UdpProbe, Walk,
};
use crate::verdict::{Status, Verdict};
use crate::{Evidence, Layer};
use std::net::IpAddr;

/// The seven layers, L1 first.
pub(super) fn tower(evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<LayerReport> {
    Layer::ALL.into_iter().map(|layer| storey(evidence, verdict, layer)).collect()
}

fn storey(evidence: &Evidence<'_>, verdict: &Verdict, layer: Layer) -> LayerReport {
    let (summary, ms) = match layer {
        Layer::L1 => (link_line(evidence), None),
        Layer::L2 => (neighbor_line(evidence), None),
        Layer::L3 => path_line(evidence),
        Layer::L4 => transport_line(evidence),
        Layer::L5 => (session_line(evidence), None),
        Layer::L6 => presentation_line(evidence),
        Layer::L7 => application_line(evidence),
    };
    let status = status(evidence, verdict, layer, summary.is_some());
    let at_resolver = || resolver_answered(evidence).filter(|_| status == LayerStatus::Ok);
    let summary = summary.or_else(|| at_resolver().map(|resolver| format!("works toward the resolver {resolver}")));
    LayerReport { layer, status, summary: summary.unwrap_or_default(), ms }
}

fn status(evidence: &Evidence<'_>, verdict: &Verdict, layer: Layer, seen: bool) -> LayerStatus {
    let answered = evidence.answered_up_to().map(|(layer, _)| layer);
    let named = verdict.layer == Some(layer);
    match verdict.status {
        Status::Fault | Status::Inconclusive if named => return LayerStatus::Fail,
        Status::Degraded if named => return LayerStatus::Warn,
        Status::Inconclusive if verdict.candidates.iter().any(|candidate| candidate.layer == layer) => return LayerStatus::Unknown,
        _ => {}
    }
    if answered.is_some_and(|answered| layer <= answered) || host_answer_clears(evidence, layer) {
        return LayerStatus::Ok;
    }
    if resolver_answered(evidence).is_some() {
        return if layer <= Layer::L4 { LayerStatus::Ok } else { LayerStatus::NotReached };
    }
    let above = verdict.layer.is_some_and(|at| layer > at) && verdict.status != Status::Degraded;
    if above || layer > evidence.target().scheme.top() {
        return LayerStatus::NotReached;
    }
    if locally_proven(evidence, layer) {
        return LayerStatus::Ok;
    }
    if seen && verdict.layer.is_none() { LayerStatus::Ok } else { LayerStatus::Unknown }
}

/// The far host answered something: everything up to L3 works toward it.
fn host_answer_clears(evidence: &Evidence<'_>, layer: Layer) -> bool {
    let Some(failure) = evidence.failure() else { return false };
    let answered = failure.how == crate::evidence::How::Reset || evidence.host_answers(failure.ip).is_some();
    layer <= Layer::L3 && answered
}

/// The name did not resolve, and a resolver said so itself: the road to the resolver is proven, and nothing beyond it was tried.
fn resolver_answered(evidence: &Evidence<'_>) -> Option<IpAddr> {
    if !evidence.addresses().is_empty() || evidence.sought_literal().is_some() || !evidence.name_unresolved() {
        return None;
    }
    let answered = evidence.first::<DnsQuery>(|query| query.role == Role::Resolver && matches!(query.outcome, DnsOutcome::Answer(_)));
    answered.map(|(_, query)| query.resolver.ip())
}

/// L1 and L2 have local proofs of their own.
fn locally_proven(evidence: &Evidence<'_>, layer: Layer) -> bool {
    let Some(ip) = focus(evidence) else { return false };
    let neighbor = evidence.next_hop_neighbor(ip).map(|(_, neighbor)| neighbor.after);
    let confirmed = matches!(neighbor, Some(NeighborState::Reachable | NeighborState::Delay | NeighborState::Probe | NeighborState::Stale));
    match layer {
        Layer::L1 => confirmed || evidence.link_toward(ip).is_some_and(|(_, link)| link.up && link.carrier == Some(true)),
        Layer::L2 => confirmed,
        _ => false,
    }
}

/// The address that the report is about.
fn focus(evidence: &Evidence<'_>) -> Option<IpAddr> {
    let failure = evidence.failure().map(|failure| failure.ip);
    failure.or_else(|| evidence.main_address().map(|main| main.ip())).or_else(|| evidence.sought_literal())
}

fn link_line(evidence: &Evidence<'_>) -> Option<String> {
    let (_, link) = evidence.link_toward(focus(evidence)?)?;
    if link.loopback {
        return Some(format!("{}: loopback, no medium", link.iface));
    }
    let state = match (link.up, link.carrier) {
        (false, _) => "administratively down".to_owned(),
        (true, Some(false)) => "no carrier".to_owned(),
        (true, Some(true)) => "up, carrier".to_owned(),
        (true, None) => format!("up, {}", link.operstate),
    };
    let speed = link.speed_mbps.map_or_else(|| "speed unknown".to_owned(), |mbps| format!("{mbps} Mb/s"));
    Some(format!("{}: {state}, {speed}, MTU {}", link.iface, link.mtu))
}

fn neighbor_line(evidence: &Evidence<'_>) -> Option<String> {
    let ip = focus(evidence)?;
    if evidence.is_local(ip) {
        return Some("own address, no neighbour needed".to_owned());
    }
    let (_, neighbor) = evidence.next_hop_neighbor(ip)?;
    let who = if neighbor.role == Role::Gateway { "gateway " } else { "" };
    let mac = neighbor.mac_after.as_deref().or(neighbor.mac_before.as_deref()).unwrap_or("no MAC");
    Some(format!("{who}{} is at {mac} ({})", neighbor.address, format!("{:?}", neighbor.after).to_lowercase()))
}

fn path_line(evidence: &Evidence<'_>) -> (Option<String>, Option<f64>) {
    let Some(ip) = focus(evidence) else { return (None, None) };
    let Some((_, route)) = evidence.route(ip) else { return (None, None) };
    let via = match &route.outcome {
        RouteOutcome::Found { iface, local: true, .. } => format!("{ip} is local ({iface})"),
        RouteOutcome::Found { iface, gateway: Some(gateway), .. } => format!("{ip} via {gateway} on {iface}"),
        RouteOutcome::Found { iface, gateway: None, .. } => format!("{ip} on-link on {iface}"),
        RouteOutcome::NoRoute => format!("no route to {ip}"),
        RouteOutcome::Rejected { route_type, .. } => format!("a {route_type} route covers {ip}"),
        RouteOutcome::Unknown { why } => format!("route to {ip} unknown: {why}"),
    };
    let hops = evidence.walks(ip).filter_map(|(_, walk)| walk.reached_ttl).max().map(|ttl| format!(", {ttl} hops"));
    let last = || {
        let walked = evidence.all::<Walk>().any(|(_, walk)| walk.to.ip() == ip);
        let router = evidence.last_router(ip).filter(|_| walked);
        router.map(|(ttl, router)| format!(", last answer from {router} at hop {ttl}"))
    };
    let rtt = evidence.first::<Echo>(|echo| echo.to == ip).and_then(|(_, echo)| echo.rtts_ms.iter().copied().reduce(f64::min));
    (Some(format!("{via}{}", hops.or_else(last).unwrap_or_default())), rtt)
}

fn transport_line(evidence: &Evidence<'_>) -> (Option<String>, Option<f64>) {
    let main = evidence.main_address();
    if let Some((id, connect)) = evidence.target_connects().filter(|(_, c)| Some(c.to) == main).last() {
        let took = evidence.get(id).map(|observation| observation.took_ms);
        return (Some(format!("tcp {}: {}", connect.to, connect_words(&connect.outcome))), took);
    }
    let udp = evidence.first::<UdpProbe>(|udp| udp.role == Role::Target);
    let words = udp.map(|(_, udp)| match &udp.outcome {
        UdpOutcome::Answer { bytes } => format!("udp {}: answered, {bytes} bytes", udp.to),
        UdpOutcome::Failed { errno, .. } => format!("udp {}: {errno}", udp.to),
        UdpOutcome::Silent { waited_ms } => format!("udp {}: silent for {waited_ms:.0} ms", udp.to),
    });
    (words, None)
}

fn connect_words(outcome: &ConnectOutcome) -> String {
    match outcome {
        ConnectOutcome::Connected { rtt_ms, retransmits: 0, .. } => format!("connected, round trip {rtt_ms:.1} ms"),
        ConnectOutcome::Connected { rtt_ms, retransmits, .. } => {
            format!("connected after {retransmits} lost SYN, round trip {rtt_ms:.1} ms")
        }
        ConnectOutcome::Failed { errno, icmp: Some(icmp) } => format!("{errno}, ICMP {}/{} from {}", icmp.icmp_type, icmp.code, icmp.from),
        ConnectOutcome::Failed { errno, icmp: None } => errno.clone(),
        ConnectOutcome::Silent { waited_ms, .. } => format!("silent for {:.1} s", waited_ms / 1e3),
    }
}

/// The longest idleness that a held connection survived, where some were held.
fn idle_line(evidence: &Evidence<'_>) -> Option<String> {
    let idle = evidence.all::<SessionIdle>().filter(|(_, line)| line.purpose == HeldFor::Idle);
    let (lived, died): (Vec<_>, Vec<_>) = idle.map(|(_, line)| line).partition(|line| line.survived());
    let longest = lived.iter().map(|line| line.idle_ms.min(line.asked_ms)).fold(0.0, f64::max);
    let shortest = died.iter().map(|line| line.idle_ms).reduce(f64::min);
    match shortest {
        Some(ms) => Some(format!("idle sessions end after {:.1} s", ms / 1e3)),
        None => (longest > 0.0).then(|| format!("idle sessions live for {:.1} s", longest / 1e3)),
    }
}

fn session_line(evidence: &Evidence<'_>) -> Option<String> {
    if let Some(line) = idle_line(evidence) {
        return Some(line);
    }
    let Some((_, proxy)) = evidence.proxy() else { return own_session_line(evidence) };
    let place = proxy.host_port();
    Some(match (evidence.tunnel(), own_session_line(evidence)) {
        (Some((_, tunnel)), line) => {
            format!("proxy {place}: {}{}", tunnel_words(&tunnel.outcome), line.map_or_else(String::new, |line| format!("; {line}")))
        }
        (None, Some(line)) => format!("proxy {place}; {line}"),
        (None, None) => format!("proxy {place} not reached"),
    })
}

fn tunnel_words(outcome: &TunnelOutcome) -> String {
    match outcome {
        TunnelOutcome::Open { .. } => "tunnel open".to_owned(),
        TunnelOutcome::CredentialsWanted { .. } => "wants a login".to_owned(),
        TunnelOutcome::Refused { code, name, .. } => format!("refused with {code} {name}"),
        TunnelOutcome::Foreign { looks_like, .. } => format!("speaks another protocol ({})", looks_like.as_deref().unwrap_or("unknown")),
        TunnelOutcome::Closed { .. } => "closed without an answer".to_owned(),
        TunnelOutcome::Reset { .. } => "reset without an answer".to_owned(),
        TunnelOutcome::Silent { waited_ms, .. } => format!("no answer in {:.1} s", waited_ms / 1e3),
        TunnelOutcome::NoConnection { why } => why.clone(),
    }
}

fn own_session_line(evidence: &Evidence<'_>) -> Option<String> {
    if evidence.failed_tunnel().is_some() {
        return None;
    }
    let exchange = evidence.exchange().map(|(_, http)| &http.outcome);
    match exchange {
        Some(HttpOutcome::Response(response)) => {
            let kept = response.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
            Some(if kept { "session answered and kept open" } else { "session answered, closed after each request" }.to_owned())
        }
        Some(HttpOutcome::Closed { .. }) => Some("accepted, then closed without an answer".to_owned()),
        Some(HttpOutcome::Reset { .. }) => Some("accepted, then reset without an answer".to_owned()),
        Some(HttpOutcome::Silent { .. }) => Some("accepted, no answer".to_owned()),
        _ => dialogue_session(evidence).or_else(|| evidence.connected().next().map(|_| "session opened".to_owned())),
    }
}

fn dialogue_session(evidence: &Evidence<'_>) -> Option<String> {
    let (_, dialogue) = evidence.dialogue()?;
    Some(match dialogue.outcome {
        DialogueOutcome::Closed { .. } => format!("closed at {}", dialogue.ended_at()),
        DialogueOutcome::Reset { .. } => format!("reset at {}", dialogue.ended_at()),
        DialogueOutcome::Silent { .. } => "accepted, no answer".to_owned(),
        _ => format!("session opened, {} exchanges", dialogue.steps.len()),
    })
}

fn presentation_line(evidence: &Evidence<'_>) -> (Option<String>, Option<f64>) {
    if evidence.handshake().is_none() && !evidence.target().scheme.uses_tls() {
        let words = evidence.response().map(|(_, response)| match &response.body.declared_type {
            Some(kind) => format!("no TLS; body declared {kind}, looks like {}", response.body.sniffed),
            None => "no TLS".to_owned(),
        });
        return (words.or_else(|| evidence.dialogue().map(|_| "no TLS".to_owned())), None);
    }
    let Some((id, tls)) = evidence.handshake() else { return (None, None) };
    let took = evidence.get(id).map(|observation| observation.took_ms);
    let words = match &tls.outcome {
        TlsOutcome::Done { version, cipher, .. } => format!("{version}, {cipher}{}", chain_words(evidence)),
        TlsOutcome::Accepted { version, .. } => format!("{version} accepted"),
        TlsOutcome::Alert { code, name, .. } => format!("alert {code} {name}"),
        TlsOutcome::NotTls { looks_like, .. } => format!("not TLS: {}", looks_like.as_deref().unwrap_or("unknown protocol")),
        TlsOutcome::Rejected { why } => why.clone(),
        TlsOutcome::Closed { .. } => "closed during the handshake".to_owned(),
        TlsOutcome::Reset { .. } => "reset during the handshake".to_owned(),
        TlsOutcome::Silent { waited_ms, .. } => format!("handshake silent for {:.1} s", waited_ms / 1e3),
        TlsOutcome::NoConnection { errno } => format!("no connection: {errno}"),
    };
    (Some(words), took)
}

fn chain_words(evidence: &Evidence<'_>) -> String {
    let Some((_, chain)) = evidence.all::<TlsChain>().last() else { return String::new() };
    let Some(leaf) = chain.certificates.first() else { return ", no certificate".to_owned() };
    let days = (leaf.not_after_unix - chain.now_unix).div_euclid(86_400);
    format!(", certificate for {}, {days} days left, {}", chain.name, format!("{:?}", chain.trust).to_lowercase())
}

fn application_line(evidence: &Evidence<'_>) -> (Option<String>, Option<f64>) {
    if let Some((_, http)) = evidence.exchange() {
        return (Some(http_words(http)), evidence.response().map(|(_, response)| response.ttfb_ms));
    }
    if let Some((_, dialogue)) = evidence.dialogue() {
        return (Some(dialogue_words(dialogue)), dialogue.first_byte_ms);
    }
    if let Some((id, query)) = evidence.all::<DnsQuery>().filter(|(_, query)| query.role == Role::Target).last() {
        return (Some(format!("DNS {}: {}", query.name, dns_words(&query.outcome))), evidence.get(id).map(|o| o.took_ms));
    }
    let lookup = evidence.first::<SystemLookup>(|_| true);
    let words = lookup.map(|(_, lookup)| match &lookup.error {
        Some(error) => format!("{} does not resolve: {error}", lookup.name),
        None => format!("{} resolves to {} addresses", lookup.name, lookup.addresses.len()),
    });
    (words, None)
}

fn dialogue_words(dialogue: &Dialogue) -> String {
    let title = dialogue.protocol.title();
    let at = dialogue.ended_at();
    match &dialogue.outcome {
        DialogueOutcome::Done { what } => format!("{title}: {what}"),
        DialogueOutcome::CredentialsWanted { method, .. } => format!("{title}: asks for credentials ({method})"),
        DialogueOutcome::LoginUnsupported { method } => format!("{title}: wants a login that is not spoken here ({method})"),
        DialogueOutcome::Refused { code, message } => format!("{title}: refused at {at} with {code} {message}"),
        DialogueOutcome::TlsWanted { message } => format!("{title}: wants TLS: {message}"),
        DialogueOutcome::TlsNotOffered => format!("{title}: offers no TLS"),
        DialogueOutcome::Foreign { looks_like, .. } => format!("not {title}: {}", looks_like.as_deref().unwrap_or("unknown protocol")),
        DialogueOutcome::Malformed { why } => format!("{title}, malformed: {why}"),
        DialogueOutcome::Closed { .. } => format!("{title}: closed at {at}"),
        DialogueOutcome::Reset { .. } => format!("{title}: reset at {at}"),
        DialogueOutcome::Silent { waited_ms, .. } => format!("{title}: no answer to {at} in {:.1} s", waited_ms / 1e3),
        DialogueOutcome::NoConnection { why } => format!("{title}: not asked: {why}"),
    }
}

fn http_words(http: &HttpExchange) -> String {
    match &http.outcome {
        HttpOutcome::Response(response) => format!("{} {}: status {}", http.version, http.method, response.status),
        HttpOutcome::Malformed { why, .. } => format!("not HTTP: {why}"),
        HttpOutcome::Silent { waited_ms, .. } => format!("no answer in {:.1} s", waited_ms / 1e3),
        HttpOutcome::StreamRefused { reason } => format!("{}: the server refuses the stream ({reason})", http.version),
        HttpOutcome::Alert { name, .. } => format!("TLS alert {name} instead of an answer"),
        HttpOutcome::NoConnection { why } => format!("not asked: {why}"),
        _ => "no answer".to_owned(),
    }
}

fn dns_words(outcome: &DnsOutcome) -> String {
    match outcome {
        DnsOutcome::Answer(answer) => match answer.rcode {
            0 => format!("NOERROR, {} records", answer.records),
            2 => "SERVFAIL".to_owned(),
            3 => "NXDOMAIN".to_owned(),
            5 => "REFUSED".to_owned(),
            code => format!("RCODE {code}"),
        },
        DnsOutcome::Silent { waited_ms, .. } => format!("silent for {:.1} s", waited_ms / 1e3),
        DnsOutcome::Failed { errno, .. } => errno.clone(),
    }
}
