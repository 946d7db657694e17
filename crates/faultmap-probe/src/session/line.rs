//! One held connection: opened with its protocol, left alone, used, and how it ended. It decides nothing about when.

use super::goaway::goaway;
use super::http1::Http1;
use super::http2::Http2;
use super::silent::Silent;
use super::websocket::Websocket;
use super::{Io, Stream};
use crate::dialogue::Standing;
use crate::http::Connection;
use crate::recorder::{ms, printable};
use crate::sock::keep_alive::{self, Silence, silence};
use crate::sock::{no_delay_dup, tcp_health};
use crate::tls::{End, Seen, Tap};
use bytes::Bytes;
use faultmap_model::observation::{OnUse, TcpHealth, WhileIdle};
use http::Request;
use http_body_util::Full;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How often the kernel is asked for the state of a connection that waits for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Retransmissions, and the time that three of them take (RFC 6298: 200 ms doubled on Linux), after which data counts as lost for good.
const LOST_AFTER: (u32, Duration) = (3, Duration::from_millis(1_500));
/// Unanswered keep-alive probes, one second apart, after which the peer counts as gone.
const PROBES: u32 = 3;
/// A goodbye may take so long.
const GOODBYE: Duration = Duration::from_millis(200);

/// What is said on a line whenever it is used.
#[derive(Debug, Clone)]
pub(crate) enum Speech {
    /// An HTTP request.
    Http(Request<Full<Bytes>>),
    /// The same in the form of HTTP/2; the body in one piece.
    Http2(Request<()>, Option<Bytes>),
    /// A WebSocket, opened by this request.
    Websocket(Request<()>),
    /// Nothing: the kernel looks.
    Nothing,
}

enum Kind {
    Http1(Http1, Request<Full<Bytes>>),
    Http2(Http2, Request<()>, Option<Bytes>),
    Websocket(Box<Websocket>),
    Silent(Silent),
    Dialogue(Box<Standing>),
}

/// A held connection.
pub(crate) struct Line {
    kind: Kind,
    seen: Seen,
    socket: Option<OwnedFd>,
    opened: Instant,
    /// Since the last exchange.
    used: Instant,
    /// Our end of it.
    pub(crate) local: Option<SocketAddr>,
    /// The peer said that it would end the connection.
    pub(crate) announced_close: bool,
}

impl Line {
    /// Begins the protocol on a fresh connection.
    pub(crate) async fn open(connection: Connection, speech: Speech, wait: Duration) -> Result<Self, String> {
        let socket = descriptor(&connection);
        let stream: Box<dyn Io> = match connection {
            Connection::Plain(stream) | Connection::PlainHttp2(stream) | Connection::Forwarded(stream, _) => Box::new(stream),
            Connection::Tls(stream) => Box::new(stream),
        };
        let (stream, seen) = if matches!(speech, Speech::Http(_)) { Tap::speaking_first(stream) } else { Tap::new(stream) };
        let opening = tokio::time::timeout(wait, open(stream, speech));
        let kind = opening.await.map_err(|_| "no answer in time".to_owned())??;
        Ok(Self::new(kind, seen, socket))
    }

    /// A conversation in another protocol, after its login. `socket`: see [`descriptor`].
    pub(crate) fn of_dialogue(standing: Standing, socket: Option<OwnedFd>) -> Self {
        let seen = standing.seen();
        Self::new(Kind::Dialogue(Box::new(standing)), seen, socket)
    }

    fn new(kind: Kind, seen: Seen, socket: Option<OwnedFd>) -> Self {
        let now = Instant::now();
        let local = socket.as_ref().and_then(|fd| socket2::SockRef::from(fd).local_addr().ok()).and_then(|addr| addr.as_socket());
        Self { kind, seen, socket, opened: now, used: now, local, announced_close: false }
    }

