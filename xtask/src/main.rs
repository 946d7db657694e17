//! Checks and chores of the workspace: `cargo xtask ci` is the whole CI, the other commands write generated documents.
//! It builds and runs what is in the repository; it never downloads a tool and never commits.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod causes_doc;
mod ci;
mod lab;
mod shell;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
Checks and chores of the faultmap workspace.

Usage: cargo xtask COMMAND

  ci [--only STEP]... [--skip STEP]...   run every check; a failure does not stop the others
  ci --list                              name the steps
  accuracy [--dev]                       run every lab scenario and rewrite docs/accuracy.md (release build unless --dev)
  causes-doc [--check]                   rewrite docs/causes.md from `faultmap causes`, or fail if it is stale
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False when a check failed, an error when the check itself could not be made.
fn run(args: &[&str]) -> Result<bool> {
    std::env::set_current_dir(workspace::root()?)?;
    match args {
        ["ci", "--list"] => {
            ci::list();
            Ok(true)
        }
        ["ci", options @ ..] => ci::run(&ci::Choice::parse(options)?),
        ["accuracy"] => lab::write_accuracy(lab::Profile::Release).map(|()| true),
        ["accuracy", "--dev"] => lab::write_accuracy(lab::Profile::Dev).map(|()| true),
        ["causes-doc"] => causes_doc::write().map(|()| true),
        ["causes-doc", "--check"] => causes_doc::check().map(|()| true),
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{USAGE}");
            Ok(true)
        }
        other => bail!("unknown command {:?}\n\n{USAGE}", other.join(" ")),
    }
}
