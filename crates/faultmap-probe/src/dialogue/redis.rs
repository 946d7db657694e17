//! Redis (RESP2): AUTH when credentials are given, SELECT when a database is named, then PING. Nothing is written.

use super::talk::{Broken, Talk};
use super::{DialogueAsk, Stream};
use crate::recorder::printable;
use faultmap_model::observation::DialogueOutcome;

/// A simple answer: `+OK`, or an error with its code.
enum Reply {
    Good(String),
    Error { code: String, message: String },
}

pub(super) async fn speak<S: Stream>(talk: &mut Talk<S>, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    if let Some(credentials) = ask.credentials {
        let password = credentials.password.as_deref().unwrap_or_default();
        let words: Vec<&str> = if credentials.user.is_empty() { vec!["AUTH", password] } else { vec!["AUTH", &credentials.user, password] };
        if let Reply::Error { code, message } = command(talk, "authentication", &words).await? {
            return Ok(DialogueOutcome::Refused { code, message });
        }
    }
    if !ask.path.is_empty()
        && let Reply::Error { code, message } = command(talk, "select", &["SELECT", ask.path]).await?
    {
        return Ok(DialogueOutcome::Refused { code, message });
    }
    Ok(match command(talk, "ping", &["PING"]).await? {
        Reply::Good(word) => DialogueOutcome::Done { what: word },
        Reply::Error { code, message } => DialogueOutcome::Refused { code, message },
    })
}

async fn command<S: Stream>(talk: &mut Talk<S>, step: &'static str, words: &[&str]) -> Result<Reply, Broken> {
    talk.step(step);
    talk.send(&encode(words)).await?;
    let line = talk.line().await?;
    parse(&line).ok_or_else(|| Broken::Malformed("neither a status nor an error of RESP".to_owned()))
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
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_code.then(|| Reply::Error { code: code.to_owned(), message: printable(message.as_bytes(), 256) })
}
