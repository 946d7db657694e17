//! Streams as the services need them: counted, resettable, with bytes put back. No protocol is spoken here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::stats::Counters;

/// Any byte stream a service may speak over: TCP, or TLS on it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A boxed [`Stream`].
pub(crate) type BoxStream = Box<dyn Stream>;

/// How long a connection that only waits (mute, drained, held) may live at most.
pub(crate) const HOLD: Duration = Duration::from_secs(300);

/// What else can be done to, or known about, the TCP connection beneath a boxed stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    reset: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
}

impl Wire {
    /// From now on the connection ends with a reset instead of a FIN when the stream is dropped.
    pub(crate) fn reset_on_drop(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Bytes moved in both directions so far; unchanged means idle.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}

/// A TCP stream that counts its bytes and can end with a reset.
#[derive(Debug)]
pub(crate) struct Metered {
    tcp: TcpStream,
    counters: Arc<Counters>,
    wire: Wire,
}

impl Metered {
    pub(crate) fn new(tcp: TcpStream, counters: Arc<Counters>) -> (Self, Wire) {
        let wire = Wire::default();
        (Self { tcp, counters, wire: wire.clone() }, wire)
    }

    fn count_written(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = polled {
            Counters::add(&self.counters.bytes_out, *n);
            self.wire.moved.fetch_add(*n as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.wire.reset.load(Ordering::Relaxed) {
            // close() with SO_LINGER 0 discards the send queue and sends a reset (tcp(7), RFC 1122 4.2.2.13).
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let n = buf.filled().len() - before;
        Counters::add(&self.counters.bytes_in, n);
        self.wire.moved.fetch_add(n as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count_written(&polled);
        polled
    }

    // tokio-rustls sends what precedes a fatal alert and the alert itself with one gathered write, tried once: without
    // this the alert would be lost behind the ServerHello.
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count_written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A stream with bytes put back in front of what is still to be read.
#[derive(Debug)]
pub(crate) struct Rewind<S> {
    front: Vec<u8>,
    read: usize,
    inner: S,
}

impl<S> Rewind<S> {
    pub(crate) fn new(front: Vec<u8>, inner: S) -> Self {
        Self { front, read: 0, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        let rest = me.front.get(me.read..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut me.inner).poll_read(cx, buf);
        }
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        me.read += n;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Reads and discards until the peer ends the stream or `at_most` has passed, so that our close is a FIN:
/// closing with unread data would send a reset and may destroy what the peer has not yet read.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin), at_most: Duration) {
    let mut sink = vec![0; 16 * 1024];
    let _ = timeout(at_most, async { while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {} }).await;
}
