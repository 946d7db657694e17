//! The tests: by cargo-nextest where it is installed, else by cargo test; and the examples in doc comments.

use super::{Outcome, compile};
use crate::{shell, workspace};
use anyhow::{Context, Result};

pub(super) fn run() -> Result<Outcome> {
    if !shell::works("cargo-nextest", &["--version"]) {
        shell::run(shell::cargo().args(["test", "--locked"]).args(compile::TESTED))?;
        return Ok(Outcome::Passed("by cargo test; cargo-nextest is not installed".to_owned()));
    }
    // Programs that are their own harness enter namespaces, and tell nextest of no single tests.
    let own = own_harnesses()?;
    let filter = own.iter().map(|(package, test)| format!("(package({package}) & binary({test}))")).collect::<Vec<_>>();
    let mut nextest = shell::cargo();
    nextest.args(["nextest", "run", "--no-fail-fast", "--locked"]).args(compile::TESTED);
    if !filter.is_empty() {
        nextest.args(["--filterset", &format!("not ({})", filter.join(" | "))]);
    }
    let by_nextest = shell::run(&mut nextest);
    let by_themselves = own.iter().map(|(package, test)| {
        // All targets are named again: the same features, so the same build.
        shell::run(&mut program(package, test)?)
    });
    let by_themselves: Vec<Result<()>> = by_themselves.collect();
    by_nextest?;
    by_themselves.into_iter().collect::<Result<()>>()?;
    Ok(Outcome::Passed(format!("by nextest; {} test programs run by themselves", own.len())))
}

pub(super) fn doctests() -> Result<Outcome> {
    shell::run(shell::cargo().args(["test", "--workspace", "--doc", "--locked"]))?;
    Ok(Outcome::Passed(String::new()))
}

/// The built test program, which cargo names when it is asked for a build that is done already.
fn program(package: &str, test: &str) -> Result<std::process::Command> {
    let said = shell::read(shell::cargo().arg("build").args(compile::TESTED).args(["--locked", "--message-format", "json"]))?;
    let said = String::from_utf8_lossy(&said);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let wanted = |message: &serde_json::Value| {
        let manifest = message["manifest_path"].as_str().unwrap_or_default();
        message["target"]["name"] == test && message["target"]["kind"][0] == "test" && manifest.ends_with(&format!("/{package}/Cargo.toml"))
    };
    let message = messages.into_iter().find(wanted).with_context(|| format!("cargo builds no test {test} of {package}"))?;
    let path = message["executable"].as_str().with_context(|| format!("the test {test} of {package} is no program"))?;
    let manifest = message["manifest_path"].as_str().unwrap_or_default();
    let mut command = std::process::Command::new(path);
    if let Some(folder) = std::path::Path::new(manifest).parent() {
        command.current_dir(folder);
    }
    Ok(command)
}

/// Package and name of every `[[test]]` with `harness = false`.
fn own_harnesses() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for package in workspace::packages()?.into_iter().filter(|package| package.ours) {
        let text = std::fs::read_to_string(&package.manifest).with_context(|| format!("read {}", package.manifest.display()))?;
        found.extend(without_harness(&text).into_iter().map(|test| (package.name.clone(), test)));
    }
    Ok(found)
}

fn without_harness(manifest: &str) -> Vec<String> {
    let sections = manifest.split("[[test]]").skip(1);
    let sections = sections.map(|section| section.split("\n[").next().unwrap_or(section));
    let value = |section: &str, key: &str| {
        let line = section.lines().find(|line| line.split('=').next().is_some_and(|found| found.trim() == key))?;
        line.split_once('=').map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    sections.filter(|section| value(section, "harness").as_deref() == Some("false")).filter_map(|section| value(section, "name")).collect()
}

#[cfg(test)]
mod tests {
    use super::without_harness;

    #[test]
    fn only_tests_that_are_their_own_harness_are_run_by_themselves() {
        let manifest =
            "[[test]]\nname = \"it\"\nharness = false\n\n[[test]]\nname = \"unit\"\n\n[[bench]]\nname = \"b\"\nharness = false\n";
        assert_eq!(without_harness(manifest), ["it"]);
    }
}
