//! The lab as a check of the whole product: how often the right layer and cause are named, and whether a healthy network is ever
//! blamed. It reads the report card that `faultmap lab run` writes; it runs no scenario itself.

use crate::ci::Outcome;
use crate::{ci, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::{Command, Stdio};

const SCHEMA: &str = "faultmap.lab/1";
/// Faulty runs whose layer is right, in percent, at least.
const LEAST_LAYER: f64 = 98.0;
/// Faulty runs whose cause is right, in percent, at least.
const LEAST_CAUSE: f64 = 95.0;
/// Runs that say nothing because the lab itself failed, in percent of all, at most.
const MOST_VOID: f64 = 2.0;
/// Where the report card of CI goes.
const REPORT: &str = "target/lab.md";
/// Where the last CI run's results go, for whoever wants to know more than the summary says.
const RESULTS: &str = "target/lab.json";

/// How the program is built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    /// As users run it: for measurements.
    Release,
    /// As the tests build it: no second build.
    Dev,
}

/// Runs everything and fails below the marks.
pub(crate) fn grade() -> Result<Outcome> {
    ci::build_tested()?;
    eprintln!("$ faultmap lab run --all --json --report {REPORT}");
    let mut command = Command::new("target/debug/faultmap");
    command.args(["lab", "run", "--all", "--json", "--report", REPORT]).stdin(Stdio::null()).stderr(Stdio::inherit());
    // A miss makes the run itself fail; what we make of it stands in its answer.
    let output = command.output().context("start target/debug/faultmap")?;
    std::fs::write(RESULTS, &output.stdout).with_context(|| format!("write {RESULTS}"))?;
    let results: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("faultmap lab run ended with {} and gave no JSON", output.status))?;
    let (wrong, line) = below_marks(&results)?;
    if wrong.is_empty() {
        return Ok(Outcome::Passed(line));
    }
    bail!("{line}\n{}\nmisses: see {REPORT}", wrong.join("\n"))
}

/// Where the packets of the checks are kept meanwhile.
const PACKETS: &str = "target/lab-packets";

/// Rewrites docs/accuracy.md.
pub(crate) fn write_accuracy(profile: Profile) -> Result<()> {
    let (options, program): (&[&str], _) = match profile {
        Profile::Release => (&["--release"], "target/release/faultmap"),
        Profile::Dev => (&[], "target/debug/faultmap"),
    };
    shell::run(shell::cargo().args(["build", "--package", "faultmap", "--locked"]).args(options))?;
    let report = "docs/accuracy.md";
    let status =
        Command::new(program).args(["lab", "run", "--all", "--report", report, "--capture", PACKETS]).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("start {program}"))?;
    // Misses are part of the report; only a run that made none is a failure.
    let fresh = std::fs::metadata(report).and_then(|meta| meta.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() < 60));
    if !fresh {
        bail!("faultmap lab run ended with {status} and wrote no {report}");
    }
    eprintln!("wrote {report}");
    Ok(())
}

/// What is below the marks, a sentence each, and the whole in one line.
fn below_marks(results: &Value) -> Result<(Vec<String>, String)> {
    if results["schema"] != SCHEMA {
        bail!("faultmap lab run answers with schema {}, not {SCHEMA}", results["schema"]);
    }
    let runs = results["runs"].as_array().context("the results hold no runs")?;
    let (void, sound): (Vec<&Value>, Vec<&Value>) = runs.iter().partition(|run| run["grade"] == "lab-failed");
    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    for (subject, privilege) in [("check", "root"), ("check", "unprivileged"), ("host", "root"), ("host", "unprivileged")] {
        let of = |variant: &str| {
            let chosen = |run: &&&Value| run["subject"] == subject && run["privilege"] == privilege && run["variant"] == variant;
            sound.iter().filter(chosen).copied().collect::<Vec<_>>()
        };
        let (faulty, twins) = (of("faulty"), of("twin"));
        let kind = format!("{subject}, {privilege}");
        if faulty.is_empty() || twins.is_empty() {
            wrong.push(format!("{kind}: nothing was run"));
            continue;
        }
        // Where a scenario says that a check with these powers cannot tell, not to tell is right.
        let named = |grades: &[&str]| {
            let good = |run: &&&Value| run["as_expected"] == true || grades.iter().any(|grade| run["grade"] == *grade);
            percent(faulty.iter().filter(good).count(), faulty.len())
        };
        let (layer, cause) = (named(&["right", "right-layer"]), named(&["right"]));
        let blamed: Vec<&str> = twins.iter().filter(|run| run["grade"] != "quiet").map(|run| scenario(run)).collect();
        if layer < LEAST_LAYER {
            wrong.push(format!("{kind}: layer right in {layer:.1} %, want {LEAST_LAYER:.0} %"));
        }
        if cause < LEAST_CAUSE {
            wrong.push(format!("{kind}: cause right in {cause:.1} %, want {LEAST_CAUSE:.0} %"));
        }
        if !blamed.is_empty() {
            wrong.push(format!("{kind}: healthy networks blamed: {}", blamed.join(", ")));
        }
        lines.push(format!("{kind}: layer {layer:.1} %, cause {cause:.1} %, {} of {} twins blamed", blamed.len(), twins.len()));
    }
    if let Some(reason) = results["unavailable"]["reason"].as_str() {
        wrong.push(format!("scenarios were left out, for this machine cannot build them: {reason}"));
    }
    if percent(void.len(), runs.len()) > MOST_VOID {
        let names: Vec<&str> = void.iter().map(|run| scenario(run)).collect();
        wrong.push(format!("{} of {} runs say nothing because the lab failed: {}", void.len(), runs.len(), names.join(", ")));
    }
    lines.push(format!("{} runs, {} void", runs.len(), void.len()));
    Ok((wrong, lines.join("; ")))
}

