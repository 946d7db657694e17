//! Do several connects in a short time all succeed? A full listen queue lets some through and leaves the rest silent.
//! Sends SYNs only; never data.

use crate::recorder::ms;
use crate::sock::syn::{self, Syn, SynEnd, SynOptions};
use crate::sock::{error_queue, tcp_info};
use faultmap_model::observation::TcpRepeat;
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// More than this many connects at once is a load test, not a question.
const MOST_TRIES: u32 = 64;
const APART: Duration = Duration::from_millis(5);

/// Starts `tries` connects (at most 64) 5 ms apart, holds every one open until all ended, then closes them. A queue that holds fewer
/// connections than `tries` shows only while nobody gives one back. Connects that our own kernel refused to start (no descriptor, no port,
/// no route) say nothing of the peer and do not count as tried.
pub async fn repeat(to: SocketAddr, tries: u32, wait: Duration) -> TcpRepeat {
    let connects = (0..tries.min(MOST_TRIES)).map(|number| async move {
        sleep(APART * number).await;
        syn::connect(to, SynOptions::default(), wait).await
    });
    let ended = join_all(connects).await;
    let mut seen = TcpRepeat {
        to,
        tried: 0,
        connected: 0,
        connected_late: 0,
        failed: 0,
        silent: 0,
        waited_ms: ms(wait),
        order: String::new(),
        icmp: None,
    };
    ended.iter().filter(|syn| syn.sent).for_each(|syn| count(&mut seen, syn));
    seen
}

fn count(seen: &mut TcpRepeat, syn: &Syn) {
    seen.tried += 1;
    match &syn.end {
        SynEnd::Connected(socket) => match tcp_info::read(socket).map_or(0, |raw| raw.info.tcpi_total_retrans) {
            0 => seen.connected += 1,
            _ => seen.connected_late += 1,
        },
        SynEnd::Failed(_) => seen.failed += 1,
        SynEnd::Pending => seen.silent += 1,
    }
    seen.icmp = seen.icmp.or_else(|| error_queue::newest(&syn.errors));
    let late = match &syn.end {
        SynEnd::Connected(socket) => tcp_info::read(socket).is_some_and(|raw| raw.info.tcpi_total_retrans > 0),
        SynEnd::Failed(_) => syn.retransmits > 0,
        SynEnd::Pending => false,
    };
    seen.order.push(match &syn.end {
        SynEnd::Pending => '?',
        _ if late => 'l',
        _ => '.',
    });
}
