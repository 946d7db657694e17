//! DHCP messages for IPv4 (RFC 2131, RFC 2132): the fixed part and the options. Pure; options are read up to the first that does not fit.

use faultmap_wire::Mac;
use std::net::Ipv4Addr;

/// Bytes before the options: BOOTP's fields and the magic cookie.
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Options read from one message.
const MOST_OPTIONS: usize = 128;

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dhcp<'a> {
    /// 1 from a client, 2 from a server.
    pub op: u8,
    /// Chosen by the client; answers bear the same.
    pub transaction: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The client's address, if it has one.
    pub client: Ipv4Addr,
    /// The address offered or given.
    pub yours: Ipv4Addr,
    /// The relay that the message went through.
    pub relay: Ipv4Addr,
    /// The client's MAC address.
    pub mac: Mac,
    /// The options as bytes; see [`Dhcp::options`].
    pub options: &'a [u8],
}

impl<'a> Dhcp<'a> {
    /// Reads a UDP payload; `None` if it is no DHCP message.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Dhcp<'a>> {
        let (fixed, options) = bytes.split_at_checked(OPTIONS_AT)?;
        let word = |at: usize| fixed.get(at..)?.first_chunk::<4>().copied();
        let mac = fixed.get(28..)?.first_chunk::<6>().copied()?;
        let op = *fixed.first()?;
        if !matches!(op, 1 | 2) || word(236)? != COOKIE {
            return None;
        }
        Some(Dhcp {
            op,
            transaction: u32::from_be_bytes(word(4)?),
            seconds: u16::from_be_bytes(*fixed.get(8..)?.first_chunk::<2>()?),
            client: word(12)?.into(),
            yours: word(16)?.into(),
            relay: word(24)?.into(),
            mac: Mac(mac),
            options,
        })
    }

    /// Number, place after the start of the options, and data of each option.
    pub fn options(&self) -> impl Iterator<Item = (u8, usize, &'a [u8])> {
        let bytes = self.options;
        let mut at = 0;
        std::iter::from_fn(move || {
            while bytes.get(at) == Some(&0) {
                at += 1;
            }
            let kind = *bytes.get(at).filter(|kind| **kind != 255)?;
            let len = usize::from(*bytes.get(at + 1)?);
            let data = bytes.get(at + 2..at + 2 + len)?;
            let start = at;
            at += 2 + len;
            Some((kind, start, data))
        })
        .take(MOST_OPTIONS)
    }

    /// The message type, option 53.
    #[must_use]
    pub fn kind(&self) -> Option<u8> {
        self.options().find_map(|(kind, _, data)| (kind == 53).then(|| data.first().copied()).flatten())
    }

    /// The name of the message type.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind() {
            Some(1) => "DISCOVER",
            Some(2) => "OFFER",
            Some(3) => "REQUEST",
            Some(4) => "DECLINE",
            Some(5) => "ACK",
            Some(6) => "NAK",
            Some(7) => "RELEASE",
            Some(8) => "INFORM",
            _ => "BOOTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer() -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS_AT];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
        bytes[16..20].copy_from_slice(&[10, 0, 0, 9]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        bytes[236..].copy_from_slice(&COOKIE);
        bytes.extend([53, 1, 2, 0, 0, 54, 4, 10, 0, 0, 1, 255, 9, 9]);
        bytes
    }

    #[test]
    fn an_offer_is_read() {
        let bytes = offer();
        let offer = Dhcp::parse(&bytes).unwrap();
        assert_eq!((offer.kind_name(), offer.transaction, offer.yours), ("OFFER", 0x0102_0304, Ipv4Addr::new(10, 0, 0, 9)));
        let options: Vec<_> = offer.options().collect();
        assert_eq!(options, [(53, 0, &[2][..]), (54, 5, &[10, 0, 0, 1][..])]);
        assert_eq!(Dhcp::parse(&bytes[..239]), None);
    }

    proptest! {
        #[test]
        fn no_options_make_it_panic(options in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = [&offer()[..OPTIONS_AT], &options].concat();
            prop_assert!(Dhcp::parse(&bytes).unwrap().options().all(|(_, at, data)| at + 2 + data.len() <= options.len()));
        }
    }
}
