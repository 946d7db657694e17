//! Every observation as one line a person can read: what was asked of whom, and what came back. One function a kind. It says what was seen,
//! never what it means.

mod dialogue;
mod http3;
mod names;
mod packets;
mod peer;
mod proxy;
mod session;

pub(super) use session::{ending as held_ending, held};

use super::{CYAN, DIM, PLAIN, Paper, count, time};
use faultmap_model::observation::*;
use faultmap_model::{Observation, Report, Seen};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

/// Most items of a list within a line.
const MOST_ITEMS: usize = 6;
/// Columns of the kind: `tcp.ack-probe`.
const KIND: usize = 13;

/// All of them, with number, time, layer and kind.
pub(super) fn all(paper: &mut Paper, report: &Report) {
    paper.heading(&format!("seen ({})", report.observations.len()));
    for observation in &report.observations {
        paper.cell_right(DIM, &observation.id.to_string(), 5).blank(2);
        paper.cell_right(DIM, &time(observation.at_ms), 8).blank(1);
        paper.cell_right(DIM, &format!("+{}", time(observation.took_ms)), 9).blank(2);
        paper.put(PLAIN, &observation.layer.to_string()).blank(1).cell(CYAN, observation.seen.kind(), KIND).blank(1);
        let indent = (paper.width() - paper.room()).min(paper.width() / 3);
        paper.wrapped(PLAIN, &words(&observation.seen), indent);
    }
}

/// One that is cited as evidence, with its packets where they were recorded.
pub(super) fn cited(paper: &mut Paper, report: &Report, observation: &Observation) {
    paper.cell_right(DIM, &observation.id.to_string(), 5).blank(2);
    let text = format!("{}{}", words(&observation.seen), packets::shown_by(report, observation.id));
    paper.put(CYAN, observation.seen.kind()).blank(1).wrapped(PLAIN, &text, 7);
}

/// The line.
pub(super) fn words(seen: &Seen) -> String {
    match seen {
        Seen::Link(it) => link(it),
        Seen::LinkDelta(it) => link_delta(it),
        Seen::Neighbor(it) => neighbor(it),
        Seen::ArpProbe(it) => arp_probe(it),
        Seen::Route(it) => route(it),
        Seen::Counters(it) => counters(it),
        Seen::IngressGap(it) => ingress_gap(it),
        Seen::LocalDrops(it) => local_drops(it),
        Seen::HostTables(it) => host_tables(it),
        Seen::Flows(it) => flows(it),
        Seen::DnsConfig(it) => dns_config(it),
        Seen::Onward(it) => format!("{} leads on to {}", it.status, it.target.input),
        Seen::HostsFile(it) => hosts_file(it),
        Seen::SystemLookup(it) => system_lookup(it),
        Seen::DnsQuery(it) => dns_query(it),
        Seen::DnsTrace(it) => names::trace_line(it),
        Seen::TcpConnect(it) => tcp_connect(it),
        Seen::TcpRepeat(it) => tcp_repeat(it),
        Seen::AckProbe(it) => ack_probe(it),
        Seen::SessionEnd(it) => session_end(it),
        Seen::ProxyChoice(it) => proxy::choice(it),
        Seen::ProxyTunnel(it) => proxy::tunnel(it),
        Seen::ProxyBypass(it) => proxy::bypass(it),
        Seen::SessionIdle(it) => session::idle(it),
        Seen::SessionReuse(it) => session::reuse(it),
        Seen::UdpProbe(it) => udp_probe(it),
        Seen::Echo(it) => echo(it),
        Seen::Walk(it) => walk(it),
        Seen::SizeProbe(it) => size_probe(it),
        Seen::FragmentProbe(it) => names::fragments(it),
        Seen::TlsHandshake(it) => tls_handshake(it),
        Seen::TlsChain(it) => tls_chain(it),
        Seen::TlsControl(it) => proxy::tls_control(it),
        Seen::HttpExchange(it) => http_exchange(it),
        Seen::HttpSamples(it) => http_samples(it),
        Seen::Http3Exchange(it) => http3::words(it),
        Seen::Dialogue(it) => dialogue::words(it),
        Seen::PeerReport(it) => peer::words(it),
        Seen::Packets(it) => packets::words(it),
        Seen::Baseline(it) => format!("{}: {}", it.file, it.status.word()),
        Seen::CaptureFinding(it) => format!("{}: {}", it.rule, it.summary),
        Seen::CaptureAnswer(it) => format!("an answer from {} in flow {}", it.layer, it.flow),
        Seen::NotAsked(it) => not_asked(it),
    }
}

