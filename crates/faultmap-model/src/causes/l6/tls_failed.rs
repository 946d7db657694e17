//! The server gives up the TLS handshake for a reason of its own, which its alert does not explain.

use super::offers::{accepted, any_accepted, client_certificate_requested, compared, failed};
use super::plaintext_on_tls::echoed;
use super::{alpn, client_cert, sni, tls_version};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::TlsOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l6.tls-handshake-failed`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-handshake-failed",
    layer: Layer::L6,
    title: "the server gives up the TLS handshake",
    what: "The server answers the ClientHello with an alert that says \"something failed here\", not what: it has no certificate or key loaded, its key does \
           not fit its certificate, a box in front of it broke off, its own connection behind it failed, or a rule denies the access.",
    shows: "An alert such as internal_error (80), access_denied (49), decode_error (50), unexpected_message (10), or an answer that breaks the rules of TLS, \
            where no version, suite, name or client certificate makes the difference. Those have causes of their own.",
    confirm: &[
        Tool {
            run: "the server's TLS log (nginx: error_log ... info; HAProxy: log-format with %[ssl_fc_err_str]; Go: http.Server.ErrorLog)",
            on: "{ip}",
            why: "names the error behind the alert",
        },
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} -msg </dev/null 2>&1 | tail -20",
            on: "here, and on another network",
            why: "the message at which it breaks off; well from elsewhere: a rule or a box for this network",
        },
    ],
    fix: &[
        "See that the server has a certificate and its own key for {host}, and that it was reloaded after the last change.",
        "Where a TLS terminator stands before it, look at the terminator's connection to its backend.",
        "If access is denied, have this client allowed.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failed = failed(ev)?;
    let (words, denied) = said(failed.outcome)?;
    let explained = client_certificate_requested(ev)
        || client_cert::wanted(ev).is_some()
        || sni::refused(ev).is_some()
        || tls_version::limit(ev).is_some()
        || alpn::mismatch(ev).is_some();
    if explained {
        return None;
    }
    let taken = accepted(ev, "all-ciphers").or_else(|| any_accepted(ev));
    let but = taken.as_ref().map_or_else(String::new, |taken| format!(", though it took another offer ({})", taken.version));
    let what = if denied { "denies the access" } else { "gives up" };
    let summary = format!("{} {what} in the TLS handshake: {words}{but}.", failed.to);
    let place = failed.to.to_string();
    let broken = matches!(failed.outcome, TlsOutcome::Rejected { .. });
    let claim = match (compared(ev), &taken) {
        // Bytes that break the rules are the peer's own, whatever else it takes.
        _ if broken => Claim::proven(0.85, Where::Remote, place, summary),
        (true, None) => Claim::proven(0.88, Where::Remote, place, summary),
        _ => Claim::likely(0.6, Where::Remote, place, summary),
    };
    Some(claim.citing([failed.id]).citing(taken.map(|taken| taken.id)))
}

/// The alert or the broken rule, in words; and whether it is about access.
fn said(outcome: &TlsOutcome) -> Option<(String, bool)> {
    match outcome {
        TlsOutcome::Alert { after_handshake: true, .. } => None,
        // Those of other causes: version, suites, parameters, name, ALPN, client certificate.
        TlsOutcome::Alert { code: 40 | 47 | 70 | 71 | 109 | 110 | 112 | 116 | 120, .. } => None,
        TlsOutcome::Alert { code, name, .. } => Some((format!("the alert {name} ({code})"), matches!(code, 49))),
        outcome if echoed(outcome) => None,
        TlsOutcome::Rejected { why } => {
            let lower = why.to_lowercase();
            let of_others =
                ["ciphersuite", "cipher suite", "kxgroup", "group", "signaturescheme", "extendedmastersecret", "version", "name"];
            (!of_others.iter().any(|word| lower.contains(word))).then(|| (format!("its answer breaks the rules of TLS ({why})"), false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{accepted, alert, claims, done, recording, tls};

    fn check(seen: Vec<(&str, TlsOutcome)>, expect: Option<(f64, bool)>) {
        let seen = seen.into_iter().map(|(offer, outcome)| tls(offer, outcome).into()).collect();
        assert_eq!(claims(&CAUSE, &recording("https://shop.test/", seen)), expect);
    }

    #[test]
    fn an_alert_that_meets_every_offer_is_the_servers_own_failure() {
        for code in [80, 49, 50, 10, 86] {
            check(vec![("default", alert(code)), ("only-tls1.2", alert(code)), ("other-sni", alert(code))], Some((0.88, true)));
        }
        check(vec![("default", alert(80))], Some((0.6, true)));
        check(vec![("default", TlsOutcome::Rejected { why: "received corrupt message of type Handshake".to_owned() })], Some((0.85, true)));
    }

    #[test]
    fn what_a_name_a_version_or_a_suite_explains_is_left_to_them() {
        check(vec![("default", alert(80)), ("other-sni", accepted("TLS 1.3", 0x1301))], None);
        for code in [40, 70, 71, 112, 116, 120] {
            check(vec![("default", alert(code))], None);
        }
        check(vec![("default", done())], None);
    }
}
