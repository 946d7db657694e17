//! `faultmap replay`: judges a recording again. It touches no network.

use super::{Way, deliver};
use crate::cli::ReplayArgs;
use crate::terminal::Choice;
use anyhow::Context as _;
use faultmap_model::{Recording, Report};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

pub(super) fn run(args: &ReplayArgs, choice: Choice) -> anyhow::Result<i32> {
    let report = Report::new(read(&args.file)?);
    deliver(&report, args.shown, Way::Stdout, choice)?;
    Ok(i32::from(report.verdict.exit_code()))
}

/// Reads a recording; `-` is stdin.
pub(super) fn read(path: &Path) -> anyhow::Result<Recording> {
    if path == Path::new("-") {
        return Recording::read(io::stdin().lock()).context("cannot read the recording on stdin");
    }
    let what = || format!("cannot read the recording {}", path.display());
    let file = File::open(path).with_context(what)?;
    Recording::read(BufReader::new(file)).with_context(what)
}
