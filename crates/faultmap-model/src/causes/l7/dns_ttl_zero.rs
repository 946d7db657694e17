//! Answers that no cache may keep.

use super::lookup::{Questions, of_resolvers, of_target};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

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
    [of_resolvers(ev), of_target(ev)].into_iter().flatten().find_map(|questions| short_lived(&questions))
}

fn short_lived(questions: &Questions<'_>) -> Option<Claim> {
    let answers: Vec<_> = questions.all_answers().into_iter().filter(|(_, _, answer)| !answer.addresses.is_empty()).collect();
    let ttls: Vec<u32> = answers.iter().filter_map(|(_, _, answer)| answer.min_ttl_s).collect();
    let owners: Vec<u32> =
        answers.iter().filter(|(_, _, answer)| answer.authoritative).filter_map(|(_, _, answer)| answer.min_ttl_s).collect();
    let ttl = if !owners.is_empty() && owners.iter().all(|ttl| *ttl < SHORT_S) {
        owners.iter().copied().max()?
    } else if !ttls.is_empty() && ttls.iter().all(|ttl| *ttl == 0) {
        0
    } else {
        return None;
    };
    let summary = format!("The addresses of {} live {ttl} s only (TTL {ttl}): every connection has to ask DNS anew.", questions.name);
    Some(
        Claim::degrades(0.85, Where::Remote, format!("the zone of {}", questions.name), summary).citing(answers.iter().map(|(id, ..)| *id)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DnsOutcome, DnsQuery};
    use crate::testkit::{but, claims, healthy_https};

    fn check(ttl: u32, authoritative: bool, expect: Option<(f64, bool)>) {
        let recording = but::<DnsQuery>(healthy_https(), |query| {
            if let DnsOutcome::Answer(answer) = &mut query.outcome {
                answer.min_ttl_s = answer.min_ttl_s.map(|_| ttl);
                answer.authoritative = authoritative;
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
    fn what_is_left_in_a_cache_proves_nothing() {
        check(1, false, None);
        check(4, false, None);
        check(5, true, None);
        check(30, false, None);
    }
}
