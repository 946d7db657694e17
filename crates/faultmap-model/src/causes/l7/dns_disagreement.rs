//! Resolvers contradict each other, and the answer that the system used is the one that fails.

use super::dns_trace;
use super::lookup::{Questions, Reply, list, of_resolvers, system_failure};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HostsFile, Role, SystemLookup, TcpConnect, TlsChain};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::{IpAddr, SocketAddr};

/// `l7.dns-disagreement`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-disagreement",
    layer: Layer::L7,
    title: "the resolvers contradict each other",
    what: "Two configured resolvers give different answers for the name, and the system happens to use the wrong one: an old cache, a resolver outside of \
           the split DNS, a secondary server with an old zone, or a resolver that rewrites answers.",
    shows: "Different addresses (or \"no such name\" from one only), and the address that was used fails. Different addresses that work are usual (CDN, load \
            sharing) and no fault.",
    confirm: &[
        Tool {
            run: "for s in $(awk '/^nameserver/{print $2}' /etc/resolv.conf); do echo $s; dig +short @$s {host}; done",
            on: "here",
            why: "every resolver's answer side by side",
        },
        Tool {
            run: "dig +short {host} NS; dig +norec @EACH-OF-THEM {host} SOA",
            on: "here",
            why: "different serial numbers: a secondary is behind",
        },
    ],
    fix: &[
        "Flush the cache of the resolver with the wrong answer, or mend its zone transfer.",
        "Keep only resolvers that know the name in /etc/resolv.conf: they are not asked in turn for a better answer.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let hosts = ev.all::<HostsFile>().any(|(_, hosts)| !hosts.addresses.is_empty());
    let questions = of_resolvers(ev).filter(|_| !hosts)?;
    denied(ev, &questions).or_else(|| misled(ev, &questions)).or_else(|| stale(ev, &questions))
}

/// The walk from the root found other addresses than the resolver gives, or denies: an old answer is kept.
fn stale(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let (walk, trace) = dns_trace::found(ev)?;
    let server = questions.servers().into_iter().next()?;
    let who = questions.called(server);
    let owners = list(&trace.addresses);
    let ids = questions.answers(server).map(|(id, ..)| id).collect::<Vec<_>>();
    if let Some((system, error)) = system_failure(ev) {
        if !matches!(questions.reply(), Reply::NxDomain | Reply::NoData) {
            return None;
        }
        let summary = format!(
            "{who} says that {} has no address ({error}), its owners say {owners}: an old denial is kept, or the resolver sees another DNS.",
            questions.name
        );
        return Some(Claim::proven(0.97, Where::Remote, who, summary).citing([walk, system]).citing(ids));
    }
    let (system, lookup) = ev.all::<SystemLookup>().last()?;
    let failing: Vec<ObservationId> = lookup.addresses.iter().filter_map(|address| address_fails(ev, *address)).collect();
    let differs = !lookup.addresses.iter().any(|address| trace.addresses.contains(address));
    if lookup.addresses.is_empty() || !differs || failing.len() < lookup.addresses.len() {
        return None;
    }
    let works = trace.addresses.iter().find_map(|address| address_works(ev, *address));
    let summary = format!(
        "{who} says that {} is {}, which fails; its owners say {owners}: the resolver keeps an old answer.",
        questions.name,
        list(&lookup.addresses)
    );
    let claim = match works {
        Some(_) => Claim::proven(0.95, Where::Remote, who, summary),
        None => Claim::likely(0.6, Where::Remote, who, summary),
    };
    Some(claim.citing([walk, system]).citing(failing).citing(ids).citing(works).despite_answers().misleading())
}

/// One resolver says that the name does not exist, and the system believes it.
fn denied(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let (system, error) = system_failure(ev)?;
    let denying = questions.server_replying(Reply::NxDomain).or_else(|| questions.server_replying(Reply::NoData))?;
    let finding = questions.server_replying(Reply::Found)?;
    let summary = format!(
        "{} says that {} has no address, {} says {}; the system believes the first ({error}).",
        denying.ip(),
        questions.name,
        finding.ip(),
        list(&questions.addresses(finding))
    );
    let ids = questions.answers(denying).chain(questions.answers(finding)).map(|(id, ..)| id);
    Some(Claim::proven(0.92, Where::Remote, questions.called(denying), summary).citing([system]).citing(ids))
}

/// Two resolvers give different addresses, and those that the system uses fail.
fn misled(ev: &Evidence<'_>, questions: &Questions<'_>) -> Option<Claim> {
    let (system, lookup) = ev.all::<SystemLookup>().last().filter(|(_, lookup)| !lookup.addresses.is_empty())?;
    let failing: Vec<ObservationId> = lookup.addresses.iter().filter_map(|address| address_fails(ev, *address)).collect();
    if failing.len() < lookup.addresses.len() {
        return None;
    }
    let (used, other) = contradiction(questions, &lookup.addresses)?;
    let better = questions.addresses(other);
    let works = better.iter().find_map(|address| address_works(ev, *address));
    let summary = format!(
        "{} says that {} is {}, which fails; {} says {}.",
        used.ip(),
        questions.name,
        list(&lookup.addresses),
        other.ip(),
        list(&better)
    );
    let ids = questions.answers(used).chain(questions.answers(other)).map(|(id, ..)| id);
    let claim = match works {
        Some(_) => Claim::proven(0.95, Where::Remote, questions.called(used), summary),
        None => Claim::likely(0.6, Where::Remote, questions.called(used), summary).decided_by(
            format!(
                "faultmap check {}",
                ev.target().input.replace(&ev.target().host, &better.first().map(ToString::to_string).unwrap_or_default())
            ),
            "here",
            "the other resolver's address works: the first resolver is wrong",
        ),
    };
    Some(claim.citing([system]).citing(failing).citing(ids).citing(works).despite_answers().misleading())
}