fn link(it: &Link) -> String {
    let admin = if it.up { "up" } else { "administratively down" };
    let carrier = match it.carrier {
        Some(true) => "carrier",
        Some(false) => "no carrier",
        None => "carrier unknown",
    };
    let mut parts = vec![admin.to_owned(), carrier.to_owned(), format!("MTU {}", it.mtu)];
    parts.extend(it.speed_mbps.map(|mbps| format!("{mbps} Mb/s")));
    parts.extend(it.full_duplex.filter(|full| !full).map(|_| "half duplex".to_owned()));
    parts.extend(it.mac.clone());
    parts.extend((!it.addresses.is_empty()).then(|| list(&it.addresses)));
    parts.extend(it.on_path.then(|| "on the path".to_owned()));
    format!("{}: {}", it.iface, parts.join(", "))
}

fn link_delta(it: &LinkDelta) -> String {
    let changes = if it.carrier_changes > 0 { format!("{}, ", count(it.carrier_changes, "carrier change")) } else { String::new() };
    format!("{}: in {} {changes}{}", it.iface, time(it.window_ms), rises(&it.rose))
}

fn neighbor(it: &Neighbor) -> String {
    let toward = it.toward.map_or_else(String::new, |to| format!(" toward {to}"));
    let mac = it.mac_after.as_deref().or(it.mac_before.as_deref()).unwrap_or("no MAC");
    let both = if it.macs_seen.len() > 1 { format!(", MACs seen: {}", list(&it.macs_seen)) } else { String::new() };
    let states = format!("{} → {}", lower(it.before), lower(it.after));
    format!("{} {}{toward} on {}: {states}, {mac}{both}", role(it.role), it.address, it.iface)
}

fn arp_probe(it: &ArpProbe) -> String {
    let answers = if it.macs.is_empty() { "no answer".to_owned() } else { format!("answered by {}", list(&it.macs)) };
    let entry = it.entry_mac.as_ref().map_or_else(String::new, |mac| format!("; the kernel's entry says {mac}"));
    let host = match it.one_host {
        Some(true) => " (interfaces of one host)",
        Some(false) => " (different hosts)",
        None => "",
    };
    format!("who has {} on {}? {} sent, {answers}{host}{entry}", it.address, it.iface, it.sent)
}

fn route(it: &Route) -> String {
    let outcome = match &it.outcome {
        RouteOutcome::Found { iface, local: true, .. } => format!("our own address, on {iface}"),
        RouteOutcome::Found { iface, gateway, source, learned_mtu, .. } => {
            let via = gateway.map_or_else(|| "on-link".to_owned(), |gateway| format!("via {gateway}"));
            let source = source.map_or_else(String::new, |source| format!(", from {source}"));
            let mtu = learned_mtu.map_or_else(String::new, |mtu| format!(", learned MTU {mtu}"));
            format!("{via} on {iface}{source}{mtu}")
        }
        RouteOutcome::NoRoute => "no route".to_owned(),
        RouteOutcome::Rejected { route_type, errno } => format!("a route of type {route_type} rejects it ({errno})"),
        RouteOutcome::Unknown { why } => format!("unknown: {why}"),
    };
    format!("{} {}: {outcome}", role(it.role), it.to)
}

fn counters(it: &Counters) -> String {
    let filter = it.rp_filter.filter(|filter| *filter > 0).map_or_else(String::new, |filter| format!("; rp_filter {filter}"));
    format!("in {}: {}{filter}", time(it.window_ms), rises(&it.rose))
}

