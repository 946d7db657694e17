//! By what check and witness know each other: a secret from a file or the environment, or certificates. Never shows one.

use crate::cli::CheckArgs;
use anyhow::{Context as _, bail};
use faultmap_probe::peer::{PeerAuth, PeerOptions, Secret};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where a secret may be, beside a file.
const VARIABLE: &str = "FAULTMAP_WITNESS_SECRET";
/// Longest file read, bytes: a secret is a line.
const FILE_LIMIT: u64 = 4096;
/// The port when none is written.
const PORT: u16 = 7317;

/// The witness of `--peer`, with the proof.
pub(super) fn peer(args: &CheckArgs) -> anyhow::Result<Option<PeerOptions>> {
    let Some(place) = &args.peer else { return Ok(None) };
    let (host, port) = host_and_port(place).with_context(|| format!("not a witness: {place:?}; write --peer HOST:PORT"))?;
    let certificates = (args.peer_cert.clone(), args.peer_key.clone(), args.peer_ca.clone());
    Ok(Some(PeerOptions { host, port, auth: auth(certificates, args.secret_file.as_deref(), "--peer-cert, --peer-key and --peer-ca")? }))
}

type Files = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>);

/// Certificates if they are given, else the secret.
pub(super) fn auth(certificates: Files, file: Option<&Path>, instead: &str) -> anyhow::Result<PeerAuth> {
    if let (Some(cert), Some(key), Some(ca)) = certificates {
        return Ok(PeerAuth::Certificates { cert, key, ca });
    }
    let text = match file {
        Some(path) => read(path)?,
        None => match std::env::var(VARIABLE) {
            Ok(text) if !text.trim().is_empty() => text,
            _ => bail!(
                "no secret: check and witness must share one. Make it with `faultmap witness --new-secret > secret`, copy the file to both \
                 hosts, and give --secret-file secret (or set {VARIABLE}, or use {instead})"
            ),
        },
    };
    Ok(PeerAuth::Secret(Secret::new(&text)?))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the secret from {}; make one with `faultmap witness --new-secret > {0}`", path.display()))?;
    Ok(text)
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let sound = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]".contains(c));
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { PORT } else { port.strip_prefix(':')?.parse().ok()? };
        return host.parse::<std::net::Ipv6Addr>().ok().map(|_| (host.to_owned(), port));
    }
    match text.split_once(':') {
        None => sound(text).then(|| (text.to_owned(), PORT)),
        // An address without brackets: which part would be the port?
        Some((_, port)) if port.contains(':') => text.parse::<std::net::Ipv6Addr>().ok().map(|_| (text.to_owned(), PORT)),
        Some((host, port)) => Some((host.to_owned(), port.parse().ok().filter(|port| *port > 0)?)).filter(|_| sound(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_witness_is_named_by_host_and_port() {
        let check = |text: &str, expect: Option<(&str, u16)>| {
            assert_eq!(host_and_port(text), expect.map(|(host, port)| (host.to_owned(), port)), "{text}");
        };
        check("db.test:9000", Some(("db.test", 9000)));
        check("10.0.2.20", Some(("10.0.2.20", 7317)));
        check("[fd00::1]:9000", Some(("fd00::1", 9000)));
        check("fd00::1", Some(("fd00::1", 7317)));
        for text in ["", ":1", "a:b", "a:0", "a:70000", "[::1", "https://a:1", "a b:1", "me@a:1", "[x]:1"] {
            check(text, None);
        }
    }
}
