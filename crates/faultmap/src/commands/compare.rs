//! `faultmap compare`: two recordings side by side. It touches no network.

use super::replay;
use crate::cli::CompareArgs;
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::{Context as _, bail};
use faultmap_model::compare::Comparison;
use std::path::Path;

/// Something is different.
const EXIT_CHANGED: i32 = 3;

pub(super) fn run(args: &CompareArgs, choice: Choice) -> anyhow::Result<i32> {
    let stdin = Path::new("-");
    if args.earlier == stdin && args.later == stdin {
        bail!("stdin can hold one of the two recordings only");
    }
    let comparison = Comparison::new(replay::read(&args.earlier)?, replay::read(&args.later)?);
    if args.json {
        let mut line = serde_json::to_vec(&comparison).context("cannot write the comparison as JSON")?;
        line.push(b'\n');
        terminal::print_bytes(&line)?;
    } else {
        let names = [&args.earlier, &args.later].map(|path| path.display().to_string());
        terminal::print(&render::comparison(&comparison, &names, Terminal::of_environment()), choice)?;
    }
    Ok(if comparison.same { 0 } else { EXIT_CHANGED })
}
