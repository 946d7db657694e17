//! Packets above a size vanish on the path, and the ICMP error that should say so does not arrive.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{BodyEnd, DialogueOutcome, HttpExchange, HttpOutcome, SizeProbe, TlsHandshake, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// `l3.pmtu-blackhole`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.pmtu-blackhole",
    layer: Layer::L3,
    title: "the path swallows large packets",
    what: "A link on the path carries smaller packets than the ends believe (a tunnel, PPPoE, a VPN), and the ICMP \"fragmentation needed\" that would tell \
           the sender is filtered. Handshakes and small requests pass; the first full-size segment vanishes and the connection hangs.",
    shows: "A connection stalls once data flows, twice, and the same conversation with a clamped segment size passes. A mute server stalls with small segments too.",
    confirm: &[
        Tool {
            run: "ping -M do -s 1472 -c 3 {ip}; ping -M do -s 1200 -c 3 {ip}",
            on: "here",
            why: "large lost without an error, small answered",
        },
        Tool { run: "tracepath -n {ip}", on: "here", why: "the hop at which large packets stop" },
    ],
    fix: &[
        "Let ICMP fragmentation needed (3/4) and ICMPv6 packet too big (2/0) through every filter on the path.",
        "Clamp the MSS at the tunnel: nft add rule ... tcp flags syn tcp option maxseg size set rt mtu.",
        "Lower the MTU of {iface} to what the path carries, or set net.ipv4.tcp_mtu_probing=1 on the servers.",
    ],
    claim,
};

/// What the evidence says of a size limit between here and the peer.
pub(in crate::causes) struct SizeLimit {
    /// The peer.
    pub(in crate::causes) to: SocketAddr,
    /// The evidence.
    pub(in crate::causes) because: Vec<ObservationId>,
    /// In words.
    pub(in crate::causes) words: String,
    /// The target fails by it.
    pub(in crate::causes) breaks: bool,
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = size_limit(ev)?;
    if ev.on_link(limit.to.ip()) || ev.is_local(limit.to.ip()) {
        return None;
    }
    let (sizes, told) = sizes_at_both_ends(ev, limit.to).unzip();
    let summary = format!("The path to {} swallows large packets: {}{}.", limit.to.ip(), limit.words, sizes.unwrap_or_default());
    let at = format!("between here and {}", limit.to.ip());
    // Where packets of any size get lost, one conversation may stall and the next pass by luck.
    if limit.breaks && crate::causes::l4::path_loses(ev, limit.to.ip()) {
        return None;
    }
    let claim = if limit.breaks { Claim::proven(0.95, Where::Path, at, summary) } else { Claim::degrades(0.85, Where::Path, at, summary) };
    Some(claim.citing(limit.because).citing(told).despite_answers())
}

/// The largest packets that a witness at the other end saw come and leave.
fn sizes_at_both_ends(ev: &Evidence<'_>, to: SocketAddr) -> Option<(String, ObservationId)> {
    let told = ev.told_of_check(to)?;
    let wire = told.far().wire.as_ref().filter(|wire| wire.largest_in > 0 && wire.largest_out > 0)?;
    let words =
        format!("; the largest packet that came there had {} bytes, the largest that left there {}", wire.largest_in, wire.largest_out);
    Some((words, told.id))
}

/// A conversation that passes only with small segments; or, where nothing was said, datagrams that pass only when small.
pub(in crate::causes) fn size_limit(ev: &Evidence<'_>) -> Option<SizeLimit> {
    by_conversation(ev).or_else(|| by_long_hello(ev)).or_else(|| by_datagrams(ev))
}

/// A ClientHello of more than one full-size segment vanishes, and arrives in small segments.
fn by_long_hello(ev: &Evidence<'_>) -> Option<SizeLimit> {
    let long = crate::causes::l6::offers::long_hello(ev)?;
    let clamped = crate::causes::l6::offers::accepted(ev, "long-hello-clamped")?;
    let words = format!("a ClientHello of {} bytes vanishes, and is answered when it comes in small segments", long.bytes);
    Some(SizeLimit { to: long.to, because: long.ids.into_iter().chain([clamped.id]).collect(), words, breaks: false })
}

fn by_conversation(ev: &Evidence<'_>) -> Option<SizeLimit> {
    let (stalled, to) = stall(ev, "default")?;
    let again = stall(ev, "second-try").map(|(id, _)| id);
    if again.is_none() && passes(ev, "second-try").is_some() {
        return None;
    }
    let clamped = passes(ev, "clamped-mss")?;
    let mut because = vec![stalled, clamped];
    because.extend(again);
    because.extend(ev.first::<SizeProbe>(large_vanish).map(|(id, _)| id));
    let words = "the conversation stalls, and passes with a small segment size".to_owned();
    Some(SizeLimit { to, because, words, breaks: true })
}

