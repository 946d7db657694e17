//! A socket that tokio watches. Registers; reads and writes nothing.

use socket2::Socket;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands a non-blocking socket to the reactor.
#[allow(unsafe_code)]
pub(crate) fn watch(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, names the same one at every call, and closes it only when it is dropped.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}
