//! The answer comes, but the service takes long before its first byte.

use super::answer::{answer, answered_by, spoken, wanted};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::ConnectOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// A time to first byte beyond the network's round trip that users call slow.
const SLOW_MS: f64 = 1_000.0;

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
    let answer = answer(ev).filter(|answer| wanted(ev, answer.response))?;
    let tcp = answer.http.tcp.as_ref();
    let (connect, handshake_rtt) = connect_rtt(ev, answer.http.to);
    let rtt_ms = tcp.map_or(0.0, |tcp| tcp.rtt_ms).max(handshake_rtt);
    let own_ms = answer.response.ttfb_ms - rtt_ms;
    let repaired =
        tcp.is_some_and(|tcp| tcp.retransmits > 2 || tcp.out_of_order > 0) || crate::causes::l4::path_loses(ev, answer.http.to.ip());
    if own_ms <= SLOW_MS || repaired {
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
    use crate::observation::{HttpExchange, TcpHealth};
    use crate::testkit::{but, but_response, claims, healthy_https};

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
    fn a_path_that_loses_is_not_a_slow_service() {
        check(1_900.0, TcpHealth { rtt_ms: 1.0, retransmits: 4, ..TcpHealth::default() }, None);
    }
}
