//! An address with a prefix length, as routes and interface addresses are written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// `10.0.1.2/24` or `fd00:1::2/64`; a bare address means the full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    /// The address as written, host bits included.
    pub addr: IpAddr,
    /// Leading bits that matter.
    pub len: u8,
}

impl Prefix {
    /// Every address of one family, the destination of a default route.
    pub fn everything_like(addr: IpAddr) -> Prefix {
        let addr = match addr {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Prefix { addr, len: 0 }
    }

    /// One address alone.
    pub fn host(addr: IpAddr) -> Prefix {
        Prefix { addr, len: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The address with its host bits cleared.
    pub fn network(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && Prefix { addr, len: self.len }.network() == self.network()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let bad = || format!("{text:?} is not ADDRESS/LENGTH");
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let whole = Prefix::host(addr.parse().map_err(|_| bad())?);
        let len = len.unwrap_or(whole.len);
        if len > whole.len { Err(bad()) } else { Ok(Prefix { len, ..whole }) }
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Prefix, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, addr: &str, inside: bool) {
        let prefix: Prefix = prefix.parse().unwrap();
        assert_eq!(prefix.contains(addr.parse().unwrap()), inside, "{prefix} {addr}");
    }

    #[test]
    fn a_prefix_holds_the_addresses_that_share_its_leading_bits() {
        check("10.0.1.7/24", "10.0.1.200", true);
        check("10.0.1.0/24", "10.0.2.1", false);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("0.0.0.0/0", "::1", false);
        check("fd00:1::/64", "fd00:1::99", true);
        check("fd00:1::/64", "fd00:2::99", false);
        check("::/0", "fd00::1", true);
        check("192.0.2.1", "192.0.2.1", true);
    }

    #[test]
    fn a_prefix_longer_than_its_family_is_refused() {
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
        assert!("::/129".parse::<Prefix>().is_err());
        assert!("10.0.0.0/".parse::<Prefix>().is_err());
    }
}
