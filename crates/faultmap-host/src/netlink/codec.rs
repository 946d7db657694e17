//! Netlink's framing: messages within a datagram, attributes within a message, integers within an attribute.
//! Pure; whatever the bytes, it ends and never panics. What is cut short is left out.

use std::net::IpAddr;

/// Length of `struct nlmsghdr`.
pub(super) const HEADER_LEN: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The two upper bits of an attribute's type are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// One netlink message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Message type, such as `RTM_NEWLINK`.
    pub(crate) kind: u16,
    /// `NLM_F_*`.
    pub(crate) flags: u16,
    /// The request's sequence number; 0 in multicast messages.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind a family header of `header_len` bytes.
    pub(crate) fn attributes(&self, header_len: usize) -> Attributes<'a> {
        Attributes::new(self.body.get(header_len..).unwrap_or_default())
    }
}

/// The messages of one datagram.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let body = rest.get(HEADER_LEN..length)?;
        let message = Message { kind: u16_at(rest, 4)?, flags: u16_at(rest, 6)?, sequence: u32_at(rest, 8)?, body };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The (negative) errno at the front of `NLMSG_ERROR` and `NLMSG_DONE`; 0 when there is none.
pub(super) fn error_code(message: &Message<'_>) -> i32 {
    u32_at(message.body, 0).map_or(0, u32::cast_signed)
}

/// The attributes (`struct nlattr`) in a run of bytes: type and value.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads from the first byte of the first attribute.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = self.rest.get(ATTRIBUTE_HEADER_LEN..length)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The body of a request: a family header and attributes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Starts with the family header.
    pub(crate) fn new(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    /// Appends one attribute.
    #[must_use]
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    /// Appends an address, in network order.
    #[must_use]
    pub(crate) fn with_address(self, kind: u16, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.with(kind, &v4.octets()),
            IpAddr::V6(v6) => self.with(kind, &v6.octets()),
        }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The byte at `offset`.
pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The native-endian integer at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_ne_bytes)
}

/// The big-endian integer at `offset`.
pub(crate) fn be_u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_be_bytes)
}

/// The native-endian integer at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_ne_bytes)
}

/// The native-endian integer at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_ne_bytes)
}

/// A NUL-terminated string.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// `NLMSG_ALIGN` and `NLA_ALIGN`: both 4.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            for message in messages(&bytes) {
                let _ = error_code(&message);
                for (_, value) in message.attributes(4) {
                    let _ = (text(value), u64_at(value, 0), Attributes::new(value).count());
                }
            }
        }

        #[test]
        fn attributes_written_are_the_attributes_read(
            wanted in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40)), 0..8)
        ) {
            let body = wanted.iter().fold(Body::new(&[]), |body, (kind, value)| body.with(*kind, value));
            let read: Vec<_> = Attributes::new(body.bytes()).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, wanted);
        }
    }

    #[test]
    fn a_message_that_claims_more_than_arrived_is_left_out() {
        let mut bytes = 64_u32.to_ne_bytes().to_vec();
        bytes.resize(20, 0);
        assert_eq!(messages(&bytes).count(), 0);
    }

    #[test]
    fn a_zero_length_attribute_does_not_loop() {
        assert_eq!(Attributes::new(&[0; 16]).count(), 0);
    }
}
