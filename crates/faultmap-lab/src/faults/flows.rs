//! Connections that faults need beside the check: held open to use something up, or kept busy to show that it lives.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::LabError;
use crate::host::Host;

/// Bounds one connection attempt of the lab's own.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Between two messages on a kept flow.
const BEAT: Duration = Duration::from_millis(200);
/// How long an echo may take before the flow counts as dead.
const ECHO_LIMIT: Duration = Duration::from_secs(3);

/// Connections held open; they close when this is dropped.
#[derive(Debug)]
pub struct Held {
    streams: Vec<TcpStream>,
}

impl Held {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// Opens up to `wanted` connections from a host, stopping at the first that fails.
    pub fn open(host: &Host, to: SocketAddr, wanted: usize) -> Result<(Held, Option<io::Error>), LabError> {
        host.run(move || {
            let mut streams = Vec::new();
            for _ in 0..wanted {
                match TcpStream::connect_timeout(&to, CONNECT_LIMIT) {
                    Ok(stream) => streams.push(stream),
                    Err(error) => return (Held { streams }, Some(error)),
                }
            }
            (Held { streams }, None)
        })
    }
}

/// A connection on which a byte goes to an echo service and back a few times a second.
#[derive(Debug, Clone)]
pub struct KeptFlow {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    echoes: AtomicU64,
    failures: AtomicU64,
    stop: AtomicBool,
}

impl KeptFlow {
    /// Connects from a host to an echo service and starts the exchange; the first echo has returned when this does.
    pub fn start(host: &Host, to: SocketAddr) -> Result<KeptFlow, LabError> {
        let connect = move || TcpStream::connect_timeout(&to, CONNECT_LIMIT);
        let stream = host.run(connect)?.map_err(|e| LabError::system("connect the kept flow to", to.to_string(), e))?;
        let configured = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(ECHO_LIMIT)));
        configured.map_err(|e| LabError::system("configure the kept flow to", to.to_string(), e))?;
        beat(&stream).map_err(|e| LabError::system("exchange a byte with", to.to_string(), e))?;
        let shared = Arc::new(Shared::default());
        let flow = KeptFlow { shared: Arc::clone(&shared) };
        host.spawn("kept-flow", move || keep(&stream, &shared))?;
        Ok(flow)
    }

    /// Echoes that came back so far.
    pub fn echoes(&self) -> u64 {
        self.shared.echoes.load(Ordering::Relaxed)
    }

    /// Echoes that did not.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Ends the exchange.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn keep(stream: &TcpStream, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        match beat(stream) {
            Ok(()) => shared.echoes.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                shared.failures.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        std::thread::sleep(BEAT);
    }
}

fn beat(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b".")?;
    stream.read_exact(&mut [0])
}
