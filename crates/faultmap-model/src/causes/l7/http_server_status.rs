//! The 5xx causes: the server, or a backend behind it, failed.

use super::http_status::claim_for;
use crate::Layer;
use crate::causes::{Cause, Tool};

const BALANCER_LOG: Tool = Tool {
    run: "the balancer's error log at the time of this check (nginx: error.log; HAProxy: termination state)",
    on: "{ip}",
    why: "names the backend and how it failed",
};
const BACKEND_DIRECT: Tool = Tool {
    run: "faultmap check http://BACKEND:PORT/",
    on: "{ip}",
    why: "the same question to the backend, from where the balancer stands",
};

/// `l7.http-server-error`
pub(super) static SERVER_ERROR: Cause = Cause {
    id: "l7.http-server-error",
    layer: Layer::L7,
    title: "the server fails (500)",
    what: "The application broke while it answered: an exception, a dependency that fails, a full disk.",
    shows: "A 5xx status other than 502, 503, 504. The request arrived and was understood, so every layer below is well.",
    confirm: &[
        Tool { run: "journalctl -u SERVICE --since -5min; the application's log", on: "{ip}", why: "the exception behind the status" },
        Tool { run: "df -h; df -i; free -m", on: "{ip}", why: "a full disk or no memory is a common cause" },
    ],
    fix: &["Mend what the application's log names; roll back if it began with a release."],
    claim: |ev| claim_for(ev, "l7.http-server-error"),
};

/// `l7.http-bad-gateway`
pub(super) static BAD_GATEWAY: Cause = Cause {
    id: "l7.http-bad-gateway",
    layer: Layer::L7,
    title: "the balancer answers, its backend does not (502)",
    what: "A gateway took the request and could not get an answer of its backend: the backend is down, refuses, resets, or answers what the gateway \
           cannot read.",
    shows: "Status 502. An instant one means that the backend refuses; one after seconds, that it cannot be reached. A 502 only on reused connections \
            is a keep-alive race.",
    confirm: &[BALANCER_LOG, BACKEND_DIRECT],
    fix: &[
        "Start or mend the backend; check its address and port in the gateway.",
        "If it happens at random, let the backend's keep-alive timeout exceed the gateway's.",
        "If the backend wants TLS (or does not), correct the gateway's scheme for it.",
    ],
    claim: |ev| claim_for(ev, "l7.http-bad-gateway"),
};

/// `l7.http-unavailable`
pub(super) static UNAVAILABLE: Cause = Cause {
    id: "l7.http-unavailable",
    layer: Layer::L7,
    title: "the service is unavailable (503)",
    what: "The gateway has no healthy backend, or the service itself says that it is overloaded, starting or in maintenance.",
    shows: "Status 503. An instant 503 of a gateway means no healthy backend; one in the application's own format comes from the application; \
            Retry-After speaks of maintenance or load.",
    confirm: &[
        Tool {
            run: "the balancer's list of backends and their health (kubectl get endpoints; HAProxy stats; target group health)",
            on: "{ip}",
            why: "shows whether any backend is healthy",
        },
        BALANCER_LOG,
    ],
    fix: &["Bring backends back, or correct the health check that takes them out.", "If it is load, add instances or shed work."],
    claim: |ev| claim_for(ev, "l7.http-unavailable"),
};

/// `l7.http-gateway-timeout`
pub(super) static GATEWAY_TIMEOUT: Cause = Cause {
    id: "l7.http-gateway-timeout",
    layer: Layer::L7,
    title: "the backend is too slow for its balancer (504)",
    what: "The gateway waited for its backend as long as its limit allows, and gave up: a slow query, a deadlock, or a backend that a filter makes \
           unreachable.",
    shows: "Status 504, usually after a round number of seconds: the gateway's limit.",
    confirm: &[
        BALANCER_LOG,
        BACKEND_DIRECT,
        Tool {
            run: "curl -sk -o /dev/null -w '%{time_starttransfer}\\n' http://BACKEND:PORT/",
            on: "{ip}",
            why: "the backend's own time for the request",
        },
    ],
    fix: &[
        "Make the request faster (slow queries, locks, a dependency), or answer it asynchronously.",
        "If the backend is not reachable at all, open the way from the gateway to it.",
    ],
    claim: |ev| claim_for(ev, "l7.http-gateway-timeout"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::HttpSamples;
    use crate::testkit::{but, but_response, claims, healthy_https, samples, without};

    fn with_status(status: u16) -> crate::Recording {
        without::<HttpSamples>(but_response(healthy_https(), |response| response.status = status))
    }

    fn check(cause: &Cause, recording: &crate::Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(cause, recording), expect);
        for other in super::super::CAUSES.iter().filter(|other| other.id != cause.id) {
            assert_eq!(claims(other, recording), None, "not for {}", other.id);
        }
    }

    #[test]
    fn each_5xx_has_one_cause() {
        check(&SERVER_ERROR, &with_status(500), Some((0.97, true)));
        check(&SERVER_ERROR, &with_status(507), Some((0.97, true)));
        check(&BAD_GATEWAY, &with_status(502), Some((0.97, true)));
        check(&UNAVAILABLE, &with_status(503), Some((0.97, true)));
        check(&GATEWAY_TIMEOUT, &with_status(504), Some((0.97, true)));
        check(&super::super::captive_portal::CAUSE, &with_status(511), Some((0.97, true)));
    }

    #[test]
    fn a_gateway_of_cloudflare_has_codes_of_its_own() {
        let cloudflare = but_response(with_status(522), |response| response.headers = vec![("server".to_owned(), "cloudflare".to_owned())]);
        check(&GATEWAY_TIMEOUT, &cloudflare, Some((0.97, true)));
        check(&SERVER_ERROR, &with_status(522), Some((0.97, true)));
    }

    #[test]
    fn a_stream_that_http_2_refuses_is_no_reset_of_tcp() {
        let refused = |reason: &str| {
            but::<crate::observation::HttpExchange>(without::<HttpSamples>(healthy_https()), |http| {
                http.version = "HTTP/2".to_owned();
                http.outcome = crate::observation::HttpOutcome::StreamRefused { reason: reason.to_owned() };
            })
        };
        check(&UNAVAILABLE, &refused("REFUSED_STREAM"), Some((0.88, true)));
        check(&SERVER_ERROR, &refused("INTERNAL_ERROR"), Some((0.88, true)));
    }

    #[test]
    fn an_expected_failure_is_none() {
        let mut expected = with_status(503);
        expected.header.expect.status = Some(503);
        check(&UNAVAILABLE, &expected, None);
    }

    #[test]
    fn a_backend_that_fails_now_and_then_is_not_the_status_alone() {
        let mixed = but::<HttpSamples>(but_response(healthy_https(), |r| r.status = 503), |seen| {
            *seen = samples(&[("200", false, None, 4), ("503", true, None, 2)]);
        });
        assert_eq!(claims(&UNAVAILABLE, &mixed), None);
    }
}