fn by_datagrams(ev: &Evidence<'_>) -> Option<SizeLimit> {
    let crawled = ev.response().filter(|(_, response)| response.body.crawled()).map(|(id, _)| id);
    if (ev.response().is_some() && crawled.is_none()) || ev.dialogue().is_some_and(|(_, own)| own.answered()) {
        return None;
    }
    // Of several addresses, the one that was spoken to was examined.
    let (id, probe) = ev.first::<SizeProbe>(large_vanish)?;
    let to = ev.connected().map(|(_, connect)| connect.to).find(|to| to.ip() == probe.to)?;
    let limit = probe.largest_answered_bytes.unwrap_or(probe.small_bytes);
    let words = format!("packets of {} bytes vanish without an ICMP error, {limit} bytes pass", probe.large_bytes);
    let (slow, words) = match crawled {
        Some(slow) => (Some(slow), format!("{words}, and the answer came in small pieces, slowly")),
        None => (None, words),
    };
    let stuck = data_stuck(ev);
    Some(SizeLimit { to, because: std::iter::once(id).chain(slow).chain(stuck).collect(), words, breaks: stuck.is_some() })
}

/// What we sent is not acknowledged, however often it is sent again, and no conversation with small segments was tried to compare: a request
/// that may not be repeated is not.
fn data_stuck(ev: &Evidence<'_>) -> Option<ObservationId> {
    let (id, http) = ev.exchange().filter(|(_, http)| matches!(http.outcome, HttpOutcome::Silent { received_bytes: 0, .. }))?;
    let stuck = http.tcp.as_ref().is_some_and(|tcp| tcp.unacked >= 2 && tcp.backoff >= 2 && tcp.snd_wnd != Some(0));
    (stuck && ev.exchange_for("clamped-mss").is_none()).then_some(id)
}

/// Small packets are answered, large ones vanish without a word.
pub(in crate::causes) fn large_vanish(probe: &SizeProbe) -> bool {
    probe.small.1 > 0 && probe.small.1 == probe.small.0 && probe.large.0 >= 2 && probe.large.1 == 0 && probe.too_big.is_none()
}

/// The conversation of this name that stalled.
fn stall(ev: &Evidence<'_>, name: &str) -> Option<(ObservationId, SocketAddr)> {
    let exchange = ev.all::<HttpExchange>().filter(|(_, http)| http.purpose == name).last();
    if let Some((id, http)) = exchange {
        let stalled = match &http.outcome {
            HttpOutcome::Silent { .. } => true,
            HttpOutcome::Response(response) => response.body.end == BodyEnd::Stalled,
            _ => false,
        };
        return stalled.then_some((id, http.to));
    }
    if let Some((id, dialogue)) = ev.dialogue_for(name) {
        return matches!(dialogue.outcome, DialogueOutcome::Silent { .. }).then_some((id, dialogue.to));
    }
    let (id, tls) = ev.all::<TlsHandshake>().filter(|(_, tls)| tls.offer.name == name).last()?;
    matches!(tls.outcome, TlsOutcome::Silent { .. }).then_some((id, tls.to))
}

/// The conversation of this name that came to its end: a complete body, or a handshake where nothing more is spoken.
fn passes(ev: &Evidence<'_>, name: &str) -> Option<ObservationId> {
    let exchange = ev.all::<HttpExchange>().filter(|(_, http)| http.purpose == name).last();
    if let Some((id, http)) = exchange {
        let HttpOutcome::Response(response) = &http.outcome else { return None };
        return matches!(response.body.end, BodyEnd::Complete | BodyEnd::Limit).then_some(id);
    }
    if let Some((id, dialogue)) = ev.dialogue_for(name) {
        return dialogue.answered().then_some(id);
    }
    if ev.target().scheme.uses_http() && ev.exchange().is_some() {
        return None;
    }
    let (id, tls) = ev.all::<TlsHandshake>().filter(|(_, tls)| tls.offer.name == name).last()?;
    matches!(tls.outcome, TlsOutcome::Done { .. }).then_some(id)
}

