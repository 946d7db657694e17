//! Answers that a correct HTTP library refuses to send: cut, malformed, withheld. Written by hand on the connection that
//! hyper gave back. HTTP/1.1 only.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::sleep,
};

use super::{Fault, body::Source};
use crate::services::io::{HOLD, Stream, Wire, drain};

/// Time for what was written to reach the peer before a reset discards the rest.
const BEFORE_RESET: Duration = Duration::from_millis(150);
const LINGER: Duration = Duration::from_secs(1);

/// A fault to act out on the connection, with the answer it spoils.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) fault: Fault,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) source: Source,
}

/// Acts the fault out, to the end of the connection.
pub(crate) async fn act_out(mut io: impl Stream, wire: &Wire, act: &Act) {
    let len = act.source.len();
    match act.fault {
        Fault::Mute => drain(&mut io, HOLD).await,
        // Only HTTP/2 has streams.
        Fault::RefuseStream => {}
        Fault::Close => close(&mut io).await,
        Fault::Reset => wire.reset_on_drop(),
        Fault::ResetBody { after } => {
            send(&mut io, &head(act, &format!("content-length: {len}")), &act.source, after).await;
            sleep(BEFORE_RESET).await;
            wire.reset_on_drop();
        }
        Fault::StopBody { after } => {
            send(&mut io, &head(act, &format!("content-length: {len}")), &act.source, after).await;
            drain(&mut io, HOLD).await;
        }
        Fault::Truncate { missing } => {
            let promised = len.saturating_add(missing);
            send(&mut io, &head(act, &format!("content-length: {promised}")), &act.source, len).await;
            close(&mut io).await;
        }
        Fault::BadChunk => {
            let mut bytes = head(act, "transfer-encoding: chunked");
            bytes.extend_from_slice(b"5\r\nhello\r\nxyz\r\nworld\r\n0\r\n\r\n");
            let _ = io.write_all(&bytes).await;
            close(&mut io).await;
        }
        Fault::Garbage => {
            let _ = io.write_all(b"\x00\x13\x37 this is not HTTP \xff\xfe\r\n\r\n").await;
            close(&mut io).await;
        }
    }
}

/// Status line and headers, with `framing` as the last one.
fn head(act: &Act, framing: &str) -> Vec<u8> {
    let reason = act.status.canonical_reason().unwrap_or("Unknown");
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", act.status.as_u16()).into_bytes();
    for (name, value) in &act.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(framing.as_bytes());
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

async fn send(io: &mut (impl AsyncWrite + Unpin), head: &[u8], source: &Source, until: u64) {
    if io.write_all(head).await.is_err() {
        return;
    }
    let mut at = 0;
    loop {
        let chunk = source.chunk(at, until);
        if chunk.is_empty() || io.write_all(&chunk).await.is_err() {
            break;
        }
        at += chunk.len() as u64;
    }
    let _ = io.flush().await;
}

async fn close(io: &mut impl Stream) {
    let _ = io.flush().await;
    let _ = io.shutdown().await;
    drain(io, LINGER).await;
}
