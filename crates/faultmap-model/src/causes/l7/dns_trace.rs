//! What a walk from the root shows: lame servers, zones without a good one, broken chains of signatures. Claims nothing by itself.

use super::lookup::{failing, rcode_name};
use crate::observation::{Broken, DnsTrace, Security, ServerSaid, TraceEnd, TracedServer, TracedZone};
use crate::{Evidence, ObservationId};

/// A zone some of whose servers do not serve it.
pub(super) struct LameZone<'a> {
    pub(super) id: ObservationId,
    pub(super) zone: &'a TracedZone,
    pub(super) lame: Vec<&'a TracedServer>,
    /// No server of the zone serves it.
    pub(super) all: bool,
}

/// A zone at which the signatures break.
pub(super) struct BogusZone<'a> {
    pub(super) id: ObservationId,
    pub(super) zone: &'a str,
    pub(super) broken: Broken,
    pub(super) records: &'a str,
    pub(super) server: &'a str,
    pub(super) clock_unix: i64,
}

/// The walk, if there was one.
pub(super) fn walk<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a DnsTrace)> {
    ev.all::<DnsTrace>().last()
}

/// The first zone below the root with a lame server; one without any good server comes first.
pub(super) fn lame<'a>(ev: &Evidence<'a>) -> Option<LameZone<'a>> {
    let (id, trace) = walk(ev)?;
    let zones = trace.zones.iter().filter(|zone| zone.zone != ".");
    let lame_zones = zones.filter_map(|zone| {
        let lame: Vec<&TracedServer> = zone.servers.iter().filter(|server| is_lame(zone, server)).collect();
        let all = !zone.servers.is_empty() && !zone.servers.iter().any(|server| server.said.serves());
        (!lame.is_empty()).then_some(LameZone { id, zone, lame, all })
    });
    lame_zones.max_by_key(|zone| zone.all)
}

/// The server was reached and does not serve the zone; or is silent where another of the zone, in the same family, is not.
fn is_lame(zone: &TracedZone, server: &TracedServer) -> bool {
    match &server.said {
        ServerSaid::Silent { .. } => {
            let beside = |other: &&TracedServer| other.address.is_ipv4() == server.address.is_ipv4() && other.said.serves();
            zone.servers.iter().find(beside).is_some()
        }
        ServerSaid::Failed { errno, .. } => errno == "ECONNREFUSED",
        said => said.lame(),
    }
}

/// What one server said, for a sentence.
pub(super) fn words(server: &TracedServer) -> String {
    let said = match &server.said {
        ServerSaid::Refused { rcode } => format!("answers {}", rcode_name(*rcode)),
        ServerSaid::NotAuthoritative { .. } => "is not authoritative".to_owned(),
        ServerSaid::Unreadable => "answers nonsense".to_owned(),
        ServerSaid::Silent { .. } => "is silent".to_owned(),
        ServerSaid::Failed { errno, .. } => format!("cannot be asked ({errno})"),
        _ => "serves it".to_owned(),
    };
    format!("{} ({}) {said}", server.name, server.address.ip())
}

/// The zone at which the chain of signatures breaks.
pub(super) fn bogus<'a>(ev: &Evidence<'a>) -> Option<BogusZone<'a>> {
    let (id, trace) = walk(ev)?;
    trace.zones.iter().find_map(|zone| match &zone.security {
        Security::Bogus { broken, records, server } => {
            Some(BogusZone { id, zone: &zone.zone, broken: *broken, records, server, clock_unix: trace.clock_unix })
        }
        _ => None,
    })
}

/// How the chain breaks, in words; `records` are those whose signature it is about.
pub(super) fn how(broken: &Broken, records: &str, clock_unix: i64) -> String {
    match broken {
        Broken::Expired { at_unix } => format!("the signature over its {records} expired {} ago", span(clock_unix - at_unix)),
        Broken::NotYetValid { at_unix } => format!("the signature over its {records} begins only in {}", span(at_unix - clock_unix)),
        Broken::NoKeyForDs { key_tag } => format!("none of its keys matches the DS at the parent (key tag {key_tag})"),
        Broken::NoKeys => "the parent has a DS, and the zone shows no keys".to_owned(),
        Broken::NoSignature => format!("its {records} has no signature, though the parent says that the zone is signed"),
        Broken::UnknownKey { key_tag } => format!("its {records} is signed by a key that it does not publish (key tag {key_tag})"),
        Broken::BadSignature { key_tag } => format!("the signature over its {records} does not fit (key tag {key_tag})"),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => format!("{} days", s / 86_400),
        s if s >= 2 * 3_600 => format!("{} hours", s / 3_600),
        s if s >= 120 => format!("{} minutes", s / 60),
        s => format!("{s} s"),
    }
}

/// The walk tells why the name did not resolve: no better guess is needed.
pub(super) fn explains_failure(ev: &Evidence<'_>) -> bool {
    failing(ev).is_some() && (lame(ev).is_some_and(|zone| zone.all) || bogus(ev).is_some())
}

/// The owners gave addresses.
pub(super) fn found<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a DnsTrace)> {
    walk(ev).filter(|(_, trace)| trace.end == TraceEnd::Found && !trace.addresses.is_empty())
}
