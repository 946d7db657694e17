//! The name resolves, but slowly.

use super::answer::spoken;
use super::dns_search as search;
use super::lookup::{Questions, capital, of_resolvers, of_target};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DnsOutcome, DnsQuery, RecordType, Role, SystemLookup};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// A cached answer takes one round trip; a walk from the root through near servers less than this.
const SLOW_MS: f64 = 200.0;
/// Below this, one slow answer alone may be a busy moment's.
const SURELY_SLOW_MS: f64 = 600.0;
/// A system lookup from here on has waited for a timeout or a retransmission.
const VERY_SLOW_MS: f64 = 1_000.0;

/// `l7.dns-slow`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-slow",
    layer: Layer::L7,
    title: "name resolution is slow",
    what: "Each new connection waits for the name first: a far or overloaded resolver, a zone whose servers are far and whose answers are not cached, a \
           search list that asks for names in vain, or a lost datagram that is sent again after seconds.",
    shows: "A question or the system's lookup took more than 200 ms. One slow answer may be a cold cache: ask again. The system slower than the direct \
            question points to the search list, to nsswitch.conf, or to a first resolver that is dead.",
    confirm: &[
        Tool {
            run: "for i in 1 2 3; do dig @{resolver} {host} | grep 'Query time'; done",
            on: "here",
            why: "slow each time: the resolver; only once: a cold cache",
        },
        Tool {
            run: "time getent ahosts {host}; cat /etc/resolv.conf /etc/nsswitch.conf",
            on: "here",
            why: "the system's own way, its resolvers and search list",
        },
    ],
    fix: &[
        "Use a near resolver with a cache (unbound, dnsmasq, NodeLocal DNSCache).",
        "Take dead resolvers and needless search domains out of /etc/resolv.conf; write names with a final dot where ndots is high.",
    ],
    claim,
};

/// The slowest answer, with what was asked.
struct Slowest {
    id: ObservationId,
    took_ms: f64,
    what: String,
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let groups = [of_resolvers(ev), of_target(ev)];
    // A silent server is a cause of its own, and explains the time.
    if groups.iter().flatten().any(silent) {
        return None;
    }
    if let Some(vain) = groups.iter().flatten().find_map(|questions| search::in_vain(ev, questions)) {
        return Some(vain);
    }
    let questions = groups.iter().flatten().filter_map(|questions| slowest_question(ev, questions));
    let system = slow_lookup(ev);
    let slowest = questions.chain(system).max_by(|a, b| a.took_ms.total_cmp(&b.took_ms)).filter(|slowest| slowest.took_ms > SLOW_MS)?;
    if slowest.took_ms < SURELY_SLOW_MS && !again(ev, slowest.id) {
        return None;
    }
    let waited = if slowest.took_ms >= VERY_SLOW_MS { ": somebody waited for a timeout or a lost datagram" } else { "" };
    let summary = capital(&format!("{} took {}{waited}.", slowest.what, spoken(slowest.took_ms)));
    // Where the service takes several times as long, that is what its users wait for.
    let confidence = if answer_ms(ev) > slowest.took_ms * 3.0 { 0.6 } else { 0.9 };
    Some(Claim::degrades(confidence, Where::Remote, place(ev), summary).citing([slowest.id]))
}

/// What the service took to the first byte of its answer.
fn answer_ms(ev: &Evidence<'_>) -> f64 {
    let http = ev.response().map(|(_, response)| response.ttfb_ms);
    http.or_else(|| ev.dialogue()?.1.first_byte_ms).unwrap_or(0.0)
}

/// Another question or lookup was slow too: one alone may have met a busy moment, of this host or of the way.
fn again(ev: &Evidence<'_>, slowest: ObservationId) -> bool {
    let timed = ev.all::<DnsQuery>().filter(|(_, query)| matches!(query.outcome, DnsOutcome::Answer(_))).map(|(id, _)| id);
    let timed = timed.chain(ev.all::<SystemLookup>().map(|(id, _)| id)).filter(|id| *id != slowest);
    timed.filter_map(|id| ev.get(id)).any(|other| other.took_ms > SLOW_MS)
}

