//! What a wire does to frames in one direction. All zero is a perfect wire with a delay.

use serde::{Deserialize, Serialize};

/// The delay of a healthy lab wire. Not zero: on a wire without delay the answer to a SYN can arrive while the
/// kernel still holds the socket's lock, and ICMP errors are then ignored (`LockDroppedIcmps`).
pub(super) const DEFAULT_DELAY_MS: f64 = 0.3;

/// What happens to frames travelling one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Impairment {
    /// Milliseconds every frame takes.
    pub delay_ms: f64,
    /// Up to so many milliseconds more, uniformly; frames keep their order.
    pub jitter_ms: f64,
    /// Share of frames lost, 0 to 1.
    pub loss: f64,
    /// Share of IP packets with one bit flipped behind the IP header, 0 to 1; the layer 4 checksum then fails.
    pub corrupt: f64,
    /// Share of frames that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// Share of frames held back by `reorder_by_ms` so that later ones overtake, 0 to 1.
    pub reorder: f64,
    /// How long reordered frames are held back, in milliseconds.
    pub reorder_by_ms: f64,
    /// Line rate in kilobits per second; 0 is unlimited.
    pub rate_kbit: u64,
    /// Frames that wait for a limited line before further ones are dropped.
    pub queue_packets: usize,
    /// Longest frame carried, in bytes from the destination MAC to the end of the payload (1514 for an MTU of
    /// 1500); longer ones vanish without a word. 0 is unlimited.
    pub max_frame: usize,
    /// Nothing passes, while the carrier stays.
    pub blackhole: bool,
}

impl Default for Impairment {
    fn default() -> Impairment {
        Impairment {
            delay_ms: DEFAULT_DELAY_MS,
            jitter_ms: 0.0,
            loss: 0.0,
            corrupt: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by_ms: 2.0,
            rate_kbit: 0,
            queue_packets: 100,
            max_frame: 0,
            blackhole: false,
        }
    }
}