fn ingress_gap(it: &IngressGap) -> String {
    let wire = it.answers_on_wire.map_or_else(String::new, |seen| format!(", {} seen on the wire", count(seen, "answer")));
    format!(
        "{}: {} provoked, {} undelivered ({} when idle), {} by rp_filter{wire}",
        it.to,
        count(it.provoked, "answer"),
        count(it.lost_with, "packet"),
        it.lost_idle,
        it.rp_filtered
    )
}

fn local_drops(it: &LocalDrops) -> String {
    let one = |drop: &LocalDrop| {
        let way = if drop.incoming { "from" } else { "to" };
        let place = drop.location.as_ref().map_or_else(String::new, |place| format!(" in {place}"));
        format!("{} {way} it by {}{place}", count(drop.count, "packet"), drop.reason)
    };
    let drops = if it.drops.is_empty() { "none".to_owned() } else { it.drops.iter().map(one).collect::<Vec<_>>().join(", ") };
    format!("{}: {} provoked, dropped by this host: {drops}", it.to, count(it.provoked, "answer"))
}

fn host_tables(it: &HostTables) -> String {
    let mut parts = Vec::new();
    let mut fill = |name: &str, used: Option<u64>, most: Option<u64>| match (used, most) {
        (Some(used), Some(most)) => parts.push(format!("{name} {used} of {most}")),
        (Some(used), None) => parts.push(format!("{name} {used}")),
        (None, Some(most)) => parts.push(format!("{name} at most {most}")),
        (None, None) => {}
    };
    fill("conntrack", it.conntrack_count, it.conntrack_max);
    fill("file descriptors", it.fd_open, it.fd_limit);
    fill("neighbours", it.neighbor_entries, it.neighbor_max);
    let ports = it.port_low.zip(it.port_high).map(|(low, high)| u64::from(high.saturating_sub(low)) + 1);
    fill("ephemeral ports to the target", it.ports_used, ports);
    fill("listen queue", it.listen_queue.map(|(waiting, _)| u64::from(waiting)), it.listen_queue.map(|(_, limit)| u64::from(limit)));
    parts.extend(it.conntrack_drops.filter(|drops| *drops > 0).map(|drops| count(drops, "conntrack drop")));
    parts.extend(it.neighbor_table_fulls.filter(|fulls| *fulls > 0).map(|fulls| format!("neighbour table full {fulls} times")));
    let states: Vec<String> = it.tcp_states.iter().map(|(state, sockets)| format!("{state} {sockets}")).collect();
    parts.extend((!states.is_empty()).then(|| format!("TCP: {}", list(&states))));
    if parts.is_empty() { "nothing known".to_owned() } else { parts.join(", ") }
}

fn flows(it: &Flows) -> String {
    let to = it.to.map_or_else(|| "anywhere".to_owned(), |to| to.to_string());
    let port = it.port.map_or_else(String::new, |port| format!(" port {port}"));
    format!(
        "other programs to {to}{port}: {} established ({} alive, {} stuck), {} in SYN-SENT; {} alive elsewhere",
        it.established, it.alive, it.stuck, it.syn_sent, it.alive_elsewhere
    )
}

fn dns_config(it: &DnsConfig) -> String {
    let resolvers = if it.resolvers.is_empty() { "no resolver".to_owned() } else { format!("resolvers {}", list(&it.resolvers)) };
    let search = if it.search.is_empty() { String::new() } else { format!(", search {}", list(&it.search)) };
    format!("{resolvers}{search} (from {})", it.source)
}

fn hosts_file(it: &HostsFile) -> String {
    if it.addresses.is_empty() {
        format!("{} is not in the hosts file", it.name)
    } else {
        format!("{} is {}", it.name, list(&it.addresses))
    }
}

fn system_lookup(it: &SystemLookup) -> String {
    match &it.error {
        Some(error) => format!("{}: {error}", it.name),
        None if it.addresses.is_empty() => format!("{}: no address", it.name),
        None => format!("{} is {}", it.name, list(&it.addresses)),
    }
}

