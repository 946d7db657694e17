//! SMTP (RFC 5321): banner, EHLO, STARTTLS where it is offered (RFC 3207), AUTH within TLS when credentials are given (RFC 4954), QUIT.
//! No mail is sent: there is no MAIL FROM.

use super::talk::{Broken, Talk};
use super::{DialogueAsk, TlsWish};
use crate::recorder::printable;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use faultmap_model::observation::{Demand, DialogueOutcome};
use std::net::IpAddr;

/// Message submission (RFC 6409): programs that hand mail in here log in, and go no further with a certificate that does not stand (RFC 8314).
const SUBMISSION: u16 = 587;
/// Lines of one reply; EHLO lists about fifteen.
const MOST_LINES: usize = 128;

/// A reply: its code, and its lines without it.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    const fn good(&self) -> bool {
        self.code < 400
    }

    /// An extension of EHLO, with its parameters.
    fn extension(&self, name: &str) -> Option<&str> {
        let lines = self.lines.iter().skip(1);
        lines
            .map(|line| line.split_once([' ', '=']).unwrap_or((line, "")))
            .find(|(word, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, rest)| rest)
    }
}

impl From<Reply> for DialogueOutcome {
    fn from(reply: Reply) -> Self {
        let message = printable(reply.lines.join(" ").as_bytes(), 256);
        // RFC 3207 4: 530 "Must issue a STARTTLS command first"; RFC 4954 6: 538.
        let wants_tls = matches!(reply.code, 530 | 538) && (reply.code == 538 || message.to_ascii_lowercase().contains("starttls"));
        if wants_tls { Self::TlsWanted { message } } else { Self::Refused { code: reply.code.to_string(), message } }
    }
}

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    let mut offers = match greet(talk).await? {
        Ok(offers) => offers,
        Err(refused) => return Ok(refused.into()),
    };
    let submits = ask.to.port() == SUBMISSION && offers.extension("STARTTLS").is_some();
    let wish = if ask.credentials.is_some() || submits { TlsWish::Verified(Demand::Full) } else { TlsWish::IfOffered };
    if !talk.encrypted {
        match (offers.extension("STARTTLS"), &ask.tls) {
            (Some(_), Some(tls)) => {
                let reply = start_tls(talk).await?;
                if reply.good() {
                    talk.upgrade(tls, wish.demanded()).await?;
                    offers = hello(talk).await?;
                } else if wish.or_nothing() {
                    return Ok(reply.into());
                } else {
                    // Mail goes on in plain text (RFC 7435); what is wrong is told.
                    talk.fact("starttls", format!("{} {}", reply.code, reply.lines.join(" ")));
                }
            }
            _ if wish.or_nothing() => {
                quit(talk).await;
                return Ok(DialogueOutcome::TlsNotOffered);
            }
            _ => {}
        }
    }
    if !offers.good() {
        return Ok(offers.into());
    }
    talk.fact("tls", if talk.encrypted { "yes" } else { "no" });
    let login = match ask.credentials {
        Some(given) => log_in(talk, &offers, &given.user, given.password.as_deref()).await?,
        None => Ok("ready for mail".to_owned()),
    };
    let outcome = match login {
        Ok(what) => DialogueOutcome::Done { what },
        Err(outcome) => outcome,
    };
    quit(talk).await;
    Ok(outcome)
}

/// Banner, EHLO, STARTTLS; true when the server is ready for the handshake.
pub(super) async fn ask_for_tls(talk: &mut Talk) -> Result<bool, Broken> {
    let Ok(offers) = greet(talk).await? else { return Ok(false) };
    if offers.extension("STARTTLS").is_none() {
        return Ok(false);
    }
    Ok(start_tls(talk).await?.good())
}

async fn start_tls(talk: &mut Talk) -> Result<Reply, Broken> {
    talk.step("starttls");
    talk.send(b"STARTTLS\r\n").await?;
    reply(talk).await
}

