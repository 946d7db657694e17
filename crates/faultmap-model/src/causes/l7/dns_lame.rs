//! A DNS server that is asked for a name and neither owns its zone nor looks it up.

use super::dns_trace::{self, LameZone};
use super::lookup::{Reply, capital, failing};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.dns-lame-delegation`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-lame-delegation",
    layer: Layer::L7,
    title: "the DNS server is not authoritative for the name",
    what: "A zone is delegated to this server, or a client is configured to ask it, and the server neither serves the zone nor looks names up for others: \
           the zone was moved or never loaded there. Who happens to ask this server fails, others do not.",
    shows: "With --dns-trace: a server to which the parent delegates answers REFUSED, SERVFAIL or without authority, or not at all. Without: NOERROR without any record, neither authoritative (AA) nor offering recursion (RA). An empty answer with AA means that the name has no such \
            record.",
    confirm: &[
        Tool { run: "dig @SERVER +norec NAME SOA", on: "here", why: "no SOA and no aa flag: the zone is not loaded" },
        Tool { run: "dig +trace NAME", on: "here", why: "shows whether the parent delegates to this server" },
    ],
    fix: &[
        "Load the zone on this server, or take it out of the NS records at the parent (or out of /etc/resolv.conf).",
        "Look in the server's log for a zone file that did not load or a transfer that failed.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    by_walk(ev).or_else(|| by_answer(ev))
}

/// The walk from the root names the zone and the server.
fn by_walk(ev: &Evidence<'_>) -> Option<Claim> {
    let LameZone { id, zone, lame, all } = dns_trace::lame(ev)?;
    let told: Vec<String> = lame.iter().take(4).map(|server| dns_trace::words(server)).collect();
    let first = lame.first()?;
    let at = format!("{} ({}), delegated for {}", first.name, first.address.ip(), zone.zone);
    let told = told.join(", ");
    let claim = match (all, failing(ev)) {
        (true, Some(questions)) => {
            let summary = format!("No server of the zone {} serves it: {told}. So {} does not resolve.", zone.zone, questions.name);
            Claim::proven(0.97, Where::Remote, at, summary).citing(questions.all_answers().iter().map(|(id, ..)| *id))
        }
        (true, None) => {
            let summary =
                format!("No server of the zone {} serves it: {told}. The name resolves from a cache, as long as that lasts.", zone.zone);
            Claim::degrades(0.85, Where::Remote, at, summary)
        }
        (false, _) => {
            let count = zone.servers.len();
            let summary = format!(
                "{} of {count} server addresses of the zone {} do not serve it: {told}. Resolvers that pick them wait or fail.",
                lame.len(),
                zone.zone
            );
            Claim::degrades(0.93, Where::Remote, at, summary)
        }
    };
    Some(claim.citing([id]))
}

/// The server that was asked says so itself.
fn by_answer(ev: &Evidence<'_>) -> Option<Claim> {
    let questions = failing(ev).filter(|questions| questions.reply() == Reply::Lame)?;
    let server = questions.server_replying(Reply::Lame)?;
    let answers = questions.all_answers();
    let who = questions.called(server);
    let summary = format!(
        "{} is lame for {}: it answers NOERROR with nothing, is not authoritative and offers no recursion.",
        capital(&who),
        questions.name
    );
    Some(Claim::proven(0.93, Where::Remote, who, summary).citing(answers.iter().map(|(id, ..)| *id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DnsOutcome, DnsQuery, SystemLookup};
    use crate::testkit::{but, claims, found, healthy_dns, healthy_https};

    fn check(authoritative: bool, recursion: bool, addresses: &[&str], expect: Option<(f64, bool)>) {
        let recording = but::<DnsQuery>(healthy_dns(), |query| {
            query.outcome = found(addresses);
            if let DnsOutcome::Answer(answer) = &mut query.outcome {
                answer.authoritative = authoritative;
                answer.recursion_available = recursion;
            }
        });
        assert_eq!(claims(&CAUSE, &recording), expect);
    }

    #[test]
    fn an_empty_answer_without_aa_and_ra_is_lame() {
        check(false, false, &[], Some((0.93, true)));
    }

    #[test]
    fn a_configured_resolver_can_be_lame_too() {
        let unresolved = but::<SystemLookup>(healthy_https(), |lookup| lookup.addresses.clear());
        let lame = |recording| {
            but::<DnsQuery>(recording, |query| {
                query.outcome = found(&[]);
                if let DnsOutcome::Answer(answer) = &mut query.outcome {
                    answer.recursion_available = false;
                }
            })
        };
        assert_eq!(claims(&CAUSE, &lame(unresolved)), Some((0.93, true)));
        assert_eq!(claims(&CAUSE, &lame(healthy_https())), None);
    }

    #[test]
    fn a_server_of_a_zone_above_refers_further_down_and_is_not_lame() {
        let referring = |recording| {
            but::<DnsQuery>(recording, |query| {
                query.outcome = found(&[]);
                if let DnsOutcome::Answer(answer) = &mut query.outcome {
                    answer.recursion_available = false;
                    answer.referral = Some("shop.test".to_owned());
                }
            })
        };
        let recording = referring(healthy_dns());
        assert_eq!(claims(&CAUSE, &recording), None);
        assert_eq!(crate::judge::judge(&recording).status, crate::Status::Healthy);
        // In resolv.conf it is of no use, whatever it refers to.
        let unresolved = but::<SystemLookup>(healthy_https(), |lookup| lookup.addresses.clear());
        assert_eq!(claims(&CAUSE, &referring(unresolved)), Some((0.93, true)));
    }

    #[test]
    fn an_owner_without_the_record_or_a_resolver_is_not() {
        check(true, false, &[], None);
        check(false, true, &[], None);
        check(false, false, &["10.2.0.10"], None);
    }
}
