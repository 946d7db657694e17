//! Reads files below `/proc`, bounded. Never interprets them.

use crate::HostError;
use std::fs::File;
use std::io::Read;

/// Per namespace of the calling thread, not of the process (`/proc/net` is the thread group leader's).
pub(crate) const NET: &str = "/proc/thread-self/net";

/// The file's text, at most `limit` bytes of it; bytes that are not UTF-8 are replaced.
pub(crate) fn read(path: &str, limit: u64) -> Result<String, HostError> {
    let failed = |source| HostError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::with_capacity(4096);
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The number that the file holds, if it holds just one.
pub(crate) fn number(path: &str) -> Option<u64> {
    read(path, 64).ok()?.trim().parse().ok()
}