fn silent(questions: &Questions<'_>) -> bool {
    let servers = questions.servers();
    // One resolver, and the system got its answer: it answers, only later than we waited.
    if servers.len() == 1 && questions.role == Role::Resolver && servers.iter().all(|server| questions.answers(*server).next().is_none()) {
        return false;
    }
    servers.into_iter().any(|server| !questions.silences(server).is_empty() && questions.unanswered_types(server))
}

fn slowest_question(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Slowest> {
    let answered = questions
        .asked
        .iter()
        .filter(|(_, query)| !query.checking_disabled && query.offered.is_none() && matches!(query.outcome, DnsOutcome::Answer(_)));
    let timed = answered.filter_map(|(id, query)| ev.get(*id).map(|observation| (*id, query, observation.took_ms)));
    let (id, query, took_ms) = timed.max_by(|a, b| a.2.total_cmp(&b.2))?;
    let kind = match query.record_type {
        RecordType::A => "A question",
        RecordType::Aaaa => "AAAA question",
        RecordType::Other => "question",
    };
    let sent = if query.sent > 1 { format!(" and needed {} datagrams", query.sent) } else { String::new() };
    Some(Slowest { id, took_ms, what: format!("the {kind} for {} to {}{sent}", query.name, questions.called(query.resolver)) })
}

fn slow_lookup(ev: &Evidence<'_>) -> Option<Slowest> {
    let (id, lookup) = ev.all::<SystemLookup>().last().filter(|(_, lookup)| !lookup.addresses.is_empty())?;
    let took_ms = ev.get(id)?.took_ms;
    Some(Slowest { id, took_ms, what: format!("the system's lookup of {}", lookup.name) })
}

fn place(ev: &Evidence<'_>) -> String {
    let group = of_resolvers(ev).or_else(|| of_target(ev));
    group
        .and_then(|questions| questions.servers().first().map(|server| questions.called(*server)))
        .unwrap_or_else(|| "the resolver".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{OTHER_RESOLVER, claims, healthy_dns, healthy_https, plus, query, took, unanswered};

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn more_than_200_ms_is_slow() {
        check(&took::<DnsQuery>(healthy_https(), 260.0), Some((0.9, false)));
        check(&took::<SystemLookup>(healthy_https(), 5_010.0), Some((0.9, false)));
        check(&took::<DnsQuery>(healthy_dns(), 260.0), Some((0.9, false)));
        check(&took::<DnsQuery>(healthy_https(), 190.0), None);
    }

    #[test]
    fn a_service_that_takes_far_longer_is_what_its_users_wait_for() {
        let slow = took::<DnsQuery>(healthy_https(), 260.0);
        check(&crate::testkit::but_response(slow, |response| response.ttfb_ms = 6_000.0), Some((0.6, false)));
    }

    #[test]
    fn one_slow_moment_is_not_a_slow_resolver() {
        let once = |took_ms| {
            let mut recording = healthy_https();
            let query = recording.observations.iter_mut().find(|o| matches!(&o.seen, crate::Seen::DnsQuery(_)));
            if let Some(query) = query {
                query.took_ms = took_ms;
            }
            recording
        };
        check(&once(260.0), None);
        check(&once(1_300.0), Some((0.9, false)));
    }

    #[test]
    fn the_only_resolver_that_answered_the_system_late_is_slow() {
        let late = crate::testkit::but::<DnsQuery>(healthy_https(), |query| query.outcome = unanswered());
        check(&took::<SystemLookup>(late, 3_500.0), Some((0.9, false)));
    }

    #[test]
    fn a_silent_resolver_explains_the_time_itself() {
        let slow = took::<SystemLookup>(healthy_https(), 5_010.0);
        check(&plus(slow, query(OTHER_RESOLVER, RecordType::A, unanswered())), None);
    }
}
