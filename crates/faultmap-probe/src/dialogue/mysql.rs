//! MySQL and MariaDB, protocol 10: the greeting, TLS where it is offered, the login, COM_PING and COM_QUIT. No query is sent.

use super::place::{database, parameter};
use super::talk::{Broken, Talk};
use super::{DialogueAsk, TlsWish};
use crate::recorder::printable;
use faultmap_model::observation::{Demand, DialogueOutcome};
use ring::digest;

/// CLIENT_* flags (MySQL internals, "Capabilities Flags").
const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;

const NATIVE: &str = "mysql_native_password";
const CACHING_SHA2: &str = "caching_sha2_password";
const SHA256: &str = "sha256_password";
const COM_QUIT: u8 = 1;
const COM_PING: u8 = 14;
/// The largest packet that we announce; ours are far smaller.
const MAX_PACKET: u32 = 1 << 24;
const UTF8MB4: u8 = 45;
/// Rounds of a login: switch of the method, its answer, its verdict.
const ROUNDS: u32 = 6;

/// A packet's body with its sequence number.
struct Packet {
    sequence: u8,
    body: Vec<u8>,
}

struct Greeting {
    sequence: u8,
    capabilities: u32,
    plugin: String,
    nonce: Vec<u8>,
}

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    let greeting = match greet(talk).await? {
        Ok(greeting) => greeting,
        Err(refused) => return Ok(refused),
    };
    let (wish, database) = (wish(ask.path), database(ask.path));
    let mut sequence = greeting.sequence.wrapping_add(1);
    let offered = greeting.capabilities & SSL != 0;
    if wish.or_nothing() && !offered {
        return Ok(DialogueOutcome::TlsNotOffered);
    }
    if offered
        && wish != TlsWish::Never
        && let Some(tls) = &ask.tls
    {
        send_tls_request(talk, sequence, database.is_some()).await?;
        sequence = sequence.wrapping_add(1);
        talk.upgrade(tls, wish.demanded()).await?;
    }
    talk.fact("tls", if talk.encrypted { "yes" } else { "no" });
    talk.step("authentication");
    let user = ask.credentials.map_or("", |given| given.user.as_str());
    let password = ask.credentials.and_then(|given| given.password.as_deref()).unwrap_or_default();
    let login = Login { user, password, given: ask.credentials.is_some_and(|given| given.password.is_some()) };
    let response = login.response(&greeting, database.as_deref(), talk.encrypted);
    send(talk, sequence, &response).await?;
    if let Some(outcome) = login.finish(talk, &greeting).await? {
        return Ok(outcome);
    }
    talk.step("ping");
    send(talk, 0, &[COM_PING]).await?;
    let answer = packet(talk).await?;
    let ping = refusal(&answer.body);
    talk.farewell(&frame(0, &[COM_QUIT])).await;
    Ok(match ping {
        Some(refused) => refused,
        None => DialogueOutcome::Done {
            what: match &database {
                Some(name) => format!("logged in, database {}", printable(name.as_bytes(), 64)),
                None => "logged in".to_owned(),
            },
        },
    })
}

/// As `--ssl-mode` of the mysql client.
fn wish(path: &str) -> TlsWish {
    let mode = parameter(path, "ssl-mode").map(|mode| mode.to_ascii_uppercase().replace('-', "_"));
    match mode.as_deref() {
        Some("DISABLED" | "DISABLE") => TlsWish::Never,
        Some("REQUIRED" | "REQUIRE") => TlsWish::Always,
        Some("VERIFY_CA") => TlsWish::Verified(Demand::Ca),
        Some("VERIFY_IDENTITY" | "VERIFY_FULL") => TlsWish::Verified(Demand::Full),
        _ => TlsWish::IfOffered,
    }
}

/// Reads the greeting and asks for TLS; true when the server offers it.
pub(super) async fn ask_for_tls(talk: &mut Talk) -> Result<bool, Broken> {
    let Ok(greeting) = greet(talk).await? else { return Ok(false) };
    if greeting.capabilities & SSL == 0 {
        return Ok(false);
    }
    send_tls_request(talk, greeting.sequence.wrapping_add(1), false).await?;
    Ok(true)
}

async fn greet(talk: &mut Talk) -> Result<Result<Greeting, DialogueOutcome>, Broken> {
    talk.step("greeting");
    let first = packet(talk).await?;
    if let Some(refused) = refusal(&first.body) {
        return Ok(Err(refused));
    }
    let greeting = read_greeting(talk, &first).ok_or_else(|| odd("no greeting of protocol 10"))?;
    Ok(Ok(greeting))
}

async fn send_tls_request(talk: &mut Talk, sequence: u8, with_database: bool) -> Result<(), Broken> {
    send(talk, sequence, &tls_request(with_database)).await
}

/// SSLRequest: the head of a login, without the login. Servers keep these capabilities for the session, and do not read those of the login
/// within TLS: what is not said here, such as a database, is not looked at there.
fn tls_request(with_database: bool) -> Vec<u8> {
    head(capabilities(with_database) | SSL)
}

