//! Names asked for in vain: the domains of the search list that come before the name itself. Told by `l7.dns-slow`; claims nothing by itself.

use super::answer::spoken;
use super::lookup::{Questions, capital};
use crate::causes::Claim;
use crate::observation::{DnsConfig, DnsOutcome, DnsQuery};
use crate::verdict::Where;
use crate::{Evidence, ObservationId};
use std::net::SocketAddr;

/// Time lost with such questions from which it is worth a word.
const WASTE_MS: f64 = 100.0;

/// What the search list cost.
struct Waste {
    server: SocketAddr,
    ids: Vec<ObservationId>,
    names: Vec<String>,
    took_ms: f64,
}

/// The name was found under itself, after others were asked for, one after the other.
pub(super) fn in_vain(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let (config_id, config) = ev.first::<DnsConfig>(|_| true)?;
    let waste =
        questions.servers().into_iter().find_map(|server| waste(ev, questions, server)).filter(|waste| waste.took_ms >= WASTE_MS)?;
    let vain = waste.names.len();
    let summary = capital(&format!(
        "{} of {} names asked for are not the one: the search list and ndots:{} put {} before {} itself, which costs each lookup {} (with A and AAAA, \
         {} useless questions).",
        vain,
        vain + 1,
        config.ndots,
        waste.names.join(", "),
        questions.name,
        spoken(waste.took_ms),
        2 * vain,
    ));
    let claim = Claim::degrades(0.9, Where::Local, questions.called(waste.server), summary).citing([config_id]).citing(waste.ids);
    Some(
        claim
            .advising(format!(
                "Write the name with a final dot ({}.), or lower ndots (in Kubernetes: dnsConfig.options of the pod).",
                questions.name
            ))
            .advising("A cache on the host (NodeLocal DNSCache, unbound, systemd-resolved) makes the useless questions cheap."),
    )
}

fn waste(ev: &Evidence<'_>, questions: &Questions<'_>, server: SocketAddr) -> Option<Waste> {
    let bare = |query: &DnsQuery| query.name.trim_end_matches('.').eq_ignore_ascii_case(questions.name.trim_end_matches('.'));
    let answers: Vec<_> = questions.answers(server).collect();
    let found =
        |(_, query, answer): &&(ObservationId, &DnsQuery, &crate::observation::DnsAnswer)| bare(query) && !answer.addresses.is_empty();
    answers.iter().find(found)?;
    let mut waste = Waste { server, ids: Vec::new(), names: Vec::new(), took_ms: 0.0 };
    for (_, query, _) in answers.iter().filter(|(_, query, _)| !bare(query)) {
        if !waste.names.contains(&query.name) {
            waste.names.push(query.name.clone());
        }
    }
    for name in &waste.names {
        let same: Vec<_> = questions.to(server).filter(|(_, query)| query.name == *name).collect();
        let took = |id: &ObservationId| ev.get(*id).map_or(0.0, |observation| observation.took_ms);
        let answered = same.iter().filter(|(_, query)| matches!(query.outcome, DnsOutcome::Answer(_)));
        // A and AAAA are asked side by side: the slower one counts.
        waste.took_ms += answered.map(|(id, _)| took(id)).fold(0.0, f64::max);
        waste.ids.extend(same.iter().map(|(id, _)| *id));
    }
    (!waste.names.is_empty()).then_some(waste)
}

#[cfg(test)]
mod tests {
    use super::super::dns_slow::CAUSE;
    use super::*;
    use crate::Recording;
    use crate::observation::RecordType;
    use crate::testkit::{RESOLVER, claims, healthy_https, plus, query, rcode, took};

    fn searched(domains: &[&str], took_ms: f64) -> Recording {
        let vain = |domain: &&str| DnsQuery { name: format!("shop.test.{domain}"), ..query(RESOLVER, RecordType::A, rcode(3)) };
        let searched = domains.iter().fold(healthy_https(), |recording, domain| plus(recording, vain(domain)));
        took::<DnsQuery>(searched, took_ms)
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn names_asked_for_in_vain_cost_time() {
        check(&searched(&["a.test", "b.test", "c.test"], 40.0), Some((0.9, false)));
    }

    #[test]
    fn a_near_resolver_or_no_search_list_costs_nothing() {
        check(&searched(&["a.test", "b.test", "c.test"], 2.0), None);
        check(&searched(&[], 40.0), None);
    }
}
