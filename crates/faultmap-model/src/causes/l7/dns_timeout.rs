//! A resolver (or a DNS server under test) is reached and keeps silent.

use super::dns_edns;
use super::lookup::{Questions, Reply, capital, failing, of_resolvers};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{
    DnsConfig, DnsOutcome, DnsQuery, HostsFile, Neighbor, NeighborState, Role, Route, RouteOutcome, TcpConnect, Transport,
};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::{IpAddr, SocketAddr};

/// `l7.dns-timeout`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-timeout",
    layer: Layer::L7,
    title: "the DNS server does not answer",
    what: "Questions reach the server's host, and no answer comes: the DNS service is stopped or overloaded, it drops this client's questions, or its \
           answers have the wrong id. With a second resolver the name still resolves, after seconds of waiting.",
    shows: "Silence on UDP port 53 of a host that is up (it answers TCP, ICMP or other UDP). A filter that drops only UDP port 53 looks the same from here \
            unless DNS over TCP is answered. If the host is not reached at all, a lower layer is at fault.",
    confirm: &[
        Tool {
            run: "dig @{resolver} {host} A +tries=1; dig @{resolver} {host} A +tcp",
            on: "here",
            why: "answered over TCP only: UDP is filtered",
        },
        Tool {
            run: "ss -lunp 'sport = :53'; journalctl -u named -u unbound -u dnsmasq --since -5min",
            on: "the resolver",
            why: "whether the service runs, and what it says",
        },
        Tool {
            run: "tcpdump -ni any port 53",
            on: "the resolver",
            why: "questions arrive and no answer leaves: the service; nothing arrives: a filter",
        },
    ],
    fix: &[
        "Start or mend the DNS service on the resolver.",
        "Put a resolver that answers first in /etc/resolv.conf; options timeout:1 attempts:2 shortens the wait.",
        "Allow udp/53 in the filters between.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(dropped) = dns_edns::dropped(ev) {
        return Some(dropped);
    }
    match failing(ev) {
        Some(questions) => broken(ev, &questions),
        None => beside(ev, &of_resolvers(ev)?),
    }
}

/// No server answers, and so the check fails.
fn broken(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    if questions.reply() != Reply::Nothing {
        return None;
    }
    let server = questions.servers().into_iter().find(|server| !questions.silences(*server).is_empty())?;
    let silences = questions.silences(server);
    let ip = server.ip();
    // Where UDP brought other answers, one over TCP does not blame UDP as a whole.
    let partly = questions.answers(server).any(|(_, query, _)| query.transport == Transport::Udp);
    if (answered_over_tcp(ev, server) && !partly) || way_is_broken(ev, questions.role, ip) {
        return None;
    }
    let who = questions.called(server);
    let up = ev.host_answers(ip).or_else(|| port_answers(ev, server));
    let (confidence, proven) = sureness(ev, server, &silences, up.is_some());
    let seconds = waited(&silences) / 1_000.0;
    let host = match up {
        Some(_) => ", although its host is up",
        None => "",
    };
    let summary =
        capital(&format!("{who} does not answer{host}: no reply for {} in {seconds:.1} s{}.", questions.name, mismatches(&silences)));
    let side = if ip.is_loopback() || ev.is_local(ip) { Where::Local } else { Where::Remote };
    let claim = if proven { Claim::proven(confidence, side, who, summary) } else { Claim::likely(confidence, side, who, summary) };
    let claim = claim.citing(silences.iter().map(|(id, _)| *id)).citing(up);
    let why = "questions arriving without an answer leaving blame the DNS service; nothing arriving blames a filter or the way";
    Some(if proven { claim } else { claim.decided_by("tcpdump -ni any udp port 53", ip.to_string(), why) })
}

/// A resolver keeps silent beside another that answers, or to one type of question: every lookup that begins there waits.
fn beside(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    // A name of the hosts file needs no resolver.
    if ev.all::<HostsFile>().any(|(_, hosts)| !hosts.addresses.is_empty()) {
        return None;
    }
    let partly = |server: SocketAddr| questions.answers(server).any(|(_, query, _)| query.transport == Transport::Udp);
    // Where UDP brought the answer to one type, an answer over TCP does not blame UDP for the other.
    let mute = |server: SocketAddr| {
        !questions.silences(server).is_empty() && questions.unanswered_types(server) && (partly(server) || !answered_over_tcp(ev, server))
    };
    let servers = questions.servers();
    let silent = servers.iter().copied().find(|server| mute(*server))?;
    let silences = questions.silences(silent);
    let partly = partly(silent);
    // The only resolver did answer the system, after we had stopped waiting: it is slow (l7.dns-slow), not silent.
    if servers.len() == 1 && !partly {
        return None;
    }
    // Lookups begin at the first resolver (resolv.conf(5)); one after it is asked only when the first fails.
    let first = ev.first::<DnsConfig>(|_| true).and_then(|(_, config)| config.resolvers.first().copied());
    if !partly && first.is_some_and(|first| first != silent) {
        return None;
    }
    let who = questions.called(silent);
    let summary = if partly {
        let kind = silences.first().map_or("one", |(_, query)| match query.record_type {
            crate::observation::RecordType::A => "A",
            crate::observation::RecordType::Aaaa => "AAAA",
            crate::observation::RecordType::Other => "other",
        });
        format!("{who} leaves the {kind} question for {} unanswered, so that lookups of both families wait for it.", questions.name)
    } else {
        format!("{who} does not answer; the name resolves by another, but every lookup that begins there waits for a timeout.")
    };
    Some(Claim::degrades(0.9, Where::Remote, who, capital(&summary)).citing(silences.iter().map(|(id, _)| *id)))
}

