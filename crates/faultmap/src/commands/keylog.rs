//! The session keys of a check's own TLS connections: appended to a key log that the user names (`--keylog`, or `SSLKEYLOGFILE` as with curl and browsers), and put into
//! the packets' file with `--capture-keys`. Without these nothing is taken, kept or written.

use crate::cli::CheckArgs;
use crate::terminal;
use anyhow::Context as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What curl, browsers and others look at.
const VARIABLE: &str = "SSLKEYLOGFILE";
/// Lines that are kept for the packets' file: a check makes some twenty connections of five lines each.
const MOST_KEPT: usize = 1 << 20;

/// The lines for the packets' file. Never printed.
pub(super) type Kept = Arc<Mutex<Vec<u8>>>;

/// Begins to take session keys, if they are wanted. The lines for the packets' file, if those are.
pub(super) fn begin(args: &CheckArgs) -> anyhow::Result<Option<Kept>> {
    let file = match &args.keylog {
        Some(path) => Some(open(path).with_context(|| format!("--keylog: cannot write {}", path.display()))?),
        None => of_environment(std::env::var_os(VARIABLE)),
    };
    let kept = args.capture_keys.then(Kept::default);
    if file.is_some() || kept.is_some() {
        let (file, kept) = (file.map(Mutex::new), kept.clone());
        faultmap_probe::tls::take_session_keys(Box::new(move |label, random, secret| {
            let line = line(label, random, secret);
            if let Some(file) = &file {
                // A key that cannot be written spoils no check.
                let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
            }
            if let Some(kept) = &kept {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() + line.len() <= MOST_KEPT {
                    kept.extend_from_slice(line.as_bytes());
                }
            }
        }));
    }
    Ok(kept)
}

/// Who set the variable for all programs did not ask this one: a check is not worth less without it.
fn of_environment(path: Option<OsString>) -> Option<File> {
    let path = path.filter(|path| !path.is_empty())?;
    match open(Path::new(&path)) {
        Ok(file) => Some(file),
        Err(error) => {
            terminal::say(&format!("faultmap: warning: no session keys are written, as {VARIABLE} asks: {error}\n"));
            None
        }
    }
}

/// For its owner alone: whoever has the keys can read the packets.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn line(label: &str, random: &[u8], secret: &[u8]) -> String {
    let mut line = format!("{label} ");
    let hex = |bytes: &[u8], line: &mut String| bytes.iter().for_each(|byte| _ = write!(line, "{byte:02x}"));
    hex(random, &mut line);
    line.push(' ');
    hex(secret, &mut line);
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_every_key_log() {
        assert_eq!(line("CLIENT_TRAFFIC_SECRET_0", &[0xab; 2], &[0x0f, 0xf0]), "CLIENT_TRAFFIC_SECRET_0 abab 0ff0\n");
    }

    #[test]
    fn what_the_environment_asks_for_spoils_no_check() {
        assert!(of_environment(None).is_none());
        assert!(of_environment(Some(OsString::new())).is_none());
        assert!(of_environment(Some("/nonexistent/folder/keys.log".into())).is_none());
    }
}
