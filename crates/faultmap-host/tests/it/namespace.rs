//! Runs one test inside a fresh user and network namespace, by running this test binary again under `unshare`.

use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: &str = "FAULTMAP_HOST_TEST_INSIDE";

/// Runs `body` in a namespace of its own. `test` is the full name of the calling test, which is run again inside.
/// Where the machine forbids namespaces the test is skipped and says why; with `CI` set that is a failure.
pub(crate) fn inside(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        body();
        return;
    }
    let allowed = Command::new("unshare").args(["-Urn", "ip", "link"]).output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no rootless namespaces here: {allowed:?}");
        eprintln!("skipped {test}: no rootless namespaces here (unshare -Urn): {allowed:?}");
        return;
    }
    let binary = std::env::current_exe().expect("this test's own path");
    let output = Command::new("unshare")
        .arg("-Urn")
        .arg(binary)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{test} names no test: {said}");
}

/// `ip ARGUMENTS`, which must succeed.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An interface `eth0` (10.9.0.2/24, fd09::2/64) whose cable ends at `peer`, which nobody listens behind.
pub(crate) fn cable() {
    ip("link add eth0 type veth peer name peer");
    ip("addr add 10.9.0.2/24 dev eth0");
    ip("addr add fd09::2/64 dev eth0 nodad");
    ip("link set eth0 up");
    ip("link set peer up");
}

/// Looks again until `ready` or five seconds are over; the state of the kernel's own timers is waited for, not timed.
pub(crate) fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !ready() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
