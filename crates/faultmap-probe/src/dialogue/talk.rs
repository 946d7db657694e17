//! One conversation under way: bounded reads and writes with a deadline each, the steps with their times, and how the stream ended.

use super::Stream;
use crate::recorder::{ms, printable};
use crate::tls::{End, FIRST_BYTES, Seen, Tap, looks_like};
use faultmap_model::observation::DialogueOutcome;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest message that any of the protocols needs here.
pub(super) const LARGEST: usize = 256 * 1024;

/// The conversation did not come to an answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream ended or failed.
    Ended,
    /// Nothing came in time.
    Silent,
    /// A message that breaks the protocol's rules; it is told whether the bytes are of another protocol when the conversation is finished.
    Malformed(String),
}

/// A stream with its history.
pub(super) struct Talk<S> {
    io: Tap<S>,
    seen: Seen,
    wait: Duration,
    started: Instant,
    step_started: Instant,
    /// Bytes read beyond the last message.
    ahead: Vec<u8>,
    pub(super) steps: Vec<(&'static str, f64)>,
    /// The server's name and version.
    pub(super) server: Option<String>,
    /// See `Dialogue::facts`.
    pub(super) facts: Vec<(String, String)>,
    pub(super) first_byte_ms: Option<f64>,
}

impl<S> Talk<S> {
    /// Starts the clock.
    pub(super) fn new(stream: S, wait: Duration) -> Self {
        let (io, seen) = Tap::new(stream);
        let now = Instant::now();
        Self {
            io,
            seen,
            wait,
            started: now,
            step_started: now,
            ahead: Vec::new(),
            steps: Vec::new(),
            server: None,
            facts: Vec::new(),
            first_byte_ms: None,
        }
    }

    /// Begins an exchange; the one before it is over.
    pub(super) fn step(&mut self, name: &'static str) {
        self.end_step();
        self.step_started = Instant::now();
        self.steps.push((name, 0.0));
    }

    fn end_step(&mut self) {
        let took = ms(self.step_started.elapsed());
        if let Some((_, took_ms)) = self.steps.last_mut() {
            *took_ms = took;
        }
    }

    /// Keeps a fact that the server told.
    pub(super) fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        self.facts.push((name.to_owned(), printable(value.as_ref().as_bytes(), 128)));
    }

    /// How the conversation ended, seen from the stream.
    pub(super) fn outcome_of(&self, broken: Broken) -> DialogueOutcome {
        let seen = self.seen.borrow();
        let received_bytes = seen.received;
        let foreign = looks_like(&seen.first);
        match (broken, seen.end) {
            // After a first exchange that went well it is the protocol; before, it may be any other.
            (Broken::Malformed(why), _) if foreign.is_none() && self.steps.len() > 1 => DialogueOutcome::Malformed { why },
            (Broken::Malformed(_), _) => {
                DialogueOutcome::Foreign { looks_like: foreign.map(str::to_owned), first_bytes: printable(&seen.first, FIRST_BYTES) }
            }
            (Broken::Ended, Some(End::Reset)) => DialogueOutcome::Reset { received_bytes },
            (Broken::Ended, _) => DialogueOutcome::Closed { received_bytes },
            (Broken::Silent, _) => DialogueOutcome::Silent { waited_ms: ms(self.step_started.elapsed()), received_bytes },
        }
    }
}

impl<S: Stream> Talk<S> {
    /// Sends a whole message.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Broken> {
        let write = async {
            self.io.write_all(message).await?;
            self.io.flush().await
        };
        match tokio::time::timeout(self.wait, write).await {
            Err(_) => Err(Broken::Silent),
            Ok(Err(_)) => Err(Broken::Ended),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Exactly so many bytes.
    pub(super) async fn read(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        if count > LARGEST {
            return Err(Broken::Malformed(format!("a message of {count} bytes is announced")));
        }
        self.fill(count).await?;
        let rest = self.ahead.split_off(count);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// One line, without its CR LF.
    pub(super) async fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(at + 1);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let have = self.ahead.len();
            if have > LARGEST {
                return Err(Broken::Malformed("a line without end".to_owned()));
            }
            self.fill(have + 1).await?;
        }
    }

    /// Reads until so many bytes are there. Each wait is bounded, and so is the whole, however slowly the bytes drip.
    async fn fill(&mut self, count: usize) -> Result<(), Broken> {
        let deadline = Instant::now() + self.wait;
        let mut chunk = [0_u8; 4096];
        while self.ahead.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let read = match tokio::time::timeout(left, self.io.read(&mut chunk)).await {
                Err(_) => return Err(Broken::Silent),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(Err(_) | Ok(0)) => return Err(Broken::Ended),
                Ok(Ok(read)) => read,
            };
            self.first_byte_ms.get_or_insert_with(|| ms(self.started.elapsed()));
            self.ahead.extend(chunk.iter().take(read));
        }
        Ok(())
    }
}
