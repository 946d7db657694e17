//! What servers above HTTP may say: parts of a gRPC answer, Alt-Svc, and whole conversations in gRPC and WebSocket with bytes in place of the
//! server. Read without panic, bounded, printable. The first byte chooses.
#![cfg_attr(fuzzing, no_main)]

use faultmap_model::observation::{DialogueOutcome, Spoken};
use faultmap_probe::dialogue::rehearse_call;
use faultmap_probe::http3::http3_port;

faultmap_fuzz::target!(|data| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'c' => {
            let (status, rest) = rest.split_at(rest.len().min(2));
            let (words, body) = rest.split_at(rest.len().min(24));
            assert!(!rehearse_call(status, words, body).is_empty());
        }
        b'a' => {
            let _ = http3_port(&String::from_utf8_lossy(rest));
        }
        _ => {
            let protocol = if *kind == b'g' { Spoken::Grpc } else { Spoken::Websocket };
            let Some(seen) = faultmap_probe::fuzzing::above_http(protocol, rest) else { return };
            if let DialogueOutcome::Refused { message, .. } = &seen.outcome {
                assert!(message.chars().all(|c| !c.is_control()));
            }
            serde_json::to_string(&seen).expect("an observation can be written");
        }
    }
});
