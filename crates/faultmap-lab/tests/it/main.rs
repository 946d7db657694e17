//! Runs every case in a child process of its own: the sandbox must be entered by a process with one thread, and a
//! case that goes wrong must not spoil the next.
//!
//! A machine that forbids user namespaces skips the cases and says why; where the variable CI is set, that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a harness reports to the terminal")]

mod fabric;

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use faultmap_lab::{LabError, Sandbox};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};

/// A test: its name is a sentence of domain knowledge.
type Case = (&'static str, fn(&Sandbox));

const FAILED: i32 = 1;
const SKIPPED: i32 = 2;
/// No case may take longer, whatever happens to its network.
const LIMIT_SECONDS: u32 = 120;

fn main() -> ExitCode {
    let cases = [fabric::CASES].concat();
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let filters = args.iter().filter(|arg| !arg.starts_with('-')).collect::<Vec<_>>();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let chosen = cases.iter().filter(|(name, _)| wanted(name)).collect::<Vec<_>>();
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, run) in &chosen {
        let word = match run_in_child(*run) {
            0 => count(&mut passed, "ok"),
            SKIPPED => count(&mut skipped, "skipped"),
            _ => count(&mut failed, "FAILED"),
        };
        println!("test {name} ... {word}");
    }
    let failed = failed + if std::env::var_os("CI").is_some() { skipped } else { 0 };
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count(counter: &mut u32, word: &'static str) -> &'static str {
    *counter += 1;
    word
}

#[allow(unsafe_code)]
fn run_in_child(run: fn(&Sandbox)) -> i32 {
    let _ = std::io::stdout().flush();
    // SAFETY: this process has one thread, so the child may run ordinary code.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            alarm::set(LIMIT_SECONDS);
            std::process::exit(enter_and_run(run))
        }
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            other => {
                eprintln!("the case ended with {other:?}");
                FAILED
            }
        },
    }
}

fn enter_and_run(run: fn(&Sandbox)) -> i32 {
    match Sandbox::enter() {
        Ok(sandbox) => match panic::catch_unwind(panic::AssertUnwindSafe(|| run(&sandbox))) {
            Ok(()) => 0,
            Err(_) => FAILED,
        },
        Err(error @ LabError::UserNamespaceForbidden { .. }) => {
            eprintln!("skipped: {error}");
            SKIPPED
        }
        Err(error) => {
            eprintln!("{error}");
            FAILED
        }
    }
}