/// How sure that it is the service and not a filter; the complement of `l4.udp-filtered` and of the causes of L2 and L3.
fn sureness(ev: &Evidence<'_>, server: SocketAddr, silences: &[(ObservationId, &DnsQuery)], up: bool) -> (f64, bool) {
    let answered_wrongly =
        silences.iter().any(|(_, query)| matches!(query.outcome, DnsOutcome::Silent { mismatched, .. } if mismatched > 0));
    let silent_over_tcp = |query: &DnsQuery| {
        query.resolver == server && query.transport == Transport::Tcp && matches!(query.outcome, DnsOutcome::Silent { .. })
    };
    let mute_over_tcp = ev.all::<DnsQuery>().any(|(_, query)| silent_over_tcp(query)) && port_answers(ev, server).is_some();
    let same_port_silent = ev.all::<TcpConnect>().any(|(_, connect)| connect.to == server && connect.outcome.silent());
    match () {
        () if answered_wrongly => (0.95, true),
        () if mute_over_tcp => (0.93, true),
        () if server.ip().is_loopback() || ev.is_local(server.ip()) => (0.9, true),
        () if !up => (0.3, false),
        // The kernel of a host whose DNS service hangs would still answer TCP to that port, by SYN-ACK or RST.
        () if same_port_silent => (0.2, false),
        // A service without TCP: it may be mute as well as filtered.
        () if refused(ev, server) => (0.6, false),
        // UDP passes to another port of the host, so that only a filter for this one port remains beside the service.
        () if ev.udp_answers(server.ip()).is_some() => (0.85, false),
        () => (0.6, false),
    }
}

/// The server's own port answered over TCP: by a handshake or a reset.
fn port_answers(ev: &Evidence<'_>, server: SocketAddr) -> Option<ObservationId> {
    let answered = |connect: &TcpConnect| connect.to == server && (connect.outcome.connected() || connect.outcome.reset());
    ev.first::<TcpConnect>(answered).map(|(id, _)| id)
}

/// Nothing takes connections at the server's own port.
fn refused(ev: &Evidence<'_>, server: SocketAddr) -> bool {
    ev.first::<TcpConnect>(|connect| connect.to == server && connect.outcome.reset()).is_some()
}

/// DNS over TCP works: UDP is what fails, which is a matter of L4.
fn answered_over_tcp(ev: &Evidence<'_>, server: SocketAddr) -> bool {
    ev.all::<DnsQuery>()
        .any(|(_, query)| query.resolver == server && query.transport == Transport::Tcp && matches!(query.outcome, DnsOutcome::Answer(_)))
}

/// Something below says that the host is not reached: no route, a dead neighbour, an ICMP error.
fn way_is_broken(ev: &Evidence<'_>, role: Role, ip: IpAddr) -> bool {
    let no_route = ev
        .all::<Route>()
        .any(|(_, route)| route.to == ip && matches!(route.outcome, RouteOutcome::NoRoute | RouteOutcome::Rejected { .. }));
    let dead = |neighbor: &Neighbor| matches!(neighbor.after, NeighborState::Failed | NeighborState::Incomplete);
    let neighbor = ev.next_hop_neighbor(ip).is_some_and(|(_, neighbor)| dead(neighbor));
    let refused = ev.all::<DnsQuery>().any(|(_, query)| {
        query.role == role
            && query.resolver.ip() == ip
            && query.transport == Transport::Udp
            && matches!(query.outcome, DnsOutcome::Failed { .. })
    });
    let icmp = ev
        .all::<TcpConnect>()
        .any(|(_, connect)| connect.to.ip() == ip && connect.role != Role::Control && connect.outcome.icmp().is_some());
    no_route || neighbor || refused || icmp
}

fn waited(silences: &[(ObservationId, &DnsQuery)]) -> f64 {
    let waited = |query: &DnsQuery| match query.outcome {
        DnsOutcome::Silent { waited_ms, .. } => waited_ms,
        _ => 0.0,
    };
    silences.iter().map(|(_, query)| waited(query)).fold(0.0, f64::max)
}

