//! Many targets, many times, elsewhere, and against an earlier day.

use crate::{Ran, Scratch, program, run, run_with_input};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

/// A target of loopback on which nothing listens.
fn closed() -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback").port();
    format!("tcp://127.0.0.1:{port}")
}

/// A server that accepts and waits, until the test ends.
fn open() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    (format!("tcp://{}", listener.local_addr().expect("bound")), listener)
}

/// An HTTP server that answers everything.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while matches!(stream.read(&mut chunk), Ok(1..)) {
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
                    let _ = stream.write_all(head.as_bytes());
                }
            });
        }
    });
    format!("http://127.0.0.1:{port}/")
}

fn refused(args: &[&str], says: &str) {
    let ran = run(args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
    assert!(ran.err.contains(says), "{says:?} is not in {}", ran.err);
}

#[test]
fn the_worst_target_comes_first_and_gives_the_exit_code() {
    let ((good, _listener), bad, web) = (open(), closed(), web());
    let ran = run(&["check", &good, &bad, &web]);
    assert_eq!(ran.code, 14, "{}{}", ran.out, ran.err);
    let line = |text: &str| ran.out.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {}", ran.out));
    assert!(line(&bad) < line(&good) && line(&good) < line("3 targets: 1 fault, 2 healthy"), "{}", ran.out);
    assert!(ran.out.contains("FAULT at L4") && !ran.out.contains("HEALTHY"), "{}", ran.out);
    let short = run(&["check", &good, &bad, &web, "-q"]);
    assert!(short.code == 14 && !short.out.contains("because"), "{}", short.out);
}

#[test]
fn several_targets_make_one_json_object_in_the_order_given() {
    let ((good, _listener), bad) = (open(), closed());
    let ran = run(&["check", &good, &bad, "--json"]);
    assert_eq!((ran.code, ran.out.lines().count(), ran.err.as_str()), (14, 1, ""));
    let report = ran.json();
    assert_eq!(report["schema"], "faultmap.checks/1");
    assert_eq!((&report["results"][0]["target"]["input"], &report["results"][1]["target"]["input"]), (&good.into(), &bad.into()));
    assert_eq!(report["results"][1]["schema"], "faultmap.check/1");
    assert_eq!((&report["summary"]["healthy"], &report["summary"]["exit_code"]), (&1.into(), &14.into()));
}

#[test]
fn a_list_may_come_from_a_file_or_from_stdin() {
    let scratch = Scratch::new();
    let (good, _listener) = open();
    let list = format!("# ours\n\n{good}  # the first\n{good}\n{}\n", web());
    fs::write(scratch.path("list"), &list).expect("written");
    let ran = run(&["check", "--targets", &scratch.path("list"), "--json"]);
    assert_eq!((ran.code, &ran.json()["summary"]["targets"]), (0, &2.into()), "{}", ran.err);
    assert!(ran.err.contains("more than once"), "{}", ran.err);
    let piped = run_with_input(&["check", "--targets", "-", "-q"], list.as_bytes());
    assert!(piped.code == 0 && piped.out.contains("2 targets: 2 healthy"), "{}{}", piped.out, piped.err);
}

#[test]
fn what_is_wrong_with_a_list_is_told_with_file_and_line_before_the_first_packet() {
    let scratch = Scratch::new();
    let check = |name: &str, text: &[u8], says: &str| {
        fs::write(scratch.path(name), text).expect("written");
        refused(&["check", "--targets", &scratch.path(name)], says);
    };
    check("empty", b"# nothing\n\n", "no target in");
    check("bad", b"a.test\n\ntcp://host\n", "bad line 3");
    check("binary", b"a.test\n\xff\xfe\n", "binary line 2");
    check("large", &b"a.test # and so on\n".repeat(600_000), "larger than 1 MiB");
    refused(&["check", "--targets", &scratch.path("none")], "none");
    refused(&["check", "--targets", &scratch.path("")], "cannot read the targets");
    refused(&["check", "a.test", "b.test", "--baseline", "x"], "one target");
    refused(&["check", "--watch"], "no target");
    refused(&["check", "a.test", "--count", "3"], "--watch");
    refused(&["check", "a.test", "b.test", "--record", "-"], "folder");
    refused(&["check", "a.test", "b.test", "--record", "/dev/full"], "folder");
}

#[test]
fn several_recordings_go_into_a_folder_and_each_replays() {
    let scratch = Scratch::new();
    let ((good, _listener), bad) = (open(), closed());
    let folder = scratch.path("evidence");
    assert_eq!(run(&["check", &good, &bad, "-q", "--record", &folder]).code, 14);
    let mut codes: Vec<i32> = Vec::new();
    for entry in fs::read_dir(&folder).expect("folder") {
        codes.push(run(&["replay", entry.expect("entry").path().to_str().expect("UTF-8"), "-q"]).code);
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, 14]);
}

