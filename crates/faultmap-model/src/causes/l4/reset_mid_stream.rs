//! A reset after the handshake, with bytes already exchanged.

use crate::causes::l7::auth_failed::silent_refusal;
use crate::causes::l7::speech;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{BodyEnd, HttpOutcome, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.reset-mid-stream`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.reset-mid-stream",
    layer: Layer::L4,
    title: "the connection is reset in mid-stream",
    what: "After the handshake, with bytes already exchanged, a RST tears the connection down: the server crashed or closed with unread data, a \
           stateful box lost or refuses the flow (conntrack INVALID, an intrusion filter, a byte or time limit), or a balancer gave up its backend.",
    shows: "ECONNRESET after bytes were received. Who sent it shows by its TTL in a capture (a box on the path has another than the server).",
    confirm: &[
        Tool {
            run: "tcpdump -nvi any 'tcp port {port} and tcp[13] & 4 != 0'",
            on: "here and on {ip}",
            why: "a RST that arrives here and never left {ip} is a middlebox's; compare the TTL",
        },
        Tool {
            run: "journalctl -u SERVICE; dmesg | grep -i -e segfault -e oom",
            on: "{ip}",
            why: "a crash or out-of-memory kill at that moment",
        },
    ],
    fix: &[
        "If the server resets: look for a crash, or a close with unread input.",
        "If a box on the path resets: look at its limits and at conntrack INVALID handling (net.netfilter.nf_conntrack_tcp_be_liberal=1).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    // A server that resets on HTTP/2 alone does not speak it.
    let (id, to, received) = reset(ev).filter(|_| crate::causes::l6::alpn::mismatch(ev).is_none())?;
    let summary = format!("{to} resets the connection in mid-stream, after {received} bytes were received.");
    Some(Claim::proven(0.92, Where::Remote, to, summary).citing([id]).despite_answers())
}

fn reset(ev: &Evidence<'_>) -> Option<(u32, String, u64)> {
    if let Some((id, http)) = ev.exchange() {
        return match &http.outcome {
            HttpOutcome::Reset { received_bytes } if !http.said_nothing() => Some((id, http.to.to_string(), *received_bytes)),
            HttpOutcome::Response(response) if response.body.end == BodyEnd::Reset => {
                Some((id, http.to.to_string(), response.body.wire_bytes))
            }
            _ => None,
        };
    }
    if let Some((id, dialogue)) = ev.dialogue() {
        return match speech::end(dialogue) {
            Some(speech::End::Reset { received: received @ 1.. }) if !silent_refusal(ev) => Some((id, dialogue.to.to_string(), received)),
            _ => None,
        };
    }
    let (id, tls) = ev.handshake()?;
    match tls.outcome {
        TlsOutcome::Reset { received_bytes } if received_bytes > 0 => Some((id, tls.to.to_string(), received_bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::observation::{BodyReading, HttpExchange, HttpResponse};
    use crate::testkit::{claims, recording};

    fn check(outcome: HttpOutcome, expect: Option<(f64, bool)>) {
        let exchange = HttpExchange {
            to: "10.2.0.10:80".parse().expect("addr"),
            method: "GET".to_owned(),
            url: "http://10.2.0.10/".to_owned(),
            purpose: "default".to_owned(),
            version: "HTTP/1.1".to_owned(),
            outcome,
            tcp: None,
        };
        assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", vec![Seen::HttpExchange(exchange)])), expect);
    }

    #[test]
    fn a_reset_within_a_databases_own_protocol_is_too() {
        let ended = |received_bytes| {
            crate::testkit::spoken("mysql://db.test", "authentication", crate::observation::DialogueOutcome::Reset { received_bytes })
        };
        assert_eq!(claims(&CAUSE, &ended(80)), Some((0.92, true)));
        assert_eq!(claims(&CAUSE, &ended(0)), None);
    }

    #[test]
    fn a_reset_with_bytes_received_is_in_mid_stream() {
        check(HttpOutcome::Reset { received_bytes: 20 }, Some((0.92, true)));
        check(HttpOutcome::Reset { received_bytes: 0 }, None);
        let cut = BodyReading { end: BodyEnd::Reset, wire_bytes: 4096, ..BodyReading::default() };
        check(HttpOutcome::Response(Box::new(HttpResponse { status: 200, body: cut, ..HttpResponse::default() })), Some((0.92, true)));
        check(HttpOutcome::Response(Box::new(HttpResponse { status: 200, ..HttpResponse::default() })), None);
    }
}
