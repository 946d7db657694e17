//! Redirects that never end: the same URL comes again, or there is no end in sight.

use super::answer::{answer, exchange};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpExchange, HttpOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// So many redirects are followed by curl (50) and browsers (20) at the most; nobody means more than a few.
const MOST: usize = 10;

/// `l7.http-redirect-loop`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.http-redirect-loop",
    layer: Layer::L7,
    title: "redirects never end",
    what: "Each answer redirects to a URL that redirects again, back to the first. Most often two parties disagree: a balancer that ends TLS and an \
           application that thinks it was asked over plain HTTP, or two rules about www and the trailing slash.",
    shows: "A Location that was asked before, or ten redirects in a row. Where the redirects set cookies, a client that keeps them may get out: faultmap \
            keeps none.",
    confirm: &[
        Tool {
            run: "curl -skIL --max-redirs 10 {url} | grep -i -e '^HTTP' -e '^location'",
            on: "here",
            why: "shows the circle, step by step",
        },
        Tool {
            run: "curl -skIL --max-redirs 10 -c /dev/null {url} | grep -c -i '^HTTP'",
            on: "here",
            why: "the same with cookies kept: fewer steps mean that the cookie ends it",
        },
    ],
    fix: &[
        "Behind a balancer that ends TLS, let it send X-Forwarded-Proto: https, and let the application trust it.",
        "Keep one rule about http/https, www and the trailing slash, in one place only.",
        "With Cloudflare in front, set its TLS mode to Full, not Flexible.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let last = answer(ev)?;
    let next = last.response.header("location")?;
    if !(300..400).contains(&last.response.status) || ev.header.expect.status == Some(last.response.status) {
        return None;
    }
    let steps = steps(ev);
    let urls: Vec<String> = steps.iter().map(|(_, http)| normal(&http.url)).collect();
    let next = resolve(&urls.last().cloned().unwrap_or_default(), next);
    let again = urls.iter().position(|url| Some(url) == next.as_ref());
    let endless = steps.len() > MOST;
    if again.is_none() && !endless {
        return None;
    }
    let cookies = steps.iter().any(|(_, http)| matches!(&http.outcome, HttpOutcome::Response(r) if r.header("set-cookie").is_some()));
    let summary = match (again, &next) {
        (Some(at), Some(next)) => {
            format!("{} redirects in a circle of {}: {next} leads back to itself.", ev.target().host, steps_word(urls.len() - at))
        }
        _ => format!(
            "{} redirects without end: {} redirects led to no page, the last to {}.",
            ev.target().host,
            steps.len(),
            next.unwrap_or_default()
        ),
    };
    let place = last.http.to.to_string();
    let claim = match (cookies, again.is_some()) {
        (true, _) => {
            Claim::likely(0.8, Where::Remote, place, format!("{summary} The redirects set cookies, which a browser would send back."))
                .decided_by(
                    "curl -skIL --max-redirs 10 -c /tmp/cookies -b /tmp/cookies {url}".replace("{url}", &ev.target().input),
                    "here",
                    "a page at the end means that only clients without cookies go round",
                )
        }
        (false, true) => Claim::proven(0.97, Where::Remote, place, summary),
        (false, false) => Claim::proven(0.9, Where::Remote, place, summary),
    };
    Some(claim.citing(steps.iter().map(|(id, _)| *id)))
}

/// The last first request, and the redirects followed from it.
fn steps<'a>(ev: &Evidence<'a>) -> Vec<(ObservationId, &'a HttpExchange)> {
    let first = ev.exchange_for("default");
    let redirects = ev.all::<HttpExchange>().filter(|(_, http)| http.purpose == "redirect");
    if exchange(ev).is_none() { Vec::new() } else { first.into_iter().chain(redirects).collect() }
}

fn steps_word(count: usize) -> String {
    if count == 1 { "one step".to_owned() } else { format!("{count} steps") }
}

/// The URL in one spelling: scheme and host in lower case, the scheme's own port and the fragment left out, a path always there.
fn normal(url: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let authority = authority.to_ascii_lowercase();
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(own_port).unwrap_or(&authority);
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{authority}{slash}{path}")
}

/// The absolute URL of a Location (RFC 9110 10.2.2), for the forms that servers send; `None` for others.
fn resolve(base: &str, location: &str) -> Option<String> {
    if location.contains("://") {
        return Some(normal(location));
    }
    let (scheme, rest) = base.split_once("://")?;
    if let Some(other) = location.strip_prefix("//") {
        return Some(normal(&format!("{scheme}://{other}")));
    }
    let authority = rest.split('/').next()?;
    location.starts_with('/').then(|| normal(&format!("{scheme}://{authority}{location}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{but, claims, exchange, healthy_https, json_response, plus};

    fn step(purpose: &str, url: &str, to: &str, cookie: bool) -> HttpExchange {
        let mut response = json_response(302);
        response.headers.push(("location".to_owned(), to.to_owned()));
        if cookie {
            response.headers.push(("set-cookie".to_owned(), "sid".to_owned()));
        }
        HttpExchange { url: url.to_owned(), ..exchange(purpose, HttpOutcome::Response(Box::new(response))) }
    }

    fn walked(steps: &[(&str, &str)], cookie: bool) -> Recording {
        let first = but::<HttpExchange>(healthy_https(), |http| *http = step("default", steps[0].0, steps[0].1, cookie));
        steps[1..].iter().fold(first, |recording, (url, to)| plus(recording, step("redirect", url, to, cookie)))
    }

    fn check(steps: &[(&str, &str)], cookie: bool, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &walked(steps, cookie)), expect, "{steps:?}");
    }

    #[test]
    fn a_location_that_was_asked_before_is_a_loop() {
        check(&[("https://shop.test", "https://SHOP.test:443/")], false, Some((0.97, true)));
        check(&[("https://shop.test/a", "/b"), ("https://shop.test/b", "/a")], false, Some((0.97, true)));
        check(&[("https://shop.test/a", "/b"), ("https://shop.test/b", "//shop.test/b")], false, Some((0.97, true)));
    }

    #[test]
    fn cookies_leave_a_doubt() {
        check(&[("https://shop.test/a", "/a")], true, Some((0.8, true)));
    }

    #[test]
    fn ten_redirects_are_without_end() {
        let urls: Vec<String> = (0..12).map(|n| format!("https://shop.test/{n}")).collect();
        let steps: Vec<(&str, &str)> = urls.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        check(&steps, false, Some((0.9, true)));
        check(&steps[..4], false, None);
    }

    #[test]
    fn a_redirect_that_ends_or_leads_elsewhere_is_none() {
        check(&[("https://shop.test/", "https://www.shop.test/")], false, None);
        let ended = plus(
            walked(&[("https://shop.test/a", "/b")], false),
            exchange("redirect", HttpOutcome::Response(Box::new(json_response(200)))),
        );
        assert_eq!(claims(&CAUSE, &ended), None);
    }
}
