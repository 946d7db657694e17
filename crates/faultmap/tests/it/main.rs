//! The program as scripts see it: arguments in; exit code, stdout and stderr out.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod capture;
mod check;
mod documented;
mod host;
mod killed;
mod live;
mod many;
mod packets;
mod recordings;
mod witness;
mod words;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// How a run of the program ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code().expect("not ended by a signal"), out: text(output.stdout), err: text(output.stderr) }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// The program with these arguments, in a plain environment.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faultmap"));
    command.args(args).env_clear().env("LC_ALL", "C.UTF-8").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Ran {
    Ran::of(program(args).output().expect("the program starts"))
}

fn run_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut child = program(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut pipe = child.stdin.take().expect("piped");
    // The program may end before it has read everything.
    let _ = pipe.write_all(input);
    drop(pipe);
    Ran::of(child.wait_with_output().expect("ends"))
}

/// A folder of one test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("faultmap-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("scratch folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("folder");
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
