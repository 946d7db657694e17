//! Tests of the lab that need the lab: each run enters a sandbox in a process of its own, so this is a program and not a
//! harness. Called as `lab-worker` it is the worker, as `stand-in` a check that judges nothing.
//!
//! By default a handful of scenarios runs; FAULTMAP_LAB=all runs every one, FAULTMAP_LAB=TEXT those whose id contains it.
//! FAULTMAP_LAB_DIR takes them from a folder, FAULTMAP_CHECK=PATH tests a real check, FAULTMAP_LAB_REPORT=FILE writes the
//! report card.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

mod kernel;
mod stand_in;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use faultmap_lab::runner::{CheckProgram, Ended, Run, Variant, WORKER_SUBCOMMAND};
use faultmap_lab::scenario::Subject;
use faultmap_lab::{Library, Privilege, Progress, RunOptions, Worker, run_all, worker_main};

/// One of each way to break something; together they take a few seconds.
const SAMPLE: &[&str] = &[
    "cable-out",
    "conntrack-full-nat",
    "duplicate-address",
    "filtered-host",
    "host-accept-queue-full",
    "host-link-flapping",
    "interface-down",
    "pmtu-blackhole-http",
    "port-closed",
    "remote-no-route-v6",
    "ring-full",
    "syn-backlog-full",
    "dns-servfail",
];

fn main() -> ExitCode {
    let args = std::env::args().collect::<Vec<_>>();
    match args.get(1).map(String::as_str) {
        Some(WORKER_SUBCOMMAND) => work(args.get(2).map(String::as_str)),
        Some("stand-in") => stand_in::main(args.get(2).map_or("", String::as_str)),
        Some("host") => stand_in::host(),
        Some("kernel") => kernel::main(),
        // What `cargo test` and its friends may ask of any test program.
        Some("--list") => ExitCode::SUCCESS,
        _ => test(),
    }
}

fn work(job: Option<&str>) -> ExitCode {
    match worker_main(job, &mut io::stdin(), &mut io::stdout()) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn test() -> ExitCode {
    let failures = kernel_tests() + scenario_tests();
    println!("{failures} failures");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The packet filter and connection table of a real kernel, in a process that enters a sandbox of its own.
fn kernel_tests() -> usize {
    let program = std::env::current_exe().expect("the test program has a path");
    let status = std::process::Command::new(program).arg("kernel").status().expect("the test program starts");
    usize::from(!status.success())
}

fn scenario_tests() -> usize {
    let chosen = std::env::var("FAULTMAP_LAB").unwrap_or_default();
    let library = match std::env::var_os("FAULTMAP_LAB_DIR") {
        Some(folder) => Library::folder(folder.as_ref()),
        None => Library::embedded(),
    };
    let library = library.expect("scenarios are sound");
    let wanted = |id: &str| match chosen.as_str() {
        "" => SAMPLE.contains(&id),
        "all" => true,
        text => id.contains(text),
    };
    let scenarios = library.all().iter().filter(|s| wanted(&s.id)).cloned().collect();
    let real = std::env::var_os("FAULTMAP_CHECK").map(PathBuf::from);
    let check = match &real {
        Some(path) => CheckProgram { path: path.clone(), args: vec!["check".to_owned()] },
        None => {
            let path = std::env::current_exe().expect("the test program has a path");
            CheckProgram { path, args: vec!["stand-in".to_owned()] }
        }
    };
    let worker = Worker::current().expect("the test program has a path");
    let mut options = RunOptions::new(scenarios, check, worker);
    options.privileges = vec![Privilege::Root, Privilege::Unprivileged];
    if std::env::var_os("FAULTMAP_LAB_ROOT_ONLY").is_some() {
        options.privileges = vec![Privilege::Root];
    }
    options.affects_host = std::env::var_os("FAULTMAP_LAB_AFFECTS_HOST").is_some();
    let results = run_all(&options, |progress| {
        if let Progress::Finished { run, .. } = progress {
            println!("{}", line(run));
        }
    });
    if let Some(path) = std::env::var_os("FAULTMAP_LAB_REPORT") {
        std::fs::write(path, faultmap_lab::report::markdown(&results)).expect("the report can be written");
    }
    results.runs.iter().filter(|run| failed(run, real.is_some())).count()
}

/// The stand-in judges nothing, so only the lab itself can fail: nothing built, or a fault that met no traffic. On the
/// twin it must reach its target.
fn failed(run: &Run, real: bool) -> bool {
    match &run.result.ended {
        // There is nothing to reach at a host that is asked about itself.
        Ended::Verdict { .. } if run.subject == Subject::Host => false,
        Ended::Verdict { verdict, .. } => !real && run.variant == Variant::Twin && !verdict.summary.starts_with("ok"),
        _ => true,
    }
}

fn line(run: &Run) -> String {
    let what = match &run.result.ended {
        Ended::Verdict { verdict, .. } => {
            let candidates = verdict.candidates.iter().map(|c| c.cause.as_str()).collect::<Vec<_>>().join(",");
            format!("{:?} {} [{candidates}] {}", verdict.status, verdict.cause.as_deref().unwrap_or("-"), verdict.summary)
        }
        Ended::CheckFailed { reason } => format!("CHECK FAILED {reason}"),
        Ended::LabFailed { reason } => format!("LAB FAILED {reason}"),
    };
    let evidence = run.result.testimony.iter().map(|t| t.evidence.as_str()).collect::<Vec<_>>().join("; ");
    let (mark, build, wall) = (if run.as_expected { "+" } else { "-" }, run.result.build_ms, run.result.wall_ms);
    format!(
        "{mark} {:<28} {:?} {:?} {} build {build:.0} wall {wall:.0} ms: {what} ({evidence})",
        run.scenario,
        run.variant,
        run.privilege,
        run.grade.label()
    )
}
