//! A listening program as a process of its own, for faults of processes: one that is stopped, one that may open no more files, one that closes
//! nothing. Services of the lab are threads of one process and can suffer none of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::world::{FaultError, World};
use crate::host::{Family, Privilege};
use crate::oracle::{Sight, Witness};
use crate::runner::{Job, WORKER_SUBCOMMAND};

/// The line by which a program is told to open files until it may open no more.
const TAKE_FILES: &str = "files";
/// The line by which it is told to close no connection from now on.
const LEAK: &str = "leak";
const READY: &str = "ready";
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
/// How long a question may take.
const PATIENCE: Duration = Duration::from_millis(50);
const TURN: Duration = Duration::from_millis(10);
/// A stop takes effect when the program next leaves the kernel.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// What a program's own process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramJob {
    listen: Vec<SocketAddr>,
    files: u64,
}

/// A running program. It dies with the worker.
#[derive(Debug)]
pub(super) struct Program {
    at: String,
    port: u16,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // A stopped process dies of this signal too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn await_answer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.trim() == READY { Ok(()) } else { Err(io::Error::other(format!("it said {:?}", line.trim()))) }
    }
}

/// Starts a program that answers on `port` of every address of the host and may open `files` files.
pub(super) fn start(world: &mut World, at: &str, port: u16, files: u64) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let listen =
        [Family::V4, Family::V6].into_iter().filter_map(|family| host.addr(family)).map(|addr| SocketAddr::new(addr, port)).collect();
    let job =
        serde_json::to_string(&Job::Program(ProgramJob { listen, files })).map_err(|e| failed("describe", at, io::Error::other(e)))?;
    let path = std::env::current_exe().map_err(|e| failed("find the file of", at, e))?;
    // Without powers, or a `faultmap host` without powers could not look at it: ptrace(2), "access mode checking".
    let mut command = host.command(&path, Privilege::Unprivileged)?;
    let spawned = command.args([WORKER_SUBCOMMAND, &job]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|e| failed("start", at, e))?;
    let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("talk to", at, io::Error::from(io::ErrorKind::BrokenPipe)));
    };
    let mut program = Program { at: at.to_owned(), port, child, orders, answers: BufReader::new(answers) };
    program.await_answer().map_err(|e| failed("start", at, e))?;
    world.keep_program(program);
    Ok(Witness::new(move |_| Ok(Sight::state(format!("a program listens on port {port}"), true))))
}

fn failed(doing: &'static str, at: &str, source: io::Error) -> FaultError {
    FaultError::Kernel { doing, what: format!("the program at {at}"), source }
}

fn find<'a>(programs: &'a mut [Program], at: &str, port: u16) -> Result<&'a mut Program, FaultError> {
    let found = programs.iter_mut().find(|program| program.at == at && program.port == port);
    found.ok_or_else(|| FaultError::Impossible { reason: format!("no program listens on port {port} of {at}; give it one first") })
}

/// The program is stopped (SIGSTOP), as by a debugger, a full terminal or a freezer. Its kernel goes on completing handshakes.
pub(super) fn stop(world: &mut World, at: &str, port: u16) -> Result<Witness, FaultError> {
    let program = find(world.programs_mut(), at, port)?;
    let pid = program.pid();
    kill(pid, Signal::SIGSTOP).map_err(|e| failed("stop", at, e.into()))?;
    let deadline = Instant::now() + STOP_LIMIT;
    while !is_stopped(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(Witness::new(move |_| Ok(Sight::state(format!("the program on port {port} is stopped"), is_stopped(pid)))))
}

fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state is in brackets and may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
}

/// The program has opened all the files it may, and cannot accept.
pub(super) fn take_files(world: &mut World, at: &str, port: u16) -> Result<Witness, FaultError> {
    let program = find(world.programs_mut(), at, port)?;
    let asked = writeln!(program.orders, "{TAKE_FILES}").and_then(|()| program.await_answer());
    asked.map_err(|e| failed("use up the files of", at, e))?;
    let pid = program.pid();
    Ok(Witness::new(move |_| Ok(Sight::count(&format!("files that the program on port {port} holds open"), open_files(pid)))))
}

/// The program forgets to close its connections when its clients do.
pub(super) fn leak(world: &mut World, at: &str, port: u16) -> Result<Witness, FaultError> {
    let program = find(world.programs_mut(), at, port)?;
    let asked = writeln!(program.orders, "{LEAK}").and_then(|()| program.await_answer());
    asked.map_err(|e| failed("give orders to", at, e))?;
    let pid = program.pid();
    let before = open_files(pid);
    Ok(Witness::new(move |_| {
        Ok(Sight::count(&format!("connections that the program on port {port} forgot"), open_files(pid).saturating_sub(before)))
    }))
}

fn open_files(pid: Pid) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64)
}

/// The body of the program's process: answers connections, and does as its standard input says.
pub(crate) fn program_main(job: &ProgramJob, output: &mut dyn Write) -> io::Result<i32> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, job.files.min(most), job.files.min(most))?;
    let listeners = job.listen.iter().map(TcpListener::bind).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
    let (order, orders) = std::sync::mpsc::channel();
    // Not by `io::stdin`: whoever called us holds its lock.
    let orders_in = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    std::thread::spawn(move || {
        for line in BufReader::new(orders_in).lines().map_while(Result::ok) {
            let _ = order.send(line);
        }
    });
    let (mut files, mut forgotten, mut leaks) = (Vec::new(), Vec::new(), false);
    let mut ready = || writeln!(output, "{READY}").and_then(|()| output.flush());
    ready()?;
    loop {
        for listener in &listeners {
            while let Ok((mut stream, _)) = listener.accept() {
                // An answer before the question was read would end in a reset.
                let asked = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
                let _ = asked.and_then(|()| stream.read(&mut [0; 1024])).and_then(|_| stream.write_all(ANSWER));
                if leaks {
                    forgotten.push(stream);
                }
            }
        }
        if let Ok(line) = orders.try_recv() {
            leaks |= line == LEAK;
            while line == TAKE_FILES
                && let Ok(file) = File::open("/dev/null")
            {
                files.push(file);
            }
            ready()?;
        }
        std::thread::sleep(TURN);
    }
}