const fn capabilities(with_database: bool) -> u32 {
    let database = if with_database { CONNECT_WITH_DB } else { 0 };
    LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH | database
}

fn head(capabilities: u32) -> Vec<u8> {
    let mut out = capabilities.to_le_bytes().to_vec();
    out.extend(MAX_PACKET.to_le_bytes());
    out.push(UTF8MB4);
    out.extend([0; 23]);
    out
}

/// Protocol::HandshakeV10.
fn read_greeting(talk: &mut Talk, packet: &Packet) -> Option<Greeting> {
    let [10, rest @ ..] = packet.body.as_slice() else { return None };
    let end = rest.iter().position(|byte| *byte == 0)?;
    let version = printable(rest.get(..end)?, 64);
    // connection id (4), first part of the nonce (8), filler (1)
    let rest = rest.get(end + 1..)?;
    let mut nonce = rest.get(4..12)?.to_vec();
    let rest = rest.get(13..)?;
    let low = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
    let mut greeting = Greeting { sequence: packet.sequence, capabilities: u32::from(low), plugin: NATIVE.to_owned(), nonce: Vec::new() };
    // charset (1), status (2), high half of the capabilities (2), length of the nonce (1), reserved (10)
    if let Some([_, _, _, c, d, length, ..]) = rest.get(2..) {
        greeting.capabilities |= u32::from(u16::from_le_bytes([*c, *d])) << 16;
        let second = usize::from(*length).saturating_sub(8).clamp(13, 64);
        let rest = rest.get(18..).unwrap_or_default();
        nonce.extend(rest.get(..second).unwrap_or(rest).iter().take_while(|byte| **byte != 0));
        if let Some(plugin) = rest.get(second..).filter(|plugin| greeting.capabilities & PLUGIN_AUTH != 0 && !plugin.is_empty()) {
            greeting.plugin = printable(plugin.split(|byte| *byte == 0).next().unwrap_or_default(), 64);
        }
    }
    greeting.nonce = nonce;
    // MariaDB before 11 calls itself 5.5.5-10.x for old replicas.
    let version = version.strip_prefix("5.5.5-").unwrap_or(&version).to_owned();
    talk.served_by(if version.contains("MariaDB") { version } else { format!("MySQL {version}") });
    talk.fact("auth", &greeting.plugin);
    Some(greeting)
}

struct Login<'a> {
    user: &'a str,
    password: &'a str,
    given: bool,
}

impl Login<'_> {
    /// Protocol::HandshakeResponse41. Without credentials it is a login as nobody: a client that leaves without one counts as a broken
    /// connect, and too many of those block its host (max_connect_errors).
    fn response(&self, greeting: &Greeting, database: Option<&str>, encrypted: bool) -> Vec<u8> {
        let tls = if encrypted { SSL } else { 0 };
        let mut out = head(capabilities(database.is_some()) | tls);
        out.extend(self.user.bytes().filter(|byte| *byte != 0));
        out.push(0);
        let known = matches!(greeting.plugin.as_str(), NATIVE | CACHING_SHA2);
        let plugin = if known { greeting.plugin.as_str() } else { NATIVE };
        let answer = self.answer(plugin, &greeting.nonce, encrypted).unwrap_or_default();
        out.push(u8::try_from(answer.len()).unwrap_or(0));
        out.extend(answer);
        if let Some(database) = database {
            out.extend(database.bytes().filter(|byte| *byte != 0));
            out.push(0);
        }
        out.extend(plugin.as_bytes());
        out.push(0);
        out
    }

    /// The answer to a method's nonce; `None` for a method that is not spoken here.
    fn answer(&self, plugin: &str, nonce: &[u8], encrypted: bool) -> Option<Vec<u8>> {
        if self.password.is_empty() && matches!(plugin, NATIVE | CACHING_SHA2 | SHA256) {
            return Some(if plugin == SHA256 { vec![0] } else { Vec::new() });
        }
        match plugin {
            NATIVE => Some(native(self.password.as_bytes(), nonce)),
            CACHING_SHA2 => Some(caching_sha2(self.password.as_bytes(), nonce)),
            SHA256 if encrypted => Some(self.plain()),
            _ => None,
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = self.password.as_bytes().to_vec();
        out.push(0);
        out
    }

    /// Follows the server through the login. `None`: logged in.
    async fn finish(&self, talk: &mut Talk, greeting: &Greeting) -> Result<Option<DialogueOutcome>, Broken> {
        let mut plugin = greeting.plugin.clone();
        for _ in 0..ROUNDS {
            let packet = packet(talk).await?;
            let reply = packet.sequence.wrapping_add(1);
            match packet.body.as_slice() {
                [0, ..] => return Ok(None),
                [0xff, ..] => return Ok(Some(self.refused(&packet.body, &plugin))),
                // AuthSwitchRequest
                [0xfe, rest @ ..] => {
                    let mut parts = rest.splitn(2, |byte| *byte == 0);
                    plugin = printable(parts.next().unwrap_or_default(), 64);
                    let nonce = parts.next().unwrap_or_default();
                    let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
                    let Some(answer) = self.answer(&plugin, nonce, talk.encrypted) else {
                        return Ok(Some(self.unsupported(&plugin)));
                    };
                    talk.fact("auth", &plugin);
                    send(talk, reply, &answer).await?;
                }
                // AuthMoreData of caching_sha2_password: 3 known from its cache, 4 wants the password itself.
                [1, 3] => {}
                [1, 4] if talk.encrypted => send(talk, reply, &self.plain()).await?,
                [1, 4] => return Ok(Some(self.unsupported("caching_sha2_password, which wants TLS for a first login"))),
                _ => return Err(odd("no answer to a login")),
            }
        }
        Err(odd("no end of the login"))
    }

    /// An ERR packet. Who names no user cannot be refused a login: the server lives, and wants one.
    fn refused(&self, body: &[u8], plugin: &str) -> DialogueOutcome {
        let Some(outcome) = refusal(body) else { return self.unsupported(plugin) };
        match &outcome {
            // ER_ACCESS_DENIED_ERROR, ER_DBACCESS_DENIED_ERROR, and the two without a password (1698, 3118 locked counts as given)
            DialogueOutcome::Refused { code, .. } if matches!(code.as_str(), "1045" | "1044" | "1698") && !self.given => {
                DialogueOutcome::CredentialsWanted { method: plugin.to_owned(), user_given: !self.user.is_empty() }
            }
            _ => outcome,
        }
    }

    fn unsupported(&self, plugin: &str) -> DialogueOutcome {
        if self.user.is_empty() {
            DialogueOutcome::CredentialsWanted { method: plugin.to_owned(), user_given: false }
        } else {
            DialogueOutcome::LoginUnsupported { method: plugin.to_owned() }
        }
    }
}

/// SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password))).
fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let sha1 = |parts: &[&[u8]]| hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts);
    let once = sha1(&[password]);
    let twice = sha1(&[&once]);
    xor(&once, &sha1(&[nonce, &twice]))
}

/// SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce).
fn caching_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let sha256 = |parts: &[&[u8]]| hash(&digest::SHA256, parts);
    let once = sha256(&[password]);
    let twice = sha256(&[&once]);
    xor(&once, &sha256(&[&twice, nonce]))
}

fn hash(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// ERR_Packet: code, a SQLSTATE behind `#` once capabilities are agreed, the message.
fn refusal(body: &[u8]) -> Option<DialogueOutcome> {
    let [0xff, low, high, rest @ ..] = body else { return None };
    let code = u16::from_le_bytes([*low, *high]);
    let message = match rest {
        [b'#', text @ ..] => text.get(5..).unwrap_or_default(),
        text => text,
    };
    let message = printable(message, 256);
    // ER_SECURE_TRANSPORT_REQUIRED
    Some(if code == 3159 { DialogueOutcome::TlsWanted { message } } else { DialogueOutcome::Refused { code: code.to_string(), message } })
}

async fn packet(talk: &mut Talk) -> Result<Packet, Broken> {
    let head = talk.peek(4).await?.to_vec();
    let [a, b, c, sequence] = head.as_slice() else { return Err(odd("no packet")) };
    let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    if length == 0 || length > super::talk::LARGEST {
        return Err(odd(&format!("a packet of {length} bytes is announced")));
    }
    // The first packet of another protocol is most often text, which reads as a huge length and never comes.
    let whole = talk.read(length + 4).await?;
    Ok(Packet { sequence: *sequence, body: whole.get(4..).unwrap_or_default().to_vec() })
}

fn frame(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
    [&[a, b, c, sequence][..], body].concat()
}

async fn send(talk: &mut Talk, sequence: u8, body: &[u8]) -> Result<(), Broken> {
    talk.send(&frame(sequence, body)).await
}

fn odd(why: &str) -> Broken {
    Broken::Malformed(printable(why.as_bytes(), 128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_for_tls_says_that_a_database_will_be_named() {
        let flags = |with_database| u32::from_le_bytes(tls_request(with_database)[..4].try_into().unwrap());
        assert_eq!((flags(true) & CONNECT_WITH_DB, flags(false) & CONNECT_WITH_DB), (CONNECT_WITH_DB, 0));
        assert_ne!(flags(true) & SSL, 0);
    }

    #[test]
    fn a_password_answers_a_nonce_as_the_manual_says() {
        // MySQL's own test vector of scramble() for "mypass" is not published; the laws are: 20 and 32 bytes, and the nonce matters.
        let nonce = b"abcdefghijklmnopqrst";
        assert_eq!(native(b"secret", nonce).len(), 20);
        assert_eq!(caching_sha2(b"secret", nonce).len(), 32);
        assert_ne!(native(b"secret", nonce), native(b"secret", b"tsrqponmlkjihgfedcba"));
    }
}