    /// How old it is.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// How long ago it was used.
    pub(crate) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Leaves the connection alone for so long, or until the peer ends it.
    pub(crate) async fn rest(&mut self, time: Duration) -> WhileIdle {
        let ended = async {
            match &mut self.kind {
                Kind::Http1(http, _) => http.ended().await,
                Kind::Http2(http, ..) => http.ended().await,
                Kind::Websocket(socket) => socket.ended().await,
                Kind::Silent(silent) => silent.ended().await,
                Kind::Dialogue(standing) => standing.ended().await,
            }
        };
        if tokio::time::timeout(time, ended).await.is_err() {
            return WhileIdle::Quiet;
        }
        let end = self.seen.borrow().end;
        match end {
            Some(End::Reset) => WhileIdle::Reset,
            Some(End::Lost) => WhileIdle::Failed { errno: "ETIMEDOUT".to_owned() },
            Some(End::Fin) | None => WhileIdle::Closed,
        }
    }

    /// Uses it: a request, or the protocol's ping where it has no request.
    pub(crate) async fn exchange(&mut self, wait: Duration) -> OnUse {
        self.attempt(wait, false).await
    }

    /// The protocol's ping.
    pub(crate) async fn ping(&mut self, wait: Duration) -> OnUse {
        self.attempt(wait, true).await
    }

    async fn attempt(&mut self, wait: Duration, ping: bool) -> OnUse {
        let started = Instant::now();
        let before = self.socket.as_ref().and_then(silence).unwrap_or_default();
        let socket = self.socket.as_ref();
        let outcome = match &mut self.kind {
            Kind::Silent(silent) => return look(silent, socket, &self.seen, wait).await,
            Kind::Http1(http, request) => {
                let asked = http.exchange(request.clone());
                let answered = bounded(asked, socket, before, wait).await;
                if let Ok(Ok(head)) = &answered {
                    self.announced_close |= head.closes;
                }
                answered.map(|answer| answer.map(|head| Some(head.status)))
            }
            Kind::Http2(http, ..) if ping => bounded(http.ping(), socket, before, wait).await.map(|answer| answer.map(|()| None)),
            Kind::Http2(http, request, body) => {
                let asked = http.exchange(request.clone(), body.clone());
                bounded(asked, socket, before, wait).await.map(|answer| answer.map(Some))
            }
            Kind::Websocket(session) => bounded(session.ping(), socket, before, wait).await.map(|answer| answer.map(|()| None)),
            Kind::Dialogue(standing) => bounded(standing.ping(wait), socket, before, wait).await.map(|answer| answer.map(|()| None)),
        };
        self.used = Instant::now();
        match outcome {
            Ok(Ok(status)) => OnUse::Answered { status, took_ms: ms(started.elapsed()) },
            Ok(Err(why)) => self.failed(&why, started, before),
            Err(silent) => silent,
        }
    }

    /// The exchange failed with words of a library; the tap knows better how the connection ended.
    fn failed(&self, why: &str, started: Instant, before: Silence) -> OnUse {
        match self.seen.borrow().end {
            Some(End::Reset) => OnUse::Reset,
            Some(End::Fin) => OnUse::Closed,
            Some(End::Lost) => silent_for(started, before, self.socket.as_ref()),
            None if self.last_words().is_some() => OnUse::Closed,
            None => OnUse::Failed { why: printable(why.as_bytes(), 160) },
        }
    }

    /// What the peer said before it ended the connection, where that is a goodbye.
    pub(crate) fn last_words(&self) -> Option<String> {
        let seen = self.seen.borrow();
        match &self.kind {
            Kind::Websocket(socket) => socket.last_words.clone(),
            Kind::Http2(..) => goaway(&seen.last),
            Kind::Http1(..) => status_line(&seen.last).filter(|line| line.split(' ').nth(1) == Some("408")),
            Kind::Dialogue(standing) => standing.last_words(),
            Kind::Silent(_) => None,
        }
    }

    /// Lets the kernel probe the peer at this interval from now on.
    pub(crate) fn keep_alive(&self, every: Duration) -> bool {
        self.socket.as_ref().is_some_and(|fd| keep_alive::keep_alive(fd, every, PROBES).is_ok())
    }

    /// It has a ping of its own.
    pub(crate) const fn has_ping(&self) -> bool {
        matches!(self.kind, Kind::Http2(..) | Kind::Websocket(_) | Kind::Dialogue(_))
    }

    /// Nothing is ever said on it; using it means that the kernel looks.
    pub(crate) const fn says_nothing(&self) -> bool {
        matches!(self.kind, Kind::Silent(_))
    }

