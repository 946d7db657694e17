//! Finds a GOAWAY frame (RFC 9113 6.8) among the bytes that a peer sent last. Reads bytes only.

use crate::recorder::printable;

/// Type of a GOAWAY frame.
const GOAWAY: u8 = 7;
/// Length of a frame's header.
const HEADER: usize = 9;
/// Characters of the debug data that are kept.
const MOST: usize = 64;

/// `GOAWAY NO_ERROR`, with the debug data where there is some; `None` if the bytes, read from a frame's start, hold none.
pub(crate) fn goaway(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    // Each frame is 9 bytes at least, and the bytes are few.
    loop {
        let (header, after) = rest.split_at_checked(HEADER)?;
        let length = header.iter().take(3).fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let kind = header.get(3).copied()?;
        let payload = after.get(..length).unwrap_or(after);
        if kind == GOAWAY {
            let code = payload.get(4..8)?.first_chunk::<4>().map(|code| u32::from_be_bytes(*code))?;
            let debug = payload.get(8..).unwrap_or_default();
            let debug = if debug.is_empty() { String::new() } else { format!(" {}", printable(debug, MOST)) };
            return Some(format!("GOAWAY {}{debug}", name(code)));
        }
        rest = after.get(length..)?;
    }
}

/// RFC 9113 7.
fn name(code: u32) -> String {
    format!("{:?}", h2::Reason::from(code))
}

#[cfg(test)]
mod tests {
    use super::goaway;
    use proptest::prelude::*;

    #[test]
    fn a_goaway_behind_another_frame_is_found_with_its_reason_and_its_words() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let away = [&[0, 0, 22, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 11][..], b"too_many_pings"].concat();
        assert_eq!(goaway(&[&ping[..], &away].concat()).as_deref(), Some("GOAWAY ENHANCE_YOUR_CALM too_many_pings"));
        assert_eq!(goaway(&ping), None);
        assert_eq!(goaway(b"HTTP/1.1 408 Request Timeout\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = goaway(&bytes);
        }
    }
}
