//! No TLS version that both ends speak.

use super::offers::{Taken, VERSIONS, accepted, client_certificate_requested, failed};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::TlsOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// Alert protocol_version (RFC 8446 6.2).
const PROTOCOL_VERSION: u8 = 70;
/// Alert handshake_failure.
const HANDSHAKE_FAILURE: u8 = 40;

/// `l6.tls-version-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-version-mismatch",
    layer: Layer::L6,
    title: "no common TLS version",
    what: "The server speaks only old versions (TLS 1.0, 1.1), which clients have dropped, or only new ones that the client does not have, or it breaks on \
           versions that it does not know.",
    shows: "The alert protocol_version (70); or another failure of the ordinary offer, where an offer of an old version alone is taken.",
    confirm: &[Tool {
        run: "for v in tls1 tls1_1 tls1_2 tls1_3; do echo $v; openssl s_client -connect {host}:{port} -servername {host} -$v -cipher ALL:@SECLEVEL=0 </dev/null 2>&1 | grep -E 'Protocol *:|alert|New,'; done",
        on: "here",
        why: "which versions the server takes, one by one",
    }],
    fix: &[
        "Enable TLS 1.2 and 1.3 on the server (nginx: ssl_protocols TLSv1.2 TLSv1.3), or update the library that it uses.",
        "An old appliance that cannot be updated belongs behind a proxy that speaks TLS 1.2 and 1.3.",
        "If the client is the old one, update it.",
    ],
    claim,
};

/// Versions that the server takes when they are offered alone, oldest first, where the ordinary offer failed for it.
pub(in crate::causes) fn limit<'a>(ev: &Evidence<'a>) -> Option<Vec<Taken<'a>>> {
    let failed = failed(ev)?;
    let taken: Vec<Taken<'a>> = VERSIONS.into_iter().filter_map(|offer| accepted(ev, offer)).collect();
    // A server may take the highest version that it knows and was not offered: then it has not taken ours.
    let chosen = |any: [&str; 2]| taken.iter().find(|taken| any.contains(&taken.version));
    let (old, modern) = (chosen(["TLS 1.0", "TLS 1.1"]), chosen(["TLS 1.2", "TLS 1.3"]));
    let fits = match failed.outcome {
        TlsOutcome::Alert { code: PROTOCOL_VERSION, .. } => true,
        // A modern version alone is taken: then the alert is about ciphers.
        TlsOutcome::Alert { code: HANDSHAKE_FAILURE, .. } => old.is_some() && modern.is_none(),
        TlsOutcome::Rejected { why } => about_versions(why),
        TlsOutcome::Alert { .. } | TlsOutcome::Closed { .. } | TlsOutcome::Reset { .. } | TlsOutcome::Silent { .. } => {
            old.is_some() && modern.is_none() || intolerant(ev)
        }
        _ => false,
    };
    fits.then_some(taken)
}

/// TLS 1.2 alone is taken, and everything that mentions TLS 1.3 fails: the server breaks on a version that it does not know.
fn intolerant(ev: &Evidence<'_>) -> bool {
    let mentions_new = accepted(ev, "only-tls1.3").is_some() || accepted(ev, "second-try").is_some() || accepted(ev, "no-alpn").is_some();
    let tried_new = ev.handshake_offering("only-tls1.3").is_some();
    accepted(ev, "only-tls1.2").is_some()
        && tried_new
        && !mentions_new
        && accepted(ev, "short-hello").is_none()
        && accepted(ev, "other-sni").is_none()
}

fn about_versions(why: &str) -> bool {
    let why = why.to_lowercase();
    ["tls12or13", "tlsversion", "protocol version", "unsupported version", "tls12notoffered", "tls13"].iter().any(|word| why.contains(word))
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failed = failed(ev)?;
    let taken = limit(ev).filter(|_| !client_certificate_requested(ev))?;
    let mut versions: Vec<&str> = taken.iter().map(|taken| taken.version).collect();
    versions.dedup();
    let reaction = match failed.outcome {
        TlsOutcome::Alert { name, code, .. } => format!("answers our offer of TLS 1.2 and 1.3 with the alert {name} ({code})"),
        TlsOutcome::Rejected { why } => format!("answers with a version that we do not take ({why})"),
        TlsOutcome::Closed { .. } => "closes at our offer of TLS 1.2 and 1.3".to_owned(),
        TlsOutcome::Reset { .. } => "resets at our offer of TLS 1.2 and 1.3".to_owned(),
        _ => "does not answer our offer of TLS 1.2 and 1.3".to_owned(),
    };
    let only = if versions.is_empty() {
        "; it took no single version either".to_owned()
    } else {
        format!("; it takes {} only", versions.join(" and "))
    };
    let confidence = if versions.is_empty() { 0.92 } else { 0.96 };
    let summary = format!("{} {reaction}{only}.", failed.to);
    Some(
        Claim::proven(confidence, Where::Remote, failed.to.to_string(), summary)
            .citing([failed.id])
            .citing(taken.iter().map(|taken| taken.id)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{accepted, alert, claims, done, recording, tls};

    fn check(seen: Vec<(&str, TlsOutcome)>, expect: Option<(f64, bool)>) {
        let seen = seen.into_iter().map(|(offer, outcome)| tls(offer, outcome).into()).collect();
        let recording: Recording = recording("https://shop.test/", seen);
        assert_eq!(claims(&CAUSE, &recording), expect);
    }

    #[test]
    fn the_alert_protocol_version_proves_it() {
        check(vec![("default", alert(70))], Some((0.92, true)));
        check(vec![("default", alert(70)), ("only-tls1.0", accepted("TLS 1.0", 0x2f)), ("only-tls1.2", alert(70))], Some((0.96, true)));
    }

    #[test]
    fn so_does_any_failure_where_only_an_old_version_is_taken() {
        for outcome in [alert(40), TlsOutcome::Closed { received_bytes: 0 }, TlsOutcome::Reset { received_bytes: 0 }] {
            check(
                vec![("default", outcome.clone()), ("only-tls1.1", accepted("TLS 1.1", 0x2f)), ("only-tls1.2", alert(70))],
                Some((0.96, true)),
            );
            check(vec![("default", outcome)], None);
        }
    }

    #[test]
    fn an_old_version_in_answer_to_a_modern_offer_is_no_modern_one() {
        let old = || accepted("TLS 1.1", 0xc013);
        check(vec![("default", alert(40)), ("only-tls1.1", old()), ("only-tls1.2", old()), ("only-tls1.3", alert(40))], Some((0.96, true)));
    }

    #[test]
    fn a_modern_version_that_is_taken_clears_the_version() {
        check(vec![("default", alert(40)), ("only-tls1.0", accepted("TLS 1.0", 0x2f)), ("only-tls1.2", accepted("TLS 1.2", 0xc013))], None);
        check(vec![("default", done()), ("only-tls1.0", accepted("TLS 1.0", 0x2f))], None);
    }

    #[test]
    fn a_server_that_breaks_on_tls_1_3_is_told() {
        let reset = || TlsOutcome::Reset { received_bytes: 0 };
        check(vec![("default", reset()), ("only-tls1.2", accepted("TLS 1.2", 0xc02f)), ("only-tls1.3", reset())], Some((0.96, true)));
        check(vec![("default", reset()), ("only-tls1.2", accepted("TLS 1.2", 0xc02f)), ("only-tls1.3", accepted("TLS 1.3", 0x1301))], None);
    }
}
