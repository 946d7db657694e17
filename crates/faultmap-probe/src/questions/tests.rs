//! The questions against loopback: no namespace, no privilege, no assertion about time.

use super::*;
use crate::sock::{AnswerTap, no_delay_dup, tcp_health};
use faultmap_model::observation::{ConnectOutcome, HopSaid, IcmpMeaning, Role, TcpConnect, UdpOutcome, Walk, WalkProtocol};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(60);

/// The loopback addresses that this machine has.
fn loopbacks() -> Vec<IpAddr> {
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.into_iter().filter(|&address| UdpSocket::bind((address, 0)).is_ok()).collect()
}

/// A peer on loopback, and the address to ask.
enum Peer {
    Listening,
    /// Accepts nothing and queues two.
    Wedged,
    Closed,
    /// Reads no datagram.
    Mute,
    Echoing,
}

/// Keeps the peer alive.
#[allow(dead_code, reason = "held for their descriptors")]
enum Held {
    Tcp(TcpListener),
    Raw(Socket),
    Udp(UdpSocket),
    Nothing,
}

fn start(peer: &Peer, at: IpAddr) -> (SocketAddr, Held) {
    match peer {
        Peer::Listening => {
            let listener = TcpListener::bind((at, 0)).unwrap();
            (listener.local_addr().unwrap(), Held::Tcp(listener))
        }
        Peer::Wedged => {
            let socket = Socket::new(Domain::for_address((at, 0).into()), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(at, 0).into()).unwrap();
            socket.listen(1).unwrap();
            (socket.local_addr().unwrap().as_socket().unwrap(), Held::Raw(socket))
        }
        // Bound but not listening: nobody else can take the port meanwhile.
        Peer::Closed => {
            let socket = Socket::new(Domain::for_address((at, 0).into()), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(at, 0).into()).unwrap();
            (socket.local_addr().unwrap().as_socket().unwrap(), Held::Raw(socket))
        }
        Peer::Mute => {
            let socket = UdpSocket::bind((at, 0)).unwrap();
            (socket.local_addr().unwrap(), Held::Udp(socket))
        }
        Peer::Echoing => {
            let socket = UdpSocket::bind((at, 0)).unwrap();
            let address = socket.local_addr().unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 64];
                if let Ok((length, from)) = socket.recv_from(&mut bytes) {
                    socket.send_to(&bytes[..length], from).unwrap();
                }
            });
            (address, Held::Nothing)
        }
    }
}

async fn check_connect(peer: Peer, wait: Duration, expected: fn(&TcpConnect) -> bool) {
    for at in loopbacks() {
        let (to, _held) = start(&peer, at);
        let (seen, stream) = connect(&ConnectAsk::new(to, Role::Target, wait)).await;
        assert!(expected(&seen), "{seen:?}");
        assert_eq!(stream.is_some(), seen.outcome.connected());
        assert_eq!(seen.local.map(|local| local.ip()), Some(at));
    }
}

#[tokio::test]
async fn a_listener_completes_the_handshake() {
    check_connect(
        Peer::Listening,
        LONG,
        |seen| matches!(seen.outcome, ConnectOutcome::Connected { mss, pmtu, .. } if mss > 0 && pmtu > mss),
    )
    .await;
}

#[tokio::test]
async fn a_closed_port_resets_and_no_icmp_error_is_invented() {
    check_connect(Peer::Closed, LONG, |seen| seen.outcome.reset()).await;
}

#[tokio::test]
async fn a_clamped_connection_announces_the_smaller_segment() {
    for at in loopbacks() {
        let (to, _held) = start(&Peer::Listening, at);
        let ask = ConnectAsk { max_seg: Some(500), ..ConnectAsk::new(to, Role::Target, LONG) };
        let (seen, _) = connect(&ask).await;
        assert!(matches!(seen.outcome, ConnectOutcome::Connected { mss, .. } if mss <= 500), "{seen:?}");
    }
}

#[tokio::test]
async fn an_error_of_our_own_kernel_carries_its_name_and_no_icmp() {
    // Nothing connects to a broadcast address, with or without a route to it.
    let to: SocketAddr = "255.255.255.255:80".parse().unwrap();
    let (seen, _) = connect(&ConnectAsk::new(to, Role::Target, LONG)).await;
    assert_eq!((seen.outcome.errno(), seen.outcome.icmp()), (Some("ENETUNREACH"), None));
}

