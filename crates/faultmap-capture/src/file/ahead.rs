//! Reads ahead in a thread of its own: while one core unpacks, another follows the flows. The bytes and their order are those of the source, and so are its
//! errors; it knows nothing of what is in them.
//!
//! Memory: [`CHUNKS`] pieces of [`CHUNK`] bytes on the way, and one on each side.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes handed over at once.
const CHUNK: usize = 128 * 1024;
/// Pieces that wait to be read.
const CHUNKS: usize = 4;

/// The reading end.
pub(super) struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    /// What was read goes back, to be filled again.
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Ahead {
    /// Begins to read `source`. The thread ends with the source, or when nobody reads any more.
    pub(super) fn of(source: Box<dyn Read + Send>) -> io::Result<Self> {
        let (send_full, full) = sync_channel(CHUNKS);
        let (empty, take_empty) = sync_channel(CHUNKS + 2);
        std::thread::Builder::new().name("unpack".to_owned()).spawn(move || fetch(source, &send_full, &take_empty))?;
        Ok(Self { full, empty, chunk: Vec::new(), at: 0 })
    }
}

fn fetch(mut source: Box<dyn Read + Send>, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let read = loop {
            match source.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let over = !matches!(read, Ok(1..));
        let piece = read.map(|len| {
            chunk.truncate(len);
            chunk
        });
        // An empty piece is the end. Nobody listens any more: the rest is of no use.
        if full.send(piece).is_err() || over {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            // After the end, or after an error, the thread is gone: nothing more comes.
            let Ok(next) = self.full.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.chunk, next?);
            self.at = 0;
            // Where there is no room for it, there are enough.
            drop(self.empty.try_send(used));
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Gives pieces of odd sizes, and fails at the end.
    struct Failing(Cursor<Vec<u8>>);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(70_001);
            match self.0.read(&mut buffer[..most])? {
                0 => Err(io::Error::other("the archive is damaged")),
                read => Ok(read),
            }
        }
    }

    fn bytes() -> Vec<u8> {
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    #[test]
    fn every_byte_comes_in_order_and_the_end_stays_the_end() {
        let mut ahead = Ahead::of(Box::new(Cursor::new(bytes()))).expect("a thread");
        let mut got = Vec::new();
        ahead.read_to_end(&mut got).expect("bytes");
        assert_eq!(got, bytes());
        assert_eq!(ahead.read(&mut [0; 9]).expect("the end"), 0);
    }

    #[test]
    fn an_error_comes_after_all_bytes_before_it() {
        let mut ahead = Ahead::of(Box::new(Failing(Cursor::new(bytes())))).expect("a thread");
        let mut got = Vec::new();
        let error = ahead.read_to_end(&mut got).expect_err("it fails");
        assert_eq!((got.len(), error.to_string().as_str()), (3_000_000, "the archive is damaged"));
    }

    #[test]
    fn who_stops_reading_does_not_wait_for_the_rest() {
        let mut ahead = Ahead::of(Box::new(io::repeat(7))).expect("a thread");
        assert_eq!(ahead.read(&mut [0; 9]).expect("bytes"), 9);
        drop(ahead);
    }
}
