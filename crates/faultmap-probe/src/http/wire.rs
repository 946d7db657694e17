//! A hyper client connection driven by the question itself: nothing is spawned, so dropping the question closes everything.

use crate::tls::Tap;
use bytes::Bytes;
use http::response::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest head that we take; nginx and Apache send under 8 KiB, hyper's own default is 400 KiB.
const HEAD: usize = 256 * 1024;
/// Header fields read; the size of the head is the real bound.
const MOST_HEADERS: usize = 2_000;

type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// Futures that HTTP/2 wants to run beside the connection.
#[derive(Clone, Default)]
struct Beside(Rc<RefCell<Vec<Local<()>>>>);

impl<F: Future + 'static> Executor<F> for Beside {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(async move {
            future.await;
        }));
    }
}

impl Beside {
    fn poll(&self, cx: &mut Context<'_>) {
        // Taken out while polled, since a future may add others.
        let mut running = std::mem::take(&mut *self.0.borrow_mut());
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        let mut added = self.0.borrow_mut();
        if !added.is_empty() {
            cx.waker().wake_by_ref();
        }
        running.append(&mut added);
        *added = running;
    }
}

/// A connection that runs while one of its users waits.
pub(super) struct Wire {
    connection: Option<Local<hyper::Result<()>>>,
    beside: Beside,
}

impl Wire {
    /// Waits for `wanted` while the connection runs.
    pub(super) async fn run<F: Future>(&mut self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            self.poll(cx);
            wanted.as_mut().poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            // Its error also reaches the request or the body, and the tap.
            if connection.as_mut().poll(cx).is_ready() {
                self.connection = None;
            }
        }
        self.beside.poll(cx);
    }
}

/// Sends the request on HTTP/1.1; gives the head.
pub(super) async fn http1<S>(wire: &mut Option<Wire>, stream: Tap<S>, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) = lenient().handshake(TokioIo::new(stream)).await?;
    let wire = wire.insert(Wire { connection: Some(Box::pin(connection)), beside: Beside::default() });
    wire.run(sender.send_request(request)).await
}

fn lenient() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(HEAD)
        // What curl and browsers read is no fault of the server's.
        .max_headers(MOST_HEADERS)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true);
    builder
}

/// What became of a request to change the protocol.
pub(super) enum Switch<S> {
    /// 101: the stream is ours again, with what was read beyond the head.
    Done { head: Parts, stream: Tap<S>, ahead: Bytes },
    /// Another answer, whose body is to be read.
    Answered { head: Response<Incoming>, wire: Wire },
}

/// Sends a request with `Upgrade` on HTTP/1.1.
pub(super) async fn upgrade<S>(stream: Tap<S>, request: Request<Full<Bytes>>) -> hyper::Result<Switch<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, mut connection) = lenient().handshake(TokioIo::new(stream)).await?;
    let mut ended = false;
    let mut sent = pin!(sender.send_request(request));
    let head = poll_fn(|cx| {
        ended = ended || connection.poll_without_shutdown(cx).is_ready();
        sent.as_mut().poll(cx)
    })
    .await?;
    if head.status() != StatusCode::SWITCHING_PROTOCOLS {
        let connection: Option<Local<_>> = if ended { None } else { Some(Box::pin(connection)) };
        return Ok(Switch::Answered { head, wire: Wire { connection, beside: Beside::default() } });
    }
    let (head, _) = head.into_parts();
    poll_fn(|cx| if ended { Poll::Ready(()) } else { connection.poll_without_shutdown(cx).map(|_| ()) }).await;
    let parts = connection.into_parts();
    Ok(Switch::Done { head, stream: parts.io.into_inner(), ahead: parts.read_buf })
}

/// What sends requests on an HTTP/2 connection.
pub(super) type Sender2 = http2::SendRequest<Full<Bytes>>;

/// Opens HTTP/2, with nothing asked yet.
pub(super) async fn open_http2<S>(stream: Tap<S>) -> hyper::Result<(Wire, Sender2)>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let beside = Beside::default();
    let (sender, connection) = http2::Builder::new(beside.clone()).handshake(TokioIo::new(stream)).await?;
    Ok((Wire { connection: Some(Box::pin(connection)), beside }, sender))
}

/// Sends the request on HTTP/2; gives the head.
pub(super) async fn http2<S>(wire: &mut Option<Wire>, stream: Tap<S>, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (opened, mut sender) = open_http2(stream).await?;
    wire.insert(opened).run(sender.send_request(request)).await
}
