//! A quinn runtime that spawns nothing: its futures run while the question that owns them waits, and end with it.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The runtime.
#[derive(Clone, Default)]
pub(super) struct Beside(Arc<Mutex<Vec<Task>>>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beside")
    }
}

impl Runtime for Beside {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Task) {
        self.tasks().push(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}

impl Beside {
    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `wanted` while quinn's futures run.
    pub(super) async fn run<F: Future>(&self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            self.poll(cx);
            let polled = wanted.as_mut().poll(cx);
            // What it has started must be polled once to be woken ever.
            if polled.is_pending() {
                self.poll(cx);
            }
            polled
        })
        .await
    }

    fn poll(&self, cx: &mut Context<'_>) {
        // Taken out while polled, since a future may add others.
        let mut running = std::mem::take(&mut *self.tasks());
        running.retain_mut(|task| matches!(task.as_mut().poll(cx), Poll::Pending));
        let mut added = self.tasks();
        if !added.is_empty() {
            cx.waker().wake_by_ref();
        }
        running.append(&mut added);
        *added = running;
    }

    /// Drops everything that runs.
    pub(super) fn stop(&self) {
        let running = std::mem::take(&mut *self.tasks());
        drop(running);
    }
}