fn dns_query(it: &DnsQuery) -> String {
    let transport = if it.transport == Transport::Udp { "UDP" } else { "TCP" };
    let kind = match it.record_type {
        RecordType::A => "A",
        RecordType::Aaaa => "AAAA",
        RecordType::Other => "another type",
    };
    let cd = if it.checking_disabled { ", checking disabled" } else { "" };
    let offered = names::offered(it.offered);
    let outcome = match &it.outcome {
        DnsOutcome::Answer(answer) => dns_answer(answer),
        DnsOutcome::Silent { waited_ms, mismatched: 0 } => format!("silent for {}", time(*waited_ms)),
        DnsOutcome::Silent { waited_ms, mismatched } => {
            format!("silent for {}, {} did not match", time(*waited_ms), count(*mismatched, "answer"))
        }
        DnsOutcome::Failed { errno, icmp } => failed(errno, *icmp),
    };
    format!("{} {} over {transport}{cd}{offered}, {} {kind}: {outcome}", role(it.role), it.resolver, it.name)
}

fn dns_answer(it: &DnsAnswer) -> String {
    let rcode = match it.rcode {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("RCODE {code}"),
    };
    let mut parts = vec![rcode, count(it.records, "record")];
    parts.extend((!it.cnames.is_empty()).then(|| format!("by way of {}", list(&it.cnames))));
    parts.extend((!it.addresses.is_empty()).then(|| list(&it.addresses)));
    parts.extend(it.min_ttl_s.map(|ttl| format!("TTL {ttl} s")));
    parts.extend(it.referral.as_ref().map(|zone| format!("refers to the servers of {zone}")));
    let flags = [(it.authoritative, "authoritative"), (it.truncated, "truncated"), (it.authentic, "validated")];
    parts.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned()));
    parts.extend(it.ede.iter().take(MOST_ITEMS).map(|(code, text)| format!("EDE {code} {text}")));
    parts.join(", ")
}

fn tcp_connect(it: &TcpConnect) -> String {
    let outcome = match &it.outcome {
        ConnectOutcome::Connected { rtt_ms, retransmits, mss, .. } => {
            let late = if *retransmits > 0 { format!(" after {} sent again", count(*retransmits, "SYN")) } else { String::new() };
            format!("connected{late}, round trip {}, MSS {mss}", time(*rtt_ms))
        }
        ConnectOutcome::Failed { errno, icmp: None } if errno == "ECONNREFUSED" => "refused by a reset (ECONNREFUSED)".to_owned(),
        ConnectOutcome::Failed { errno, icmp } => failed(errno, *icmp),
        ConnectOutcome::Silent { waited_ms, retransmits, icmp } => {
            let soft = icmp.map_or_else(String::new, |icmp| format!(", {}", icmp_words(icmp)));
            format!("silent for {}, {} sent again{soft}", time(*waited_ms), count(*retransmits, "SYN"))
        }
    };
    let ttl = it.answer_ttl.map_or_else(String::new, |ttl| format!(", TTL {ttl}"));
    format!("{} {}: {outcome}{ttl}", role(it.role), it.to)
}

fn tcp_repeat(it: &TcpRepeat) -> String {
    format!(
        "{}: of {} {} passed, {} late, {} failed, {} silent for {}",
        it.to,
        count(it.tried, "connect"),
        it.connected,
        it.connected_late,
        it.failed,
        it.silent,
        time(it.waited_ms)
    )
}

fn ack_probe(it: &AckProbe) -> String {
    let ttl = it.answer_ttl.map_or_else(String::new, |ttl| format!(", TTL {ttl}"));
    format!("{}: {} sent, {} came back{ttl}", it.to, count(it.sent, "bare ACK"), count(it.resets, "reset"))
}

