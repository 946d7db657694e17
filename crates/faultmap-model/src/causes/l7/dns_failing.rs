//! The resolver answers, and fails or refuses; or finds the signatures wrong.

use super::dns_trace;
use super::lookup::{Questions, Reply, capital, extended_error, failing, rcode_name, system_failure};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DnsAnswer, DnsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// Extended DNS errors that say that validation failed (RFC 8914: 6 bogus to 12 NSEC missing).
const VALIDATION: std::ops::RangeInclusive<u16> = 6..=12;

/// `l7.dns-servfail`
pub(super) static SERVFAIL: Cause = Cause {
    id: "l7.dns-servfail",
    layer: Layer::L7,
    title: "the resolver fails to resolve the name",
    what: "The resolver answers that it could not find out: it cannot reach the zone's servers, they answer nonsense, or the resolver itself is broken.",
    shows: "RCODE 2 (SERVFAIL), also with checking disabled: with CD set and an answer, it would be DNSSEC. An extended error (RFC 8914) names the reason.",
    confirm: &[
        Tool {
            run: "faultmap check {url} --dns-trace",
            on: "here",
            why: "asks every server from the root down, and checks the signatures: which zone fails, and how",
        },
        Tool {
            run: "dig @{resolver} {host} A; dig @{resolver} . NS",
            on: "here",
            why: "fails for the root too: the resolver has no way out; else it is the zone",
        },
        Tool { run: "dig +trace {host} A", on: "here", why: "shows which server of the zone does not answer" },
    ],
    fix: &[
        "If only this zone fails, mend its name servers or its delegation.",
        "If every name fails, mend the resolver: its upstreams, its way to the Internet, its clock.",
        "Until then use another resolver.",
    ],
    claim: servfail,
};

/// `l7.dns-refused`
pub(super) static REFUSED: Cause = Cause {
    id: "l7.dns-refused",
    layer: Layer::L7,
    title: "the DNS server refuses to answer",
    what: "The server answers that it will not: this client is not in its access list, recursion is not offered to it, or the zone is not served there.",
    shows: "RCODE 5 (REFUSED), or 4 or 9. The way to the server is well.",
    confirm: &[Tool {
        run: "dig @{resolver} {host} A",
        on: "here and on another client",
        why: "answered elsewhere: an access list; refused everywhere: the zone is not served",
    }],
    fix: &[
        "Allow this client in the resolver's access list (BIND: allow-recursion; Unbound: access-control).",
        "Ask a recursive resolver, not the authoritative server of another zone.",
    ],
    claim: refused,
};

/// `l7.dns-dnssec-bogus`
pub(super) static DNSSEC_BOGUS: Cause = Cause {
    id: "l7.dns-dnssec-bogus",
    layer: Layer::L7,
    title: "DNSSEC validation fails",
    what: "The zone is signed, and the signatures do not hold: expired, made with a key that the parent does not know, or missing. A validating resolver \
           then answers SERVFAIL, while others resolve the name. A wrong clock at the resolver does the same to every signed zone.",
    shows: "SERVFAIL, but an answer with checking disabled (CD, RFC 4035), or an extended error 6 to 12 that says so.",
    confirm: &[
        Tool { run: "faultmap check {url} --dns-trace", on: "here", why: "names the zone at which the chain breaks, and how" },
        Tool { run: "dig @{resolver} +cd +dnssec {host} A", on: "here", why: "answered with +cd and not without: validation" },
        Tool {
            run: "delv @{resolver} {host} A; dig +dnssec {host} RRSIG",
            on: "here",
            why: "the dates of the signatures, and which link of the chain breaks",
        },
        Tool { run: "timedatectl", on: "the resolver", why: "a wrong clock makes good signatures look expired" },
    ],
    fix: &[
        "Sign the zone anew; check that the parent's DS matches the key.",
        "After a key rollover, wait for the old DS to leave the caches, or flush the resolver's.",
        "If every signed zone fails, set the resolver's clock.",
    ],
    claim: bogus,
};

fn servfail(ev: &Evidence<'_>) -> Option<Claim> {
    let questions = failing(ev)?;
    let Reply::Failing(rcode) = questions.reply() else { return None };
    if validation(&questions).is_some() || dns_trace::explains_failure(ev) {
        return None;
    }
    let outcome = format!("cannot resolve {}: it answers {}", questions.name, rcode_name(rcode));
    Some(told(ev, &questions, 0.95, &outcome))
}

fn refused(ev: &Evidence<'_>) -> Option<Claim> {
    let questions = failing(ev)?;
    let Reply::Refusing(rcode) = questions.reply() else { return None };
    let outcome = format!("refuses to answer for {}: {}", questions.name, rcode_name(rcode));
    Some(told(ev, &questions, 0.95, &outcome))
}

fn bogus(ev: &Evidence<'_>) -> Option<Claim> {
    bogus_by_walk(ev).or_else(|| bogus_by_answer(ev))
}

