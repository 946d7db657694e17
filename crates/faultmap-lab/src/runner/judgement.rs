//! Compares what a check said with what a scenario calls for. Pure: no clock, no process, no network.

use serde::{Deserialize, Serialize};

use super::job::Variant;
use crate::host::Privilege;
use crate::scenario::{Layer, Scenario, Status};

/// The parts of a check's JSON answer that are graded (contract `faultmap.check/1`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad it is.
    pub status: Status,
    /// The layer named.
    #[serde(default)]
    pub layer: Option<Layer>,
    /// The cause named.
    #[serde(default)]
    pub cause: Option<String>,
    /// How sure, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// The sentence.
    #[serde(default)]
    pub summary: String,
    /// What remains.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

impl Verdict {
    /// The exit code that the contract gives such a verdict; `None` for a fault without a layer, which it forbids.
    pub fn exit_code(&self) -> Option<i32> {
        match (self.status, self.layer) {
            (Status::Healthy, _) => Some(0),
            (Status::Degraded, _) => Some(3),
            (Status::Inconclusive, _) => Some(4),
            (Status::Fault, Some(layer)) => Some(11 + layer as i32),
            (Status::Fault, None) => None,
        }
    }
}

/// A cause that a verdict leaves standing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its id.
    pub cause: String,
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The right cause.
    Right,
    /// The right layer, another cause.
    RightLayer,
    /// Inconclusive, and the truth is among what remains.
    Honest,
    /// Inconclusive, and the truth is not among what remains.
    Vague,
    /// Another layer.
    Wrong,
    /// "Healthy" although something is broken.
    Missed,
    /// A clean twin found as clean as it is.
    Quiet,
    /// A clean twin blamed.
    FalseAlarm,
    /// The check itself failed.
    CheckFailed,
    /// The lab failed, or the fault met no traffic: says nothing about the check.
    LabFailed,
}

impl Grade {
    /// Its name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Grade::Right => "right",
            Grade::RightLayer => "right layer",
            Grade::Honest => "honest",
            Grade::Vague => "vague",
            Grade::Wrong => "wrong",
            Grade::Missed => "missed",
            Grade::Quiet => "quiet",
            Grade::FalseAlarm => "false alarm",
            Grade::CheckFailed => "check failed",
            Grade::LabFailed => "lab failed",
        }
    }
}

/// Grades a verdict on one variant of a scenario.
pub fn grade(scenario: &Scenario, variant: Variant, verdict: &Verdict) -> Grade {
    match variant {
        Variant::Twin => grade_twin(scenario, verdict),
        Variant::Faulty => grade_faulty(scenario, verdict),
    }
}

fn grade_twin(scenario: &Scenario, verdict: &Verdict) -> Grade {
    let twin = &scenario.twin;
    let as_told = verdict.status == twin.status && (twin.cause.is_none() || twin.cause == verdict.cause);
    let clean = verdict.status == Status::Healthy;
    if as_told || clean { Grade::Quiet } else { Grade::FalseAlarm }
}

fn grade_faulty(scenario: &Scenario, verdict: &Verdict) -> Grade {
    let expect = &scenario.expect;
    match (verdict.status, verdict.cause.as_deref()) {
        (Status::Healthy, _) => Grade::Missed,
        (Status::Inconclusive, _) if verdict.candidates.iter().any(|c| expect.accepts(&c.cause)) => Grade::Honest,
        (Status::Inconclusive, _) => Grade::Vague,
        (_, Some(cause)) if expect.accepts(cause) => Grade::Right,
        _ if verdict.layer == Some(expect.layer) => Grade::RightLayer,
        _ => Grade::Wrong,
    }
}

