//! `capture -i`: packets of an interface, where this process may have them; else the reason why not.

use crate::{Scratch, program, run};
use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs the program with these arguments while datagrams pass the loopback.
fn run_with_traffic(args: &[&str]) -> crate::Ran {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (from, to) = (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
            while !over.load(Ordering::Relaxed) {
                from.send_to(b"are you there", to.local_addr().expect("an address")).expect("sent");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let ran = program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("the program starts");
        over.store(true, Ordering::Relaxed);
        crate::Ran::of(ran)
    })
}

fn not_allowed(ran: &crate::Ran) -> bool {
    let refused = ran.err.contains("CAP_NET_RAW");
    assert!(!refused || (ran.code == 2 && ran.out.is_empty()), "{}{}", ran.out, ran.err);
    refused
}

#[test]
fn a_live_capture_ends_by_count_and_keeps_what_it_saw() {
    let scratch = Scratch::new();
    let file = scratch.path("live.pcapng");
    let ran = run_with_traffic(&["capture", "-i", "lo", "--bpf", "udp", "--count", "20", "--json", "--write", &file]);
    if not_allowed(&ran) {
        return;
    }
    assert_eq!(ran.json()["capture"]["packets"], 20, "{}", ran.err);
    let again = run(&["capture", &file, "--json"]).json();
    assert_eq!(again["capture"]["packets"], 20);
    assert_eq!(again["capture"]["bytes"], ran.json()["capture"]["bytes"]);
}

