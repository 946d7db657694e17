//! The report card of a lab run: how often the check named the right layer and cause, how often it blamed a healthy
//! network, how long it took. It counts and writes; it grades nothing.

mod packets;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::host::Privilege;
use crate::runner::{Ended, Grade, Results, Run, Variant, Verdict};
use crate::scenario::{Expect, Layer, Scenario, Status, Subject};

pub use packets::{PacketsCard, packets};

/// The schema of [`json()`].
pub const SCHEMA: &str = "faultmap.lab/1";

/// How one kind of run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// The powers of the checks counted.
    pub privilege: Privilege,
    /// Faulty runs that say something about the check (the lab itself did not fail).
    pub faulty: usize,
    /// Of those, answers by grade.
    pub grades: BTreeMap<&'static str, usize>,
    /// Share of faulty runs whose layer the verdict holds, 0 to 1; for "inconclusive" that of its first candidate, as in the contract's JSON.
    pub layer: f64,
    /// Share whose cause it holds, in the same way.
    pub cause: f64,
    /// Share answered "inconclusive".
    pub inconclusive: f64,
    /// Share of those answers that had the truth among the candidates.
    pub honest: f64,
    /// Share answered to the letter as the scenario calls for.
    pub as_expected: f64,
    /// Clean twins that say something about the check.
    pub twins: usize,
    /// Share of twins blamed.
    pub false_alarms: f64,
    /// The check's own time to the verdict in milliseconds, faulty runs: median and 95th percentile.
    pub verdict_ms: Option<Percentiles>,
    /// The same by the wall clock, process start included.
    pub wall_ms: Option<Percentiles>,
}

/// Middle and tail of a set of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub median: f64,
    /// 95 of 100 are below.
    pub p95: f64,
}

/// Counts the runs of one subject with these powers.
pub fn accuracy(results: &Results, subject: Subject, privilege: Privilege) -> Accuracy {
    let of = |variant| {
        let chosen = move |run: &&Run| run.subject == subject && run.privilege == privilege && run.variant == variant;
        let sound = move |run: &&Run| chosen(run) && run.grade != Grade::LabFailed;
        results.runs.iter().filter(sound).collect::<Vec<_>>()
    };
    let (faulty, twins) = (of(Variant::Faulty), of(Variant::Twin));
    let with = |grades: &[Grade]| faulty.iter().filter(|run| grades.contains(&run.grade)).count();
    let mut grades = BTreeMap::new();
    for run in &faulty {
        *grades.entry(run.grade.label()).or_insert(0) += 1;
    }
    let inconclusive = with(&[Grade::Honest, Grade::Vague]);
    let first = |holds: fn(&Expect, &Verdict) -> bool| {
        let undecided = faulty.iter().filter(|run| matches!(run.grade, Grade::Honest | Grade::Vague));
        undecided.filter(|run| first_candidate_holds(results, run, holds)).count()
    };
    Accuracy {
        privilege,
        faulty: faulty.len(),
        layer: share(with(&[Grade::Right, Grade::RightLayer]) + first(|expect, verdict| verdict.layer == Some(expect.layer)), faulty.len()),
        cause: share(
            with(&[Grade::Right]) + first(|expect, verdict| verdict.cause.as_deref().is_some_and(|cause| expect.accepts(cause))),
            faulty.len(),
        ),
        inconclusive: share(inconclusive, faulty.len()),
        honest: share(with(&[Grade::Honest]), inconclusive),
        as_expected: share(faulty.iter().filter(|run| run.as_expected).count(), faulty.len()),
        twins: twins.len(),
        false_alarms: share(twins.iter().filter(|run| run.grade != Grade::Quiet).count(), twins.len()),
        verdict_ms: percentiles(faulty.iter().filter_map(|run| total_ms(run)).collect()),
        wall_ms: percentiles(faulty.iter().map(|run| run.result.wall_ms).collect()),
        grades,
    }
}

fn first_candidate_holds(results: &Results, run: &Run, holds: fn(&Expect, &Verdict) -> bool) -> bool {
    match (&run.result.ended, scenario(results, run)) {
        (Ended::Verdict { verdict, .. }, Some(scenario)) => holds(&scenario.expect, verdict),
        _ => false,
    }
}

