//! With which TTL does a port answer our SYN? Without a raw socket: a socket may refuse segments below a TTL (`IP_MINTTL`, made for RFC 5082),
//! so the greatest bound that an answer passes is the answer's TTL. Sends SYNs only, at most one at a time; never data.

use crate::sock::syn::{self, SynEnd, SynOptions};
use faultmap_host::min_ttl_drops;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// The kernel counts what it refuses for all of the namespace together: one search at a time.
static SEARCHING: Mutex<()> = Mutex::const_new(());
/// The counter is looked at so often.
const LOOK: Duration = Duration::from_millis(2);
/// A refusal may have been another program's: our own answer has this long to come all the same, and at least two round trips.
const OTHERWISE: Duration = Duration::from_millis(8);
/// Bounds that split the usual initial values (64, 128, 255), and paths of at most fifteen hops from longer ones.
const USUAL: [(u8, u8, u8); 3] = [(1, 255, 65), (65, 255, 129), (1, 64, 50)];

/// The TTL (hop limit) of the SYN-ACK or RST with which `to` answers; `None` if that is not to be had: no answer, a packet lost, a kernel
/// that does not count. `round_trip` is how long an answer usually takes; each of the at most nine SYNs waits no longer than `wait`.
pub async fn answer_ttl(to: SocketAddr, round_trip: Duration, wait: Duration) -> Option<u8> {
    let _alone = SEARCHING.lock().await;
    let (mut low, mut high) = (1_u8, u8::MAX);
    while low < high {
        let usual = USUAL.into_iter().find(|(from, to, _)| (*from, *to) == (low, high)).map(|(.., bound)| bound);
        let bound = usual.unwrap_or_else(|| low + (high - low).div_ceil(2));
        let mut heard = passes(to, bound, round_trip, wait).await;
        if heard.is_none() {
            heard = passes(to, bound, round_trip, wait).await;
        }
        match heard? {
            true => low = bound,
            false => high = bound - 1,
        }
    }
    Some(low)
}

/// Whether an answer passes the bound; `None` when neither an answer nor a refusal of one was seen.
async fn passes(to: SocketAddr, bound: u8, round_trip: Duration, wait: Duration) -> Option<bool> {
    let before = min_ttl_drops()?;
    let how = SynOptions { least_ttl: Some(bound), ..SynOptions::default() };
    let asked = syn::connect(to, how, wait);
    let refused = async {
        let end = Instant::now() + wait;
        while min_ttl_drops().is_none_or(|now| now == before) {
            if Instant::now() >= end {
                return None;
            }
            sleep(LOOK).await;
        }
        sleep(OTHERWISE.max(round_trip * 2)).await;
        Some(false)
    };
    tokio::select! {
        biased;
        syn = asked => match syn.end {
            SynEnd::Connected(_) | SynEnd::Failed(libc::ECONNREFUSED | libc::ECONNRESET) => Some(true),
            _ => None,
        },
        heard = refused => heard,
    }
}
