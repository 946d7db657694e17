//! Two hosts: ours and a router in a namespace of its own thread, with a network behind it.

use crate::namespace::{cable, inside, ip, until};
use faultmap_host::{flows, neighbor, route};
use faultmap_model::observation::{NeighborState, Role, RouteOutcome};
use nix::sched::{CloneFlags, unshare};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

/// Gives the far end of our cable to a router (10.9.0.1, fd09::1) that forwards to a network of MTU 1300 behind it.
/// Within that network 192.0.2.1 is the router itself, where `serve` runs.
fn router(serve: fn(TcpListener)) -> SocketAddr {
    cable();
    let (tell, heard) = mpsc::channel();
    let (go, start) = mpsc::channel();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace of its own");
        tell.send(nix::unistd::gettid().as_raw().to_string()).expect("told");
        start.recv().expect("a cable");
        configure_router();
        let listener = TcpListener::bind("192.0.2.1:0").expect("a listener");
        tell.send(listener.local_addr().expect("its address").to_string()).expect("told");
        serve(listener);
        std::thread::park();
    });
    let thread = heard.recv().expect("the router's thread");
    ip(&format!("link set peer netns {thread}"));
    ip("route add default via 10.9.0.1");
    ip("-6 route add default via fd09::1");
    go.send(()).expect("sent");
    heard.recv().expect("the router is up").parse().expect("an address")
}

fn configure_router() {
    for command in [
        "link set lo up",
        "addr add 10.9.0.1/24 dev peer",
        "addr add fd09::1/64 dev peer nodad",
        "link set peer up",
        "addr add 192.0.2.1/32 dev lo",
        "link add wan mtu 1300 type veth peer name far",
        "addr add 10.10.0.1/24 dev wan",
        "addr add fd10::1/64 dev wan nodad",
        "link set wan up",
        "link set far up",
        "route add 198.51.100.0/24 dev wan",
        "-6 route add 2001:db8::/32 dev wan",
    ] {
        ip(command);
    }
    for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{forwarding}"), "1").expect("a sysctl of our own");
    }
}

fn accept_for_ever(listener: TcpListener) {
    let mut kept = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        kept.push(stream);
    }
}

fn learned(to: &str) -> Option<u32> {
    match route(to.parse().expect("an address"), Role::Target).outcome {
        RouteOutcome::Found { learned_mtu, mtu_expires_s, .. } => {
            assert_eq!(learned_mtu.is_some(), mtu_expires_s.is_some_and(|seconds| seconds > 0 && seconds <= 600));
            learned_mtu
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_mtu_learned_from_a_router_is_known_until_it_expires() {
    inside("router::an_mtu_learned_from_a_router_is_known_until_it_expires", || {
        router(drop);
        for (from, to) in [("0.0.0.0:0", "198.51.100.7"), ("[::]:0", "2001:db8::7")] {
            assert_eq!(learned(to), None);
            let socket = UdpSocket::bind(from).expect("a socket");
            let far: IpAddr = to.parse().expect("an address");
            // A datagram of more than 1300 bytes that may not be fragmented (on IPv6 none may, on the way).
            until("too big", || {
                let _ = socket.send_to(&[0; 1400], (far, 9));
                learned(to).is_some()
            });
            assert_eq!(learned(to), Some(1300));
        }
    });
}

#[test]
fn an_answering_router_is_a_reachable_neighbour() {
    inside("router::an_answering_router_is_a_reachable_neighbour", || {
        let at = router(accept_for_ever);
        let _stream = TcpStream::connect(at).expect("a connection");
        let (state, mac) = neighbor("10.9.0.1".parse().expect("an address"), "eth0");
        assert_eq!(state, NeighborState::Reachable);
        assert!(mac.is_some());
    });
}

#[test]
fn living_connections_through_the_same_router_are_counted_elsewhere() {
    inside("router::living_connections_through_the_same_router_are_counted_elsewhere", || {
        let at = router(accept_for_ever);
        let long = Duration::from_secs(600);
        let target: IpAddr = "198.51.100.7".parse().expect("an address");
        assert_eq!(flows(target, None, long, &[]).alive_elsewhere, 0);
        let stream = TcpStream::connect(at).expect("a connection");
        assert_eq!(flows(target, None, long, &[]).alive_elsewhere, 1);
        let ours = stream.local_addr().expect("its address");
        assert_eq!(flows(target, None, long, &[ours]).alive_elsewhere, 0);
        assert_eq!(flows(at.ip(), None, long, &[]).alive_elsewhere, 0);
        // A neighbour on the link is not behind the router.
        assert_eq!(flows("10.9.0.7".parse().expect("an address"), None, long, &[]).alive_elsewhere, 0);
    });
}

#[test]
fn a_connection_whose_path_died_is_stuck_and_no_longer_alive() {
    inside("router::a_connection_whose_path_died_is_stuck_and_no_longer_alive", || {
        let at = router(accept_for_ever);
        let mut stream = TcpStream::connect(at).expect("a connection");
        ip("neigh replace 10.9.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
        stream.write_all(b"x").expect("queued");
        until("backed off", || flows(at.ip(), None, Duration::from_millis(1), &[]).stuck == 1);
        let seen = flows(at.ip(), Some(at.port()), Duration::from_millis(1), &[]);
        assert_eq!((seen.established, seen.alive, seen.stuck), (1, 0, 1));
    });
}
