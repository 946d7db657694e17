//! The host is up, and no socket listens on the UDP port.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Protocol;
use crate::observation::{IcmpMeaning, Role};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.udp-port-unreachable`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.udp-port-unreachable",
    layer: Layer::L4,
    title: "nothing listens on the UDP port",
    what: "The datagram reached the host, and the host answered with ICMP port unreachable because no socket is bound to that port.",
    shows: "ICMP 3/3 (v6: 1/4) from the host's own address. From another address it is a firewall's.",
    confirm: &[Tool { run: "ss -lunp 'sport = :{port}'", on: "{ip}", why: "shows whether anything is bound, and to which address" }],
    fix: &["Start the service on {ip}, or correct the port.", "If it is bound to 127.0.0.1 only, bind it to {ip}."],
    claim: |ev| claim(ev).or_else(|| super::quic::closed(ev)),
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.protocol == Protocol::Udp)?;
    let icmp = failure.icmp()?;
    let ours = ev.is_self(icmp.from) && !ev.is_local(failure.ip);
    if icmp.meaning() != IcmpMeaning::PortUnreachable || icmp.from != failure.ip || ours {
        return None;
    }
    let what = if failure.role == Role::Resolver { "The DNS resolver" } else { "The host" };
    let summary = format!("{what} {} is up, but nothing listens on UDP port {}.", failure.ip, failure.port);
    Some(Claim::proven(0.95, Where::Remote, failure.place(), summary).citing([failure.id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::observation::{IcmpError, UdpOutcome, UdpProbe};
    use crate::testkit::{claims, recording};

    #[test]
    fn only_the_hosts_own_answer_counts() {
        let check = |from: &str, expect| {
            let icmp = IcmpError { icmp_type: 3, code: 3, from: from.parse().expect("ip"), mtu: None };
            let outcome = UdpOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: Some(icmp) };
            let probe = UdpProbe { to: "10.2.0.10:9999".parse().expect("addr"), role: Role::Target, payload_bytes: 1, sent: 1, outcome };
            assert_eq!(claims(&CAUSE, &recording("udp://10.2.0.10:9999", vec![Seen::UdpProbe(probe)])), expect);
        };
        check("10.2.0.10", Some((0.95, true)));
        check("10.9.0.2", None);
    }
}
