//! Plain TCP services (optionally within TLS): echo, silence, greetings, closes, resets, a reader that does not read, and
//! dialogues by rule for line protocols such as Redis or the first messages of PostgreSQL. It never parses a protocol.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    database::{self, Mysql, Postgres},
    engine::Ctx,
    error::ServiceError,
    hostile::{self, Hostile},
    io::{BoxStream, HOLD, Metered, Wire, drain},
    listen::ListenSpec,
    pki::Pki,
    proxy::{self, ForwardProxy},
    stats::Counters,
    tls::{TlsPlan, TlsSpec, admit::admit},
};

/// Time for what was written to reach the peer before a reset discards the rest.
const BEFORE_RESET: Duration = Duration::from_millis(150);

/// A TCP service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TcpSpec {
    /// Port; 0 lets the kernel choose.
    pub port: u16,
    /// False: nothing listens, as if the process had died.
    #[serde(default = "yes")]
    pub listening: bool,
    /// How it listens.
    #[serde(default)]
    pub listen: ListenSpec,
    /// Speak within TLS.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// What it does with a connection.
    #[serde(default)]
    pub behaviour: TcpBehaviour,
}

pub(crate) fn yes() -> bool {
    true
}

/// What a TCP service does with a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum TcpBehaviour {
    /// Sends back what it receives.
    #[default]
    Echo,
    /// Reads everything, answers nothing.
    Mute,
    /// Sends `text` at once, then reads and ignores.
    Banner {
        /// What is sent.
        text: String,
    },
    /// Closes in order after accept, without a byte.
    Close,
    /// Resets after accept.
    Reset,
    /// Echoes until `bytes` have been received, then resets.
    ResetAfter {
        /// Bytes received before the reset.
        bytes: u64,
    },
    /// Never reads: the peer sees the window close.
    NeverRead,
    /// Sends `bytes` bytes, then closes in order.
    Source {
        /// Bytes sent.
        bytes: u64,
    },
    /// Echoes; an orderly close once nothing has moved for `ms` milliseconds.
    IdleClose {
        /// Milliseconds without traffic.
        ms: u64,
    },
    /// Echoes; an orderly close `ms` milliseconds after accept, busy or not.
    HardTimeout {
        /// Milliseconds of life.
        ms: u64,
    },
    /// Speaks as a PostgreSQL server.
    Postgres(Postgres),
    /// Speaks as a MySQL server.
    Mysql(Mysql),
    /// Answers without end, or without sense.
    Hostile(Hostile),
    /// Is a forward proxy, over HTTP or SOCKS5.
    Proxy(ForwardProxy),
    /// Answers by rule: each chunk received is compared with every rule in order.
    Dialogue {
        /// Sent at once after accept.
        #[serde(default)]
        greeting: Option<Payload>,
        /// The rules; a chunk that fits none is ignored.
        rules: Vec<DialogueRule>,
    },
}

/// One rule of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DialogueRule {
    /// What the chunk must contain; absent: anything.
    #[serde(default)]
    pub contains: Option<Payload>,
    /// The answer; absent: none.
    #[serde(default)]
    pub reply: Option<Payload>,
    /// Close after the answer.
    #[serde(default)]
    pub close: bool,
}

/// Bytes, written as text or as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Payload {
    /// UTF-8 text.
    Text(String),
    /// Hexadecimal digits; spaces are ignored.
    Hex(String),
}

impl Payload {
    /// The bytes meant.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, ServiceError> {
        match self {
            Self::Text(text) => Ok(text.as_bytes().to_vec()),
            Self::Hex(text) => hex(text).ok_or_else(|| ServiceError::spec("hex", format!("not hexadecimal bytes: {text:?}"))),
        }
    }
}

/// Reads pairs of hexadecimal digits, ignoring white space.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    pairs.collect()
}

/// A [`TcpSpec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct TcpPlan {
    tls: Option<TlsPlan>,
    behaviour: TcpBehaviour,
    greeting: Vec<u8>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    contains: Vec<u8>,
    reply: Vec<u8>,
    close: bool,
}

