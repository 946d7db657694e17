//! A scenario to live in: its network is built, its faults applied, and the user gets a shell on the client.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::job::{Job, UpJob, Variant};
use super::witness::FarWitness;
use super::worker::{WorkerError, apply_all, build, enter};
use super::{Stage, Worker, baseline};
use crate::error::LabError;
use crate::faults::World;
use crate::host::{Family, Host};
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, expand};

/// Becomes a worker that builds the scenario and hands over its client. Returns only if that fails.
///
/// The worker replaces this process, so that it owns the terminal and nothing is left to wait for it.
pub fn up(worker: &Worker, job: UpJob) -> io::Error {
    match serde_json::to_string(&Job::Up(job)) {
        Ok(job) => worker.command().arg(job).exec(),
        Err(error) => io::Error::other(error),
    }
}

/// The worker's part of [`up`]: returns the shell's exit code.
pub(super) fn live(job: &UpJob, out: &mut dyn Write) -> Result<i32, WorkerError> {
    let scenario = Scenario::parse(&job.id, &job.text)?;
    let sandbox = enter()?;
    let stage = Stage::mount(&[&job.program.path])?;
    let mut world = build(&scenario, &sandbox, &stage)?;
    baseline::record(&world, &job.program, &scenario, job.privilege, &stage)?;
    let far = FarWitness::start(&scenario, &world, &job.program, job.privilege, &stage)?;
    let _witnesses = match job.variant {
        Variant::Faulty => apply_all(&scenario, &mut world)?,
        Variant::Twin => Vec::new(),
    };
    let extra: String = far.iter().flat_map(FarWitness::arguments).map(|argument| format!(" {argument}")).collect();
    write!(out, "{}", welcome(&scenario, &world, &sandbox, job, &extra))?;
    out.flush()?;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (program, args) = match job.command.split_first() {
        Some((program, args)) => (program.clone(), args),
        None => (shell, &[][..]),
    };
    let client = match &scenario.host {
        Some(host) => world.net.host(&host.at)?,
        None => world.net.client()?,
    };
    let mut command = client.command(Path::new(&program), job.privilege)?;
    command.args(args).envs(&world.check.variables);
    command.env("PS1", format!("{}@{} $ ", client.name, scenario.id));
    survive_interrupts()?;
    let status = command.status().map_err(|e| LabError::system("run", program, e))?;
    Ok(status.code().unwrap_or(1))
}

/// Ctrl-C is for the shell. A handler (not "ignore") is forgotten by exec, so the shell's children still die of it.
#[allow(unsafe_code)]
fn survive_interrupts() -> Result<(), LabError> {
    extern "C" fn shrug(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(shrug), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGINT, &action) }.map_err(|e| LabError::system("handle", "SIGINT", e))?;
    Ok(())
}

fn welcome(scenario: &Scenario, world: &World, sandbox: &Sandbox, job: &UpJob, extra: &str) -> String {
    let mut text = String::new();
    let state = if job.variant == Variant::Faulty { "broken as written" } else { "healthy twin" };
    let _ = writeln!(text, "{} ({state})\n  {}\n", scenario.name, scenario.story);
    let mut hosts = world.net.hosts.values().collect::<Vec<_>>();
    let here = scenario.host.as_ref().map_or(&world.net.topology.client, |host| &host.at);
    hosts.sort_by_key(|host| (host.name != *here, host.name.clone()));
    let _ = writeln!(text, "You get a shell on {here}. From another terminal, enter the hosts with:");
    for host in hosts {
        let _ = writeln!(text, "  {:<10} {:<30} {}", host.name, addresses(host), enter_command(host, sandbox));
    }
    if let Some(host) = &scenario.host {
        let args = host.args.iter().map(|arg| format!(" {arg}")).collect::<String>();
        let _ = writeln!(text, "\nThis scenario asks about {here}:\n  {} host{args}\n", job.program.path.display());
        return text;
    }
    let values = world.placeholders();
    let args = scenario.args.iter().map(|arg| format!(" {}", expand(arg, &values))).collect::<String>();
    let program = std::iter::once(job.program.path.display().to_string()).chain(job.program.args.iter().cloned());
    let check = program.collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "\nThe check of this scenario:\n  {check} {}{args}{extra}\n", expand(&scenario.target, &values));
    text
}

fn addresses(host: &Host) -> String {
    let both = [host.addr(Family::V4), host.addr(Family::V6)].into_iter().flatten();
    both.map(|addr| addr.to_string()).collect::<Vec<_>>().join(" ")
}

/// Works from any terminal of the same user: the worker keeps every host's namespace open as a descriptor.
fn enter_command(host: &Host, sandbox: &Sandbox) -> String {
    let worker = std::process::id();
    let user = if sandbox.has_user_namespace() { "--user --preserve-credentials " } else { "" };
    let descriptor = host.netns().file().as_raw_fd();
    format!("nsenter --target {worker} {user}--mount --net=/proc/{worker}/fd/{descriptor}")
}
