//! Loss that a sender makes itself: it sends as fast as the narrowest link takes, fills the queue before it, and the queue overflows. That is how TCP finds
//! its rate (RFC 5681 §3.1), and no fault of the path: the round trips that swell before each loss tell it from bits or packets that are lost on an idle one.

use super::Road;
use crate::flow::record::{self, TcpSide};
use crate::verdict::problem::MOST_FLOWS;
use std::net::IpAddr;

/// Fewer losses whose round trip is known say nothing.
const FEW: u64 = 3;
/// So much longer than the shortest one is the round trip when a queue overflows: buffers hold what is on the way once more, or near it (RFC 3439 §3.2 and
/// its successors). Delayed ACKs and other traffic make it vary by less.
const SWOLLEN: f64 = 1.5;
const LEAST_MS: f64 = 10.0;

/// Round trips on a road, milliseconds.
#[derive(Debug, Default)]
pub(super) struct Trips {
    /// Of connections that lost something.
    lossy: Vec<record::Trips>,
    /// The shortest handshake.
    handshake_ms: Option<f64>,
}

impl Trips {
    pub(super) fn add(&mut self, tcp: &TcpSide, handshake_ms: Option<f64>) {
        self.handshake_ms = [self.handshake_ms, handshake_ms].into_iter().flatten().reduce(f64::min);
        let lossy = tcp.trips.filter(|trips| trips.losses > 0 && self.lossy.len() < MOST_FLOWS);
        self.lossy.extend(lossy);
    }

    /// The shortest round trip, and the longest mean of those at losses, if most of what was `repaired` was lost in a full queue.
    fn swollen(&self, repaired: u64) -> Option<(f64, f64)> {
        // Of a connection that met a full queue at once, another one knows how long the way is without.
        let least = |trips: &record::Trips| f64::from(trips.least_ms).min(self.handshake_ms.unwrap_or(f64::INFINITY));
        let is_swollen = |trips: &&record::Trips| f64::from(trips.at_loss_ms) >= least(trips) * SWOLLEN + LEAST_MS;
        let losses = |sum: u64, trips: &record::Trips| sum.saturating_add(u64::from(trips.losses));
        let swollen = || self.lossy.iter().filter(is_swollen);
        let (known, in_queue) = (self.lossy.iter().fold(0, losses), swollen().fold(0, losses));
        let most = known >= FEW && known.saturating_mul(2) >= repaired && in_queue.saturating_mul(4) >= known.saturating_mul(3);
        let longest = swollen().map(|trips| f64::from(trips.at_loss_ms)).reduce(f64::max)?;
        most.then_some((swollen().map(least).reduce(f64::min)?, longest))
    }
}

/// What is to be said of a road whose sender fills its queue.
pub(super) fn remark(road: &Road, (from, to): (IpAddr, IpAddr)) -> Option<String> {
    let (least, at_loss) = road.trips.swollen(road.repaired)?;
    Some(format!(
        "{from} sends to {to} as fast as the path takes: round trips swell from {least:.1} to {at_loss:.0} ms before packets are lost ({} of {} sent \
         again). Its own queue overflows: that is how TCP finds its rate, and no loss of the path.",
        road.repaired, road.sent
    ))
}
