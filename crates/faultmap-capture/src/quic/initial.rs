//! The protection of Initial packets (RFC 9001 §5, RFC 9369 §3.3): keys from the connection id that the client chose first, header protection off, payload
//! opened. It guards against accidents, not against readers; that is why a capture can show it.

use super::{Kind, Long, V1, V2};
use crate::flow::Side;
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

const SAMPLE_LEN: usize = 16;
/// An Initial's header before the packet number is at most this: ids, lengths, and a token of a few hundred bytes.
const MOST_HEADER: usize = 1500;

/// The keys of both sides' Initial packets.
pub struct Initial {
    client: Keys,
    server: Keys,
}

struct Keys {
    payload: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

/// An Initial packet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The packet number, as the header holds it: its last one to four bytes.
    pub number: u32,
    /// Bytes of the packet number.
    pub number_len: usize,
    /// The frames; see [`super::Frames`].
    pub frames: Vec<u8>,
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl std::fmt::Debug for Initial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Initial")
    }
}

impl Initial {
    /// The keys that follow from the destination connection id of the client's first packet, or of its first after a Retry. `None` for a version whose salt is
    /// not known.
    #[must_use]
    pub fn new(version: u32, first_dcid: &[u8]) -> Option<Initial> {
        let secret = Salt::new(HKDF_SHA256, salt(version)?).extract(first_dcid);
        Some(Initial { client: keys(&secret, b"client in", version)?, server: keys(&secret, b"server in", version)? })
    }

    /// Opens an Initial packet of one side. `None` if it is cut, or not protected by these keys.
    #[must_use]
    pub fn open(&self, packet: &Long<'_>, from: Side) -> Option<Opened> {
        if packet.kind != Kind::Initial || packet.cut || packet.number_at > MOST_HEADER {
            return None;
        }
        let keys = match from {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        let sample_at = packet.number_at + 4;
        let sample = packet.bytes.get(sample_at..sample_at + SAMPLE_LEN)?;
        let mask = keys.header.new_mask(sample).ok()?;
        let mut bytes = packet.bytes.to_vec();
        let first = bytes.first_mut()?;
        *first ^= mask[0] & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let mut number = 0_u32;
        for (byte, mask) in bytes.get_mut(packet.number_at..packet.number_at + number_len)?.iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            number = (number << 8) | u32::from(*byte);
        }
        let (header, payload) = bytes.split_at_mut_checked(packet.number_at + number_len)?;
        let opened = keys.payload.open_in_place(nonce(keys.iv, number), Aad::from(&*header), payload).ok()?;
        Some(Opened { number, number_len, frames: opened.to_vec() })
    }
}

/// The full packet number is needed; the first few of a connection fit into what the header shows (RFC 9000 A.3), and Initials come first.
fn nonce(iv: [u8; 12], number: u32) -> Nonce {
    let mut bytes = iv;
    for (byte, number) in bytes.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= number;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// RFC 9001 §5.2, RFC 9369 §3.3.1, and the last drafts that were deployed.
fn salt(version: u32) -> Option<&'static [u8]> {
    const FINAL: [u8; 20] =
        [0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a];
    const SECOND: [u8; 20] =
        [0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9];
    const DRAFT_29: [u8; 20] =
        [0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99];
    const DRAFT_23: [u8; 20] =
        [0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02];
    match version {
        V1 | 0xff00_0021 | 0xff00_0022 => Some(&FINAL),
        V2 => Some(&SECOND),
        0xff00_001d..=0xff00_0020 => Some(&DRAFT_29),
        0xff00_0017..=0xff00_001c => Some(&DRAFT_23),
        _ => None,
    }
}

fn keys(secret: &Prk, side: &[u8], version: u32) -> Option<Keys> {
    let labels: [&[u8]; 3] = match version {
        V2 => [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"],
        _ => [b"quic key", b"quic iv", b"quic hp"],
    };
    let mut traffic = [0; 32];
    expand(secret, side, &mut traffic)?;
    let traffic = Prk::new_less_safe(HKDF_SHA256, &traffic);
    let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
    expand(&traffic, labels[0], &mut key)?;
    expand(&traffic, labels[1], &mut iv)?;
    expand(&traffic, labels[2], &mut header)?;
    Some(Keys {
        payload: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
        iv,
        header: HeaderProtectionKey::new(&AES_128, &header).ok()?,
    })
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand(secret: &Prk, label: &[u8], out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let prefix: &[u8] = b"tls13 ";
    let label_len = [u8::try_from(prefix.len() + label.len()).ok()?];
    secret.expand(&[&len, &label_len, prefix, label, &[0]], Len(out.len())).ok()?.fill(out).ok()
}

#[cfg(test)]
pub(crate) mod testkit {
    //! What only tests need: the other direction.

    use super::*;

    /// Protects a packet: `header` ends with the packet number.
    pub(crate) fn protect(initial: &Initial, from: Side, header: &[u8], number_len: usize, frames: &[u8]) -> Vec<u8> {
        let keys = match from {
            Side::Client => &initial.client,
            Side::Server => &initial.server,
        };
        let number_at = header.len() - number_len;
        let number = header[number_at..].iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        let mut payload = frames.to_vec();
        keys.payload.seal_in_place_append_tag(nonce(keys.iv, number), Aad::from(header), &mut payload).unwrap();
        let mut packet = [header, &payload].concat();
        let mask = keys.header.new_mask(&packet[number_at + 4..number_at + 20]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..number_at + number_len].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }
}
