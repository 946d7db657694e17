//! What the packets of a check say by themselves: the check records them, and afterwards the same program reads them as it would anybody's capture.
//! Only where the check may record packets. It grades nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child;
use super::job::{CheckProgram, Variant};
use super::judgement::Verdict;
use crate::scenario::Scenario;

/// The command that reads a capture.
const COMMAND: [&str; 2] = ["capture", "--json"];
/// Time to read one; they have some hundred packets.
const LIMIT: Duration = Duration::from_secs(30);

/// The answer of `faultmap capture` about the packets of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum OfPackets {
    /// A verdict.
    Verdict(Verdict),
    /// No packet of the check ever passed an interface: nothing can be said.
    NoPackets,
    /// It gave no verdict.
    Failed {
        /// What it did instead.
        reason: String,
    },
}

/// The part of the answer that matters here (contract `faultmap.capture/1`).
#[derive(Deserialize)]
struct Answer {
    verdict: Verdict,
    capture: Capture,
}

#[derive(Deserialize)]
struct Capture {
    packets: u64,
}

/// The file of a run's packets in a folder.
pub(super) fn file(folder: &Path, scenario: &Scenario, variant: Variant) -> PathBuf {
    let variant = if variant == Variant::Faulty { "faulty" } else { "twin" };
    folder.join(format!("{}.{variant}.pcapng", scenario.id))
}

/// Asks the program about the packets that its check has recorded.
pub(super) fn ask(program: &CheckProgram, file: &Path) -> OfPackets {
    let ending = match child::run(Command::new(&program.path).args(COMMAND).arg(file).env("NO_COLOR", "1"), b"", LIMIT) {
        Ok(ending) => ending,
        Err(error) => return OfPackets::Failed { reason: format!("start {}: {error}", program.path.display()) },
    };
    match serde_json::from_slice::<Answer>(&ending.stdout) {
        Ok(answer) if answer.capture.packets == 0 => OfPackets::NoPackets,
        Ok(answer) => OfPackets::Verdict(answer.verdict),
        Err(error) => OfPackets::Failed { reason: format!("no verdict ({error}): {}", ending.complaint()) },
    }
}
