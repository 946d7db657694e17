//! One conversation under way: bounded reads and writes with a deadline each, the steps with their times, and how the stream ended.

use super::{Secured, Stream};
use crate::recorder::{ms, printable};
use crate::tls::{End, FIRST_BYTES, Seen, Tap, TlsAsk, handshake, looks_like};
use faultmap_model::observation::{Demand, DialogueOutcome, Spoken, TlsChain, Trust};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest message that any of the protocols needs here.
pub(super) const LARGEST: usize = 256 * 1024;
/// A farewell holds nobody up.
const FAREWELL: Duration = Duration::from_millis(300);

/// The conversation did not come to an answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream ended or failed.
    Ended,
    /// Nothing came in time.
    Silent,
    /// A message that breaks the protocol's rules; it is told whether the bytes are of another protocol when the conversation is finished.
    Malformed(String),
    /// The TLS handshake within the protocol failed, or its chain is not the one demanded: the handshake's own record tells.
    Insecure,
}

/// What the conversation runs on.
enum Io {
    Plain(Tap<TcpStream>),
    Other(Tap<Box<dyn Stream>>),
    /// Taken for a handshake that failed.
    Gone,
}

/// A stream with its history.
pub(super) struct Talk {
    io: Io,
    seen: Seen,
    /// Bytes received before the stream was upgraded to TLS.
    before: u64,
    wait: Duration,
    started: Instant,
    step_started: Instant,
    /// Bytes read beyond the last message.
    ahead: Vec<u8>,
    /// No farewell is said: the conversation goes on later.
    stays: bool,
    /// Our own address on this connection.
    pub(super) local: Option<IpAddr>,
    /// The conversation runs within TLS.
    pub(super) encrypted: bool,
    /// The handshake made within the protocol.
    pub(super) secured: Option<Secured>,
    pub(super) steps: Vec<(&'static str, f64)>,
    /// The server's name and version.
    pub(super) server: Option<String>,
    /// See `Dialogue::facts`.
    pub(super) facts: Vec<(String, String)>,
    pub(super) first_byte_ms: Option<f64>,
}

impl Talk {
    /// On a plain connection, which may be upgraded.
    pub(super) fn plain(stream: TcpStream, wait: Duration) -> Self {
        let local = stream.local_addr().ok().map(|local| local.ip());
        let (io, seen) = Tap::new(stream);
        Self { local, ..Self::new(Io::Plain(io), seen, wait) }
    }

    /// On any other stream.
    pub(super) fn other(stream: Box<dyn Stream>, wait: Duration) -> Self {
        let (io, seen) = Tap::new(stream);
        Self::new(Io::Other(io), seen, wait)
    }

    /// On a stream that TLS protects already.
    pub(super) fn within_tls(stream: Box<dyn Stream>, wait: Duration) -> Self {
        Self { encrypted: true, ..Self::other(stream, wait) }
    }

    /// Starts the clock.
    fn new(io: Io, seen: Seen, wait: Duration) -> Self {
        let now = Instant::now();
        Self {
            io,
            seen,
            before: 0,
            wait,
            started: now,
            step_started: now,
            ahead: Vec::new(),
            stays: false,
            local: None,
            encrypted: false,
            secured: None,
            steps: Vec::new(),
            server: None,
            facts: Vec::new(),
            first_byte_ms: None,
        }
    }

    /// Begins an exchange; the one before it is over.
    pub(super) fn step(&mut self, name: &'static str) {
        self.end_step();
        self.step_started = Instant::now();
        self.steps.push((name, 0.0));
    }

    pub(super) fn end_step(&mut self) {
        let took = ms(self.step_started.elapsed());
        if let Some((_, took_ms)) = self.steps.last_mut()
            && *took_ms == 0.0
        {
            *took_ms = took;
        }
    }

    /// From now on no farewell is said.
    pub(super) fn stay(&mut self) {
        self.stays = true;
    }

    /// Begins an exchange of a conversation that has stayed; the steps before it are forgotten.
    pub(super) fn again(&mut self, wait: Duration) {
        self.steps.clear();
        self.ahead.clear();
        self.wait = wait;
        self.step("ping");
    }

    /// What passes on the stream.
    pub(super) fn traffic(&self) -> Seen {
        Seen::clone(&self.seen)
    }

