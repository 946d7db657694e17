//! The name, or an address for it, does not exist.

use super::lookup::{Questions, Reply, capital, failing, system_failure};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::DnsQuery;
use crate::verdict::Where;
use crate::{Evidence, Layer};

const WALK: Tool = Tool { run: "dig +trace {host} A", on: "here", why: "walks from the root and shows the zone that says so" };

/// `l7.dns-nxdomain`
pub(super) static NXDOMAIN: Cause = Cause {
    id: "l7.dns-nxdomain",
    layer: Layer::L7,
    title: "the name does not exist",
    what: "DNS says that there is no such name: a typing error, a record that was never made or was deleted, a zone that lost its delegation, or an \
           internal name asked for outside its network.",
    shows: "RCODE 3 (NXDOMAIN) from every resolver that answers, and no entry in the hosts file. Names with few dots also depend on the search list.",
    confirm: &[
        WALK,
        Tool {
            run: "getent ahosts {host}; cat /etc/resolv.conf",
            on: "here",
            why: "the system's own answer, its resolvers and search list",
        },
    ],
    fix: &[
        "Correct the name, or create its record in its zone.",
        "For an internal name, use the resolver of that network (VPN, split DNS), or write the full name.",
        "A name just created may be hidden by the negative cache: wait for the SOA's minimum, or flush it (resolvectl flush-caches).",
    ],
    claim: nxdomain,
};

/// `l7.dns-no-address`
pub(super) static NO_ADDRESS: Cause = Cause {
    id: "l7.dns-no-address",
    layer: Layer::L7,
    title: "the name exists, but has no address",
    what: "The name is there, but without an A or AAAA record: only a mail or text record, a CNAME that leads nowhere, or only the address family that \
           was not asked for.",
    shows: "NOERROR without addresses for both A and AAAA.",
    confirm: &[Tool { run: "dig {host} A; dig {host} AAAA; dig {host} CNAME", on: "here", why: "what the name has" }, WALK],
    fix: &["Add an A or AAAA record for the name.", "If a CNAME points to a name without address, correct its target."],
    claim: no_address,
};

fn nxdomain(ev: &Evidence<'_>) -> Option<Claim> {
    let Some(questions) = failing(ev) else { return unasked(ev) };
    if questions.reply() != Reply::NxDomain {
        return None;
    }
    let says = says(&questions, Reply::NxDomain);
    let summary = format!("The name {} does not exist: {says} NXDOMAIN.", questions.name);
    let claim = Claim::proven(0.96, Where::Remote, format!("the zone of {}", questions.name), summary);
    let claim = claim.citing(questions.all_answers().iter().map(|(id, ..)| *id)).citing(system_failure(ev).map(|(id, _)| id));
    Some(match hint(questions.name) {
        Some(hint) => claim.advising(hint),
        None => claim,
    })
}

fn no_address(ev: &Evidence<'_>) -> Option<Claim> {
    let questions = failing(ev).filter(|questions| questions.reply() == Reply::NoData)?;
    let answers = questions.all_answers();
    let alias =
        answers.iter().find_map(|(_, _, answer)| answer.cnames.last()).map(|alias| format!(" It is an alias of {alias}, which has none."));
    let records = answers.iter().any(|(_, _, answer)| answer.records > 0);
    let what = if records { "no address among its records" } else { "neither an A nor an AAAA record" };
    let summary = format!(
        "The name {} exists, but has {what}: {} NOERROR without one.{}",
        questions.name,
        says(&questions, Reply::NoData),
        alias.unwrap_or_default()
    );
    let claim = Claim::proven(0.94, Where::Remote, format!("the zone of {}", questions.name), summary);
    Some(claim.citing(answers.iter().map(|(id, ..)| *id)))
}

