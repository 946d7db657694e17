//! An established TLS session, with the bytes below it and the alert that may still come.

use super::failure::{Failure, ended_by, outcome};
use super::tap::{Seen, Tap};
use faultmap_model::observation::TlsOutcome;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// An established session. Reads and writes as any stream does.
#[derive(Debug)]
pub struct TlsStream {
    pub(super) inner: Box<tokio_rustls::client::TlsStream<Tap<TcpStream>>>,
    pub(super) alpn: Option<String>,
    pub(super) below: Seen,
    pub(super) client_cert_requested: bool,
    pub(super) socket: Option<OwnedFd>,
}

impl TlsStream {
    /// ALPN that the server chose.
    #[must_use]
    pub fn alpn(&self) -> Option<&str> {
        self.alpn.as_deref()
    }

    /// The server sent a CertificateRequest, and we had none to give.
    #[must_use]
    pub const fn client_cert_requested(&self) -> bool {
        self.client_cert_requested
    }

    /// Bytes received below TLS.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.below.borrow().received
    }

    /// A second descriptor of the socket, for `TCP_INFO`.
    pub(crate) fn socket(&self) -> Option<OwnedFd> {
        self.socket.as_ref().and_then(|fd| fd.try_clone().ok())
    }

    /// Waits a short time for an alert, a close or a reset that comes after our side of the handshake (TLS 1.3 client certificates).
    /// `None`: the session lives. Stops early when the server speaks: application data is kept for the reader, and session tickets show
    /// that it has accepted our side.
    pub async fn ended(&mut self, wait: Duration) -> Option<TlsOutcome> {
        let started = Instant::now();
        let error = tokio::time::timeout(wait, poll_fn(|cx| self.poll_end(cx))).await.ok()??;
        let failure =
            Failure { error: &error, waited: started.elapsed(), client_cert_requested: self.client_cert_requested, after_handshake: true };
        Some(outcome(&failure, &self.below.borrow()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::io::Error>> {
        let filled = Pin::new(&mut self.inner).poll_fill_buf(cx).map_ok(<[u8]>::is_empty);
        match filled {
            Poll::Ready(Ok(false)) => Poll::Ready(None),
            Poll::Ready(Ok(true)) => Poll::Ready(Some(std::io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Some(error)),
            Poll::Pending if self.inner.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.why_write_failed(cx, error))),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.why_write_failed(cx, error))),
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl TlsStream {
    /// A peer that refuses sends its alert and closes; our write then fails with EPIPE while the alert waits unread. The alert is the better
    /// answer. (Linux keeps what was received before a RST readable.)
    fn why_write_failed(&mut self, cx: &mut Context<'_>, error: std::io::Error) -> std::io::Error {
        match Pin::new(&mut self.inner).poll_fill_buf(cx) {
            Poll::Ready(Err(better)) if ended_by(&better).is_some() => better,
            _ => error,
        }
    }
}
