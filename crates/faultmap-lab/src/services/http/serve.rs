//! One HTTP connection from accept to end: TLS, the choice of HTTP/1.1 or HTTP/2, time limits, and the hand-over from
//! hyper to hand-written bytes when a fault asks for them.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    Fault, HttpPlan, Reuse, Speak, answer,
    body::BoxBody,
    raw::{Act, act_out},
};
use crate::services::{
    engine::Ctx,
    io::{BoxStream, HOLD, Metered, Rewind, Wire},
    tcp::within_idle,
    tls::admit::{Admitted, admit},
};

/// First bytes of HTTP/2 with prior knowledge (RFC 9113 section 3.4); no HTTP/1.1 method begins so.
const PREFACE: &[u8] = b"PRI ";
const MAX_BUFFER: usize = 256 * 1024;

/// What the requests of one connection share.
#[derive(Debug, Clone)]
pub(crate) struct Conn {
    pub(crate) ctx: Ctx,
    /// Faults for the connection's task to act out.
    pub(crate) acts: mpsc::Sender<Act>,
    pub(crate) http2: bool,
    requests: Arc<AtomicU64>,
    /// Closed when the connection's task ends.
    life: watch::Receiver<()>,
}

/// A session that has left HTTP. While it exists its connection's task goes on.
pub(crate) struct Session {
    life: watch::Receiver<()>,
    _goes_on: mpsc::Sender<Act>,
}

impl Session {
    /// Waits until the connection's task ends it.
    pub(crate) async fn over(&mut self) {
        while self.life.changed().await.is_ok() {}
    }
}

impl Conn {
    /// Numbers the connection's requests from 1.
    pub(crate) fn next(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The connection leaves HTTP.
    pub(crate) fn begin_session(&self) -> Session {
        Session { life: self.life.clone(), _goes_on: self.acts.clone() }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(tcp: TcpStream, plan: &HttpPlan, ctx: &Ctx) {
    let (io, wire) = Metered::new(tcp, ctx.counters.clone());
    let spec = &plan.spec;
    let work = within_idle(&wire, spec.idle_close_ms.unwrap_or(u64::from(u32::MAX)), speak(io, &wire, plan, ctx));
    let age = spec.hard_timeout_ms.map_or(Duration::from_secs(3600), Duration::from_millis);
    match timeout(age, work).await {
        Ok(Some(())) => {}
        Ok(None) => ctx.counters.bite("idle-close"),
        Err(_) => ctx.counters.bite("hard-timeout"),
    }
}

async fn speak(io: Metered, wire: &Wire, plan: &HttpPlan, ctx: &Ctx) {
    let admitted = match &plan.tls {
        None => Some(Admitted { stream: Box::new(io), alpn: None, tls: false }),
        Some(tls) => admit(io, wire, tls, &ctx.counters).await,
    };
    let Some(admitted) = admitted else { return };
    let (stream, http2) = match (plan.spec.speak, admitted.alpn.as_deref()) {
        (Some(speak), _) => {
            ctx.counters.bite("forced-protocol");
            (admitted.stream, speak == Speak::Http2)
        }
        (None, Some(alpn)) => (admitted.stream, alpn == b"h2"),
        (None, None) if admitted.tls => (admitted.stream, false),
        (None, None) => match sniff(admitted.stream).await {
            Some(sniffed) => sniffed,
            None => return,
        },
    };
    let (acts, inbox) = mpsc::channel(1);
    let (_alive, life) = watch::channel(());
    let conn = Conn { ctx: ctx.clone(), acts, http2, requests: Arc::default(), life };
    if http2 { serve_h2(stream, wire, conn, inbox).await } else { serve_h1(stream, wire, plan.spec.reuse, conn, inbox).await }
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes.
async fn sniff(mut stream: BoxStream) -> Option<(BoxStream, bool)> {
    let mut front = Vec::with_capacity(PREFACE.len());
    while front.len() < PREFACE.len() && PREFACE.starts_with(&front) {
        let read = timeout(HOLD, stream.read_buf(&mut front)).await.ok()?.ok()?;
        if read == 0 {
            return None;
        }
    }
    let http2 = front.starts_with(PREFACE);
    Some((Box::new(Rewind::new(front, stream)), http2))
}

async fn serve_h1(stream: BoxStream, wire: &Wire, reuse: Reuse, conn: Conn, mut inbox: mpsc::Receiver<Act>) {
    let service = service_fn(move |request| respond(request, conn.clone()));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HOLD)
        .keep_alive(reuse != Reuse::Close)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let act = tokio::select! {
        _ = &mut connection => None,
        act = inbox.recv() => act,
    };
    match (act, connection.into_parts()) {
        (Some(act), Some(parts)) => act_out(parts.io.into_inner(), wire, &act).await,
        // A session that has left HTTP holds the other end of the inbox.
        _ => while inbox.recv().await.is_some() {},
    }
}

async fn serve_h2(stream: BoxStream, wire: &Wire, conn: Conn, mut inbox: mpsc::Receiver<Act>) {
    let service = service_fn(move |request| respond(request, conn.clone()));
    let connection = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // Pinned here, not in the select, which would drop the stream before the reset is ordered.
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        Some(act) = inbox.recv() => if act.fault == Fault::Reset { wire.reset_on_drop() },
    }
}

/// An error makes hyper end the stream with INTERNAL_ERROR (HTTP/2).
async fn respond(request: Request<Incoming>, conn: Conn) -> Result<Response<BoxBody>, io::Error> {
    let answer = answer::answer(request, &conn).await;
    match answer.extensions().get::<answer::RefuseStream>() {
        Some(_) => Err(io::Error::other("refused on purpose")),
        None => Ok(answer),
    }
}
