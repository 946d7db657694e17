//! The classic mistake of firewall administrators: ICMP errors are dropped, and path MTU discovery with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use faultmap_wire::{icmp, icmpv6, proto};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::{Emit, Middlebox, Pass};
use crate::fabric::Direction;

/// Which ICMP messages are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IcmpMatch {
    /// "Fragmentation needed" and "packet too big".
    TooBig,
    /// "Time exceeded": path walks see nothing.
    TimeExceeded,
    /// "Destination unreachable", except those of [`IcmpMatch::TooBig`].
    Unreachable,
    /// Every error.
    Errors,
    /// Echo requests and replies.
    Echo,
    /// Everything but neighbour discovery.
    All,
}

impl IcmpMatch {
    fn fits(self, seen: &Seen<'_>) -> bool {
        let Some((kind, code)) = seen.icmp() else {
            return false;
        };
        let v4 = seen.ip.protocol == proto::ICMP;
        let too_big = if v4 { kind == icmp::UNREACHABLE && code == icmp::FRAGMENTATION_NEEDED } else { kind == icmpv6::PACKET_TOO_BIG };
        let either = |v4_kind: u8, v6_kind: u8| kind == if v4 { v4_kind } else { v6_kind };
        match self {
            IcmpMatch::TooBig => too_big,
            IcmpMatch::TimeExceeded => either(icmp::TIME_EXCEEDED, icmpv6::TIME_EXCEEDED),
            IcmpMatch::Unreachable => either(icmp::UNREACHABLE, icmpv6::UNREACHABLE) && !too_big,
            IcmpMatch::Errors => seen.is_icmp_error(),
            IcmpMatch::Echo => either(icmp::ECHO_REQUEST, icmpv6::ECHO_REQUEST) || either(icmp::ECHO_REPLY, icmpv6::ECHO_REPLY),
            IcmpMatch::All => true,
        }
    }
}

/// Drops ICMP messages of some kinds. Clones share the counter.
#[derive(Debug, Clone)]
pub struct IcmpFilter {
    name: String,
    drops: IcmpMatch,
    direction: Option<Direction>,
    dropped: Arc<AtomicU64>,
}

impl IcmpFilter {
    /// A filter for one direction, or for both.
    pub fn new(name: &str, drops: IcmpMatch, direction: Option<Direction>) -> IcmpFilter {
        IcmpFilter { name: name.to_owned(), drops, direction, dropped: Arc::default() }
    }

    /// Messages dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Middlebox for IcmpFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, _now: Instant, _out: &mut Emit) -> Pass {
        let ours = self.direction.is_none_or(|wanted| wanted == direction);
        let hit = ours && Seen::look(frame).is_some_and(|seen| !seen.is_discovery() && self.drops.fits(&seen));
        if !hit {
            return Pass::Forward;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        Pass::Drop
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([("dropped".to_owned(), self.dropped())])
    }
}
