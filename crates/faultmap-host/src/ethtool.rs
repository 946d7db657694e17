//! What an interface's driver says of its medium: speed, duplex, the best speed, the driver's name (`SIOCETHTOOL`).
//! Only asks; never sets. A driver may take milliseconds to answer, so this is asked apart from the counters.

use faultmap_model::host::RingSample;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::{AsRawFd, OwnedFd};

// linux/ethtool.h, linux/sockios.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const RINGPARAM_LEN: usize = 36;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const DRVINFO_LEN: usize = 196;
/// `struct ethtool_link_settings` before its masks, which follow: supported, advertised, the peer's.
const SETTINGS_LEN: usize = 48;
/// Words of a mask that the kernel could ever ask for (the field is a signed byte).
const MASK_WORDS_MAX: usize = 127;
const SPEED_UNKNOWN: u32 = u32::MAX;

/// Best known speed, Mbit/s, of `ETHTOOL_LINK_MODE_*_BIT`: first bit, last bit, speed. Bits between that carry no
/// speed (autonegotiation, connectors, pause, FEC) are left out.
const MODE_SPEEDS: [(usize, usize, u32); 34] = [
    (0, 1, 10),
    (2, 3, 100),
    (4, 5, 1_000),
    (12, 12, 10_000),
    (15, 15, 2_500),
    (17, 17, 1_000),
    (18, 20, 10_000),
    (21, 22, 20_000),
    (23, 26, 40_000),
    (27, 30, 56_000),
    (31, 33, 25_000),
    (34, 35, 50_000),
    (36, 39, 100_000),
    (40, 40, 50_000),
    (41, 41, 1_000),
    (42, 46, 10_000),
    (47, 47, 2_500),
    (48, 48, 5_000),
    (52, 56, 50_000),
    (57, 61, 100_000),
    (62, 66, 200_000),
    (67, 67, 100),
    (68, 68, 1_000),
    (69, 73, 400_000),
    (75, 79, 100_000),
    (80, 84, 200_000),
    (85, 89, 400_000),
    (90, 91, 100),
    (92, 92, 10),
    (93, 98, 800_000),
    (99, 102, 10),
    (103, 108, 200_000),
    (109, 114, 400_000),
    (115, 120, 800_000),
];

/// What the driver says; unknown values are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Medium {
    pub(crate) speed_mbps: Option<u32>,
    pub(crate) max_speed_mbps: Option<u32>,
    pub(crate) full_duplex: Option<bool>,
}

/// A socket to ask drivers through; it belongs to the calling thread's network namespace.
#[derive(Debug)]
pub(crate) struct Ethtool(OwnedFd);

impl Ethtool {
    /// `None` when no socket can be had.
    pub(crate) fn open() -> Option<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Inet, SockType::Datagram, flags, None).ok().map(Self)
    }

    /// Speed and duplex.
    pub(crate) fn medium(&self, iface: &str) -> Medium {
        // Asked with no room for masks, the kernel answers how much room it wants, as a negative number.
        let mut probe = vec![0; SETTINGS_LEN];
        probe[..4].copy_from_slice(&ETHTOOL_GLINKSETTINGS.to_ne_bytes());
        if self.call(iface, &mut probe).is_err() {
            return Medium::default();
        }
        let wanted = usize::from(mask_words(&probe).unsigned_abs()).min(MASK_WORDS_MAX);
        let mut settings = vec![0; SETTINGS_LEN + 3 * 4 * wanted];
        settings[..4].copy_from_slice(&ETHTOOL_GLINKSETTINGS.to_ne_bytes());
        settings[MASK_WORDS_AT] = u8::try_from(wanted).unwrap_or_default();
        match self.call(iface, &mut settings) {
            Ok(()) => read_settings(&settings),
            Err(_) => Medium::default(),
        }
    }

    /// The driver's name, such as `virtio_net`.
    pub(crate) fn driver(&self, iface: &str) -> Option<String> {
        let mut info = vec![0; DRVINFO_LEN];
        info[..4].copy_from_slice(&ETHTOOL_GDRVINFO.to_ne_bytes());
        self.call(iface, &mut info).ok()?;
        let name = crate::netlink::text(info.get(4..36)?);
        (!name.is_empty()).then_some(name)
    }

    /// Sizes of the descriptor rings; virtual links have none (`EOPNOTSUPP`).
    pub(crate) fn ring(&self, iface: &str) -> Option<RingSample> {
        let mut rings = vec![0; RINGPARAM_LEN];
        rings[..4].copy_from_slice(&ETHTOOL_GRINGPARAM.to_ne_bytes());
        self.call(iface, &mut rings).ok()?;
        // struct ethtool_ringparam: cmd, then the most and what is set, of rx, rx_mini, rx_jumbo and tx each.
        let word = |place: usize| crate::netlink::u32_at(&rings, place * 4);
        Some(RingSample { rx_max: word(1)?, tx_max: word(4)?, rx: word(5)?, tx: word(8)? })
    }

    /// `command` begins with its number, and is as long as the kernel will write.
    #[allow(unsafe_code)]
    fn call(&self, iface: &str, command: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let name = iface.as_bytes();
        if name.len() >= request.ifr_name.len() {
            return Err(Errno::ENODEV);
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name) {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_data = command.as_mut_ptr().cast();
        // SAFETY: `request` and the command that it points to outlive the call. The kernel writes at most the
        // struct of the command's number: 196 bytes for GDRVINFO, 36 for GRINGPARAM, 48 and three masks of the words
        // that the caller wrote into the struct for GLINKSETTINGS. The callers allocate just that.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        Errno::result(answer).map(drop)
    }
}