    /// Keeps a fact that the server told.
    pub(super) fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        self.facts.push((name.to_owned(), printable(value.as_ref().as_bytes(), 128)));
    }

    /// Keeps the server's name and version.
    pub(super) fn served_by(&mut self, server: impl AsRef<[u8]>) {
        self.server = Some(printable(server.as_ref(), 128));
    }

    /// How the conversation ended, seen from the stream.
    pub(super) fn outcome_of(&self, protocol: Spoken, broken: Broken) -> Option<DialogueOutcome> {
        let seen = self.seen.borrow();
        let received_bytes = self.before.saturating_add(seen.received);
        let foreign = looks_like(&seen.first).filter(|name| !own(protocol, name));
        Some(match (broken, seen.end) {
            (Broken::Insecure, _) => return None,
            // After a first exchange that went well it is the protocol, and so it is when it begins as the protocol does.
            (Broken::Malformed(why), _) if foreign.is_none() && (self.steps.len() > 1 || looks_like(&seen.first).is_some()) => {
                DialogueOutcome::Malformed { why }
            }
            (Broken::Malformed(_), _) => {
                DialogueOutcome::Foreign { looks_like: foreign.map(str::to_owned), first_bytes: printable(&seen.first, FIRST_BYTES) }
            }
            // It ended the session after words of another protocol, which we had taken for the beginning of ours.
            (Broken::Ended | Broken::Silent, _) if foreign.is_some() && self.steps.len() <= 1 => {
                DialogueOutcome::Foreign { looks_like: foreign.map(str::to_owned), first_bytes: printable(&seen.first, FIRST_BYTES) }
            }
            (Broken::Ended, Some(End::Reset)) => DialogueOutcome::Reset { received_bytes },
            (Broken::Ended, _) => DialogueOutcome::Closed { received_bytes },
            (Broken::Silent, _) => DialogueOutcome::Silent { waited_ms: ms(self.step_started.elapsed()), received_bytes },
        })
    }

    /// The first bytes are those of another protocol.
    pub(super) fn foreign(&self) -> bool {
        matches!(looks_like(&self.seen.borrow().first), Some(name) if name != "ssh")
    }

    /// The plain stream, after the protocol's own way into TLS was gone.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        match self.io {
            Io::Plain(tap) if self.ahead.is_empty() => Some(tap.into_inner()),
            _ => None,
        }
    }

    /// Goes on within TLS. What the handshake showed is kept, whatever comes of it.
    pub(super) async fn upgrade(&mut self, ask: &TlsAsk<'_>, demanded: Option<Demand>) -> Result<(), Broken> {
        self.step("tls");
        if !self.ahead.is_empty() {
            // RFC 3207 5: what was said before the handshake must not be taken for what is said within.
            return Err(Broken::Malformed("bytes in plain text after the consent to TLS".to_owned()));
        }
        let Io::Plain(tap) = std::mem::replace(&mut self.io, Io::Gone) else { return Err(Broken::Ended) };
        let asked = Instant::now();
        let result = handshake(tap.into_inner(), ask).await;
        let chain = result.chain.map(|chain| TlsChain { demanded, ..chain });
        let trusted = demanded.is_none_or(|demand| chain.as_ref().is_some_and(|chain| fulfils(chain, demand)));
        self.secured = Some(Secured { asked, handshake: result.handshake, chain });
        let Some(stream) = result.stream.filter(|_| trusted) else { return Err(Broken::Insecure) };
        self.before = self.before.saturating_add(self.seen.borrow().received);
        let stream: Box<dyn Stream> = Box::new(stream);
        let (io, seen) = Tap::new(stream);
        (self.io, self.seen, self.encrypted) = (Io::Other(io), seen, true);
        Ok(())
    }
}

/// A greeting of the protocol that we speak ourselves.
pub(super) fn own(protocol: Spoken, looks_like: &str) -> bool {
    match protocol {
        Spoken::Postgres => looks_like == "postgres",
        Spoken::Mysql => looks_like == "mysql",
        Spoken::Redis => looks_like == "redis",
        Spoken::Smtp => matches!(looks_like, "smtp" | "smtp-or-ftp"),
        Spoken::Ssh => looks_like == "ssh",
        Spoken::Amqp => looks_like == "amqp",
        // A PUBLISH packet's first bytes may look like those of a TLS record or of an AMQP frame, but no CONNACK does.
        Spoken::Mqtt => false,
        Spoken::Grpc => looks_like == "http2",
        Spoken::Websocket => looks_like == "http",
    }
}

