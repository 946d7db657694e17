//! The walk from the root as a tree: each zone, its servers with what each said, and how far the signatures hold.

use super::{BOLD, DIM, GREEN, PLAIN, Paper, RED, YELLOW, count, time};
use anstyle::Style;
use faultmap_model::observation::{Broken, DnsTrace, Security, ServerSaid, TcpFallback, TraceEnd, TracedServer, TracedZone};
use faultmap_model::{Report, Seen};
use std::net::IpAddr;

/// Columns of a server's name and address.
const SERVER: usize = 44;
const TIME: usize = 8;
const MOST_NAMES: usize = 8;

/// The last walk, if there was one.
pub(super) fn trace(paper: &mut Paper, report: &Report) {
    let mut walks = report.observations.iter().filter_map(|one| match &one.seen {
        Seen::DnsTrace(walk) => Some(walk),
        _ => None,
    });
    let Some(walk) = walks.next_back() else { return };
    let roots = if walk.given_roots { "the roots given" } else { "IANA's roots" };
    paper.heading(&format!("names: {} from {roots}, {}", walk.name, count(walk.questions, "question")));
    let mut aliases = walk.aliases.iter();
    for (place, one) in walk.zones.iter().enumerate() {
        zone(paper, one, walk.clock_unix);
        let aliased = one.servers.iter().any(|server| matches!(server.said, ServerSaid::Alias { .. }));
        if aliased
            && place + 1 < walk.zones.len()
            && let Some(to) = aliases.next()
        {
            paper.blank(4).put(DIM, "goes on with").blank(1).wrapped(PLAIN, to, 6);
        }
    }
    let (style, end) = ending(walk);
    let arrow = if paper.utf8() { "→" } else { "->" };
    paper.blank(2).put(style, arrow).blank(1).wrapped(PLAIN, &end, 4);
}

fn zone(paper: &mut Paper, zone: &TracedZone, clock_unix: i64) {
    paper.blank(2).put(BOLD, &zone.zone).blank(2);
    let (style, words) = security(&zone.security, clock_unix);
    paper.wrapped(style, &words, 6);
    for server in &zone.servers {
        self::server(paper, server);
    }
    if zone.left_out > 0 {
        paper.blank(4).wrapped(DIM, &format!("{} more addresses not asked", zone.left_out), 6);
    }
    if !zone.nameless.is_empty() {
        paper.blank(4).wrapped(YELLOW, &format!("no address found for {}", names(&zone.nameless)), 6);
    }
    if !zone.child_ns.is_empty() && zone.child_ns != zone.parent_ns {
        let only = |one: &[String], other: &[String]| one.iter().filter(|name| !other.contains(name)).cloned().collect::<Vec<_>>();
        let (parent, child) = (only(&zone.parent_ns, &zone.child_ns), only(&zone.child_ns, &zone.parent_ns));
        for (text, list) in [("only the parent names", parent), ("only the zone itself names", child)] {
            if !list.is_empty() {
                paper.blank(4).wrapped(YELLOW, &format!("{text} {}", names(&list)), 6);
            }
        }
    }
}

fn server(paper: &mut Paper, server: &TracedServer) {
    let (good, style) = match &server.said {
        said if said.serves() => (true, GREEN),
        ServerSaid::Failed { .. } | ServerSaid::Silent { .. } => (false, YELLOW),
        _ => (false, RED.bold()),
    };
    let glyph = match (good, paper.utf8()) {
        (true, true) => "✔",
        (true, false) => "+",
        (false, true) => "✘",
        (false, false) => "x",
    };
    paper.blank(4).put(style, glyph).blank(1);
    paper.cell(PLAIN, &format!("{} {}", server.name, server.address.ip()), SERVER).blank(1);
    paper.cell_right(DIM, &time(server.took_ms), TIME).blank(2);
    paper.wrapped(if good { PLAIN } else { style }, &said(server), 6);
}

