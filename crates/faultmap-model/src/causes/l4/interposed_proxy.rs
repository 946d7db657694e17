//! Something on the way answers every handshake itself.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{HttpExchange, HttpOutcome, Role, SessionEnd, SessionOutcome, TcpConnect, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `l4.interposed-proxy`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.interposed-proxy",
    layer: Layer::L4,
    title: "something on the way answers every handshake",
    what: "A transparent proxy, a sidecar of a service mesh, a SYN proxy or a captive network completes TCP handshakes in the name of any address. \
           \"Connected\" then says nothing of the target: it may be down, and only bytes from the application prove that it is there.",
    shows: "A port that is closed almost everywhere (discard) and an address that nobody has (TEST-NET, RFC 5737) both connect, while the target never answers a byte.",
    confirm: &[
        Tool { run: "nc -zv 192.0.2.1 9", on: "here", why: "an address that nobody has connects: somebody answers for it" },
        Tool {
            run: "nft list ruleset | grep -e redirect -e tproxy; istioctl proxy-status",
            on: "here, and on the gateway",
            why: "who redirects connections",
        },
    ],
    fix: &[
        "Look at the target through the proxy's own logs and health, not by connect checks.",
        "Exempt the target from the redirection, or mend the proxy's upstream.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if ev.failure().as_ref().is_some_and(Failure::silent) || ev.response().is_some() || ev.dialogue().is_some_and(|(_, own)| own.answered())
    {
        return None;
    }
    let mute = mute(ev)?;
    if let Some(claim) = by_witness(ev, mute) {
        return Some(claim);
    }
    let (nobody_id, nobody) = ev.all::<TcpConnect>().find(|(_, c)| c.role == Role::Control && is_nobodys(c.to.ip()) && shook_hands(c))?;
    let main = ev.main_address()?;
    let (closed_id, _) = ev.control_connects(main.ip()).find(|(_, connect)| connect.to.port() == 9 && shook_hands(connect))?;
    let summary = format!(
        "Something on the way answers every handshake: {}, an address that nobody has, connects too, and {main} itself never says a byte.",
        nobody.to.ip()
    );
    Some(Claim::proven(0.93, Where::Path, "between here and the target", summary).citing([mute, nobody_id, closed_id]).despite_answers())
}

/// We were connected, and the host knows nothing of it.
fn by_witness(ev: &Evidence<'_>, mute: ObservationId) -> Option<Claim> {
    let main = ev.main_address()?;
    // A service that waits for us to speak first is well, as far as we asked.
    if ev.first::<SessionEnd>(|end| matches!(end.outcome, SessionOutcome::Open | SessionOutcome::Greeting { .. })).is_some() {
        return None;
    }
    let told = ev.connected_elsewhere(main)?;
    let summary = format!(
        "Something on the way answers the handshakes of {main}: we were connected, no connection came to that host, and not a byte is ever said."
    );
    Some(Claim::proven(0.95, Where::Path, "between here and the target", summary).citing([mute, told]).despite_answers())
}

/// The conversation that never got a byte.
fn mute(ev: &Evidence<'_>) -> Option<ObservationId> {
    let http = ev.exchange().filter(|(_, http): &(_, &HttpExchange)| !matches!(http.outcome, HttpOutcome::Response(_)));
    let tls = || {
        ev.handshake()
            .filter(|(_, tls)| matches!(tls.outcome, TlsOutcome::Silent { .. } | TlsOutcome::Closed { .. } | TlsOutcome::Reset { .. }))
    };
    let session = || {
        ev.all::<SessionEnd>().find(|(_, end)| matches!(end.outcome, SessionOutcome::Closed | SessionOutcome::Reset | SessionOutcome::Open))
    };
    let own = || crate::causes::l7::speech::broken(ev).map(|broken| broken.id);
    let dialogue = || ev.dialogue().filter(|(_, dialogue)| !dialogue.answered() && dialogue.first_byte_ms.is_none());
    http.map(|(id, _)| id)
        .or_else(|| dialogue().map(|(id, _)| id))
        .or_else(own)
        .or_else(|| tls().map(|(id, _)| id))
        .or_else(|| session().map(|(id, _)| id))
        .or_else(|| reset_at_once(ev))
}

/// The handshake was completed, whatever came then.
fn shook_hands(connect: &TcpConnect) -> bool {
    connect.outcome.connected() || connect.outcome.errno() == Some("ECONNRESET")
}

/// A connection that was reset between the handshake and connect()'s return: a refused SYN is ECONNREFUSED.
fn reset_at_once(ev: &Evidence<'_>) -> Option<ObservationId> {
    ev.failure().filter(|failure| failure.errno() == Some("ECONNRESET")).map(|failure| failure.id)
}

/// Documentation addresses: RFC 5737, RFC 3849.
fn is_nobodys(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)) || ip == IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, connected, reset, route_via};
    use super::*;
    use crate::Seen;
    use crate::testkit::{claims, recording};

    #[test]
    fn an_address_that_nobody_has_connects_too() {
        let check = |nobody, expect| {
            let silent = HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 0 };
            let exchange = HttpExchange {
                to: "10.2.0.10:80".parse().expect("addr"),
                method: "GET".to_owned(),
                url: "http://10.2.0.10/".to_owned(),
                purpose: "default".to_owned(),
                version: "HTTP/1.1".to_owned(),
                outcome: silent,
                tcp: None,
            };
            let seen = vec![
                route_via("10.2.0.10"),
                connect("10.2.0.10:80", Role::Target, connected()),
                Seen::HttpExchange(exchange),
                connect("10.2.0.10:9", Role::Control, connected()),
                connect("192.0.2.1:9", Role::Control, nobody),
            ];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(connected(), Some((0.93, true)));
        check(reset(), None);
    }

    #[test]
    fn a_reset_before_connect_returned_was_a_connection_too() {
        let gone = || crate::observation::ConnectOutcome::Failed { errno: "ECONNRESET".to_owned(), icmp: None };
        let check = |nobody, expect| {
            let seen = vec![
                route_via("10.2.0.10"),
                connect("10.2.0.10:80", Role::Target, gone()),
                connect("10.2.0.10:9", Role::Control, connected()),
                connect("192.0.2.1:9", Role::Control, nobody),
            ];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(connected(), Some((0.93, true)));
        check(gone(), Some((0.93, true)));
        check(reset(), None);
    }
}
