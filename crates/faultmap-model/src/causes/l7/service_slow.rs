//! The answer comes, but the service takes long before its first byte.

use super::answer::{answer, answered_by, drips, exchange, small_segments_pass, spoken, wanted};
use super::clients::with_clients;
use super::speech::well;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{BodyEnd, BodyReading, ConnectOutcome, Dialogue, HttpOutcome, Spoken, TcpHealth};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// A time to first byte beyond the network's round trip that users call slow.
const SLOW_MS: f64 = 1_000.0;
/// A body read for so long, and fewer bytes a second than a modem of 1985 carried: no path of today is so narrow.
const TRICKLE_MS: f64 = 3_500.0;
const TRICKLE_BYTES: f64 = 120.0;
/// Fewer bytes a second than a fast telephone line carries: the service, or a path that somebody made so narrow.
const SLOW_BYTES: f64 = 16_000.0;

/// `l7.service-slow`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.service-slow",
    layer: Layer::L7,
    title: "the service takes long to answer",
    what: "The request arrives at once, and the service works on it for long: a slow query, a slow dependency, a cold start, a queue before too few \
           workers.",
    shows: "The time to the first byte, less one round trip of the network, is above one second, and TCP had nothing to repair.",
    confirm: &[
        Tool {
            run: "curl -sko /dev/null -w 'connect %{time_connect} tls %{time_appconnect} first byte %{time_starttransfer}\\n' {url}",
            on: "here",
            why: "where the time goes, once more",
        },
        Tool {
            run: "the service's own timing (Server-Timing, traces, slow query log)",
            on: "{ip}",
            why: "which part of the work takes the time",
        },
    ],
    fix: &["Find the slow part in a trace or the slow query log, and mend it.", "Add workers if requests queue; cache what may be cached."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    in_http(ev).or_else(|| trickling(ev)).or_else(|| dripping(ev)).or_else(|| in_dialogue(ev))
}

/// The answer comes, so slowly that nobody gets it.
fn dripping(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http) = exchange(ev)?;
    let bytes = drips(http)?;
    if repaired(ev, http.tcp.as_ref(), http.to) || small_segments_pass(ev) {
        return None;
    }
    let took = ev.get(id).map_or(0.0, |observation| observation.took_ms);
    let summary = format!("{} drips its answer: {bytes} bytes in {}, and no end in sight.", http.to, spoken(took));
    Some(Claim::proven(0.85, Where::Remote, http.to.to_string(), summary).citing([id]).despite_answers())
}

/// The head came well, and the body, whose end is known, comes as a trickle. (One without a declared length may be a stream of events.)
fn trickling(ev: &Evidence<'_>) -> Option<Claim> {
    let answer = answer(ev).filter(|answer| wanted(ev, answer.response))?;
    let body = &answer.response.body;
    let declared: u64 = answer.response.header("content-length")?.trim().parse().ok()?;
    let per_second = rate(body);
    if body.end != BodyEnd::Limit || body.wire_bytes >= declared || body.took_ms < TRICKLE_MS || per_second > SLOW_BYTES {
        return None;
    }
    if repaired(ev, answer.http.tcp.as_ref(), answer.http.to) || small_segments_flow(ev, per_second) {
        return None;
    }
    let summary = format!(
        "{} sends its answer as a trickle: {} of {declared} bytes in {}.",
        answered_by(&answer),
        body.wire_bytes,
        spoken(body.took_ms)
    );
    let sure = if per_second > TRICKLE_BYTES { 0.5 } else { 0.85 };
    let claim = Claim::degrades(sure, Where::Remote, answer.http.to.to_string(), summary).citing([answer.id]);
    if per_second <= TRICKLE_BYTES {
        return Some(claim);
    }
    Some(claim.decided_by(
        "curl -sko /dev/null -w '%{speed_download}\\n' {url}".replace("{url}", &ev.target().input),
        answer.http.to.ip().to_string(),
        "as slow on the server itself means the service; fast there means a narrow path between",
    ))
}

fn rate(body: &BodyReading) -> f64 {
    body.wire_bytes as f64 / (body.took_ms / 1e3).max(0.001)
}

