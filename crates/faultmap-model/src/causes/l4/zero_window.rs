//! The peer's receive window is closed: it does not read what we send.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, HttpOutcome, TcpHealth};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// `l4.zero-window`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.zero-window",
    layer: Layer::L4,
    title: "the peer's receive window is closed",
    what: "The peer advertises a window of zero: its receive buffer is full because the program does not read. We may send nothing but window probes.",
    shows: "snd_wnd 0 and window probes with nothing unacknowledged, and time limited by the peer's window. Loss would show unacknowledged segments instead.",
    confirm: &[
        Tool { run: "ss -tinm 'sport = :{port}'", on: "{ip}", why: "a full Recv-Q: the program does not read" },
        Tool { run: "cat /proc/PID/stack; py-spy dump / jstack PID", on: "{ip}", why: "what the program does instead" },
    ],
    fix: &[
        "Find out why the program at {ip} does not read: blocked on a dependency, a lock, a full disk.",
        "Bound what you send before an answer is read.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, to, tcp) = silent(ev)?;
    if !closed(tcp?) {
        return None;
    }
    let summary = format!("{to} has closed its receive window: it does not read what is sent to it.");
    Some(Claim::proven(0.93, Where::Remote, to.to_string(), summary).citing([id]).despite_answers())
}

/// The conversation that ended in silence.
fn silent<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, SocketAddr, Option<&'a TcpHealth>)> {
    if let Some((id, http)) = ev.exchange() {
        return matches!(http.outcome, HttpOutcome::Silent { .. }).then_some((id, http.to, http.tcp.as_ref()));
    }
    let (id, dialogue) = ev.dialogue()?;
    matches!(dialogue.outcome, DialogueOutcome::Silent { .. }).then_some((id, dialogue.to, dialogue.tcp.as_ref()))
}

fn closed(tcp: &TcpHealth) -> bool {
    let probing = tcp.probes > 0 || tcp.rwnd_limited_ms > 500.0;
    tcp.snd_wnd.is_none_or(|window| window < tcp.snd_mss.max(1)) && probing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::observation::HttpExchange;
    use crate::testkit::{claims, recording};

    #[test]
    fn a_closed_window_is_not_loss() {
        let check = |tcp: TcpHealth, expect| {
            let exchange = HttpExchange {
                to: "10.2.0.10:80".parse().expect("addr"),
                method: "POST".to_owned(),
                url: "http://10.2.0.10/".to_owned(),
                purpose: "default".to_owned(),
                version: "HTTP/1.1".to_owned(),
                outcome: HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 0 },
                tcp: Some(tcp),
            };
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", vec![Seen::HttpExchange(exchange)])), expect);
        };
        check(TcpHealth { snd_wnd: Some(0), probes: 3, rwnd_limited_ms: 4e3, ..TcpHealth::default() }, Some((0.93, true)));
        check(TcpHealth { snd_wnd: Some(65_535), unacked: 3, ..TcpHealth::default() }, None);
    }
}
