//! The hosts file answers in place of DNS, and its address does not work.

use super::dns_disagreement::{address_fails, address_works};
use super::lookup::{list, of_resolvers};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::HostsFile;
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

/// `l7.dns-hosts-override`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.dns-hosts-override",
    layer: Layer::L7,
    title: "the hosts file names a wrong address",
    what: "/etc/hosts has an entry for the name, which the system prefers to DNS. It was right once, or made for a test, and the service has moved.",
    shows: "The hosts file and DNS give different addresses, and the one of the hosts file fails (no connection, or a certificate for another name). An \
            entry whose address works is left alone.",
    confirm: &[
        Tool { run: "grep -n {host} /etc/hosts; dig +short {host}", on: "here", why: "both answers side by side" },
        Tool {
            run: "curl -sk -o /dev/null -w '%{http_code}\\n' --resolve {host}:{port}:ADDRESS-OF-DNS {url}",
            on: "here",
            why: "works with the address of DNS: the entry is at fault",
        },
    ],
    fix: &[
        "Remove the line for {host} from /etc/hosts, or correct its address.",
        "In a container look at extra_hosts or hostAliases, which write that file.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (hosts_id, hosts, dns) = overridden(ev)?;
    let failing: Vec<ObservationId> = hosts.addresses.iter().filter_map(|address| address_fails(ev, *address)).collect();
    if failing.len() < hosts.addresses.len() {
        return None;
    }
    let works = dns.1.iter().find_map(|address| address_works(ev, *address));
    let confidence = if works.is_some() { 0.96 } else { 0.88 };
    let summary =
        format!("/etc/hosts says that {} is {}, which fails, while DNS says {}.", hosts.name, list(&hosts.addresses), list(&dns.1));
    let claim = Claim::proven(confidence, Where::Local, "/etc/hosts", summary).despite_answers().misleading();
    Some(claim.citing([hosts_id]).citing(dns.0).citing(failing).citing(works))
}

type Dns = (Vec<ObservationId>, Vec<IpAddr>);

/// The hosts file's entry, and the addresses of DNS, when they have none in common.
fn overridden<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a HostsFile, Dns)> {
    let (id, hosts) = ev.all::<HostsFile>().last().filter(|(_, hosts)| !hosts.addresses.is_empty())?;
    let questions = of_resolvers(ev)?;
    let answers = questions.all_answers();
    let ids = answers.iter().filter(|(_, _, answer)| !answer.addresses.is_empty()).map(|(id, ..)| *id).collect();
    let mut addresses: Vec<IpAddr> = answers.iter().flat_map(|(_, _, answer)| answer.addresses.iter().copied()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let common = hosts.addresses.iter().any(|address| addresses.contains(address));
    (!addresses.is_empty() && !common).then_some((id, hosts, (ids, addresses)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{ConnectOutcome, TcpConnect, TlsChain};
    use crate::testkit::{but, claims, healthy_https, without};

    /// The hosts file has this address; the connection to the server is as in the healthy recording.
    fn hosts_say(address: &str) -> Recording {
        but::<HostsFile>(healthy_https(), |hosts| hosts.addresses = vec![address.parse().expect("address")])
    }

    fn connecting_to(recording: Recording, address: &str, connected: bool) -> Recording {
        but::<TcpConnect>(recording, |connect| {
            connect.to = address.parse().expect("addr");
            if !connected {
                connect.outcome = ConnectOutcome::Silent { waited_ms: 4_200.0, retransmits: 2, icmp: None };
            }
        })
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn an_entry_that_differs_and_fails_is_at_fault() {
        check(&connecting_to(hosts_say("10.9.9.9"), "10.9.9.9:443", false), Some((0.88, true)));
        let elsewhere = but::<TlsChain>(connecting_to(hosts_say("10.9.9.9"), "10.9.9.9:443", true), |chain| {
            chain.to = "10.9.9.9:443".parse().expect("addr");
            chain.name_matches = false;
        });
        check(&elsewhere, Some((0.88, true)));
    }

    #[test]
    fn an_entry_that_works_or_agrees_is_left_alone() {
        check(&healthy_https(), None);
        check(&connecting_to(hosts_say("10.9.9.9"), "10.9.9.9:443", true), None);
        check(&connecting_to(hosts_say("10.2.0.10"), "10.2.0.10:443", false), None);
        check(&without::<TcpConnect>(hosts_say("10.9.9.9")), None);
    }
}