/// Small segments bring the same answer several times as fast: large ones are lost.
fn small_segments_flow(ev: &Evidence<'_>, per_second: f64) -> bool {
    let clamped = ev.exchange_for("clamped-mss");
    clamped.is_some_and(|(_, http)| matches!(&http.outcome, HttpOutcome::Response(response) if rate(&response.body) > 4.0 * per_second))
}

fn in_http(ev: &Evidence<'_>) -> Option<Claim> {
    let answer = answer(ev).filter(|answer| wanted(ev, answer.response))?;
    let tcp = answer.http.tcp.as_ref();
    let (connect, handshake_rtt) = connect_rtt(ev, answer.http.to);
    let rtt_ms = tcp.map_or(0.0, |tcp| tcp.rtt_ms).max(handshake_rtt);
    let own_ms = answer.response.ttfb_ms - rtt_ms;
    if own_ms <= SLOW_MS || repaired(ev, tcp, answer.http.to) {
        return None;
    }
    let timing = answer.response.header("server-timing").map(|timing| format!(" It says of its time: {timing}.")).unwrap_or_default();
    let summary = format!(
        "{} takes {} to its first byte, of which the network needs {}.{timing}",
        answered_by(&answer),
        spoken(answer.response.ttfb_ms),
        spoken(rtt_ms)
    );
    Some(Claim::degrades(0.93, Where::Remote, answer.http.to.to_string(), summary).citing([answer.id]).citing(connect))
}

/// The slowest exchange of a conversation that went well. The handshake of TLS within it is another layer's.
fn in_dialogue(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| well(dialogue))?;
    // A ping that stays unanswered is `l7.service-mute`.
    let unanswered = |step: &str| step == "ping" && dialogue.fact("pong").is_some_and(|pong| pong.starts_with("none"));
    let steps = dialogue.steps.iter().filter(|step| step.name != "tls" && !unanswered(&step.name));
    let slowest = steps.max_by(|a, b| a.took_ms.total_cmp(&b.took_ms))?;
    let (connect, handshake_rtt) = connect_rtt(ev, dialogue.to);
    let rtt_ms = dialogue.tcp.as_ref().map_or(0.0, |tcp| tcp.rtt_ms).max(handshake_rtt);
    // A login takes a few round trips.
    if slowest.took_ms - 3.0 * rtt_ms <= bearable_ms(dialogue) || repaired(ev, dialogue.tcp.as_ref(), dialogue.to) {
        return None;
    }
    let summary = format!(
        "{} at {} takes {} for the step {:?}, of which the network needs {} for a round trip.",
        dialogue.protocol.title(),
        dialogue.to,
        spoken(slowest.took_ms),
        slowest.name,
        spoken(rtt_ms)
    );
    let claim = Claim::degrades(0.9, Where::Remote, dialogue.to.to_string(), summary).citing([id]).citing(connect);
    let claim = match dialogue.protocol {
        Spoken::Mysql | Spoken::Ssh | Spoken::Smtp => claim.advising(
            "The server may look up the client's name at every connection: see that its resolver answers (skip_name_resolve, UseDNS no).",
        ),
        _ => claim,
    };
    Some(with_clients(claim, ev, "where the time goes, once more"))
}

/// Mail servers let a client wait for their greeting on purpose, to tell spammers by their haste (sendmail 5 s, postscreen 6 s).
fn bearable_ms(dialogue: &Dialogue) -> f64 {
    if dialogue.protocol == Spoken::Smtp { 7_500.0 } else { SLOW_MS }
}

/// TCP or the path had something to repair: not all of the time is the service's.
fn repaired(ev: &Evidence<'_>, tcp: Option<&TcpHealth>, to: std::net::SocketAddr) -> bool {
    tcp.is_some_and(|tcp| tcp.retransmits > 2 || tcp.out_of_order > 0) || crate::causes::l4::path_loses(ev, to.ip())
}

