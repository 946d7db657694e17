//! The ClientHello arrives and nothing comes back.

use super::offers::{self, Failed, accepted, failed};
use super::plaintext_on_tls::waited_for_text;
use super::{sni, tls_version};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{TcpHealth, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l6.tls-handshake-stalled`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-handshake-stalled",
    layer: Layer::L6,
    title: "the TLS handshake stalls",
    what: "TCP connects, the peer's kernel acknowledges the ClientHello, and no ServerHello comes: the TLS process hangs or has no worker left, it waits for \
           something else first (a PROXY protocol header), or it cannot cope with a long hello (post-quantum key shares fill two packets).",
    shows: "Silence with nothing of ours unacknowledged. With unacknowledged data the path loses packets; if a connection with small segments passes, it \
            loses large ones; if a short hello passes, the long one is the trouble.",
    confirm: &[
        Tool { run: "ss -tnp 'sport = :{port}' | head", on: "{ip}", why: "Recv-Q above 0: the process does not read" },
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} -groups X25519 </dev/null 2>&1 | head -3",
            on: "here",
            why: "a short hello passes: the server or a box before it breaks on long ones",
        },
    ],
    fix: &[
        "Restart the TLS terminator; before it, look at what its threads do and at its worker limit.",
        "If a balancer is to speak the PROXY protocol to it, switch that on at both ends or at none.",
        "If only long hellos fail, update the server or the middlebox (tldr.fail lists known ones).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let Some(failed) = failed(ev) else { return only_long(ev) };
    let TlsOutcome::Silent { waited_ms, received_bytes } = failed.outcome else { return None };
    // Names and versions that make the difference have causes of their own; so has a path that loses large packets.
    if sni::refused(ev).is_some() || tls_version::limit(ev).is_some() || accepted(ev, "clamped-mss").is_some() {
        return None;
    }
    if waited_for_text(ev, &failed).is_some() {
        return None;
    }
    if let Some((id, words)) = ev.far_program_idle(failed.to).filter(|_| *received_bytes == 0) {
        return Some(Claim::contradicted(vec![id, failed.id], format!("it is not TLS that stalls: {words}")));
    }
    let seconds = waited_ms / 1_000.0;
    if let Some(claim) = long_hello(ev, &failed) {
        return Some(claim);
    }
    if !delivered(failed.tcp) {
        return None;
    }
    let place = failed.to.to_string();
    let again = accepted(ev, "second-try");
    let what = if *received_bytes == 0 { "does not answer it".to_owned() } else { format!("stops after {received_bytes} bytes") };
    let summary = format!("{} acknowledges our ClientHello, but {what} for {seconds:.1} s.", failed.to);
    let clamped_too = ev.handshake_offering("clamped-mss").map(|(id, _)| id);
    let claim = match (&again, *received_bytes, clamped_too) {
        (Some(_), ..) => Claim::likely(0.55, Where::Remote, place, format!("{summary} A second handshake succeeded.")),
        (None, 0, Some(_)) => Claim::proven(0.95, Where::Remote, place, summary),
        (None, 0, None) => Claim::proven(0.88, Where::Remote, place, summary),
        (None, ..) => Claim::likely(0.7, Where::Remote, place, summary),
    };
    Some(claim.citing([failed.id]).citing(again.map(|taken| taken.id)).citing(clamped_too))
}

/// An ordinary hello is answered, and one with a post-quantum key share would not be: clients of today send such.
fn only_long(ev: &Evidence<'_>) -> Option<Claim> {
    let long = offers::long_hello(ev)?;
    // In small segments it arrives: the path loses large packets, whoever sends them.
    if accepted(ev, "long-hello-clamped").is_some() {
        return None;
    }
    let split_passes = accepted(ev, "split-hello");
    let why = match (&split_passes, ev.handshake_offering("split-hello")) {
        (Some(_), _) => "an ordinary one in two segments is answered, so that it is the length",
        (None, Some(_)) => "an ordinary one in two segments is not answered either, so that it is the second segment",
        (None, None) => "an ordinary one is answered",
    };
    let summary = format!(
        "A ClientHello of {} bytes, as clients with post-quantum key exchange send it, meets {}; {why}. Browsers and new libraries fail here.",
        long.bytes, long.met
    );
    let (side, at) = if long.lost || long.met == "a reset" || split_passes.is_none() {
        (Where::Path, format!("between here and {}, or {} itself", long.to, long.to))
    } else {
        (Where::Remote, long.to.to_string())
    };
    let split = ev.handshake_offering("split-hello").map(|(id, _)| id);
    let clamped = ev.handshake_offering("long-hello-clamped").map(|(id, _)| id);
    Some(Claim::degrades(0.9, side, at, summary).citing(long.ids).citing(split).citing(clamped))
}

/// Small segments do not help, and a short hello does: it is the hello's length, not the packets'.
fn long_hello(ev: &Evidence<'_>, failed: &Failed<'_>) -> Option<Claim> {
    let short = accepted(ev, "short-hello")?;
    let (clamped, _) = ev.handshake_offering("clamped-mss").filter(|(_, tls)| matches!(tls.outcome, TlsOutcome::Silent { .. }))?;
    let long = ev.handshake().and_then(|(_, tls)| tls.offer.hello_bytes).map(|bytes| format!(" of {bytes} bytes")).unwrap_or_default();
    let summary = format!(
        "{} answers a short ClientHello, but not an ordinary one{long}, even in small segments: it, or a box before it, cannot read a long hello.",
        failed.to
    );
    Some(Claim::proven(0.88, Where::Remote, failed.to.to_string(), summary).citing([failed.id, clamped, short.id]))
}

/// All that we sent was acknowledged, and nothing came out of order.
fn delivered(tcp: Option<&TcpHealth>) -> bool {
    tcp.is_some_and(|tcp| tcp.unacked == 0 && tcp.backoff == 0 && tcp.out_of_order == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::TlsHandshake;
    use crate::testkit::{accepted, but, claims, done, recording, tls};

    fn stalled(others: Vec<(&str, TlsOutcome)>) -> crate::Recording {
        let seen = [("default", silent())].into_iter().chain(others);
        recording("https://shop.test/", seen.map(|(offer, outcome)| tls(offer, outcome).into()).collect())
    }

    fn silent() -> TlsOutcome {
        TlsOutcome::Silent { waited_ms: 4_500.0, received_bytes: 0 }
    }

    fn check(recording: &crate::Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn an_acknowledged_hello_without_answer_is_a_mute_server() {
        check(&stalled(vec![]), Some((0.88, true)));
        check(&stalled(vec![("clamped-mss", silent()), ("second-try", silent())]), Some((0.95, true)));
        check(&stalled(vec![("second-try", done())]), Some((0.55, true)));
    }

    #[test]
    fn an_unacknowledged_hello_is_the_paths_matter() {
        let lost = but::<TlsHandshake>(stalled(vec![]), |tls| tls.tcp = Some(TcpHealth { unacked: 1, backoff: 3, ..TcpHealth::default() }));
        check(&lost, None);
        check(&stalled(vec![("clamped-mss", done())]), None);
    }

    #[test]
    fn a_short_hello_that_passes_blames_the_long_one() {
        check(&stalled(vec![("clamped-mss", silent()), ("short-hello", accepted("TLS 1.3", 0x1301))]), Some((0.88, true)));
    }

    #[test]
    fn a_hello_that_only_fails_when_long_is_a_risk() {
        let beside = |long: TlsOutcome, clamped: TlsOutcome, split: TlsOutcome| {
            let offers = [("long-hello", long.clone()), ("long-hello", long), ("long-hello-clamped", clamped), ("split-hello", split)];
            let all = [("default", done()), ("ordinary", accepted("TLS 1.3", 0x1301))].into_iter().chain(offers);
            recording("https://shop.test/", all.map(|(offer, outcome)| tls(offer, outcome).into()).collect())
        };
        let taken = || accepted("TLS 1.3", 0x1301);
        check(&beside(silent(), silent(), taken()), Some((0.9, false)));
        check(&beside(silent(), silent(), silent()), Some((0.9, false)));
        check(&beside(silent(), taken(), taken()), None);
        check(&beside(taken(), taken(), taken()), None);
    }

    #[test]
    fn a_name_that_makes_the_difference_has_its_own_cause() {
        check(&stalled(vec![("other-sni", accepted("TLS 1.3", 0x1301))]), None);
        check(&recording("https://shop.test/", vec![tls("default", done()).into()]), None);
    }
}
