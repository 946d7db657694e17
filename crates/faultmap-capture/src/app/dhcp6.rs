//! DHCP messages for IPv6 (RFC 8415): the type, the transaction, and the options that say why a request was refused. Relayed messages are opened, a bounded number of
//! times. Pure; options are read up to the first that does not fit.

use std::net::Ipv6Addr;

/// Relays a message may have gone through before it is let go (RFC 8415 §7.6: HOP_COUNT_LIMIT is 8).
const MOST_RELAYS: u8 = 8;
/// Options read from one message.
const MOST_OPTIONS: usize = 64;
const RELAY_FORWARD: u8 = 12;
const RELAY_REPLY: u8 = 13;
const RELAY_MESSAGE: u16 = 9;
const STATUS: u16 = 13;
/// Fixed bytes before the options of an identity association: IA_NA, IA_TA, IA_PD; IAADDR, IAPREFIX.
const WITHIN: [(u16, usize); 5] = [(3, 12), (4, 4), (25, 12), (5, 24), (26, 25)];

/// A message of a client or a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dhcp6<'a> {
    /// The message type: 1 is SOLICIT, 7 REPLY.
    pub kind: u8,
    /// Chosen by the client; answers bear the same.
    pub transaction: u32,
    /// The client's address, where the message was relayed.
    pub peer: Option<Ipv6Addr>,
    /// The options as bytes.
    options: &'a [u8],
}

impl<'a> Dhcp6<'a> {
    /// Reads a UDP payload; `None` if it is no DHCPv6 message.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (mut bytes, mut peer) = (bytes, None);
        for _ in 0..=MOST_RELAYS {
            let (&kind, rest) = bytes.split_first()?;
            if !matches!(kind, RELAY_FORWARD | RELAY_REPLY) {
                let (transaction, options) = rest.split_at_checked(3)?;
                let transaction = transaction.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
                return (1..=11).contains(&kind).then_some(Self { kind, transaction, peer, options });
            }
            peer = rest.get(17..33)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
            bytes = options(rest.get(33..)?).find_map(|(number, data)| (number == RELAY_MESSAGE).then_some(data))?;
        }
        None
    }

    /// The first status that is no success, wherever it stands: of the message, of an association, of an address in it.
    #[must_use]
    pub fn refusal(&self) -> Option<(u16, &'a [u8])> {
        refusal(self.options, 3)
    }

    /// The name of the message type.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            1 => "SOLICIT",
            2 => "ADVERTISE",
            3 => "REQUEST",
            4 => "CONFIRM",
            5 => "RENEW",
            6 => "REBIND",
            7 => "REPLY",
            8 => "RELEASE",
            9 => "DECLINE",
            10 => "RECONFIGURE",
            _ => "INFORMATION-REQUEST",
        }
    }
}

/// The name of a status code (RFC 8415 §21.13).
#[must_use]
pub const fn status_name(code: u16) -> &'static str {
    match code {
        1 => "UnspecFail",
        2 => "NoAddrsAvail",
        3 => "NoBinding",
        4 => "NotOnLink",
        5 => "UseMulticast",
        6 => "NoPrefixAvail",
        _ => "an unknown status",
    }
}

fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [n0, n1, l0, l1, rest @ ..] = bytes else { return None };
        let data = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
        bytes = rest.get(data.len()..)?;
        Some((u16::from_be_bytes([*n0, *n1]), data))
    })
    .take(MOST_OPTIONS)
}

fn refusal(bytes: &[u8], depth: u8) -> Option<(u16, &[u8])> {
    let inner = depth.checked_sub(1)?;
    options(bytes).find_map(|(number, data)| match data {
        [c0, c1, words @ ..] if number == STATUS => Some((u16::from_be_bytes([*c0, *c1]), words)).filter(|(code, _)| *code != 0),
        _ => {
            let (_, fixed) = WITHIN.iter().find(|(kind, _)| *kind == number)?;
            refusal(data.get(*fixed..)?, inner)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply() -> Vec<u8> {
        let status = [&[0, 13, 0, 6, 0, 2][..], b"none"].concat();
        let association = [&[0, 3, 0, 22][..], &[0; 12], &status].concat();
        [&[7, 1, 2, 3][..], &association].concat()
    }

    #[test]
    fn the_status_of_an_association_is_found_in_a_relayed_message() {
        let reply = reply();
        let relayed = [&[RELAY_REPLY, 0][..], &[0; 16], &[0xfe; 16], &[0, 9, 0, reply.len() as u8], &reply].concat();
        for (bytes, peer) in [(&reply, None), (&relayed, Some(Ipv6Addr::from([0xfe; 16])))] {
            let message = Dhcp6::parse(bytes).unwrap();
            assert_eq!((message.kind_name(), message.transaction, message.peer), ("REPLY", 0x01_02_03, peer));
            assert_eq!(message.refusal(), Some((2, &b"none"[..])));
        }
        assert_eq!(Dhcp6::parse(&[99, 0, 0, 0]), None);
    }

    #[test]
    fn relays_within_relays_end() {
        let mut bytes = reply();
        for _ in 0..20 {
            let len = (bytes.len() as u16).to_be_bytes();
            bytes = [&[RELAY_FORWARD, 0][..], &[0; 32], &[0, 9], &len, &bytes].concat();
        }
        assert_eq!(Dhcp6::parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0_u8..14) {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = Dhcp6::parse(&bytes).and_then(|message| message.refusal().map(|(code, _)| code));
        }
    }
}
