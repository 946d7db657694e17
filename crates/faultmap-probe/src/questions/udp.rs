//! Does anything come back for a datagram: an answer, an ICMP error, or nothing? One connected socket, so only the peer is heard.

use crate::recorder::ms;
use crate::sock::datagram::{Datagram, DatagramOptions, Heard};
use crate::sock::errno;
use faultmap_model::observation::{Role, UdpOutcome, UdpProbe};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

const MOST_SENDS: u32 = 16;

/// Sends `payload` up to `sends` times (1 to 16), `interval` apart, and waits `wait` after the last; ends with the first answer or error.
pub async fn udp(to: SocketAddr, role: Role, payload: &[u8], sends: u32, interval: Duration, wait: Duration) -> UdpProbe {
    let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut sent = 0;
    let outcome = match Datagram::udp(to, DatagramOptions::default()) {
        Ok(socket) => exchange(&socket, payload, sends.clamp(1, MOST_SENDS), interval, wait, &mut sent).await,
        Err(error) => failure(&error),
    };
    UdpProbe { to, role, payload_bytes, sent, outcome }
}

async fn exchange(socket: &Datagram, payload: &[u8], sends: u32, interval: Duration, wait: Duration, sent: &mut u32) -> UdpOutcome {
    let started = Instant::now();
    for number in 1..=sends {
        if let Err(error) = socket.send(payload) {
            return socket.waiting().map_or_else(|| failure(&error), |heard| outcome(&heard));
        }
        *sent = number;
        let pause = if number == sends { wait } else { interval };
        if let Some(heard) = socket.hear(Instant::now() + pause).await {
            return outcome(&heard);
        }
    }
    UdpOutcome::Silent { waited_ms: ms(started.elapsed()) }
}

fn outcome(heard: &Heard) -> UdpOutcome {
    match heard {
        Heard::Packet(packet) => UdpOutcome::Answer { bytes: u32::try_from(packet.length).unwrap_or(u32::MAX) },
        Heard::Error(error) => UdpOutcome::Failed { errno: error.errno_name(), icmp: error.icmp },
    }
}

fn failure(error: &io::Error) -> UdpOutcome {
    UdpOutcome::Failed { errno: errno::name(errno::of(error)), icmp: None }
}
