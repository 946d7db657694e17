//! The object of `faultmap host --json`.

use super::drops::Drops;
use super::findings::{self, Finding, Severity};
use super::forecast::{self, Forecast, HistoryPoint};
use super::layers::{self, Bottleneck, Fullest, HostLayer};
use super::reading::{Kind, Reading};
use super::readings;
use super::sample::{HostSample, Unavailable};
use super::window::Window;
use crate::verdict::Status;
use serde::{Deserialize, Serialize};

/// Schema name of the JSON object.
pub const SCHEMA: &str = "faultmap.host/1";

/// What two samples say of this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the second sample was taken, Unix milliseconds.
    pub taken_unix_ms: u64,
    /// Time between the samples; null where they cannot be compared, and then no rate is known.
    pub interval_ms: Option<f64>,
    /// Name of the host.
    pub hostname: Option<String>,
    /// Inode of the network namespace.
    pub namespace: Option<u64>,
    /// `healthy`, `degraded` or `fault`.
    pub status: Status,
    /// The layer at which this host is at its end, or null.
    pub bottleneck: Option<Bottleneck>,
    /// The reading nearest to 100 %, sick or healthy.
    pub fullest: Option<Fullest>,
    /// The seven layers, L1 first.
    pub layers: Vec<HostLayer>,
    /// Causes that the readings prove, worst first.
    pub findings: Vec<Finding>,
    /// When what grows will be full.
    pub forecast: Vec<Forecast>,
    /// Every reading, lowest layer first.
    pub readings: Vec<Reading>,
    /// What could not be read, and why.
    pub unavailable: Vec<Unavailable>,
    /// Where in the kernel packets died, if that was asked for: see [`HostReport::with_drops`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<Drops>,
}

impl HostReport {
    /// Compares two samples. `history` holds earlier points of the same host, oldest first, for the forecast. Pure.
    #[must_use]
    pub fn new(before: &HostSample, after: &HostSample, history: &[HistoryPoint]) -> Self {
        let window = Window::new(before, after);
        let readings = readings::all(&window);
        let findings = findings::all(&window, &readings);
        let worst = findings.iter().map(|finding| finding.severity).max();
        let point = point(after.unix_ms, &readings);
        Self {
            schema: SCHEMA.to_owned(),
            taken_unix_ms: after.unix_ms,
            interval_ms: window.seconds.map(|seconds| seconds * 1000.0),
            hostname: after.hostname.clone(),
            namespace: after.namespace,
            status: match worst {
                None => Status::Healthy,
                Some(Severity::Warn) => Status::Degraded,
                Some(Severity::Crit) => Status::Fault,
            },
            bottleneck: layers::bottleneck(&findings),
            fullest: layers::fullest(&readings),
            layers: layers::tower(&readings, &findings),
            forecast: forecast::all(history, &point),
            findings,
            readings,
            unavailable: after.unavailable.clone(),
            drops: None,
        }
    }

    /// This report's place in a history: the share of every reading that has a limit.
    #[must_use]
    pub fn point(&self) -> HistoryPoint {
        point(self.taken_unix_ms, &self.readings)
    }

    /// The process exit code of the contract: 0 healthy, 3 at risk, 11 to 17 the layer at fault.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.bottleneck {
            None => 0,
            Some(bottleneck) if bottleneck.severity == Severity::Crit => 10 + bottleneck.layer.number(),
            Some(_) => 3,
        }
    }

    /// The readings of one id.
    pub fn readings_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Reading> + 'a {
        self.readings.iter().filter(move |reading| reading.id == id)
    }
}

fn point(unix_ms: u64, readings: &[Reading]) -> HistoryPoint {
    let shares = readings.iter().filter(|reading| reading.kind == Kind::Utilisation);
    HistoryPoint { unix_ms, percents: shares.filter_map(|reading| Some((reading.key(), reading.percent?))).collect() }
}
