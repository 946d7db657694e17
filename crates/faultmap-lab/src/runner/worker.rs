//! The inside of a worker process: enter the sandbox, build, break, check, ask the oracle. One job, then it ends, and
//! with it everything it made.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::job::{CheckJob, CheckProgram, Ended, Job, RunResult, Variant};
use super::judgement::{Candidate, Verdict};
use super::witness::FarWitness;
use super::{Stage, baseline, child, packets, shell};
use crate::demo;
use crate::error::LabError;
use crate::faults::{FaultError, World, program_main};
use crate::host::Privilege;
use crate::oracle::{self, Testimony, Witness};
use crate::sandbox::Sandbox;
use crate::scenario::{Layer, Scenario, ScenarioError, Status, expand};

/// Largest job read.
const JOB_LIMIT: u64 = 4 * 1024 * 1024;
/// How a host is asked about: two samples a second apart, as people do it.
const HOST_COMMAND: [&str; 4] = ["host", "--json", "--interval", "1s"];
const CA_FILE: &str = "faultmap-lab-ca.pem";

/// Why a worker could not even begin, or not report.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The job is not one.
    #[error("read the job: {0}")]
    Job(#[source] serde_json::Error),
    /// Standard input or output failed.
    #[error("{doing}: {source}")]
    Stream {
        /// The operation.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The scenario in the job is not one.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The network or a fault failed.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

impl From<LabError> for WorkerError {
    fn from(error: LabError) -> WorkerError {
        WorkerError::Fault(error.into())
    }
}

impl From<io::Error> for WorkerError {
    fn from(source: io::Error) -> WorkerError {
        WorkerError::Stream { doing: "write", source }
    }
}

/// The body of the hidden worker subcommand. `job` is its argument; without one the job is read from `input`.
///
/// Must be called while the process has one thread, before any runtime starts. Returns the exit code.
pub fn worker_main(job: Option<&str>, input: &mut dyn Read, output: &mut dyn Write) -> Result<i32, WorkerError> {
    let job = match job {
        Some(text) => serde_json::from_str(text),
        None => {
            let mut text = String::new();
            let read = input.take(JOB_LIMIT).read_to_string(&mut text);
            read.map_err(|source| WorkerError::Stream { doing: "read the job", source })?;
            serde_json::from_str(&text)
        }
    };
    match job.map_err(WorkerError::Job)? {
        Job::Check(job) => {
            let result = check(&job).unwrap_or_else(|error| RunResult::lab_failed(error.to_string()));
            serde_json::to_writer(&mut *output, &result).map_err(WorkerError::Job)?;
            output.flush()?;
            Ok(0)
        }
        Job::Up(job) => shell::live(&job, output),
        Job::Demo(job) => demo::tell(&job, output),
        Job::Program(job) => Ok(program_main(&job, output)?),
    }
}

/// Enters the sandbox and sees to it that the worker ends with its parent.
pub(crate) fn enter() -> Result<Sandbox, LabError> {
    let sandbox = Sandbox::enter()?;
    // After entering: a change of credentials takes the signal away (prctl(2), PR_SET_PDEATHSIG).
    set_pdeathsig(Signal::SIGKILL).map_err(|e| LabError::system("set the parent-death signal of", "the worker", e))?;
    Ok(sandbox)
}

/// Builds a scenario's network in the sandbox, with the lab's root certificate where checks will find it.
pub(crate) fn build(scenario: &Scenario, sandbox: &Sandbox, stage: &Stage) -> Result<World, FaultError> {
    let mut world = World::build(scenario, sandbox, &stage.path(CA_FILE).display().to_string())?;
    stage.write(CA_FILE, world.pki.ca_pem())?;
    for given in &scenario.given {
        // No fault, so nobody asks whether it met traffic.
        let _ = given.what.apply(&given.at, &mut world)?;
    }
    Ok(world)
}

fn check(job: &CheckJob) -> Result<RunResult, WorkerError> {
    let started = Instant::now();
    let scenario = Scenario::parse(&job.id, &job.text)?;
    let scenario = if job.witness { scenario.witnessed() } else { scenario };
    let sandbox = enter()?;
    let written = [job.record.as_deref(), job.capture.as_deref()].map(|path| path.unwrap_or(Path::new("/")));
    let stage = Stage::mount(&[&job.program.path, written[0], written[1]])?;
    let mut world = build(&scenario, &sandbox, &stage)?;
    let build_ms = millis(started.elapsed());
    baseline::record(&world, &job.program, &scenario, job.privilege, &stage)?;
    // Before anything breaks, as in life.
    let far = FarWitness::start(&scenario, &world, &job.program, job.privilege, &stage)?;
    let witnesses = match job.variant {
        Variant::Faulty => apply_all(&scenario, &mut world)?,
        Variant::Twin => Vec::new(),
    };
    let mut command = question(&world, job, &scenario)?;
    command.args(far.iter().flat_map(FarWitness::arguments)).env("NO_COLOR", "1");
    let ending = child::run(&mut command, b"", Duration::from_millis(job.timeout_ms))
        .map_err(|source| WorkerError::Stream { doing: "run the check", source })?;
    let testimony = testify(witnesses, &world)?;
    let overruns = oracle::overruns(&world);
    let ended = ended(&ending, &testimony, overruns, scenario.host.is_some());
    // A check that could not begin has recorded nothing.
    let packets = job.capture.as_deref().filter(|file| file.is_file()).map(|file| packets::ask(&job.program, file));
    Ok(RunResult { ended, testimony, packets, build_ms, wall_ms: millis(ending.took) })
}

/// The command that is put to the test: a check of the target, or a look at a host.
fn question(world: &World, job: &CheckJob, scenario: &Scenario) -> Result<Command, FaultError> {
    if let Some(host) = &scenario.host {
        let mut command = world.net.host(&host.at)?.command(&job.program.path, job.privilege)?;
        command.args(HOST_COMMAND).args(&host.args);
        return Ok(command);
    }
    let mut command = check_command(world, &job.program, scenario, job.privilege)?;
    command.arg("--json");
    if let Some(path) = &job.record {
        command.arg("--record").arg(path);
    }
    if let Some(path) = &job.capture {
        // The lab's services have no secrets: its packets open by themselves.
        command.arg("--capture").arg(path).arg("--capture-keys");
    }
    Ok(command)
}

/// Applies every fault in order.
pub(crate) fn apply_all(scenario: &Scenario, world: &mut World) -> Result<Vec<Witness>, FaultError> {
    scenario.faults.iter().map(|fault| fault.what.apply(&fault.at, world)).collect()
}

fn testify(witnesses: Vec<Witness>, world: &World) -> Result<Vec<Testimony>, FaultError> {
    witnesses.into_iter().map(|witness| witness.testify(world)).collect()
}

/// The check's command line in the client, with the scenario's target and arguments.
pub(crate) fn check_command(
    world: &World,
    program: &CheckProgram,
    scenario: &Scenario,
    privilege: Privilege,
) -> Result<Command, FaultError> {
    let values = world.placeholders();
    let mut command = world.net.client()?.command(&program.path, privilege)?;
    command.args(&program.args).arg(expand(&scenario.target, &values));
    command.args(scenario.args.iter().map(|arg| expand(arg, &values)));
    command.envs(&world.check.variables);
    if let Some(limit) = world.check.nofile {
        limit_files(&mut command, limit);
    }
    Ok(command)
}

#[allow(unsafe_code)]
fn limit_files(command: &mut Command, limit: u64) {
    // SAFETY: setrlimit is async-signal-safe and the closure touches no memory of the parent.
    unsafe {
        command.pre_exec(move || setrlimit(Resource::RLIMIT_NOFILE, limit, limit).map_err(io::Error::from));
    }
}

/// The parts of a check's answer that matter here.
#[derive(Deserialize)]
struct Answer {
    verdict: Verdict,
    #[serde(default)]
    timing: Timing,
}

#[derive(Default, Deserialize)]
struct Timing {
    total_ms: Option<f64>,
}

/// The parts of an answer about a host that matter here (contract `faultmap.host/1`).
#[derive(Deserialize)]
struct HostAnswer {
    status: Status,
    bottleneck: Option<HostBottleneck>,
    findings: Vec<Candidate>,
}

#[derive(Deserialize)]
struct HostBottleneck {
    layer: Layer,
    cause: String,
    sentence: String,
}

impl HostAnswer {
    /// The bottleneck is what is graded; the other findings are kept for the report of a miss.
    fn answer(self) -> Answer {
        let summary = self.bottleneck.as_ref().map_or_else(|| "no bottleneck".to_owned(), |found| found.sentence.clone());
        let (layer, cause) = self.bottleneck.map(|found| (found.layer, found.cause)).unzip();
        let verdict = Verdict { status: self.status, layer, cause, confidence: None, summary, candidates: self.findings };
        Answer { verdict, timing: Timing::default() }
    }
}

fn ended(ending: &child::Ending, testimony: &[Testimony], overruns: u64, of_host: bool) -> Ended {
    if ending.timed_out {
        return Ended::CheckFailed { reason: format!("no verdict in time; {}", ending.complaint()) };
    }
    let read =
        if of_host { serde_json::from_slice(&ending.stdout).map(HostAnswer::answer) } else { serde_json::from_slice(&ending.stdout) };
    let answer: Answer = match read {
        Ok(answer) => answer,
        Err(error) => {
            let code = ending.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            return Ended::CheckFailed { reason: format!("no verdict ({error}), {code}: {}", ending.complaint()) };
        }
    };
    if answer.verdict.exit_code() != ending.code {
        let (expected, got) = (answer.verdict.exit_code(), ending.code);
        let reason = format!("the contract wants exit code {expected:?} for this verdict, the check ended with {got:?}");
        return Ended::CheckFailed { reason };
    }
    if overruns > 0 {
        return Ended::LabFailed { reason: format!("the lab lost {overruns} frames itself") };
    }
    if let Some(idle) = testimony.iter().find(|t| !t.bit) {
        let reason = format!("the fault {} met no traffic ({}); the check said: {}", idle.fault, idle.evidence, answer.verdict.summary);
        return Ended::LabFailed { reason };
    }
    Ended::Verdict { verdict: answer.verdict, exit_code: ending.code.unwrap_or(-1), total_ms: answer.timing.total_ms }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(stdout: &str, code: i32) -> child::Ending {
        let stdout = stdout.as_bytes().to_vec();
        child::Ending { code: Some(code), timed_out: false, stdout, stderr: Vec::new(), took: Duration::ZERO }
    }

    const FULL: &str = r#"{"schema": "faultmap.host/1", "status": "fault",
        "bottleneck": {"layer": "L4", "cause": "l4.conntrack-full", "severity": "crit", "object": "", "percent": 100.0, "sentence": "It is full."},
        "findings": [{"layer": "L4", "cause": "l4.conntrack-full"}, {"layer": "L1", "cause": "l1.queue-drops"}]}"#;

    #[test]
    fn the_bottleneck_of_a_host_is_graded_as_a_verdict_is() {
        let Ended::Verdict { verdict, exit_code, .. } = ended(&ending(FULL, 14), &[], 0, true) else { panic!("a verdict") };
        assert_eq!((verdict.layer, verdict.cause.as_deref(), exit_code), (Some(Layer::L4), Some("l4.conntrack-full"), 14));
        assert_eq!(verdict.candidates.len(), 2);
        let healthy = r#"{"status": "healthy", "bottleneck": null, "findings": []}"#;
        let Ended::Verdict { verdict, .. } = ended(&ending(healthy, 0), &[], 0, true) else { panic!("a verdict") };
        assert_eq!((verdict.status, verdict.cause), (Status::Healthy, None));
    }

    #[test]
    fn an_answer_against_the_contract_is_a_failure_of_the_program_under_test() {
        assert!(matches!(ended(&ending(FULL, 0), &[], 0, true), Ended::CheckFailed { .. }));
        assert!(matches!(ended(&ending(FULL, 14), &[], 0, false), Ended::CheckFailed { .. }));
        assert!(matches!(ended(&ending(FULL, 14), &[], 3, true), Ended::LabFailed { .. }));
    }
}
