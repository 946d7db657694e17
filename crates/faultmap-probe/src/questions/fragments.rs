//! Do datagrams arrive that must travel in fragments, where those that need none do? Sends both by turns to a port that should be closed.

use crate::sock::datagram::{Datagram, DatagramOptions, Heard};
use crate::sock::options::Family;
use faultmap_model::observation::{FragmentProbe, IcmpMeaning, Transport};
use futures_util::future::join_all;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// UDP's header.
const HEADER_BYTES: u32 = 8;
const SMALL_BYTES: u32 = 128;
/// By how much the large one is larger than what fits whole: two fragments, also where the path is a tunnel.
const BEYOND_BYTES: u32 = 600;
/// Between two packets.
const APART: Duration = Duration::from_millis(3);
/// Before what was lost is tried again: loss comes in bursts, and hosts limit their "port unreachable" to about one a second after six.
const AGAIN_AFTER: Duration = Duration::from_millis(1_100);
const FRAGMENTED: DatagramOptions = DatagramOptions { ttl: None, dont_fragment: Some(false) };

/// Sends two datagrams each of a small size, of `mtu` bytes and of 600 bytes more, all of which may be fragmented, to `to`; and those
/// that were lost once more. `wait` is for each round.
pub async fn fragments(to: SocketAddr, mtu: u32, wait: Duration) -> FragmentProbe {
    let sizes = [mtu + BEYOND_BYTES, mtu, SMALL_BYTES];
    let mut tallies = [(0, 0); 3];
    round(to, [sizes, sizes].concat(), &mut tallies, sizes, wait).await;
    let [fragmented, whole, small] = tallies;
    if fragmented.0 > 0 && fragmented.1 == 0 && whole.1 > 0 && small.1 > 0 {
        sleep(AGAIN_AFTER).await;
        round(to, vec![sizes[0], sizes[1], sizes[0]], &mut tallies, sizes, wait).await;
    }
    let [fragmented, whole, small] = tallies;
    FragmentProbe {
        to: to.ip(),
        transport: Some(Transport::Udp),
        small_bytes: SMALL_BYTES,
        small,
        whole_bytes: mtu,
        whole,
        fragmented_bytes: mtu + BEYOND_BYTES,
        fragmented,
    }
}

/// Sends datagrams of these sizes and adds up, per size, how many were sent and answered.
async fn round(to: SocketAddr, shots: Vec<u32>, tallies: &mut [(u32, u32); 3], sizes: [u32; 3], wait: Duration) {
    let answers = shots.iter().zip(0_u32..).map(|(&bytes, place)| async move {
        sleep(APART * place).await;
        (bytes, answered(to, bytes, wait).await)
    });
    for (bytes, answer) in join_all(answers).await {
        for (tally, _) in tallies.iter_mut().zip(sizes).filter(|(_, size)| *size == bytes) {
            tally.0 += u32::from(answer.is_some());
            tally.1 += u32::from(answer == Some(true));
        }
    }
}

/// Whether the host itself said that nothing listens there (or somebody there answered); `None` if it could not be sent.
async fn answered(to: SocketAddr, bytes: u32, wait: Duration) -> Option<bool> {
    let payload = usize::try_from(bytes.saturating_sub(Family::of(to.ip()).header_bytes() + HEADER_BYTES)).unwrap_or(0);
    // A socket of its own tells the answers apart.
    let socket = Datagram::udp(to, FRAGMENTED).ok()?;
    socket.send(&vec![0; payload]).ok()?;
    Some(match socket.hear(Instant::now() + wait).await {
        Some(Heard::Packet(_)) => true,
        Some(Heard::Error(error)) => error.icmp.is_some_and(|icmp| from_host(&icmp, to.ip())),
        None => false,
    })
}

fn from_host(icmp: &faultmap_model::observation::IcmpError, host: IpAddr) -> bool {
    icmp.from == host && icmp.meaning() == IcmpMeaning::PortUnreachable
}
