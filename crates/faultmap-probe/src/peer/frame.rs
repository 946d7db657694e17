//! Messages on the wire: a length of four bytes, big endian, then so many bytes of JSON. Bounded in both directions; knows no meaning.

use faultmap_model::peer::{FromWitness, ToWitness};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PREFIX: usize = 4;

/// What is not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any message of this direction.
    #[error("a message of {0} bytes; at most {1} are read")]
    TooLong(usize, usize),
    /// Not JSON, or not of this protocol.
    #[error("not a message: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// One direction: what is said there, and how long it may be.
pub trait Direction {
    /// The message.
    type Message: DeserializeOwned + Serialize;
    /// Longest message, bytes.
    const LONGEST: usize;
}

/// From the check to the witness: a few short words.
#[derive(Debug)]
pub struct FromCheck;

impl Direction for FromCheck {
    type Message = ToWitness;
    const LONGEST: usize = 4 * 1024;
}

/// From the witness to the check: a report with a walk is some 10 KiB.
#[derive(Debug)]
pub struct FromFar;

impl Direction for FromFar {
    type Message = FromWitness;
    const LONGEST: usize = 256 * 1024;
}

/// Takes one message off the front of `bytes`: the message and the bytes it took; `None` when more must come.
///
/// # Errors
/// When what is there can never become a message.
pub fn decode<D: Direction>(bytes: &[u8]) -> Result<Option<(D::Message, usize)>, DecodeError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > D::LONGEST {
        return Err(DecodeError::TooLong(length, D::LONGEST));
    }
    let Some(body) = bytes.get(PREFIX..PREFIX + length) else { return Ok(None) };
    Ok(Some((serde_json::from_slice(body)?, PREFIX + length)))
}

/// The bytes of one message.
fn encode<D: Direction>(message: &D::Message) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PREFIX];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - PREFIX;
    if length > D::LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "our own message is too long"));
    }
    if let (Some(prefix), Ok(length)) = (bytes.first_chunk_mut::<PREFIX>(), u32::try_from(length)) {
        *prefix = length.to_be_bytes();
    }
    Ok(bytes)
}

/// A stream of messages: reads direction `R`, writes direction `W`. Reading may be dropped and taken up again without losing a byte.
#[derive(Debug)]
pub(crate) struct Frames<S, R, W> {
    stream: S,
    read: Vec<u8>,
    ways: PhantomData<fn() -> (R, W)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Direction, W: Direction> Frames<S, R, W> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read: Vec::with_capacity(1024), ways: PhantomData }
    }

    /// The next message; `None` when the other side has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<R::Message>, io::Error> {
        loop {
            let decoded = decode::<R>(&self.read).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some((message, took)) = decoded {
                self.read.drain(..took);
                return Ok(Some(message));
            }
            // The decoder refuses longer prefixes, so the buffer never outgrows one message and one read.
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &W::Message) -> io::Result<()> {
        self.stream.write_all(&encode::<W>(message)?).await?;
        self.stream.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_comes_back_as_it_was_said_even_in_pieces() {
        let said = ToWitness::Close { window: 7 };
        let bytes = encode::<FromCheck>(&said).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<FromCheck>(&bytes[..cut]).unwrap().is_none());
        }
        assert_eq!(decode::<FromCheck>(&bytes).unwrap(), Some((said, bytes.len())));
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_it_is_read() {
        assert!(matches!(decode::<FromCheck>(&[0xff; 4]), Err(DecodeError::TooLong(..))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0_u8..=64) {
            let mut bytes = bytes;
            bytes.splice(0..0, [0, 0, 0, length]);
            let _ = (decode::<FromCheck>(&bytes), decode::<FromFar>(&bytes));
        }
    }
}
