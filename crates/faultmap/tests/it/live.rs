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
        assert!(read.json()["capture"]["packets"].as_u64().is_some_and(|packets| packets > 10) && read.err.is_empty(), "{}", read.err);
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
