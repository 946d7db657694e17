//! The Internet checksum (RFC 1071), its pseudo headers (RFC 9293 §3.1, RFC 8200 §8.1) and its update in place
//! (RFC 1624).

use std::net::IpAddr;

/// A running ones' complement sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian 16-bit words. Only the last piece of a message may have an odd length.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Sum {
        // The sum does not depend on the order of bytes (RFC 1071 §2 B), nor on the width of what is added: four bytes at a time in this machine's
        // order, turned round once in the end. 2^32 of them cannot overflow.
        let (quads, rest) = bytes.as_chunks::<4>();
        let native = quads.iter().fold(0_u64, |sum, quad| sum.wrapping_add(u64::from(u32::from_ne_bytes(*quad))));
        let whole = halved(native.to_be());
        let (pairs, rest) = rest.as_chunks::<2>();
        let pair = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
        let odd = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
        Sum(self.0 + whole + pair + odd)
    }

    /// Adds one word.
    #[must_use]
    pub fn with_word(self, word: u16) -> Sum {
        Sum(self.0 + u64::from(word))
    }

    /// Adds two words, the upper one first.
    fn with_quad(self, quad: u32) -> Sum {
        Sum(self.0 + u64::from(quad))
    }

    /// The checksum: the folded sum's complement.
    pub fn finish(self) -> u16 {
        !self.fold()
    }

    fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

/// The checksum of bytes whose checksum field is zero. Over bytes with a right checksum it is zero.
pub fn of(bytes: &[u8]) -> u16 {
    Sum::default().with(bytes).finish()
}

/// The sum of the pseudo header that TCP, UDP and ICMPv6 are protected with.
pub fn pseudo_header(src: IpAddr, dst: IpAddr, proto: u8, len: usize) -> Sum {
    let sum = Sum::default().with_word(u16::from(proto)).with_quad(len as u32);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum.with_quad(src.into()).with_quad(dst.into()),
        (src, dst) => sum.with(&to_v6(src)).with(&to_v6(dst)),
    }
}

/// The checksum of a TCP, UDP or ICMPv6 message whose checksum field is zero; over a right one it is zero.
pub fn of_transport(src: IpAddr, dst: IpAddr, proto: u8, message: &[u8]) -> u16 {
    pseudo_header(src, dst, proto, message.len()).with(message).finish()
}

/// The checksum after some words it covers changed from `old` to `new` (RFC 1624, equation 3).
/// Both have an even length and stand at an even offset.
pub fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let removed = Sum::default().with(old).fold();
    Sum::default().with_word(!checksum).with_word(!removed).with(new).finish()
}

/// The upper half added to the lower one: the same ones' complement sum in fewer bits.
fn halved(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

fn to_v6(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of(&bytes), !0xddf2);
    }

    proptest! {
        #[test]
        fn a_message_with_its_checksum_in_place_sums_to_zero(mut bytes in prop::collection::vec(any::<u8>(), 2..64)) {
            bytes[..2].fill(0);
            let sum = of(&bytes);
            bytes[..2].copy_from_slice(&sum.to_be_bytes());
            prop_assert_eq!(of(&bytes), 0);
        }

        #[test]
        fn many_bytes_at_a_time_sum_up_like_pairs(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let pairs = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            prop_assert_eq!(Sum::default().with(&bytes).finish(), pairs.fold(Sum::default(), Sum::with_word).finish());
        }

        #[test]
        fn an_updated_checksum_is_as_good_as_a_new_one(
            mut bytes in prop::collection::vec(any::<u8>(), 8..64), new in any::<[u8; 4]>(),
        ) {
            // All-zero data is the one case where the two differ (RFC 1624 §3), and no IP packet is all zero.
            bytes[0] = 0x45;
            bytes[2..4].fill(0);
            let before = of(&bytes);
            let old: [u8; 4] = bytes[4..8].try_into().unwrap();
            bytes[4..8].copy_from_slice(&new);
            prop_assert_eq!(updated(before, &old, &new), of(&bytes));
        }
    }
}
