//! What came is not valid HTTP: no head that parses, a bad chunk, a body that ends before its length.

use super::answer::{exchange, sound, wanted};
use super::backend_intermittent::mixed;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{BodyEnd, HttpExchange, HttpOutcome, HttpResponse};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.http-malformed`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.http-malformed",
    layer: Layer::L7,
    title: "the answer is not valid HTTP",
    what: "The server's answer breaks the rules of HTTP: a head that does not parse, a chunk size that is no number, or fewer bytes than Content-Length \
           says. A worker that crashed while it wrote, a script that counts characters in place of bytes, or a proxy that rewrites bodies.",
    shows: "The parser's error, or an orderly close (FIN) before the declared end: TCP delivered all that was sent. A reset or silence in the middle is \
            another cause. Clients differ in what they forgive.",
    confirm: &[
        Tool { run: "curl -skv --raw {url} -o /tmp/answer; head -c 300 /tmp/answer | xxd", on: "here", why: "shows the answer as it came" },
        Tool { run: "journalctl -u SERVICE --since -5min", on: "{ip}", why: "a crash in mid-answer" },
    ],
    fix: &[
        "Mend the server or the proxy that writes this answer; let the framework compute Content-Length.",
        "If a worker crashed while writing, mend the crash.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http) = exchange(ev)?;
    if mixed(ev).is_some() {
        return None;
    }
    let (what, confidence) = broken(ev, http)?;
    let summary = format!("{} answers {} with invalid HTTP: {what}.", http.to, http.url);
    Some(Claim::proven(confidence, Where::Remote, http.to.to_string(), summary).citing([id]).despite_answers())
}

/// What is invalid, and how sure.
fn broken(ev: &Evidence<'_>, http: &HttpExchange) -> Option<(String, f64)> {
    match &http.outcome {
        HttpOutcome::Malformed { why, first_bytes, looks_like } if matches!(looks_like.as_deref(), None | Some("http" | "html")) => {
            let begins = if first_bytes.is_empty() { String::new() } else { format!("; it begins with {:?}", short(first_bytes)) };
            // Another version of HTTP than ALPN agreed on is a matter of L6.
            let other_version = looks_like.as_deref() == Some("http") && http.version == "HTTP/2";
            (!other_version).then(|| (format!("{why}{begins}"), 0.93))
        }
        HttpOutcome::Closed { received_bytes } if !http.said_nothing() && sound(http.tcp.as_ref()) => {
            Some((format!("the connection was closed after {received_bytes} bytes, within the head"), 0.85))
        }
        HttpOutcome::Response(response) => {
            leads_out_of_the_web(response).or_else(|| leads_nowhere(ev, response)).or_else(|| broken_body(ev, http, response))
        }
        _ => None,
    }
}

/// A redirect to a URL that no HTTP client follows. Programs on telephones and desktops take links of schemes of their own: only those that
/// stay on this host are refused.
fn leads_out_of_the_web(response: &HttpResponse) -> Option<(String, f64)> {
    const LOCAL: [&str; 5] = ["file", "data", "javascript", "about", "blob"];
    let location = response.header("location").filter(|_| (300..400).contains(&response.status))?;
    let (written, _) = location.split_once(':')?;
    let scheme = LOCAL.into_iter().find(|scheme| scheme.eq_ignore_ascii_case(written))?;
    Some((format!("it redirects to a {scheme}: URL, which no HTTP client follows"), 0.93))
}

/// A redirect without a place and without a page: nobody can go on (RFC 9110 15.4 wants a Location).
fn leads_nowhere(ev: &Evidence<'_>, response: &HttpResponse) -> Option<(String, f64)> {
    let redirects = matches!(response.status, 301 | 302 | 303 | 307 | 308) && ev.header.expect.status != Some(response.status);
    let empty = response.body.end == BodyEnd::Complete && response.body.wire_bytes == 0;
    let nowhere = redirects && empty && response.header("location").is_none_or(|place| place.trim().is_empty());
    nowhere.then(|| (format!("it redirects ({}) and names no place to go to", response.status), 0.88))
}

fn broken_body(ev: &Evidence<'_>, http: &HttpExchange, response: &HttpResponse) -> Option<(String, f64)> {
    match &response.body.end {
        _ if !wanted(ev, response) => None,
        BodyEnd::BadFraming { why } => Some((format!("the body's framing is broken ({why})"), 0.95)),
        BodyEnd::Truncated if sound(http.tcp.as_ref()) => {
            let promised = response.header("content-length").map(|length| format!(" of the {length} promised")).unwrap_or_default();
            Some((format!("the body ends after {} bytes{promised}", response.body.wire_bytes), 0.93))
        }
        _ => None,
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::TcpHealth;
    use crate::testkit::{but, but_response, claims, healthy_https};

    fn with(outcome: HttpOutcome) -> Recording {
        but::<HttpExchange>(healthy_https(), |http| http.outcome = outcome.clone())
    }

    fn malformed(looks_like: Option<&str>) -> Recording {
        with(HttpOutcome::Malformed {
            why: "invalid status line".to_owned(),
            first_bytes: "HTTP/1.1 abc".to_owned(),
            looks_like: looks_like.map(str::to_owned),
        })
    }

    fn ended(end: BodyEnd) -> Recording {
        but_response(healthy_https(), |response| response.body.end = end.clone())
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn a_head_that_does_not_parse_is_malformed_unless_it_is_another_protocol() {
        check(&malformed(None), Some((0.93, true)));
        check(&malformed(Some("http")), Some((0.93, true)));
        check(&malformed(Some("tls")), None);
        check(&malformed(Some("ssh")), None);
    }

    #[test]
    fn a_redirect_out_of_the_web_is_no_answer() {
        let redirect = |to: &str| {
            but_response(healthy_https(), |response| {
                response.status = 302;
                response.headers.push(("location".to_owned(), to.to_owned()));
            })
        };
        check(&redirect("file:///etc/passwd"), Some((0.93, true)));
        check(&redirect("JavaScript:alert(1)"), Some((0.93, true)));
        check(&redirect("https://other.test/"), None);
        check(&redirect("/login?next=file:///x"), None);
        check(&redirect("shop://open"), None);
    }

    #[test]
    fn a_body_with_bad_framing_or_cut_short_is_malformed() {
        check(&ended(BodyEnd::BadFraming { why: "invalid chunk size".to_owned() }), Some((0.95, true)));
        check(&ended(BodyEnd::Truncated), Some((0.93, true)));
        check(&with(HttpOutcome::Closed { received_bytes: 9 }), Some((0.85, true)));
    }

    #[test]
    fn resets_stalls_losses_and_our_own_limit_are_something_else() {
        check(&ended(BodyEnd::Complete), None);
        check(&ended(BodyEnd::Limit), None);
        check(&ended(BodyEnd::Reset), None);
        check(&ended(BodyEnd::Stalled), None);
        check(&with(HttpOutcome::Closed { received_bytes: 0 }), None);
        let lossy = but::<HttpExchange>(ended(BodyEnd::Truncated), |http| {
            http.tcp = Some(TcpHealth { unacked: 2, backoff: 3, ..TcpHealth::default() })
        });
        check(&lossy, None);
    }
}
