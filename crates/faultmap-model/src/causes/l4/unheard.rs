//! The handshake passes, and the peer's kernel acknowledges nothing of what follows: what the causes of that read. It claims nothing.

use super::path_loses;
use crate::causes::l3::pmtu_blackhole::large_vanish;
use crate::observation::{Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, SizeProbe, TcpHealth, TcpRepeat, TlsHandshake, TlsOutcome};
use crate::{Evidence, ObservationId};
use std::net::SocketAddr;

/// Timer expiries of the first segment; one may be chance.
const SENT_AGAIN: u32 = 2;
/// So many connects, and all passed: no listener's queue is full, and nothing gets lost by chance.
const CONNECTS: u32 = 4;

/// A conversation whose first bytes never arrive.
pub(super) struct Unheard {
    /// The conversation, and the connects beside it that all passed.
    pub(super) because: Vec<ObservationId>,
    /// The peer.
    pub(super) to: SocketAddr,
}

/// Nothing after the handshake is acknowledged, be it small, on any connection, although every handshake passes and the path loses nothing.
pub(super) fn unheard(ev: &Evidence<'_>) -> Option<Unheard> {
    if ev.proxy().is_some() || ev.failure().is_some() {
        return None;
    }
    let (id, to, tcp) = silent_conversations(ev).last()?;
    let quiet = |tcp: &TcpHealth| tcp.bytes_acked <= 1 && tcp.bytes_received == 0 && tcp.unacked > 0;
    if !quiet(tcp) || tcp.backoff < SENT_AGAIN || tcp.snd_wnd == Some(0) || ev.is_local(to.ip()) || path_loses(ev, to.ip()) {
        return None;
    }
    let answered = conversations(ev).any(|(_, other)| !other);
    let sized = ev.first::<SizeProbe>(|probe| probe.to == to.ip() && large_vanish(probe)).is_some();
    if answered || sized || crate::causes::l3::pmtu_blackhole::size_limit(ev).is_some() {
        return None;
    }
    let beside = |repeat: &TcpRepeat| repeat.to == to;
    if ev.all::<TcpRepeat>().any(|(_, repeat)| beside(repeat) && repeat.connected < repeat.tried) {
        return None;
    }
    let (passed, _) = ev.first::<TcpRepeat>(|repeat| beside(repeat) && repeat.connected >= CONNECTS)?;
    Some(Unheard { because: vec![id, passed], to })
}

/// The user's own conversation, if it met silence, with the state of its connection.
fn silent_conversations<'a>(ev: &Evidence<'a>) -> impl Iterator<Item = (ObservationId, SocketAddr, &'a TcpHealth)> {
    let tls = ev.handshake().filter(|(_, tls)| silent_handshake(tls)).and_then(|(id, tls)| Some((id, tls.to, tls.tcp.as_ref()?)));
    let http = ev.exchange().filter(|(_, http)| silent_exchange(http)).and_then(|(id, http)| Some((id, http.to, http.tcp.as_ref()?)));
    let own = ev.dialogue().filter(|(_, own)| silent_dialogue(own)).and_then(|(id, own)| Some((id, own.to, own.tcp.as_ref()?)));
    [tls, http, own].into_iter().flatten()
}

/// Every conversation of the check, whatever it was for, and whether it met silence from its first byte.
fn conversations(ev: &Evidence<'_>) -> impl Iterator<Item = (ObservationId, bool)> {
    let tls = ev.all::<TlsHandshake>().map(|(id, tls)| (id, silent_handshake(tls)));
    let http = ev.all::<HttpExchange>().map(|(id, http)| (id, silent_exchange(http)));
    let own = ev.all::<Dialogue>().map(|(id, own)| (id, silent_dialogue(own)));
    tls.chain(http).chain(own)
}

const fn silent_handshake(tls: &TlsHandshake) -> bool {
    matches!(tls.outcome, TlsOutcome::Silent { received_bytes: 0, .. })
}

const fn silent_exchange(http: &HttpExchange) -> bool {
    matches!(http.outcome, HttpOutcome::Silent { received_bytes: 0, .. })
}

const fn silent_dialogue(own: &Dialogue) -> bool {
    matches!(own.outcome, DialogueOutcome::Silent { received_bytes: 0, .. })
}

#[cfg(test)]
pub(super) mod tests {
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, route_via};
    use crate::observation::{HttpExchange, HttpOutcome, Role, TcpHealth, TcpRepeat};

    /// A request that is sent again and again, beside sixteen connects of which so many pass.
    pub(in super::super) fn request_unheard(backoff: u32, passed: u32) -> Vec<Seen> {
        let to = "10.2.0.10:80".parse().expect("addr");
        let tcp = TcpHealth { backoff, unacked: 1, bytes_acked: 1, retransmits: backoff, snd_wnd: Some(65_160), ..TcpHealth::default() };
        let request = HttpExchange {
            to,
            method: "GET".to_owned(),
            url: "http://10.2.0.10/".to_owned(),
            purpose: "default".to_owned(),
            version: "HTTP/1.1".to_owned(),
            outcome: HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 0 },
            tcp: Some(tcp),
        };
        let connects = TcpRepeat {
            to,
            tried: 16,
            connected: passed,
            connected_late: 0,
            failed: 0,
            silent: 16 - passed,
            waited_ms: 900.0,
            order: String::new(),
            icmp: None,
        };
        vec![
            route_via("10.2.0.10"),
            connect("10.2.0.10:80", Role::Target, connected()),
            Seen::HttpExchange(request),
            Seen::TcpRepeat(connects),
        ]
    }
}
