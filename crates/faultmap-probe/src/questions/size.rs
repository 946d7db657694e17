//! Do large packets get through where small ones do? Sends packets that must not be fragmented, and counts their answers.

use crate::sock::datagram::{Datagram, DatagramOptions, Heard};
use crate::sock::options::Family;
use crate::sock::ping::{Ping, PingHeard};
use faultmap_model::observation::{IcmpError, IcmpMeaning, NotAsked, SizeProbe, Transport};
use futures_util::future::join_all;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// ICMP echo and UDP headers are equally long.
const HEADER_BYTES: u32 = 8;
const MOST_TRIES: u32 = 8;
/// Between two packets of one volley.
const APART: Duration = Duration::from_millis(2);
const UNFRAGMENTED: DatagramOptions = DatagramOptions { ttl: None, dont_fragment: Some(true) };

/// Sends unfragmentable packets of `small` and `large` bytes (IP header included), `tries` of each (1 to 8); searches for the limit when only
/// the small ones are answered. ICMP echo where allowed, else UDP to `udp_port`, which should be closed: hosts limit their "port
/// unreachable" to about one a second after six, so keep `tries` small. `wait` is for each size. Always `Ok` today: UDP needs no privilege.
pub async fn size(to: IpAddr, udp_port: u16, small: u32, large: u32, tries: u32, wait: Duration) -> Result<SizeProbe, NotAsked> {
    let mut prober = Prober::open(SocketAddr::new(to, udp_port), wait);
    let tries = tries.clamp(1, MOST_TRIES);
    let mut seen = SizeProbe {
        to,
        transport: prober.transport(),
        small_bytes: small,
        small: (0, 0),
        large_bytes: large,
        large: (0, 0),
        too_big: None,
        largest_answered_bytes: None,
    };
    // One alone tells how long an answer takes.
    prober.volley(&[small], wait).await;
    // Large and small by turns: a peer that limits its ICMP errors (Linux: six, then one a second) then loses both kinds alike.
    let by_turns: Vec<u32> = (0..count(tries)).flat_map(|_| [large, small]).collect();
    let shots = prober.volley(&by_turns, wait).await;
    let every_other = |first: usize| shots.iter().skip(first).step_by(2).copied().collect::<Vec<Shot>>();
    seen.large = tally(&every_other(0));
    seen.small = tally(&every_other(1));
    if seen.small.1 > 0 && seen.large.0 > 0 && seen.large.1 == 0 && small < large {
        seen.largest_answered_bytes = Some(prober.search(small, large).await);
    }
    seen.too_big = prober.too_big;
    Ok(seen)
}

fn count(tries: u32) -> usize {
    usize::try_from(tries).unwrap_or(1)
}

/// Sent and answered.
fn tally(volley: &[Shot]) -> (u32, u32) {
    let number = |wanted: fn(&Shot) -> bool| u32::try_from(volley.iter().filter(|shot| wanted(shot)).count()).unwrap_or(u32::MAX);
    (number(|shot| shot.sent), number(|shot| shot.answered))
}

/// One packet.
#[derive(Debug, Clone, Copy, Default)]
struct Shot {
    bytes: u32,
    sent: bool,
    answered: bool,
    /// An error came instead.
    refused: bool,
}

enum Carrier {
    Echo(Ping),
    Udp(SocketAddr),
}

struct Prober {
    carrier: Carrier,
    header_bytes: u32,
    wait: Duration,
    next_number: u16,
    slowest_answer: Option<Duration>,
    too_big: Option<IcmpError>,
}

impl Prober {
    fn open(to: SocketAddr, wait: Duration) -> Self {
        let carrier = Ping::open(to.ip(), UNFRAGMENTED).map_or(Carrier::Udp(to), Carrier::Echo);
        let header_bytes = Family::of(to.ip()).header_bytes() + HEADER_BYTES;
        Self { carrier, header_bytes, wait, next_number: 0, slowest_answer: None, too_big: None }
    }

    const fn transport(&self) -> Option<Transport> {
        match self.carrier {
            Carrier::Echo(_) => None,
            Carrier::Udp(_) => Some(Transport::Udp),
        }
    }

    fn payload_bytes(&self, bytes: u32) -> usize {
        usize::try_from(bytes.saturating_sub(self.header_bytes).min(65_507)).unwrap_or(0)
    }

    /// Sends one packet of each size and waits for the answers.
    async fn volley(&mut self, sizes: &[u32], wait: Duration) -> Vec<Shot> {
        let started = Instant::now();
        let shots = match &self.carrier {
            Carrier::Echo(ping) => self.echoes(ping, sizes, wait).await,
            Carrier::Udp(to) => self.datagrams(*to, sizes, wait).await,
        };
        self.next_number = self.next_number.wrapping_add(u16::try_from(sizes.len()).unwrap_or(u16::MAX));
        self.too_big = self.too_big.or_else(|| shots.iter().find_map(|(_, too_big)| *too_big));
        let shots: Vec<Shot> = shots.into_iter().map(|(shot, _)| shot).collect();
        if shots.iter().all(|shot| shot.answered) {
            self.slowest_answer = self.slowest_answer.max(Some(started.elapsed()));
        }
        shots
    }