/// Only the system was asked, and it says that there is no such name.
fn unasked(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, error) = system_failure(ev).filter(|(_, error)| *error == "EAI_NONAME")?;
    if ev.all::<DnsQuery>().next().is_some() {
        return None;
    }
    let summary = format!("The system's resolver does not know the name {} ({error}).", ev.sought_host());
    Some(Claim::likely(0.6, Where::Remote, format!("the zone of {}", ev.sought_host()), summary).citing([id]))
}

/// `the resolver 10.1.0.53 says`, `2 resolvers say`.
fn says(questions: &Questions<'_>, reply: Reply) -> String {
    let servers: Vec<_> = questions.servers().into_iter().filter(|server| questions.reply_of(*server) == reply).collect();
    match servers.as_slice() {
        [one] => format!("{} says", questions.called(*one)),
        many => format!("{} servers say", many.len()),
    }
}

fn hint(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    if name.ends_with(".local") {
        return Some(format!(
            "{name} is a name for multicast DNS (RFC 6762): it needs avahi and mdns in /etc/nsswitch.conf, not a DNS server."
        ));
    }
    (!name.contains('.')).then(|| capital(&format!("the name {name} has no dot: add its domain, or a search list in /etc/resolv.conf.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{DnsAnswer, DnsOutcome, HostsFile, RecordType, SystemLookup};
    use crate::testkit::{OTHER_RESOLVER, but, claims, found, healthy_dns, healthy_https, plus, query, rcode, unanswered, without};

    /// The system finds nothing, and each query is answered so.
    fn answering(outcome: &DnsOutcome) -> Recording {
        let unresolved = but::<SystemLookup>(healthy_https(), |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("EAI_NONAME".to_owned());
        });
        but::<DnsQuery>(unresolved, |query| query.outcome = outcome.clone())
    }

    fn check(cause: &Cause, recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(cause, recording), expect);
    }

    #[test]
    fn nxdomain_from_all_who_answer_means_that_the_name_does_not_exist() {
        check(&NXDOMAIN, &answering(&rcode(3)), Some((0.96, true)));
        check(&NXDOMAIN, &plus(answering(&rcode(3)), query(OTHER_RESOLVER, RecordType::A, unanswered())), Some((0.96, true)));
        check(&NXDOMAIN, &but::<DnsQuery>(healthy_dns(), |query| query.outcome = rcode(3)), Some((0.96, true)));
    }

    #[test]
    fn a_name_that_somebody_finds_exists() {
        check(&NXDOMAIN, &healthy_https(), None);
        check(&NXDOMAIN, &plus(answering(&rcode(3)), query(OTHER_RESOLVER, RecordType::A, found(&["10.2.0.10"]))), None);
        let in_hosts = but::<HostsFile>(answering(&rcode(3)), |hosts| hosts.addresses = vec!["10.2.0.10".parse().expect("address")]);
        check(&NXDOMAIN, &in_hosts, None);
    }

    #[test]
    fn a_name_without_any_address_is_told_apart_from_no_name() {
        check(&NO_ADDRESS, &answering(&found(&[])), Some((0.94, true)));
        check(&NXDOMAIN, &answering(&found(&[])), None);
        check(&NO_ADDRESS, &answering(&rcode(3)), None);
        check(&NO_ADDRESS, &healthy_https(), None);
    }

    #[test]
    fn half_an_answer_is_no_proof_that_there_is_no_address() {
        let half = but::<DnsQuery>(answering(&found(&[])), |query| {
            if query.record_type == RecordType::A {
                query.outcome = unanswered();
            }
        });
        check(&NO_ADDRESS, &half, None);
        let cut = but::<DnsQuery>(answering(&found(&[])), |query| {
            if let DnsOutcome::Answer(answer) = &mut query.outcome {
                *answer = DnsAnswer { truncated: true, ..answer.clone() };
            }
        });
        check(&NO_ADDRESS, &cut, None);
    }

    #[test]
    fn the_systems_word_alone_is_a_hint() {
        check(&NXDOMAIN, &without::<DnsQuery>(answering(&rcode(3))), Some((0.6, true)));
    }
}
