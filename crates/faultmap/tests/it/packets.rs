//! `check --capture`: the packets of the check in a file, and cited as evidence.

use crate::{Scratch, run};
use std::net::TcpListener;

/// Whether this process may open packet sockets; the file of the check tells what the program made of it.
fn recorded(report: &serde_json::Value) -> Option<&serde_json::Value> {
    let observations = report["observations"].as_array().expect("observations");
    let missing =
        observations.iter().any(|seen| seen["kind"] == "not-asked" && seen["question"] == "packets" && seen["missing"] == "CAP_NET_RAW");
    let packets = observations.iter().find(|seen| seen["kind"] == "packets");
    assert!(missing != packets.is_some(), "either the packets or the reason why not: {report}");
    packets
}

#[test]
fn every_connect_cites_its_own_packets() {
    let scratch = Scratch::new();
    let file = scratch.path("check.pcapng");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let ran = run(&["check", &format!("tcp://127.0.0.1:{port}"), "--json", "--capture", &file]);
    let report = ran.json();
    let Some(packets) = recorded(&report) else {
        assert!(ran.err.contains("CAP_NET_RAW") && !std::path::Path::new(&file).exists(), "{}", ran.err);
        return;
    };
    let connect =
        report["observations"].as_array().expect("observations").iter().find(|seen| seen["kind"] == "tcp.connect").expect("a connect");
    let cited = packets["of"].as_array().expect("rows").iter().find(|of| of["observation"] == connect["id"]).expect("cited");
    assert!(cited["count"].as_u64().is_some_and(|count| count >= 3), "SYN, SYN-ACK and ACK: {cited}");
    let section = std::fs::read(&file).expect("the file");
    assert_eq!(section.get(..4), Some(&[0x0a, 0x0d, 0x0d, 0x0a][..]), "a pcapng section");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_check() {
    for file in ["/proc/nowhere/check.pcapng", "/tmp", "-"] {
        let ran = run(&["check", "tcp://127.0.0.1:9", "--json", "--capture", file]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{file}: {}", ran.err);
        assert!(ran.err.contains("--capture"), "{file}: {}", ran.err);
    }
}

#[test]
fn packets_of_several_checks_in_one_file_are_refused() {
    let ran = run(&["check", "a.invalid", "b.invalid", "--capture", "x.pcapng"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--capture records the packets of one check"), "{}", ran.err);
}
