//! The shared secret, and how each side proves to the other that it holds it without showing it.
//!
//! Both sides compute HMAC-SHA256 over a value that only the two ends of *this* TLS session share (RFC 9266, `tls-exporter`). Somebody who
//! stands between has two sessions with two values, so nothing can be passed on; a later session has another value, so nothing can be
//! replayed. The check proves first: a stranger who connects to a witness learns nothing. Somebody who takes a witness's place gets one value
//! to hold guesses against; that is why a secret has a least length, and why each guess costs many rounds of hashing.

use ring::{hmac, pbkdf2, rand};
use std::fmt;
use std::num::NonZeroU32;

/// Shortest secret, characters. One of `--new-secret` has 43, which are 256 bits.
const SHORTEST: usize = 24;
/// Longest secret, bytes.
const LONGEST: usize = 1024;
/// Fewer different characters are a pattern, not a secret.
const LEAST_VARIETY: usize = 8;
/// Rounds for each guess; the true secret pays once per run, some 30 ms.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const SALT: &[u8] = b"faultmap.witness/1 shared secret";
/// Bytes of a new secret.
const NEW_BYTES: usize = 32;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short.
    #[error("the secret is shorter than {SHORTEST} characters; `faultmap witness --new-secret` makes a good one")]
    Short,
    /// Too long.
    #[error("the secret is longer than {LONGEST} bytes")]
    Long,
    /// The same few characters again and again.
    #[error("the secret repeats the same few characters; `faultmap witness --new-secret` makes a good one")]
    Simple,
    /// No randomness to make one of.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A secret that both ends hold. Never shown, never recorded.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Check,
    Witness,
}

impl Secret {
    /// The secret in this text, white space around it ignored. Takes some 30 ms.
    ///
    /// # Errors
    /// When it would be too easy to guess.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.chars().count() < SHORTEST {
            return Err(SecretError::Short);
        }
        if text.len() > LONGEST {
            return Err(SecretError::Long);
        }
        let mut different: Vec<char> = text.chars().collect();
        different.sort_unstable();
        different.dedup();
        if different.len() < LEAST_VARIETY {
            return Err(SecretError::Simple);
        }
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, text.as_bytes(), &mut key);
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The text of a new secret of 256 random bits.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new_text() -> Result<String, SecretError> {
        let random: [u8; NEW_BYTES] = rand::generate(&rand::SystemRandom::new()).map_err(|_| SecretError::NoRandomness)?.expose();
        let mut text = String::new();
        // Base64 with the URL alphabet (RFC 4648 5), without padding: six bits a character.
        for chunk in random.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for place in 0..=chunk.len() {
                let index = (bits >> (18 - 6 * place)) & 63;
                text.extend(usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).map(|byte| char::from(*byte)));
            }
        }
        Ok(text)
    }

    /// What `side` says to prove that it holds the secret, over the binding of a TLS session.
    pub(crate) fn proof(&self, side: Side, binding: &[u8; 32]) -> String {
        let tag = hmac::sign(&self.0, &message(side, binding));
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether that is what `side` would say; takes the same time whatever is wrong with it.
    pub(crate) fn proves(&self, side: Side, binding: &[u8; 32], proof: &str) -> bool {
        let digits: Option<Vec<u8>> = (proof.len() == 64 && proof.is_ascii()).then(|| {
            (0..32).map_while(|place| proof.get(2 * place..2 * place + 2).and_then(|two| u8::from_str_radix(two, 16).ok())).collect()
        });
        digits.is_some_and(|digits| hmac::verify(&self.0, &message(side, binding), &digits).is_ok())
    }
}

fn message(side: Side, binding: &[u8; 32]) -> Vec<u8> {
    let who: &[u8] = match side {
        Side::Check => b"faultmap.witness/1 check",
        Side::Witness => b"faultmap.witness/1 witness",
    };
    [who, binding].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a long and varied secret text";

    #[test]
    fn a_proof_holds_for_one_side_of_one_session_only() {
        let secret = Secret::new(TEXT).unwrap();
        let proof = secret.proof(Side::Check, &[1; 32]);
        assert!(secret.proves(Side::Check, &[1; 32], &proof));
        assert!(!secret.proves(Side::Witness, &[1; 32], &proof), "it cannot be sent back");
        assert!(!secret.proves(Side::Check, &[2; 32], &proof), "it cannot be used in another session");
        assert!(!Secret::new("another long and varied text").unwrap().proves(Side::Check, &[1; 32], &proof));
        for garbage in ["", "zz", &"g".repeat(64), &"é".repeat(32), &proof[1..]] {
            assert!(!secret.proves(Side::Check, &[1; 32], garbage));
        }
    }

    #[test]
    fn a_secret_that_is_easy_to_guess_is_none() {
        assert_eq!(Secret::new("hunter2").err(), Some(SecretError::Short));
        assert_eq!(Secret::new(&"ab".repeat(20)).err(), Some(SecretError::Simple));
        assert_eq!(Secret::new(&"abcdefghij".repeat(200)).err(), Some(SecretError::Long));
    }

    #[test]
    fn a_new_secret_is_good_and_never_the_same() {
        let (one, two) = (Secret::new_text().unwrap(), Secret::new_text().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 43);
        assert!(Secret::new(&one).is_ok());
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new(TEXT).unwrap()), "Secret(***)");
    }
}