/// Row: the layer that was broken. Column: what was named ("L1" to "L7", "inconclusive", "healthy", "none").
pub type Confusion = BTreeMap<Layer, BTreeMap<String, usize>>;

/// Injected layer against named layer, over the faulty runs of one subject with these powers.
pub fn confusion(results: &Results, subject: Subject, privilege: Privilege) -> Confusion {
    let mut table = Confusion::new();
    let counted = |run: &&Run| {
        run.subject == subject && run.privilege == privilege && run.variant == Variant::Faulty && run.grade != Grade::LabFailed
    };
    for run in results.runs.iter().filter(counted) {
        let Some(scenario) = scenario(results, run) else {
            continue;
        };
        *table.entry(scenario.expect.layer).or_default().entry(named(run)).or_insert(0) += 1;
    }
    table
}

fn named(run: &Run) -> String {
    let Ended::Verdict { verdict, .. } = &run.result.ended else {
        return "none".to_owned();
    };
    match (verdict.status, verdict.layer) {
        (Status::Healthy, _) => "healthy".to_owned(),
        (Status::Inconclusive, _) => "inconclusive".to_owned(),
        (_, Some(layer)) => layer.to_string(),
        (_, None) => "none".to_owned(),
    }
}

/// Everything as one JSON object of [`SCHEMA`].
pub fn json(results: &Results) -> Value {
    let of = |subject| {
        let each =
            |privilege| json!({ "accuracy": accuracy(results, subject, privilege), "confusion": confusion(results, subject, privilege) });
        privileges(results, subject).into_iter().map(each).collect::<Vec<_>>()
    };
    json!({
        "schema": SCHEMA,
        "scenarios": results.scenarios.len(),
        "skipped": results.skipped,
        "unavailable": results.unavailable,
        "jobs": results.jobs,
        "witness": results.witness,
        "took_ms": results.took.as_secs_f64() * 1000.0,
        "kernel": kernel(),
        "summary": of(Subject::Check),
        "hosts": of(Subject::Host),
        "packets": packets::packets(results),
        "runs": results.runs,
    })
}

/// The report card as Markdown, docs/accuracy.md.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    head(&mut out, results);
    for privilege in privileges(results, Subject::Check) {
        summary(&mut out, results, privilege);
        matrix(&mut out, &confusion(results, Subject::Check, privilege), privilege);
    }
    hosts(&mut out, results);
    packets::markdown(&mut out, results);
    scenarios(&mut out, results);
    misses(&mut out, results);
    out
}

fn head(out: &mut String, results: &Results) {
    let _ = writeln!(out, "# Accuracy{}\n", if results.witness { " with a witness at the other end" } else { "" });
    let _ = writeln!(
        out,
        "Generated by `faultmap lab run`; not edited by hand. Every scenario of `crates/faultmap-lab/scenarios` is built \
         from real kernels in network namespaces and our own wires, broken, and checked; beside it runs its clean twin: \
         the same network and services, nothing broken. An oracle that never sees the verdict confirms from counters \
         that each fault met traffic; a run whose fault did not is void, not a success.\n"
    );
    let (scenarios, runs) = (results.scenarios.len(), results.runs.len());
    let _ = writeln!(
        out,
        "{scenarios} scenarios, {runs} runs, {} at a time, {:.0} s in all, Linux {}.\n",
        results.jobs,
        results.took.as_secs_f64(),
        kernel()
    );
    if results.witness {
        let _ = writeln!(
            out,
            "Every check had a witness (`faultmap witness`) at the target's host, with the same powers, reached over a wire that no fault \
             touches. Where one end alone can only say \"inconclusive\", as the scenario then allows, the right cause is the better answer.\n"
        );
    }
    if !results.skipped.is_empty() {
        let _ = writeln!(out, "Left out because they touch the whole machine: {}.\n", results.skipped.join(", "));
    }
    if let Some(unavailable) = &results.unavailable {
        let _ = writeln!(
            out,
            "Left out because this machine cannot build them ({}): {}.\n",
            unavailable.reason,
            unavailable.scenarios.join(", ")
        );
    }
}

