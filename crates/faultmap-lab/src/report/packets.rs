//! The second table of the report card: what the packets of each check say by themselves, read by `faultmap capture`. It counts and writes.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Confusion, matrix_of, percent, scenario, share};
use crate::host::Privilege;
use crate::runner::{Ended, Grade, OfPackets, Results, Run, Variant, Verdict, grade};
use crate::scenario::{Layer, Scenario, Status};

/// How the packets' verdicts went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PacketsCard {
    /// Faulty runs with packets.
    pub faulty: usize,
    /// Of those, share whose layer the packets name, or a deeper truth that the scenario grants them; for "inconclusive" that of the first candidate.
    pub layer: f64,
    /// Share whose cause they name, in the same way.
    pub cause: f64,
    /// Share about which the packets say nothing: healthy.
    pub quiet: f64,
    /// Share in which they name a layer that is neither the truth nor the check's word.
    pub wrong: f64,
    /// Clean twins with packets.
    pub twins: usize,
    /// Share of them blamed.
    pub false_alarms: f64,
    /// Runs in which the capture gave no verdict.
    pub failed: usize,
    /// Broken layer against named layer.
    pub confusion: Confusion,
}

/// Counts the runs whose packets were read; `None` if there are none.
pub fn packets(results: &Results) -> Option<PacketsCard> {
    let asked: Vec<(&Run, &Scenario)> = results
        .runs
        .iter()
        .filter(|run| run.privilege == Privilege::Root && run.grade != Grade::LabFailed)
        .filter(|run| run.result.packets.is_some())
        .filter_map(|run| Some((run, scenario(results, run)?)))
        .collect();
    if asked.is_empty() {
        return None;
    }
    let of = |variant| asked.iter().filter(move |(run, _)| run.variant == variant && verdict(run).is_some()).collect::<Vec<_>>();
    let (faulty, twins) = (of(Variant::Faulty), of(Variant::Twin));
    let count =
        |holds: fn(&Run, &Scenario) -> bool| share(faulty.iter().filter(|(run, scenario)| holds(run, scenario)).count(), faulty.len());
    let mut confusion = Confusion::new();
    for (run, scenario) in &faulty {
        *confusion.entry(scenario.expect.layer).or_default().entry(named(run)).or_insert(0) += 1;
    }
    let alarmed = |(run, scenario): &&&(&Run, &Scenario)| {
        verdict(run).is_some_and(|verdict| grade(scenario, Variant::Twin, verdict) == Grade::FalseAlarm)
    };
    Some(PacketsCard {
        layer: count(|run, scenario| {
            let named = |verdict: &Verdict| verdict.status != Status::Healthy && verdict.layer == Some(scenario.expect.layer);
            verdict(run).is_some_and(|verdict| named(verdict) || accepted(verdict, scenario))
        }),
        cause: count(|run, scenario| verdict(run).is_some_and(|verdict| accepted(verdict, scenario))),
        quiet: count(|run, _| verdict(run).is_some_and(|verdict| verdict.status == Status::Healthy)),
        wrong: count(is_wrong),
        false_alarms: share(twins.iter().filter(alarmed).count(), twins.len()),
        failed: asked.iter().filter(|(run, _)| matches!(run.result.packets, Some(OfPackets::Failed { .. }))).count(),
        faulty: faulty.len(),
        twins: twins.len(),
        confusion,
    })
}

fn verdict(run: &Run) -> Option<&Verdict> {
    match &run.result.packets {
        Some(OfPackets::Verdict(verdict)) => Some(verdict),
        _ => None,
    }
}

/// It names the cause of the fault, or what the packets may rightly say of it.
fn accepted(verdict: &Verdict, scenario: &Scenario) -> bool {
    verdict.cause.as_deref().is_some_and(|cause| scenario.expect.packets_accept(cause))
}

/// A layer named for sure that is neither that of the fault nor the one that the check found.
fn is_wrong(run: &Run, scenario: &Scenario) -> bool {
    let Some(packets) = verdict(run) else { return false };
    let checked = match &run.result.ended {
        Ended::Verdict { verdict, .. } => verdict.layer,
        _ => None,
    };
    let sure = matches!(packets.status, Status::Fault | Status::Degraded);
    sure && !accepted(packets, scenario) && packets.layer != Some(scenario.expect.layer) && packets.layer != checked
}

fn named(run: &Run) -> String {
    match verdict(run).map(|verdict| (verdict.status, verdict.layer)) {
        Some((Status::Healthy, _)) => "healthy".to_owned(),
        Some((Status::Inconclusive, _)) => "inconclusive".to_owned(),
        Some((_, Some(layer))) => layer.to_string(),
        _ => "none".to_owned(),
    }
}

/// The section of the report card.
pub(super) fn markdown(out: &mut String, results: &Results) {
    let Some(card) = packets(results) else { return };
    let _ = writeln!(out, "## What the packets say by themselves\n");
    let _ = writeln!(
        out,
        "Each check as root recorded its own packets; `faultmap capture` read them, knowing nothing of the check. Some faults leave no trace in \
         the packets of a client: what is encrypted, what the host decides before it sends, what the check learns by comparing. There the packets \
         should say nothing. Where they show a deeper truth than the check is asked for (the closed port behind a proxy that cannot be reached), the \
         scenario names it, and it counts as right.\n"
    );
    let _ = writeln!(out, "| measure | value |\n|---|---|");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("right layer (first candidate when inconclusive)", format!("{} of {} faulty runs", percent(card.layer), card.faulty));
    row("right cause (the same)", percent(card.cause));
    row("nothing said", percent(card.quiet));
    row("another layer than the fault's and the check's", percent(card.wrong));
    row("clean twins blamed", format!("{} of {}", percent(card.false_alarms), card.twins));
    out.push('\n');
    let _ = writeln!(out, "Broken layer (rows) against the layer that the packets name (columns):\n");
    matrix_of(out, &card.confusion, &Layer::ALL);
    misses(out, results);
}

fn misses(out: &mut String, results: &Results) {
    let mut lines = String::new();
    for run in results.runs.iter().filter(|run| run.privilege == Privilege::Root && run.grade != Grade::LabFailed) {
        let (Some(scenario), Some(of)) = (scenario(results, run), &run.result.packets) else { continue };
        let what = match of {
            OfPackets::Failed { reason } => reason.clone(),
            OfPackets::Verdict(verdict) if run.variant == Variant::Twin && grade(scenario, Variant::Twin, verdict) == Grade::FalseAlarm => {
                format!("twin blamed: {}", verdict.cause.as_deref().unwrap_or("no cause"))
            }
            OfPackets::Verdict(verdict) if run.variant == Variant::Faulty && is_wrong(run, scenario) => {
                format!("expected {}, the packets say {}", scenario.expect.cause, verdict.cause.as_deref().unwrap_or("no cause"))
            }
            _ => continue,
        };
        let _ = writeln!(lines, "- {}: {}", run.scenario, what.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if !lines.is_empty() {
        let _ = writeln!(out, "Where the packets misled:\n\n{lines}");
    }
}
