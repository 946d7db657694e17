//! SIGINT and SIGTERM, for commands that serve until they are told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals, heard from now on.
pub(super) struct Signals([Option<Signal>; 2]);

impl Signals {
    /// Before a command says that it serves: whoever reads that may end it at once. Needs a runtime.
    pub(super) fn listen() -> Self {
        Self([SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok()))
    }

    /// The first of them.
    pub(super) async fn ended(mut self) {
        let [interrupted, terminated] = self.0.each_mut().map(|signal| async {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
        }
    }
}
