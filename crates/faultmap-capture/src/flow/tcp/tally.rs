//! What happened in a connection, counted by kind and side, with the first packets that show it. Nothing is kept for a connection in which nothing
//! happened.

use crate::finding::Cited;
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};

/// Something that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    SynAgain,
    SynAckAgain,
    Fast,
    Timeout,
    TailProbe,
    Spurious,
    FinAgain,
    OutOfOrder,
    DupAck,
    ZeroWindow,
    WindowProbe,
    WindowFull,
    KeepAlive,
    Gap,
    BadChecksum,
}

/// One sign of one side.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) sign: Sign,
    pub(crate) side: Side,
    pub(crate) cited: Cited,
    pub(crate) first: Stamp,
    pub(crate) last: Stamp,
}

/// All signs of a connection.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    list: Vec<Tally>,
}

impl Tallies {
    pub(crate) fn add(&mut self, sign: Sign, side: Side, packet: PacketNo, at: Stamp) {
        if let Some(tally) = self.list.iter_mut().find(|tally| tally.sign == sign && tally.side == side) {
            tally.cited.add(packet);
            tally.first = tally.first.min(at);
            tally.last = tally.last.max(at);
        } else {
            self.list.push(Tally { sign, side, cited: Cited::one(packet), first: at, last: at });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One that turned out to be something else.
    pub(crate) fn take_back(&mut self, sign: Sign, side: Side, packet: PacketNo) {
        if let Some(at) = self.list.iter().position(|tally| tally.sign == sign && tally.side == side)
            && let Some(tally) = self.list.get_mut(at)
        {
            tally.cited.count = tally.cited.count.saturating_sub(1);
            tally.cited.packets.retain(|cited| *cited != packet.0);
            if tally.cited.count == 0 {
                self.list.remove(at);
            }
        }
    }

    pub(crate) fn of(&self, sign: Sign, side: Side) -> Option<&Tally> {
        self.list.iter().find(|tally| tally.sign == sign && tally.side == side)
    }
}
