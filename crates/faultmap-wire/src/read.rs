//! Fixed-size reads that cannot run past the end.

use crate::error::WireError;

/// The first `N` bytes as an array and the rest.
pub(crate) fn split<'a, const N: usize>(header: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8; N], &'a [u8]), WireError> {
    bytes.split_first_chunk::<N>().ok_or(WireError::Truncated { header, need: N, have: bytes.len() })
}

/// The first `n` bytes and the rest.
pub(crate) fn split_at<'a>(header: &'static str, bytes: &'a [u8], n: usize) -> Result<(&'a [u8], &'a [u8]), WireError> {
    bytes.split_at_checked(n).ok_or(WireError::Truncated { header, need: n, have: bytes.len() })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))
}

/// A length field's value; emitters that would overflow it say so by the largest value rather than wrap.
pub(crate) fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

pub(crate) fn set16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(slot) = bytes.get_mut(at..at + 2) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
}
