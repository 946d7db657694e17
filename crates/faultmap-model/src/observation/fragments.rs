//! Datagrams that travel in fragments, beside others that do not. Never what it means.

use super::Transport;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Datagrams of three sizes to one host, which may be fragmented: do those arrive that must be?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FragmentProbe {
    /// Where to.
    pub to: IpAddr,
    /// UDP (answered by port unreachable) or, with `Transport` absent, ICMP echo.
    pub transport: Option<Transport>,
    /// Size of the small packet, IP header included.
    pub small_bytes: u32,
    /// Small ones sent and answered.
    pub small: (u32, u32),
    /// Size of the largest packet that needs no fragments here: the MTU of the outgoing interface.
    pub whole_bytes: u32,
    /// Those sent and answered.
    pub whole: (u32, u32),
    /// Size of the datagram that travels in two fragments, with one IP header.
    pub fragmented_bytes: u32,
    /// Those sent and answered.
    pub fragmented: (u32, u32),
}

impl FragmentProbe {
    /// Every small and every whole packet was answered, and not one of those in fragments.
    #[must_use]
    pub const fn only_fragments_lost(&self) -> bool {
        all_of(self.small) && all_of(self.whole) && self.fragmented.0 > 1 && self.fragmented.1 == 0
    }
}

const fn all_of((sent, answered): (u32, u32)) -> bool {
    sent > 0 && answered == sent
}