fn scenario(run: &Value) -> &str {
    run["scenario"].as_str().unwrap_or("?")
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A hundred faulty runs and ten twins for each subject and privilege, all right. The first are the checks'.
    fn all_right() -> Vec<Value> {
        let run = |subject: &str, privilege: &str, variant: &str, grade: &str| json!({ "scenario": "s", "subject": subject, "privilege": privilege, "variant": variant, "grade": grade, "as_expected": true });
        let of = |subject, privilege| {
            (0..110)
                .map(move |n| if n < 100 { run(subject, privilege, "faulty", "right") } else { run(subject, privilege, "twin", "quiet") })
        };
        ["check", "host"].into_iter().flat_map(|subject| of(subject, "root").chain(of(subject, "unprivileged"))).collect()
    }

    /// Regrades the first `count` runs of a kind.
    fn regrade(runs: &mut [Value], (privilege, variant): (&str, &str), count: usize, grade: &str, as_expected: bool) {
        let chosen = runs.iter_mut().filter(|run| run["privilege"] == privilege && run["variant"] == variant);
        for run in chosen.take(count) {
            run["grade"] = json!(grade);
            run["as_expected"] = json!(as_expected);
        }
    }

    fn check(runs: &[Value], expect: &[&str]) {
        let (wrong, _) = below_marks(&json!({ "schema": SCHEMA, "runs": runs })).expect("a report card");
        assert_eq!(wrong.len(), expect.len(), "{wrong:?}");
        for (found, expect) in wrong.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn every_kind_of_run_has_to_reach_the_marks() {
        let changed = |kind, count, grade, as_expected| {
            let mut runs = all_right();
            regrade(&mut runs, kind, count, grade, as_expected);
            runs
        };
        check(&all_right(), &[]);
        check(&changed(("root", "faulty"), 2, "wrong", false), &[]);
        check(&changed(("root", "faulty"), 3, "wrong", false), &["check, root: layer right in 97.0 %"]);
        check(&changed(("unprivileged", "faulty"), 6, "right-layer", false), &["check, unprivileged: cause right in 94.0 %"]);
        check(&changed(("unprivileged", "twin"), 1, "false-alarm", false), &["blamed: s"]);
    }

    #[test]
    fn not_to_tell_is_right_only_where_it_cannot_be_told() {
        let mut runs = all_right();
        regrade(&mut runs, ("unprivileged", "faulty"), 20, "honest", true);
        check(&runs, &[]);
        regrade(&mut runs, ("unprivileged", "faulty"), 20, "honest", false);
        check(&runs, &["layer right in 80.0 %", "cause right in 80.0 %"]);
    }

    #[test]
    fn a_run_that_was_not_made_is_no_success() {
        let mut runs = all_right();
        regrade(&mut runs, ("root", "faulty"), 10, "lab-failed", false);
        check(&runs, &["10 of 440 runs say nothing"]);
        runs.retain(|run| run["privilege"] == "root" && run["subject"] == "check" && run["grade"] != "lab-failed");
        check(&runs, &["check, unprivileged: nothing was run", "host, root: nothing was run", "host, unprivileged: nothing was run"]);
        let without =
            json!({ "schema": SCHEMA, "runs": all_right(), "unavailable": { "scenarios": ["ring-full"], "reason": "needs a device" } });
        assert_eq!(below_marks(&without).expect("a report card").0.len(), 1);
        assert!(below_marks(&json!({ "schema": "other" })).is_err());
    }
}
