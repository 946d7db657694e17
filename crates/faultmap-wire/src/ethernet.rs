//! Ethernet II frames with up to two VLAN tags (IEEE 802.3, 802.1Q, 802.1ad). The frame check sequence is the
//! hardware's and never seen here.

use std::fmt;

use crate::error::WireError;
use crate::read::split;

/// Bytes of an untagged header.
pub const HEADER_LEN: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of a VLAN tag (802.1Q).
pub const VLAN: u16 = 0x8100;
/// EtherType of an outer VLAN tag (802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

const NAME: &str = "Ethernet";

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Broadcast or multicast: the group bit is set.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The tag's EtherType, [`VLAN`] or [`SERVICE_VLAN`].
    pub ethertype: u16,
    /// Priority (3 bits), drop eligibility (1), VLAN id (12).
    pub control: u16,
}

impl Vlan {
    /// The VLAN id.
    pub fn id(self) -> u16 {
        self.control & 0x0fff
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// VLAN tags, outer first; a second tag implies a first.
    pub vlans: [Option<Vlan>; 2],
    /// What the payload is; below 1536 it is a length (802.3).
    pub ethertype: u16,
}

impl Ethernet {
    /// An untagged header.
    pub fn new(dst: Mac, src: Mac, ethertype: u16) -> Ethernet {
        Ethernet { dst, src, vlans: [None; 2], ethertype }
    }

    /// The header and what follows it, padding included.
    pub fn parse(bytes: &[u8]) -> Result<(Ethernet, &[u8]), WireError> {
        let (dst, bytes) = split::<6>(NAME, bytes)?;
        let (src, bytes) = split::<6>(NAME, bytes)?;
        let (ethertype, mut payload) = split::<2>(NAME, bytes)?;
        let mut frame = Ethernet::new(Mac(*dst), Mac(*src), u16::from_be_bytes(*ethertype));
        for slot in &mut frame.vlans {
            if frame.ethertype != VLAN && frame.ethertype != SERVICE_VLAN {
                break;
            }
            let ([c0, c1, t0, t1], rest) = split::<4>("VLAN tag", payload)?;
            *slot = Some(Vlan { ethertype: frame.ethertype, control: u16::from_be_bytes([*c0, *c1]) });
            frame.ethertype = u16::from_be_bytes([*t0, *t1]);
            payload = rest;
        }
        Ok((frame, payload))
    }

    /// The frame with its payload; short frames are not padded.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + 8 + payload.len());
        bytes.extend(self.dst.0);
        bytes.extend(self.src.0);
        for vlan in self.vlans.iter().flatten() {
            bytes.extend(vlan.ethertype.to_be_bytes());
            bytes.extend(vlan.control.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Bytes the header takes.
    pub fn len(&self) -> usize {
        HEADER_LEN + 4 * self.vlans.iter().flatten().count()
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The header of an answer: addresses exchanged, tags kept.
    #[must_use]
    pub fn reply(&self) -> Ethernet {
        Ethernet { dst: self.src, src: self.dst, ..*self }
    }
}
