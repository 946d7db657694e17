//! The newcomer's demonstration: a small internet on this machine, a healthy check, a gateway whose connection table
//! fills up, and the same check again. It breaks nothing outside its sandbox.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::faults::{FaultError, KeptFlow, World};
use crate::host::{Family, Privilege};
use crate::runner::{CheckProgram, DemoJob, Job, Stage, Worker, WorkerError, check_command};
use crate::scenario::{Library, Scenario};

/// The scenario that is told: a translator whose table is full.
const SCENARIO: &str = "conntrack-full-nat";
/// Where the scenario's echo service listens, for the connection that lives through it all.
const ECHO_PORT: u16 = 7;
/// The story stops here even if a check does not.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Tells the story to `out`, in a process of its own. Returns its exit code.
pub fn demo(worker: &Worker, program: CheckProgram, color: bool, out: &mut dyn Write) -> io::Result<i32> {
    let job = serde_json::to_string(&Job::Demo(DemoJob { program, color })).map_err(io::Error::other)?;
    let mut command = std::process::Command::new(&worker.path);
    let mut child = command.args(&worker.args).arg(job).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdout.take() {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            out.write_all(chunk.get(..len).unwrap_or_default())?;
            out.flush()?;
        }
    }
    Ok(child.wait()?.code().unwrap_or(1))
}

/// The worker's part of [`demo`].
pub(crate) fn tell(job: &DemoJob, out: &mut dyn Write) -> Result<i32, WorkerError> {
    let started = Instant::now();
    let library = Library::embedded()?;
    let scenario = library.get(SCENARIO)?;
    let sandbox = crate::runner::enter()?;
    let stage = Stage::mount(&[&job.program.path])?;
    let mut world = crate::runner::build(scenario, &sandbox, &stage)?;
    say(out, &picture(&world, started.elapsed())?)?;

    let flow = long_lived(&world)?;
    say(out, "A long-lived connection runs from the client through the gateway, an echo every 0.2 s.\n")?;
    say(out, "\n-- 1. Everything works -----------------------------------------------------------\n")?;
    run_check(&world, scenario, job, out)?;

    say(out, "\n-- 2. Strangers' connections fill the gateway's table ------------------------------\n")?;
    let echoes = flow.echoes();
    for fault in &scenario.faults {
        let _ = fault.what.apply(&fault.at, &mut world)?;
    }
    let nat = world.net.nat(scenario.faults.first().map_or("", |fault| &fault.at))?;
    say(out, &format!("The gateway now holds {} connections and has room for no more.\n", nat.len()))?;
    std::thread::sleep(Duration::from_millis(500));
    let alive = flow.echoes() > echoes && flow.failures() == 0;
    let state = if alive { "still echoes: old connections live on, which is what makes this fault so confusing" } else { "died" };
    say(out, &format!("The long-lived connection {state}.\n"))?;

    say(out, "\n-- 3. The same check again ---------------------------------------------------------\n")?;
    run_check(&world, scenario, job, out)?;
    say(out, &format!("\nThat took {:.1} s and left nothing behind. ", started.elapsed().as_secs_f64()))?;
    say(out, "`faultmap lab list` shows every scenario, `faultmap lab up NAME` lets you live in one.\n")?;
    Ok(0)
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), WorkerError> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn picture(world: &World, took: Duration) -> Result<String, FaultError> {
    let addr = |name: &str| -> Result<String, FaultError> {
        Ok(world.net.host(name)?.addr(Family::V4).map_or_else(String::new, |addr| addr.to_string()))
    };
    let topology = &world.net.topology;
    let (client, server) = (&topology.client, &topology.server);
    Ok(format!(
        "A small internet, built on this machine in {:.1} s, no root needed: {} hosts, each with a kernel's network stack \
         of its own.\n\n    {client} {} ── gateway with address translation ── router ── {server} {}\n\n",
        took.as_secs_f64(),
        topology.hosts.len(),
        addr(client)?,
        addr(server)?,
    ))
}

fn long_lived(world: &World) -> Result<KeptFlow, FaultError> {
    let server = world.net.host(&world.net.topology.server)?;
    let none = || FaultError::Impossible { reason: "the server has no IPv4 address".to_owned() };
    let addr = server.addr(Family::V4).ok_or_else(none)?;
    Ok(KeptFlow::start(world.net.client()?, SocketAddr::new(addr, ECHO_PORT))?)
}

/// Runs the check for human eyes; its output goes to `out` as it is.
fn run_check(world: &World, scenario: &Scenario, job: &DemoJob, out: &mut dyn Write) -> Result<(), WorkerError> {
    let mut command = check_command(world, &job.program, scenario, Privilege::Unprivileged)?;
    let shown = std::iter::once("faultmap".to_owned()).chain(job.program.args.iter().cloned());
    let shown = shown.chain([scenario.target.clone()]).collect::<Vec<_>>().join(" ");
    say(out, &format!("$ {shown}\n"))?;
    command.env(if job.color { "CLICOLOR_FORCE" } else { "NO_COLOR" }, "1");
    let ending = crate::runner::run_child(&mut command, CHECK_LIMIT)
        .map_err(|e| LabError::system("run", job.program.path.display().to_string(), e))?;
    out.write_all(&ending.stdout)?;
    out.write_all(&ending.stderr)?;
    let code = ending.code.map_or("killed".to_owned(), |code| format!("exit code {code}"));
    say(out, &format!("({code}, {:.1} s)\n", ending.took.as_secs_f64()))
}
