//! From the secrets of a key log to keys: HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7), and the key block of TLS 1.2 (RFC 5246 §5, §6.3).

use super::protect::{Opener, SealedAs};
use super::{LONGEST_SECRET, Random, Secret};
use ring::aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

/// What a cipher suite means here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    cipher: &'static Algorithm,
    long_hash: bool,
    /// How its records are sealed.
    pub(crate) sealed_as: SealedAs,
}

impl Suite {
    /// A suite by its number (IANA), `None` for those that are not read: all without authenticated encryption, and CCM.
    pub(crate) fn of(number: u16) -> Option<Self> {
        use SealedAs::{Explicit, Implicit, Modern};
        let (cipher, long_hash, sealed_as) = match number {
            0x1301 => (&AES_128_GCM, false, Modern),
            0x1302 => (&AES_256_GCM, true, Modern),
            0x1303 => (&CHACHA20_POLY1305, false, Modern),
            // RSA, DHE, PSK, ECDHE, and ECDHE with PSK: the master secret is the same for all (RFC 5288, 5289, 5487, 8442).
            0x009c | 0x009e | 0x00a8 | 0x00aa | 0xc02b | 0xc02f | 0xd001 => (&AES_128_GCM, false, Explicit),
            0x009d | 0x009f | 0x00a9 | 0x00ab | 0xc02c | 0xc030 | 0xd002 => (&AES_256_GCM, true, Explicit),
            // RFC 7905.
            0xcca8..=0xccad => (&CHACHA20_POLY1305, false, Implicit),
            _ => return None,
        };
        Some(Self { cipher, long_hash, sealed_as })
    }

    const fn hash_len(self) -> usize {
        if self.long_hash { 48 } else { 32 }
    }
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// A traffic secret of one direction in TLS 1.3.
pub(crate) type Traffic = Secret;

/// The keys of a traffic secret; `None` if it is not of the suite's hash.
pub(crate) fn opener(suite: Suite, secret: &Traffic) -> Option<Opener> {
    let mut key = Zeroizing::new([0; 32]);
    let mut iv = Zeroizing::new([0; 12]);
    let key = key.get_mut(..suite.cipher.key_len())?;
    expand(suite, secret, b"key", key)?;
    expand(suite, secret, b"iv", &mut iv[..])?;
    Opener::new(suite.cipher, key, &iv[..], suite.sealed_as)
}

/// The traffic secret after a KeyUpdate (RFC 8446 §7.2).
pub(crate) fn next_traffic(suite: Suite, secret: &Traffic) -> Option<Traffic> {
    let mut next = Zeroizing::new([0; LONGEST_SECRET]);
    let next = next.get_mut(..suite.hash_len())?;
    expand(suite, secret, b"traffic upd", next)?;
    Secret::new(next)
}

fn expand(suite: Suite, secret: &Secret, label: &[u8], out: &mut [u8]) -> Option<()> {
    if secret.as_bytes().len() != suite.hash_len() {
        return None;
    }
    let hash = if suite.long_hash { hkdf::HKDF_SHA384 } else { hkdf::HKDF_SHA256 };
    let prk = hkdf::Prk::new_less_safe(hash, secret.as_bytes());
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let prefix: &[u8] = b"tls13 ";
    let label_len = [u8::try_from(prefix.len() + label.len()).ok()?];
    prk.expand(&[&len, &label_len, prefix, label, &[0]], Len(out.len())).ok()?.fill(out).ok()
}

/// The keys of both directions, the client's first, from the master secret of TLS 1.2.
pub(crate) fn openers_of_master(suite: Suite, master: &Secret, client: &Random, server: &Random) -> Option<[Opener; 2]> {
    let (key, iv) = (suite.cipher.key_len(), if suite.sealed_as == SealedAs::Explicit { 4 } else { 12 });
    // Two keys, two nonces; no keys of a MAC.
    let mut block = Zeroizing::new([0; 2 * (32 + 12)]);
    let hash = if suite.long_hash { hmac::HMAC_SHA384 } else { hmac::HMAC_SHA256 };
    p_hash(&hmac::Key::new(hash, master.as_bytes()), &[b"key expansion", server, client], block.get_mut(..2 * (key + iv))?);
    let part = |at: usize, len: usize| block.get(at..at + len);
    let of = |side: usize| Opener::new(suite.cipher, part(side * key, key)?, part(2 * key + side * iv, iv)?, suite.sealed_as);
    Some([of(0)?, of(1)?])
}

/// P_hash (RFC 5246 §5).
fn p_hash(key: &hmac::Key, seed: &[&[u8]], out: &mut [u8]) {
    let sign = |before: &[u8]| {
        let mut context = hmac::Context::with_key(key);
        context.update(before);
        seed.iter().for_each(|part| context.update(part));
        context.sign()
    };
    let mut a = sign(&[]);
    for place in out.chunks_mut(key.algorithm().digest_algorithm().output_len()) {
        let block = sign(a.as_ref());
        place.copy_from_slice(block.as_ref().get(..place.len()).unwrap_or_default());
        a = hmac::sign(key, a.as_ref());
    }
}
