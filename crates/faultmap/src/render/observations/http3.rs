//! The line of a request over HTTP/3.

use super::{icmp_words, time};
use faultmap_model::observation::{Http3Exchange, Http3Outcome};

/// The line.
pub(super) fn words(it: &Http3Exchange) -> String {
    let why = match (&it.advertised, it.demanded) {
        (_, true) => "demanded",
        (Some(_), false) => "advertised by Alt-Svc",
        (None, false) => "tried",
    };
    let passes = if it.probe_answered { "; other versions of QUIC are answered" } else { "" };
    format!("HTTP/3 from udp {} ({why}): {}{passes}", it.to, ending(&it.outcome))
}

fn ending(outcome: &Http3Outcome) -> String {
    match outcome {
        Http3Outcome::Answered { status, handshake_ms, ttfb_ms } => {
            format!("{status}, handshake {}, first byte after {}", time(*handshake_ms), time(*ttfb_ms))
        }
        Http3Outcome::Mute { waited_ms } => format!("handshake done, no answer for {}", time(*waited_ms)),
        Http3Outcome::Silent { waited_ms } => format!("silent for {}", time(*waited_ms)),
        Http3Outcome::Unreachable { errno, icmp: Some(error) } => format!("{errno}, {}", icmp_words(*error)),
        Http3Outcome::Unreachable { errno, icmp: None } => errno.clone(),
        Http3Outcome::VersionMismatch => "no version of QUIC in common".to_owned(),
        Http3Outcome::Alert { code, name } => format!("alert {code} {name}"),
        Http3Outcome::Closed { code, reason, application } => {
            let whose = if *application { "HTTP/3" } else { "QUIC" };
            let words = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!("closed with {whose} error {code:#x}{words}")
        }
        Http3Outcome::Untrusted { why } => format!("not asked: {why}"),
        Http3Outcome::NotTried { why } => format!("not tried: {why}"),
    }
}
