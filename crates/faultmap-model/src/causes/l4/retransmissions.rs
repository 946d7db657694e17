//! TCP repairs loss on this connection, and nothing tells more closely where it is lost.

use super::path_loses;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{ConnectOutcome, Dialogue, HttpExchange, LinkDelta, TcpHealth, TlsHandshake, Walk};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// `l4.retransmissions`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.retransmissions",
    layer: Layer::L4,
    title: "TCP retransmits heavily",
    what: "Segments are lost and sent again. Each retransmission by timeout costs at least 200 ms, doubled each time. The loss itself is below: \
           a lossy or full link, a policer, a bad cable or wireless path.",
    shows: "TCP_INFO counts retransmitted segments and a backed-off timer, although no measurement below (echo train, link errors) shows the loss.",
    confirm: &[
        Tool { run: "ss -tin dst {ip}", on: "here", why: "retrans, rto and backoff of live connections" },
        Tool { run: "mtr -rwzbc 100 {ip}", on: "here", why: "a hop from which loss persists to the end is where it begins" },
    ],
    fix: &[
        "Find the lossy hop, and mend the link or take it out of the path.",
        "A policer needs shaping before it (fq/CAKE at the sender).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, tcp) = worst(ev)?;
    let main = ev.main_address()?;
    let ratio = f64::from(tcp.retransmits) / f64::from(tcp.data_segs_out.max(1));
    let errors = ev.first::<LinkDelta>(|delta| delta.rose.keys().any(|name| name.contains("errors")));
    if tcp.retransmits < 2 || learned_the_path(ev, main, tcp) || ratio < 0.05 || path_loses(ev, main.ip()) || errors.is_some() {
        return None;
    }
    let measured = ev.all::<Walk>().any(|(_, walk)| walk.to.ip() == main.ip());
    let confidence = if measured { 0.7 } else { 0.6 };
    let summary = format!(
        "TCP to {main} sent {} of {} segments again: something below loses packets.",
        tcp.retransmits,
        tcp.data_segs_out.max(tcp.retransmits)
    );
    Some(Claim::degrades(confidence, Where::Path, format!("between here and {}", main.ip()), summary).citing([id]))
}

/// The path's MTU became known on this connection, and what had been sent too large was sent again, once: that is how it is learned (RFC 8899
/// calls it the classical way, RFC 1191), and no loss.
fn learned_the_path(ev: &Evidence<'_>, main: SocketAddr, tcp: &TcpHealth) -> bool {
    let at_first = ev.connected().find_map(|(_, connect)| match connect.outcome {
        ConnectOutcome::Connected { pmtu, .. } if connect.to == main => Some(pmtu),
        _ => None,
    });
    tcp.backoff == 0 && tcp.pmtu > 0 && at_first.is_some_and(|pmtu| tcp.pmtu < pmtu)
}

fn worst<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a TcpHealth)> {
    let tls = ev.all::<TlsHandshake>().filter(|(_, tls)| tls.offer.name == "default").filter_map(|(id, tls)| Some((id, tls.tcp.as_ref()?)));
    let http =
        ev.all::<HttpExchange>().filter(|(_, http)| http.purpose == "default").filter_map(|(id, http)| Some((id, http.tcp.as_ref()?)));
    let own = ev.all::<Dialogue>().filter(|(_, own)| own.purpose == "default").filter_map(|(id, own)| Some((id, own.tcp.as_ref()?)));
    tls.chain(http).chain(own).max_by_key(|(_, tcp)| tcp.retransmits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected};
    use crate::observation::{HttpOutcome, HttpResponse, Role};
    use crate::testkit::{claims, recording};

    #[test]
    fn a_share_of_segments_sent_again_degrades() {
        let check = |retransmits, pmtu, expect| {
            let tcp = TcpHealth { retransmits, data_segs_out: 10, pmtu, ..TcpHealth::default() };
            let exchange = HttpExchange {
                to: "10.2.0.10:80".parse().expect("addr"),
                method: "GET".to_owned(),
                url: "http://10.2.0.10/".to_owned(),
                purpose: "default".to_owned(),
                version: "HTTP/1.1".to_owned(),
                outcome: HttpOutcome::Response(Box::new(HttpResponse { status: 200, ..HttpResponse::default() })),
                tcp: Some(tcp),
            };
            let seen = vec![connect("10.2.0.10:80", Role::Target, connected()), Seen::HttpExchange(exchange)];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(4, 1500, Some((0.6, false)));
        check(0, 1500, None);
        check(1, 1500, None);
        // A narrower link was told of on the way, and what had been under way was sent again.
        check(4, 1380, None);
    }
}
