//! A small web server for one page of text: `/metrics`. Bounded in connections, header and time; it reads nothing of the host by itself.
//!
//! It answers GET and HEAD, keeps no secret and changes nothing, and listens only where the user said.

use crate::cli::Listen;
use crate::commands::signals::Signals;
use crate::terminal;
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

/// Connections at a time; the next one waits until one ends.
const MOST_CONNECTIONS: usize = 32;
/// A request must have come within this time, and an idle connection is closed after it.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// A connection lives no longer, however busy.
const LONGEST: Duration = Duration::from_secs(120);
/// What is under way when the end comes has this long.
const FAREWELL: Duration = Duration::from_secs(3);
/// Bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;
/// Scrapes within this time share one sample.
const SHARED: Duration = Duration::from_secs(1);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Version of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const POINTER: &str =
    "faultmap host\n\n/metrics    every reading of this host, in the text format of Prometheus\n/-/healthy  200 while this server runs\n";

/// A socket that listens already, made before the namespace was entered.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl Bound {
    /// Listens. A socket file that nobody listens on any more is replaced.
    pub(super) fn new(listen: &Listen) -> anyhow::Result<Self> {
        match listen {
            Listen::Tcp(at) => {
                let listener = std::net::TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
                listener.set_nonblocking(true).with_context(|| format!("cannot listen on {at}"))?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => {
                let doing = || format!("cannot listen on unix:{}", path.display());
                clear_stale(path).with_context(doing)?;
                let listener = std::os::unix::net::UnixListener::bind(path).with_context(doing)?;
                listener.set_nonblocking(true).with_context(doing)?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| "?".to_owned(), |at| format!("http://{at}/metrics")),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Only a socket, and only one that refuses.
fn clear_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(about) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !about.file_type().is_socket() {
        return Err(anyhow!("there is a file of another kind in its place"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(std::fs::remove_file(path)?),
        _ => Err(anyhow!("something listens there already")),
    }
}

/// What a scrape answers, and how old it may be.
struct Page<F> {
    make: F,
    made: Option<(Instant, Bytes)>,
}

impl<F: FnMut() -> String> Page<F> {
    fn get(&mut self) -> Bytes {
        if let Some((at, text)) = &self.made
            && at.elapsed() < SHARED
        {
            return text.clone();
        }
        let text = Bytes::from((self.make)());
        self.made = Some((Instant::now(), text.clone()));
        text
    }
}

/// Serves until SIGINT or SIGTERM; `make` makes the page.
pub(super) fn serve(bound: Bound, make: impl FnMut() -> String + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let page = Rc::new(RefCell::new(Page { make, made: None }));
    LocalSet::new().block_on(&runtime, async {
        // Before it says that it listens: whoever reads that may end it at once.
        let signals = Signals::listen();
        let place = bound.place();
        let acceptor = Acceptor::new(&bound)?;
        terminal::say(&format!("faultmap host: listening on {place}; Ctrl-C ends it\n"));
        until_told(&acceptor, &page, signals).await;
        anyhow::Ok(())
    })?;
    drop(bound);
    terminal::say("faultmap host: ended\n");
    Ok(())
}

async fn until_told<F: FnMut() -> String + 'static>(acceptor: &Acceptor, page: &Rc<RefCell<Page<F>>>, signals: Signals) {
    let (tell, told) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut end = pin!(signals.ended());
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = acceptor.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok(stream) => {
                    connections.spawn_local(connection(stream, Rc::clone(page), told.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    let _ = tell.send(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// One connection, which ends when it is told to, when its client is slow, and when it is old.
async fn connection<F: FnMut() -> String + 'static>(stream: Stream, page: Rc<RefCell<Page<F>>>, mut told: watch::Receiver<bool>) {
    let service = service_fn(|request| {
        let response = answer(&request, &page);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT).max_header_size(HEAD_LIMIT);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let talk = async {
        tokio::select! {
            _ = served.as_mut() => return,
            _ = told.wait_for(|told| *told) => served.as_mut().graceful_shutdown(),
        }
        let _ = served.await;
    };
    let _ = tokio::time::timeout(LONGEST, talk).await;
}

fn answer<F: FnMut() -> String>(request: &Request<Incoming>, page: &RefCell<Page<F>>) -> Response<Full<Bytes>> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN, Bytes::from_static(b"only GET and HEAD\n"));
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        // hyper sends no body in answer to HEAD, and the length of this one.
        "/metrics" => respond(StatusCode::OK, TEXT, page.borrow_mut().get()),
        "/" => respond(StatusCode::OK, PLAIN, Bytes::from_static(POINTER.as_bytes())),
        "/-/healthy" => respond(StatusCode::OK, PLAIN, Bytes::from_static(b"ok\n")),
        _ => respond(StatusCode::NOT_FOUND, PLAIN, Bytes::from_static(b"there is /metrics\n")),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}
type Stream = std::pin::Pin<Box<dyn Duplex>>;

/// The listening socket on this runtime.
enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    fn new(bound: &Bound) -> anyhow::Result<Self> {
        let made = match bound {
            Bound::Tcp(listener) => listener.try_clone().and_then(tokio::net::TcpListener::from_std).map(Self::Tcp),
            Bound::Unix(listener, _) => listener.try_clone().and_then(tokio::net::UnixListener::from_std).map(Self::Unix),
        };
        made.context("cannot wait on the listening socket")
    }

    async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Box::pin(listener.accept().await?.0),
            Self::Unix(listener) => Box::pin(listener.accept().await?.0),
        })
    }
}
