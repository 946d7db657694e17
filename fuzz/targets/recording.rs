//! Recordings as anyone may hand them to `faultmap replay`: read, judged and reported without panic, and a verdict cites what is there.
#![cfg_attr(fuzzing, no_main)]

use faultmap_model::{Recording, Report};

faultmap_fuzz::target!(|data| {
    let Ok(recording) = Recording::read(data) else { return };
    let report = Report::new(recording.clone());
    let known = |id: &u32| recording.observations.iter().any(|observation| observation.id == *id);
    assert!(report.verdict.because.iter().all(known));
    assert_eq!(report.layers.len(), 7);
    let json = serde_json::to_string(&report).expect("a report is JSON");
    assert_eq!(json, serde_json::to_string(&Report::new(recording)).expect("a report is JSON"), "judging is pure");
});
