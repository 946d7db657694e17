//! The server ends the connection after every answer, where a new one is dear.

use crate::causes::l7::answer::{spoken, usable};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{TcpConnect, TlsHandshake};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// A new connection (TCP and TLS together) from here on is felt by users at every request.
const DEAR_MS: f64 = 200.0;

/// `l5.no-reuse`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.no-reuse",
    layer: Layer::L5,
    title: "every request pays for a new connection",
    what: "The server closes after each answer (Connection: close), so that every request begins with new TCP and TLS handshakes: two or three round trips \
           more, and far more work for both ends.",
    shows: "Connection: close in a good answer, where the handshakes took 200 ms or more. On a near server it costs next to nothing and is not told.",
    confirm: &[Tool {
        run: "curl -skv {url} {url} -o /dev/null -o /dev/null 2>&1 | grep -i -e 're-using' -e 'closing' -e '^< connection'",
        on: "here",
        why: "\"Re-using existing connection\" means that it is kept",
    }],
    fix: &[
        "Switch keep-alive on (nginx: keepalive_timeout; Apache: KeepAlive On; Node: server.keepAliveTimeout).",
        "Look for a proxy that adds Connection: close.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if ev.proxy_forwards() {
        return None;
    }
    let answer = usable(ev).filter(|answer| answer.http.version == "HTTP/1.1")?;
    let closes = answer.response.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
    let (ids, cost_ms) = cost(ev, answer.http.to);
    if !closes || cost_ms < DEAR_MS {
        return None;
    }
    let summary = format!("{} closes after every answer, and each new connection costs {}.", answer.http.to, spoken(cost_ms));
    Some(Claim::degrades(0.7, Where::Remote, answer.http.to.to_string(), summary).citing([answer.id]).citing(ids))
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
    use crate::testkit::{but_response, claims, healthy_https, took};

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
}