/// The chain passes the checks that were demanded.
fn fulfils(chain: &TlsChain, demand: Demand) -> bool {
    let now = chain.now_unix;
    let valid = chain.certificates.first().is_some_and(|leaf| leaf.not_before_unix <= now && now <= leaf.not_after_unix);
    valid && chain.trust == Trust::Trusted && (demand == Demand::Ca || chain.name_matches)
}

impl Talk {
    /// Sends a whole message.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Broken> {
        let write = async {
            match &mut self.io {
                Io::Plain(io) => {
                    io.write_all(message).await?;
                    io.flush().await
                }
                Io::Other(io) => {
                    io.write_all(message).await?;
                    io.flush().await
                }
                Io::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        match tokio::time::timeout(self.wait, write).await {
            Err(_) => Err(Broken::Silent),
            // What it said before it closed explains the close: it is read first.
            Ok(Err(_)) if self.fill(usize::MAX).await.is_err() && self.ahead.is_empty() => Err(Broken::Ended),
            Ok(_) => Ok(()),
        }
    }

    /// Sends the protocol's last message and closes in order; no answer is waited for, and failing is no finding.
    pub(super) async fn farewell(&mut self, message: &[u8]) {
        self.end_step();
        if self.stays {
            return;
        }
        let last = async {
            match &mut self.io {
                Io::Plain(io) => {
                    io.write_all(message).await?;
                    io.shutdown().await
                }
                Io::Other(io) => {
                    io.write_all(message).await?;
                    io.shutdown().await
                }
                Io::Gone => Ok(()),
            }
        };
        let _ = tokio::time::timeout(FAREWELL.min(self.wait), last).await;
    }

    /// Reads and drops until the stream ends.
    pub(super) async fn until_end(&mut self) {
        let mut sink = [0_u8; 4096];
        loop {
            let read = match &mut self.io {
                Io::Plain(io) => io.read(&mut sink).await,
                Io::Other(io) => io.read(&mut sink).await,
                Io::Gone => Ok(0),
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }

    /// Exactly so many bytes.
    pub(super) async fn read(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        if count > LARGEST {
            return Err(Broken::Malformed(format!("a message of {count} bytes is announced")));
        }
        self.fill(count).await?;
        let rest = self.ahead.split_off(count);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// One byte.
    pub(super) async fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.read(1).await?.first().copied().unwrap_or_default())
    }

    /// The next bytes, without taking them.
    pub(super) async fn peek(&mut self, count: usize) -> Result<&[u8], Broken> {
        self.fill(count.min(LARGEST)).await?;
        Ok(self.ahead.get(..count).unwrap_or(&self.ahead))
    }

    /// One line, without its CR LF.
    pub(super) async fn line(&mut self) -> Result<String, Broken> {
        let mut searched = 0;
        loop {
            let new = self.ahead.get(searched..).unwrap_or_default();
            if let Some(at) = new.iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            searched = self.ahead.len();
            if searched > LARGEST {
                return Err(Broken::Malformed("a line without end".to_owned()));
            }
            self.fill(searched + 1).await?;
        }
    }

    /// Reads until so many bytes are there. The whole step is bounded, however slowly the bytes drip.
    async fn fill(&mut self, count: usize) -> Result<(), Broken> {
        let deadline = self.step_started + self.wait;
        let mut chunk = [0_u8; 4096];
        while self.ahead.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let reading = async {
                match &mut self.io {
                    Io::Plain(io) => io.read(&mut chunk).await,
                    Io::Other(io) => io.read(&mut chunk).await,
                    Io::Gone => Ok(0),
                }
            };
            let read = match tokio::time::timeout(left, reading).await {
                Err(_) => return Err(Broken::Silent),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(Err(_) | Ok(0)) => return Err(Broken::Ended),
                Ok(Ok(read)) => read,
            };
            self.first_byte_ms.get_or_insert_with(|| ms(self.started.elapsed()));
            self.ahead.extend(chunk.iter().take(read));
            if self.ahead.len() > 2 * LARGEST {
                return Err(Broken::Malformed("more than was asked for".to_owned()));
            }
        }
        Ok(())
    }
}
