//! A library's connection that runs while one of its users waits. Nothing is spawned: dropping it closes everything.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// The connection's own future; gone once it has ended.
pub(super) struct Engine(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Engine {
    pub(super) fn new(connection: impl Future<Output = ()> + 'static) -> Self {
        Self(Some(Box::pin(connection)))
    }

    /// Waits for `wanted` while the connection runs.
    pub(super) async fn run<F: Future>(&mut self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            // Its error also reaches the request, and the tap.
            let _ = self.poll(cx);
            wanted.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.0 else { return Poll::Ready(()) };
        if connection.as_mut().poll(cx).is_ready() {
            self.0 = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
