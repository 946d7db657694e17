//! `faultmap completions`: a completion script, from the one definition of the command line.

use crate::cli::{CompletionsArgs, definition};
use crate::terminal;

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<i32> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "faultmap", &mut script);
    terminal::print_bytes(&script)?;
    Ok(0)
}
