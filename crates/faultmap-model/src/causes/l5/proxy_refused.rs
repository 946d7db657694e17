//! The proxy answers, and gives no way to the target: it forbids it, wants a login, cannot find the name, or cannot reach the host.

use super::proxy_unreachable::advised;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpResponse, ProxyChoice, ProxyProtocol, ProxyTunnel, TunnelOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l5.proxy-refused`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.proxy-refused",
    layer: Layer::L5,
    title: "the proxy gives no way to the target",
    what: "The proxy is there and answers, but opens no tunnel: the target is not on its list, its port is not allowed for CONNECT, it wants a login (407), \
           it cannot resolve the name, or it cannot reach the host itself. The sentence says which; what lies behind the proxy cannot be seen from here.",
    shows: "The proxy's own answer: an HTTP status to CONNECT (407, 403, 502, 503, 504), or a SOCKS reply (2 not allowed, 3 and 4 unreachable, 5 refused). An \
            answer that came through an open tunnel is the target's, and has its own cause.",
    confirm: &[
        Tool { run: "curl -v -x PROXY {url} 2>&1 | head -30", on: "here", why: "the same, with the proxy's whole answer" },
        Tool {
            run: "getent ahosts {host}; nc -vz {host} {port}",
            on: "the proxy",
            why: "whether the proxy can resolve and reach the target",
        },
        Tool {
            run: "tail -f /var/log/squid/access.log",
            on: "the proxy",
            why: "TCP_DENIED is a rule; NONE, HIER_DIRECT with 503 is a failed connect",
        },
    ],
    fix: &[
        "Have the target (and its port) allowed on the proxy, or give it the credentials: HTTPS_PROXY=http://USER:PASSWORD@PROXY:PORT.",
        "If the proxy cannot resolve or reach the target, mend its resolver, its routes or the filters behind it.",
        "A target inside the own network usually belongs in NO_PROXY.",
    ],
    claim,
};

/// Which way of refusing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Denied,
    Login,
    NameUnknown,
    Unreachable,
    Failed,
    Broken,
}

/// A refusal, in words.
struct Refusal {
    ids: Vec<ObservationId>,
    why: Why,
    /// What it answered: `answers 403 Forbidden`.
    answer: String,
    confidence: f64,
    proven: bool,
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (choice, proxy) = ev.proxy()?;
    let refusal = forwarded(ev).or_else(|| tunnelled(ev)).or_else(|| waiting(ev))?;
    let place = ev.target().host_port();
    let meaning = match refusal.why {
        Why::Denied => format!("it does not allow {place}"),
        Why::Login if proxy.credentials => "it does not accept the credentials that are configured for it".to_owned(),
        Why::Login => "it wants a login, and none is configured".to_owned(),
        Why::NameUnknown => format!("it cannot resolve {}", ev.target().host),
        Why::Unreachable => format!("it cannot reach {place}"),
        Why::Failed => format!("it gets no connection to {place}"),
        Why::Broken => format!("it opens no tunnel to {place}"),
    };
    let summary = format!("The proxy {} (from {}) {}: {meaning}.", proxy.host_port(), proxy.configured_by, refusal.answer);
    let at = match refusal.why {
        Why::NameUnknown | Why::Unreachable | Why::Failed => format!("between the proxy {} and {place}", proxy.host_port()),
        Why::Denied | Why::Login | Why::Broken => format!("the proxy {}", proxy.host_port()),
    };
    let claim = if refusal.proven {
        Claim::proven(refusal.confidence, Where::Remote, at, summary)
    } else {
        Claim::likely(refusal.confidence, Where::Remote, at, summary).decided_by(
            format!("nc -vz {} {}", ev.target().host, ev.target().port),
            "the proxy",
            "connects there: the service behind is mute; does not: the proxy cannot reach it",
        )
    };
    let claim = claim.citing([choice]).citing(refusal.ids).despite_answers();
    let claim = match advice(refusal.why, ev, proxy) {
        Some(advice) => claim.advising(advice),
        None => claim,
    };
    Some(advised(ev, proxy, claim))
}

fn advice(why: Why, ev: &Evidence<'_>, proxy: &ProxyChoice) -> Option<String> {
    let place = ev.target().host_port();
    Some(match why {
        Why::Denied => format!("Ask for {place} on the proxy's list; many proxies allow CONNECT to port 443 only."),
        Why::Login if proxy.credentials => {
            "Correct the user name and password in the proxy's URL; write reserved characters as %XX.".to_owned()
        }
        Why::Login => {
            format!(
                "Give the proxy's URL a user name and password: {}=http://USER:PASSWORD@{}.",
                proxy.configured_by.trim_start_matches('-'),
                proxy.host_port()
            )
        }
        Why::NameUnknown => {
            let here = ev.bypass().map(|(_, bypass)| !bypass.addresses.is_empty());
            match here {
                Some(true) => format!("{} resolves here and not there: the proxy asks another resolver.", ev.target().host),
                Some(false) => format!("{} does not resolve here either: look at the name itself.", ev.target().host),
                None => return None,
            }
        }
        Why::Unreachable | Why::Failed => format!("Look from the proxy: is {place} up, and does its network let the proxy in?"),
        Why::Broken => return None,
    })
}

/// No tunnel, with an answer of the proxy.
fn tunnelled(ev: &Evidence<'_>) -> Option<Refusal> {
    let (_, proxy) = ev.proxy()?;
    let (id, tunnel) = ev.failed_tunnel()?;
    let refusal = |why, answer: String, confidence| Some(Refusal { ids: vec![id], why, answer, confidence, proven: true });
    match &tunnel.outcome {
        TunnelOutcome::CredentialsWanted { scheme, .. } => {
            let wants = scheme.as_ref().map_or_else(String::new, |scheme| format!(" ({scheme})"));
            let status =
                if proxy.protocol == ProxyProtocol::Http { "407 Proxy Authentication Required" } else { "that no method of ours will do" };
            refusal(Why::Login, format!("answers {status}{wants}"), 0.97)
        }
        TunnelOutcome::Refused { code, name, said, .. } => {
            let why = match proxy.protocol {
                // tinyproxy answers a wrong password so.
                ProxyProtocol::Http if *code == 401 && proxy.credentials => Why::Login,
                ProxyProtocol::Http => of_status(*code, name, said.as_deref()),
                ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => of_reply(*code, ev),
            };
            let said = said.as_ref().map_or_else(String::new, |said| format!(" ({said})"));
            let answer = if proxy.protocol == ProxyProtocol::Http {
                format!("answers {code} {name}{said}")
            } else {
                format!("replies {code}, {name}")
            };
            refusal(why, answer, if why == Why::Failed { 0.9 } else { 0.95 })
        }
        TunnelOutcome::Foreign { looks_like, first_bytes } => {
            let what = looks_like.as_ref().map_or_else(|| format!("{first_bytes:?}"), |like| format!("in {like}"));
            refusal(Why::Broken, format!("does not speak {}, it answers {what}", proxy.protocol.title()), 0.93)
        }
        TunnelOutcome::Closed { .. } => refusal(Why::Broken, "accepts the connection, then closes it without an answer".to_owned(), 0.9),
        TunnelOutcome::Reset { .. } => refusal(Why::Broken, "accepts the connection, then resets it without an answer".to_owned(), 0.88),
        TunnelOutcome::Open { .. } | TunnelOutcome::Silent { .. } | TunnelOutcome::NoConnection { .. } => None,
    }
}

/// The proxy lives and keeps this one request waiting: it waits itself.
fn waiting(ev: &Evidence<'_>) -> Option<Refusal> {
    let (_, proxy) = ev.proxy()?;
    let alive = ev.first::<ProxyTunnel>(|tunnel| tunnel.purpose == "alive" && matches!(tunnel.outcome, TunnelOutcome::Open { .. }));
    if proxy.forwards {
        // Passed on and unanswered: the target may as well be mute.
        let (id, http) = ev.exchange()?;
        let silent = matches!(http.outcome, crate::observation::HttpOutcome::Silent { .. }) && http.said_nothing();
        let answer = "answers nothing to this request, though it answers others".to_owned();
        let unknown_here = ev.bypass().is_some_and(|(_, bypass)| bypass.addresses.is_empty());
        let confidence = if unknown_here { 0.65 } else { 0.45 };
        return alive.filter(|_| silent).map(|(alive, _)| Refusal {
            ids: vec![id, alive],
            why: Why::Failed,
            answer,
            confidence,
            proven: false,
        });
    }
    let (id, tunnel) = ev.failed_tunnel()?;
    let TunnelOutcome::Silent { waited_ms, received_bytes } = tunnel.outcome else { return None };
    if let (Some((alive, _)), true) = (alive, proxy.protocol != ProxyProtocol::Http && received_bytes == 0) {
        let answer = "does not answer in SOCKS5, and answers in HTTP: its URL must begin with http://".to_owned();
        return Some(Refusal { ids: vec![id, alive], why: Why::Broken, answer, confidence: 0.93, proven: true });
    }
    let lives = received_bytes > 0 || alive.is_some();
    let answer = format!("answers other questions at once, but not within {:.1} s to the request for this tunnel", waited_ms / 1e3);
    let ids = [Some(id), alive.map(|(id, _)| id)].into_iter().flatten().collect();
    Some(if lives {
        Refusal { ids, why: Why::Failed, answer, confidence: 0.88, proven: true }
    } else {
        Refusal { ids, why: Why::Failed, answer: "does not answer the request for a tunnel".to_owned(), confidence: 0.5, proven: false }
    })
}

/// The proxy's own page in place of the target's.
fn forwarded(ev: &Evidence<'_>) -> Option<Refusal> {
    let (id, response) = ev.proxys_own_answer()?;
    let said = own_words(response);
    let why = if response.status == 407 { Why::Login } else { of_status(response.status, "", Some(&said)) };
    let sure = response.status == 407 || response.header("x-squid-error").is_some() || response.header("proxy-status").is_some();
    let control = ev.exchange_for("proxy-control").map(|(id, _)| id).filter(|_| !sure);
    let words = if said.is_empty() { String::new() } else { format!(" ({said})") };
    let answer = format!("answers {}{words} in the target's place", response.status);
    Some(Refusal {
        ids: [Some(id), control].into_iter().flatten().collect(),
        why,
        answer,
        confidence: if sure { 0.96 } else { 0.85 },
        proven: true,
    })
}

fn own_words(response: &HttpResponse) -> String {
    let header =
        response.header("x-squid-error").or_else(|| response.header("proxy-status")).or_else(|| response.header("proxy-authenticate"));
    header.map_or_else(|| response.body.excerpt.trim().chars().take(80).collect(), str::to_owned)
}

/// What an HTTP proxy's status means, helped by its own words (RFC 9209 for Proxy-Status; squid's error names; what Go, nginx, tinyproxy say).
fn of_status(code: u16, name: &str, said: Option<&str>) -> Why {
    const NAMES: [&str; 13] = [
        "dns",
        "resolve",
        "no such host",
        "name or service",
        "unknown host",
        "getaddrinfo",
        "nodename",
        "lookup",
        "host not found",
        "nxdomain",
        "unable to determine",
        "name not known",
        "name resolution",
    ];
    const REACH: [&str; 13] = [
        "connect_fail",
        "refused",
        "unreachable",
        "no route",
        "timed out",
        "timeout",
        "connection_",
        "destination_",
        "cannot connect",
        "unable to connect",
        "connection failed",
        "could not connect",
        "cannot_forward",
    ];
    const RULES: [&str; 7] = ["access_denied", "access denied", "forbidden", "not allowed", "filtered", "policy", "blocked"];
    let words = format!("{name} {}", said.unwrap_or_default()).to_lowercase();
    let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
    match code {
        407 => Why::Login,
        401 | 403 | 405 | 451 => Why::Denied,
        500..=599 if says(&NAMES) => Why::NameUnknown,
        500..=599 if says(&REACH) => Why::Unreachable,
        500..=599 if says(&RULES) => Why::Denied,
        502 | 504 => Why::Unreachable,
        500 | 503 => Why::Failed,
        _ if says(&NAMES) => Why::NameUnknown,
        _ => Why::Broken,
    }
}

/// RFC 1928 6. A name that the proxy cannot resolve has no reply of its own: 4 is usual, and 1.
fn of_reply(code: u16, ev: &Evidence<'_>) -> Why {
    let by_name = ev.proxy().is_some_and(|(_, proxy)| proxy.protocol == ProxyProtocol::Socks5h) && ev.target().literal().is_none();
    let unknown_here = ev.bypass().is_some_and(|(_, bypass)| bypass.addresses.is_empty());
    match code {
        2 => Why::Denied,
        1 | 4 if by_name && unknown_here => Why::NameUnknown,
        3..=6 => Why::Unreachable,
        1 => Why::Failed,
        _ => Why::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::super::proxy_tests::{bypass, choice, closed, proxied, refused, tunnel};
    use super::*;
    use crate::causes::tests_support::{connect, connected};
    use crate::observation::{HttpExchange, HttpOutcome, Role};
    use crate::testkit::{claims, exchange, json_response, plus, recording};

    fn asked(outcome: TunnelOutcome) -> crate::Recording {
        proxied(vec![connect("10.3.0.1:3128", Role::Target, connected()), tunnel("default", outcome), bypass(closed())])
    }

    fn check(recording: &crate::Recording, expect: Option<(f64, bool)>, words: &str) {
        assert_eq!(claims(&CAUSE, recording), expect, "{words}");
        let said = (CAUSE.claim)(&Evidence::new(recording)).map(|claim| claim.summary).unwrap_or_default();
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn each_refusal_says_what_it_means() {
        check(&asked(refused(403, "Forbidden", None)), Some((0.95, true)), "does not allow shop.test:443");
        check(
            &asked(TunnelOutcome::CredentialsWanted { scheme: Some("Basic".to_owned()), given: false }),
            Some((0.97, true)),
            "wants a login",
        );
        check(&asked(refused(503, "Service Unavailable", Some("ERR_DNS_FAIL 0"))), Some((0.95, true)), "cannot resolve shop.test");
        check(&asked(refused(503, "Service Unavailable", Some("ERR_CONNECT_FAIL 111"))), Some((0.95, true)), "cannot reach shop.test:443");
        check(&asked(refused(502, "Bad Gateway", None)), Some((0.95, true)), "cannot reach shop.test:443");
        check(&asked(refused(503, "Service Unavailable", None)), Some((0.9, true)), "gets no connection");
        check(&asked(TunnelOutcome::Closed { received_bytes: 0 }), Some((0.9, true)), "opens no tunnel");
    }

    #[test]
    fn an_open_tunnel_is_no_refusal() {
        check(&asked(TunnelOutcome::Open { status: Some(200) }), None, "");
    }

    #[test]
    fn a_proxy_that_lives_and_keeps_waiting_waits_for_the_target() {
        let silent = TunnelOutcome::Silent { waited_ms: 6_000.0, received_bytes: 0 };
        let lives = crate::testkit::plus(
            asked(silent.clone()),
            crate::observation::ProxyTunnel {
                to: "10.3.0.1:3128".parse().expect("addr"),
                destination: "*".to_owned(),
                purpose: "alive".to_owned(),
                outcome: TunnelOutcome::Open { status: Some(400) },
                tcp: None,
            },
        );
        check(&lives, Some((0.88, true)), "gets no connection to shop.test:443");
        check(&asked(TunnelOutcome::Silent { waited_ms: 6_000.0, received_bytes: 2 }), Some((0.88, true)), "gets no connection");
        check(&asked(silent), Some((0.5, true)), "does not answer");
    }

    #[test]
    fn what_is_said_in_the_tunnel_is_said_by_the_target() {
        let answer = json_response(500);
        let http =
            HttpExchange { to: "10.3.0.1:3128".parse().expect("addr"), ..exchange("default", HttpOutcome::Response(Box::new(answer))) };
        let through = plus(asked(TunnelOutcome::Open { status: Some(200) }), http);
        let verdict = crate::judge::judge(&through);
        assert_eq!(verdict.cause.as_deref(), Some("l7.http-server-error"));
        assert!(verdict.summary.contains("shop.test:443 (through the proxy 10.3.0.1:3128)"), "{}", verdict.summary);
        assert_eq!(verdict.locus.map(|locus| locus.at), Some("shop.test:443".to_owned()));
    }

    /// Plain http that the proxy passes on: this answer, and that to a name that cannot exist.
    fn forwarded(answer: (u16, &str), control: (u16, &str)) -> crate::Recording {
        let choice = crate::observation::ProxyChoice { forwards: true, configured_by: "http_proxy".to_owned(), ..choice() };
        let said = |purpose: &str, (status, server): (u16, &str)| {
            let mut response = json_response(status);
            response.headers = vec![("server".to_owned(), server.to_owned())];
            crate::Seen::from(exchange(purpose, HttpOutcome::Response(Box::new(response))))
        };
        let there = connect("10.3.0.1:3128", Role::Target, connected());
        recording("http://shop.test/", vec![choice.into(), there, said("default", answer), said("proxy-control", control)])
    }

    #[test]
    fn a_proxys_own_page_is_told_from_the_targets_by_what_it_writes_for_nobody() {
        check(&forwarded((503, "proxy.corp"), (503, "proxy.corp")), Some((0.85, true)), "in the target's place");
        check(&forwarded((503, "nginx"), (503, "proxy.corp")), None, "");
        check(&forwarded((407, "proxy.corp"), (407, "proxy.corp")), Some((0.96, true)), "wants a login");
        let verdict = crate::judge::judge(&forwarded((503, "nginx"), (503, "proxy.corp")));
        assert_eq!(verdict.cause.as_deref(), Some("l7.http-unavailable"));
    }
}
