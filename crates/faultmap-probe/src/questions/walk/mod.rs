//! Who answers at each distance, with rising TTL (hop limit)? Sends SYNs, datagrams or echo requests; never data to the destination.
//!
//! All TTLs are asked side by side, a little apart, so that a near destination is heard before the far TTLs are sent. Hops that stayed
//! silent are asked again, once per round. What one packet saw is in `one`; what a path looks like in the end is in `trim`.

mod one;
mod trim;

use crate::sock::ping::PingRefused;
use faultmap_model::observation::{Hop, HopAnswer, HopSaid, IcmpMeaning, NotAsked, Role, Walk, WalkProtocol};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::sleep;

/// No path of the Internet is longer in practice; traceroute(8) stops here too.
const MOST_HOPS: u8 = 30;
const MOST_TRIES: u32 = 5;
/// Between two TTLs of a round: 30 TTLs take 60 ms, and a destination 20 ms away is heard before the last third is sent.
const APART: Duration = Duration::from_millis(2);

/// What to walk toward, and how.
#[derive(Debug, Clone)]
pub struct WalkAsk {
    /// Destination; the port is ignored for ICMP.
    pub to: SocketAddr,
    /// What to send.
    pub protocol: WalkProtocol,
    /// Whose path it is.
    pub role: Role,
    /// Lowest TTL: the hops below are known already, and each expired packet costs their router an error that it may send only once a
    /// second (net.ipv4.icmp_ratelimit).
    pub min_ttl: u8,
    /// Highest TTL; at most 30 are tried.
    pub max_ttl: u8,
    /// Rounds for hops that stay silent (1 to 5).
    pub tries: u32,
    /// How long each packet of a round waits for its answer.
    pub wait: Duration,
}

/// What one packet with limited TTL brought.
#[derive(Debug)]
struct Probed {
    ttl: u8,
    /// Packets that left for this, retransmitted SYNs counted; 0 when our own kernel refused.
    sent: u32,
    answer: Option<HopAnswer>,
}

/// Walks the path. `Err` when this process may not send such packets (echo requests without ping sockets and CAP_NET_RAW).
pub async fn walk(ask: &WalkAsk) -> Result<Walk, NotAsked> {
    let to = if ask.protocol == WalkProtocol::Icmp { SocketAddr::new(ask.to.ip(), 0) } else { ask.to };
    let ask = WalkAsk { to, ..ask.clone() };
    if ask.protocol == WalkProtocol::Icmp
        && let Err(PingRefused::NotAllowed) = one::may_ping(to.ip())
    {
        return Err(super::echo::ping_not_allowed("path.walk", "how far echo requests get on the way"));
    }
    let last = ask.max_ttl.clamp(1, MOST_HOPS);
    let mut hops: Vec<Hop> = (1..=last).map(|ttl| Hop { ttl, sent: 0, answers: Vec::new() }).collect();
    for _ in 0..ask.tries.clamp(1, MOST_TRIES) {
        let silent: Vec<u8> = worth_asking(&hops, to.ip()).into_iter().filter(|ttl| *ttl >= ask.min_ttl).collect();
        round(&ask, &silent, &mut hops).await;
        if hops.iter().all(|hop| hop.sent == 0) {
            break;
        }
    }
    let (hops, reached_ttl) = trim::trim(hops, to.ip());
    Ok(Walk { to, role: ask.role, protocol: ask.protocol, hops, reached_ttl })
}

/// The silent TTLs below the end of the path, as far as it is known. While the end is not known, a few beyond the last answer: the far
/// ones had their try.
fn worth_asking(hops: &[Hop], destination: IpAddr) -> Vec<u8> {
    const BEYOND: u8 = 4;
    let fresh = hops.iter().all(|hop| hop.sent == 0);
    let last_answer = hops.iter().rev().find(|hop| !hop.silent()).map_or(0, |hop| hop.ttl);
    let end = trim::end_of_path(hops, destination).unwrap_or(if fresh { u8::MAX } else { last_answer.saturating_add(BEYOND) });
    hops.iter().filter(|hop| hop.silent() && hop.ttl <= end).map(|hop| hop.ttl).collect()
}

/// Asks `ttls` side by side and adds what came back to `hops`.
async fn round(ask: &WalkAsk, ttls: &[u8], hops: &mut [Hop]) {
    // TTLs above this one are pointless: somebody below ended the path.
    let end = Cell::new(u8::MAX);
    let end = &end;
    let mut asked: FuturesUnordered<_> = ttls
        .iter()
        .zip(0_u32..)
        .map(|(&ttl, place)| async move {
            sleep(APART * place).await;
            if ttl > end.get() {
                return Probed { ttl, sent: 0, answer: None };
            }
            one::probe(ask, ttl).await
        })
        .collect();
    let mut open: Vec<u8> = ttls.to_vec();
    while let Some(probed) = asked.next().await {
        open.retain(|&ttl| ttl != probed.ttl);
        // What our own kernel refuses once (no route, no descriptors) it refuses for the higher TTLs as well.
        let ends = probed.answer.as_ref().map_or(probed.sent == 0, |answer| ends_path(answer, ask.to.ip()));
        if ends {
            end.set(end.get().min(probed.ttl));
        }
        note(hops, probed);
        if open.iter().all(|&ttl| ttl > end.get()) {
            break;
        }
    }
}

fn note(hops: &mut [Hop], probed: Probed) {
    if let Some(hop) = hops.iter_mut().find(|hop| hop.ttl == probed.ttl) {
        hop.sent += probed.sent;
        hop.answers.extend(probed.answer);
    }
}

/// Packets with a higher TTL get no further than this answer: it came from the destination, or a router refused to forward.
fn ends_path(answer: &HopAnswer, destination: IpAddr) -> bool {
    from_destination(answer, destination)
        || matches!(answer.said, HopSaid::Icmp(icmp) if !matches!(icmp.meaning(), IcmpMeaning::TtlExceeded | IcmpMeaning::Other))
}

/// The destination itself answered. "Time exceeded" from its address is a router that owns the address and forwards (DNAT).
fn from_destination(answer: &HopAnswer, destination: IpAddr) -> bool {
    match answer.said {
        HopSaid::Reached | HopSaid::Reset => true,
        HopSaid::Icmp(icmp) => answer.from == destination && icmp.meaning() != IcmpMeaning::TtlExceeded,
    }
}
