//! AMQP 0-9-1: the protocol header, Start; with credentials also Start-Ok (PLAIN), Tune, Open of the virtual host, and Close. Nothing is
//! declared, published or consumed.

use super::DialogueAsk;
use super::place::database;
use super::talk::{Broken, Talk};
use crate::recorder::printable;
use faultmap_model::observation::DialogueOutcome;
use std::time::Duration;

const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;
/// Methods of the class `connection` (10).
const START: u16 = 10;
const START_OK: u16 = 11;
const SECURE: u16 = 20;
const TUNE: u16 = 30;
const TUNE_OK: u16 = 31;
const OPEN: u16 = 40;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;
const CLOSE_OK: u16 = 51;
const GOODBYE_WAIT: Duration = Duration::from_millis(500);
const REPLY_SUCCESS: u16 = 200;
/// Entries of the server's properties that are looked at.
const MOST_ENTRIES: usize = 64;

/// A method of the class `connection` with its arguments.
struct Method {
    id: u16,
    arguments: Vec<u8>,
}

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    talk.step("start");
    talk.send(HEADER).await?;
    if talk.peek(1).await?.first() == Some(&b'A') {
        return other_version(talk).await;
    }
    let start = method(talk).await?;
    if let Some(closed) = closed(talk, &start).await {
        return Ok(closed);
    }
    let mechanisms = read_start(talk, &start).ok_or_else(|| odd("no Connection.Start"))?;
    talk.fact("auth", mechanisms.to_ascii_lowercase());
    let credentials = ask.credentials;
    let Some(password) = credentials.and_then(|given| given.password.as_deref()) else {
        return Ok(DialogueOutcome::CredentialsWanted { method: mechanisms.to_ascii_lowercase(), user_given: credentials.is_some() });
    };
    if !mechanisms.split(' ').any(|way| way == "PLAIN") {
        return Ok(DialogueOutcome::LoginUnsupported { method: mechanisms.to_ascii_lowercase() });
    }
    talk.step("authentication");
    let user = credentials.map_or("", |given| given.user.as_str());
    talk.send(&start_ok(user, password)).await?;
    let tune = method(talk).await?;
    if let Some(closed) = closed(talk, &tune).await {
        return Ok(closed);
    }
    if tune.id == SECURE {
        return Ok(DialogueOutcome::LoginUnsupported { method: "a further challenge".to_owned() });
    }
    let Some([a, b, c, d, e, f, ..]) = (tune.id == TUNE).then_some(tune.arguments.as_slice()) else {
        return Err(odd("no Connection.Tune"));
    };
    talk.step("open");
    // Its own limits are taken; no heartbeat, for the conversation is short.
    let mut both = frame(TUNE_OK, &[*a, *b, *c, *d, *e, *f, 0, 0]);
    let vhost = database(ask.path).unwrap_or_else(|| "/".to_owned());
    let mut open = short(&vhost);
    open.extend([0, 0]);
    both.extend(frame(OPEN, &open));
    talk.send(&both).await?;
    let opened = method(talk).await?;
    if let Some(closed) = closed(talk, &opened).await {
        return Ok(closed);
    }
    if opened.id != OPEN_OK {
        return Err(odd("no Connection.Open-Ok"));
    }
    let mut goodbye = REPLY_SUCCESS.to_be_bytes().to_vec();
    goodbye.extend(short("checked"));
    goodbye.extend([0; 4]);
    talk.send(&frame(CLOSE, &goodbye)).await?;
    talk.end_step();
    // Close-Ok; a server that hangs here has done what was asked.
    let _ = tokio::time::timeout(GOODBYE_WAIT, method(talk)).await;
    Ok(DialogueOutcome::Done { what: format!("logged in, virtual host {}", printable(vhost.as_bytes(), 64)) })
}

/// It answers with the header of the version that it wants, and closes: a broker that lives, and speaks what we do not.
async fn other_version(talk: &mut Talk) -> Result<DialogueOutcome, Broken> {
    let wanted = talk.read(8).await?;
    let [b'A', b'M', b'Q', b'P', id, major, minor, revision] = wanted.as_slice() else { return Err(odd("no frame of AMQP 0-9-1")) };
    // Protocol id 3 is the SASL layer of AMQP 1.0.
    let version = if *major == 0 { format!("AMQP 0-{minor}-{revision}") } else { format!("AMQP {major}.{minor}, protocol id {id}") };
    Ok(DialogueOutcome::LoginUnsupported { method: version })
}

