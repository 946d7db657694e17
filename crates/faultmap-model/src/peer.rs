//! The words that a check and a witness at the other end exchange. Data only: reading them off a wire, proving the secret and looking at the
//! host are the probe's.

use crate::observation::FarSide;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The protocol; its number changes when an older side could misunderstand a newer one.
pub const PROTOCOL: &str = "faultmap.witness/1";
/// Most addresses of the target, or of ours, in one window.
pub const MOST_ADDRESSES: usize = 8;

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToWitness {
    /// The first message.
    Hello {
        /// [`PROTOCOL`].
        protocol: String,
        /// Proof of the shared secret over this TLS session, hexadecimal; absent where certificates prove both sides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// Look from now on.
    Open {
        /// A number of the check's choice, by which it closes the window.
        window: u32,
        /// What the check is about to talk to; port 0 when the protocol has none.
        to: SocketAddr,
        /// The addresses that the check's packets carry when they leave.
        from: Vec<IpAddr>,
        /// Also look for the way back, with packets: an ARP request for the next hop, and a walk toward the check.
        #[serde(default)]
        way_back: bool,
    },
    /// Stop looking, and tell.
    Close {
        /// Which window.
        window: u32,
    },
}

/// What a witness says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum FromWitness {
    /// The answer to a good hello.
    Welcome {
        /// [`PROTOCOL`].
        protocol: String,
        /// Its own proof of the secret, hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// It looks.
    Opened {
        /// Which window.
        window: u32,
    },
    /// It has looked.
    Report {
        /// Which window.
        window: u32,
        /// What it saw.
        far: Box<FarSide>,
    },
    /// It will not.
    Refused {
        /// Why, in words.
        why: String,
    },
}
