//! Where a packet belongs: its flow, its direction, and what the flow made of it. For those who show packets one by one.

use crate::flow::{FlowId, Side};
use serde::Serialize;

/// What a flow made of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing remarkable.
    #[default]
    Plain,
    /// The capture holds it once more; it is not counted.
    Copy,
    /// A routing loop brought it back.
    Looped,
    /// SYN or SYN-ACK sent again.
    SynAgain,
    /// Sent again because the peer asked for it.
    FastRetransmit,
    /// Sent again because the timer ran out.
    TimeoutRetransmit,
    /// Sent again to probe for a lost tail.
    TailProbe,
    /// Sent again although it had arrived.
    SpuriousRetransmit,
    /// FIN sent again.
    FinAgain,
    /// Came in another order than sent.
    OutOfOrder,
    /// Acknowledges once more what was acknowledged.
    DupAck,
    /// Closes the window.
    ZeroWindow,
    /// Opens it again.
    WindowUpdate,
    /// Probes a closed window.
    WindowProbe,
    /// Fills the peer's window.
    WindowFull,
    /// Asks whether the peer is still there.
    KeepAlive,
    /// Bytes before it are not in the capture.
    AfterGap,
}

impl Mark {
    /// In plain words; empty for [`Mark::Plain`].
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Copy => "copy made by the capture",
            Self::Looped => "back from a routing loop",
            Self::SynAgain => "SYN sent again",
            Self::FastRetransmit => "fast retransmit",
            Self::TimeoutRetransmit => "retransmit after timeout",
            Self::TailProbe => "tail loss probe",
            Self::SpuriousRetransmit => "needless retransmit",
            Self::FinAgain => "FIN sent again",
            Self::OutOfOrder => "out of order",
            Self::DupAck => "duplicate ACK",
            Self::ZeroWindow => "window closed",
            Self::WindowUpdate => "window open again",
            Self::WindowProbe => "window probe",
            Self::WindowFull => "fills the window",
            Self::KeepAlive => "keep-alive",
            Self::AfterGap => "bytes missing before it",
        }
    }
}

/// Where a packet belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its flow.
    pub flow: FlowId,
    /// Who sent it.
    pub from: Side,
    /// What the flow made of it.
    pub mark: Mark,
}
