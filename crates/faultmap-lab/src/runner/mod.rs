//! Runs scenarios: one fresh process per run, with faults and without, as root and without powers, several at a time.
//! It grades the answers; it does not print.

mod baseline;
mod child;
mod job;
mod judgement;
mod packets;
mod shell;
mod stage;
mod witness;
mod worker;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use job::{CheckJob, CheckProgram, DemoJob, Ended, Job, RunResult, UpJob, Variant};
pub use judgement::{Candidate, Grade, Verdict, as_expected, grade};
pub use packets::OfPackets;
pub use shell::up;
pub(crate) use stage::{BASELINE_FILE, Stage};
pub use worker::{WorkerError, worker_main};
pub(crate) use worker::{build, check_command, enter};

use crate::fabric::tap_refusal;
use crate::host::Privilege;
use crate::scenario::{Scenario, Subject};

/// The hidden subcommand by which a program that links this crate must call [`worker_main`].
pub const WORKER_SUBCOMMAND: &str = "lab-worker";
/// How long a worker may take besides the check: building, filling tables, ending.
const WORKER_SLACK: Duration = Duration::from_secs(30);

/// The program that calls [`worker_main`], with the arguments that make it do so.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Worker {
    /// The running program itself with [`WORKER_SUBCOMMAND`].
    pub fn current() -> io::Result<Worker> {
        Ok(Worker { path: std::env::current_exe()?, args: vec![WORKER_SUBCOMMAND.into()] })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        command
    }
}

/// What to run and how.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// With faults, without, or both.
    pub variants: Vec<Variant>,
    /// The powers of the check.
    pub privileges: Vec<Privilege>,
    /// The program under test.
    pub check: CheckProgram,
    /// The program that does the runs.
    pub worker: Worker,
    /// Runs at the same time; at least one.
    pub jobs: usize,
    /// Time for one check.
    pub timeout: Duration,
    /// Where checks record their observations, as `SCENARIO.VARIANT.PRIVILEGE.jsonl`.
    pub record: Option<PathBuf>,
    /// Where checks with root's powers record their packets, as `SCENARIO.VARIANT.pcapng`; what these say by themselves is asked, too.
    pub capture: Option<PathBuf>,
    /// Whether a witness runs at the other end of every scenario, not only of those that name one.
    pub witness: bool,
    /// Whether to run scenarios that touch kernel state shared by the whole machine.
    pub affects_host: bool,
}

impl RunOptions {
    /// Every run of these scenarios: faulty and twin, root and unprivileged, [`usual_jobs`] at a time, 40 s each.
    pub fn new(scenarios: Vec<Scenario>, check: CheckProgram, worker: Worker) -> RunOptions {
        RunOptions {
            scenarios,
            variants: vec![Variant::Faulty, Variant::Twin],
            privileges: vec![Privilege::Root, Privilege::Unprivileged],
            check,
            worker,
            jobs: usual_jobs(),
            timeout: Duration::from_secs(40),
            record: None,
            capture: None,
            witness: false,
            affects_host: false,
        }
    }
}

/// How many runs at a time a machine does well: two for each CPU, because a run takes a tenth of the CPU time that it takes of the clock.
/// Not more than sixteen, for the kernel's memory: some runs fill tables.
pub fn usual_jobs() -> usize {
    const MOST: usize = 16;
    (2 * thread::available_parallelism().map_or(1, usize::from)).min(MOST)
}

/// One run and its grade.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The scenario.
    pub scenario: String,
    /// What it put to the test.
    pub subject: Subject,
    /// With faults or without.
    pub variant: Variant,
    /// The powers of the check.
    pub privilege: Privilege,
    /// How good the answer was.
    pub grade: Grade,
    /// Whether it was to the letter what the scenario calls for.
    pub as_expected: bool,
    /// What happened.
    pub result: RunResult,
}

/// What [`run_all`] tells while it works.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A run begins.
    Started {
        /// The scenario.
        scenario: &'a str,
        /// With faults or without.
        variant: Variant,
        /// The powers of the check.
        privilege: Privilege,
    },
    /// A run has ended.
    Finished {
        /// The run.
        run: &'a Run,
        /// Runs ended so far.
        done: usize,
        /// Runs in all.
        total: usize,
    },
}

/// Every run, in the order scenario, variant, privilege.
#[derive(Debug, Clone)]
pub struct Results {
    /// The scenarios that ran.
    pub scenarios: Vec<Scenario>,
    /// The runs.
    pub runs: Vec<Run>,
    /// Scenarios left out because they touch the whole machine.
    pub skipped: Vec<String>,
    /// Scenarios left out because this machine cannot build them, and why.
    pub unavailable: Option<Unavailable>,
    /// Wall clock of everything together.
    pub took: Duration,
    /// Runs at the same time.
    pub jobs: usize,
    /// Whether a witness ran at the other end of every scenario.
    pub witness: bool,
}

/// What this machine cannot build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unavailable {
    /// The scenarios.
    pub scenarios: Vec<String>,
    /// What they need that is not to be had.
    pub reason: String,
}

/// Runs a child without input, within a time limit.
pub(crate) fn run_child(command: &mut Command, limit: Duration) -> io::Result<child::Ending> {
    child::run(command, b"", limit)
}

struct Task<'a> {
    scenario: &'a Scenario,
    variant: Variant,
    privilege: Privilege,
}

enum Event {
    Started(usize),
    Finished(usize, Box<Run>),
}

