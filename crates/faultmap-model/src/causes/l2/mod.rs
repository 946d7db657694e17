//! Causes of layer 2, data link: frames, MAC addresses, ARP and neighbour discovery.

pub(in crate::causes) mod duplicate_address;
mod mtu_mismatch;
mod neighbor_table_full;
mod remote_neighbor_unresolved;
pub(in crate::causes) use remote_neighbor_unresolved::reported_at_once;
mod stale_neighbor;
mod unresolved;

use super::Cause;

/// In the order of `faultmap causes`.
pub(super) static CAUSES: &[&Cause] = &[
    &unresolved::GATEWAY,
    &unresolved::NEIGHBOR,
    &remote_neighbor_unresolved::CAUSE,
    &stale_neighbor::CAUSE,
    &duplicate_address::CAUSE,
    &mtu_mismatch::CAUSE,
    &neighbor_table_full::CAUSE,
];