fn session_end(it: &SessionEnd) -> String {
    let outcome = match &it.outcome {
        SessionOutcome::Open => "it waits for us to speak".to_owned(),
        SessionOutcome::Greeting { first_bytes } => format!("it greets: {first_bytes}"),
        SessionOutcome::Closed => "closed at once".to_owned(),
        SessionOutcome::Reset => "reset at once".to_owned(),
        SessionOutcome::Failed { why } => format!("failed: {why}"),
    };
    format!("{}: {outcome}{}", it.to, health(it.tcp.as_ref()))
}

fn udp_probe(it: &UdpProbe) -> String {
    let outcome = match &it.outcome {
        UdpOutcome::Answer { bytes } => format!("answered with {}", count(*bytes, "byte")),
        UdpOutcome::Failed { errno, icmp } => failed(errno, *icmp),
        UdpOutcome::Silent { waited_ms } => format!("silent for {}", time(*waited_ms)),
    };
    format!("{} {}: {} of {} bytes sent, {outcome}", role(it.role), it.to, count(it.sent, "datagram"), it.payload_bytes)
}

fn echo(it: &Echo) -> String {
    let best = it.rtts_ms.iter().copied().reduce(f64::min).map_or_else(String::new, |rtt| format!(", best round trip {}", time(rtt)));
    let ttl = it.reply_ttl.map_or_else(String::new, |ttl| format!(", TTL {ttl}"));
    let error = match (&it.errno, it.icmp) {
        (_, Some(icmp)) => format!(", {}", icmp_words(icmp)),
        (Some(errno), None) => format!(", {errno}"),
        (None, None) => String::new(),
    };
    let twice = if it.duplicates > 0 { format!(", {}", count(it.duplicates, "duplicate")) } else { String::new() };
    format!("{} {}: {} of {} answered{twice}{best}{ttl}{error}", role(it.role), it.to, it.received, count(it.sent, "echo request"))
}

fn walk(it: &Walk) -> String {
    let protocol = lower(it.protocol);
    let end = match it.reached_ttl {
        Some(ttl) => format!("the target answers at hop {ttl}"),
        None => format!("nothing answers beyond hop {} of {}", it.last_answer_ttl(), it.hops.len()),
    };
    let shown = it.hops.iter().map(hop).take(24).collect::<Vec<_>>().join(", ");
    format!("{} {} by {protocol}: {end} ({shown})", role(it.role), it.to)
}

