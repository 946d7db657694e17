//! The server ends the connection after every answer, or never resumes a TLS session, where a new one is dear.

use crate::causes::l7::answer::{spoken, usable};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{SessionReuse, TcpConnect, TlsHandshake, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// A new connection (TCP and TLS together) from here on is felt by users at every request.
const DEAR_MS: f64 = 200.0;

/// The same where the user asked for several requests: these pay for it one by one.
const FELT_MS: f64 = 25.0;

/// `l5.no-reuse`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.no-reuse",
    layer: Layer::L5,
    title: "every request pays for a new connection",
    what: "The server closes after each answer (Connection: close), so that every request begins with new TCP and TLS handshakes: two or three round trips \
           more, and far more work for both ends.",
    shows: "Connection: close in a good answer, or a second TLS handshake that is a full one in spite of the first one's tickets, where it costs 200 ms or more (25 ms, where several requests were asked for: --samples). On a \
            near server it costs next to nothing and is not told.",
    confirm: &[Tool {
        run: "curl -skv {url} {url} -o /dev/null -o /dev/null 2>&1 | grep -i -e 're-using' -e 'closing' -e '^< connection'",
        on: "here",
        why: "\"Re-using existing connection\" means that it is kept",
    }],
    fix: &[
        "Switch keep-alive on (nginx: keepalive_timeout; Apache: KeepAlive On; Node: server.keepAliveTimeout).",
        "Look for a proxy that adds Connection: close.",
        "Switch TLS session tickets on, with keys that all servers behind the name share (nginx: ssl_session_cache, ssl_session_ticket_key).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if ev.proxy_forwards() {
        return None;
    }
    closed_each_time(ev).or_else(|| never_resumed(ev))
}

fn closed_each_time(ev: &Evidence<'_>) -> Option<Claim> {
    let answer = usable(ev)?;
    let header = answer.response.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
    // Announced or not: the connection was gone before it could be used again.
    let tried = ev.all::<SessionReuse>().last().filter(|(_, reuse)| reuse.announced_close || reuse.ended_before);
    let (ids, cost_ms) = cost(ev, answer.http.to);
    // A server of HTTP/1.0 knows no other way.
    let dear_ms = if tried.is_some() && answer.http.version == "HTTP/1.1" { FELT_MS } else { DEAR_MS };
    if (!(header && answer.http.version == "HTTP/1.1") && tried.is_none()) || cost_ms < dear_ms {
        return None;
    }
    let summary = format!("{} closes after every answer, and each new connection costs {}.", answer.http.to, spoken(cost_ms));
    let claim = Claim::degrades(0.7, Where::Remote, answer.http.to.to_string(), summary);
    Some(claim.citing([answer.id]).citing(ids).citing(tried.map(|(id, _)| id)))
}

/// A second handshake with the tickets of the first was a full one. What resuming saves is all but one round trip.
fn never_resumed(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, again) = ev.handshake_offering("resumption")?;
    let (first_id, _) = ev.handshake_offering("reuse")?;
    if !matches!(again.outcome, TlsOutcome::Done { resumed: false, .. }) {
        return None;
    }
    let round_trip = again.tcp.as_ref().map_or(0.0, |tcp| tcp.min_rtt_ms.max(tcp.rtt_ms.min(tcp.min_rtt_ms * 2.0)));
    let saved = ev.get(id)?.took_ms - round_trip;
    if saved < DEAR_MS {
        return None;
    }
    let summary = format!(
        "{} resumes no TLS session: each new connection repeats the whole handshake, {} more than a resumed one.",
        again.to,
        spoken(saved)
    );
    Some(Claim::degrades(0.65, Where::Remote, again.to.to_string(), summary).citing([first_id, id]))
}

/// What the handshakes took.
fn cost(ev: &Evidence<'_>, to: std::net::SocketAddr) -> (Vec<ObservationId>, f64) {
    let connect = ev.connected().find(|(_, connect): &(_, &TcpConnect)| connect.to == to).map(|(id, _)| id);
    let secured = ev.handshake().filter(|(_, tls): &(_, &TlsHandshake)| tls.to == to).map(|(id, _)| id);
    let ids: Vec<ObservationId> = connect.into_iter().chain(secured).collect();
    let took = ids.iter().filter_map(|id| ev.get(*id)).map(|observation| observation.took_ms).sum();
    (ids, took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{but_response, claims, done, healthy_https, plus, tls, took};

    fn check(connection: &str, handshake_ms: f64, expect: Option<(f64, bool)>) {
        let recording = but_response(healthy_https(), |response| response.headers.push(("connection".to_owned(), connection.to_owned())));
        assert_eq!(claims(&CAUSE, &took::<TlsHandshake>(recording, handshake_ms)), expect);
    }

    #[test]
    fn closing_matters_only_where_a_new_connection_is_dear() {
        check("close", 400.0, Some((0.7, false)));
        check("close", 4.0, None);
        check("keep-alive", 400.0, None);
    }

    #[test]
    fn a_full_second_handshake_matters_by_what_a_resumed_one_would_save() {
        let check = |resumed: bool, took_ms: f64, expect| {
            let mut outcome = done();
            if let TlsOutcome::Done { resumed: told, .. } = &mut outcome {
                *told = resumed;
            }
            let tcp = crate::observation::TcpHealth { rtt_ms: 90.0, min_rtt_ms: 90.0, ..Default::default() };
            let again = TlsHandshake { tcp: Some(tcp), ..tls("resumption", outcome) };
            let mut recording = plus(plus(healthy_https(), tls("reuse", done())), again);
            if let Some(last) = recording.observations.last_mut() {
                last.took_ms = took_ms;
            }
            assert_eq!(claims(&CAUSE, &recording), expect);
        };
        check(false, 310.0, Some((0.65, false)));
        check(false, 210.0, None);
        check(true, 310.0, None);
    }
}