fn mismatches(silences: &[(ObservationId, &DnsQuery)]) -> &'static str {
    let any = silences.iter().any(|(_, query)| matches!(query.outcome, DnsOutcome::Silent { mismatched, .. } if mismatched > 0));
    if any { " (something came that does not match the question: a wrong id, or garbage)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{ConnectOutcome, IcmpError, RecordType, SystemLookup, UdpOutcome, UdpProbe};
    use crate::testkit::{OTHER_RESOLVER, RESOLVER, but, claims, found, healthy_dns, healthy_https, plus, query, unanswered, without};

    fn mute() -> Recording {
        let unresolved = but::<SystemLookup>(without::<TcpConnect>(healthy_https()), |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("timeout".to_owned());
        });
        but::<DnsQuery>(unresolved, |query| query.outcome = unanswered())
    }

    fn tcp(outcome: ConnectOutcome) -> TcpConnect {
        TcpConnect { to: RESOLVER.parse().expect("addr"), role: Role::Resolver, outcome, local: None, answer_ttl: None }
    }

    fn elsewhere(outcome: ConnectOutcome) -> TcpConnect {
        TcpConnect { to: "10.1.0.53:443".parse().expect("addr"), role: Role::Control, ..tcp(outcome) }
    }

    fn reset() -> ConnectOutcome {
        ConnectOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None }
    }

    fn udp_unreachable() -> UdpProbe {
        let from = "10.1.0.53".parse().expect("address");
        let icmp = IcmpError { icmp_type: 3, code: 3, from, mtu: None };
        let outcome = UdpOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: Some(icmp) };
        UdpProbe { to: "10.1.0.53:33434".parse().expect("addr"), role: Role::Control, payload_bytes: 1, sent: 1, outcome }
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn silence_counts_as_much_as_the_host_is_proven_up() {
        check(&mute(), Some((0.3, true)));
        check(&plus(mute(), tcp(reset())), Some((0.6, true)));
        // A service without TCP, mute or filtered: UDP to another port does not tell which.
        check(&plus(plus(mute(), tcp(reset())), udp_unreachable()), Some((0.6, true)));
        check(&plus(plus(mute(), elsewhere(reset())), udp_unreachable()), Some((0.85, true)));
        check(&plus(mute(), tcp(ConnectOutcome::Silent { waited_ms: 900.0, retransmits: 0, icmp: None })), Some((0.3, true)));
        let silent_too = tcp(ConnectOutcome::Silent { waited_ms: 900.0, retransmits: 0, icmp: None });
        check(&plus(plus(mute(), silent_too), udp_unreachable()), Some((0.2, true)));
    }

    #[test]
    fn answers_that_do_not_match_prove_that_somebody_answers_wrongly() {
        check(&but::<DnsQuery>(mute(), |query| query.outcome = DnsOutcome::Silent { waited_ms: 5e3, mismatched: 2 }), Some((0.95, true)));
    }

    #[test]
    fn a_broken_way_belongs_to_the_layers_below() {
        let unreachable = Route { to: "10.1.0.53".parse().expect("address"), role: Role::Resolver, outcome: RouteOutcome::NoRoute };
        check(&plus(mute(), unreachable), None);
        let refused = DnsOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None };
        check(&but::<DnsQuery>(mute(), |query| query.outcome = refused.clone()), None);
        let over_tcp = DnsQuery { transport: Transport::Tcp, ..query(RESOLVER, RecordType::A, found(&["10.2.0.10"])) };
        check(&plus(mute(), over_tcp), None);
    }

    #[test]
    fn one_mute_resolver_of_two_slows_every_lookup() {
        let order = |resolvers: [&str; 2]| {
            let recording = plus(healthy_https(), query(OTHER_RESOLVER, RecordType::A, unanswered()));
            but::<DnsConfig>(recording, |config| config.resolvers = resolvers.iter().filter_map(|text| text.parse().ok()).collect())
        };
        check(&order([OTHER_RESOLVER, RESOLVER]), Some((0.9, false)));
        check(&order([RESOLVER, OTHER_RESOLVER]), None);
        let half = but::<DnsQuery>(healthy_https(), |query| {
            if query.record_type == RecordType::Aaaa {
                query.outcome = unanswered();
            }
        });
        check(&half, Some((0.9, false)));
    }

    #[test]
    fn a_name_of_the_hosts_file_waits_for_no_resolver() {
        let beside = plus(healthy_https(), query(OTHER_RESOLVER, RecordType::A, unanswered()));
        let named = but::<HostsFile>(beside, |hosts| hosts.addresses = vec!["10.2.0.10".parse().expect("address")]);
        check(&named, None);
    }

    #[test]
    fn the_only_resolver_that_answered_the_system_late_is_slow_and_not_silent() {
        let late = but::<DnsQuery>(healthy_https(), |query| query.outcome = unanswered());
        check(&late, None);
    }

    #[test]
    fn a_question_answered_at_the_second_try_is_answered() {
        check(&healthy_https(), None);
        check(&plus(healthy_https(), query(RESOLVER, RecordType::A, unanswered())), None);
    }

    #[test]
    fn a_mute_dns_server_under_test_is_told_in_the_same_way() {
        let mute = but::<DnsQuery>(healthy_dns(), |query| query.outcome = unanswered());
        check(&mute, Some((0.3, true)));
        check(&plus(mute, udp_unreachable()), Some((0.85, true)));
    }
}
