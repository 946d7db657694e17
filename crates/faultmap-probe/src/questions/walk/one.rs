//! One packet with limited TTL, and the answer to it. A socket of its own each, so that no answer can be taken for another's.

use super::{Probed, WalkAsk};
use crate::recorder::ms;
use crate::sock::datagram::{Datagram, DatagramOptions, Heard};
use crate::sock::error_queue;
use crate::sock::ping::{Ping, PingHeard, PingRefused};
use crate::sock::syn::{self, SoftError, SynEnd, SynOptions};
use faultmap_model::observation::{HopAnswer, HopSaid, IcmpError, IcmpMeaning, WalkProtocol};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Sends one packet with `ttl` and waits for its answer.
pub(super) async fn probe(ask: &WalkAsk, ttl: u8) -> Probed {
    match ask.protocol {
        WalkProtocol::Tcp => tcp(ask, ttl).await,
        WalkProtocol::Udp => udp(ask, ttl).await,
        WalkProtocol::Icmp => icmp(ask, ttl).await,
    }
}

/// Whether this process may send echo requests at all.
pub(super) fn may_ping(to: IpAddr) -> Result<(), PingRefused> {
    Ping::open(to, DatagramOptions::default()).map(|_| ())
}

async fn tcp(ask: &WalkAsk, ttl: u8) -> Probed {
    let how = SynOptions { ttl: Some(ttl), soft: SoftError::Ends, ..SynOptions::default() };
    let syn = syn::connect(ask.to, how, ask.wait).await;
    let destination = ask.to.ip();
    let answer = match (&syn.end, error_queue::newest(&syn.errors)) {
        // Closed at once: `syn` is dropped here.
        (SynEnd::Connected(_), _) => Some(answer(destination, HopSaid::Reached, syn.took)),
        (_, Some(icmp)) => Some(answer(icmp.from, HopSaid::Icmp(icmp), syn.took)),
        (SynEnd::Failed(libc::ECONNREFUSED | libc::ECONNRESET), None) => Some(answer(destination, HopSaid::Reset, syn.took)),
        _ => None,
    };
    Probed { ttl, sent: if syn.sent { 1 + syn.retransmits } else { 0 }, answer }
}

async fn udp(ask: &WalkAsk, ttl: u8) -> Probed {
    let mut probed = Probed { ttl, sent: 0, answer: None };
    let Ok(socket) = Datagram::udp(ask.to, limited(ttl)) else {
        return probed;
    };
    let sent_at = Instant::now();
    if socket.send(b"faultmap").is_ok() {
        probed.sent = 1;
        let deadline = sent_at + ask.wait;
        while probed.answer.is_none()
            && let Some(heard) = socket.hear(deadline).await
        {
            let took = sent_at.elapsed();
            probed.answer = match heard {
                Heard::Packet(_) => Some(answer(ask.to.ip(), HopSaid::Reached, took)),
                Heard::Error(error) => error.icmp.map(|icmp| answer(icmp.from, meaning_of(icmp, ask.to.ip()), took)),
            };
        }
    }
    probed
}

/// "Port unreachable" from the destination is how it says that the datagram arrived.
fn meaning_of(icmp: IcmpError, destination: IpAddr) -> HopSaid {
    if icmp.from == destination && icmp.meaning() == IcmpMeaning::PortUnreachable { HopSaid::Reached } else { HopSaid::Icmp(icmp) }
}

async fn icmp(ask: &WalkAsk, ttl: u8) -> Probed {
    const PAYLOAD_BYTES: usize = 32;
    let mut probed = Probed { ttl, sent: 0, answer: None };
    let Ok(ping) = Ping::open(ask.to.ip(), limited(ttl)) else {
        return probed;
    };
    let sent_at = Instant::now();
    let number = u16::from(ttl);
    if ping.send(number, PAYLOAD_BYTES).is_ok() {
        probed.sent = 1;
        let deadline = sent_at + ask.wait;
        while probed.answer.is_none()
            && let Some(heard) = ping.hear(deadline).await
        {
            let took = sent_at.elapsed();
            probed.answer = match heard {
                PingHeard::Reply { number: replied, .. } => (replied == number).then(|| answer(ask.to.ip(), HopSaid::Reached, took)),
                PingHeard::Error { error, .. } => error.icmp.map(|icmp| answer(icmp.from, HopSaid::Icmp(icmp), took)),
            };
        }
    }
    probed
}

const fn limited(ttl: u8) -> DatagramOptions {
    DatagramOptions { ttl: Some(ttl), dont_fragment: None }
}

fn answer(from: IpAddr, said: HopSaid, took: Duration) -> HopAnswer {
    HopAnswer { from, said, rtt_ms: ms(took) }
}
