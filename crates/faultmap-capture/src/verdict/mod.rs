//! From flows and findings to a verdict, in the words of the model's causes: problems are gathered by cause and by the party that has them, weighed
//! against what went well there, and put before the judge of the model. Pure. It reads no packet, and says of silence only what silence tells.

mod advice;
mod census;
mod challenge;
mod distance;
mod documents;
mod elsewhere;
mod extra;
mod families;
mod filter;
mod fragments;
mod group;
mod idle;
mod insight;
mod layers;
mod lifetimes;
mod loss;
mod over_tcp;
mod probes;
mod problem;
mod prohibited;
mod reuse;
mod silence;
mod size;
#[cfg(test)]
mod tests;
mod unheard;
mod wants;
mod weigh;

pub use census::{Service, Times};
pub use group::{Group, Severity};
pub use layers::LayerSeen;
pub(crate) use layers::many;
pub use problem::is_shared;

use crate::analysis::Outcome;
use crate::finding::{Finding, Weight};
use census::Census;
use faultmap_model::Verdict;
use faultmap_model::verdict::{NextStep, Status};
use silence::Hearing;

/// Groups that a report tells; further ones are counted.
pub const MOST_GROUPS: usize = 50;
/// Services that a report tells, the busiest first.
pub const MOST_SERVICES: usize = 50;

/// Things told beside a verdict that blame nobody.
const MOST_REMARKS: usize = 3;

/// What a capture says of the network that it was taken from.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The whole.
    pub verdict: Verdict,
    /// The seven layers, L1 first.
    pub layers: Vec<LayerSeen>,
    /// What is wrong, worst first.
    pub groups: Vec<Group>,
    /// Groups beyond [`MOST_GROUPS`].
    pub more_groups: usize,
    /// Who served what, the busiest first.
    pub services: Vec<Service>,
    /// Findings about the capture itself.
    pub capture: Vec<Finding>,
}

/// Judges what an analysis found.
#[must_use]
pub fn judge(outcome: &Outcome) -> Judgement {
    let census = Census::of(outcome);
    let mut insights = insight::all(outcome);
    insights.join(families::all(outcome));
    insights.join(idle::all(outcome));
    insights.join(elsewhere::all(outcome));
    insights.join(lifetimes::all(outcome));
    insights.join(reuse::all(outcome));
    let mut problems = problem::gather(outcome, &census, &insights.explained);
    problems.extend(silence::problems(outcome, &census, &insights.explained));
    problems.extend(insights.problems);
    problems.extend(unheard::problems(outcome, &census));
    problems.extend(challenge::problems(outcome));
    let (lossy, filled) = loss::all(outcome);
    problems.extend(lossy);
    problems.extend(distance::problems(outcome));
    problems.extend(fragments::problems(outcome));
    problems.extend(extra::problems(outcome));
    let problems = over_tcp::weigh(size::weigh(loss::once(problems), outcome, &census), outcome, &census);
    let deaf = silence::hearing(outcome) != Hearing::Yes;
    let problems = problems.into_iter().filter(|problem| !(deaf && matches!(problem.rule, "quic.unanswered" | "udp.unanswered"))).collect();
    let weighed = weigh::all(problems, outcome, &census);
    let mut groups = group::all(weighed, &census, outcome);
    let verdict = overall(outcome, &groups, filled);
    let layers = layers::tower(outcome, &verdict, &groups);
    let more_groups = groups.len().saturating_sub(MOST_GROUPS);
    groups.truncate(MOST_GROUPS);
    let capture = outcome.findings.iter().filter(|finding| finding.weight == Weight::Capture).cloned().collect();
    Judgement { verdict, layers, groups, more_groups, services: census.services(outcome), capture }
}

/// The verdict is that of the worst group; what else is wrong is told beside it.
fn overall(outcome: &Outcome, groups: &[Group], filled: Vec<String>) -> Verdict {
    let Some((worst, others)) = groups.split_first() else { return nothing_wrong(outcome, filled) };
    let mut verdict = worst.verdict.clone();
    verdict.because = Vec::new();
    verdict.ruled_out = Vec::new();
    let told = others.iter().take(5).map(|group| group.verdict.summary.clone());
    verdict.also.extend(told.chain(filled.into_iter().take(MOST_REMARKS)));
    verdict.also.dedup();
    verdict
}

fn nothing_wrong(outcome: &Outcome, filled: Vec<String>) -> Verdict {
    let totals = &outcome.totals;
    let empty = totals.all.packets == 0;
    let summary = if empty {
        "The capture holds no packet, so nothing can be said of the network.".to_owned()
    } else {
        let (packets, flows) = (layers::many(totals.all.packets, "packet"), layers::many(totals.flows, "flow"));
        format!("Nothing is wrong in what was captured: {packets} in {flows}, and no layer at fault.")
    };
    let cut = outcome.bounds_hit.any() || outcome.quality.kernel_drops > 0;
    Verdict {
        status: if empty { Status::Inconclusive } else { Status::Healthy },
        layer: None,
        cause: None,
        confidence: if empty {
            0.0
        } else if cut {
            0.7
        } else {
            0.9
        },
        locus: None,
        summary,
        because: Vec::new(),
        candidates: Vec::new(),
        ruled_out: Vec::new(),
        also: filled.into_iter().chain(remarks(outcome)).take(MOST_REMARKS).collect(),
        next: if empty { vec![look_elsewhere()] } else { Vec::new() },
        fix: Vec::new(),
    }
}

/// Where nothing came, the filter or the interface was another one than that of the packets.
fn look_elsewhere() -> NextStep {
    NextStep {
        run: "faultmap capture -i any --for 30s".to_owned(),
        on: "the client".to_owned(),
        why: "sees every interface, without a filter: nothing there, either, means that nobody sends".to_owned(),
    }
}

/// What is remarkable and blames no part of the network: a client that took its time, a scan.
fn remarks(outcome: &Outcome) -> Vec<String> {
    let is_remarkable = |finding: &&Finding| finding.weight == Weight::Warning && finding.cause.is_none() || finding.rule == "tcp.scan";
    let remarkable = outcome.findings.iter().filter(is_remarkable);
    let told = |finding: &Finding| finding.flow.map_or_else(|| finding.text.clone(), |flow| format!("{} (flow {flow})", finding.text));
    remarkable.take(MOST_REMARKS).map(told).collect()
}
