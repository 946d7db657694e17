//! Connected, the request acknowledged by the peer's kernel, and no answer: the application does not get to it.

use super::answer::{drips, exchange, small_segments_pass, spoken};
use super::backend_intermittent::mixed;
use super::clients::with_clients;
use super::speech::{self, End, another_protocol, broken, waits_for_another_client};
use crate::causes::l6::alpn;
use crate::causes::l6::offers::speaks_tls;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{BodyEnd, Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, Spoken, TcpHealth, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l7.service-mute`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.service-mute",
    layer: Layer::L7,
    title: "the service accepts and never answers",
    what: "The kernel of the server completes the handshake and acknowledges the request, but the application does not answer: it is frozen, \
           deadlocked, out of workers, or waits for something that waits for ever.",
    shows: "Connected, nothing of ours unacknowledged, and no byte of an answer. Unacknowledged data would blame the path; an answer to a request with \
            small segments would blame a size limit on the path. A very slow service looks the same until it answers.",
    confirm: &[
        Tool {
            run: "ss -tnp 'sport = :{port}' | head",
            on: "{ip}",
            why: "Recv-Q above 0 on established connections: the application does not read",
        },
        Tool {
            run: "top -H -p PID; cat /proc/PID/wchan; gdb -p PID -batch -ex 'thread apply all bt'",
            on: "{ip}",
            why: "what the threads wait for; state T means stopped",
        },
        Tool {
            run: "curl -sko /dev/null -m 60 -w '%{http_code} %{time_starttransfer}\\n' {url}",
            on: "here",
            why: "an answer within a minute means slow, not mute",
        },
    ],
    fix: &[
        "Restart the service; before it, take a stack dump of its threads.",
        "Raise the number of workers, or bound the time of what they wait for (database, locks, upstreams).",
        "Let a health check that asks a real page restart it next time.",
    ],
    claim,
};

/// Where the answer stops.
enum Stop {
    /// Before its first byte.
    Head { waited_ms: f64 },
    /// After some bytes.
    Middle { bytes: u64 },
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    idle_by_witness(ev).or_else(|| in_http(ev)).or_else(|| in_dialogue(ev)).or_else(|| unanswered_ping(ev))
}

/// The target speaks up to a layer at which nothing was answered, and the host itself tells that the program takes nothing in.
fn idle_by_witness(ev: &Evidence<'_>) -> Option<Claim> {
    let (unanswered, to) = unanswered(ev)?;
    let (told, words) = ev.far_program_idle(to)?;
    let summary = format!("{to} takes the connection and no answer comes: {words}.");
    Some(Claim::proven(0.97, Where::Remote, to.to_string(), summary).citing([unanswered, told]).despite_answers())
}

/// The first conversation that met nothing but silence.
fn unanswered(ev: &Evidence<'_>) -> Option<(ObservationId, std::net::SocketAddr)> {
    let http = ev.exchange().map(|(id, http)| (id, http.to, matches!(http.outcome, HttpOutcome::Silent { .. }) && http.said_nothing()));
    let dialogue = || {
        let silent = |dialogue: &Dialogue| matches!(dialogue.outcome, DialogueOutcome::Silent { received_bytes: 0, .. });
        ev.dialogue().map(|(id, dialogue)| (id, dialogue.to, silent(dialogue)))
    };
    let tls = || ev.handshake().map(|(id, tls)| (id, tls.to, matches!(tls.outcome, TlsOutcome::Silent { received_bytes: 0, .. })));
    let last = http.or_else(dialogue).or_else(tls)?;
    last.2.then_some((last.0, last.1))
}

/// The WebSocket is open, and a ping stays unanswered (RFC 6455 5.5.2 wants a pong "as soon as is practical").
fn unanswered_ping(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Websocket && speech::well(dialogue))?;
    dialogue.fact("pong").filter(|pong| pong.starts_with("none"))?;
    let to = dialogue.to.to_string();
    let summary =
        format!("{to} takes the WebSocket upgrade, and does not answer a ping: whoever watches the connection by pings will cut it.");
    Some(Claim::degrades(0.7, Where::Remote, to, summary).citing([id]))
}

fn in_http(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http) = exchange(ev)?;
    let stop = stop(http).filter(|_| drips(http).is_none())?;
    if !delivered(http.tcp.as_ref())
        || small_segments_pass(ev)
        || mixed(ev).is_some()
        || speaks_tls(ev).is_some()
        || alpn::mismatch(ev).is_some()
    {
        return None;
    }
    let mut because = vec![id];
    let clamped = ev.exchange_for("clamped-mss").filter(|(_, other)| self::stop(other).is_some());
    because.extend(clamped.map(|(id, _)| id));
    let answers = |http: &HttpExchange| matches!(http.outcome, HttpOutcome::Response(_)) && self::stop(http).is_none();
    let second = ev.exchange_for("second-try").filter(|(_, other)| answers(other));
    because.extend(second.map(|(id, _)| id));
    let summary = summary(http, &stop, second.map(|(id, _)| id));
    let to = http.to.to_string();
    let claim = match (&stop, clamped.is_some(), second.is_some()) {
        // A proxy took the request: whether it reached the service, it does not say.
        _ if ev.proxy_forwards() => Claim::likely(0.5, Where::Remote, to, summary),
        (_, _, true) => Claim::likely(0.6, Where::Remote, to, summary),
        // ... or its answer was lost, again and again.
        _ if crate::causes::l4::path_loses(ev, http.to.ip()) => Claim::likely(0.5, Where::Remote, to, summary),
        (Stop::Head { .. }, true, _) => Claim::proven(0.95, Where::Remote, to, summary),
        (Stop::Head { .. }, false, _) => Claim::proven(0.88, Where::Remote, to, summary),
        (Stop::Middle { .. }, true, _) => Claim::proven(0.85, Where::Remote, to, summary),
        (Stop::Middle { .. }, false, _) => Claim::likely(0.55, Where::Remote, to, summary),
    };
    Some(claim.citing(because).despite_answers())
}

/// The same in a service's own protocol. Its messages are small: what stops after some of them is no matter of size.
fn in_dialogue(ev: &Evidence<'_>) -> Option<Claim> {
    let broken = broken(ev)?;
    let End::Silent { waited_ms, received } = broken.end else { return None };
    let (dialogue, to) = (broken.dialogue, broken.dialogue.to.to_string());
    let other = another_protocol(ev).is_some() || waits_for_another_client(ev).is_some();
    let elsewhere = other || speaks_tls(ev).is_some() || alpn::mismatch(ev).is_some();
    if !delivered(dialogue.tcp.as_ref()) || speech::answered(ev, "clamped-mss").is_some() || elsewhere || mixed(ev).is_some() {
        return None;
    }
    let clamped = ev.dialogue_for("clamped-mss").filter(|(_, other)| speech::end(other).is_some()).map(|(id, _)| id);
    let second = speech::answered(ev, "second-try");
    let again = if second.is_some() { " A second conversation was answered." } else { "" };
    let title = dialogue.protocol.title();
    let what = match received {
        0 => format!("accepts the connection, but says no word of {title} within {}", spoken(waited_ms)),
        _ => format!("speaks {title}, and then does not answer at the step {:?} within {}", dialogue.ended_at(), spoken(waited_ms)),
    };
    let summary = format!("{to} {what}.{again}");
    let claim = match (second.is_some(), clamped.is_some()) {
        (true, _) => Claim::likely(0.6, Where::Remote, to, summary),
        (false, true) => Claim::proven(0.95, Where::Remote, to, summary),
        (false, false) => Claim::proven(0.88, Where::Remote, to, summary),
    };
    let claim = claim.citing([broken.id]).citing(clamped).citing(second).despite_answers();
    let claim = match advice(dialogue) {
        Some(advice) => claim.advising(advice),
        None => claim,
    };
    Some(with_clients(claim, ev, "an answer within a minute means slow, not mute"))
}

/// What each protocol's servers are known to wait for.
fn advice(dialogue: &Dialogue) -> Option<&'static str> {
    match dialogue.protocol {
        Spoken::Mysql => Some("MySQL looks up the client's name before it greets: where that resolver is dead, skip_name_resolve helps."),
        Spoken::Ssh | Spoken::Smtp => {
            Some("Before the greeting the server may look up the client's name or a block list: see that its resolver answers.")
        }
        Spoken::Postgres => Some(
            "A stopped or starved postmaster accepts by its kernel and does not fork: ps -o stat,wchan,cmd -C postgres shows state T or D.",
        ),
        _ => None,
    }
}

fn stop(http: &HttpExchange) -> Option<Stop> {
    match &http.outcome {
        HttpOutcome::Silent { waited_ms, .. } if http.said_nothing() => Some(Stop::Head { waited_ms: *waited_ms }),
        HttpOutcome::Silent { received_bytes, .. } => Some(Stop::Middle { bytes: *received_bytes }),
        HttpOutcome::Response(response) if response.body.end == BodyEnd::Stalled => Some(Stop::Middle { bytes: response.body.wire_bytes }),
        _ => None,
    }
}

/// All that we sent was acknowledged, nothing came out of order, and our window is not what holds the peer back.
fn delivered(tcp: Option<&TcpHealth>) -> bool {
    tcp.is_some_and(|tcp| tcp.unacked == 0 && tcp.backoff == 0 && tcp.out_of_order == 0)
}

fn summary(http: &HttpExchange, stop: &Stop, second: Option<ObservationId>) -> String {
    let again = if second.is_some() { " A second request was answered." } else { "" };
    match stop {
        Stop::Head { waited_ms } => {
            format!(
                "{} accepts the connection and acknowledges the request, but does not answer within {}.{again}",
                http.to,
                spoken(*waited_ms)
            )
        }
        Stop::Middle { bytes } => {
            format!("{} stops in the middle of its answer, after {bytes} bytes, with nothing lost on the way.{again}", http.to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::testkit::{but, but_response, claims, exchange, healthy_https, json_response, plus};

    fn silent(received_bytes: u64) -> HttpOutcome {
        HttpOutcome::Silent { waited_ms: 9_000.0, received_bytes }
    }

    fn mute() -> Recording {
        but::<HttpExchange>(healthy_https(), |http| http.outcome = silent(0))
    }

    fn answered(purpose: &str) -> HttpExchange {
        exchange(purpose, HttpOutcome::Response(Box::new(json_response(200))))
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn an_acknowledged_request_without_answer_is_a_mute_service() {
        check(&mute(), Some((0.88, true)));
        check(&plus(mute(), exchange("clamped-mss", silent(0))), Some((0.95, true)));
        check(&plus(mute(), answered("second-try")), Some((0.6, true)));
    }

    #[test]
    fn the_opening_frames_of_http_2_are_no_answer() {
        let two = but::<HttpExchange>(mute(), |http| {
            http.version = "HTTP/2".to_owned();
            http.outcome = silent(40);
        });
        check(&two, Some((0.88, true)));
    }

    #[test]
    fn unacknowledged_data_blames_the_path() {
        check(&but::<HttpExchange>(mute(), |http| http.tcp = Some(TcpHealth { unacked: 1, backoff: 2, ..TcpHealth::default() })), None);
        check(&plus(mute(), answered("clamped-mss")), None);
    }

    #[test]
    fn a_body_that_stops_with_nothing_lost_is_the_services_own() {
        let stalled = but_response(healthy_https(), |response| response.body.end = BodyEnd::Stalled);
        check(&stalled, Some((0.55, true)));
        check(&plus(stalled.clone(), exchange("clamped-mss", silent(40))), Some((0.85, true)));
        let mut cut = json_response(200);
        cut.body.end = BodyEnd::Stalled;
        let again = |purpose| exchange(purpose, HttpOutcome::Response(Box::new(cut.clone())));
        check(&plus(plus(stalled.clone(), again("clamped-mss")), again("second-try")), Some((0.85, true)));
        check(&plus(plus(stalled, again("clamped-mss")), answered("second-try")), Some((0.6, true)));
    }

    #[test]
    fn an_answer_is_an_answer() {
        check(&healthy_https(), None);
        check(&but::<HttpExchange>(healthy_https(), |http| http.outcome = HttpOutcome::Closed { received_bytes: 0 }), None);
    }

    #[test]
    fn a_database_that_says_no_word_is_mute_unless_another_protocol_answers() {
        use crate::observation::{DialogueOutcome, TlsOutcome};
        use crate::testkit::{conversation, spoken, tls};
        let silent = |received_bytes| DialogueOutcome::Silent { waited_ms: 9e3, received_bytes };
        let mute = || spoken("mysql://db.test", "greeting", silent(0));
        check(&mute(), Some((0.88, true)));
        check(&spoken("postgres://db.test", "startup", silent(1)), Some((0.88, true)));
        check(&plus(mute(), conversation("mysql://db.test", "clamped-mss", "greeting", silent(0))), Some((0.95, true)));
        let done = DialogueOutcome::Done { what: "logged in".to_owned() };
        check(&plus(mute(), conversation("mysql://db.test", "clamped-mss", "ping", done.clone())), None);
        check(&plus(mute(), conversation("mysql://db.test", "second-try", "ping", done)), Some((0.6, true)));
        let http = tls("plain-request", TlsOutcome::NotTls { first_bytes: "HTTP/1.1".to_owned(), looks_like: Some("http".to_owned()) });
        check(&plus(mute(), http), None);
        check(&plus(mute(), tls("all-ciphers", crate::testkit::alert(70).clone())), None);
        check(&but::<Dialogue>(mute(), |it| it.tcp = Some(TcpHealth { unacked: 1, ..TcpHealth::default() })), None);
    }
}
