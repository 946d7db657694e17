//! Whether a header block is made of whole fields (RFC 7541 6): looked at before the decoder, which takes a size update that breaks off for granted. What
//! the fields say is the decoder's.

/// Octets of an integer that the decoder reads (RFC 7541 5.1).
const MOST_OCTETS: usize = 5;

/// Every integer and every string of the block ends within it.
pub(super) fn is_whole(mut block: &[u8]) -> bool {
    while let Some(first) = block.first() {
        let rest = match first {
            0x80.. => integer(block, 7).map(|(_, rest)| rest),
            0x40..=0x7f => literal(block, 6),
            0x20..=0x3f => integer(block, 5).map(|(_, rest)| rest),
            0x00..=0x1f => literal(block, 4),
        };
        let Some(rest) = rest else { return false };
        block = rest;
    }
    true
}

/// A name, by number or as a string, and a value.
fn literal(block: &[u8], prefix: u8) -> Option<&[u8]> {
    let (name, rest) = integer(block, prefix)?;
    let rest = if name == 0 { string(rest)? } else { rest };
    string(rest)
}

fn string(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = integer(bytes, 7)?;
    rest.get(usize::try_from(len).ok()?..)
}

/// An integer whose first bits share an octet with what came before.
fn integer(bytes: &[u8], prefix: u8) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let mask = (1_u16 << prefix) - 1;
    let start = u64::from(u16::from(*first) & mask);
    if start < u64::from(mask) {
        return Some((start, rest));
    }
    let last = rest.iter().take(MOST_OCTETS - 1).position(|octet| octet & 0x80 == 0)?;
    let (octets, rest) = rest.split_at_checked(last + 1)?;
    let value = octets.iter().rev().fold(0_u64, |value, octet| (value << 7) | u64::from(octet & 0x7f));
    Some((start + value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_update_that_breaks_off_is_no_whole_block() {
        for (block, whole) in [
            (&[][..], true),
            (&[0x82], true),
            (&[0x3f, 0xe1, 0x1f], true),
            (&[0x3f], false),
            (&[0x82, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], false),
            (&[0x40, 0x01, b'a', 0x01, b'b'], true),
            (&[0x40, 0x01, b'a', 0x02, b'b'], false),
            (&[0xff], false),
        ] {
            assert_eq!(is_whole(block), whole, "{block:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_an_encoder_writes_is_whole(fields in prop::collection::vec(("[a-z-]{1,20}", "[ -~]{0,200}"), 0..20)) {
            let block = fluke_hpack::Encoder::new().encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            prop_assert!(is_whole(&block));
        }

        #[test]
        fn no_whole_block_makes_the_decoder_panic(block in prop::collection::vec(any::<u8>(), 0..60)) {
            if is_whole(&block) {
                let _ = fluke_hpack::Decoder::new().decode(&block);
            }
        }
    }
}
