//! MQTT 3.1.1: CONNECT with a clean session and a client id of our own, CONNACK, PINGREQ, DISCONNECT. Nothing is subscribed or published.

use super::DialogueAsk;
use super::talk::{Broken, Talk};
use faultmap_model::observation::DialogueOutcome;
use ring::rand::{SecureRandom as _, SystemRandom};

const CONNACK: u8 = 0x20;
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];
/// Should we vanish, the broker forgets us after one and a half of it.
const KEEP_ALIVE_S: u16 = 30;

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    talk.step("connect");
    talk.send(&connect(ask)).await?;
    let head = talk.peek(2).await?;
    // MQTT 3.1.1, 3.2: a fixed header of two bytes, flags, the return code. Version 5 has a longer one, and no server sends it unasked.
    if head != [CONNACK, 2] {
        return Err(odd("no CONNACK"));
    }
    let acknowledged = talk.read(4).await?;
    let code = acknowledged.get(3).copied().unwrap_or_default();
    match code {
        0 => {}
        4 | 5 if ask.credentials.is_none_or(|given| given.password.is_none()) => {
            let user_given = ask.credentials.is_some();
            return Ok(DialogueOutcome::CredentialsWanted { method: "user name and password".to_owned(), user_given });
        }
        _ => return Ok(DialogueOutcome::Refused { code: code.to_string(), message: meaning(code).to_owned() }),
    }
    talk.step("ping");
    talk.send(&PINGREQ).await?;
    // Retained messages come only to who subscribes: the next packet is the answer.
    if talk.read(2).await? != PINGRESP {
        return Err(odd("no PINGRESP"));
    }
    talk.farewell(&DISCONNECT).await;
    let what = if ask.credentials.is_some() { "logged in" } else { "connected without a login" };
    Ok(DialogueOutcome::Done { what: what.to_owned() })
}

/// Table 3.1 of the standard.
const fn meaning(code: u8) -> &'static str {
    match code {
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "a return code that the standard reserves",
    }
}

fn connect(ask: &DialogueAsk<'_>) -> Vec<u8> {
    let user = ask.credentials.map(|given| given.user.as_str()).filter(|user| !user.is_empty());
    let password = ask.credentials.and_then(|given| given.password.as_deref()).filter(|_| user.is_some());
    // Clean session; a password needs a user name (3.1.2.9).
    let flags = 0x02 | if user.is_some() { 0x80 } else { 0 } | if password.is_some() { 0x40 } else { 0 };
    let mut body = field(b"MQTT");
    body.extend([4, flags]);
    body.extend(KEEP_ALIVE_S.to_be_bytes());
    body.extend(field(client_id().as_bytes()));
    body.extend(user.map(|user| field(user.as_bytes())).unwrap_or_default());
    body.extend(password.map(|password| field(password.as_bytes())).unwrap_or_default());
    let mut out = vec![0x10];
    out.extend(remaining(body.len()));
    out.extend(body);
    out
}

/// At most 23 letters and digits, which every broker takes (3.1.3.1).
fn client_id() -> String {
    let mut random = [0_u8; 6];
    let _ = SystemRandom::new().fill(&mut random);
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("faultmap{digits}")
}

/// Two bytes of length, then the bytes; what does not fit is cut.
fn field(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    let mut out = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

/// The remaining length, seven bits a byte (2.2.3).
fn remaining(mut length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn odd(why: &str) -> Broken {
    Broken::Malformed(why.to_owned())
}
