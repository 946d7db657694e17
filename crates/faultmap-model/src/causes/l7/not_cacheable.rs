//! A cache stands before the service and cannot keep its answers.

use super::answer::{Answer, usable};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpExchange, HttpOutcome, HttpResponse};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l7.not-cacheable`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.not-cacheable",
    layer: Layer::L7,
    title: "a cache stands in front and every request reaches the origin",
    what: "A CDN or caching proxy serves the name, but the origin says nothing about caching (no Cache-Control, no ETag, no Expires), so that the cache \
           passes every request on and users wait for the origin.",
    shows: "The cache's own header says MISS, and the response has no header that allows caching or revalidation. A service without a cache before it, or \
            one that forbids caching, is not meant.",
    confirm: &[Tool {
        run: "for i in 1 2 3; do curl -skI {url} | grep -i -e cache -e etag -e '^age' -e expires; done",
        on: "here",
        why: "MISS each time: nothing is kept",
    }],
    fix: &[
        "Let the origin send Cache-Control: public, max-age=... and an ETag for what may be cached.",
        "If nothing may be cached, say so with Cache-Control: no-store.",
    ],
    claim,
};

/// The response that says nothing of caching, though a cache asked for it.
fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if ev.proxy_forwards() {
        return None;
    }
    let answer = usable(ev).filter(|answer| answer.response.status == 200 && answer.http.method.eq_ignore_ascii_case("GET"))?;
    let missed = miss(answer.response)?;
    let silent = ["cache-control", "etag", "expires", "last-modified", "pragma", "set-cookie"]
        .iter()
        .all(|name| answer.response.header(name).is_none());
    let others = others(ev, &answer);
    if !silent || others.iter().any(|(_, response)| miss(response).is_none()) {
        return None;
    }
    // Once may be the first request of all; twice in a row is a habit.
    let confidence = if others.is_empty() { 0.5 } else { 0.8 };
    let summary = format!(
        "The cache before {} keeps nothing ({missed}): the origin sends no Cache-Control, ETag or Expires, so every request reaches it.",
        ev.target().host
    );
    Some(
        Claim::degrades(confidence, Where::Remote, answer.http.to.to_string(), summary)
            .citing([answer.id])
            .citing(others.iter().map(|(id, _)| *id)),
    )
}

/// `x-cache: MISS`, when a cache says that it had to ask the origin.
fn miss(response: &HttpResponse) -> Option<String> {
    let said = |name: &str| response.header(name).map(|value| (value.to_ascii_lowercase(), format!("{name}: {value}")));
    let headers: Vec<(String, String)> = ["x-cache", "x-cache-status", "cf-cache-status"].iter().filter_map(|name| said(name)).collect();
    let hit = headers.iter().any(|(value, _)| value.contains("hit")) || response.header("age").is_some_and(|age| age.trim() != "0");
    headers.into_iter().find(|(value, _)| value.contains("miss")).map(|(_, shown)| shown).filter(|_| !hit)
}

/// Other answers to the same request.
fn others<'a>(ev: &Evidence<'a>, answer: &Answer<'a>) -> Vec<(ObservationId, &'a HttpResponse)> {
    let same =
        ev.all::<HttpExchange>().filter(|(id, http)| *id != answer.id && http.url == answer.http.url && http.method == answer.http.method);
    same.filter_map(|(id, http)| match &http.outcome {
        HttpOutcome::Response(response) => Some((id, &**response)),
        _ => None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{but_response, claims, exchange, healthy_https, json_response, plus};

    fn with(headers: &[(&str, &str)]) -> Recording {
        but_response(healthy_https(), |response| response.headers = owned(headers))
    }

    fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn a_cache_that_misses_for_want_of_any_rule_is_told() {
        let missed = with(&[("x-cache", "MISS")]);
        check(&missed, Some((0.5, false)));
        let mut again = json_response(200);
        again.headers = owned(&[("x-cache", "MISS")]);
        check(&plus(missed.clone(), exchange("second-try", HttpOutcome::Response(Box::new(again.clone())))), Some((0.8, false)));
        again.headers = owned(&[("x-cache", "HIT")]);
        check(&plus(missed, exchange("second-try", HttpOutcome::Response(Box::new(again)))), None);
    }

    #[test]
    fn no_cache_a_rule_or_a_hit_are_well() {
        check(&with(&[]), None);
        check(&with(&[("x-cache", "MISS"), ("cache-control", "no-store")]), None);
        check(&with(&[("x-cache", "MISS"), ("etag", "\"a\"")]), None);
        check(&with(&[("x-cache", "HIT")]), None);
        check(&with(&[("cf-cache-status", "DYNAMIC")]), None);
        check(&with(&[("x-cache", "MISS"), ("set-cookie", "sid")]), None);
    }
}