/// Runs everything the options ask for; `progress` is called on the calling thread.
pub fn run_all(options: &RunOptions, mut progress: impl FnMut(Progress<'_>)) -> Results {
    let started = Instant::now();
    let (chosen, skipped): (Vec<_>, Vec<_>) = options.scenarios.iter().partition(|scenario| options.affects_host || !scenario.affects_host);
    // With a witness everywhere it is the check that is measured.
    let chosen = chosen.into_iter().filter(|scenario| !options.witness || scenario.host.is_none()).collect();
    let (chosen, unavailable) = buildable(chosen);
    let tasks = tasks(options, &chosen);
    let next = AtomicUsize::new(0);
    let mut runs = Vec::new();
    thread::scope(|scope| {
        let (events, heard) = mpsc::channel();
        for _ in 0..options.jobs.clamp(1, tasks.len().max(1)) {
            let (events, tasks, next) = (events.clone(), &tasks, &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index) else { return };
                    let _ = events.send(Event::Started(index));
                    let _ = events.send(Event::Finished(index, Box::new(run_task(options, task))));
                }
            });
        }
        drop(events);
        for event in heard {
            match event {
                Event::Started(index) => announce(&tasks, index, &mut progress),
                Event::Finished(index, run) => {
                    progress(Progress::Finished { run: &run, done: runs.len() + 1, total: tasks.len() });
                    runs.push((index, *run));
                }
            }
        }
    });
    runs.sort_by_key(|(index, _)| *index);
    Results {
        scenarios: chosen.into_iter().cloned().collect(),
        runs: runs.into_iter().map(|(_, run)| run).collect(),
        skipped: skipped.into_iter().map(|scenario| scenario.id.clone()).collect(),
        unavailable,
        took: started.elapsed(),
        jobs: options.jobs,
        witness: options.witness,
    }
}

/// Leaves out what needs devices that this machine keeps to itself.
fn buildable(chosen: Vec<&Scenario>) -> (Vec<&Scenario>, Option<Unavailable>) {
    let Some(reason) = tap_refusal() else { return (chosen, None) };
    let (without, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|scenario| scenario.needs_tap());
    let scenarios = without.into_iter().map(|scenario| scenario.id.clone()).collect::<Vec<_>>();
    let unavailable = Some(Unavailable { scenarios, reason }).filter(|unavailable| !unavailable.scenarios.is_empty());
    (chosen, unavailable)
}

fn tasks<'a>(options: &RunOptions, scenarios: &[&'a Scenario]) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for scenario in scenarios {
        for variant in &options.variants {
            for privilege in &options.privileges {
                tasks.push(Task { scenario, variant: *variant, privilege: *privilege });
            }
        }
    }
    tasks
}

fn announce(tasks: &[Task<'_>], index: usize, progress: &mut impl FnMut(Progress<'_>)) {
    if let Some(Task { scenario, variant, privilege }) = tasks.get(index) {
        progress(Progress::Started { scenario: &scenario.id, variant: *variant, privilege: *privilege });
    }
}

fn run_task(options: &RunOptions, task: &Task<'_>) -> Run {
    let Task { scenario, variant, privilege } = task;
    let result = run(options, scenario, *variant, *privilege);
    let (grade, as_expected) = match &result.ended {
        Ended::Verdict { verdict, .. } => (grade(scenario, *variant, verdict), as_expected(scenario, *variant, *privilege, verdict)),
        Ended::CheckFailed { .. } => (Grade::CheckFailed, false),
        Ended::LabFailed { .. } => (Grade::LabFailed, false),
    };
    Run { scenario: scenario.id.clone(), subject: scenario.subject(), variant: *variant, privilege: *privilege, grade, as_expected, result }
}

/// Runs one variant of one scenario in a process of its own.
pub fn run(options: &RunOptions, scenario: &Scenario, variant: Variant, privilege: Privilege) -> RunResult {
    let timeout_ms = u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX);
    let job = Job::Check(CheckJob {
        id: scenario.id.clone(),
        text: scenario.text.clone(),
        variant,
        privilege,
        program: options.check.clone(),
        witness: options.witness,
        record: options.record.as_deref().map(|folder| recording(folder, scenario, variant, privilege)),
        capture: options.capture.as_deref().filter(|_| privilege == Privilege::Root).map(|folder| packets::file(folder, scenario, variant)),
        timeout_ms,
    });
    let input = match serde_json::to_vec(&job) {
        Ok(input) => input,
        Err(error) => return RunResult::lab_failed(format!("write the job: {error}")),
    };
    let ending = match child::run(&mut options.worker.command(), &input, options.timeout + WORKER_SLACK) {
        Ok(ending) => ending,
        Err(error) => {
            return RunResult::lab_failed(format!("start {}: {error}", options.worker.path.display()));
        }
    };
    if ending.timed_out {
        return RunResult::lab_failed(format!("the worker did not end; {}", ending.complaint()));
    }
    serde_json::from_slice(&ending.stdout).unwrap_or_else(|_| {
        let code = ending.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        RunResult::lab_failed(format!("the worker ended with {code}: {}", ending.complaint()))
    })
}

fn recording(folder: &Path, scenario: &Scenario, variant: Variant, privilege: Privilege) -> PathBuf {
    let variant = if variant == Variant::Faulty { "faulty" } else { "twin" };
    let privilege = if privilege == Privilege::Root { "root" } else { "unprivileged" };
    folder.join(format!("{}.{variant}.{privilege}.jsonl", scenario.id))
}
