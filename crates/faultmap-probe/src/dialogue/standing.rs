//! A conversation that stays open after its login, so that it can be left idle and spoken on again: the same dialogue without its farewell, and
//! the protocol's own ping (PostgreSQL Sync, MySQL COM_PING, Redis PING, SMTP NOOP). Nothing is written.

use super::talk::{Broken, Talk};
use super::{DialogueAsk, mysql, postgres, redis, smtp};
use crate::http::Connection;
use crate::recorder::printable;
use crate::tls::Seen;
use faultmap_model::observation::{DialogueOutcome, Spoken};
use std::time::Duration;

/// Messages of one answer to a ping.
const MOST_MESSAGES: usize = 64;

/// The open conversation.
pub(crate) struct Standing {
    talk: Talk,
    protocol: Spoken,
}

/// The protocol has a ping that its servers answer after the login.
pub(crate) const fn stands(protocol: Spoken) -> bool {
    matches!(protocol, Spoken::Redis | Spoken::Postgres | Spoken::Mysql | Spoken::Smtp)
}

/// Logs in and stays. `None`: the service did not do what was asked.
pub(crate) async fn stay(connection: Connection, ask: &DialogueAsk<'_>) -> Option<Standing> {
    let mut talk = match connection {
        Connection::Plain(stream) | Connection::PlainHttp2(stream) | Connection::Forwarded(stream, _) => Talk::plain(stream, ask.wait),
        Connection::Tls(stream) => Talk::within_tls(Box::new(stream), ask.wait),
    };
    talk.stay();
    let outcome = match ask.protocol {
        Spoken::Redis => redis::speak(&mut talk, ask).await,
        Spoken::Postgres => postgres::speak(&mut talk, ask).await,
        Spoken::Mysql => mysql::speak(&mut talk, ask).await,
        Spoken::Smtp => smtp::speak(&mut talk, ask).await,
        _ => Err(Broken::Ended),
    };
    matches!(outcome, Ok(DialogueOutcome::Done { .. })).then_some(Standing { talk, protocol: ask.protocol })
}

impl Standing {
    /// What passes on its stream.
    pub(crate) fn seen(&self) -> Seen {
        self.talk.traffic()
    }

    /// Waits until the server ends the session. What it says is read and dropped.
    pub(crate) async fn ended(&mut self) {
        self.talk.until_end().await;
    }

    /// The protocol's ping and its answer.
    pub(crate) async fn ping(&mut self, wait: Duration) -> Result<(), String> {
        self.talk.again(wait);
        let pinged = match self.protocol {
            Spoken::Redis => self.line(b"*1\r\n$4\r\nPING\r\n", |line| line.starts_with(['+', '-'])).await,
            Spoken::Smtp => self.line(b"NOOP\r\n", |line| line.starts_with("250")).await,
            Spoken::Postgres => self.sync().await,
            Spoken::Mysql => self.com_ping().await,
            _ => Err(Broken::Malformed("no ping".to_owned())),
        };
        pinged.map_err(|broken| match broken {
            Broken::Malformed(why) => why,
            Broken::Silent => "no answer".to_owned(),
            Broken::Ended | Broken::Insecure => "the session has ended".to_owned(),
        })
    }

    async fn line(&mut self, message: &[u8], good: impl Fn(&str) -> bool) -> Result<(), Broken> {
        self.talk.send(message).await?;
        let line = self.talk.line().await?;
        if good(&line) { Ok(()) } else { Err(Broken::Malformed(printable(line.as_bytes(), 128))) }
    }

    /// Sync is answered by ReadyForQuery; notices and parameters may come before it.
    async fn sync(&mut self) -> Result<(), Broken> {
        self.talk.send(b"S\0\0\0\x04").await?;
        for _ in 0..MOST_MESSAGES {
            let kind = self.talk.byte().await?;
            let length = self.talk.read(4).await?.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
            let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4);
            self.talk.read(length).await?;
            match kind {
                b'Z' => return Ok(()),
                b'E' => return Err(Broken::Ended),
                _ => {}
            }
        }
        Err(Broken::Malformed("no ReadyForQuery".to_owned()))
    }

    /// COM_PING is answered by an OK packet (first byte 0), or by an error (0xff).
    async fn com_ping(&mut self) -> Result<(), Broken> {
        self.talk.send(&[1, 0, 0, 0, 0x0e]).await?;
        let header = self.talk.read(4).await?;
        let length = header.iter().take(3).rev().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        match self.talk.read(length).await?.first() {
            Some(0) => Ok(()),
            Some(0xff) => Err(Broken::Ended),
            _ => Err(Broken::Malformed("no OK packet".to_owned())),
        }
    }

    /// What the server said when it ended the session, from the last bytes that came.
    pub(crate) fn last_words(&self) -> Option<String> {
        let seen = self.talk.traffic();
        let seen = seen.borrow();
        goodbye(self.protocol, &seen.last)
    }
}

/// An error message within the bytes: PostgreSQL's ErrorResponse, MySQL's ERR packet, SMTP's 421.
pub(crate) fn goodbye(protocol: Spoken, bytes: &[u8]) -> Option<String> {
    let words = match protocol {
        Spoken::Postgres => {
            let fields = bytes.strip_prefix(b"E")?.get(4..)?;
            let field = |name: u8| fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[name]));
            [field(b'C')?, field(b'M')?].join(&b' ')
        }
        Spoken::Mysql => {
            let error = bytes.get(4..)?.strip_prefix(&[0xff])?;
            let code = error.first_chunk::<2>().map(|code| u16::from_le_bytes(*code))?;
            let text = error.get(2..)?;
            let text = if text.first() == Some(&b'#') { text.get(6..)? } else { text };
            [code.to_string().as_bytes(), text].join(&b' ')
        }
        Spoken::Smtp => bytes.strip_prefix(b"421").map(|_| bytes.trim_ascii_end().to_vec())?,
        _ => return None,
    };
    Some(printable(&words, 128))
}

#[cfg(test)]
mod tests {
    use super::{Spoken, goodbye};
    use proptest::prelude::*;

    #[test]
    fn a_server_that_ends_an_idle_session_says_why_in_its_own_way() {
        let postgres = b"E\0\0\0\x50SFATAL\0VFATAL\0C57P05\0Mterminating connection due to idle-session timeout\0\0";
        let said = "57P05 terminating connection due to idle-session timeout";
        assert_eq!(goodbye(Spoken::Postgres, postgres).as_deref(), Some(said));
        let mysql = b"\x30\0\0\0\xff\xbf\x0f#HY000The client was disconnected";
        assert_eq!(goodbye(Spoken::Mysql, mysql).as_deref(), Some("4031 The client was disconnected"));
        assert_eq!(goodbye(Spoken::Smtp, b"421 4.4.2 timeout\r\n").as_deref(), Some("421 4.4.2 timeout"));
        assert_eq!(goodbye(Spoken::Redis, b"+PONG\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for protocol in [Spoken::Postgres, Spoken::Mysql, Spoken::Smtp] {
                let _ = goodbye(protocol, &bytes);
            }
        }
    }
}
