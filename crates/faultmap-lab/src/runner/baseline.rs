//! A recording of the healthy network, made before anything breaks, for scenarios whose check is compared with an earlier day.

use std::time::Duration;

use super::child;
use super::job::CheckProgram;
use super::worker::{WorkerError, check_command};
use super::{Stage, stage};
use crate::faults::World;
use crate::host::Privilege;
use crate::scenario::{BASELINE, Scenario};

/// A check of a healthy network takes far less.
const LIMIT: Duration = Duration::from_secs(20);

/// Checks the network as it is, if the scenario wants that, and puts the recording where `{baseline}` says.
pub(super) fn record(
    world: &World,
    program: &CheckProgram,
    scenario: &Scenario,
    privilege: Privilege,
    stage: &Stage,
) -> Result<(), WorkerError> {
    if !scenario.wants_baseline() {
        return Ok(());
    }
    let mut command = check_command(world, program, &without_baseline(scenario), privilege)?;
    // By way of stdout: an unprivileged check cannot write into the stage.
    command.args(["--record", "-"]).env("NO_COLOR", "1");
    let ending =
        child::run(&mut command, b"", LIMIT).map_err(|source| WorkerError::Stream { doing: "run the check for the baseline", source })?;
    if ending.code != Some(0) {
        let reason = format!("the check for the baseline did not find the network healthy: {}", ending.complaint());
        return Err(WorkerError::Stream { doing: "record the baseline", source: std::io::Error::other(reason) });
    }
    stage.write(stage::BASELINE_FILE, &String::from_utf8_lossy(&ending.stdout))?;
    Ok(())
}

/// The scenario without the option that the baseline is for.
fn without_baseline(scenario: &Scenario) -> Scenario {
    let placeholder = format!("{{{BASELINE}}}");
    let mut args: Vec<String> = Vec::new();
    for arg in &scenario.args {
        if *arg == placeholder {
            // The option that it is the value of.
            args.pop();
        } else if !arg.contains(&placeholder) {
            args.push(arg.clone());
        }
    }
    Scenario { args, ..scenario.clone() }
}
