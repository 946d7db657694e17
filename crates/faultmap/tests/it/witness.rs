//! `faultmap witness` and `faultmap check --peer` on loopback: set-up, refusals, and a witness that goes away.

use crate::{Ran, Scratch, program, run};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};

/// A running witness; gone when dropped.
struct Witness {
    child: Child,
    place: String,
}

impl Witness {
    fn start(secret_file: &str) -> Self {
        let mut command = program(&["witness", "--listen", "127.0.0.1:0", "--secret-file", secret_file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("UTF-8") > 0, "it ended");
        }
        std::thread::spawn(move || lines.lines().for_each(drop));
        let place = line.split("listening on ").nth(1).and_then(|rest| rest.split(';').next()).expect("a place").to_owned();
        Self { child, place }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fresh secret in a file that only we may read.
fn secret(scratch: &Scratch, name: &str) -> String {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = run(&["witness", "--new-secret"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    let path = scratch.path(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).expect("created");
    file.write_all(made.out.as_bytes()).expect("written");
    path
}

/// A service that takes connections and says nothing.
fn quiet_service() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let target = format!("tcp://{}", listener.local_addr().expect("bound"));
    (listener, target)
}

fn reports(ran: &Ran) -> usize {
    let report = ran.json();
    report["observations"].as_array().expect("a list").iter().filter(|seen| seen["kind"] == "peer.report").count()
}

#[test]
fn three_commands_make_a_second_vantage_point() {
    let scratch = Scratch::new();
    let secret = secret(&scratch, "secret");
    let witness = Witness::start(&secret);
    let (_listener, target) = quiet_service();
    let ran = run(&["check", &target, "--peer", &witness.place, "--secret-file", &secret, "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(reports(&ran), 1);
}

#[test]
fn without_a_secret_the_user_is_told_how_to_make_one() {
    let scratch = Scratch::new();
    let missing = scratch.path("nothing-here");
    let short = scratch.path("short");
    std::fs::write(&short, "hunter2\n").expect("written");
    for (args, says) in [
        (vec!["witness"], "--new-secret"),
        (vec!["witness", "--listen", "0.0.0.0:0"], "--new-secret"),
        (vec!["witness", "--secret-file", &missing], "--new-secret"),
        (vec!["witness", "--secret-file", &short], "shorter than"),
        (vec!["check", "tcp://127.0.0.1:1", "--peer", "127.0.0.1:7317"], "--new-secret"),
        (vec!["check", "tcp://127.0.0.1:1", "--peer", "http://x/", "--secret-file", &short], "HOST:PORT"),
        (vec!["check", "tcp://127.0.0.1:1", "--secret-file", &short], "--peer"),
    ] {
        let ran = run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}

#[test]
fn a_witness_that_is_not_to_be_had_changes_no_verdict() {
    let scratch = Scratch::new();
    let (ours, other) = (secret(&scratch, "ours"), secret(&scratch, "other"));
    let witness = Witness::start(&ours);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback").to_string();
    let (_listener, target) = quiet_service();
    for (place, secret, says) in [(&witness.place, &other, "the secret is not the same"), (&nobody, &ours, "cannot reach the witness")] {
        let ran = run(&["check", &target, "--peer", place, "--secret-file", secret, "--json"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains(says) && ran.err.contains("this end alone"), "{}", ran.err);
        assert_eq!(reports(&ran), 0);
    }
}

#[test]
fn a_witness_that_dies_in_the_middle_is_told_and_the_check_goes_on() {
    let scratch = Scratch::new();
    let secret = secret(&scratch, "secret");
    let witness = Witness::start(&secret);
    let (_listener, target) = quiet_service();
    let target = target.replace("tcp://", "http://");
    let args = ["check", &target, "--peer", &witness.place, "--secret-file", &secret, "--budget", "6s", "--json"];
    let child = program(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(std::time::Duration::from_secs(2));
    drop(witness);
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_ne!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("this end alone"), "{}", ran.err);
    assert_eq!((ran.json()["verdict"]["cause"].as_str(), reports(&ran)), (Some("l7.service-mute"), 0));
}

#[test]
fn a_terminated_witness_ends_in_order() {
    let scratch = Scratch::new();
    let mut witness = Witness::start(&secret(&scratch, "secret"));
    let pid = witness.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert_eq!(witness.child.wait().expect("ends").code(), Some(0));
}