/// `1 10.0.0.1`, `2 *` for silence. With a space at which no line breaks.
fn hop(it: &Hop) -> String {
    let mut names: Vec<String> = Vec::new();
    for answer in &it.answers {
        let name = match answer.said {
            HopSaid::Icmp(icmp) if icmp.meaning() == IcmpMeaning::TtlExceeded => answer.from.to_string(),
            HopSaid::Icmp(icmp) => format!("{}!{}/{}", answer.from, icmp.icmp_type, icmp.code),
            HopSaid::Reached => format!("{} reached", answer.from),
            HopSaid::Reset => format!("{} reset", answer.from),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { format!("{}\u{a0}*", it.ttl) } else { format!("{}\u{a0}{}", it.ttl, names.join(" or ")) }
}

fn size_probe(it: &SizeProbe) -> String {
    let by = match it.transport {
        Some(Transport::Udp) => "UDP",
        Some(Transport::Tcp) => "TCP",
        None => "ICMP echo",
    };
    let largest = it.largest_answered_bytes.map_or_else(String::new, |bytes| format!(", largest answered {bytes} bytes"));
    let told = it.too_big.map_or_else(String::new, |icmp| format!(", {}", icmp_words(icmp)));
    format!(
        "{} by {by}: {} bytes {} of {} answered, {} bytes {} of {} answered{largest}{told}",
        it.to, it.small_bytes, it.small.1, it.small.0, it.large_bytes, it.large.1, it.large.0
    )
}

fn tls_handshake(it: &TlsHandshake) -> String {
    let outcome = match &it.outcome {
        TlsOutcome::Done { version, cipher, alpn, client_cert_requested, resumed } => {
            let alpn = alpn.as_ref().map_or_else(String::new, |alpn| format!(", ALPN {alpn}"));
            let asked = if *client_cert_requested { ", a client certificate was requested" } else { "" };
            let resumed = if *resumed { ", resumed" } else { "" };
            format!("done, {version}, {cipher}{alpn}{asked}{resumed}")
        }
        TlsOutcome::Accepted { version, cipher } => format!("the server would speak {version}, cipher 0x{cipher:04x}"),
        TlsOutcome::Alert { code, name, .. } => format!("alert {code} {name}"),
        TlsOutcome::NotTls { first_bytes, looks_like } => {
            let like = looks_like.as_ref().map_or_else(String::new, |like| format!(", looks like {like}"));
            format!("not TLS{like}: {first_bytes}")
        }
        TlsOutcome::Rejected { why } => format!("not acceptable: {why}"),
        TlsOutcome::Closed { received_bytes } => format!("closed after {}", count(*received_bytes, "byte")),
        TlsOutcome::Reset { received_bytes } => format!("reset after {}", count(*received_bytes, "byte")),
        TlsOutcome::Silent { waited_ms, received_bytes } => {
            format!("silent for {} after {}", time(*waited_ms), count(*received_bytes, "byte"))
        }
        TlsOutcome::NoConnection { errno } => format!("no connection: {errno}"),
    };
    let sni = it.offer.sni.as_ref().map_or_else(|| "no SNI".to_owned(), |sni| format!("SNI {sni}"));
    format!("{} {}, offer {} ({sni}): {outcome}{}", role(it.role), it.to, it.offer.name, health(it.tcp.as_ref()))
}

fn tls_chain(it: &TlsChain) -> String {
    let trust = lower(it.trust);
    let why = it.trust_error.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    let name = if it.name_matches { "names" } else { "does not name" };
    let Some(leaf) = it.certificates.first() else { return format!("{}: no certificate was sent, {trust}{why}", it.to) };
    let days = leaf.not_after_unix.saturating_sub(it.now_unix).div_euclid(86_400);
    let window = if leaf.not_before_unix > it.now_unix {
        "not yet valid".to_owned()
    } else if days < 0 {
        format!("expired {} days ago", days.saturating_neg())
    } else {
        format!("{days} days left")
    };
    let sent = count(u32::try_from(it.certificates.len()).unwrap_or(u32::MAX), "certificate");
    format!(
        "{}: {sent}, {trust}{why}, {name} {}, {window}, issued by {}, store: {} ({} roots)",
        it.to, it.name, leaf.issuer, it.store, it.roots
    )
}

fn http_exchange(it: &HttpExchange) -> String {
    let outcome = match &it.outcome {
        HttpOutcome::Response(response) => http_response(response),
        HttpOutcome::Malformed { why, looks_like, .. } => {
            let like = looks_like.as_ref().map_or_else(String::new, |like| format!(", looks like {like}"));
            format!("not HTTP: {why}{like}")
        }
        HttpOutcome::Closed { received_bytes } => format!("closed after {}", count(*received_bytes, "byte")),
        HttpOutcome::Reset { received_bytes } => format!("reset after {}", count(*received_bytes, "byte")),
        HttpOutcome::StreamRefused { reason } => format!("the server refuses the stream: {reason}"),
        HttpOutcome::Silent { waited_ms, received_bytes } => {
            format!("silent for {} after {}", time(*waited_ms), count(*received_bytes, "byte"))
        }
        HttpOutcome::Alert { code, name } => format!("TLS alert {code} {name}"),
        HttpOutcome::NoConnection { why } => format!("no connection: {why}"),
    };
    let purpose = if it.purpose == "default" { String::new() } else { format!(" ({})", it.purpose) };
    format!("{} {} at {}{purpose}: {} {outcome}{}", it.method, it.url, it.to, it.version, health(it.tcp.as_ref()))
}

fn http_response(it: &HttpResponse) -> String {
    let body = &it.body;
    let end = match &body.end {
        BodyEnd::Complete => String::new(),
        BodyEnd::Limit => ", body read up to our limit".to_owned(),
        BodyEnd::Truncated => ", body cut short".to_owned(),
        BodyEnd::BadFraming { why } => format!(", body framed wrongly: {why}"),
        BodyEnd::Reset => ", reset within the body".to_owned(),
        BodyEnd::Stalled => ", body stalled".to_owned(),
    };
    let mut parts = vec![format!("{} after {}", it.status, time(it.ttfb_ms)), count(body.wire_bytes, "byte")];
    parts.extend(body.declared_type.clone());
    parts.extend(body.declared_encoding.clone());
    parts.extend(body.decode_error.as_ref().map(|why| format!("does not decode: {why}")));
    parts.extend(body.syntax_error.as_ref().map(|why| format!("does not parse: {why}")));
    parts.extend(it.header("location").map(|to| format!("to {to}")));
    parts.extend(it.header("server").map(|name| format!("server {name}")));
    parts.extend(body.expected_found.map(|found| if found { "expected text found" } else { "expected text not found" }.to_owned()));
    format!("{}{end}", parts.join(", "))
}

fn http_samples(it: &HttpSamples) -> String {
    let row = |row: &SampleRow| {
        let by = row.backend.as_ref().map_or_else(String::new, |backend| format!(" by {backend}"));
        format!("{} × {}{by} ({})", row.count, row.outcome, time(row.median_ms))
    };
    format!("{}: {}", count(it.tried, "request"), list(&it.rows.iter().map(row).collect::<Vec<_>>()))
}

fn not_asked(it: &NotAsked) -> String {
    let settle = if it.would_settle.is_empty() { String::new() } else { format!("; it would settle: {}", it.would_settle) };
    format!("{}: {}{settle}", it.question, it.why)
}

fn health(tcp: Option<&TcpHealth>) -> String {
    let Some(tcp) = tcp else { return String::new() };
    let mut parts = Vec::new();
    let mut some = |number: u32, noun: &str| {
        if number > 0 {
            parts.push(count(number, noun));
        }
    };
    some(tcp.retransmits, "retransmit");
    some(tcp.unacked, "unacknowledged segment");
    some(tcp.probes, "zero-window probe");
    if parts.is_empty() { String::new() } else { format!(" [tcp: {}]", parts.join(", ")) }
}

fn failed(errno: &str, icmp: Option<IcmpError>) -> String {
    icmp.map_or_else(|| errno.to_owned(), |icmp| format!("{errno}, {}", icmp_words(icmp)))
}

fn icmp_words(icmp: IcmpError) -> String {
    let IcmpError { icmp_type, code, from, mtu } = icmp;
    let name = match icmp.meaning() {
        IcmpMeaning::NoRoute => "no route",
        IcmpMeaning::HostUnreachable => "host unreachable",
        IcmpMeaning::ProtocolUnreachable => "protocol unreachable",
        IcmpMeaning::PortUnreachable => "port unreachable",
        IcmpMeaning::Prohibited => "prohibited",
        IcmpMeaning::TooBig => "too big",
        IcmpMeaning::TtlExceeded => "time exceeded",
        IcmpMeaning::Other => "error",
    };
    let mtu = mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
    let family = if IpAddr::is_ipv4(&from) { "ICMP" } else { "ICMPv6" };
    format!("{family} {icmp_type}/{code} ({name}{mtu}) from {from}")
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Target => "target",
        Role::Gateway => "gateway",
        Role::Resolver => "resolver",
        Role::Control => "control",
    }
}

/// The name of a unit variant in lower case.
fn lower(name: impl std::fmt::Debug) -> String {
    format!("{name:?}").to_lowercase()
}

fn rises(rose: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = rose.iter().map(|(name, by)| format!("{name} +{by}")).collect();
    if all.is_empty() { "no counter rose".to_owned() } else { list(&all) }
}

/// The first few, and how many more.
fn list<T: Display>(items: &[T]) -> String {
    let mut shown: Vec<String> = items.iter().take(MOST_ITEMS).map(ToString::to_string).collect();
    if let Some(more) = items.len().checked_sub(MOST_ITEMS).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