#[cfg(test)]
pub(in crate::causes) mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, route_on_link, route_via};
    use crate::observation::{HttpResponse, Role};
    use crate::testkit::{claims, recording};

    fn exchange(purpose: &str, outcome: HttpOutcome) -> Seen {
        Seen::HttpExchange(HttpExchange {
            to: "10.2.0.10:80".parse().expect("addr"),
            method: "GET".to_owned(),
            url: "http://10.2.0.10/".to_owned(),
            purpose: purpose.to_owned(),
            version: "HTTP/1.1".to_owned(),
            outcome,
            tcp: None,
        })
    }

    fn silent() -> HttpOutcome {
        HttpOutcome::Silent { waited_ms: 3e3, received_bytes: 0 }
    }

    fn good() -> HttpOutcome {
        HttpOutcome::Response(Box::new(HttpResponse { status: 200, ..HttpResponse::default() }))
    }

    /// The first conversation stalls, a clamped one passes.
    pub(in crate::causes) fn clamped_passes() -> Vec<Seen> {
        vec![connect("10.2.0.10:80", Role::Target, connected()), exchange("clamped-mss", good()), exchange("default", silent())]
    }

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
    }

    #[test]
    fn passing_only_with_small_segments_is_a_size_limit() {
        check([vec![route_via("10.2.0.10")], clamped_passes()].concat(), Some((0.95, true)));
        check([vec![route_on_link("10.2.0.10")], clamped_passes()].concat(), None);
    }

    #[test]
    fn a_path_that_loses_anything_proves_no_size_limit() {
        let closed = |silent| {
            let to = "10.2.0.10:9".parse().expect("addr");
            Seen::TcpRepeat(crate::observation::TcpRepeat {
                to,
                tried: 16,
                connected: 0,
                connected_late: 0,
                failed: 16 - silent,
                silent,
                waited_ms: 900.0,
                order: String::new(),
                icmp: None,
            })
        };
        check([vec![route_via("10.2.0.10"), closed(4)], clamped_passes()].concat(), None);
        check([vec![route_via("10.2.0.10"), closed(0)], clamped_passes()].concat(), Some((0.95, true)));
    }

    #[test]
    fn a_database_whose_large_messages_vanish_meets_a_size_limit() {
        use crate::testkit::conversation;
        let own = |purpose: &str, outcome| Seen::Dialogue(conversation("postgres://10.2.0.10", purpose, "session", outcome));
        let silent = || own("default", DialogueOutcome::Silent { waited_ms: 3e3, received_bytes: 1 });
        let done = own("clamped-mss", DialogueOutcome::Done { what: "logged in".to_owned() });
        let route = || {
            Seen::Route(match route_via("10.2.0.10") {
                Seen::Route(route) => route,
                _ => panic!("a route"),
            })
        };
        let check = |seen, expect| assert_eq!(claims(&CAUSE, &recording("postgres://10.2.0.10", seen)), expect);
        check(vec![route(), done, silent()], Some((0.95, true)));
        check(vec![route(), own("clamped-mss", DialogueOutcome::Silent { waited_ms: 2e3, received_bytes: 1 }), silent()], None);
    }

    /// Small datagrams are answered, and so many of the large ones.
    fn sized(large: (u32, u32), largest_answered_bytes: Option<u32>) -> SizeProbe {
        SizeProbe {
            to: "10.2.0.10".parse().expect("ip"),
            transport: Some(crate::observation::Transport::Udp),
            small_bytes: 128,
            small: (2, 2),
            large_bytes: 1500,
            large,
            too_big: None,
            largest_answered_bytes,
        }
    }

    #[test]
    fn an_upload_that_is_not_acknowledged_where_large_packets_vanish_meets_the_limit() {
        use crate::observation::TcpHealth;
        let check = |unacked, large, expect| {
            let Seen::HttpExchange(mut upload) = exchange("default", silent()) else { panic!("an exchange") };
            upload.method = "POST".to_owned();
            upload.tcp = Some(TcpHealth { unacked, backoff: if unacked > 0 { 5 } else { 0 }, ..TcpHealth::default() });
            let probe = sized(large, Some(1194));
            let connect = connect("10.2.0.10:80", Role::Target, connected());
            let seen = vec![route_via("10.2.0.10"), connect, Seen::HttpExchange(upload), Seen::SizeProbe(probe)];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(11, (2, 0), Some((0.95, true)));
        // All was acknowledged: the server is mute, and the limit a risk. Large packets pass: something else drops the data.
        check(0, (2, 0), Some((0.85, false)));
        check(11, (2, 2), None);
    }

    #[test]
    fn a_mute_server_stalls_with_small_segments_too() {
        check(vec![route_via("10.2.0.10"), exchange("clamped-mss", silent()), exchange("default", silent())], None);
    }

    #[test]
    fn a_second_plain_try_that_passes_is_no_size_limit() {
        let again = exchange("second-try", good());
        check([vec![route_via("10.2.0.10"), again], clamped_passes()].concat(), None);
    }

    #[test]
    fn an_answer_in_slow_pieces_where_large_packets_vanish_degrades() {
        use crate::observation::BodyReading;
        let check = |took_ms, large, expect| {
            let body = BodyReading { wire_bytes: 30_900, took_ms, ..BodyReading::default() };
            let slow = HttpOutcome::Response(Box::new(HttpResponse { status: 200, body, ..HttpResponse::default() }));
            let probe = sized(large, None);
            let connect = connect("10.2.0.10:80", Role::Target, connected());
            let seen = vec![route_via("10.2.0.10"), connect, exchange("default", slow), Seen::SizeProbe(probe)];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(4_000.0, (2, 0), Some((0.85, false)));
        // A slow service on a good path, and a quick one on a path that nobody had to fill.
        check(4_000.0, (2, 2), None);
        check(40.0, (2, 0), None);
    }
}