#[tokio::test]
async fn a_connection_tells_its_health_through_a_second_descriptor() {
    let (to, _held) = start(&Peer::Listening, Ipv4Addr::LOCALHOST.into());
    let (_, stream) = connect(&ConnectAsk::new(to, Role::Target, LONG)).await;
    let watched = no_delay_dup(&stream.unwrap()).unwrap();
    let health = tcp_health(&watched).unwrap();
    assert!(health.snd_mss > 0 && health.unacked == 0 && health.snd_wnd.is_some_and(|window| window > 0), "{health:?}");
    assert_eq!(tcp_health(UdpSocket::bind("127.0.0.1:0").unwrap()), None);
}

#[tokio::test]
async fn a_full_accept_queue_lets_some_through_and_leaves_the_rest_silent() {
    for at in loopbacks() {
        let (to, _held) = start(&Peer::Wedged, at);
        let seen = repeat(to, 5, Duration::from_millis(300)).await;
        assert_eq!((seen.tried, seen.connected, seen.silent, seen.failed), (5, 2, 3, 0), "{seen:?}");
    }
}

#[tokio::test]
async fn a_sound_listener_takes_every_connect_and_a_closed_port_none() {
    for at in loopbacks() {
        let (to, _held) = start(&Peer::Listening, at);
        let seen = repeat(to, 5, LONG).await;
        assert_eq!((seen.connected + seen.connected_late, seen.failed), (5, 0), "{seen:?}");
        let (to, _held) = start(&Peer::Closed, at);
        let seen = repeat(to, 5, LONG).await;
        assert_eq!((seen.connected, seen.failed), (0, 5), "{seen:?}");
    }
}

async fn check_udp(peer: Peer, wait: Duration, sent: u32, expected: fn(&UdpOutcome, IpAddr) -> bool) {
    for at in loopbacks() {
        let (to, _held) = start(&peer, at);
        let seen = udp(to, Role::Target, b"question", 2, wait, wait).await;
        assert!(expected(&seen.outcome, at), "{seen:?}");
        assert_eq!((seen.sent, seen.payload_bytes), (sent, 8));
    }
}

#[tokio::test]
async fn a_datagram_is_answered_with_its_size() {
    check_udp(Peer::Echoing, LONG, 1, |outcome, _| *outcome == UdpOutcome::Answer { bytes: 8 }).await;
}

#[tokio::test]
async fn a_closed_udp_port_is_named_by_icmp_port_unreachable_from_the_host_itself() {
    check_udp(Peer::Closed, LONG, 1, |outcome, at| {
        matches!(outcome, UdpOutcome::Failed { errno, icmp: Some(icmp) }
            if errno == "ECONNREFUSED" && icmp.meaning() == IcmpMeaning::PortUnreachable && icmp.from == at)
    })
    .await;
}

#[tokio::test]
async fn a_mute_udp_port_is_asked_again_and_stays_silent() {
    check_udp(Peer::Mute, SHORT, 2, |outcome, _| matches!(outcome, UdpOutcome::Silent { .. })).await;
}

async fn check_walk(protocol: WalkProtocol, peer: Peer, wait: Duration, expected: fn(&Walk) -> bool) {
    for at in loopbacks() {
        let (to, _held) = start(&peer, at);
        let ask = WalkAsk { to, protocol, role: Role::Target, min_ttl: 1, max_ttl: 30, tries: 2, wait };
        match walk(&ask).await {
            Ok(seen) => assert!(expected(&seen), "{seen:?}"),
            Err(refused) => assert_eq!((protocol, refused.missing.as_deref()), (WalkProtocol::Icmp, Some("CAP_NET_RAW"))),
        }
    }
}

/// The destination is one hop away and said this.
fn one_hop(walk: &Walk, said: HopSaid) -> bool {
    let [hop] = walk.hops.as_slice() else {
        return false;
    };
    walk.reached_ttl == Some(1)
        && hop.ttl == 1
        && hop.sent == 1
        && hop.answers.iter().all(|answer| answer.said == said && answer.from == walk.to.ip())
}

