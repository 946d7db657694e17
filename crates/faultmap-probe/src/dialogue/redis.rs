//! Redis (RESP2): AUTH when credentials are given, SELECT when a database is named, PING, HELLO for version and role, QUIT. Nothing is
//! written.

use super::DialogueAsk;
use super::place::database;
use super::talk::{Broken, Talk};
use crate::recorder::printable;
use faultmap_model::observation::DialogueOutcome;
use std::time::Duration;

/// Elements of an answer to HELLO that are read; it has about fourteen, and a list of modules.
const MOST_ELEMENTS: usize = 256;

const HELLO_WAIT: Duration = Duration::from_millis(500);

/// A simple answer: `+OK`, or an error with its code.
enum Reply {
    Good(String),
    Error { code: String, message: String },
}

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    if let Some(credentials) = ask.credentials {
        let password = credentials.password.as_deref().unwrap_or_default();
        let words: Vec<&str> = if credentials.user.is_empty() { vec!["AUTH", password] } else { vec!["AUTH", &credentials.user, password] };
        if let Reply::Error { code, message } = command(talk, "authentication", &words).await? {
            return Ok(DialogueOutcome::Refused { code, message });
        }
    }
    if let Some(number) = database(ask.path)
        && let Reply::Error { code, message } = command(talk, "select", &["SELECT", &number]).await?
    {
        return Ok(DialogueOutcome::Refused { code, message });
    }
    let outcome = match command(talk, "ping", &["PING"]).await? {
        Reply::Good(word) => DialogueOutcome::Done { what: word },
        Reply::Error { code, message } => return Ok(DialogueOutcome::Refused { code, message }),
    };
    talk.end_step();
    // A server before 6, a proxy, or an account that may not, answers with an error or not at all; the PING is what counts.
    let _ = tokio::time::timeout(HELLO_WAIT, hello(talk)).await;
    talk.farewell(&encode(&["QUIT"])).await;
    Ok(outcome)
}

async fn command(talk: &mut Talk, step: &'static str, words: &[&str]) -> Result<Reply, Broken> {
    talk.step(step);
    talk.send(&encode(words)).await?;
    let line = talk.line().await?;
    parse(&line).ok_or_else(|| Broken::Malformed("neither a status nor an error of RESP".to_owned()))
}

/// Version and role, from the flat list of names and values.
async fn hello(talk: &mut Talk) -> Result<(), Broken> {
    talk.send(&encode(&["HELLO"])).await?;
    let mut left = match elements(&talk.line().await?) {
        Some(count) => count.min(MOST_ELEMENTS),
        None => return Ok(()),
    };
    let (mut name, mut server) = (None, "Redis".to_owned());
    while left > 0 {
        left -= 1;
        let line = talk.line().await?;
        if let Some(more) = elements(&line) {
            left = (left + more).min(MOST_ELEMENTS);
            name = None;
            continue;
        }
        let value = match line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                let text = talk.read(length.saturating_add(2)).await?;
                printable(text.get(..length).unwrap_or_default(), 64)
            }
            None => printable(line.trim_start_matches([':', '+']).as_bytes(), 64),
        };
        match name.take().as_deref() {
            None => name = Some(value),
            Some("server") => server = if value == "redis" { "Redis".to_owned() } else { value },
            Some("version") => talk.served_by(format!("{server} {value}")),
            Some("role") => talk.fact("role", value),
            Some("mode") if value != "standalone" => talk.fact("mode", value),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The length of an array.
fn elements(line: &str) -> Option<usize> {
    line.strip_prefix('*').and_then(|count| count.parse().ok())
}

/// An array of bulk strings.
fn encode(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).as_bytes());
        out.extend(word.as_bytes());
        out.extend(b"\r\n");
    }
    out
}

fn parse(line: &str) -> Option<Reply> {
    if let Some(word) = line.strip_prefix('+') {
        return Some(Reply::Good(printable(word.as_bytes(), 64)));
    }
    let error = line.strip_prefix('-')?;
    let (code, message) = error.split_once(' ').unwrap_or((error, ""));
    let is_code = !code.is_empty() && code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_code.then(|| Reply::Error { code: code.to_owned(), message: printable(message.as_bytes(), 256) })
}
