//! A connection on which nothing is said: plain TCP, or TLS after its handshake. The kernel's keep-alive probes look whether it lives; no
//! byte of an application is sent.

use super::Stream;
use tokio::io::AsyncReadExt;

pub(super) struct Silent {
    pub(super) stream: Stream,
}

impl Silent {
    /// Waits until the peer ends the connection. What it says is read and dropped.
    pub(super) async fn ended(&mut self) {
        let mut sink = [0_u8; 4096];
        while matches!(self.stream.read(&mut sink).await, Ok(1..)) {}
    }
}
