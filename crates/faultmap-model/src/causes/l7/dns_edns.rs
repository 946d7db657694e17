//! Questions with EDNS stay silent where plain ones are answered. Told by `l7.dns-timeout`; claims nothing by itself.

use super::lookup::{Questions, capital, of_resolvers, of_target};
use crate::Evidence;
use crate::causes::Claim;
use crate::observation::{DnsOutcome, DnsQuery, Transport};
use crate::verdict::Where;
use std::net::SocketAddr;

/// A server that answers without EDNS and never with it. Two datagrams of each question were lost, so it is no chance.
pub(super) fn dropped(ev: &Evidence<'_>) -> Option<Claim> {
    [of_resolvers(ev), of_target(ev)].into_iter().flatten().find_map(|questions| {
        let server = questions.servers().into_iter().find(|server| drops(&questions, *server))?;
        let who = questions.called(server);
        let summary = capital(&format!(
            "{who} answers for {} only when it is asked without EDNS; questions with EDNS stay silent: an old server, or a middlebox that drops \
             what it does not know. Validating resolvers and many clients cannot use it.",
            questions.name
        ));
        let claim = Claim::degrades(0.87, Where::Path, who.clone(), summary).citing(questions.to(server).map(|(id, _)| id));
        Some(
            claim
                .decided_by(
                    format!("dig @{} {} +noedns; dig @{0} {1} +edns=0", server.ip(), questions.name),
                    "here",
                    "answered without EDNS only",
                )
                .advising("Let DNS messages with an OPT record (EDNS, RFC 6891) through the firewall, or renew the DNS server."),
        )
    })
}

fn drops(questions: &Questions<'_>, server: SocketAddr) -> bool {
    let over_udp = |query: &&DnsQuery| query.transport == Transport::Udp;
    let asked: Vec<&DnsQuery> = questions.to(server).map(|(_, query)| query).filter(over_udp).collect();
    let (with, without): (Vec<&DnsQuery>, Vec<&DnsQuery>) = asked.into_iter().partition(|query| query.offered.is_none());
    let lost = |query: &&DnsQuery| matches!(query.outcome, DnsOutcome::Silent { mismatched: 0, .. }) && query.sent > 1;
    // An answer that is cut short without EDNS is large: then it is its size that gets it lost.
    let whole = |query: &&DnsQuery| matches!(&query.outcome, DnsOutcome::Answer(answer) if !answer.truncated);
    !with.is_empty() && with.iter().all(lost) && !without.is_empty() && without.iter().all(whole)
}

#[cfg(test)]
mod tests {
    use super::super::dns_timeout::CAUSE;
    use super::*;
    use crate::Recording;
    use crate::observation::RecordType;
    use crate::testkit::{RESOLVER, but, claims, found, healthy_https, plus, query, unanswered};

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    fn plain(outcome: DnsOutcome) -> DnsQuery {
        DnsQuery { offered: Some(0), ..query(RESOLVER, RecordType::A, outcome) }
    }

    fn silent() -> Recording {
        but::<DnsQuery>(healthy_https(), |query| {
            query.outcome = unanswered();
            query.sent = 2;
        })
    }

    #[test]
    fn answers_without_edns_only_mean_that_edns_is_dropped() {
        check(&plus(silent(), plain(found(&["10.2.0.10"]))), Some((0.87, false)));
    }

    #[test]
    fn a_server_that_answers_with_edns_too_or_not_at_all_is_another_matter() {
        check(&plus(healthy_https(), plain(found(&["10.2.0.10"]))), None);
        check(&plus(silent(), plain(unanswered())), None);
    }
}
