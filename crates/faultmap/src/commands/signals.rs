//! SIGINT, SIGTERM and SIGHUP, for commands that go on until they are told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, heard from now on.
pub(super) struct Signals([Option<Signal>; 3]);

impl Signals {
    /// Before a command says that it serves: whoever reads that may end it at once. Needs a runtime.
    pub(super) fn listen() -> Self {
        Self([SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok()))
    }

    /// The first of them.
    pub(super) async fn ended(mut self) {
        let [interrupted, terminated, hung_up] = self.0.each_mut().map(|signal| async {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
            () = hung_up => {}
        }
    }
}