    /// State of the connection.
    pub(crate) fn tcp(&self) -> Option<TcpHealth> {
        self.socket.as_ref().and_then(tcp_health)
    }

    /// Ends it: in order where it lives, without further retransmissions where nobody hears them.
    pub(crate) async fn end(mut self, lives: bool) {
        if let (true, Kind::Websocket(socket)) = (lives, &mut self.kind) {
            let _ = tokio::time::timeout(GOODBYE, socket.close()).await;
        }
        if let (false, Some(fd)) = (lives, &self.socket) {
            let _ = socket2::SockRef::from(fd).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A second descriptor of the connection's socket.
pub(crate) fn descriptor(connection: &Connection) -> Option<OwnedFd> {
    match connection {
        Connection::Plain(stream) | Connection::PlainHttp2(stream) | Connection::Forwarded(stream, _) => no_delay_dup(stream),
        Connection::Tls(stream) => stream.socket(),
    }
}

async fn open(stream: Stream, speech: Speech) -> Result<Kind, String> {
    Ok(match speech {
        Speech::Http(request) => Kind::Http1(Http1::open(stream).await?, request),
        Speech::Http2(request, body) => Kind::Http2(Http2::open(stream).await?, request, body),
        Speech::Websocket(request) => Kind::Websocket(Box::new(Websocket::open(stream, request).await?)),
        Speech::Nothing => Kind::Silent(Silent { stream }),
    })
}

/// Waits for an answer, but no longer than the kernel gives hope: data that is sent again and again reaches nobody.
async fn bounded<T>(
    asked: impl Future<Output = Result<T, String>>,
    socket: Option<&OwnedFd>,
    before: Silence,
    wait: Duration,
) -> Result<Result<T, String>, OnUse> {
    let started = Instant::now();
    let hopeless = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = socket.and_then(silence).unwrap_or_default();
            let again = now.retransmits.saturating_sub(before.retransmits);
            let lost = now.unacked > 0 && again >= LOST_AFTER.0 && started.elapsed() >= LOST_AFTER.1;
            if lost || started.elapsed() >= wait {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        answer = asked => Ok(answer),
        () = hopeless => Err(silent_for(started, before, socket)),
    }
}

fn silent_for(started: Instant, before: Silence, socket: Option<&OwnedFd>) -> OnUse {
    let now = socket.and_then(silence).unwrap_or_default();
    let retransmits = now.retransmits.saturating_sub(before.retransmits);
    OnUse::Silent { waited_ms: ms(started.elapsed()), retransmits, acknowledged: now.unacked == 0 && !now.closed }
}

/// The kernel's own probes tell whether the peer still knows the connection: an ACK, a RST, or nothing.
async fn look(silent: &mut Silent, socket: Option<&OwnedFd>, seen: &Seen, wait: Duration) -> OnUse {
    let Some(fd) = socket else { return OnUse::Failed { why: "no descriptor is left".to_owned() } };
    let started = Instant::now();
    if let Err(error) = keep_alive::keep_alive(fd, keep_alive::SHORTEST, PROBES) {
        return OnUse::Failed { why: error.to_string() };
    }
    let watch = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = silence(fd).unwrap_or_default();
            // The clock of the kernel ticks in milliseconds.
            let heard = now.since_ack < started.elapsed().saturating_sub(Duration::from_millis(4));
            if heard && !now.closed {
                return OnUse::Answered { status: None, took_ms: ms(started.elapsed()) };
            }
            if now.probes >= PROBES || started.elapsed() >= wait {
                return OnUse::Silent { waited_ms: ms(started.elapsed()), retransmits: now.probes, acknowledged: false };
            }
        }
    };
    let ended = async {
        silent.ended().await;
        match seen.borrow().end {
            Some(End::Reset) => OnUse::Reset,
            Some(End::Lost) => OnUse::Silent { waited_ms: ms(started.elapsed()), retransmits: PROBES, acknowledged: false },
            _ => OnUse::Closed,
        }
    };
    tokio::select! {
        biased;
        end = ended => end,
        outcome = watch => outcome,
    }
}

/// `HTTP/1.1 408 Request Timeout`, when the bytes begin so.
fn status_line(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    line.starts_with(b"HTTP/1.").then(|| printable(line, 80))
}
