//! The seven layers of the OSI reference model (ISO/IEC 7498-1), as a fault map.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One layer of the OSI model. Ordered from the medium up: `L1 < L7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Layer {
    /// Physical: bits on a medium.
    L1,
    /// Data link: frames between stations that share a medium.
    L2,
    /// Network: addressing and routing.
    L3,
    /// Transport: ports, connections, state tables.
    L4,
    /// Session: the lifecycle of a conversation.
    L5,
    /// Presentation: encryption and encoding.
    L6,
    /// Application: the protocol that the service speaks.
    L7,
}

impl Layer {
    /// All seven, lowest first.
    pub const ALL: [Layer; 7] = [Self::L1, Self::L2, Self::L3, Self::L4, Self::L5, Self::L6, Self::L7];

    /// 1 to 7.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
            Self::L4 => 4,
            Self::L5 => 5,
            Self::L6 => 6,
            Self::L7 => 7,
        }
    }

    /// The layer's name in the model, such as `Transport`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "Physical",
            Self::L2 => "Data link",
            Self::L3 => "Network",
            Self::L4 => "Transport",
            Self::L5 => "Session",
            Self::L6 => "Presentation",
            Self::L7 => "Application",
        }
    }

    /// The protocol data unit that the layer moves.
    #[must_use]
    pub const fn pdu(self) -> &'static str {
        match self {
            Self::L1 => "bit",
            Self::L2 => "frame",
            Self::L3 => "packet",
            Self::L4 => "segment or datagram",
            Self::L5 | Self::L6 => "data (records of the session)",
            Self::L7 => "message",
        }
    }

    /// The layer's place in the four-layer TCP/IP view (RFC 1122).
    #[must_use]
    pub const fn tcpip(self) -> &'static str {
        match self {
            Self::L1 | Self::L2 => "Link",
            Self::L3 => "Internet",
            Self::L4 => "Transport",
            Self::L5 | Self::L6 | Self::L7 => "Application",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.number())
    }
}

/// The text is not a layer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a layer: {0:?} (layers are L1 to L7)")]
pub struct UnknownLayer(pub String);

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let digit = text.strip_prefix(['L', 'l']).unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|layer| digit == layer.number().to_string() || text.eq_ignore_ascii_case(layer.name()))
            .ok_or_else(|| UnknownLayer(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_found_by_number_letter_and_name() {
        for text in ["L4", "l4", "4", "transport", "Transport"] {
            assert_eq!(text.parse(), Ok(Layer::L4), "{text}");
        }
        assert!("L8".parse::<Layer>().is_err());
    }
}
