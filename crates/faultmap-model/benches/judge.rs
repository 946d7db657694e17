//! How long does judging take? A healthy check and one whose port stays silent, both recorded in the lab, judged again and again.
//! Reading a recording is measured apart, since a check has its observations in memory already.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark; criterion's macros make functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use faultmap_model::judge::judge;
use faultmap_model::{Recording, Report, Status};
use std::hint::black_box;

const HEALTHY: &str = include_str!("recordings/healthy.jsonl");
const SILENT: &str = include_str!("recordings/silent.jsonl");

fn read(text: &str) -> Recording {
    Recording::read(text.as_bytes()).expect("the recordings beside this file are sound")
}

fn benches(criterion: &mut Criterion) {
    for (name, text, expect) in [("healthy", HEALTHY, Status::Healthy), ("silent", SILENT, Status::Fault)] {
        let recording = read(text);
        // A benchmark of the wrong thing is worse than none.
        assert_eq!(judge(&recording).status, expect, "{name}");
        criterion.bench_function(&format!("judge {name}"), |bench| bench.iter(|| judge(black_box(&recording))));
        criterion.bench_function(&format!("report {name}"), |bench| {
            bench.iter_batched(|| recording.clone(), Report::new, criterion::BatchSize::SmallInput);
        });
        criterion.bench_function(&format!("read {name}"), |bench| bench.iter(|| read(black_box(text))));
    }
}

criterion_group!(judging, benches);
criterion_main!(judging);
