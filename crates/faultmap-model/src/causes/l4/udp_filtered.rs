//! UDP to the port is dropped, while TCP to the same host passes.

use super::stopped_before;
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, Protocol};
use crate::observation::{DnsOutcome, DnsQuery, Role, TcpConnect, Transport};
use crate::verdict::Where;
use crate::{Evidence, Layer, Scheme};

/// `l4.udp-filtered`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.udp-filtered",
    layer: Layer::L4,
    title: "UDP is dropped while TCP passes",
    what: "A filter lets TCP through and drops UDP to this port: DNS, QUIC (HTTP/3), NTP or VoIP fail while the web works.",
    shows: "UDP is silent where TCP to the same host is answered; most clearly when the same DNS question is answered over TCP. A UDP server that \
            keeps silent looks the same when nothing can be compared.",
    confirm: &[
        Tool { run: "dig @{ip} +tcp . NS; dig @{ip} . NS", on: "here", why: "answered over TCP and not over UDP: UDP is filtered" },
        Tool { run: "tcpdump -ni any udp port {port}", on: "{ip}", why: "nothing arrives: dropped on the way" },
    ],
    fix: &[
        "Allow {port}/udp, and the answers from it, in the filters toward {ip}.",
        "Until then let clients fall back to TCP (resolv.conf: options use-vc).",
    ],
    claim: |ev| claim(ev).or_else(|| super::quic::filtered(ev)),
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.silent() && failure.protocol == Protocol::Udp)?;
    let over_tcp = ev.first::<DnsQuery>(|query| {
        query.resolver.ip() == failure.ip && query.transport == Transport::Tcp && matches!(query.outcome, DnsOutcome::Answer(_))
    });
    if let Some((id, _)) = over_tcp {
        let summary = format!("{} answers DNS over TCP, but UDP to port {} is dropped.", failure.ip, failure.port);
        return Some(Claim::proven(0.95, Where::Path, failure.place(), summary).citing([failure.id, id]));
    }
    let control = ev.tcp_control_answers(failure.ip)?;
    if let Some((id, router)) = stopped_before(ev, failure.ip) {
        let summary = format!("UDP to {} disappears after {router}, while TCP to the same host passes.", failure.place());
        return Some(Claim::proven(0.92, Where::Path, format!("after {router}"), summary).citing([failure.id, control, id]));
    }
    let summary = format!("{} answers over TCP, but UDP to port {} gets no answer.", failure.ip, failure.port);
    let claim = Claim::likely(likelihood(ev, &failure), Where::Remote, failure.place(), summary).citing([failure.id, control]);
    Some(claim.decided_by(
        format!("tcpdump -ni any udp port {}", failure.port),
        failure.ip.to_string(),
        "nothing arriving means that UDP is filtered; arriving and unanswered means that the server is mute",
    ))
}

/// TCP to the very same port shut in silence while others answer points to a filter on the port; an open or refusing one to a mute server.
fn likelihood(ev: &Evidence<'_>, failure: &Failure<'_>) -> f64 {
    let same_port = ev.first::<TcpConnect>(|connect| connect.to.ip() == failure.ip && connect.to.port() == failure.port);
    let udp_otherwise = ev.udp_answers(failure.ip).is_some();
    match same_port {
        Some((_, connect)) if connect.outcome.silent() => 0.86,
        _ if failure.role == Role::Target && ev.target().scheme == Scheme::Udp => {
            if udp_otherwise {
                0.55
            } else {
                0.7
            }
        }
        _ if udp_otherwise => 0.3,
        _ => 0.6,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, reset};
    use super::*;
    use crate::Seen;
    use crate::observation::{DnsAnswer, RecordType};
    use crate::testkit::{claims, recording};

    fn query(transport: Transport, outcome: DnsOutcome) -> Seen {
        Seen::DnsQuery(DnsQuery {
            resolver: "10.2.0.53:53".parse().expect("addr"),
            role: Role::Resolver,
            transport,
            name: "shop.test".to_owned(),
            record_type: RecordType::A,
            checking_disabled: false,
            offered: None,
            sent: 2,
            outcome,
        })
    }

    fn answer() -> DnsOutcome {
        DnsOutcome::Answer(DnsAnswer {
            rcode: 0,
            authoritative: false,
            truncated: false,
            recursion_available: true,
            authentic: false,
            addresses: vec![],
            cnames: vec![],
            min_ttl_s: None,
            ede: vec![],
            referral: None,
            records: 0,
            bytes: 40,
        })
    }

    #[test]
    fn silence_over_udp_alone_proves_nothing() {
        let silent = || query(Transport::Udp, DnsOutcome::Silent { waited_ms: 5e3, mismatched: 0 });
        let check = |seen: Vec<Seen>, expect| assert_eq!(claims(&CAUSE, &recording("https://shop.test/", seen)), expect);
        check(vec![silent()], None);
        check(vec![silent(), connect("10.2.0.53:443", Role::Control, reset())], Some((0.6, true)));
        check(vec![query(Transport::Udp, answer())], None);
    }
}
