//! The whole CI: named steps in an order that builds nothing twice for nothing, and one summary at the end.
//! A failed step does not stop the others; a skipped one says why.

mod compile;
mod direction;
mod documents;
mod fuzz;
mod fuzzing;
mod licences;
mod tests_step;
mod tidy;
mod tools;

pub(crate) use compile::build_tested;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How a step that did not fail ended, with a word about it.
pub(crate) enum Outcome {
    /// It holds.
    Passed(String),
    /// It could not be tried, and why.
    Skipped(String),
}

/// A check.
struct Step {
    name: &'static str,
    about: &'static str,
    /// A step without which this one is pointless.
    after: Option<&'static str>,
    run: fn() -> Result<Outcome>,
}

/// Cheap ones first; then what shares `cargo check`'s artifacts, then what shares those of `cargo build`.
const STEPS: &[Step] = &[
    Step { name: "tools", about: "the compilers that the build needs are installed", after: None, run: tools::run },
    Step { name: "fmt", about: "cargo fmt --all --check", after: None, run: compile::fmt },
    Step {
        name: "tidy",
        about: "every file says what it answers, none is too long, links in documents resolve",
        after: None,
        run: tidy::run,
    },
    Step { name: "direction", about: "crates depend on each other in one direction only", after: None, run: direction::run },
    Step { name: "licences", about: "every dependency has a permissive licence", after: None, run: licences::run },
    Step {
        name: "advisories",
        about: "no dependency has a known hole, where an advisory database is at hand",
        after: None,
        run: licences::advisories,
    },
    Step {
        name: "clippy",
        about: "cargo clippy --workspace --all-targets, warnings are errors",
        after: Some("tools"),
        run: compile::clippy,
    },
    Step { name: "doc", about: "cargo doc --no-deps --workspace, warnings are errors", after: Some("tools"), run: compile::doc },
    Step { name: "build", about: "the program and its tests, unoptimised", after: Some("tools"), run: compile::build },
    Step { name: "test", about: "unit and integration tests", after: Some("build"), run: tests_step::run },
    Step { name: "doctest", about: "examples in doc comments", after: Some("build"), run: tests_step::doctests },
    Step { name: "fuzz", about: "the corpus of the fuzz targets passes", after: Some("tools"), run: fuzz::run },
    Step { name: "generated", about: "docs/causes.md is what the registry of causes says", after: Some("build"), run: documents::run },
    Step { name: "fuzzing", about: "every parser of outside bytes is fuzzed, up to a minute each", after: Some("fuzz"), run: fuzzing::run },
    Step { name: "lab", about: "every scenario, broken and clean, as root and unprivileged", after: Some("build"), run: crate::lab::grade },
];

/// Which steps to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    only: Vec<String>,
    skip: Vec<String>,
}

impl Choice {
    /// Reads `--only STEP` and `--skip STEP`, each any number of times.
    pub(crate) fn parse(options: &[&str]) -> Result<Self> {
        let mut choice = Self::default();
        let mut rest = options;
        while let [option, others @ ..] = rest {
            let (option, value, others) = match (option.split_once('='), others) {
                (Some((option, value)), _) => (option, value, others),
                (None, [value, others @ ..]) => (*option, *value, others),
                (None, []) => (*option, "", others),
            };
            if !STEPS.iter().any(|step| step.name == value) {
                bail!("{option} wants a step, not {value:?}; the steps are {}", names());
            }
            match option {
                "--only" => choice.only.push(value.to_owned()),
                "--skip" => choice.skip.push(value.to_owned()),
                other => bail!("unknown option {other:?}; options of ci are --only STEP, --skip STEP, --list"),
            }
            rest = others;
        }
        Ok(choice)
    }

    fn wants(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|only| only == name)) && !self.skip.iter().any(|skip| skip == name)
    }
}

fn names() -> String {
    STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ")
}

/// Names every step.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:<11} {}", step.name, step.about);
    }
}

/// Runs the chosen steps. True when none failed.
pub(crate) fn run(choice: &Choice) -> Result<bool> {
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut failed: Vec<&str> = Vec::new();
    for step in STEPS.iter().filter(|step| choice.wants(step.name)) {
        eprintln!("\n==> {}: {}", step.name, step.about);
        let begun = Instant::now();
        let (mark, words) = match step.after.filter(|before| failed.contains(before)) {
            Some(before) => ("not run", format!("{before} failed")),
            None => match (step.run)() {
                Ok(Outcome::Passed(words)) => ("ok", words),
                Ok(Outcome::Skipped(why)) => ("skipped", why),
                Err(error) => ("FAILED", format!("{error:#}")),
            },
        };
        if matches!(mark, "FAILED" | "not run") {
            failed.push(step.name);
            eprintln!("{}: {words}", step.name);
        }
        lines.push(line(step.name, mark, begun.elapsed(), &words));
    }
    println!("\n{}", lines.join("\n"));
    let verdict = if failed.is_empty() { "all is well".to_owned() } else { format!("failed: {}", failed.join(", ")) };
    println!("{verdict} ({:.0} s)", started.elapsed().as_secs_f64());
    Ok(failed.is_empty())
}

/// One line of the summary; what a step said beyond its first line is above already.
fn line(name: &str, mark: &str, took: Duration, words: &str) -> String {
    let first = words.lines().next().unwrap_or_default();
    format!("{name:<11} {mark:<8} {:>6.1} s  {first}", took.as_secs_f64()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_runs_unless_it_is_skipped_or_others_are_asked_for() {
        let choice = Choice::parse(&["--only", "fmt", "--only=lab", "--skip", "lab"]).expect("these are steps");
        assert!(choice.wants("fmt"));
        assert!(!choice.wants("lab"));
        assert!(!choice.wants("tidy"));
        assert!(Choice::default().wants("tidy"));
    }

    #[test]
    fn a_wrong_step_is_answered_with_the_right_ones() {
        let error = Choice::parse(&["--only", "test-lab"]).expect_err("no such step").to_string();
        assert!(error.contains("clippy"), "{error}");
        assert!(Choice::parse(&["--only"]).is_err());
        assert!(Choice::parse(&["--fast", "fmt"]).is_err());
    }

    #[test]
    fn a_step_comes_after_the_one_it_needs() {
        for (at, step) in STEPS.iter().enumerate() {
            let earlier = |name: &str| STEPS.iter().take(at).any(|other| other.name == name);
            assert!(step.after.is_none_or(earlier), "{}", step.name);
        }
    }
}