    async fn echoes(&self, ping: &Ping, sizes: &[u32], wait: Duration) -> Vec<(Shot, Option<IcmpError>)> {
        let mut shots = Vec::new();
        for (&bytes, place) in sizes.iter().zip(0_u16..) {
            let sent = ping.send(self.next_number.wrapping_add(place), self.payload_bytes(bytes)).is_ok();
            shots.push((Shot { bytes, sent, refused: !sent, answered: false }, None));
            sleep(APART).await;
        }
        let deadline = Instant::now() + wait;
        while shots.iter().any(|(shot, _)| !shot.answered && !shot.refused) {
            let Some(heard) = ping.hear(deadline).await else {
                break;
            };
            let place = |number: u16| usize::from(number.wrapping_sub(self.next_number));
            match heard {
                PingHeard::Reply { number, .. } => {
                    if let Some((shot, _)) = shots.get_mut(place(number)) {
                        shot.answered = true;
                    }
                }
                PingHeard::Error { number: Some(number), error } => {
                    if let Some((shot, too_big)) = shots.get_mut(place(number)) {
                        shot.refused = true;
                        *too_big = error.icmp.filter(|icmp| icmp.meaning() == IcmpMeaning::TooBig);
                    }
                }
                PingHeard::Error { number: None, .. } => {}
            }
        }
        shots
    }

    async fn datagrams(&self, to: SocketAddr, sizes: &[u32], wait: Duration) -> Vec<(Shot, Option<IcmpError>)> {
        let shots = sizes.iter().zip(0_u32..).map(|(&bytes, place)| async move {
            sleep(APART * place).await;
            datagram(to, bytes, self.payload_bytes(bytes), wait).await
        });
        join_all(shots).await
    }

    /// The largest size that is answered, between `answered` and `silent`.
    async fn search(&mut self, mut answered: u32, mut silent: u32) -> u32 {
        let told = self.too_big.and_then(|icmp| icmp.mtu).filter(|mtu| answered < *mtu && *mtu < silent);
        if let Some(mtu) = told
            && self.volley(&[mtu], self.patience()).await.iter().any(|shot| shot.answered)
        {
            return mtu;
        }
        // (5 + 1)^3 divides any range of Ethernet sizes to a few bytes; UDP stays below the six answers that a host gives at once.
        let (volleys, width) = match self.carrier {
            Carrier::Echo(_) => (3, 5),
            Carrier::Udp(_) => (4, 2),
        };
        for _ in 0..volleys {
            let sizes = between(answered, silent, width);
            if sizes.is_empty() {
                break;
            }
            let shots = self.volley(&sizes, self.patience()).await;
            answered = shots.iter().filter(|shot| shot.answered).map(|shot| shot.bytes).fold(answered, u32::max);
            let lost = shots.iter().filter(|shot| !shot.answered && shot.bytes > answered).map(|shot| shot.bytes);
            silent = lost.fold(silent, u32::min);
        }
        answered
    }

    /// How long one volley of the search waits: the small packets have told how far the destination is.
    fn patience(&self) -> Duration {
        let expected = self.slowest_answer.map_or(self.wait, |slowest| slowest * 4 + Duration::from_millis(50));
        expected.min(self.wait)
    }
}

/// One datagram from a socket of its own, to tell the answers apart.
async fn datagram(to: SocketAddr, bytes: u32, payload_bytes: usize, wait: Duration) -> (Shot, Option<IcmpError>) {
    let mut shot = Shot { bytes, ..Shot::default() };
    let Ok(socket) = Datagram::udp(to, UNFRAGMENTED) else {
        return (shot, None);
    };
    shot.sent = socket.send(&vec![0; payload_bytes]).is_ok();
    if !shot.sent {
        return (shot, None);
    }
    match socket.hear(Instant::now() + wait).await {
        Some(Heard::Packet(_)) => shot.answered = true,
        Some(Heard::Error(error)) => {
            let meaning = error.icmp.map(|icmp| icmp.meaning());
            shot.answered = meaning == Some(IcmpMeaning::PortUnreachable) && error.icmp.is_some_and(|icmp| icmp.from == to.ip());
            shot.refused = !shot.answered;
            return (shot, error.icmp.filter(|_| meaning == Some(IcmpMeaning::TooBig)));
        }
        None => {}
    }
    (shot, None)
}

/// Up to `width` sizes that divide the open range from `low` to `high` evenly.
fn between(low: u32, high: u32, width: u32) -> Vec<u32> {
    let gap = high.saturating_sub(low);
    let mut sizes: Vec<u32> = (1..=width).map(|part| low + gap * part / (width + 1)).filter(|size| low < *size && *size < high).collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn the_search_divides_the_open_range() {
        for (low, high, width, expected) in [
            (1000, 1600, 5, vec![1100, 1200, 1300, 1400, 1500]),
            (1000, 1003, 5, vec![1001, 1002]),
            (1000, 1001, 5, vec![]),
            (1500, 1000, 5, vec![]),
        ] {
            assert_eq!(between(low, high, width), expected, "{low}..{high}");
        }
    }
}