/// Whether the answer is what the scenario calls for, to the letter.
///
/// Where a scenario says that the powers at hand cannot tell, "inconclusive" with the truth among no more than the
/// candidates named is as it should be, and so is the right cause: a probe may be cleverer than the scenario.
pub fn as_expected(scenario: &Scenario, variant: Variant, privilege: Privilege, verdict: &Verdict) -> bool {
    let unprivileged = privilege == Privilege::Unprivileged;
    let expect = &scenario.expect;
    match grade(scenario, variant, verdict) {
        Grade::Quiet => true,
        Grade::Right => verdict.status == expect.status || expect.status_for(unprivileged) == Status::Inconclusive,
        Grade::Honest => {
            let allowed = expect.candidates_for(unprivileged);
            let within = |c: &Candidate| allowed.is_empty() || allowed.contains(&c.cause) || expect.accepts(&c.cause);
            expect.status_for(unprivileged) == Status::Inconclusive && verdict.candidates.iter().all(within)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(expect: &str) -> Scenario {
        let head = r#"
            name = "n"
            story = "s"
            topology = "client-router-server"
            target = "server.lab"
            fault = [{ at = "router-server", kind = "carrier-off" }]
        "#;
        Scenario::parse("x", &format!("{head}\n[expect]\n{expect}")).unwrap()
    }

    fn verdict(status: Status, cause: &str, candidates: &[&str]) -> Verdict {
        Verdict {
            status,
            layer: Layer::of_cause(cause),
            cause: Some(cause.to_owned()),
            confidence: None,
            summary: String::new(),
            candidates: candidates.iter().map(|c| Candidate { cause: (*c).to_owned() }).collect(),
        }
    }

    const FILTERED: &str = "status = \"fault\"\nlayer = \"L4\"\ncause = \"l4.port-filtered\"\n";

    fn check(expect: &str, privilege: Privilege, verdict: &Verdict, grade_wanted: Grade, met: bool) {
        let scenario = scenario(expect);
        assert_eq!(grade(&scenario, Variant::Faulty, verdict), grade_wanted);
        assert_eq!(as_expected(&scenario, Variant::Faulty, privilege, verdict), met);
    }

    #[test]
    fn naming_the_cause_beats_naming_the_layer_beats_naming_another_layer() {
        let root = Privilege::Root;
        check(FILTERED, root, &verdict(Status::Fault, "l4.port-filtered", &[]), Grade::Right, true);
        check(FILTERED, root, &verdict(Status::Degraded, "l4.port-filtered", &[]), Grade::Right, false);
        check(FILTERED, root, &verdict(Status::Fault, "l4.port-closed", &[]), Grade::RightLayer, false);
        check(FILTERED, root, &verdict(Status::Fault, "l3.remote-blackhole", &[]), Grade::Wrong, false);
    }

    #[test]
    fn not_knowing_is_right_only_where_the_scenario_says_that_it_cannot_be_known() {
        let unsure = verdict(Status::Inconclusive, "l4.port-filtered", &["l4.port-filtered", "l4.accept-queue-full"]);
        check(FILTERED, Privilege::Root, &unsure, Grade::Honest, false);
        let allowed = "[expect.unprivileged]\nstatus = \"inconclusive\"\n\
                       candidates = [\"l4.port-filtered\", \"l4.accept-queue-full\"]";
        let expect = format!("{FILTERED}{allowed}");
        check(&expect, Privilege::Root, &unsure, Grade::Honest, false);
        check(&expect, Privilege::Unprivileged, &unsure, Grade::Honest, true);
        let vague = verdict(Status::Inconclusive, "l4.port-closed", &["l4.port-closed"]);
        check(&expect, Privilege::Unprivileged, &vague, Grade::Vague, false);
        let wide = verdict(Status::Inconclusive, "l4.port-filtered", &["l4.port-filtered", "l3.remote-blackhole"]);
        check(&expect, Privilege::Unprivileged, &wide, Grade::Honest, false);
    }

    #[test]
    fn the_exit_code_names_the_layer() {
        let code = |status, cause| verdict(status, cause, &[]).exit_code();
        assert_eq!(code(Status::Fault, "l1.no-carrier"), Some(11));
        assert_eq!(code(Status::Fault, "l7.service-mute"), Some(17));
        assert_eq!(code(Status::Degraded, "l3.packet-loss"), Some(3));
        assert_eq!(code(Status::Inconclusive, "l4.port-filtered"), Some(4));
        assert_eq!(code(Status::Fault, "no cause"), None);
    }

    #[test]
    fn a_clean_twin_is_either_quiet_or_a_false_alarm() {
        let scenario = scenario(FILTERED);
        let healthy = Verdict { layer: None, cause: None, ..verdict(Status::Healthy, "", &[]) };
        assert_eq!(grade(&scenario, Variant::Twin, &healthy), Grade::Quiet);
        assert_eq!(grade(&scenario, Variant::Faulty, &healthy), Grade::Missed);
        let blamed = verdict(Status::Degraded, "l7.not-cacheable", &[]);
        assert_eq!(grade(&scenario, Variant::Twin, &blamed), Grade::FalseAlarm);
    }
}
