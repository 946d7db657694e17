//! The watch against this kernel's own drops, on loopback. Where the process may not watch, the reason it gives is checked.

use super::*;
use faultmap_model::host::drops::{DropReport, Drops, Weight};
use std::net::UdpSocket;

/// A watch, or nothing where this process may not have one; then it says what is missing.
fn watch(scope: Scope) -> Option<DropWatch> {
    match DropWatch::start(scope) {
        Ok(watch) => Some(watch),
        Err(error @ (DropsUnavailable::Refused { .. } | DropsUnavailable::Assembler(_))) => panic!("{error}"),
        Err(error) => {
            assert!(matches!(Drops::from(error), Drops::Unavailable { why, .. } if !why.is_empty()));
            None
        }
    }
}

/// A port of loopback that nobody listens on, and how often we write to it.
fn knock(times: usize) -> std::net::SocketAddr {
    let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("loopback");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for _ in 0..times {
        // Each refusal is told by the send after it, and is no failure of ours.
        let _ = socket.send_to(b"x", closed);
    }
    closed
}

#[test]
fn a_datagram_to_a_closed_port_is_a_drop_without_a_socket() {
    let Some(watch) = watch(Scope::OwnNamespace) else { return };
    let closed = knock(20);
    let report = DropReport::new(None, &watch.read().expect("read"));
    let row = report.rows.iter().find(|row| row.reason == "NO_SOCKET").expect("counted");
    assert!(row.count >= 20 && row.weight == Weight::Noted, "{row:?}");
    assert!(row.location.as_deref().is_some_and(|function| function.contains("udp")), "{row:?}");
    assert!(row.flows.iter().any(|flow| flow.destination == closed.to_string() && flow.count == 20), "{row:?}");
}

#[test]
fn drops_of_this_namespace_are_not_counted_by_the_watch_of_another() {
    let Some(watch) = watch(Scope::Namespace(1)) else { return };
    knock(20);
    let report = DropReport::new(None, &watch.read().expect("read"));
    assert!(report.elsewhere >= 20 && report.rows.iter().all(|row| row.namespace == Some(1)), "{report:?}");
}

#[test]
fn a_full_buffer_names_the_program_that_does_not_read() {
    let Some(watch) = watch(Scope::All) else { return };
    let lazy = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let at = lazy.local_addr().expect("bound");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    (0..4000).for_each(|_| assert_eq!(socket.send_to(&[0; 1000], at).ok(), Some(1000)));
    let mut report = DropReport::new(None, &watch.read().expect("read"));
    name_processes(&mut report);
    let row = report.rows.iter().find(|row| row.reason == "SOCKET_RCVBUFF" && row.namespace == own_namespace().ok()).expect("counted");
    let flow = row.flows.iter().find(|flow| flow.destination == at.to_string()).expect("its flow");
    assert_eq!(row.weight, Weight::Loss);
    // Before Linux 6.11 the tracepoint does not know the socket.
    if watch.layout.arguments.socket.is_some() {
        assert_eq!(flow.process.as_ref().map(|process| process.pid), Some(std::process::id()));
    }
}

#[test]
fn keys_are_read_as_the_program_writes_them() {
    assert_eq!(address(4, &[10, 0, 0, 1, 9, 9, 9, 9]), Some([10, 0, 0, 1].into()));
    assert_eq!(address(6, &[0; 15]), None);
    assert_eq!(address(0, &[0; 16]), None);
}
