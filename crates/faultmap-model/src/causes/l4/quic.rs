//! HTTP/3 that does not get through although the same host answers over TCP, as the causes of UDP read it. It registers no cause.

use crate::causes::Claim;
use crate::observation::{Http3Exchange, Http3Outcome, IcmpError, IcmpMeaning};
use crate::verdict::Where;
use crate::{Evidence, ObservationId};

/// The request over HTTP/3 of a target that answers over TCP.
fn asked<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a Http3Exchange)> {
    ev.response()?;
    ev.all::<Http3Exchange>().last()
}

/// Demanded, it breaks; advertised only, clients lose time and fall back.
fn weigh(http3: &Http3Exchange, confidence: f64, side: Where, what: &str) -> Claim {
    let at = http3.to.to_string();
    if http3.demanded {
        return Claim::proven(confidence, side, at, format!("{what}: HTTP/3 cannot be used.")).despite_answers();
    }
    Claim::degrades(confidence.min(0.85), side, at, format!("{what}: HTTP/3 is advertised, and clients lose time before they fall back to TCP."))
        .advising("If UDP is not meant to pass here, stop advertising HTTP/3 (the Alt-Svc header), or let the filter reject it in place of dropping it.")
}

/// Silence: for `l4.udp-filtered`.
pub(super) fn filtered(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http3) = asked(ev)?;
    let Http3Outcome::Silent { .. } = http3.outcome else { return None };
    let place = format!("UDP port {} of {}", http3.to.port(), http3.to.ip());
    let claim = if http3.probe_answered {
        weigh(http3, 0.7, Where::Path, &format!("{place} answers, but no QUIC handshake gets through, while TCP passes"))
    } else {
        weigh(http3, 0.9, Where::Path, &format!("{place} gets no answer, while TCP to the same host passes"))
    };
    Some(claim.citing([id]).citing(ev.response().map(|(id, _)| id)).decided_by(
        format!("tcpdump -ni any udp port {}", http3.to.port()),
        http3.to.ip().to_string(),
        "nothing arriving means that a filter on the way drops it",
    ))
}

fn rejected<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a Http3Exchange, &'a str, Option<IcmpError>)> {
    let (id, http3) = asked(ev)?;
    match &http3.outcome {
        Http3Outcome::Unreachable { errno, icmp } => Some((id, http3, errno, *icmp)),
        _ => None,
    }
}

/// The host's own port unreachable: for `l4.udp-port-unreachable`.
pub(super) fn closed(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http3, _, icmp) = rejected(ev)?;
    icmp.filter(|icmp| icmp.meaning() == IcmpMeaning::PortUnreachable && icmp.from == http3.to.ip())?;
    let what = format!("Nothing listens on UDP port {} of {}, while TCP is answered", http3.to.port(), http3.to.ip());
    Some(weigh(http3, 0.95, Where::Remote, &what).citing([id]))
}

/// Another's ICMP error, or one that only a filter sends: for `l4.firewall-reject`.
pub(super) fn refused(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http3, _, icmp) = rejected(ev)?;
    let icmp = icmp.filter(|icmp| !ev.is_self(icmp.from))?;
    if icmp.meaning() == IcmpMeaning::PortUnreachable && icmp.from == http3.to.ip() {
        return None;
    }
    let side = if icmp.from == http3.to.ip() { Where::Remote } else { Where::Path };
    let place = format!("UDP port {} of {}", http3.to.port(), http3.to.ip());
    let what = format!("A firewall at {} rejects {place} (ICMP {}/{}), while TCP passes", icmp.from, icmp.icmp_type, icmp.code);
    Some(weigh(http3, 0.94, side, &what).citing([id]))
}

/// Our own kernel refuses: for `l4.local-firewall`.
pub(super) fn local(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http3, errno, icmp) = rejected(ev)?;
    let ours = icmp.is_some_and(|icmp| ev.is_self(icmp.from)) || (icmp.is_none() && errno == "EPERM");
    let what = format!("This host's own firewall stops UDP to port {} of {} ({errno}), while TCP passes", http3.to.port(), http3.to.ip());
    ours.then(|| weigh(http3, 0.95, Where::Local, &what).citing([id]))
}

#[cfg(test)]
mod tests {
    use super::super::{firewall_reject, local_firewall, udp_filtered, udp_port_unreachable};
    use super::*;
    use crate::causes::Cause;
    use crate::testkit::{SERVER, claims, healthy_https, plus};

    fn http3(demanded: bool, probe_answered: bool, outcome: Http3Outcome) -> Http3Exchange {
        Http3Exchange { to: SERVER.parse().expect("addr"), advertised: Some("h3=\":443\"".to_owned()), demanded, probe_answered, outcome }
    }

    fn check(seen: Http3Exchange, expect: Option<(&Cause, f64, bool)>) {
        let words = format!("{seen:?}");
        let recording = plus(healthy_https(), seen);
        for cause in [&udp_filtered::CAUSE, &udp_port_unreachable::CAUSE, &firewall_reject::CAUSE, &local_firewall::CAUSE] {
            let expected = expect.filter(|(named, ..)| named.id == cause.id).map(|(_, confidence, breaks)| (confidence, breaks));
            assert_eq!(claims(cause, &recording), expected, "{} {words}", cause.id);
        }
    }

    fn silent() -> Http3Outcome {
        Http3Outcome::Silent { waited_ms: 1_500.0 }
    }

    fn icmp(from: &str, code: u8) -> Http3Outcome {
        let icmp = IcmpError { icmp_type: 3, code, from: from.parse().expect("address"), mtu: None };
        Http3Outcome::Unreachable { errno: "ECONNREFUSED".to_owned(), icmp: Some(icmp) }
    }

    #[test]
    fn what_is_only_advertised_degrades_and_what_is_demanded_breaks() {
        check(http3(false, false, silent()), Some((&udp_filtered::CAUSE, 0.85, false)));
        check(http3(true, false, silent()), Some((&udp_filtered::CAUSE, 0.9, true)));
        check(http3(true, true, silent()), Some((&udp_filtered::CAUSE, 0.7, true)));
    }

    #[test]
    fn who_refuses_tells_the_cause() {
        check(http3(true, false, icmp("10.2.0.10", 3)), Some((&udp_port_unreachable::CAUSE, 0.95, true)));
        check(http3(true, false, icmp("10.9.0.2", 3)), Some((&firewall_reject::CAUSE, 0.94, true)));
        check(http3(false, false, icmp("10.9.0.2", 13)), Some((&firewall_reject::CAUSE, 0.85, false)));
        let own = Http3Outcome::Unreachable { errno: "EPERM".to_owned(), icmp: None };
        check(http3(true, false, own), Some((&local_firewall::CAUSE, 0.95, true)));
    }

    #[test]
    fn an_answer_over_http_3_blames_nobody() {
        check(http3(true, true, Http3Outcome::Answered { status: 200, handshake_ms: 3.0, ttfb_ms: 1.0 }), None);
        check(http3(true, false, Http3Outcome::Alert { code: 120, name: "no_application_protocol".to_owned() }), None);
    }
}
