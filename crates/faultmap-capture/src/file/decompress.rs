//! Compressed captures: gzip (RFC 1952) and zstd (RFC 8878), several members or frames one after another, in bounded memory.

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

/// Read from the file at once, bytes.
const CHUNK: usize = 128 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gzip,
    Zstd,
}

impl Kind {
    /// By the first bytes.
    pub(crate) const fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or one to be skipped, which parallel compressors write first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(crate) fn decoder(self, file: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        let file = BufReader::with_capacity(CHUNK, file);
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(Zstd { file, decoder: FrameDecoder::new(), begun: false }),
        }
    }
}

/// Frames of zstd, one after another.
struct Zstd<R> {
    file: BufReader<R>,
    decoder: FrameDecoder,
    begun: bool,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.begun && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.begun && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.file, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
                continue;
            }
            if self.file.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.reset(&mut self.file) {
                Ok(()) => self.begun = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.file).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}