#[test]
fn a_ring_keeps_no_more_files_than_it_was_told() {
    let scratch = Scratch::new();
    let folder = scratch.path("ring");
    let ran = run_with_traffic(&[
        "capture", "-i", "lo", "--bpf", "udp", "--count", "600", "--quiet", "--ring", &folder, "--files", "2", "--size", "10k",
    ]);
    if not_allowed(&ran) {
        return;
    }
    let mut files: Vec<String> =
        std::fs::read_dir(&folder).expect("a folder").map(|f| f.expect("a file").path().display().to_string()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in &files {
        let read = run(&["capture", file, "--json"]);
        assert!(read.json()["capture"]["packets"].as_u64().is_some_and(|packets| packets > 0) && read.err.is_empty(), "{}", read.err);
    }
}

#[test]
fn what_cannot_be_captured_is_told_before_anything_is_written() {
    let scratch = Scratch::new();
    let file = scratch.path("none.pcapng");
    for (args, says) in [
        (&["-i", "nosuch0"][..], "there is no interface nosuch0"),
        (&["-i", "lo", "--bpf", "port banana"], "banana"),
        (&["-i", "lo", "x.pcap"], "cannot be used with"),
        (&["--ring", "x"], "required"),
        (&["-i", "lo", "--ring", "/proc/nowhere"], "/proc/nowhere"),
    ] {
        let ran = run(&[&["capture"][..], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?} {}", ran.err);
        assert!(ran.err.contains(says) || ran.err.contains("CAP_NET_RAW"), "{args:?}: {}", ran.err);
    }
    assert!(!std::path::Path::new(&file).exists());
}

/// Runs a script on the client of a scenario's network, as its root: no root is needed outside. `$FM` is the program.
fn in_lab(name: &[&str], script: &str) -> crate::Ran {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let args = [&["lab", "up"][..], name, &["--", "sh", "-c", script]].concat();
    let ran = program(&args).env("PATH", path).env("FM", env!("CARGO_BIN_EXE_faultmap")).output().expect("the program starts");
    let ran = crate::Ran::of(ran);
    assert!(!ran.err.contains("CAP_NET_RAW"), "root of the lab may capture: {}", ran.err);
    ran
}

/// The JSON lines that a script left in a file.
fn lines(file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).expect("written");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_refused_syn_is_told_when_it_happens_and_the_report_at_the_end() {
    let scratch = Scratch::new();
    let file = scratch.path("lines");
    let script = format!(
        "$FM capture -i any --json-lines > {file} & P=$!; sleep 1; $FM check tcp://server.lab:443 --quiet; sleep 1; cp {file} {file}.early; kill -TERM $P; wait $P; echo ended $?"
    );
    let ran = in_lab(&["port-closed"], &script);
    assert!(ran.out.contains("ended 14"), "SIGTERM ends it with the verdict: {}{}", ran.out, ran.err);
    let early = lines(&format!("{file}.early"));
    let refused = early.iter().find(|line| line["rule"] == "tcp.syn-refused").expect("told before the end");
    assert_eq!((refused["schema"].as_str(), refused["cause"].as_str()), (Some("faultmap.capture.finding/1"), Some("l4.port-closed")));
    assert!(refused["server"].as_str().is_some_and(|server| server.ends_with(":443")), "{refused}");
    let all = lines(&file);
    let (report, findings) = all.split_last().expect("lines");
    assert_eq!((report["schema"].as_str(), report["verdict"]["cause"].as_str()), (Some("faultmap.capture/1"), Some("l4.port-closed")));
    let mut seen = std::collections::BTreeSet::new();
    for line in findings {
        assert!(seen.insert((line["rule"].to_string(), line["flow"].to_string(), line["blames"].to_string())), "told twice: {line}");
    }
}

#[test]
fn arp_without_an_answer_is_told_although_nothing_passes_any_more() {
    let scratch = Scratch::new();
    let file = scratch.path("lines");
    // Three requests, a second apart; then the interface is silent but for what the check itself asks.
    let script = format!(
        "$FM capture -i any --bpf arp --json-lines > {file} & P=$!; sleep 1; $FM check tcp://server.lab:443 --budget 3s --quiet; sleep 2; cp {file} {file}.early; kill -INT $P; wait $P"
    );
    let ran = in_lab(&["neighbour-silent"], &script);
    let early = lines(&format!("{file}.early"));
    assert!(early.iter().any(|line| line["rule"] == "arp.unanswered" && line["layer"] == "L2"), "{early:?}{}", ran.err);
}

#[test]
fn a_display_filter_narrows_what_is_told_and_what_is_kept() {
    let scratch = Scratch::new();
    let (file, out) = (scratch.path("kept.pcapng"), scratch.path("out"));
    let script = format!(
        "$FM capture -i any --filter 'tcp.port == 443' --write {file} --json > {out} & P=$!; sleep 1; $FM check tcp://server.lab:443 --quiet; $FM check tcp://server.lab:80 --quiet; sleep 1; kill -INT $P; wait $P"
    );
    let ran = in_lab(&["port-closed"], &script);
    let report = &lines(&out)[0];
    assert_eq!(report["verdict"]["cause"], "l4.port-closed", "{}", ran.err);
    assert!(report["capture"]["notes"][0].as_str().is_some_and(|note| note.contains("matches the filter")), "{report}");
    let kept = run(&["capture", &file, "--flows", "--json"]);
    assert!(!kept.out.is_empty());
    for flow in kept.out.lines() {
        let flow: serde_json::Value = serde_json::from_str(flow).expect("a flow");
        assert!(flow["server"].as_str().is_some_and(|server| server.ends_with(":443")), "{flow}");
    }
}

#[test]
fn a_filter_that_cannot_be_decided_while_packets_pass_says_what_can() {
    let ran = run(&["capture", "-i", "lo", "--filter", "tcp.flags.syn == 1 && layer == L4"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("--bpf") && ran.err.contains("--write"), "{}", ran.err);
    let ran = run(&["capture", "x.pcap", "--json-lines"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn no_packet_falls_between_two_files_of_a_ring() {
    let scratch = Scratch::new();
    let (folder, out) = (scratch.path("ring"), scratch.path("out"));
    let script = format!(
        "$FM capture -i any --ring {folder} --files 1000 --size 10k --json > {out} & P=$!; sleep 1; for n in 1 2 3; do $FM check http://server.lab/ --quiet; done; sleep 1; kill -TERM $P; wait $P"
    );
    let ran = in_lab(&["port-closed"], &script);
    let report = &lines(&out)[0];
    let files: Vec<String> =
        std::fs::read_dir(&folder).expect("a folder").map(|f| f.expect("a file").path().display().to_string()).collect();
    assert!(files.len() > 1, "{files:?}{}", ran.err);
    let counted: u64 = files.iter().filter_map(|file| run(&["capture", file, "--json"]).json()["capture"]["packets"].as_u64()).sum();
    assert_eq!(report["capture"]["packets"].as_u64(), Some(counted));
}