impl TcpPlan {
    pub(crate) fn new(spec: &TcpSpec, bind: &[IpAddr], pki: &Pki) -> Result<Self, ServiceError> {
        let optional = |p: &Option<Payload>| p.as_ref().map_or(Ok(Vec::new()), Payload::bytes);
        let (mut greeting, mut rules) = (Vec::new(), Vec::new());
        if let TcpBehaviour::Dialogue { greeting: first, rules: listed } = &spec.behaviour {
            greeting = optional(first)?;
            for rule in listed {
                rules.push(Rule { contains: optional(&rule.contains)?, reply: optional(&rule.reply)?, close: rule.close });
            }
        }
        let tls = spec.tls.as_ref().map(|tls| TlsPlan::new(tls, &[], bind, pki)).transpose()?;
        Ok(Self { tls, behaviour: spec.behaviour.clone(), greeting, rules })
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(tcp: TcpStream, plan: &TcpPlan, ctx: &Ctx) {
    let (io, wire) = Metered::new(tcp, ctx.counters.clone());
    let counters = &ctx.counters;
    // These act on the TCP connection itself, before any TLS.
    match plan.behaviour {
        TcpBehaviour::Close => return counters.bite("close"),
        TcpBehaviour::Reset => {
            wire.reset_on_drop();
            return counters.bite("reset");
        }
        TcpBehaviour::NeverRead => {
            counters.bite("never-read");
            sleep(HOLD).await;
            return drop(io);
        }
        _ => {}
    }
    let stream: BoxStream = match &plan.tls {
        None => Box::new(io),
        Some(tls) => match admit(io, &wire, tls, counters).await {
            Some(admitted) => admitted.stream,
            None => return,
        },
    };
    behave(stream, &wire, plan, counters).await;
}

async fn behave(mut io: BoxStream, wire: &Wire, plan: &TcpPlan, counters: &Arc<Counters>) {
    match &plan.behaviour {
        TcpBehaviour::Echo => echo(&mut io, u64::MAX, counters).await,
        TcpBehaviour::Mute => {
            counters.bite("mute");
            drain(&mut io, HOLD).await;
        }
        TcpBehaviour::Banner { text } => {
            let _ = io.write_all(text.as_bytes()).await;
            let _ = io.flush().await;
            Counters::add(&counters.answered, 1);
            drain(&mut io, HOLD).await;
        }
        TcpBehaviour::ResetAfter { bytes } => {
            echo(&mut io, *bytes, counters).await;
            sleep(BEFORE_RESET).await;
            counters.bite("reset-after");
            wire.reset_on_drop();
        }
        TcpBehaviour::Source { bytes } => source(&mut io, *bytes, counters).await,
        TcpBehaviour::IdleClose { ms } => {
            if within_idle(wire, *ms, echo(&mut io, u64::MAX, counters)).await.is_none() {
                counters.bite("idle-close");
                let _ = io.shutdown().await;
            }
        }
        TcpBehaviour::HardTimeout { ms } => {
            if timeout(Duration::from_millis(*ms), echo(&mut io, u64::MAX, counters)).await.is_err() {
                counters.bite("hard-timeout");
                let _ = io.shutdown().await;
            }
        }
        TcpBehaviour::Proxy(settings) => proxy::serve(&mut io, settings, counters).await,
        TcpBehaviour::Dialogue { .. } => dialogue(&mut io, plan, counters).await,
        TcpBehaviour::Postgres(server) => {
            let _ = timeout(HOLD, database::postgres(&mut io, server, counters)).await;
            finish(&mut io).await;
        }
        TcpBehaviour::Mysql(server) => {
            let _ = timeout(HOLD, database::mysql(&mut io, server, counters)).await;
            finish(&mut io).await;
        }
        TcpBehaviour::Hostile(attack) => hostile::serve(&mut io, attack, counters).await,
        TcpBehaviour::Close | TcpBehaviour::Reset | TcpBehaviour::NeverRead => {}
    }
}

async fn echo(io: &mut BoxStream, at_most: u64, counters: &Counters) {
    let mut buffer = vec![0; 16 * 1024];
    let mut received = 0;
    while let Ok(n) = io.read(&mut buffer).await {
        received += n as u64;
        Counters::add(&counters.requests, usize::from(n > 0));
        if n == 0 || received > at_most || io.write_all(&buffer[..n]).await.is_err() || io.flush().await.is_err() {
            break;
        }
        Counters::add(&counters.answered, 1);
        if received >= at_most {
            break;
        }
    }
}

async fn source(io: &mut BoxStream, bytes: u64, counters: &Counters) {
    let chunk = [b'f'; 16 * 1024];
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if io.write_all(&chunk[..n]).await.is_err() {
            return;
        }
        left -= n as u64;
    }
    Counters::add(&counters.answered, 1);
    let _ = io.shutdown().await;
    drain(io, Duration::from_secs(5)).await;
}

async fn dialogue(io: &mut BoxStream, plan: &TcpPlan, counters: &Counters) {
    if !plan.greeting.is_empty() && (io.write_all(&plan.greeting).await.is_err() || io.flush().await.is_err()) {
        return;
    }
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = match timeout(HOLD, io.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => n,
            _ => return,
        };
        Counters::add(&counters.requests, 1);
        let Some(rule) = plan.rules.iter().find(|rule| contains(&buffer[..n], &rule.contains)) else {
            continue;
        };
        if io.write_all(&rule.reply).await.is_err() || io.flush().await.is_err() {
            return;
        }
        Counters::add(&counters.answered, 1);
        if rule.close {
            return finish(io).await;
        }
    }
}

/// Closes in order.
async fn finish(io: &mut BoxStream) {
    let _ = io.shutdown().await;
    drain(io, Duration::from_secs(1)).await;
}

fn contains(chunk: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || chunk.windows(wanted.len()).any(|window| window == wanted)
}

/// Runs `work` until nothing has moved on the connection for `idle_ms`. `None`: it was idle.
pub(crate) async fn within_idle<T>(wire: &Wire, idle_ms: u64, work: impl Future<Output = T>) -> Option<T> {
    let idle = Duration::from_millis(idle_ms.max(1));
    // Looked at often enough that the limit is one, and not twice itself.
    let look = (idle / 20).clamp(Duration::from_millis(1), Duration::from_millis(200));
    let watch = async {
        let (mut seen, mut since) = (wire.moved(), Instant::now());
        while since.elapsed() < idle {
            sleep(look).await;
            let now = wire.moved();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = watch => None,
    }
}
