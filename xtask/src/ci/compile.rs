//! Formatting, lints, documentation and the build, each by cargo over the whole workspace.

use super::Outcome;
use crate::shell;
use anyhow::Result;

/// What `cargo test` builds too. Asked for in the same way, so that nothing is built twice with other features.
pub(super) const TESTED: [&str; 4] = ["--workspace", "--bins", "--tests", "--examples"];

pub(super) fn fmt() -> Result<Outcome> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    // Outside the workspace, so `--all` does not reach it.
    if std::path::Path::new("fuzz/Cargo.toml").is_file() {
        shell::run(shell::cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    }
    Ok(passed())
}

pub(super) fn clippy() -> Result<Outcome> {
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    Ok(passed())
}

pub(super) fn doc() -> Result<Outcome> {
    shell::run(shell::cargo().args(["doc", "--no-deps", "--workspace", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(passed())
}

pub(super) fn build() -> Result<Outcome> {
    build_tested()?;
    Ok(passed())
}

/// Builds the program and every test. A moment's work when nothing changed.
pub(crate) fn build_tested() -> Result<()> {
    shell::run(shell::cargo().arg("build").args(TESTED).arg("--locked"))
}

fn passed() -> Outcome {
    Outcome::Passed(String::new())
}
