//! The whole evidence of one check, as JSON lines: a header, then one observation a line.

use crate::{Observation, Target};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// Schema name of the header line.
pub const SCHEMA: &str = "faultmap.recording/1";

/// The most observations that a recording is read to; a check makes a few hundred at the most.
const MOST_OBSERVATIONS: usize = 100_000;
/// The longest line that is read, bytes.
const LONGEST_LINE: usize = 4 << 20;

/// What the check was asked, and how it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was checked.
    pub target: Target,
    /// Wall clock at the start, Unix milliseconds.
    pub started_unix_ms: i64,
    /// From start to the last observation.
    pub total_ms: f64,
    /// The budget ran out, or the user interrupted: later questions were not asked.
    #[serde(default)]
    pub cut_short: bool,
    /// Capabilities of ours that matter: `CAP_NET_RAW`, `CAP_NET_ADMIN`.
    #[serde(default)]
    pub privileges: Vec<String>,
    /// What the user expects.
    #[serde(default)]
    pub expect: Expect,
    /// Where it ran from, when not from the program's own surroundings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vantage>,
}

/// A place that the user chose to check from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vantage {
    /// `--from-netns`: the network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// `--pid`: the process whose namespace it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The name of that process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

impl std::fmt::Display for Vantage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.netns, self.pid, &self.program) {
            (Some(netns), _, _) => write!(f, "network namespace {netns}"),
            (None, Some(pid), Some(program)) => write!(f, "the network of process {pid} ({program})"),
            (None, Some(pid), None) => write!(f, "the network of process {pid}"),
            (None, None, _) => f.write_str("here"),
        }
    }
}

/// What the user expects of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// `--expect-status`: the only good status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `--expect-body` was given.
    #[serde(default)]
    pub body: bool,
    /// The Accept header we sent asked for this media type only, such as `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What of our request its answer may speak of.
    #[serde(default, skip_serializing_if = "Sent::is_usual")]
    pub sent: Sent,
}

/// What of our request its answer may speak of. Never a value that may be secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Media type of the body (`--header Content-Type`), without parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Size of the body (`--data`).
    #[serde(default)]
    pub body_bytes: u64,
    /// Size of the headers that the user gave.
    #[serde(default)]
    pub header_bytes: u64,
}

impl Sent {
    /// No body, and no header of the user's.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// One check's evidence, in the order in which it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The first line.
    pub header: Header,
    /// The other lines.
    pub observations: Vec<Observation>,
}

/// A recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("line {line}: {source}")]
    Io {
        /// Line number from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is not what the schema says.
    #[error("line {line} is not {what}")]
    Syntax {
        /// Line number from 1.
        line: usize,
        /// What was expected there.
        what: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// Another schema, or none.
    #[error("not a faultmap recording: the first line must carry \"schema\": \"{SCHEMA}\", found {0:?}")]
    Schema(String),
    /// Over the limits.
    #[error("line {0}: longer than 4 MiB, or more than 100000 observations; not a recording of faultmap")]
    TooLarge(usize),
    /// Nothing in it.
    #[error("the recording is empty")]
    Empty,
}

impl Recording {
    /// Writes the header and the observations, a line each.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.header)?;
        out.write_all(b"\n")?;
        for observation in &self.observations {
            serde_json::to_writer(&mut *out, observation)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// With the number of the line that is not of the schema.
    pub fn read(mut input: impl BufRead) -> Result<Self, ReadError> {
        let mut line = Vec::new();
        let mut number = 0;
        let mut header: Option<Header> = None;
        let mut observations = Vec::new();
        loop {
            line.clear();
            number += 1;
            let read = io::Read::take(&mut input, LONGEST_LINE as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|source| ReadError::Io { line: number, source })?;
            if read == 0 {
                break;
            }
            if read > LONGEST_LINE || observations.len() >= MOST_OBSERVATIONS {
                return Err(ReadError::TooLarge(number));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match header {
                None => header = Some(read_header(number, &line)?),
                Some(_) => observations.push(serde_json::from_slice(&line).map_err(|source| ReadError::Syntax {
                    line: number,
                    what: "an observation",
                    source,
                })?),
            }
        }
        header.map(|header| Self { header, observations }).ok_or(ReadError::Empty)
    }
}

fn read_header(number: usize, line: &[u8]) -> Result<Header, ReadError> {
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|source| ReadError::Syntax { line: number, what: "the header of a recording", source })?;
    let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or("none");
    if schema != SCHEMA {
        return Err(ReadError::Schema(schema.chars().take(64).collect()));
    }
    serde_json::from_value(value).map_err(|source| ReadError::Syntax { line: number, what: "the header of a recording", source })
}
