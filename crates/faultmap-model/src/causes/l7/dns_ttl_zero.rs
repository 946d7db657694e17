//! Answers that no cache may keep.

use super::answer::spoken;
use super::dns_trace;
use super::lookup::{Questions, of_resolvers, of_target};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// A lookup below this is not felt.
const FREE_MS: f64 = 20.0;
/// Below this many seconds a cache is of no use.
const SHORT_S: u32 = 5;

/// `l7.dns-ttl-zero`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-ttl-zero",
    layer: Layer::L7,
    title: "the answers of DNS cannot be cached",
    what: "The records live so shortly that every connection asks DNS anew: the resolver's delay and its failures reach every request.",
    shows: "A TTL under 5 s from a server that owns the name (AA), or a TTL of 0 in every answer. A cache counts down what is left, so a small number \
            from a resolver proves nothing by itself.",
    confirm: &[Tool {
        run: "dig {host} NS +short; dig @SERVER-OF-THE-ZONE {host} A",
        on: "here",
        why: "the TTL as the zone's own server gives it",
    }],
    fix: &["Set a TTL of 30 s or more (300 s is usual) where the records are made.", "For failover by DNS, 30 to 60 s is short enough."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    [of_resolvers(ev), of_target(ev)].into_iter().flatten().find_map(|questions| short_lived(ev, &questions))
}

/// How long a lookup takes at its best; what is slower once may be our own scheduler.
fn cost_ms(ev: &Evidence<'_>, questions: &Questions<'_>) -> f64 {
    let answers = questions.all_answers();
    answers.iter().filter_map(|(id, ..)| ev.get(*id)).map(|observation| observation.took_ms).reduce(f64::min).unwrap_or(0.0)
}

/// A resolver on this host, or one that answers from its own table (`dnsmasq --address`, a hosts file that it serves, a service catalogue):
/// authoritative and recursive at once. To ask it anew costs nothing worth a word while it answers at once.
fn local_table(questions: &Questions<'_>) -> bool {
    let own = questions.all_answers().iter().all(|(_, _, answer)| answer.authoritative && answer.recursion_available);
    own || questions.servers().iter().all(|server| server.ip().is_loopback())
}

fn short_lived(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let cost_ms = cost_ms(ev, questions);
    if cost_ms < FREE_MS && local_table(questions) {
        return None;
    }
    let answers: Vec<_> = questions.all_answers().into_iter().filter(|(_, _, answer)| !answer.addresses.is_empty()).collect();
    let ttls: Vec<u32> = answers.iter().filter_map(|(_, _, answer)| answer.min_ttl_s).collect();
    let walk = dns_trace::found(ev);
    let mut owners: Vec<u32> =
        answers.iter().filter(|(_, _, answer)| answer.authoritative).filter_map(|(_, _, answer)| answer.min_ttl_s).collect();
    owners.extend(walk.and_then(|(_, trace)| trace.ttl_s));
    let ttl = if !owners.is_empty() && owners.iter().all(|ttl| *ttl < SHORT_S) {
        owners.iter().copied().max()?
    } else if !ttls.is_empty() && ttls.iter().all(|ttl| *ttl == 0) {
        0
    } else {
        return None;
    };
    let cost = if cost_ms >= FREE_MS { format!(", and waits {} for it", spoken(cost_ms)) } else { String::new() };
    let summary = format!("The addresses of {} live {ttl} s only (TTL {ttl}): every connection has to ask DNS anew{cost}.", questions.name);
    Some(
        Claim::degrades(0.85, Where::Remote, format!("the zone of {}", questions.name), summary)
            .citing(answers.iter().map(|(id, ..)| *id))
            .citing(walk.map(|(id, _)| id)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DnsOutcome, DnsQuery};
    use crate::testkit::{but, claims, healthy_https, took};

    fn check(ttl: u32, authoritative: bool, expect: Option<(f64, bool)>) {
        let recording = but::<DnsQuery>(healthy_https(), |query| {
            if let DnsOutcome::Answer(answer) = &mut query.outcome {
                answer.min_ttl_s = answer.min_ttl_s.map(|_| ttl);
                answer.authoritative = authoritative;
                answer.recursion_available = !authoritative;
            }
        });
        assert_eq!(claims(&CAUSE, &recording), expect, "{ttl} {authoritative}");
    }

    #[test]
    fn a_ttl_of_zero_cannot_be_cached() {
        check(0, false, Some((0.85, false)));
        check(0, true, Some((0.85, false)));
        check(4, true, Some((0.85, false)));
    }

    #[test]
    fn a_local_table_that_answers_at_once_costs_nothing() {
        let dnsmasq = |took_ms| {
            let own = but::<DnsQuery>(healthy_https(), |query| {
                if let DnsOutcome::Answer(answer) = &mut query.outcome {
                    (answer.min_ttl_s, answer.authoritative, answer.recursion_available) = (Some(0), true, true);
                }
            });
            claims(&CAUSE, &took::<DnsQuery>(own, took_ms))
        };
        assert_eq!((dnsmasq(1.0), dnsmasq(180.0)), (None, Some((0.85, false))));
    }

    #[test]
    fn what_is_left_in_a_cache_proves_nothing() {
        check(1, false, None);
        check(4, false, None);
        check(5, true, None);
        check(30, false, None);
    }
}
