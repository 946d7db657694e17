//! The protection of one record (RFC 8446 §5.2, RFC 5288, RFC 7905): a sealed record and its number in, the bytes out, if the tag verifies.

use ring::aead::{Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Length of the tag of every cipher that is read here.
pub(crate) const TAG: usize = 16;
/// The part of a nonce that stands in each record of AES-GCM in TLS 1.2.
const EXPLICIT: usize = 8;

/// How the records of a connection are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealedAs {
    /// TLS 1.3: the true type stands within.
    Modern,
    /// TLS 1.2, AES-GCM: a part of the nonce stands in the record.
    Explicit,
    /// TLS 1.2, ChaCha20-Poly1305.
    Implicit,
}

impl SealedAs {
    /// Bytes that sealing adds to a record's content.
    pub(crate) const fn overhead(self) -> usize {
        match self {
            Self::Modern => 1 + TAG,
            Self::Explicit => EXPLICIT + TAG,
            Self::Implicit => TAG,
        }
    }
}

/// Opens the records of one direction under one key.
pub(crate) struct Opener {
    key: LessSafeKey,
    /// The first bytes of every nonce, or all of it before the record's number is mixed in.
    iv: Zeroizing<[u8; 12]>,
    sealed_as: SealedAs,
}

impl Opener {
    /// `None` if the key is not of the cipher's length.
    pub(crate) fn new(cipher: &'static Algorithm, key: &[u8], iv: &[u8], sealed_as: SealedAs) -> Option<Self> {
        let mut kept = Zeroizing::new([0; 12]);
        kept.get_mut(..iv.len())?.copy_from_slice(iv);
        Some(Self { key: LessSafeKey::new(UnboundKey::new(cipher, key).ok()?), iv: kept, sealed_as })
    }

    /// Opens the record with this header and body that is the `number`th under the key: its true type, and its content in `out`. `None` if the tag does
    /// not verify; then `out` is empty.
    pub(crate) fn open(&self, number: u64, header: [u8; 5], body: &[u8], out: &mut Vec<u8>) -> Option<u8> {
        out.clear();
        let sealed = if self.sealed_as == SealedAs::Explicit { body.get(EXPLICIT..)? } else { body };
        let len = sealed.len().checked_sub(TAG)?;
        out.extend_from_slice(sealed);
        let nonce = self.nonce(number, body)?;
        let opened = match self.sealed_as {
            SealedAs::Modern => self.key.open_in_place(nonce, Aad::from(header), out).is_ok(),
            SealedAs::Explicit | SealedAs::Implicit => {
                let mut aad = [0; 13];
                aad[..8].copy_from_slice(&number.to_be_bytes());
                aad[8..11].copy_from_slice(&header[..3]);
                aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
                self.key.open_in_place(nonce, Aad::from(aad), out).is_ok()
            }
        };
        if !opened {
            out.clear();
            return None;
        }
        out.truncate(len);
        if self.sealed_as != SealedAs::Modern {
            return Some(header[0]);
        }
        // Behind the content stands its type, and zeros behind that.
        let at = out.iter().rposition(|byte| *byte != 0)?;
        let kind = out.get(at).copied();
        out.truncate(at);
        kind
    }

    fn nonce(&self, number: u64, body: &[u8]) -> Option<Nonce> {
        let mut nonce = *self.iv;
        if self.sealed_as == SealedAs::Explicit {
            nonce[4..].copy_from_slice(body.get(..EXPLICIT)?);
        } else {
            nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        }
        Some(Nonce::assume_unique_for_key(nonce))
    }
}
