//! The 4xx causes: the server understood that somebody asked, and says what is wrong with the request.

use super::http_status::claim_for;
use crate::Layer;
use crate::causes::{Cause, Tool};

const ASK_AGAIN: Tool = Tool { run: "curl -vk {url}", on: "here", why: "shows the request as sent, and the whole answer" };
const SERVER_LOG: Tool = Tool {
    run: "the access and error log of the server, at the time of this check",
    on: "{ip}",
    why: "names the rule or handler that answered",
};

/// `l7.http-client-error`
pub(super) static CLIENT_ERROR: Cause = Cause {
    id: "l7.http-client-error",
    layer: Layer::L7,
    title: "the server refuses the request (4xx)",
    what: "The server answered with a 4xx status that has no page of its own here: it finds fault with the request (a conflict, a precondition, a size, \
           a missing payment, a host it does not serve).",
    shows: "The status line. It proves every layer below: the request arrived and was understood. Whether it is the application or a gateway before it \
            that answers, its headers tell.",
    confirm: &[ASK_AGAIN, SERVER_LOG],
    fix: &[
        "Correct the request as the status and the body say.",
        "For 421 or an unknown host, correct the Host header or the server's virtual hosts.",
    ],
    claim: |ev| claim_for(ev, "l7.http-client-error"),
};

/// `l7.http-bad-request`
pub(super) static BAD_REQUEST: Cause = Cause {
    id: "l7.http-bad-request",
    layer: Layer::L7,
    title: "the server cannot read the request (400)",
    what: "The server finds the request malformed: a missing or wrong Host header, a broken body, characters that it does not take, or an API that \
           rejects a parameter.",
    shows: "Status 400. Plain HTTP sent to a TLS port, a missing client certificate and too large cookies also give 400: their words in the body tell \
            them apart.",
    confirm: &[ASK_AGAIN, SERVER_LOG],
    fix: &[
        "Correct the request: the Host header, the parameters, the body and its Content-Type.",
        "If a proxy rewrites requests, look at what it sends on.",
    ],
    claim: |ev| claim_for(ev, "l7.http-bad-request"),
};

/// `l7.http-unauthorized`
pub(super) static UNAUTHORIZED: Cause = Cause {
    id: "l7.http-unauthorized",
    layer: Layer::L7,
    title: "credentials are missing or refused (401)",
    what: "The resource wants credentials, and those sent (or none) are not accepted: an expired token, a wrong password, a header that a proxy removed.",
    shows: "Status 401; WWW-Authenticate names the scheme and often the reason (invalid_token, expired).",
    confirm: &[
        Tool {
            run: "curl -sk -D- -o /dev/null -H 'Authorization: Bearer TOKEN' {url}",
            on: "here",
            why: "the same request with good credentials",
        },
        SERVER_LOG,
    ],
    fix: &[
        "Send valid credentials (-H 'Authorization: ...'), or renew the expired token.",
        "If they are sent, look for a proxy that drops the Authorization header, and compare clocks for signed tokens.",
    ],
    claim: |ev| claim_for(ev, "l7.http-unauthorized"),
};

/// `l7.http-forbidden`
pub(super) static FORBIDDEN: Cause = Cause {
    id: "l7.http-forbidden",
    layer: Layer::L7,
    title: "access is forbidden (403)",
    what: "The server knows what is asked for and does not allow it: file permissions, an address or country filter, a web application firewall, or an \
           account without the right.",
    shows: "Status 403. The Server header tells whether the origin or a firewall before it (Cloudflare, Akamai, AWS) refuses.",
    confirm: &[
        ASK_AGAIN,
        Tool {
            run: "curl -sk -o /dev/null -w '%{http_code}\\n' {url}",
            on: "another network",
            why: "another status from there means a filter by address",
        },
        SERVER_LOG,
    ],
    fix: &[
        "Give this client or account the right, or allow its address in the filter.",
        "For static files, correct owner and mode of the file and of every folder above it.",
    ],
    claim: |ev| claim_for(ev, "l7.http-forbidden"),
};

/// `l7.http-not-found`
pub(super) static NOT_FOUND: Cause = Cause {
    id: "l7.http-not-found",
    layer: Layer::L7,
    title: "there is nothing at this path (404)",
    what: "The server works, and has nothing at this path: a wrong URL, a route that was not deployed, a balancer's default backend, or the wrong virtual host.",
    shows: "Status 404 (or 410). A 404 for every path points to the wrong virtual host or a default backend.",
    confirm: &[
        Tool {
            run: "curl -sk -o /dev/null -w '%{http_code}\\n' https://{host}:{port}/",
            on: "here",
            why: "404 for the root too means the wrong virtual host or backend",
        },
        SERVER_LOG,
    ],
    fix: &["Correct the path.", "If the path is right, deploy the route, or correct the ingress or virtual host for {host}."],
    claim: |ev| claim_for(ev, "l7.http-not-found"),
};

/// `l7.http-method-not-allowed`
pub(super) static METHOD_NOT_ALLOWED: Cause = Cause {
    id: "l7.http-method-not-allowed",
    layer: Layer::L7,
    title: "the method is not allowed here (405)",
    what: "The path exists, but not for this method.",
    shows: "Status 405; Allow lists the methods that are.",
    confirm: &[Tool { run: "curl -sk -X OPTIONS -D- -o /dev/null {url}", on: "here", why: "Allow lists the methods" }],
    fix: &[
        "Use a method of the Allow list (-X METHOD).",
        "If a redirect turned POST into GET, send the request to its target at once, or let the server redirect with 307 or 308.",
    ],
    claim: |ev| claim_for(ev, "l7.http-method-not-allowed"),
};

