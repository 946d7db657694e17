//! `faultmap check` against loopback: verdicts, exit codes, secrets, files, pipes.

use crate::{Ran, Scratch, program, run};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A port of loopback on which nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback").port()
}

/// A plain HTTP server on loopback that sends the request back as its body. Gives its port and every request's text.
fn echoing_server() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let (heard, requests) = channel();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &heard)));
    (port, requests)
}

fn serve(mut stream: TcpStream, heard: &Sender<String>) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(len @ 1..) => request.extend_from_slice(&chunk[..len]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nX-Backend: {}\r\n",
        request.lines().last().unwrap_or("")
    );
    let _ = stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{request}", request.len()).as_bytes());
    let _ = heard.send(request);
}

fn failed_by_us(ran: &Ran, says: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains(says), "{says:?} is not in {}", ran.err);
}

#[test]
fn a_closed_port_is_a_fault_of_the_transport_layer() {
    let target = format!("tcp://127.0.0.1:{}", closed_port());
    let ran = run(&["check", &target, "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (14, ""));
    assert_eq!(ran.out.lines().count(), 1, "one object on one line");
    let report = ran.json();
    assert_eq!(report["schema"], "faultmap.check/1");
    assert_eq!((&report["verdict"]["layer"], &report["verdict"]["cause"]), (&"L4".into(), &"l4.port-closed".into()));
    assert_eq!(report["layers"].as_array().map(Vec::len), Some(7));
    assert_eq!(report["layers"][0]["layer"], "L1");
}

#[test]
fn a_working_server_is_healthy_and_its_report_is_short() {
    let (port, _requests) = echoing_server();
    let ran = run(&["check", &format!("http://127.0.0.1:{port}/")]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("HEALTHY") && ran.out.contains("L7 Application") && ran.out.contains("TCP"), "{}", ran.out);
    for absent in ["because", "next", "fix", "ruled out", "seen"] {
        assert!(!ran.out.lines().any(|line| line.starts_with(absent)), "{absent}: {}", ran.out);
    }
    assert!(ran.out.lines().count() < 25, "{}", ran.out);
}

#[test]
fn the_tower_stands_on_the_physical_layer_and_folds_into_four() {
    let target = format!("127.0.0.1:{}", closed_port());
    let order = |out: &str, names: &[&str]| {
        let rows: Vec<usize> =
            names.iter().map(|name| out.lines().position(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {out}"))).collect();
        assert!(rows.is_sorted(), "{out}");
    };
    order(
        &run(&["check", &target]).out,
        &["FAULT at L4", "L7 App", "L6 Pre", "L5 Ses", "L4 Transport  ", "L3 Net", "L2 Data", "L1 Phy", "because", "next", "fix"],
    );
    order(&run(&["check", &target, "--tcpip"]).out, &["Application L5-L7", "Transport   L4", "Internet    L3", "Link        L1-L2"]);
}

#[test]
fn a_quiet_report_is_one_line() {
    let target = format!("127.0.0.1:{}", closed_port());
    let ran = run(&["check", &target, "-q"]);
    let words: Vec<&str> = ran.out.split(' ').take(4).collect();
    assert_eq!((words.as_slice(), ran.out.lines().count()), (["fault", "L4", "l4.port-closed", target.as_str()].as_slice(), 1));
}

#[test]
fn a_verbose_report_lists_every_observation() {
    let target = format!("127.0.0.1:{}", closed_port());
    let ran = run(&["check", &target, "-v"]);
    for kind in ["route", "tcp.connect", "link", "host.tables"] {
        assert!(ran.out.contains(&format!(" {kind} ")), "{kind}: {}", ran.out);
    }
}

#[test]
fn no_report_is_wider_than_the_terminal_except_for_commands() {
    let target = format!("127.0.0.1:{}", closed_port());
    for columns in ["60", "80", "132"] {
        let output = program(&["check", &target, "-v"]).env("COLUMNS", columns).output().expect("runs");
        let ran = Ran::of(output);
        let widest: usize = columns.parse().expect("a number");
        let command = |line: &str| line.trim_start().split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        for line in ran.out.lines().filter(|line| !command(line)) {
            assert!(line.chars().count() <= widest, "{columns}: {line}");
        }
    }
}

#[test]
fn without_utf8_everything_is_ascii() {
    let target = format!("127.0.0.1:{}", closed_port());
    for (name, value) in [("LC_ALL", "C"), ("LC_ALL", "POSIX"), ("LANG", "en_US.ISO-8859-1")] {
        let output = program(&["check", &target, "-v"]).env_remove("LC_ALL").env(name, value).output().expect("runs");
        assert!(Ran::of(output).out.is_ascii(), "{name}={value}");
    }
}

#[test]
fn pipes_get_no_escape_sequence_unless_asked_for() {
    let target = format!("127.0.0.1:{}", closed_port());
    let escapes = |args: &[&str], variables: &[(&str, &str)]| {
        let output = program(&[&["check", &target][..], args].concat()).envs(variables.iter().copied()).output().expect("runs");
        let ran = Ran::of(output);
        assert!(!ran.err.contains('\x1b'), "{}", ran.err);
        ran.out.contains('\x1b')
    };
    assert!(!escapes(&[], &[]));
    assert!(!escapes(&["-v"], &[("NO_COLOR", "1"), ("TERM", "xterm-256color")]));
    assert!(!escapes(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(escapes(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(escapes(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!escapes(&["--json"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_replay_says_what_the_check_said_byte_for_byte() {
    let scratch = Scratch::new();
    let (port, _requests) = echoing_server();
    for target in [format!("http://127.0.0.1:{port}/?token=t0psecret"), format!("127.0.0.1:{}", closed_port())] {
        let file = scratch.path("evidence.jsonl");
        let checked = run(&["check", &target, "--json", "--record", &file]);
        for replayed in [run(&["replay", &file, "--json"]), run(&["replay", &file, "--json"])] {
            assert_eq!((replayed.code, &replayed.out), (checked.code, &checked.out), "{target}");
        }
    }
    assert_eq!(scratch.files(), ["evidence.jsonl"], "nothing is left beside the recording");
}

#[test]
fn a_recording_can_go_to_stdout_with_the_report_on_stderr() {
    let target = format!("127.0.0.1:{}", closed_port());
    let ran = run(&["check", &target, "--record", "-"]);
    assert_eq!(ran.code, 14);
    assert!(ran.out.starts_with("{\"schema\":\"faultmap.recording/1\"") && ran.err.contains("FAULT at L4"), "{}{}", ran.out, ran.err);
    failed_by_us(&run(&["check", &target, "--record", "-", "--json"]), "--record");
}

#[test]
fn a_recording_that_cannot_be_written_is_told_before_the_check() {
    let scratch = Scratch::new();
    let target = format!("127.0.0.1:{}", closed_port());
    failed_by_us(&run(&["check", &target, "--record", &scratch.path("missing/evidence.jsonl")]), "missing");
    failed_by_us(&run(&["check", &target, "--record", &scratch.path("")]), "folder");
    assert!(scratch.files().is_empty());
}

#[test]
fn a_full_disk_costs_the_recording_but_not_the_verdict() {
    let target = format!("127.0.0.1:{}", closed_port());
    let ran = run(&["check", &target, "--record", "/dev/full"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("l4.port-closed") && ran.err.contains("/dev/full"), "{}{}", ran.out, ran.err);
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = program(&["check", &target]).stdout(full).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stdout"));
}

#[test]
fn a_device_is_written_to_and_never_replaced() {
    let target = format!("127.0.0.1:{}", closed_port());
    assert_eq!(run(&["check", &target, "-q", "--record", "/dev/null"]).code, 14);
    assert!(!fs::metadata("/dev/null").expect("/dev/null").is_file());
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let target = format!("127.0.0.1:{}", closed_port());
    let mut child = program(&["check", &target, "-v"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!((ran.code, ran.err.as_str()), (14, ""));
}

#[test]
fn a_process_without_file_descriptors_still_gets_a_verdict() {
    for (limit, target) in [("4", "https://127.0.0.1/"), ("6", "nosuch.invalid:80"), ("8", "tcp://127.0.0.1:1"), ("8", "udp://[::1]:9")] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n \"$1\"; exec \"$0\" check \"$2\" --json", env!("CARGO_BIN_EXE_faultmap"), limit, target]);
        let ran = Ran::of(shell.stdin(Stdio::null()).output().expect("sh"));
        assert_eq!((ran.code, &ran.json()["verdict"]["cause"]), (14, &"l4.fd-exhausted".into()), "{limit} {target}: {}", ran.err);
    }
}

#[test]
fn credentials_reach_the_server_and_nobody_else() {
    const SECRETS: [&str; 5] = ["pa55word", "pa%35", "bWU6cGE1NXdvcmRA", "t0psecret", "c00kie-value"];
    let scratch = Scratch::new();
    let (port, requests) = echoing_server();
    let target = format!("http://me:pa%355word%40@127.0.0.1:{port}/?token=t0psecret&page=2");
    for shown in [&["--json"][..], &["-v"], &["-q"], &["--tcpip", "--color", "always"]] {
        let file = scratch.path("evidence.jsonl");
        let common = ["check", &target, "--record", &file, "--header", "Cookie: sid=c00kie-value", "--samples", "2"];
        let ran = run(&[&common[..], shown].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let request = requests.recv().expect("a request came");
        assert!(request.contains("uthorization: Basic bWU6cGE1NXdvcmRA") && request.contains("token=t0psecret"), "{request}");
        let recorded = fs::read_to_string(&file).expect("recording");
        for (place, text) in [("stdout", &ran.out), ("stderr", &ran.err), ("recording", &recorded)] {
            for secret in SECRETS {
                assert!(!text.contains(secret), "{secret} is in {place} of {shown:?}: {text}");
            }
        }
    }
}

#[test]
fn an_own_authorization_header_wins_over_the_targets_credentials() {
    let (port, requests) = echoing_server();
    let target = format!("http://me:pa55word@127.0.0.1:{port}/");
    run(&["check", &target, "-q", "--header", "authorization: Bearer mine"]);
    let request = requests.recv().expect("a request came");
    assert!(request.contains("Bearer mine") && !request.contains("Basic"), "{request}");
}

#[test]
fn a_body_makes_it_a_post_and_may_come_from_a_file() {
    let scratch = Scratch::new();
    let (port, requests) = echoing_server();
    let target = format!("http://127.0.0.1:{port}/");
    run(&["check", &target, "-q", "--data", "hello"]);
    assert!(requests.recv().expect("a request").starts_with("POST / "));
    fs::write(scratch.path("body"), "from a file").expect("written");
    run(&["check", &target, "-q", "--method", "PUT", "--data", &format!("@{}", scratch.path("body"))]);
    let request = requests.recv().expect("a request");
    assert!(request.starts_with("PUT / ") && request.contains("ontent-length: 11"), "{request}");
    failed_by_us(&run(&["check", &target, "--data", &format!("@{}", scratch.path("none"))]), "none");
}

#[test]
fn mistakes_are_told_on_stderr_without_quoting_secrets() {
    let check = |args: &[&str], says: &str| {
        let ran = run(args);
        failed_by_us(&ran, says);
        assert!(!ran.err.contains("s3cret"), "{args:?}: {}", ran.err);
    };
    check(&["check"], "TARGET");
    check(&["check", ""], "empty");
    check(&["check", "gopher://x"], "unknown scheme");
    check(&["check", "tcp://host"], "needs a port");
    check(&["check", "tcp://me:s3cret@host"], "needs a port");
    check(&["check", "https://me:s3cret/x@host/"], "%XX");
    check(&["check", "https://me:s3cret x@ho st/"], "not a target");
    check(&["check", "--header", "Authorization:", "Bearer", "s3cret", "x"], "quote");
    check(&["check", "x", "--data", "one", "s3cret"], "quote");
    check(&["https://me:s3cret@b.test/"], "faultmap check TARGET");
    check(&["check", "x", "--header", "Authorization:", "Bearer", "s3cret"], "quote");
    check(&["check", "x", "--header", "Authorization s3cret"], "1. --header");
    check(&["check", "x", "--header", "A: b", "--header", "Bearer s3cret: x"], "2. --header");
    check(&["check", "x", "--headr=A: s3cret"], "--header");
    check(&["check", "x", "--budget", "soon"], "--budget");
    check(&["check", "x", "--budget", "0"], "between");
    check(&["check", "x", "--method", "G T"], "method");
    check(&["check", "x", "--samples", "0"], "--samples");
    check(&["check", "x", "--expect-status", "99"], "--expect-status");
    check(&["check", "x", "-4", "-6"], "--ipv6");
    check(&["check", "x", "-q", "--json"], "--json");
    check(&["check", "https://127.0.0.1:1/", "--ca", "/no/such.pem"], "/no/such.pem");
    check(&["chekc", "x"], "check");
    check(&["--color", "pink", "causes"], "pink");
}