fn summary(out: &mut String, results: &Results, privilege: Privilege) {
    let a = accuracy(results, Subject::Check, privilege);
    let _ = writeln!(out, "## {}\n", title(privilege));
    let _ = writeln!(out, "| measure | value |\n|---|---|");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("right layer (first candidate when inconclusive)", format!("{} of {} faulty runs", percent(a.layer), a.faulty));
    row("right cause (the same)", percent(a.cause));
    row("answered \"inconclusive\"", percent(a.inconclusive));
    row("… with the truth among the candidates", percent(a.honest));
    row("as the scenario calls for, to the letter", percent(a.as_expected));
    row("clean twins blamed", format!("{} of {}", percent(a.false_alarms), a.twins));
    if let Some(p) = a.verdict_ms {
        row("time to verdict, by the check's clock", format!("median {:.0} ms, p95 {:.0} ms", p.median, p.p95));
    }
    if let Some(p) = a.wall_ms {
        row("time to verdict, by the wall clock", format!("median {:.0} ms, p95 {:.0} ms", p.median, p.p95));
    }
    out.push('\n');
}

/// How well `faultmap host` names the bottleneck of a host that was brought to its limit.
fn hosts(out: &mut String, results: &Results) {
    let privileges = privileges(results, Subject::Host);
    if privileges.is_empty() {
        return;
    }
    let _ = writeln!(out, "## The bottleneck of a host\n");
    let _ = writeln!(
        out,
        "`faultmap host` looks for one second at a host of the lab at which one thing is at its limit. Its twin carries the same healthy load \
         without the fault; nothing may be found there.\n"
    );
    let titles = privileges.iter().map(|privilege| title(*privilege).to_lowercase()).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(out, "| measure | {titles} |\n|---|{}", "---|".repeat(privileges.len()));
    let all = privileges.iter().map(|privilege| accuracy(results, Subject::Host, *privilege)).collect::<Vec<_>>();
    let mut row = |name: &str, value: fn(&Accuracy) -> String| {
        let _ = writeln!(out, "| {name} | {} |", all.iter().map(value).collect::<Vec<_>>().join(" | "));
    };
    row("bottleneck named", |a| format!("{} of {} faulty hosts", percent(a.cause), a.faulty));
    row("its layer named", |a| percent(a.layer));
    row("as the scenario calls for, to the letter", |a| percent(a.as_expected));
    row("healthy hosts under load with an alarm", |a| format!("{} of {}", percent(a.false_alarms), a.twins));
    out.push('\n');
}

fn matrix(out: &mut String, confusion: &Confusion, privilege: Privilege) {
    let _ = writeln!(out, "Broken layer (rows) against named layer (columns), {}:\n", title(privilege).to_lowercase());
    matrix_of(out, confusion, &Layer::ALL);
}

