//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use crate::error::WireError;
use crate::ethernet::Mac;
use crate::read::split;

/// Operation: who has this address?
pub const REQUEST: u16 = 1;
/// Operation: I have.
pub const REPLY: u16 = 2;

const NAME: &str = "ARP";
/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// An ARP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// [`REQUEST`] or [`REPLY`].
    pub operation: u16,
    /// Who speaks.
    pub sender_mac: Mac,
    /// The address it claims; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Who is spoken to; zero in a request.
    pub target_mac: Mac,
    /// The address asked for.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads a message; trailing padding is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Arp, WireError> {
        let (kind, bytes) = split::<6>(NAME, bytes)?;
        if *kind != ETHERNET_IPV4 {
            return Err(WireError::Malformed { header: NAME, reason: "not IPv4 over Ethernet" });
        }
        let (operation, bytes) = split::<2>(NAME, bytes)?;
        let (sender_mac, bytes) = split::<6>(NAME, bytes)?;
        let (sender_ip, bytes) = split::<4>(NAME, bytes)?;
        let (target_mac, bytes) = split::<6>(NAME, bytes)?;
        let (target_ip, _) = split::<4>(NAME, bytes)?;
        Ok(Arp {
            operation: u16::from_be_bytes(*operation),
            sender_mac: Mac(*sender_mac),
            sender_ip: Ipv4Addr::from(*sender_ip),
            target_mac: Mac(*target_mac),
            target_ip: Ipv4Addr::from(*target_ip),
        })
    }

    /// The message's 28 bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(ETHERNET_IPV4);
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(self.sender_mac.0);
        bytes.extend(self.sender_ip.octets());
        bytes.extend(self.target_mac.0);
        bytes.extend(self.target_ip.octets());
        bytes
    }

    /// The announcement a station broadcasts when it takes an address over (gratuitous ARP, RFC 5227 §3).
    pub fn announcement(mac: Mac, ip: Ipv4Addr) -> Arp {
        Arp { operation: REQUEST, sender_mac: mac, sender_ip: ip, target_mac: Mac::default(), target_ip: ip }
    }

    /// Whether the message announces its sender's own address.
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip
    }
}
