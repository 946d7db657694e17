//! One file for each command: arguments in, exit code out. This file only chooses, and delivers reports.

pub(crate) mod capture;
mod causes;
mod check;
pub(crate) mod clock;
mod compare;
mod completions;
mod credentials;
mod crew;
mod explain;
mod file;
mod host;
mod keylog;
pub(crate) mod lab;
mod man;
mod many;
mod packets;
mod place;
mod replay;
mod secret;
mod signals;
mod targets;
mod watch;
mod witness;

use crate::cli::{Cli, Command, EXIT_FAILED, Shown};
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::Context as _;
use faultmap_model::Report;

/// Does what the command line asks; the result is the exit code.
pub(crate) fn run(cli: Cli) -> i32 {
    let choice = terminal::choice(cli.color);
    // The lab runs many threads and hears of their panics by itself.
    if !matches!(cli.command, Command::Lab(_)) {
        terminal::fail_in_order();
    }
    let done = match cli.command {
        Command::Check(args) => check::run(&args, choice),
        Command::Replay(args) => replay::run(&args, choice),
        Command::Host(args) => host::run(&args, choice),
        Command::Witness(args) => witness::run(&args),
        Command::Compare(args) => compare::run(&args, choice),
        Command::Capture(args) => capture::run(&args, choice),
        Command::Explain(args) => explain::run(&args, choice),
        Command::Causes(args) => causes::run(&args, choice),
        Command::Lab(args) => lab::run(args, choice),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    done.unwrap_or_else(|error| {
        terminal::complain(&error);
        EXIT_FAILED
    })
}

/// Where a report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Stdout,
    /// stdout holds the recording.
    Stderr,
}

/// Prints a report as the user wants it.
fn deliver(report: &Report, shown: Shown, way: Way, choice: Choice) -> anyhow::Result<()> {
    if shown.json {
        let mut line = serde_json::to_vec(report).context("cannot write the report as JSON")?;
        line.push(b'\n');
        return terminal::print_bytes(&line);
    }
    let text = render::report(report, shown, Terminal::of_environment());
    match way {
        Way::Stdout => terminal::print(&text, choice),
        Way::Stderr => {
            terminal::say_as(&text, choice);
            Ok(())
        }
    }
}
