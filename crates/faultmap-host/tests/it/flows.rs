//! Sockets toward an address, ports in use, listen queues.

use crate::namespace::{cable, inside, ip};
use faultmap_host::{Snapshot, flows, listen_queue};
use faultmap_model::observation::Flows;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (server, _) = listener.accept().expect("accepted");
    (client, server)
}

fn counts(flows: &Flows) -> (u32, u32, u32, u32) {
    (flows.established, flows.alive, flows.stuck, flows.syn_sent)
}

#[test]
fn connections_of_others_are_counted_and_our_own_are_not() {
    inside("flows::connections_of_others_are_counted_and_our_own_are_not", || {
        cable();
        for bind in ["10.9.0.2:0", "[fd09::2]:0"] {
            let listener = TcpListener::bind(bind).expect("a listener");
            let at = listener.local_addr().expect("its address");
            let (mut client, mut server) = connected(&listener);
            let ours = connected(&listener);
            client.write_all(b"x").expect("sent");
            server.read_exact(&mut [0]).expect("received");
            let ours = [ours.0.local_addr().expect("an address")];
            assert_eq!(counts(&flows(at.ip(), Some(at.port()), LONG, &ours)), (1, 1, 0, 0));
            assert_eq!(counts(&flows(at.ip(), Some(1), LONG, &ours)), (0, 0, 0, 0));
        }
    });
}

#[test]
fn an_ipv4_connection_of_an_ipv6_socket_is_found() {
    inside("flows::an_ipv4_connection_of_an_ipv6_socket_is_found", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = listener.local_addr().expect("its address");
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", at.port()).parse().expect("an address");
        let _client = TcpStream::connect(mapped).expect("a connection");
        assert_eq!(flows(at.ip(), Some(at.port()), LONG, &[]).established, 1);
        assert_eq!(flows(mapped.ip(), Some(at.port()), LONG, &[]).established, 1);
    });
}

#[test]
fn a_connect_to_a_silent_neighbour_is_in_syn_sent() {
    inside("flows::a_connect_to_a_silent_neighbour_is_in_syn_sent", || {
        cable();
        ip("neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
        let to: SocketAddr = "10.9.0.7:80".parse().expect("an address");
        let silent = std::thread::spawn(move || TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_err());
        crate::namespace::until("SYN_SENT", || flows(to.ip(), Some(80), LONG, &[]).syn_sent == 1);
        let tables = Snapshot::take().tables(None, Some(to));
        assert_eq!(tables.ports_used, Some(1), "{tables:?}");
        assert_eq!(tables.tcp_states.get("SYN_SENT"), Some(&1));
        assert!(silent.join().expect("no panic"));
    });
}

#[test]
fn connections_that_wait_to_be_accepted_fill_the_listen_queue() {
    inside("flows::connections_that_wait_to_be_accepted_fill_the_listen_queue", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = listener.local_addr().expect("its address");
        let _waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(at).expect("a connection")).collect();
        let (waiting, limit) = listen_queue(at).expect("a listener");
        assert_eq!(waiting, 3);
        assert!(limit >= 3);
        let tables = Snapshot::take().tables(None, Some(at));
        assert_eq!(tables.listen_queue, Some((waiting, limit)));
        assert_eq!(listen_queue(SocketAddr::new(at.ip(), 1)), None);
    });
}

#[test]
fn tables_know_their_limits_and_rises_need_a_second_snapshot() {
    inside("flows::tables_know_their_limits_and_rises_need_a_second_snapshot", || {
        let before = Snapshot::take();
        let alone = before.tables(None, None);
        assert_eq!((alone.neighbor_table_fulls, alone.conntrack_drops, alone.ports_used), (None, None, None));
        let tables = before.tables(Some(&Snapshot::take()), None);
        assert!(tables.neighbor_table_fulls.is_some(), "{tables:?}");
        assert!(tables.neighbor_max.is_some_and(|max| max > 0), "{tables:?}");
        assert!(tables.port_low < tables.port_high);
        assert!(tables.fd_limit > tables.fd_open, "{tables:?}");
    });
}
