//! The report card of a handful of made-up runs.

use std::time::Duration;

use super::*;
use crate::runner::{Candidate, RunResult, Verdict, as_expected, grade};

fn scenario(id: &str, cause: &str) -> Scenario {
    let layer = Layer::of_cause(cause).unwrap();
    let text = format!(
        "name = \"{id}\"\nstory = \"s\"\ntopology = \"client-router-server\"\ntarget = \"server.lab\"\n\
         fault = [{{ at = \"router-server\", kind = \"carrier-off\" }}]\n\
         [expect]\nstatus = \"fault\"\nlayer = \"{layer}\"\ncause = \"{cause}\"\n"
    );
    Scenario::parse(id, &text).unwrap()
}

fn run(scenario: &Scenario, variant: Variant, status: Status, cause: Option<&str>, ms: f64) -> Run {
    let verdict = Verdict {
        status,
        layer: cause.and_then(Layer::of_cause),
        cause: cause.map(str::to_owned),
        confidence: None,
        summary: "it is so".to_owned(),
        candidates: cause.map(|c| Candidate { cause: c.to_owned() }).into_iter().collect(),
    };
    let privilege = Privilege::Root;
    Run {
        scenario: scenario.id.clone(),
        subject: scenario.subject(),
        variant,
        privilege,
        grade: grade(scenario, variant, &verdict),
        as_expected: as_expected(scenario, variant, privilege, &verdict),
        result: RunResult {
            ended: Ended::Verdict { verdict, exit_code: 0, total_ms: Some(ms) },
            testimony: Vec::new(),
            packets: None,
            build_ms: 1.0,
            wall_ms: ms + 10.0,
        },
    }
}

fn results() -> Results {
    let closed = scenario("closed", "l4.port-closed");
    let gone = scenario("gone", "l3.no-route");
    let runs = vec![
        run(&closed, Variant::Faulty, Status::Fault, Some("l4.port-closed"), 10.0),
        run(&closed, Variant::Twin, Status::Healthy, None, 5.0),
        run(&gone, Variant::Faulty, Status::Fault, Some("l4.port-filtered"), 30.0),
        run(&gone, Variant::Twin, Status::Degraded, Some("l7.not-cacheable"), 5.0),
    ];
    Results {
        scenarios: vec![closed, gone],
        runs,
        skipped: Vec::new(),
        unavailable: None,
        took: Duration::from_secs(1),
        jobs: 3,
        witness: false,
    }
}

#[test]
fn shares_are_of_the_runs_that_count() {
    let accuracy = accuracy(&results(), Subject::Check, Privilege::Root);
    assert_eq!((accuracy.faulty, accuracy.twins), (2, 2));
    assert_eq!((accuracy.layer, accuracy.cause), (0.5, 0.5));
    assert_eq!(accuracy.false_alarms, 0.5);
    assert_eq!(accuracy.verdict_ms, Some(Percentiles { median: 10.0, p95: 30.0 }));
}

#[test]
fn hosts_are_counted_apart_from_checks() {
    let text = "name = \"full\"\nstory = \"s\"\ntopology = \"client-router-server\"\nhost = { at = \"server\" }\n\
                fault = [{ at = \"server\", kind = \"kernel-conntrack-full\" }]\n\
                [expect]\nstatus = \"fault\"\nlayer = \"L4\"\ncause = \"l4.conntrack-full\"\n";
    let full = Scenario::parse("full", text).unwrap();
    let mut results = results();
    results.runs.push(run(&full, Variant::Faulty, Status::Fault, Some("l4.conntrack-full"), 10.0));
    results.runs.push(run(&full, Variant::Twin, Status::Degraded, Some("l4.retransmissions"), 10.0));
    results.scenarios.push(full);
    assert_eq!(accuracy(&results, Subject::Check, Privilege::Root).faulty, 2);
    let hosts = accuracy(&results, Subject::Host, Privilege::Root);
    assert_eq!((hosts.faulty, hosts.cause, hosts.false_alarms), (1, 1.0, 1.0));
    let text = markdown(&results);
    assert!(text.contains("| bottleneck named | 100.0 % of 1 faulty hosts |"), "{text}");
    assert!(text.contains("| host | cause | broken, with root's powers |"), "{text}");
}

#[test]
fn void_runs_count_for_nothing() {
    let mut results = results();
    results.runs[2].grade = Grade::LabFailed;
    let accuracy = accuracy(&results, Subject::Check, Privilege::Root);
    assert_eq!((accuracy.faulty, accuracy.cause), (1, 1.0));
}

#[test]
fn the_matrix_has_the_broken_layer_in_rows_and_the_named_one_in_columns() {
    let confusion = confusion(&results(), Subject::Check, Privilege::Root);
    assert_eq!(confusion[&Layer::L4]["L4"], 1);
    assert_eq!(confusion[&Layer::L3]["L4"], 1);
}

#[test]
fn a_miss_is_listed_with_what_was_said_instead() {
    let text = markdown(&results());
    assert!(text.contains("**gone** (broken, with root's powers): expected l3.no-route; said fault, l4.port-filtered"));
    assert!(text.contains("| L4 |  |  |  | **1** |"), "{text}");
    assert_eq!(json(&results())["schema"], SCHEMA);
}

#[test]
fn percentiles_of_nothing_are_nothing() {
    assert_eq!(percentiles(Vec::new()), None);
    let p = percentiles((1..=100).map(f64::from).collect()).unwrap();
    assert_eq!((p.median, p.p95), (50.0, 95.0));
}