#[test]
fn fifty_healthy_targets_at_a_time_stay_healthy() {
    let listeners: Vec<_> = (0..50).map(|_| open()).collect();
    let list: String = listeners.iter().map(|(target, _)| format!("{target}\n")).collect();
    let ran = run_with_input(&["check", "--targets", "-", "--jobs", "50", "-q"], list.as_bytes());
    assert!(ran.code == 0 && ran.out.contains("50 targets: 50 healthy"), "{}{}", ran.out, ran.err);
}

#[test]
fn few_file_descriptors_make_fewer_checks_at_a_time_and_no_fault() {
    let listeners: Vec<_> = (0..8).map(|_| open()).collect();
    let targets: Vec<&str> = listeners.iter().map(|(target, _)| target.as_str()).collect();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 200; exec \"$0\" check -q \"$@\"", env!("CARGO_BIN_EXE_faultmap")]).args(targets);
    let ran = Ran::of(shell.stdin(Stdio::null()).output().expect("sh"));
    assert!(ran.code == 0 && ran.err.contains("ulimit -n"), "{}{}", ran.out, ran.err);
}

#[test]
fn a_watch_shows_each_round_and_ends_with_the_last_verdict() {
    let ((good, _listener), bad) = (open(), closed());
    let ran = run(&["check", &bad, "--watch", "10ms", "--count", "3"]);
    assert_eq!(ran.code, 14, "{}", ran.err);
    assert_eq!(ran.out.lines().filter(|line| line.contains("l4.port-closed")).count(), 3, "{}", ran.out);
    assert!(ran.out.contains("3 rounds in") && ran.out.contains("0.0 % up, 0 changes"), "{}", ran.out);
    let until = run(&["check", "--watch", &good, "--until", "healthy", "-q"]);
    assert_eq!(until.code, 0, "{}{}", until.out, until.err);
}

#[test]
fn a_watch_in_json_is_one_object_a_line() {
    let scratch = Scratch::new();
    let bad = closed();
    let ran = run(&["check", &bad, &web(), "--watch=10ms", "--count", "2", "--json", "--record", &scratch.path("kept")]);
    assert_eq!(ran.code, 14, "{}", ran.err);
    let lines: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["schema"] == "faultmap.check/1" && line["at_unix_ms"].is_i64() && line["changed"] == false));
    assert_eq!((&lines[0]["round"], &lines[3]["round"]), (&1.into(), &2.into()));
    assert_eq!(fs::read_dir(scratch.path("kept")).expect("folder").count(), 2, "the first round, and no change");
}

#[test]
fn a_watch_tells_a_change_with_what_was_before() {
    let (target, listener) = open();
    let mut child = program(&["check", &target, "--watch", "20ms", "--until", "fault"]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    assert!(lines.by_ref().any(|line| line.contains("healthy")));
    drop(listener);
    let rest: String = lines.map(|line| line + "\n").collect();
    assert_eq!(child.wait().expect("ends").code(), Some(14));
    assert!(rest.contains("healthy → fault l4.port-closed after"), "{rest}");
}

#[test]
fn a_watch_ends_when_nobody_reads_it_any_more() {
    let (target, _listener) = open();
    let mut child = program(&["check", &target, "--watch", "10ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

#[test]
fn a_check_says_what_changed_since_its_baseline_and_a_repeat_that_nothing_did() {
    let scratch = Scratch::new();
    let (target, listener) = open();
    let file = scratch.path("good.jsonl");
    assert_eq!(run(&["check", &target, "-q", "--record", &file]).code, 0);
    let same = run(&["check", &target, "--baseline", &file]);
    assert!(same.code == 0 && same.out.contains("compared with") && same.out.contains("Nothing changed."), "{}{}", same.out, same.err);
    drop(listener);
    let later = scratch.path("bad.jsonl");
    let worse = run(&["check", &target, "--baseline", &file, "--json", "--record", &later]);
    assert_eq!((worse.code, &worse.json()["changes"][0]["what"]), (14, &"verdict".into()), "{}", worse.err);
    assert_eq!(run(&["replay", &later, "--json"]).out, worse.out, "a baseline is part of the recording");
    refused(&["check", &closed(), "--baseline", &file], "not of");

    let compared = run(&["compare", &file, &later]);
    assert!(compared.code == 3 && compared.out.contains("The verdict was healthy, is fault (l4.port-closed)."), "{}", compared.out);
    let compared = run(&["compare", &file, &file, "--json"]);
    assert_eq!((compared.code, &compared.json()["same"], &compared.json()["schema"]), (0, &true.into(), &"faultmap.compare/1".into()));
    refused(&["compare", "-", "-"], "stdin");
}

#[test]
fn a_place_that_does_not_exist_is_told() {
    refused(&["check", "a.test", "--from-netns", "no-such-netns"], "no network namespace \"no-such-netns\"");
    refused(&["check", "a.test", "--from-netns", "/etc/hostname"], "/etc/hostname");
    refused(&["check", "a.test", "--pid", "2147483647"], "no process 2147483647");
    refused(&["check", "a.test", "--pid", "1", "--from-netns", "x"], "--from-netns");
}
