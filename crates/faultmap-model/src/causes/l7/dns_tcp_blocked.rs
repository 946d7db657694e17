//! The answer is too large for UDP, and TCP port 53 does not work.

use super::lookup::{Questions, Reply, capital, of_resolvers, of_target};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DnsOutcome, DnsQuery, Role, Transport};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l7.dns-tcp-blocked`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-tcp-blocked",
    layer: Layer::L7,
    title: "the answer needs DNS over TCP, which does not work",
    what: "The answer does not fit into a datagram, so the server sets TC and the client must ask over TCP. A filter that allows only udp/53, or a server \
           that does not listen on tcp/53, then breaks names with many records while all others work.",
    shows: "A truncated answer over UDP, then no answer over TCP from the same server.",
    confirm: &[
        Tool {
            run: "dig @{resolver} {host} +notcp +ignore; dig @{resolver} {host} +tcp",
            on: "here",
            why: "tc flag over UDP, and nothing over TCP",
        },
        Tool { run: "ss -ltn 'sport = :53'", on: "the resolver", why: "whether it listens on TCP at all" },
    ],
    fix: &[
        "Allow tcp/53 wherever udp/53 is allowed (RFC 7766 demands both).",
        "Let the DNS server listen on TCP.",
        "Until then give the name fewer records.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    [of_resolvers(ev), of_target(ev)].into_iter().flatten().find_map(|questions| blocked(ev, &questions))
}

fn blocked(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let (cut, over_tcp, query) = questions.servers().into_iter().find_map(|server| unfinished(questions, server))?;
    let how = match &query.outcome {
        DnsOutcome::Failed { errno, .. } if errno == "ECONNREFUSED" => "is refused".to_owned(),
        DnsOutcome::Failed { errno, .. } => format!("fails ({errno})"),
        _ => "gets no answer".to_owned(),
    };
    let who = questions.called(query.resolver);
    let summary = capital(&format!("{who} cuts its answer for {} short (TC), and the question over TCP {how}.", questions.name));
    let breaks = match questions.role {
        Role::Target => questions.reply() != Reply::Found,
        _ => ev.name_unresolved() && questions.reply() != Reply::Found,
    };
    let claim = if breaks { Claim::proven(0.95, Where::Path, who, summary) } else { Claim::degrades(0.85, Where::Path, who, summary) };
    Some(claim.citing([cut, over_tcp]))
}

/// A truncated answer whose question over TCP was not answered: both numbers, and the latter.
fn unfinished<'a>(questions: &Questions<'a>, server: std::net::SocketAddr) -> Option<(ObservationId, ObservationId, &'a DnsQuery)> {
    let asked: Vec<_> = questions.to(server).collect();
    let truncated =
        |query: &DnsQuery| query.transport == Transport::Udp && matches!(&query.outcome, DnsOutcome::Answer(answer) if answer.truncated);
    asked.iter().filter(|(_, query)| truncated(query)).find_map(|(id, cut)| {
        let same = |query: &DnsQuery| query.transport == Transport::Tcp && query.record_type == cut.record_type && query.name == cut.name;
        let over_tcp: Vec<_> = asked.iter().filter(|(_, query)| same(query)).collect();
        let answered = over_tcp.iter().any(|(_, query)| matches!(query.outcome, DnsOutcome::Answer(_)));
        let (tcp_id, query) = over_tcp.last().filter(|_| !answered)?;
        Some((*id, *tcp_id, *query))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{RecordType, SystemLookup};
    use crate::testkit::{RESOLVER, but, claims, found, healthy_https, plus, query, unanswered};

    fn truncated(recording: Recording) -> Recording {
        but::<DnsQuery>(recording, |query| {
            if let DnsOutcome::Answer(answer) = &mut query.outcome {
                answer.truncated = true;
                answer.addresses.clear();
            }
        })
    }

    fn unresolved() -> Recording {
        but::<SystemLookup>(healthy_https(), |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("EAI_AGAIN".to_owned());
        })
    }

    fn over_tcp(outcome: DnsOutcome) -> DnsQuery {
        DnsQuery { transport: Transport::Tcp, ..query(RESOLVER, RecordType::A, outcome) }
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn a_truncated_answer_and_dead_tcp_break_the_name() {
        check(&plus(truncated(unresolved()), over_tcp(unanswered())), Some((0.95, true)));
        let refused = DnsOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None };
        check(&plus(truncated(unresolved()), over_tcp(refused)), Some((0.95, true)));
    }

    #[test]
    fn when_the_system_resolves_it_all_the_same_it_is_a_risk() {
        check(&plus(truncated(healthy_https()), over_tcp(unanswered())), Some((0.85, false)));
    }

    #[test]
    fn tcp_that_answers_or_was_not_tried_is_well() {
        check(&plus(truncated(unresolved()), over_tcp(found(&["10.2.0.10"]))), None);
        check(&truncated(unresolved()), None);
        check(&healthy_https(), None);
    }
}
