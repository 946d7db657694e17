//! Neighbour entries in every state that can be had without a second host.

use crate::namespace::{cable, inside, ip, until};
use faultmap_host::{NeighborWatch, neighbor, read_neighbor};
use faultmap_model::observation::NeighborState;
use std::net::{IpAddr, UdpSocket};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Has the kernel resolve the neighbour, as any program's packet would.
fn send_to(to: &str) {
    let socket = UdpSocket::bind(if address(to).is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("a socket");
    // The datagram waits in the neighbour's queue; whether it ever leaves is what we look at.
    let _ = socket.send_to(b"x", (address(to), 9));
}

fn state(of: &str) -> NeighborState {
    neighbor(address(of), "eth0").0
}

#[test]
fn a_neighbour_that_nobody_asked_for_has_no_entry() {
    inside("neighbors::a_neighbour_that_nobody_asked_for_has_no_entry", || {
        cable();
        assert_eq!(neighbor(address("10.9.0.7"), "eth0"), (NeighborState::None, None));
        assert_eq!(neighbor(address("fd09::7"), "eth0"), (NeighborState::None, None));
        assert_eq!(neighbor(address("10.9.0.7"), "nosuch"), (NeighborState::None, None));
        assert!(read_neighbor(address("10.9.0.7"), "nosuch").is_err());
        assert!(read_neighbor(address("10.9.0.7"), "eth0").is_ok());
    });
}

#[test]
fn a_silent_neighbour_is_incomplete_and_then_failed() {
    inside("neighbors::a_silent_neighbour_is_incomplete_and_then_failed", || {
        cable();
        let watched = [(address("10.9.0.7"), "eth0".to_owned()), (address("fd09::7"), "eth0".to_owned())];
        let mut watch = NeighborWatch::start(&watched);
        send_to("10.9.0.7");
        send_to("fd09::7");
        assert_eq!(neighbor(address("10.9.0.7"), "eth0"), (NeighborState::Incomplete, None));
        assert_eq!(neighbor(address("fd09::7"), "eth0"), (NeighborState::Incomplete, None));
        until("both entries failed", || ["10.9.0.7", "fd09::7"].iter().all(|of| state(of) == NeighborState::Failed));
        watch.poll();
        for (of, _) in &watched {
            assert_eq!(watch.states_seen(*of).last(), Some(&NeighborState::Failed), "{of}");
            assert!(watch.macs_seen(*of).is_empty());
        }
    });
}

#[test]
fn an_entry_of_an_administrator_is_permanent() {
    inside("neighbors::an_entry_of_an_administrator_is_permanent", || {
        cable();
        ip("neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
        ip("neigh add fd09::7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
        let mac = Some("02:00:00:00:00:07".to_owned());
        assert_eq!(neighbor(address("10.9.0.7"), "eth0"), (NeighborState::Permanent, mac.clone()));
        assert_eq!(neighbor(address("fd09::7"), "eth0"), (NeighborState::Permanent, mac));
        assert_eq!(neighbor(address("10.9.0.7"), "peer").0, NeighborState::None);
    });
}

#[test]
fn a_watch_sees_every_mac_and_state_of_its_entry_and_no_others() {
    inside("neighbors::a_watch_sees_every_mac_and_state_of_its_entry_and_no_others", || {
        cable();
        let mut watch = NeighborWatch::start(&[(address("10.9.0.7"), "eth0".to_owned())]);
        assert_eq!(watch.unavailable(), None);
        ip("neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud reachable");
        ip("neigh replace 10.9.0.7 lladdr 02:00:00:00:00:08 dev eth0 nud stale");
        ip("neigh add 10.9.0.8 lladdr 02:00:00:00:00:09 dev eth0 nud reachable");
        ip("neigh del 10.9.0.7 dev eth0");
        watch.poll();
        assert_eq!(watch.macs_seen(address("10.9.0.7")), ["02:00:00:00:00:07", "02:00:00:00:00:08"]);
        let states = watch.states_seen(address("10.9.0.7"));
        assert!(states.starts_with(&[NeighborState::None, NeighborState::Reachable, NeighborState::Stale]), "{states:?}");
        assert!(watch.macs_seen(address("10.9.0.8")).is_empty());
    });
}
