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

#[cfg(test)]
mod tests {
    use super::super::{dns_disagreement, dns_failing, dns_lame, dns_ttl_zero};
    use super::*;
    use crate::Recording;
    use crate::causes::Cause;
    use crate::observation::{ConnectOutcome, DnsQuery, SystemLookup, TcpConnect};
    use crate::testkit::{but, claims, healthy_https, plus, rcode};

    const SERVFAIL: u16 = 2;
    const NXDOMAIN: u16 = 3;

    fn server(number: u8, said: ServerSaid) -> TracedServer {
        let address = format!("10.6.0.{number}:53").parse().expect("address");
        TracedServer { name: format!("ns{number}.shop.test"), address, took_ms: 1.0, said, serial: None, tcp: None }
    }

    fn answer() -> ServerSaid {
        ServerSaid::Answer { addresses: vec!["10.2.0.10".parse().expect("address")], ttl_s: Some(300) }
    }

    fn refused() -> ServerSaid {
        ServerSaid::Refused { rcode: 5 }
    }

    fn silent() -> ServerSaid {
        ServerSaid::Silent { waited_ms: 2_200.0 }
    }

    fn walked(said: Vec<ServerSaid>, security: Security) -> DnsTrace {
        let servers: Vec<TracedServer> = (1..).zip(said).map(|(number, said)| server(number, said)).collect();
        let found = servers.iter().any(|server| server.said.serves());
        let ns: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
        let zone = TracedZone {
            zone: "shop.test".to_owned(),
            parent_ns: ns.clone(),
            child_ns: ns,
            delegation_ttl_s: Some(3_600),
            servers,
            left_out: 0,
            nameless: Vec::new(),
            security,
        };
        DnsTrace {
            name: "shop.test".to_owned(),
            given_roots: false,
            clock_unix: 1_795_000_000,
            zones: vec![zone],
            aliases: Vec::new(),
            end: if found { TraceEnd::Found } else { TraceEnd::Stuck },
            addresses: if found { vec!["10.2.0.10".parse().expect("address")] } else { Vec::new() },
            ttl_s: found.then_some(300),
            questions: 9,
        }
    }

    /// The name does not resolve: the resolver answers with this code.
    fn failing_with(code: u16) -> Recording {
        let unresolved = but::<SystemLookup>(healthy_https(), |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("EAI_AGAIN".to_owned());
        });
        but::<DnsQuery>(unresolved, |query| query.outcome = rcode(code))
    }

    fn check(cause: &Cause, recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(cause, recording), expect, "{}", cause.id);
    }

    #[test]
    fn one_lame_server_of_two_is_a_risk_and_all_of_them_a_fault() {
        let lame = |recording: Recording, said: Vec<ServerSaid>| plus(recording, walked(said, Security::Unsigned));
        check(&dns_lame::CAUSE, &lame(healthy_https(), vec![answer(), refused()]), Some((0.93, false)));
        check(&dns_lame::CAUSE, &lame(healthy_https(), vec![refused(), refused()]), Some((0.85, false)));
        let all = lame(failing_with(SERVFAIL), vec![refused(), refused()]);
        check(&dns_lame::CAUSE, &all, Some((0.97, true)));
        check(&dns_failing::SERVFAIL, &all, None);
        check(&dns_lame::CAUSE, &lame(healthy_https(), vec![answer(), answer()]), None);
    }

    #[test]
    fn silence_is_lame_only_beside_a_server_of_the_same_family_that_answers() {
        check(&dns_lame::CAUSE, &plus(healthy_https(), walked(vec![answer(), silent()], Security::Unsigned)), Some((0.93, false)));
        check(&dns_lame::CAUSE, &plus(failing_with(SERVFAIL), walked(vec![silent(), silent()], Security::Unsigned)), None);
        let mut other_family = walked(vec![answer(), silent()], Security::Unsigned);
        other_family.zones[0].servers[1].address = "[fd00::53]:53".parse().expect("address");
        check(&dns_lame::CAUSE, &plus(healthy_https(), other_family), None);
        let no_route = ServerSaid::Failed { errno: "ENETUNREACH".to_owned(), icmp: None };
        check(&dns_lame::CAUSE, &plus(healthy_https(), walked(vec![answer(), no_route], Security::Unsigned)), None);
    }

    #[test]
    fn a_broken_chain_is_a_fault_where_somebody_validates_and_else_a_risk() {
        let expired = Broken::Expired { at_unix: 1_795_000_000 - 3 * 86_400 };
        let bogus = || Security::Bogus { broken: expired, records: "A".to_owned(), server: "ns1.shop.test".to_owned() };
        let failing = plus(failing_with(SERVFAIL), walked(vec![answer()], bogus()));
        check(&dns_failing::DNSSEC_BOGUS, &failing, Some((0.98, true)));
        check(&dns_failing::SERVFAIL, &failing, None);
        check(&dns_failing::DNSSEC_BOGUS, &plus(healthy_https(), walked(vec![answer()], bogus())), Some((0.88, false)));
        check(&dns_failing::DNSSEC_BOGUS, &plus(healthy_https(), walked(vec![answer()], Security::Secure)), None);
        let unknown = Security::Unknown { why: "the clock".to_owned() };
        check(&dns_failing::DNSSEC_BOGUS, &plus(healthy_https(), walked(vec![answer()], unknown)), None);
    }

    #[test]
    fn a_resolver_that_keeps_an_old_answer_or_denial_is_told_from_the_owners() {
        let fails = |recording| {
            but::<TcpConnect>(recording, |connect| connect.outcome = ConnectOutcome::Silent { waited_ms: 4e3, retransmits: 2, icmp: None })
        };
        let mut moved = walked(vec![answer()], Security::Unsigned);
        moved.addresses = vec!["10.3.0.10".parse().expect("address")];
        check(&dns_disagreement::CAUSE, &plus(fails(healthy_https()), moved.clone()), Some((0.6, true)));
        check(&dns_disagreement::CAUSE, &plus(healthy_https(), moved), None);
        check(&dns_disagreement::CAUSE, &plus(fails(healthy_https()), walked(vec![answer()], Security::Unsigned)), None);
        check(&dns_disagreement::CAUSE, &plus(failing_with(NXDOMAIN), walked(vec![answer()], Security::Unsigned)), Some((0.97, true)));
    }

    #[test]
    fn the_owners_tell_the_ttl_that_a_cache_hides() {
        let mut short = walked(vec![answer()], Security::Unsigned);
        short.ttl_s = Some(0);
        check(&dns_ttl_zero::CAUSE, &plus(healthy_https(), short), Some((0.85, false)));
        check(&dns_ttl_zero::CAUSE, &plus(healthy_https(), walked(vec![answer()], Security::Unsigned)), None);
    }
}
