//! Sessions that are held: a connection is opened, spoken on, left alone or kept alive, and spoken on again.
//!
//! A line runs its protocol the whole time, as a real client does: it answers pings, hears a GOAWAY, a close frame or a FIN when they come.
//! When to use it and what a death means is decided elsewhere (`schedule`, `course`, and the judge).

mod course;
mod engine;
mod goaway;
mod http1;
mod http2;
mod line;
mod schedule;
mod silent;
mod websocket;

pub(crate) use course::{Course, Wish};
pub(crate) use goaway::goaway;
pub(crate) use line::{Line, Speech, descriptor};
pub(crate) use schedule::{gap, whole};

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of any kind, boxed.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// What every line speaks on.
type Stream = crate::tls::Tap<Box<dyn Io>>;
