//! Every reading of this host as metrics of Prometheus. Pure: a sample in, text out.
//!
//! Counters are totals since boot, so that one sample is enough and rates are the scraper's. Base units: bytes, seconds, ratios. What the
//! network pieces of node_exporter tell (netdev, netclass, netstat, sockstat, conntrack, softnet, arp) is here under like names.

mod exposition;
mod kernel;
mod links;
mod sockets;

use exposition::Exposition;
use faultmap_model::host::drops::DropReport;
use faultmap_model::host::{HostReport, HostSample};
use faultmap_model::report::LayerStatus;

/// What the numbers of a kernel are counted in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units {
    /// Bytes of a page of memory (`sysconf(_SC_PAGESIZE)`).
    pub(crate) page_bytes: u64,
    /// Ticks of `/proc/stat` a second (`sysconf(_SC_CLK_TCK)`).
    pub(crate) ticks_per_second: u64,
}

/// What a server knows beside the sample.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'a> {
    /// What happened since the sample before.
    pub(crate) report: Option<&'a HostReport>,
    /// What the kernel dropped since the count began.
    pub(crate) drops: Option<&'a DropReport>,
    /// How long the sample took.
    pub(crate) took_s: Option<f64>,
}

/// The text of one scrape.
pub(crate) fn prometheus(sample: &HostSample, units: Units, beside: Beside<'_>) -> String {
    let mut text = Exposition::default();
    about(&mut text, sample, beside);
    if let Some(report) = beside.report {
        verdict(&mut text, report);
    }
    if let Some(drops) = beside.drops {
        kernel::drops(&mut text, drops);
    }
    links::links(&mut text, sample);
    links::neighbors(&mut text, sample);
    kernel::counters(&mut text, sample);
    kernel::sockstat(&mut text, sample, units);
    kernel::tables(&mut text, sample);
    kernel::host(&mut text, sample, units);
    sockets::sockets(&mut text, sample);
    sockets::processes(&mut text, sample);
    text.finish()
}

fn about(text: &mut Exposition, sample: &HostSample, beside: Beside<'_>) {
    text.gauge("faultmap_build_info", "Version of faultmap; always 1.", &[("version", env!("CARGO_PKG_VERSION"))], 1_u32);
    let namespace = sample.namespace.map_or_else(String::new, |inode| inode.to_string());
    let hostname = sample.hostname.as_deref().unwrap_or_default();
    text.gauge(
        "faultmap_host_info",
        "Name of this host and inode of the network namespace; always 1.",
        &[("hostname", hostname), ("netns", &namespace)],
        1_u32,
    );
    text.gauge("faultmap_sample_timestamp_seconds", "When this sample was taken.", &[], seconds(sample.unix_ms));
    text.gauge_of("faultmap_sample_duration_seconds", "How long it took to take this sample.", &[], beside.took_s);
    for missing in &sample.unavailable {
        let labels = [("reading", missing.reading.as_str()), ("why", missing.why.as_str())];
        text.gauge("faultmap_reading_unavailable", "Readings that could not be had, and why; always 1.", &labels, 1_u32);
    }
}

/// Of the time between two scrapes.
fn verdict(text: &mut Exposition, report: &HostReport) {
    for layer in &report.layers {
        let id = layer.layer.to_string();
        let labels = [("layer", id.as_str())];
        text.gauge_of(
            "faultmap_layer_utilisation_ratio",
            "The fullest of what has a limit at this layer; absent where unknown.",
            &labels,
            layer.percent.map(|percent| percent / 100.0),
        );
        let state = match layer.status {
            LayerStatus::Ok => Some(0_u32),
            LayerStatus::Warn => Some(1),
            LayerStatus::Fail => Some(2),
            LayerStatus::Unknown | LayerStatus::NotReached => None,
        };
        text.gauge_of("faultmap_layer_state", "0 in order, 1 at risk, 2 at fault; absent where unknown.", &labels, state);
    }
    for finding in &report.findings {
        let layer = finding.layer.to_string();
        let cause = finding.cause.as_str();
        text.gauge(
            "faultmap_finding",
            "A cause that the counters prove since the scrape before; always 1. faultmap explain CAUSE tells more.",
            &[("layer", layer.as_str()), ("cause", cause)],
            1_u32,
        );
    }
}

/// Exact to the millisecond until the year 287396.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