fn said(server: &TracedServer) -> String {
    let mut text = match &server.said {
        ServerSaid::Answer { addresses, ttl_s } => {
            let ttl = ttl_s.map_or_else(String::new, |ttl| format!(", TTL {ttl} s"));
            format!("{}{ttl}", list(addresses))
        }
        ServerSaid::Alias { to } => format!("alias of {to}"),
        ServerSaid::Referral { zone, ns } => {
            format!("refers to {zone} ({})", count(u32::try_from(ns.len()).unwrap_or(u32::MAX), "name server"))
        }
        ServerSaid::NoName => "no such name".to_owned(),
        ServerSaid::NoAddress => "no IPv4 address".to_owned(),
        ServerSaid::Refused { rcode: 5 } => "REFUSED".to_owned(),
        ServerSaid::Refused { rcode: 2 } => "SERVFAIL".to_owned(),
        ServerSaid::Refused { rcode } => format!("RCODE {rcode}"),
        ServerSaid::NotAuthoritative { recursion_available: true } => "not authoritative: a resolver".to_owned(),
        ServerSaid::NotAuthoritative { .. } => "not authoritative".to_owned(),
        ServerSaid::Silent { .. } => "silent".to_owned(),
        ServerSaid::Failed { errno, .. } => errno.clone(),
        ServerSaid::Unreadable => "nonsense".to_owned(),
    };
    text.extend(server.serial.map(|serial| format!(", serial {serial}")));
    text.extend(server.tcp.map(|tcp| if tcp == TcpFallback::Answered { ", over TCP" } else { ", cut short and silent over TCP" }));
    text
}

fn security(security: &Security, clock_unix: i64) -> (Style, String) {
    match security {
        Security::Secure => (GREEN, "signed, and the signatures hold".to_owned()),
        Security::Unsigned => (DIM, "not signed".to_owned()),
        Security::Bogus { broken, records, server } => {
            (RED.bold(), format!("BOGUS: {}, says {server}", broken_words(broken, records, clock_unix)))
        }
        Security::Unknown { why } => (YELLOW, format!("signatures not checked: {why}")),
    }
}

fn broken_words(broken: &Broken, records: &str, clock_unix: i64) -> String {
    match broken {
        Broken::Expired { at_unix } => format!("the signature over {records} expired {} ago", time_span(clock_unix - at_unix)),
        Broken::NotYetValid { at_unix } => format!("the signature over {records} begins in {}", time_span(at_unix - clock_unix)),
        Broken::NoKeyForDs { key_tag } => format!("no key matches the parent's DS {key_tag}"),
        Broken::NoKeys => "the parent has a DS, the zone no keys".to_owned(),
        Broken::NoSignature => format!("no signature over {records}"),
        Broken::UnknownKey { key_tag } => format!("{records} signed by the unknown key {key_tag}"),
        Broken::BadSignature { key_tag } => format!("the signature by key {key_tag} over {records} does not fit"),
    }
}

fn time_span(seconds: i64) -> String {
    match seconds {
        s if s >= 172_800 => format!("{} days", s / 86_400),
        s if s >= 7_200 => format!("{} hours", s / 3_600),
        s => format!("{} min", s / 60),
    }
}

fn ending(walk: &DnsTrace) -> (Style, String) {
    match walk.end {
        TraceEnd::Found => {
            let ttl = walk.ttl_s.map_or_else(String::new, |ttl| format!(", TTL {ttl} s"));
            (GREEN, format!("{}{ttl}, from its owners", list(&walk.addresses)))
        }
        TraceEnd::NoName => (RED, "the owners say that there is no such name".to_owned()),
        TraceEnd::NoAddress => (RED, "the owners say that the name has no address".to_owned()),
        TraceEnd::Stuck => (RED, "no server of the last zone serves it".to_owned()),
        TraceEnd::NoRoot => (YELLOW, "no root server answers here: the walk ends before it begins".to_owned()),
        TraceEnd::Intercepted => (YELLOW, "a resolver answers in the root's place: port 53 is intercepted".to_owned()),
        TraceEnd::CutShort => (YELLOW, "a bound was met; the walk is not complete".to_owned()),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    names(&texts)
}

fn names(names: &[String]) -> String {
    let more = if names.len() > MOST_NAMES { ", …" } else { "" };
    format!("{}{more}", names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", "))
}
