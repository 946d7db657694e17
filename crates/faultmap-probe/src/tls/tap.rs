//! A stream that remembers what passed: how much, the first bytes, and how the peer ended it.
//!
//! Libraries above fold a reset, a close and a parse error into one `Err`; the tap keeps them apart. Never changes what passes.

use super::failure::ended_by;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First bytes kept: enough for any greeting and for a ServerHello.
const KEPT: usize = 2048;

/// Bytes kept of the last piece.
const KEPT_LAST: usize = 256;

/// How the peer ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Fin,
    /// RST.
    Reset,
    /// Another error of the socket: retransmissions gave up, an ICMP error.
    Lost,
}

/// What passed so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// First bytes received, at most [`KEPT`].
    pub(crate) first: Vec<u8>,
    /// What came last in one piece, its first bytes: a goodbye stands there.
    pub(crate) last: Vec<u8>,
    /// Bytes received.
    pub(crate) received: u64,
    /// Bytes sent.
    pub(crate) sent: u64,
    /// Bytes sent before the first byte came.
    pub(crate) sent_first: u64,
    /// When we last sent before the answer began.
    pub(crate) last_sent: Option<Instant>,
    /// How the peer ended it; the first sign counts.
    pub(crate) end: Option<End>,
    /// The TLS alert that ended it, when the tap is above TLS. (HTTP libraries drop it from their errors.)
    pub(crate) alert: Option<u8>,
    /// Reading more than this is an error, while it is set: what comes before an answer must end some time.
    pub(crate) most: Option<u64>,
    /// A reader that is held back until we have spoken.
    held: Option<Waker>,
}

impl Traffic {
    fn note_received(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.first.len());
        self.first.extend(bytes.iter().take(room));
        self.received += bytes.len() as u64;
        if !bytes.is_empty() {
            self.last.clear();
            self.last.extend(bytes.iter().take(KEPT_LAST));
        }
    }

    fn release(&mut self) {
        if let Some(waker) = self.held.take() {
            waker.wake();
        }
    }

    fn note_sent(&mut self, count: usize) {
        self.release();
        self.sent += count as u64;
        if self.received == 0 {
            self.sent_first += count as u64;
            self.last_sent = Some(Instant::now());
        }
    }

    fn note_error(&mut self, error: &io::Error) {
        self.release();
        if let Some(code) = ended_by(error).filter(|code| *code != 0) {
            self.alert.get_or_insert(code);
        } else if let Some(end) = end_of(error) {
            self.end.get_or_insert(end);
        }
    }
}

/// A look at a [`Tap`] that another owner has taken.
pub(crate) type Seen = Rc<RefCell<Traffic>>;

/// The stream.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    inner: S,
    seen: Seen,
    speak_first: bool,
}

impl<S> Tap<S> {
    /// Wraps a stream.
    pub(crate) fn new(inner: S) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { inner, seen: Rc::clone(&seen), speak_first: false }, seen)
    }

    /// The stream, for whom the tap is in the way.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }

    /// Wraps a stream, and shows nothing of what the peer says until we have spoken. (hyper calls an answer that comes before the question
    /// an error; overloaded balancers send their 503 at once.)
    pub(crate) fn speaking_first(inner: S) -> (Self, Seen) {
        let (tap, seen) = Self::new(inner);
        (Self { speak_first: true, ..tap }, seen)
    }
}

/// What an error of the socket says of the peer.
fn end_of(error: &io::Error) -> Option<End> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => Some(End::Reset),
        io::ErrorKind::UnexpectedEof => Some(End::Fin),
        // Errors without an errno are words of a library above the socket.
        _ => error.raw_os_error().map(|_| End::Lost),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.speak_first {
            let mut seen = self.seen.borrow_mut();
            if seen.sent == 0 && seen.end.is_none() {
                seen.held = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        let room = buf.remaining();
        let result = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        let mut seen = self.seen.borrow_mut();
        match &result {
            Ok(()) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                seen.note_received(new);
                if new.is_empty() && room > 0 {
                    seen.end.get_or_insert(End::Fin);
                }
                if let Some(most) = seen.most.filter(|most| seen.received > *most) {
                    let words = format!("more than {most} bytes came before the final answer");
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
                }
            }
            Err(error) => seen.note_error(error),
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    fn wrote(&self, result: &io::Result<usize>) {
        let mut seen = self.seen.borrow_mut();
        match result {
            Ok(count) => seen.note_sent(*count),
            Err(error) => seen.note_error(error),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.wrote(&result);
        Poll::Ready(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        self.wrote(&result);
        Poll::Ready(result)
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
