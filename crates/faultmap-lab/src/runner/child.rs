//! Runs a child process with an end in sight: bounded output, bounded time. It knows nothing of what the child is.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes kept of each output stream; the rest is read and forgotten.
const OUTPUT_LIMIT: usize = 8 * 1024 * 1024;
/// How long a child may live after it has closed its output.
const LINGER: Duration = Duration::from_secs(5);

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Exit code; `None` if a signal or the deadline ended it.
    pub(crate) code: Option<i32>,
    /// Whether it was killed because its time was up.
    pub(crate) timed_out: bool,
    /// Standard output, at most [`OUTPUT_LIMIT`] bytes.
    pub(crate) stdout: Vec<u8>,
    /// Standard error, at most [`OUTPUT_LIMIT`] bytes.
    pub(crate) stderr: Vec<u8>,
    /// From start to end.
    pub(crate) took: Duration,
}

impl Ending {
    /// The last lines of standard error, for messages.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines = text.trim().lines().collect::<Vec<_>>();
        lines.iter().rev().take(8).rev().copied().collect::<Vec<_>>().join("\n")
    }
}

/// Starts the command, writes `input` to it, and waits at most `limit`.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Ending> {
    let started = Instant::now();
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (done, finished) = mpsc::channel();
    let stdout = child.stdout.take().map(|pipe| Collected::from(pipe, Some(done)));
    let stderr = child.stderr.take().map(|pipe| Collected::from(pipe, None));
    if let Some(mut pipe) = child.stdin.take() {
        // A child that ends without reading is judged by how it ends.
        let _ = pipe.write_all(input);
    }
    let timed_out = matches!(finished.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    let (code, killed) = end(&mut child, timed_out)?;
    let finish = |collected: Option<Collected>| collected.map(Collected::finish).unwrap_or_default();
    Ok(Ending { code, timed_out: timed_out || killed, took: started.elapsed(), stdout: finish(stdout), stderr: finish(stderr) })
}

/// Reaps the child, killing it if its time is up. Returns its exit code and whether it had to be killed.
fn end(child: &mut Child, timed_out: bool) -> io::Result<(Option<i32>, bool)> {
    let deadline = Instant::now() + LINGER;
    while !timed_out && Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok((status.code(), false));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    Ok((child.wait()?.code(), true))
}

/// An output stream being read. A grandchild may hold it open for ever, so the reader is not waited for without end.
struct Collected {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static, done: Option<mpsc::Sender<()>>) -> Collected {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(len @ 1..) = pipe.read(&mut chunk) {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_LIMIT - kept.len();
                kept.extend_from_slice(chunk.get(..len.min(room)).unwrap_or_default());
            }
            drop((done, end));
        });
        Collected { kept, ended }
    }

    fn finish(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(LINGER);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &[u8], limit_ms: u64) -> Ending {
        run(Command::new("sh").args(["-c", script]), input, Duration::from_millis(limit_ms)).unwrap()
    }

    #[test]
    fn a_child_is_given_its_input_and_heard_out() {
        let ending = shell("cat; echo oops >&2; exit 3", b"hello", 30_000);
        assert_eq!((ending.code, ending.timed_out), (Some(3), false));
        assert_eq!(ending.stdout, b"hello");
        assert_eq!(ending.complaint(), "oops");
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let ending = shell("exec sleep 1000", b"", 50);
        assert_eq!((ending.code, ending.timed_out), (None, true));
    }

    #[test]
    fn a_child_that_writes_without_end_is_heard_but_not_kept() {
        let ending = shell("head -c 20000000 /dev/zero", b"", 60_000);
        assert_eq!(ending.stdout.len(), OUTPUT_LIMIT);
        assert_eq!(ending.code, Some(0));
    }
}