fn connect_rtt(ev: &Evidence<'_>, to: std::net::SocketAddr) -> (Option<ObservationId>, f64) {
    let connect = ev.connected().find(|(_, connect)| connect.to == to);
    match connect.map(|(id, connect)| (id, &connect.outcome)) {
        Some((id, ConnectOutcome::Connected { rtt_ms, .. })) => (Some(id), *rtt_ms),
        _ => (None, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::HttpExchange;
    use crate::testkit::{but, but_response, claims, exchange, healthy_https, json_response, plus};

    fn check(ttfb_ms: f64, tcp: TcpHealth, expect: Option<(f64, bool)>) {
        let slow = but_response(healthy_https(), |response| response.ttfb_ms = ttfb_ms);
        let slow = but::<HttpExchange>(slow, |http| http.tcp = Some(tcp.clone()));
        assert_eq!(claims(&CAUSE, &slow), expect);
    }

    #[test]
    fn only_the_services_own_time_counts() {
        let near = TcpHealth { rtt_ms: 1.0, ..TcpHealth::default() };
        check(1_900.0, near.clone(), Some((0.93, false)));
        check(990.0, near, None);
        check(1_900.0, TcpHealth { rtt_ms: 950.0, ..TcpHealth::default() }, None);
    }

    #[test]
    fn an_answer_that_drips_is_slow_and_never_there() {
        let drip = |last_received_ms| {
            but::<HttpExchange>(healthy_https(), |http| {
                http.outcome = HttpOutcome::Silent { waited_ms: 9_000.0, received_bytes: 23 };
                http.version = "HTTP/1.1".to_owned();
                http.tcp = Some(TcpHealth { rtt_ms: 1.0, last_received_ms, ..TcpHealth::default() });
            })
        };
        assert_eq!(claims(&CAUSE, &drip(Some(380.0))), Some((0.85, true)));
        assert_eq!(claims(&CAUSE, &drip(Some(8_000.0))), None);
        assert_eq!(claims(&CAUSE, &drip(None)), None);
    }

    #[test]
    fn a_body_that_trickles_is_slow_unless_small_segments_flow() {
        let part = |response: &mut crate::observation::HttpResponse, bytes, took_ms| {
            response.headers = vec![("content-length".to_owned(), "100000".to_owned())];
            (response.body.end, response.body.wire_bytes, response.body.took_ms) = (BodyEnd::Limit, bytes, took_ms);
        };
        let got = |bytes| but_response(healthy_https(), |response| part(response, bytes, 4_002.0));
        let beside = |bytes| {
            let mut response = json_response(200);
            part(&mut response, bytes, 1_508.0);
            exchange("clamped-mss", HttpOutcome::Response(Box::new(response)))
        };
        assert_eq!(claims(&CAUSE, &plus(got(40_000), beside(20_000))), Some((0.5, false)));
        assert_eq!(claims(&CAUSE, &plus(got(40_000), beside(90_000))), None);
        assert_eq!(claims(&CAUSE, &got(300)), Some((0.85, false)));
        assert_eq!(claims(&CAUSE, &got(99_000)), None);
    }

    #[test]
    fn a_path_that_loses_is_not_a_slow_service() {
        check(1_900.0, TcpHealth { rtt_ms: 1.0, retransmits: 4, ..TcpHealth::default() }, None);
    }

    #[test]
    fn a_slow_login_is_the_services_own() {
        use crate::observation::DialogueOutcome;
        use crate::testkit::spoken;
        let took = |target: &str, step: &str, took_ms| {
            let done = spoken(target, step, DialogueOutcome::Done { what: "logged in".to_owned() });
            but::<Dialogue>(done, |dialogue| dialogue.steps[0].took_ms = took_ms)
        };
        assert_eq!(claims(&CAUSE, &took("mysql://db.test", "greeting", 4_000.0)), Some((0.9, false)));
        assert_eq!(claims(&CAUSE, &took("mysql://db.test", "greeting", 400.0)), None);
        assert_eq!(claims(&CAUSE, &took("smtp://mail.test", "greeting", 6_000.0)), None);
        assert_eq!(claims(&CAUSE, &took("postgres://db.test", "tls", 4_000.0)), None);
    }
}
