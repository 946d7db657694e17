//! Records of which the capture cut off the rest. Their headers still say what they are and how long; of a hello, that it was sent. Which version was chosen shows
//! in how the client goes on.

use super::hello::{self, ClientHello, ServerHello};
use super::record::{APPLICATION_DATA, HANDSHAKE};
use super::{TLS13, Tls, UNKNOWN};
use crate::app::tell::Mark;
use crate::app::{Below, Conversation, Glance, Sink};
use crate::flow::Side;

/// The versions before 1.3 are alike in what is read of them.
const OLDER: u16 = 0x0303;

impl Tls {
    /// A segment that was cut.
    pub(super) fn cut(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        let Glance { chunk, missing } = glance;
        if !chunk.bytes.is_empty() {
            self.chunk(chunk, below, sink);
        }
        // Words of another protocol, or a place that was lost before.
        if self.plain.is_some() || self.half(chunk.from).lost {
            self.half(chunk.from).deaf = true;
            return;
        }
        let mark = Mark::from(&chunk);
        self.cut_hello(chunk.from, mark, below, sink);
        let half = self.half(chunk.from);
        half.message.clear();
        half.deaf = true;
        let (ended, known) = half.records.skip(missing);
        if !known {
            (half.lost, half.hole, half.missed) = (true, true, true);
        }
        self.miss(chunk.from, missing, (ended, known), sink);
        // Of a sealed record the length says all that there is to know, unless its content is read.
        if let Some((APPLICATION_DATA, len)) = ended.filter(|_| !self.is_opened()) {
            self.data(chunk.from, len, mark, below, sink);
        }
    }

    /// A hello of which the first bytes are there.
    fn cut_hello(&mut self, from: Side, mark: Mark, below: &Below, sink: &mut Sink) {
        let half = self.half(from);
        if half.deaf || half.encrypted {
            return;
        }
        let message = std::mem::take(&mut half.message);
        match (from, message.kept()) {
            (Side::Client, [1, ..]) if self.hello.is_none() => {
                self.hello = Some((ClientHello::default(), mark));
                self.glanced = true;
            }
            // Its type, length and version, and enough of its random.
            (Side::Server, [2, _, _, _, _, _, random @ ..]) if self.chosen.is_none() => {
                let Some(retry) = hello::is_retry(random) else { return };
                self.chose(ServerHello { version: UNKNOWN, retry, agrees: false }, mark, below, sink);
                self.glanced = true;
            }
            _ => {}
        }
    }

    /// After the server's choice the client of TLS 1.3 goes on sealed, that of older versions by messages of the handshake.
    pub(super) fn settle_version(&mut self, from: Side, kind: u8) {
        let missed = self.halves[0].missed;
        let Some((chosen, _)) = self.chosen.as_mut().filter(|(chosen, _)| chosen.version == UNKNOWN && !chosen.retry) else { return };
        chosen.version = match (from, kind) {
            (Side::Client, APPLICATION_DATA) if !missed => TLS13,
            (Side::Client, HANDSHAKE) if !missed => OLDER,
            _ => return,
        };
    }
}
