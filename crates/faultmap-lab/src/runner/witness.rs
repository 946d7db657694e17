//! The second vantage point of a run: the program under test as a witness at the other end, over a wire that no fault touches.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Stage;
use super::job::CheckProgram;
use super::worker::WorkerError;
use crate::error::LabError;
use crate::faults::World;
use crate::host::Privilege;
use crate::scenario::Scenario;

const PORT: u16 = 7317;
const SECRET_FILE: &str = "witness-secret";
/// Good enough for a network that nobody else is in.
const SECRET: &str = "the lab's own secret, for one run only\n";
/// A loaded machine takes its time to start a program.
const READY_WITHIN: Duration = Duration::from_secs(10);
const LONGEST_LINE: u64 = 4096;

/// A running witness; ends when dropped.
pub(crate) struct FarWitness {
    child: Child,
    arguments: Vec<String>,
}

impl FarWitness {
    /// Starts the scenario's witness, if it has one; returns once it listens.
    pub(crate) fn start(
        scenario: &Scenario,
        world: &World,
        program: &CheckProgram,
        privilege: Privilege,
        stage: &Stage,
    ) -> Result<Option<FarWitness>, WorkerError> {
        let Some(at) = &scenario.witness else { return Ok(None) };
        let host = world.net.host(at)?;
        let Some(address) = host.management.as_ref().and_then(|wire| wire.addrs.first()) else { return Ok(None) };
        let place = format!("{}:{PORT}", address.addr);
        let secret = stage.write(SECRET_FILE, SECRET)?.display().to_string();
        let mut command = host.command(&program.path, privilege)?;
        command.args(["witness", "--listen", &place, "--secret-file", &secret]).env("NO_COLOR", "1");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| WorkerError::Stream { doing: "start the witness", source })?;
        let stderr = child.stderr.take();
        let witness = FarWitness { child, arguments: vec!["--peer".to_owned(), place, "--secret-file".to_owned(), secret] };
        stderr.map_or(Ok(()), await_ready)?;
        Ok(Some(witness))
    }

    /// What the check must be told of it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

impl Drop for FarWitness {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line that says where it listens, then goes on reading what it says, so that it never blocks.
fn await_ready(stderr: ChildStderr) -> Result<(), LabError> {
    let (ready, heard) = mpsc::channel();
    let reader = move || {
        let mut lines = BufReader::new(stderr);
        let mut line = String::new();
        let mut said = String::new();
        while lines.by_ref().take(LONGEST_LINE).read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.contains("listening on") {
                let _ = ready.send(Ok(()));
            }
            said = std::mem::take(&mut line);
        }
        let _ = ready.send(Err(said));
    };
    let named = thread::Builder::new().name("witness-says".to_owned()).spawn(reader);
    named.map_err(|e| LabError::system("start thread", "witness-says", e))?;
    let refused = |reason: String| LabError::Refused { doing: "start", what: "the witness".to_owned(), reason };
    match heard.recv_timeout(READY_WITHIN) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(said)) => Err(refused(said.trim().to_owned())),
        Err(_) => Err(refused("it does not listen in time".to_owned())),
    }
}
