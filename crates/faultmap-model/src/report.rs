//! The report of `faultmap check`: the JSON of the contract, and what the terminal shows of it.

mod layers;

use crate::compare::{self, Change};
use crate::journey::Journey;
use crate::observation::{Baseline, NotAsked, SystemLookup};
use crate::verdict::Status;
use crate::{Evidence, Layer, Observation, Recording, Target, Verdict};
use serde::{Deserialize, Serialize};

/// Schema name of the JSON object.
pub const SCHEMA: &str = "faultmap.check/1";

/// How a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerStatus {
    /// Proven to work.
    Ok,
    /// Works, at risk or slow.
    Warn,
    /// At fault, or the likeliest candidate.
    Fail,
    /// The evidence does not tell.
    Unknown,
    /// A layer below failed first, or the scheme does not use it.
    NotReached,
}

/// One storey of the tower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// Which.
    pub layer: Layer,
    /// How it is.
    pub status: LayerStatus,
    /// One line.
    pub summary: String,
    /// Time spent there, where it can be told.
    pub ms: Option<f64>,
}

/// Where the time went. A phase that did not happen is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Resolution by the system.
    pub dns_ms: Option<f64>,
    /// TCP handshake of the address that was used.
    pub connect_ms: Option<f64>,
    /// TLS handshake.
    pub tls_ms: Option<f64>,
    /// Request sent to head received.
    pub ttfb_ms: Option<f64>,
    /// Head to end of the body.
    pub body_ms: Option<f64>,
    /// The whole check, diagnosis included.
    pub total_ms: f64,
}

/// A lack that leaves a question open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What is missing: a capability, time, a kernel facility.
    pub missing: String,
    /// What it would settle.
    pub would_settle: String,
}

/// The target as the contract shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownTarget {
    /// As written, credentials hidden.
    pub input: String,
    /// Protocol.
    pub scheme: crate::Scheme,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The earlier check of `--baseline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownBaseline {
    /// Its recording, as the user named it.
    pub file: String,
    /// When it began, Unix milliseconds.
    pub started_unix_ms: i64,
    /// How the target was.
    pub status: Status,
    /// The cause named then.
    pub cause: Option<String>,
}

impl ShownBaseline {
    fn of(baseline: &Baseline) -> Self {
        let Baseline { file, started_unix_ms, status, cause, .. } = baseline;
        Self { file: file.clone(), started_unix_ms: *started_unix_ms, status: *status, cause: cause.clone() }
    }
}

/// Everything that one check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was checked.
    pub target: ShownTarget,
    /// Where from, when the user chose a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<crate::recording::Vantage>,
    /// What the judge says.
    pub verdict: Verdict,
    /// The seven layers, L1 first.
    pub layers: Vec<LayerReport>,
    /// Where the time went.
    pub timing: Timing,
    /// The earlier check that this one is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ShownBaseline>,
    /// What is different from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Change>>,
    /// The evidence.
    pub observations: Vec<Observation>,
    /// What could not be asked.
    pub limits: Vec<Limit>,
}

impl Report {
    /// Judges the recording and puts the report together. Pure.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        let journey = Journey::of(&recording);
        let (place, verdict) = journey.decide();
        let there = place.evidence();
        let layers = layers::tower(&there, &verdict);
        let timing = timing(&there);
        let limits = limits(&there, &verdict);
        let evidence = Evidence::new(&recording);
        let earlier = evidence.first::<Baseline>(|_| true).map(|(_, baseline)| baseline);
        let baseline = earlier.map(ShownBaseline::of);
        let changes = earlier.map(|baseline| compare::since(baseline, &evidence, &verdict));
        drop(journey);
        let from = recording.header.from;
        let Target { input, scheme, host, port, .. } = recording.header.target;
        let target = ShownTarget { input, scheme, host, port };
        Self { schema: SCHEMA, target, from, verdict, layers, timing, baseline, changes, observations: recording.observations, limits }
    }
}

pub(crate) fn timing(evidence: &Evidence<'_>) -> Timing {
    let took = |id| evidence.get(id).map(|observation| observation.took_ms);
    let main = evidence.main_address();
    let connect = evidence.connected().find(|(_, connect)| Some(connect.to) == main).or_else(|| evidence.connected().next());
    let response = evidence.response();
    Timing {
        dns_ms: evidence.first::<SystemLookup>(|_| true).and_then(|(id, _)| took(id)),
        connect_ms: connect.and_then(|(id, _)| took(id)),
        tls_ms: evidence.handshake().and_then(|(id, _)| took(id)),
        ttfb_ms: response
            .map(|(_, response)| response.ttfb_ms)
            .or_else(|| evidence.dialogue().and_then(|(_, dialogue)| dialogue.first_byte_ms)),
        body_ms: response.map(|(_, response)| response.body.took_ms),
        total_ms: evidence.header.total_ms,
    }
}

/// A verdict that leaves nothing open needs no further evidence: what could not be asked is then no limit.
const SETTLED: f64 = 0.95;

/// The user asked for this question by name: that it could not be asked is always told.
const ASKED_FOR: &str = "dns.trace";

fn limits(evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    let open = verdict.status == Status::Inconclusive || verdict.confidence < SETTLED;
    for (_, skipped) in evidence.all::<NotAsked>().filter(|(_, skipped)| open || skipped.question == ASKED_FOR) {
        if skipped.would_settle.is_empty() {
            continue;
        }
        let missing = skipped.missing.clone().unwrap_or_else(|| skipped.why.clone());
        let limit = Limit { missing, would_settle: skipped.would_settle.clone() };
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    if evidence.header.cut_short {
        limits.push(Limit {
            missing: "time".to_owned(),
            would_settle: "the questions that were left unasked; a longer run (--budget) asks them".to_owned(),
        });
    }
    limits
}
