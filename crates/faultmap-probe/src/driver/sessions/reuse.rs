//! Is a connection used again, and a TLS session resumed? Two requests on one connection, then a second handshake with the tickets of the first.

use super::speech::protocol;
use crate::driver::{Check, now_unix};
use crate::http::Connection;
use crate::session::{Line, Speech};
use crate::tls::{Memory, TlsAsk, handshake_remembering};
use faultmap_model::observation::{OnUse, Role, SessionReuse, WhileIdle};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two requests: a server that closes after an answer has closed by then.
const PAUSE: Duration = Duration::from_millis(60);
const CONNECT_WAIT: Duration = Duration::from_secs(2);
const TLS_WAIT: Duration = Duration::from_secs(3);

impl Check<'_> {
    /// Two requests on one connection, for HTTP; a resumed handshake, for TLS. False: no connection is kept for a second request.
    pub(super) async fn reuse(&self, to: SocketAddr) -> bool {
        let memory = self.target.scheme.uses_tls().then(Memory::default);
        let reusable = if self.target.scheme.uses_http() { self.twice(to, memory.as_ref()).await } else { true };
        if let Some(memory) = memory {
            self.resume(to, &memory).await;
        }
        reusable
    }

    async fn twice(&self, to: SocketAddr, memory: Option<&Memory>) -> bool {
        let asked = Instant::now();
        let Some(reuse) = self.two_requests(to, memory).await else { return true };
        let kept = !reuse.announced_close && !reuse.ended_before && matches!(reuse.second, Some(OnUse::Answered { .. }));
        self.rec.note(asked, reuse);
        kept
    }

    async fn two_requests(&self, to: SocketAddr, memory: Option<&Memory>) -> Option<SessionReuse> {
        let connection = match memory {
            Some(memory) => self.remembering(to, memory, "reuse").await?,
            None => self.session_connection(to).await?,
        };
        let (protocol, speech) = (protocol(self.target.scheme, &connection).to_owned(), self.speech(to, &connection)?);
        let wait = self.session_patience();
        let mut line = Line::open(connection, speech, wait).await.ok()?;
        let first = line.exchange(wait).await;
        if !matches!(first, OnUse::Answered { .. }) {
            return None;
        }
        let ended = line.rest(PAUSE).await != WhileIdle::Quiet;
        let announced_close = line.announced_close || (ended && line.last_words().is_some());
        let second = if announced_close || ended { None } else { Some(line.exchange(wait).await) };
        let failed = second.as_ref().is_some_and(|second| !matches!(second, OnUse::Answered { status, .. } if !server_error(*status)));
        line.end(!failed).await;
        let fresh = if failed { self.once(to).await } else { None };
        Some(SessionReuse { to, protocol, first, announced_close, second, ended_before: ended, fresh })
    }

    /// The same request on a fresh connection.
    pub(super) async fn once(&self, to: SocketAddr) -> Option<OnUse> {
        let connection = self.session_connection(to).await?;
        let speech: Speech = self.speech(to, &connection)?;
        let wait = self.session_patience();
        let mut line = Line::open(connection, speech, wait).await.ok()?;
        let answer = line.exchange(wait).await;
        line.end(matches!(answer, OnUse::Answered { .. })).await;
        Some(answer)
    }

    /// The second handshake. Without a first one the memory is empty, and this is both.
    async fn resume(&self, to: SocketAddr, memory: &Memory) {
        if !memory.is_used()
            && let Some(Connection::Tls(mut stream)) = self.remembering(to, memory, "reuse").await
        {
            // Tickets of TLS 1.3 come after the handshake.
            let _ = stream.ended(Duration::from_millis(300)).await;
        }
        if memory.is_used() {
            self.remembering(to, memory, "resumption").await;
        }
    }

    /// A TLS connection that uses and fills the memory. Only a handshake that could be resumed is recorded.
    async fn remembering(&self, to: SocketAddr, memory: &Memory, name: &str) -> Option<Connection> {
        let stream = self.reopen(to, CONNECT_WAIT, None).await?;
        let ask = TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: crate::driver::converse::alpn(self.target.scheme),
            store: self.store()?,
            wait: self.within(TLS_WAIT),
            now_unix: now_unix(),
            offer_name: name,
            clamped_mss: None,
        };
        let asked = Instant::now();
        let result = handshake_remembering(stream, &ask, memory).await;
        self.rec.note(asked, result.handshake);
        let trusted = result.chain.as_ref().is_none_or(crate::driver::converse::acceptable);
        result.stream.filter(|_| trusted).map(Connection::Tls)
    }
}

/// The service answered with an error of its own.
fn server_error(status: Option<u16>) -> bool {
    status.is_some_and(|status| status >= 500)
}
