//! The service answers well by its own lights, and not as the user said that it must.

use super::answer::{Answer, answer, answered_by, usable, wanted};
use super::backend_intermittent::mixed;
use super::http_status::{for_call, phrase};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::BodyEnd;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.http-unexpected-answer`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.http-unexpected-answer",
    layer: Layer::L7,
    title: "the answer is not the one that was asked for",
    what: "The server answers without an error, but not with the status of --expect-status or the text of --expect-body: a redirect to a login or a parking \
           page, another release with another shape of its data, a default page of a proxy, a cached old answer, or the wrong virtual host.",
    shows: "A status below 400 other than the expected one; or a whole, readable body without the expected text. An error status is named by the cause of that \
            status.",
    confirm: &[
        Tool {
            run: "curl -skv {url} | head -c 500",
            on: "here",
            why: "the answer as it comes: status, Location, type, and the first of its body",
        },
        Tool {
            run: "the release that the backend runs, and what the cache holds for this URL",
            on: "{ip}",
            why: "an old release or an old copy answers in the old shape",
        },
    ],
    fix: &[
        "Compare the release and the API version of server and client; let the client ask for the version it knows.",
        "For a redirect: use its target in the URL, or send the credentials that it misses.",
        "Purge the cache, or correct the route or virtual host, if the answer is not this service's at all.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(claim) = for_call(ev, CAUSE.id) {
        return Some(claim);
    }
    if mixed(ev).is_some() {
        return None;
    }
    let (answer, what) = other_status(ev).or_else(|| text_missing(ev))?;
    let summary = format!("{} answers {}, {what}.", answered_by(&answer), answer.response.status);
    Some(Claim::proven(0.95, Where::Remote, answer.http.to.to_string(), summary).citing([answer.id]))
}

/// No error, and another status than the expected one.
fn other_status<'a>(ev: &Evidence<'a>) -> Option<(Answer<'a>, String)> {
    let expected = ev.header.expect.status?;
    let answer = answer(ev).filter(|answer| answer.response.status < 400 && answer.response.status != expected)?;
    let wish = match phrase(expected) {
        "" => expected.to_string(),
        phrase => format!("{expected} {phrase}"),
    };
    let leads = answer.response.header("location").map(|to| format!(" (it redirects to {to})")).unwrap_or_default();
    Some((answer, format!("where {wish} was expected{leads}")))
}

/// The status is well, but the text of `--expect-body` is not in the body.
fn text_missing<'a>(ev: &Evidence<'a>) -> Option<(Answer<'a>, String)> {
    let answer = usable(ev).or_else(|| answer(ev).filter(|answer| wanted(ev, answer.response)))?;
    let body = &answer.response.body;
    if body.expected_found != Some(false) || body.end != BodyEnd::Complete || body.decode_error.is_some() {
        return None;
    }
    let begins: String = body.excerpt.chars().take(60).collect();
    let what = match (body.sniffed.as_str(), begins.as_str()) {
        ("empty", _) => "but with an empty body, where a text was expected".to_owned(),
        (kind, "") => format!("but the expected text is not in its body ({kind})"),
        (kind, begins) => format!("but the expected text is not in its body ({kind}, which begins with {begins:?})"),
    };
    Some((answer, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{but_response, claims, healthy_https};

    /// Only this cause claims, or none.
    fn check(recording: &Recording, expect: bool) {
        for cause in super::super::CAUSES {
            let expected = (expect && cause.id == CAUSE.id).then_some((0.95, true));
            assert_eq!(claims(cause, recording), expected, "{}", cause.id);
        }
    }

    fn expecting(status: u16, came: u16) -> Recording {
        let mut recording = but_response(healthy_https(), |response| response.status = came);
        recording.header.expect.status = Some(status);
        recording
    }

    #[test]
    fn a_success_that_was_not_expected_is_told_as_such() {
        check(&expecting(204, 200), true);
        check(&expecting(404, 200), true);
        check(&expecting(200, 302), true);
        check(&expecting(200, 200), false);
        check(&healthy_https(), false);
    }

    #[test]
    fn a_body_without_the_expected_text_is_told_unless_it_was_cut_by_us() {
        let missing = |end: BodyEnd| {
            but_response(healthy_https(), move |response| {
                response.body.expected_found = Some(false);
                response.body.end = end.clone();
            })
        };
        check(&missing(BodyEnd::Complete), true);
        check(&missing(BodyEnd::Limit), false);
        check(&but_response(healthy_https(), |response| response.body.expected_found = Some(true)), false);
    }
}