/// The walk from the root names the zone, and how its signatures fail.
fn bogus_by_walk(ev: &Evidence<'_>) -> Option<Claim> {
    let found = dns_trace::bogus(ev)?;
    let how = dns_trace::how(&found.broken, found.records, found.clock_unix);
    let at = format!("the zone {}", found.zone);
    let claim = match failing(ev).filter(|questions| matches!(questions.reply(), Reply::Failing(_))) {
        Some(questions) => {
            let summary = format!(
                "The DNSSEC chain breaks at {}: {how}, as {} shows; validating resolvers answer SERVFAIL.",
                found.zone, found.server
            );
            Claim::proven(0.98, Where::Remote, at, summary).citing(questions.all_answers().iter().map(|(id, ..)| *id))
        }
        None => {
            let summary = format!(
                "The DNSSEC chain breaks at {}: {how}, as {} shows. The resolver asked here does not mind; those that validate answer SERVFAIL.",
                found.zone, found.server
            );
            Claim::degrades(0.88, Where::Remote, at, summary)
        }
    };
    Some(claim.citing([found.id]))
}

fn bogus_by_answer(ev: &Evidence<'_>) -> Option<Claim> {
    let questions = failing(ev).filter(|questions| matches!(questions.reply(), Reply::Failing(_)))?;
    let proof = validation(&questions)?;
    let how = match &proof.unchecked {
        Some(_) => "it answers SERVFAIL, but finds the name when asked not to validate",
        None => "it answers SERVFAIL",
    };
    let outcome = format!("finds the DNSSEC signatures of {} bogus: {how}", questions.name);
    let confidence = if proof.said { 0.97 } else { 0.92 };
    Some(told(ev, &questions, confidence, &outcome).citing(proof.unchecked))
}

fn told(ev: &Evidence<'_>, questions: &Questions<'_>, confidence: f64, outcome: &str) -> Claim {
    let server = questions.server_replying(questions.reply());
    let who = server.map_or_else(|| "the resolver".to_owned(), |server| questions.called(server));
    let answers = questions.all_answers();
    let summary = capital(&format!("{who} {outcome}{}.", extended_error(answers.iter().map(|(_, _, answer)| *answer))));
    let claim = Claim::proven(confidence, Where::Remote, who, summary);
    claim.citing(answers.iter().map(|(id, ..)| *id)).citing(system_failure(ev).map(|(id, _)| id))
}

/// Proof that validation failed.
struct Proof {
    /// An extended error says so.
    said: bool,
    /// The same server answers with checking disabled.
    unchecked: Option<ObservationId>,
}

fn validation(questions: &Questions<'_>) -> Option<Proof> {
    let server = questions.server_replying(questions.reply())?;
    let said = questions.answers(server).any(|(_, _, answer)| answer.ede.iter().any(|(code, _)| VALIDATION.contains(code)));
    let resolved = |answer: &DnsAnswer| answer.rcode == 0 && answer.records > 0;
    let unchecked = questions.asked.iter().find(|(_, query)| {
        query.resolver == server && query.checking_disabled && matches!(&query.outcome, DnsOutcome::Answer(answer) if resolved(answer))
    });
    let unchecked = unchecked.map(|(id, _)| *id);
    (said || unchecked.is_some()).then_some(Proof { said, unchecked })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{DnsQuery, RecordType, SystemLookup};
    use crate::testkit::{OTHER_RESOLVER, RESOLVER, but, claims, found, healthy_dns, healthy_https, plus, query, rcode};

    fn answering(outcome: &DnsOutcome) -> Recording {
        let unresolved = but::<SystemLookup>(healthy_https(), |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("EAI_AGAIN".to_owned());
        });
        but::<DnsQuery>(unresolved, |query| query.outcome = outcome.clone())
    }

    fn check(recording: &Recording, expect: [Option<(f64, bool)>; 3]) {
        assert_eq!([&SERVFAIL, &REFUSED, &DNSSEC_BOGUS].map(|cause| claims(cause, recording)), expect);
    }

    fn unchecked(outcome: DnsOutcome) -> DnsQuery {
        DnsQuery { checking_disabled: true, ..query(RESOLVER, RecordType::A, outcome) }
    }

    #[test]
    fn each_rcode_has_its_cause() {
        check(&answering(&rcode(2)), [Some((0.95, true)), None, None]);
        check(&answering(&rcode(1)), [Some((0.95, true)), None, None]);
        check(&answering(&rcode(5)), [None, Some((0.95, true)), None]);
        check(&answering(&rcode(4)), [None, Some((0.95, true)), None]);
        check(&but::<DnsQuery>(healthy_dns(), |query| query.outcome = rcode(5)), [None, Some((0.95, true)), None]);
    }

    #[test]
    fn an_answer_with_checking_disabled_means_dnssec() {
        check(&plus(answering(&rcode(2)), unchecked(found(&["10.2.0.10"]))), [None, None, Some((0.92, true))]);
        check(&plus(answering(&rcode(2)), unchecked(rcode(2))), [Some((0.95, true)), None, None]);
    }

    #[test]
    fn an_extended_error_says_what_failed() {
        let said = |code: u16| {
            but::<DnsQuery>(answering(&rcode(2)), |query| {
                if let DnsOutcome::Answer(answer) = &mut query.outcome {
                    answer.ede = vec![(code, "reason".to_owned())];
                }
            })
        };
        check(&said(7), [None, None, Some((0.97, true))]);
        check(&said(22), [Some((0.95, true)), None, None]);
    }

    #[test]
    fn a_name_that_another_resolver_finds_is_not_broken() {
        check(&healthy_https(), [None; 3]);
        check(&plus(answering(&rcode(2)), query(OTHER_RESOLVER, RecordType::A, found(&["10.2.0.10"]))), [None; 3]);
        check(&plus(healthy_https(), query(OTHER_RESOLVER, RecordType::A, rcode(2))), [None; 3]);
    }
}
