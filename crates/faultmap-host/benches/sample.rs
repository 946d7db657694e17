//! How long does one look at this host take? Measured as the host is: hold connections open beside it to see what they cost.

#![allow(missing_docs, reason = "criterion's macros make functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use faultmap_host::{Sampler, Wanted};
use faultmap_model::HostReport;

fn benches(criterion: &mut Criterion) {
    let mut all = Sampler::new(Wanted::default());
    let (before, after) = (all.sample(), all.sample());
    let sockets: u64 = after.tcp.iter().flat_map(|tcp| tcp.states.values()).sum();
    criterion.bench_function(&format!("sample with {sockets} TCP sockets"), |bench| bench.iter(|| all.sample()));
    criterion.bench_function("first sample, finding programs", |bench| bench.iter(|| faultmap_host::sample(&Wanted::default())));
    let mut counters = Sampler::new(Wanted { sockets: false, processes: false });
    criterion.bench_function("sample of counters alone", |bench| bench.iter(|| counters.sample()));
    criterion.bench_function("report", |bench| bench.iter(|| HostReport::new(&before, &after, &[])));
}

criterion_group!(all, benches);
criterion_main!(all);