/// Connection.Close from the server, acknowledged.
async fn closed(talk: &mut Talk, method: &Method) -> Option<DialogueOutcome> {
    if method.id != CLOSE {
        return None;
    }
    let (code, rest) = method.arguments.split_first_chunk::<2>()?;
    let length = rest.first().copied().map_or(0, usize::from);
    let message = printable(rest.get(1..=length).unwrap_or_default(), 256);
    let code = u16::from_be_bytes(*code).to_string();
    talk.farewell(&frame(CLOSE_OK, &[])).await;
    Some(DialogueOutcome::Refused { code, message })
}

/// Connection.Start: version (2), properties, mechanisms, locales. Gives the mechanisms.
fn read_start(talk: &mut Talk, start: &Method) -> Option<String> {
    if start.id != START {
        return None;
    }
    let (properties, rest) = long(start.arguments.get(2..)?)?;
    let product = property(properties, "product");
    let version = property(properties, "version");
    if let Some(product) = product {
        talk.served_by(format!("{product} {}", version.unwrap_or_default()).trim_end());
    }
    let (mechanisms, _) = long(rest)?;
    Some(printable(mechanisms, 128))
}

/// A text of a field table; only texts may come before it, or tables.
fn property(table: &[u8], wanted: &str) -> Option<String> {
    let mut rest = table;
    for _ in 0..MOST_ENTRIES {
        let length = usize::from(*rest.first()?);
        let name = rest.get(1..=length)?;
        let kind = *rest.get(length + 1)?;
        rest = rest.get(length + 2..)?;
        rest = match kind {
            b'S' | b'F' | b'x' | b'A' => {
                let (value, after) = long(rest)?;
                if kind == b'S' && name == wanted.as_bytes() {
                    return Some(printable(value, 64));
                }
                after
            }
            b't' | b'b' | b'B' => rest.get(1..)?,
            b'U' | b'u' | b's' => rest.get(2..)?,
            b'I' | b'i' | b'f' => rest.get(4..)?,
            b'L' | b'l' | b'd' | b'T' => rest.get(8..)?,
            b'D' => rest.get(5..)?,
            b'V' => rest,
            _ => return None,
        };
    }
    None
}

/// A long string: four bytes of length.
fn long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// A short string; what does not fit is cut.
fn short(text: &str) -> Vec<u8> {
    let bytes: Vec<u8> = text.bytes().take(255).collect();
    let mut out = vec![u8::try_from(bytes.len()).unwrap_or(0)];
    out.extend(bytes);
    out
}

fn long_string(text: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(text.len()).unwrap_or(0).to_be_bytes().to_vec();
    out.extend(text);
    out
}

/// Start-Ok with the mechanism PLAIN. It tells that we understand a refused login as Connection.Close, in place of a bare FIN.
fn start_ok(user: &str, password: &str) -> Vec<u8> {
    let mut capability = short("authentication_failure_close");
    capability.extend([b't', 1]);
    let mut properties = short("capabilities");
    properties.push(b'F');
    properties.extend(long_string(&capability));
    properties.extend(short("product"));
    properties.push(b'S');
    properties.extend(long_string(b"faultmap"));
    let mut arguments = long_string(&properties);
    arguments.extend(short("PLAIN"));
    arguments.extend(long_string(format!("\0{user}\0{password}").as_bytes()));
    arguments.extend(short("en_US"));
    frame(START_OK, &arguments)
}

/// A method of the class `connection` on channel 0.
fn frame(method: u16, arguments: &[u8]) -> Vec<u8> {
    let mut payload = 10_u16.to_be_bytes().to_vec();
    payload.extend(method.to_be_bytes());
    payload.extend(arguments);
    let mut out = vec![METHOD, 0, 0];
    out.extend(long_string(&payload));
    out.push(FRAME_END);
    out
}

/// The next method; heartbeats are passed over.
async fn method(talk: &mut Talk) -> Result<Method, Broken> {
    for _ in 0..8 {
        let head = talk.peek(7).await?.to_vec();
        let [kind, _, _, a, b, c, d] = head.as_slice() else { return Err(odd("no frame")) };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if !matches!(*kind, METHOD | HEARTBEAT) || length > super::talk::LARGEST {
            return Err(odd("no frame of AMQP 0-9-1"));
        }
        let whole = talk.read(length + 8).await?;
        if whole.last() != Some(&FRAME_END) {
            return Err(odd("a frame without its end"));
        }
        if *kind == HEARTBEAT {
            continue;
        }
        let payload = whole.get(7..whole.len() - 1).unwrap_or_default();
        let [0, 10, high, low, arguments @ ..] = payload else { return Err(odd("a method of another class than connection")) };
        return Ok(Method { id: u16::from_be_bytes([*high, *low]), arguments: arguments.to_vec() });
    }
    Err(odd("nothing but heartbeats"))
}

fn odd(why: &str) -> Broken {
    Broken::Malformed(why.to_owned())
}