#[tokio::test]
async fn a_walk_to_this_host_ends_at_the_first_hop_whatever_the_destination_says() {
    check_walk(WalkProtocol::Tcp, Peer::Listening, LONG, |walk| one_hop(walk, HopSaid::Reached)).await;
    check_walk(WalkProtocol::Tcp, Peer::Closed, LONG, |walk| one_hop(walk, HopSaid::Reset)).await;
    check_walk(WalkProtocol::Udp, Peer::Closed, LONG, |walk| one_hop(walk, HopSaid::Reached)).await;
    check_walk(WalkProtocol::Icmp, Peer::Mute, LONG, |walk| one_hop(walk, HopSaid::Reached)).await;
}

#[tokio::test]
async fn a_walk_that_nobody_answers_keeps_a_short_silent_tail_and_asks_it_twice() {
    check_walk(WalkProtocol::Udp, Peer::Mute, SHORT, |walk| {
        walk.reached_ttl.is_none() && walk.hops.len() == 3 && walk.hops.iter().all(|hop| hop.silent() && hop.sent == 2)
    })
    .await;
}

#[tokio::test]
async fn echo_requests_are_answered_or_the_missing_capability_is_named() {
    for to in loopbacks() {
        let ask =
            EchoAsk { to, role: Role::Target, count: 3, interval: Duration::ZERO, payload_bytes: 16, dont_fragment: true, wait: LONG };
        match echo(&ask).await {
            Ok(seen) => {
                assert_eq!((seen.sent, seen.received, seen.duplicates, seen.rtts_ms.len()), (3, 3, 0, 3), "{seen:?}");
                assert!(seen.reply_ttl.is_some(), "{seen:?}");
            }
            Err(refused) => assert_eq!(refused.missing.as_deref(), Some("CAP_NET_RAW")),
        }
    }
}

#[tokio::test]
async fn both_sizes_pass_over_loopback_and_no_limit_is_searched_for() {
    for at in loopbacks() {
        let (to, _held) = start(&Peer::Closed, at);
        let seen = size(at, to.port(), 1280, 1500, 2, LONG).await.unwrap();
        assert_eq!((seen.small, seen.large, seen.too_big, seen.largest_answered_bytes), ((2, 2), (2, 2), None, None), "{seen:?}");
    }
}

#[tokio::test]
async fn a_listener_resets_a_bare_ack_or_the_missing_capability_is_named() {
    for at in loopbacks() {
        let (to, _held) = start(&Peer::Wedged, at);
        match ack_probe(to, at, 2, LONG).await {
            Ok(seen) => assert!(seen.sent == 2 && seen.resets == 2 && seen.answer_ttl.is_some(), "{seen:?}"),
            Err(refused) => assert_eq!(refused.missing.as_deref(), Some("CAP_NET_RAW")),
        }
    }
}

#[tokio::test]
async fn the_tap_sees_the_answer_of_the_port_asked_and_of_no_other() {
    for at in loopbacks() {
        let Some(mut tap) = AnswerTap::open(at) else {
            continue;
        };
        let ((to, _held), (other, _other_held)) = (start(&Peer::Listening, at), start(&Peer::Listening, at));
        let (seen, _stream) = connect(&ConnectAsk::new(to, Role::Target, LONG)).await;
        assert!(tap.ttl_of(to, seen.local).is_some() && tap.ttl_of(to, None).is_some());
        assert_eq!((tap.count_from(to), tap.count_from(other), tap.ttl_of(other, None)), (1, 0, None));
    }
}

#[tokio::test]
async fn no_neighbour_is_asked_for_where_there_are_none() {
    for at in loopbacks() {
        assert!(arp_probe(at, "lo", 1, SHORT).await.is_err());
        assert!(arp_probe(at, "no-such-iface", 1, SHORT).await.is_err());
    }
}

#[tokio::test]
async fn the_ttl_of_an_answer_is_found_without_a_raw_socket() {
    // Before Linux 2.6.34 nobody counted.
    if faultmap_host::min_ttl_drops().is_none() {
        return;
    }
    let default = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    for at in loopbacks().into_iter().filter(IpAddr::is_ipv4) {
        for peer in [Peer::Listening, Peer::Closed] {
            let (to, _held) = start(&peer, at);
            let found = answer_ttl(to, Duration::from_millis(1), LONG).await;
            assert_eq!(found, default.trim().parse().ok());
        }
    }
}