fn matrix_of(out: &mut String, confusion: &Confusion, layers: &[Layer]) {
    let columns = layers.iter().map(Layer::to_string);
    let columns = columns.chain(["inconclusive", "healthy", "none"].map(str::to_owned)).collect::<Vec<_>>();
    let _ = writeln!(out, "| | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for (layer, row) in confusion {
        let cell = |column: &String| match row.get(column) {
            None => String::new(),
            Some(count) if *column == layer.to_string() => format!("**{count}**"),
            Some(count) => count.to_string(),
        };
        let _ = writeln!(out, "| {layer} | {} |", columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    out.push('\n');
}

fn scenarios(out: &mut String, results: &Results) {
    let _ = writeln!(out, "## Scenarios\n");
    for subject in Subject::ALL {
        let kinds = kinds(results, subject);
        if kinds.is_empty() {
            continue;
        }
        let titles = kinds.iter().map(|(variant, privilege)| format!("{}, {}", variant_title(*variant), title(*privilege)));
        let what = if subject == Subject::Check { "scenario" } else { "host" };
        let _ = writeln!(out, "| {what} | cause | {} |", titles.map(|t| t.to_lowercase()).collect::<Vec<_>>().join(" | "));
        let _ = writeln!(out, "|---|---|{}", "---|".repeat(kinds.len()));
        for scenario in results.scenarios.iter().filter(|scenario| scenario.subject() == subject) {
            let cell = |(variant, privilege): &(Variant, Privilege)| {
                let run =
                    results.runs.iter().find(|run| run.scenario == scenario.id && run.variant == *variant && run.privilege == *privilege);
                run.map(cell).unwrap_or_default()
            };
            let cells = kinds.iter().map(cell).collect::<Vec<_>>().join(" | ");
            let _ = writeln!(out, "| {} | {} | {cells} |", scenario.id, scenario.expect.cause);
        }
        out.push('\n');
    }
}

fn cell(run: &Run) -> String {
    let mark = if run.as_expected { "✓" } else { "✗" };
    let time = total_ms(run).map_or_else(String::new, |ms| format!(" {ms:.0} ms"));
    match run.grade {
        Grade::Right | Grade::Quiet => format!("{mark}{time}"),
        grade => format!("{mark} {}{time}", grade.label()),
    }
}

fn misses(out: &mut String, results: &Results) {
    let missed = results.runs.iter().filter(|run| !run.as_expected).collect::<Vec<_>>();
    let _ = writeln!(out, "## Misses\n");
    if missed.is_empty() {
        let _ = writeln!(out, "None.");
    }
    for run in missed {
        let expected = match (run.variant, scenario(results, run)) {
            (Variant::Twin, _) => "healthy".to_owned(),
            (Variant::Faulty, Some(scenario)) => scenario.expect.cause.clone(),
            (Variant::Faulty, None) => String::new(),
        };
        let kind = format!("{}, {}", variant_title(run.variant), title(run.privilege)).to_lowercase();
        let _ = writeln!(out, "- **{}** ({kind}): expected {expected}; {}", run.scenario, said(run));
    }
}

fn said(run: &Run) -> String {
    match &run.result.ended {
        Ended::CheckFailed { reason } => format!("the check failed: {}", one_line(reason)),
        Ended::LabFailed { reason } => format!("void, the lab failed: {}", one_line(reason)),
        Ended::Verdict { verdict, .. } => {
            let status = format!("{:?}", verdict.status).to_lowercase();
            let cause = verdict.cause.as_deref().unwrap_or("no cause");
            let candidates = verdict.candidates.iter().map(|c| c.cause.as_str()).collect::<Vec<_>>().join(", ");
            let left = if verdict.status == Status::Inconclusive { format!(" among {candidates}") } else { String::new() };
            format!("said {status}, {cause}{left}: “{}”", one_line(&verdict.summary))
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kinds(results: &Results, subject: Subject) -> Vec<(Variant, Privilege)> {
    let mut kinds = Vec::new();
    for run in results.runs.iter().filter(|run| run.subject == subject) {
        if !kinds.contains(&(run.variant, run.privilege)) {
            kinds.push((run.variant, run.privilege));
        }
    }
    kinds
}

fn privileges(results: &Results, subject: Subject) -> Vec<Privilege> {
    let present = |privilege: &Privilege| results.runs.iter().any(|run| run.privilege == *privilege && run.subject == subject);
    [Privilege::Root, Privilege::Unprivileged].into_iter().filter(present).collect()
}

fn scenario<'a>(results: &'a Results, run: &Run) -> Option<&'a Scenario> {
    results.scenarios.iter().find(|scenario| scenario.id == run.scenario)
}

fn total_ms(run: &Run) -> Option<f64> {
    match &run.result.ended {
        Ended::Verdict { total_ms, .. } => *total_ms,
        _ => None,
    }
}

fn title(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Root => "With root's powers",
        Privilege::Unprivileged => "Unprivileged",
    }
}

fn variant_title(variant: Variant) -> &'static str {
    match variant {
        Variant::Faulty => "Broken",
        Variant::Twin => "Twin",
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Nearest-rank percentiles.
fn percentiles(mut values: Vec<f64>) -> Option<Percentiles> {
    values.sort_by(f64::total_cmp);
    let rank = |hundredths: usize| values.get((values.len() * hundredths).div_ceil(100).saturating_sub(1)).copied();
    Some(Percentiles { median: rank(50)?, p95: rank(95)? })
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

#[cfg(test)]
mod tests;
