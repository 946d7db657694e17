//! What the parent tells a worker process and what the worker answers: one JSON object each way.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::judgement::Verdict;
use super::packets::OfPackets;
use crate::faults::ProgramJob;
use crate::host::Privilege;
use crate::oracle::Testimony;

/// With the faults or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The scenario as written.
    Faulty,
    /// The same network and services, nothing broken.
    Twin,
}

/// The program that is put to the test, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckProgram {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments before the target: `["check"]`.
    pub args: Vec<String>,
}

/// What a worker is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Job {
    /// Run one variant of one scenario.
    Check(CheckJob),
    /// Build a scenario and hand over its client to a shell.
    Up(UpJob),
    /// Tell the newcomer's story.
    Demo(DemoJob),
    /// Be a program that listens, in a host of another worker's network.
    Program(ProgramJob),
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckJob {
    /// The scenario's id.
    pub id: String,
    /// The scenario's file.
    pub text: String,
    /// With faults or without.
    pub variant: Variant,
    /// The powers of the check.
    pub privilege: Privilege,
    /// The program to test.
    pub program: CheckProgram,
    /// Whether a witness runs at the other end even if the scenario has none.
    #[serde(default)]
    pub witness: bool,
    /// Where the check shall record its observations.
    pub record: Option<PathBuf>,
    /// Where the check shall record its packets.
    #[serde(default)]
    pub capture: Option<PathBuf>,
    /// Milliseconds the check may take before it is killed.
    pub timeout_ms: u64,
}

/// A scenario to live in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpJob {
    /// The scenario's id.
    pub id: String,
    /// The scenario's file.
    pub text: String,
    /// Whether the faults are applied.
    pub variant: Variant,
    /// The powers of the shell.
    pub privilege: Privilege,
    /// Run instead of a shell, with its arguments.
    pub command: Vec<String>,
    /// The program that `faultmap` shall mean in hints to the user.
    pub program: CheckProgram,
}

/// The demonstration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoJob {
    /// The program to show.
    pub program: CheckProgram,
    /// Whether to ask the check for colours.
    pub color: bool,
}

/// What one run brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// How it ended.
    pub ended: Ended,
    /// What the oracle saw of each fault.
    pub testimony: Vec<Testimony>,
    /// What the packets of the check say by themselves, if they were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<OfPackets>,
    /// Milliseconds it took to build the network and start the services.
    pub build_ms: f64,
    /// Milliseconds from starting the check's process to its end.
    pub wall_ms: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "kebab-case")]
pub enum Ended {
    /// With a verdict.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The exit code.
        exit_code: i32,
        /// The check's own `timing.total_ms`.
        total_ms: Option<f64>,
    },
    /// The check gave no verdict.
    CheckFailed {
        /// What it did instead.
        reason: String,
    },
    /// The lab failed before, during or after the check, or a fault met no traffic.
    LabFailed {
        /// Why.
        reason: String,
    },
}

impl RunResult {
    /// A run that never came to a check.
    pub fn lab_failed(reason: impl Into<String>) -> RunResult {
        RunResult { ended: Ended::LabFailed { reason: reason.into() }, testimony: Vec::new(), packets: None, build_ms: 0.0, wall_ms: 0.0 }
    }
}