/// `l7.http-unsupported-media-type`
pub(super) static UNSUPPORTED_MEDIA_TYPE: Cause = Cause {
    id: "l7.http-unsupported-media-type",
    layer: Layer::L7,
    title: "the body's type is not accepted (415)",
    what: "The server does not take the Content-Type (or the Content-Encoding) of the request's body.",
    shows: "Status 415.",
    confirm: &[ASK_AGAIN],
    fix: &[
        "Send the Content-Type that the API wants, such as -H 'Content-Type: application/json'.",
        "Do not compress the request body unless the server takes it.",
    ],
    claim: |ev| claim_for(ev, "l7.http-unsupported-media-type"),
};

/// `l7.http-rate-limited`
pub(super) static RATE_LIMITED: Cause = Cause {
    id: "l7.http-rate-limited",
    layer: Layer::L7,
    title: "too many requests (429)",
    what: "The server or a gateway before it counts requests by client, token or address, and the limit is reached. Many users behind one NAT address \
           share its limit.",
    shows: "Status 429; Retry-After tells when to come back.",
    confirm: &[Tool {
        run: "curl -sk -D- -o /dev/null {url} | grep -i -e retry-after -e ratelimit",
        on: "here",
        why: "shows the limit, what is left, and when it starts anew",
    }],
    fix: &[
        "Ask less often, and wait as Retry-After says, with growing pauses.",
        "Raise the limit for this client, or count by token in place of by address.",
    ],
    claim: |ev| claim_for(ev, "l7.http-rate-limited"),
};

/// `l7.http-header-too-large`
pub(super) static HEADER_TOO_LARGE: Cause = Cause {
    id: "l7.http-header-too-large",
    layer: Layer::L7,
    title: "the request's headers are too large (431)",
    what: "The header section exceeds the server's limit, most often by cookies that grew or by a large token.",
    shows: "Status 431, or nginx's 400 (494) with \"Request Header Or Cookie Too Large\". It strikes some users only: those with many cookies.",
    confirm: &[Tool {
        run: "curl -sk -o /dev/null -w '%{http_code}\\n' {url}",
        on: "here",
        why: "well without cookies and tokens: their size is the cause",
    }],
    fix: &[
        "Delete the cookies of {host}, or shorten the token.",
        "Raise the limit (nginx: large_client_header_buffers; Node: --max-http-header-size; Envoy: max_request_headers_kb).",
    ],
    claim: |ev| claim_for(ev, "l7.http-header-too-large"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{but_response, claims, healthy_https};

    fn with_status(status: u16) -> crate::Recording {
        but_response(healthy_https(), |response| response.status = status)
    }

    fn check(cause: &Cause, status: u16) {
        assert_eq!(claims(cause, &with_status(status)), Some((0.97, true)), "{status}");
        for other in super::super::CAUSES.iter().filter(|other| other.id != cause.id) {
            assert_eq!(claims(other, &with_status(status)), None, "{status} is not for {}", other.id);
        }
        let mut expected = with_status(status);
        expected.header.expect.status = Some(status);
        assert_eq!(claims(cause, &expected), None, "{status} was expected");
    }

    #[test]
    fn each_status_has_one_cause_and_none_when_it_was_expected() {
        check(&BAD_REQUEST, 400);
        check(&UNAUTHORIZED, 401);
        check(&FORBIDDEN, 403);
        check(&NOT_FOUND, 404);
        check(&METHOD_NOT_ALLOWED, 405);
        check(&NOT_FOUND, 410);
        check(&CLIENT_ERROR, 409);
        check(&CLIENT_ERROR, 421);
        check(&UNSUPPORTED_MEDIA_TYPE, 415);
        check(&RATE_LIMITED, 429);
        check(&HEADER_TOO_LARGE, 431);
    }

    #[test]
    fn nginx_says_too_large_headers_with_400() {
        let nginx = but_response(with_status(400), |response| response.body.excerpt = "400 Request Header Or Cookie Too Large".to_owned());
        assert_eq!(claims(&HEADER_TOO_LARGE, &nginx), Some((0.97, true)));
        assert_eq!(claims(&BAD_REQUEST, &nginx), None);
    }

    #[test]
    fn the_advice_names_what_was_sent() {
        let mut recording = with_status(415);
        recording.header.expect.sent =
            crate::recording::Sent { content_type: Some("text/plain".to_owned()), body_bytes: 12, header_bytes: 30 };
        let claim = (UNSUPPORTED_MEDIA_TYPE.claim)(&crate::Evidence::new(&recording)).expect("a claim");
        assert!(claim.advice.iter().any(|advice| advice.contains("Content-Type: text/plain")), "{:?}", claim.advice);
        let silent = (UNSUPPORTED_MEDIA_TYPE.claim)(&crate::Evidence::new(&with_status(415))).expect("a claim");
        assert!(silent.advice.is_empty(), "{:?}", silent.advice);
    }

    #[test]
    fn a_400_that_wants_tls_or_a_certificate_belongs_to_l6() {
        for words in ["400 The plain HTTP request was sent to HTTPS port", "400 No required SSL certificate was sent"] {
            let said = but_response(with_status(400), |response| response.body.excerpt = words.to_owned());
            assert_eq!(claims(&BAD_REQUEST, &said), None, "{words}");
        }
    }
}
