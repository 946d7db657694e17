//! The server, or somebody on the way, refuses this very name.

use super::offers::{self, WITHOUT_OUR_NAME, accepted, accepted_with_our_name, failed};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::TlsOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// Alert unrecognized_name (RFC 6066 3).
const UNRECOGNIZED_NAME: u8 = 112;

/// `l6.sni-rejected`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.sni-rejected",
    layer: Layer::L6,
    title: "this name is refused in the TLS handshake (SNI)",
    what: "The client says in clear text which name it wants. A server without a site of that name refuses it, and filters on the way reset or drop \
           connections to names on their list.",
    shows: "The alert unrecognized_name (112); or an alert, reset, close or silence with this name, where the same hello with another name or none is \
            taken. An alert comes from the server (or from a box that ends TLS); a reset or silence may come from a filter.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {ip}:{port} -servername {host} </dev/null 2>&1 | head -3; openssl s_client -connect {ip}:{port} -noservername </dev/null 2>&1 | head -3",
            on: "here",
            why: "fails with the name only",
        },
        Tool {
            run: "curl -sk -o /dev/null -w '%{http_code}\\n' {url}",
            on: "another network",
            why: "works from there: a filter on this network's way",
        },
    ],
    fix: &[
        "Configure the server for this name (certificate and virtual host), or correct the name or the address in DNS.",
        "If a filter refuses it, have the name allowed there.",
    ],
    claim,
};

/// The refusal of the name.
pub(in crate::causes) struct Refusal {
    ids: Vec<ObservationId>,
    how: String,
    /// An alert came: the one who ends TLS refuses it.
    by_server: bool,
    confidence: f64,
}

/// Our name fails where another, or none, is taken.
pub(in crate::causes) fn refused(ev: &Evidence<'_>) -> Option<Refusal> {
    let failed = failed(ev)?;
    if let TlsOutcome::Alert { code: UNRECOGNIZED_NAME, name, .. } = failed.outcome {
        return Some(Refusal { ids: vec![failed.id], how: format!("the alert {name} (112)"), by_server: true, confidence: 0.97 });
    }
    let (offer, taken) = WITHOUT_OUR_NAME.into_iter().find_map(|offer| accepted(ev, offer).map(|taken| (offer, taken)))?;
    if accepted_with_our_name(ev).is_some() || offers::client_certificate_requested(ev) {
        return None;
    }
    let (how, by_server) = match failed.outcome {
        TlsOutcome::Alert { code: 40 | 49 | 80 | 90, name, .. } => (format!("the alert {name}"), true),
        TlsOutcome::Closed { .. } => ("a close".to_owned(), true),
        TlsOutcome::Reset { .. } => ("a reset".to_owned(), false),
        TlsOutcome::Silent { .. } => ("silence".to_owned(), false),
        _ => return None,
    };
    let instead = if offer == "no-sni" { "no name" } else { "another name" };
    Some(Refusal {
        ids: vec![failed.id, taken.id],
        how: format!("{how}, while the same with {instead} is taken"),
        by_server,
        confidence: 0.94,
    })
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = refused(ev)?;
    let to = ev.handshake().map(|(_, tls)| tls.to)?;
    let side = if refusal.by_server { Where::Remote } else { Where::Path };
    let place = if refusal.by_server { to.to_string() } else { format!("{to}, or a filter before it") };
    let summary = format!("A TLS handshake with {to} for the name {} meets {}.", ev.target().host, refusal.how);
    Some(Claim::proven(refusal.confidence, side, place, summary).citing(refusal.ids).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{accepted, alert, claims, done, recording, tls};

    fn check(seen: Vec<(&str, TlsOutcome)>, expect: Option<(f64, bool)>) {
        let seen = seen.into_iter().map(|(offer, outcome)| tls(offer, outcome).into()).collect();
        assert_eq!(claims(&CAUSE, &recording("https://shop.test/", seen)), expect);
    }

    fn silent() -> TlsOutcome {
        TlsOutcome::Silent { waited_ms: 4e3, received_bytes: 0 }
    }

    #[test]
    fn the_alert_unrecognized_name_proves_it() {
        check(vec![("default", alert(112))], Some((0.97, true)));
        check(vec![("default", alert(40))], None);
    }

    #[test]
    fn a_refusal_that_goes_away_with_the_name_is_about_the_name() {
        for outcome in [alert(40), TlsOutcome::Reset { received_bytes: 0 }, TlsOutcome::Closed { received_bytes: 0 }, silent()] {
            check(vec![("default", outcome.clone()), ("other-sni", accepted("TLS 1.3", 0x1301))], Some((0.94, true)));
            check(vec![("default", outcome.clone()), ("no-sni", accepted("TLS 1.3", 0x1301))], Some((0.94, true)));
            check(vec![("default", outcome.clone()), ("other-sni", outcome)], None);
        }
    }

    #[test]
    fn a_hello_with_our_name_that_is_taken_clears_the_name() {
        check(vec![("default", silent()), ("other-sni", accepted("TLS 1.3", 0x1301)), ("only-tls1.2", accepted("TLS 1.2", 0xc02f))], None);
        check(vec![("default", done()), ("other-sni", accepted("TLS 1.3", 0x1301))], None);
    }
}
