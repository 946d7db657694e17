//! `check --capture`: the packets of the check in a file, and cited as evidence.

use crate::{Scratch, program, run};
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

/// A check of a scenario of the lab, as the root of its client (no root is needed outside), with its packets; and what a replay says.
fn in_lab(name: &str, check: &str) -> serde_json::Value {
    let scratch = Scratch::new();
    let (file, record) = (scratch.path("check.pcapng"), scratch.path("check.jsonl"));
    let out = scratch.path("out");
    let script = format!("$FM check {check} --json --capture {file} --record {record} > {out}; $FM replay {record} --json > {out}.again");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let ran = program(&["lab", "up", name, "--", "sh", "-c", &script])
        .env("PATH", path)
        .env("FM", env!("CARGO_BIN_EXE_faultmap"))
        .output()
        .expect("the program starts");
    let ran = crate::Ran::of(ran);
    let text = std::fs::read_to_string(&out).expect("a report");
    assert_eq!(text, std::fs::read_to_string(format!("{out}.again")).expect("a replay"), "a replay says the same, byte for byte");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", ran.err))
}

/// The finding of a rule among the packets, if it is there.
fn finding<'a>(report: &'a serde_json::Value, rule: &str) -> Option<&'a serde_json::Value> {
    recorded(report)?["findings"].as_array()?.iter().find(|finding| finding["rule"] == rule)
}

#[test]
fn packets_show_what_the_check_asked_for_and_not_what_it_provoked() {
    let report = in_lab("http-truncated", "http://server.lab/");
    let cut = finding(&report, "http.truncated-body").expect("the packets show it");
    let exchange =
        report["observations"].as_array().expect("observations").iter().find(|seen| seen["kind"] == "http.exchange").expect("asked");
    assert!(cut["about"].as_array().expect("ids").contains(&exchange["id"]), "{cut}");
    assert!(
        report["verdict"]["because"].as_array().expect("ids").contains(&recorded(&report).expect("packets")["id"])
            || cut["cause"] != report["verdict"]["cause"]
    );
    assert_eq!(finding(&report, "tcp.syn-refused"), None, "control ports are refused on purpose");
}

#[test]
fn an_answer_that_this_hosts_firewall_drops_is_seen_on_its_link() {
    let report = in_lab("local-input-drop", "tcp://server.lab:443");
    let dropped = finding(&report, "host.answer-not-delivered").expect("the SYN-ACKs are in the file");
    assert_eq!((dropped["weight"].as_str(), dropped["where"].as_str()), (Some("fault"), Some("local")));
    assert_eq!(report["verdict"]["cause"], "l4.local-firewall", "{}", report["verdict"]);
}
