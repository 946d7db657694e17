//! SSH (RFC 4253): the version lines and the server's KEXINIT, then DISCONNECT. No key exchange, no login.

use super::talk::{Broken, Talk};
use crate::recorder::printable;
use faultmap_model::observation::DialogueOutcome;

/// Lines that a server may say before its version (RFC 4253 4.2).
const MOST_LINES: usize = 32;
const VERSION: &[u8] = b"SSH-2.0-faultmap\r\n";
const KEXINIT: u8 = 20;
/// What the name lists of KEXINIT are about (RFC 4253 7.1); the rest repeats them for the other direction.
const LISTS: [&str; 3] = ["kex", "host-keys", "ciphers"];
/// How the names begin that a client of today (OpenSSH 8.8 and later) takes without being told to, and how they end.
const TODAY: [&[(&str, &str)]; 3] = [
    &[
        ("mlkem", ""),
        ("sntrup761", ""),
        ("curve25519-", ""),
        ("ecdh-sha2-", ""),
        ("diffie-hellman-group", "-sha256"),
        ("diffie-hellman-group", "-sha512"),
    ],
    &[("ssh-ed25519", ""), ("ecdsa-sha2-", ""), ("sk-", ""), ("webauthn-sk-", ""), ("rsa-sha2-", "")],
    &[("chacha20-poly1305", ""), ("aes", "-ctr"), ("aes", "-gcm@openssh.com")],
];
/// Names of each list that are kept.
const MOST_NAMES: usize = 3;

pub(super) async fn speak(talk: &mut Talk) -> Result<DialogueOutcome, Broken> {
    talk.step("version");
    // RFC 4253 4.2: both sides begin at once. What speaks another protocol answers ours, or hangs up.
    talk.send(VERSION).await?;
    let mut version = None;
    for _ in 0..MOST_LINES {
        let line = talk.line().await?;
        if line.starts_with("SSH-") {
            version = Some(line);
            break;
        }
        if let Some(refused) = refusal(&line) {
            return Ok(refused);
        }
        if talk.foreign() {
            return Err(odd("no version line of SSH"));
        }
    }
    let version = version.ok_or_else(|| odd("no version line of SSH"))?;
    // RFC 4253 5.1: 1.99 is a server of both versions.
    let Some(software) = version.strip_prefix("SSH-2.0-").or_else(|| version.strip_prefix("SSH-1.99-")) else {
        return Ok(DialogueOutcome::Refused { code: "version".to_owned(), message: printable(version.as_bytes(), 128) });
    };
    talk.served_by(software);
    talk.step("key-exchange");
    let head = talk.read(6).await?;
    let [a, b, c, d, _padding, kind] = head.as_slice() else { return Err(odd("no packet")) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if !(12..=super::talk::LARGEST).contains(&length) {
        return Err(odd("no packet of SSH"));
    }
    let body = talk.read(length - 2).await?;
    if *kind != KEXINIT {
        return Ok(disconnected(*kind, &body));
    }
    // 16 bytes of cookie, then name lists, each with its length.
    let mut rest = body.get(16..).unwrap_or_default();
    for (about, today) in LISTS.into_iter().zip(TODAY) {
        let Some((names, after)) = name_list(rest) else { return Err(odd("a name list of KEXINIT is cut off")) };
        let first: Vec<&str> = names.split(',').take(MOST_NAMES).collect();
        talk.fact(about, first.join(" "));
        if !names.split(',').any(|name| today.iter().any(|(begin, end)| name.starts_with(begin) && name.ends_with(end))) {
            talk.fact("outdated", about);
        }
        rest = after;
    }
    talk.farewell(&disconnect()).await;
    Ok(DialogueOutcome::Done { what: "offers a key exchange; no login was tried".to_owned() })
}

/// What OpenSSH says in plain text to a client that it does not want now.
fn refusal(line: &str) -> Option<DialogueOutcome> {
    let code = match line.trim() {
        "Exceeded MaxStartups" => "MaxStartups",
        "Not allowed at this time" => "PerSourcePenalties",
        _ => return None,
    };
    Some(DialogueOutcome::Refused { code: code.to_owned(), message: line.trim().to_owned() })
}

/// SSH_MSG_DISCONNECT (1): reason (4), description.
fn disconnected(kind: u8, body: &[u8]) -> DialogueOutcome {
    let words = body.get(4..).and_then(name_list).map(|(words, _)| words);
    let reason = body.get(..4).map(|reason| u32::from_be_bytes([reason[0], reason[1], reason[2], reason[3]])).unwrap_or_default();
    match (kind, words) {
        (1, Some(words)) => DialogueOutcome::Refused { code: reason.to_string(), message: printable(words.as_bytes(), 256) },
        _ => DialogueOutcome::Malformed { why: format!("message {kind} in place of KEXINIT") },
    }
}

fn name_list(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let names = rest.get(..length)?;
    Some((String::from_utf8_lossy(names).into_owned(), rest.get(length..)?))
}

/// SSH_MSG_DISCONNECT by application (11), as one packet padded to 8 bytes.
fn disconnect() -> Vec<u8> {
    let words = b"checked";
    let mut payload = vec![1, 0, 0, 0, 11, 0, 0, 0, 7];
    payload.extend(words);
    payload.extend([0; 4]);
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let length = u32::try_from(payload.len() + padding + 1).unwrap_or(0);
    let mut out = length.to_be_bytes().to_vec();
    out.push(u8::try_from(padding).unwrap_or(8));
    out.extend(payload);
    out.extend(vec![0; padding]);
    out
}

fn odd(why: &str) -> Broken {
    Broken::Malformed(why.to_owned())
}