/// Place of `link_mode_masks_nwords`.
const MASK_WORDS_AT: usize = 15;

fn mask_words(settings: &[u8]) -> i8 {
    settings.get(MASK_WORDS_AT).copied().unwrap_or_default().cast_signed()
}

/// `struct ethtool_link_settings`: cmd, speed, duplex, port, ...
fn read_settings(settings: &[u8]) -> Medium {
    let speed = crate::netlink::u32_at(settings, 4);
    let words = usize::from(mask_words(settings).max(0).unsigned_abs());
    let mask = |place: usize| {
        let start = SETTINGS_LEN + place * words * 4;
        settings.get(start..start + words * 4).unwrap_or_default()
    };
    let (supported, peer) = (mask(0), mask(2));
    Medium {
        speed_mbps: speed.filter(|speed| *speed != 0 && *speed != SPEED_UNKNOWN),
        max_speed_mbps: best_speed(supported, peer),
        full_duplex: match settings.get(8) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
    }
}

/// The best of the modes that this port supports and, where the peer told, that the peer offered.
fn best_speed(supported: &[u8], peer: &[u8]) -> Option<u32> {
    let speeds = |wanted: &dyn Fn(usize) -> bool| {
        let modes = MODE_SPEEDS.iter().filter(|(first, last, _)| (*first..=*last).any(wanted));
        modes.map(|(_, _, speed)| *speed).max()
    };
    let common = speeds(&|bit| is_set(supported, bit) && is_set(peer, bit));
    common.or_else(|| speeds(&|bit| is_set(supported, bit)))
}

fn is_set(mask: &[u8], bit: usize) -> bool {
    let word = crate::netlink::u32_at(mask, bit / 32 * 4).unwrap_or_default();
    word >> (bit % 32) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A port that supports 10 to 1000BASE-T; two words a mask.
    fn settings(speed: u32, duplex: u8, peer: u32) -> Vec<u8> {
        let mut bytes = vec![0; SETTINGS_LEN + 24];
        bytes[4..8].copy_from_slice(&speed.to_ne_bytes());
        bytes[8] = duplex;
        bytes[MASK_WORDS_AT] = 2;
        bytes[48..52].copy_from_slice(&0x3f_u32.to_ne_bytes());
        bytes[64..68].copy_from_slice(&peer.to_ne_bytes());
        bytes
    }

    fn check(settings: &[u8], speed: Option<u32>, best: Option<u32>, full: Option<bool>) {
        let expected = Medium { speed_mbps: speed, max_speed_mbps: best, full_duplex: full };
        assert_eq!(read_settings(settings), expected);
    }

    #[test]
    fn a_gigabit_port_that_fell_back_to_100_still_names_1000_as_its_best() {
        check(&settings(100, 1, 0x3f), Some(100), Some(1000), Some(true));
    }

    #[test]
    fn a_peer_that_offers_only_100_lowers_the_best_speed() {
        check(&settings(100, 0, 0x0c), Some(100), Some(100), Some(false));
    }

    #[test]
    fn a_peer_that_did_not_negotiate_leaves_the_ports_own_best() {
        check(&settings(10, 0, 0), Some(10), Some(1000), Some(false));
    }

    #[test]
    fn an_unknown_speed_is_not_zero() {
        check(&settings(u32::MAX, 0xff, 0), None, Some(1000), None);
    }

    proptest! {
        #[test]
        fn any_settings_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_settings(&bytes);
        }
    }
}
