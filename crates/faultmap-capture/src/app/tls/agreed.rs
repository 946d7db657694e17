//! The application protocol that both ends of TLS agreed on (ALPN, RFC 7301), and what it makes of findings about what was spoken: a protocol that the server never
//! agreed to is more than a stranger at a port, and a server that does not answer it is not mute.

use crate::finding::{Finding, Weight};
use faultmap_model::Layer;

/// HTTP/2 as ALPN names it.
pub(super) const H2: &str = "h2";
/// What is told of HTTP/2 that was not answered.
const UNANSWERED: [&str; 4] = ["h2.unanswered", "h2.closed-without-answer", "grpc.unanswered", "grpc.closed-without-answer"];

/// What is known of the agreement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Agreed {
    /// The server's word on it could not be read.
    #[default]
    Unknown,
    /// The server chose none.
    OnNothing,
    /// On this one.
    On(String),
}

impl Agreed {
    /// By what the server chose.
    pub(super) fn on(chosen: Option<String>) -> Self {
        chosen.map_or(Self::OnNothing, Self::On)
    }

    /// The protocol.
    pub(super) fn protocol(&self) -> Option<&str> {
        if let Self::On(protocol) = self { Some(protocol) } else { None }
    }

    /// A finding of what was said inside: another protocol than the one agreed on is no stranger, but a broken word.
    pub(super) fn weigh(&self, finding: &mut Finding) {
        let older = finding.rule == "h2.answered-in-http1";
        let strange = (older || finding.rule == "proto.mismatch") && finding.weight == Weight::Fault;
        if !strange || finding.text.contains("(ALPN)") {
            return;
        }
        let words = match self {
            Self::On(protocol) => format!(", although both ends agreed on {protocol} (ALPN)"),
            // Without a word on it the client had to stay with HTTP/1.1 (RFC 9113 §3.2).
            Self::OnNothing if older => ", and had not agreed on HTTP/2 (ALPN)".to_owned(),
            Self::OnNothing | Self::Unknown => return,
        };
        (finding.layer, finding.cause) = (Some(Layer::L6), Some("l6.alpn-mismatch"));
        finding.text.push_str(&words);
    }

    /// A finding about HTTP/2 to which the server, that did not agree on it, never said a word: it does not speak it. One that does sends SETTINGS first
    /// (RFC 9113 §3.4), and agrees (§3.2).
    pub(super) fn excuse(&self, finding: &mut Finding) {
        let refused = match self {
            Self::On(protocol) if protocol != H2 => format!("chose {protocol}"),
            Self::OnNothing => "chose no protocol".to_owned(),
            Self::On(_) | Self::Unknown => return,
        };
        if UNANSWERED.contains(&finding.rule) {
            not_agreed(finding, &refused);
        }
    }
}

/// HTTP/2 was spoken to who had `refused` it.
pub(super) fn not_agreed(finding: &mut Finding, refused: &str) {
    finding.text = format!("the server was offered HTTP/2 and {refused} (ALPN); HTTP/2 was spoken all the same. {}", finding.text);
    (finding.rule, finding.weight) = ("h2.not-agreed", Weight::Fault);
    (finding.layer, finding.cause) = (Some(Layer::L6), Some("l6.alpn-mismatch"));
}
