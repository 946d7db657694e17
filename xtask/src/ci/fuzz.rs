//! Does every input that the fuzzers ever found still pass? The fuzz package lies outside the workspace, since fuzzing needs other
//! flags; the stable compiler replays its seeds without them. It does not fuzz.

use super::Outcome;
use crate::shell;
use anyhow::Result;
use std::path::Path;

pub(super) fn run() -> Result<Outcome> {
    let package = Path::new("fuzz/Cargo.toml");
    if !package.is_file() {
        return Ok(Outcome::Skipped("there is no fuzz package".to_owned()));
    }
    // It has its own lock file and build folder: the flags of fuzzing are not those of the product.
    shell::run(shell::cargo().args(["test", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--target-dir", "target"]))?;
    Ok(Outcome::Passed("seeds and their mutations, replayed without a fuzzer".to_owned()))
}
