//! A kill at any instant: no process of ours lives on (and with the last one its namespaces end), and no half of a file stays behind.

use super::{Scratch, program};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What marks the processes of one run, through every fork of it.
const MARK: &str = "FAULTMAP_TEST_MARK";
/// Death signals of parents travel down a short chain of processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the program, kills it after so long, and looks at what is left.
fn check(args: &[&str], folder: &Path, killed_after_ms: u64) {
    let mark = format!("{}-{killed_after_ms}", folder.display());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut child =
        program(args).env(MARK, &mark).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(killed_after_ms));
    let _ = child.kill();
    let status = child.wait().expect("reaped");
    assert!(status.signal() == Some(9) || status.code().is_some(), "{status}");
    let started = Instant::now();
    while !alive(&mark).is_empty() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(alive(&mark), Vec::<String>::new(), "alive after the kill at {killed_after_ms} ms");
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let text = fs::read_to_string(entry.path()).expect("readable");
        assert!(text.ends_with('\n'), "{} is not whole", entry.path().display());
    }
}

/// The processes of a run that still live.
fn alive(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let ours = processes.filter(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        !zombie && environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
    });
    ours.map(|process| process.display().to_string()).collect()
}

#[test]
fn a_killed_lab_leaves_no_process_and_no_half_of_a_file() {
    // While it starts, builds its network, checks, writes.
    for killed_after_ms in [5, 40, 90, 160, 280, 500, 900] {
        let scratch = Scratch::new();
        let folder = scratch.0.display().to_string();
        let report = format!("{folder}/report.md");
        check(
            &["lab", "run", "http-500", "port-closed", "--jobs", "2", "--record", &folder, "--report", &report],
            &scratch.0,
            killed_after_ms,
        );
    }
}

#[test]
fn a_killed_check_leaves_no_half_of_a_file() {
    for killed_after_ms in [2, 10, 30, 120] {
        let scratch = Scratch::new();
        let file = format!("{}/seen.jsonl", scratch.0.display());
        check(&["check", "tcp://127.0.0.1:9", "--record", &file], &scratch.0, killed_after_ms);
    }
}
