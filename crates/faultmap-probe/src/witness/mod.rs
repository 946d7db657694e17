//! The witness: serves the check sessions of those who prove themselves, and tells them what this host saw of their packets.
//!
//! It looks at this host's own network state and at packets of the asking check, never at payloads, files or other people's connections; about
//! targets that are addresses of this host, or that its owner named. Everything is bounded: sessions, time, messages, failed proofs.

mod filter;
mod gate;
mod session;
mod tap;
#[cfg(test)]
mod tests;
mod window;

use crate::ProbeError;
use crate::peer::{PeerAuth, acceptor};
use futures_util::stream::{FuturesUnordered, StreamExt};
use gate::Gate;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

/// After a failed accept (no descriptor left) the next is tried so much later.
const BREATH: Duration = Duration::from_millis(100);

/// How to serve.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may ask.
    pub auth: PeerAuth,
    /// Addresses beside this host's own that may be asked about: what a router forwards to, or translates.
    pub also_for: Vec<IpAddr>,
}

/// What a witness tells its owner.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It listens.
    Listening {
        /// Where.
        at: SocketAddr,
        /// It may tap packets (CAP_NET_RAW); else it reads counters only.
        taps: bool,
    },
    /// A session of somebody who proved himself has ended.
    Served {
        /// Who.
        from: SocketAddr,
        /// What it was about; empty when nothing was asked.
        about: Vec<SocketAddr>,
        /// How long it took.
        took: Duration,
    },
    /// Somebody was not served.
    TurnedAway {
        /// Who.
        from: SocketAddr,
        /// Why.
        why: String,
    },
}

/// Serves until `stop` is done.
///
/// # Errors
/// When it cannot listen, or cannot read its certificates.
pub async fn serve(options: &WitnessOptions, tell: &dyn Fn(Event), stop: impl Future<Output = ()>) -> Result<(), ProbeError> {
    let acceptor = acceptor(&options.auth)?;
    let listen = |source: io::Error| ProbeError::Listen { at: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
    let taps = faultmap_host::privileges().iter().any(|held| held == "CAP_NET_RAW");
    tell(Event::Listening { at: listener.local_addr().map_err(listen)?, taps });
    let gate = Gate::default();
    let desk = session::Desk { options, acceptor, gate: &gate, tell };
    let mut sessions = FuturesUnordered::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(()) = sessions.next(), if !sessions.is_empty() => {}
            accepted = listener.accept() => match accepted {
                // Whoever is turned away at the door costs one accept and no answer.
                Ok((stream, from)) => match gate.enter(from.ip()) {
                    Ok(visitor) => sessions.push(desk.serve(stream, from, visitor)),
                    Err(why) => desk.turn_away_quietly(from, why),
                },
                Err(_) => tokio::time::sleep(BREATH).await,
            },
        }
    }
}