/// The server whose addresses are used, and one that knows none of them.
fn contradiction(questions: &Questions<'_>, used: &[IpAddr]) -> Option<(SocketAddr, SocketAddr)> {
    let knows = |server: &SocketAddr| questions.addresses(*server).iter().any(|address| used.contains(address));
    let servers = questions.servers();
    let source = servers.iter().copied().find(|server| knows(server))?;
    let other = servers.iter().copied().find(|server| !questions.addresses(*server).is_empty() && !knows(server))?;
    Some((source, other))
}

/// The address was tried and is not the service: no connection, or a certificate for another name.
pub(super) fn address_fails(ev: &Evidence<'_>, address: IpAddr) -> Option<ObservationId> {
    let tried: Vec<_> = ev.target_connects().filter(|(_, connect)| connect.to.ip() == address).collect();
    if tried.iter().any(|(_, connect)| connect.outcome.connected()) {
        return ev.first::<TlsChain>(|chain| chain.to.ip() == address && !chain.name_matches).map(|(id, _)| id);
    }
    tried.first().map(|(id, _)| *id)
}

/// The address was tried and connects, and shows no certificate for another name.
pub(super) fn address_works(ev: &Evidence<'_>, address: IpAddr) -> Option<ObservationId> {
    let wrong = ev.all::<TlsChain>().any(|(_, chain)| chain.to.ip() == address && !chain.name_matches);
    // An address that only DNS names is tried as a control, on the target's port.
    let connected = ev.first::<TcpConnect>(|connect| {
        connect.to.ip() == address && connect.outcome.connected() && (connect.role == Role::Target || connect.to.port() == ev.target().port)
    });
    connected.map(|(id, _)| id).filter(|_| !wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{ConnectOutcome, DnsQuery, RecordType, TcpConnect};
    use crate::testkit::{OTHER_RESOLVER, but, claims, found, healthy_https, plus, query, rcode};

    fn other_says(recording: Recording, addresses: &[&str]) -> Recording {
        plus(recording, query(OTHER_RESOLVER, RecordType::A, found(addresses)))
    }

    fn unreachable() -> Recording {
        but::<TcpConnect>(healthy_https(), |connect| {
            connect.outcome = ConnectOutcome::Silent { waited_ms: 4e3, retransmits: 2, icmp: None }
        })
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn different_addresses_are_a_fault_only_when_the_used_one_fails() {
        check(&other_says(unreachable(), &["10.3.0.10"]), Some((0.6, true)));
        check(&other_says(healthy_https(), &["10.3.0.10"]), None);
        check(&other_says(unreachable(), &["10.2.0.10"]), None);
        check(&unreachable(), None);
    }

    #[test]
    fn an_address_that_works_proves_who_is_right() {
        let works = TcpConnect {
            to: "10.3.0.10:443".parse().expect("addr"),
            role: crate::observation::Role::Target,
            outcome: ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 0, mss: 1448, pmtu: 1500 },
            local: None,
            answer_ttl: None,
        };
        check(&plus(other_says(unreachable(), &["10.3.0.10"]), works.clone()), Some((0.95, true)));
        // What only the other resolver says is tried as a control; another port of it proves nothing.
        let control = TcpConnect { role: Role::Control, ..works };
        check(&plus(other_says(unreachable(), &["10.3.0.10"]), control.clone()), Some((0.95, true)));
        let elsewhere = TcpConnect { to: "10.3.0.10:22".parse().expect("addr"), ..control };
        check(&plus(other_says(unreachable(), &["10.3.0.10"]), elsewhere), Some((0.6, true)));
    }

    #[test]
    fn a_certificate_for_another_name_is_a_failure_too() {
        let wrong = but::<TlsChain>(other_says(healthy_https(), &["10.3.0.10"]), |chain| chain.name_matches = false);
        check(&wrong, Some((0.6, true)));
    }

    #[test]
    fn one_resolver_that_denies_the_name_misleads_the_system() {
        let denied = but::<DnsQuery>(healthy_https(), |query| query.outcome = rcode(3));
        let denied = but::<SystemLookup>(denied, |lookup| {
            lookup.addresses.clear();
            lookup.error = Some("EAI_NONAME".to_owned());
        });
        check(&denied, None);
        check(&other_says(denied, &["10.2.0.10"]), Some((0.92, true)));
        check(&other_says(but::<DnsQuery>(healthy_https(), |query| query.outcome = rcode(3)), &["10.2.0.10"]), None);
    }
}