async fn greet(talk: &mut Talk) -> Result<Result<Reply, Reply>, Broken> {
    talk.step("greeting");
    let banner = reply(talk).await?;
    if !banner.good() {
        return Ok(Err(banner));
    }
    let words = banner.lines.first().map(String::as_str).unwrap_or_default();
    // An FTP server greets with 220, too.
    if banner.code != 220 || words.to_ascii_lowercase().contains("ftp") && !words.to_ascii_lowercase().contains("smtp") {
        return Err(Broken::Malformed("no greeting of SMTP".to_owned()));
    }
    talk.served_by(words);
    let hello = hello(talk).await?;
    Ok(if hello.good() { Ok(hello) } else { Err(hello) })
}

async fn hello(talk: &mut Talk) -> Result<Reply, Broken> {
    talk.step("ehlo");
    // RFC 5321 4.1.3: an address literal, where there is no name.
    let literal = match talk.local {
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        None => "[127.0.0.1]".to_owned(),
    };
    talk.send(format!("EHLO {literal}\r\n").as_bytes()).await?;
    let answer = reply(talk).await?;
    // RFC 5321 3.2: a server of old knows HELO only.
    if !matches!(answer.code, 500 | 501 | 502 | 504) {
        return Ok(answer);
    }
    talk.send(format!("HELO {literal}\r\n").as_bytes()).await?;
    reply(talk).await
}

/// AUTH PLAIN (RFC 4616), or LOGIN where only that is offered. Called within TLS only.
async fn log_in(talk: &mut Talk, offers: &Reply, user: &str, password: Option<&str>) -> Result<Result<String, DialogueOutcome>, Broken> {
    let Some(ways) = offers.extension("AUTH").map(str::to_ascii_uppercase) else {
        let message = "the server offers no AUTH on this port, and a login was asked for".to_owned();
        return Ok(Err(DialogueOutcome::Refused { code: "no AUTH".to_owned(), message }));
    };
    talk.fact("auth", ways.to_ascii_lowercase());
    let Some(password) = password else {
        return Ok(Err(DialogueOutcome::CredentialsWanted { method: ways.to_ascii_lowercase(), user_given: true }));
    };
    talk.step("authentication");
    let has = |way: &str| ways.split_ascii_whitespace().any(|offered| offered == way);
    let last = if has("PLAIN") {
        let pair = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        exchange(talk, &format!("AUTH PLAIN {pair}\r\n")).await?
    } else if has("LOGIN") {
        let first = exchange(talk, "AUTH LOGIN\r\n").await?;
        if first.code == 334 {
            let named = exchange(talk, &format!("{}\r\n", BASE64_STANDARD.encode(user))).await?;
            if named.code == 334 { exchange(talk, &format!("{}\r\n", BASE64_STANDARD.encode(password))).await? } else { named }
        } else {
            first
        }
    } else {
        return Ok(Err(DialogueOutcome::LoginUnsupported { method: ways.to_ascii_lowercase() }));
    };
    Ok(if last.code == 235 { Ok("logged in".to_owned()) } else { Err(last.into()) })
}

async fn exchange(talk: &mut Talk, command: &str) -> Result<Reply, Broken> {
    talk.send(command.as_bytes()).await?;
    reply(talk).await
}

async fn quit(talk: &mut Talk) {
    talk.farewell(b"QUIT\r\n").await;
}

/// A reply of one or more lines (RFC 5321 4.2.1).
async fn reply(talk: &mut Talk) -> Result<Reply, Broken> {
    let mut lines = Vec::new();
    loop {
        let line = talk.line().await?;
        let (Some(code), rest) = (line.get(..3), line.get(3..).unwrap_or_default()) else { return Err(odd()) };
        let code: u16 = code.parse().map_err(|_| odd())?;
        if !(200..600).contains(&code) || !(rest.is_empty() || rest.starts_with([' ', '-'])) {
            return Err(odd());
        }
        lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if !rest.starts_with('-') {
            return Ok(Reply { code, lines });
        }
        if lines.len() > MOST_LINES {
            return Err(Broken::Malformed("a reply of SMTP without end".to_owned()));
        }
    }
}

fn odd() -> Broken {
    Broken::Malformed("no reply of SMTP".to_owned())
}
