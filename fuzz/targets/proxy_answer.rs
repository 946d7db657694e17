//! What a proxy answers to the request for a tunnel, over HTTP or SOCKS5: read without panic, bounded, printable, and never with our login in it
//! unless it was sent back.
#![cfg_attr(fuzzing, no_main)]

use faultmap_model::observation::TunnelOutcome;

faultmap_fuzz::target!(|data| {
    let Some(outcome) = faultmap_probe::fuzzing::proxy_answer(data) else { return };
    if let TunnelOutcome::Refused { name, said, server, .. } = &outcome {
        let words = [Some(name), said.as_ref(), server.as_ref()].into_iter().flatten();
        assert!(words.flat_map(|words| words.chars()).all(|c| !c.is_control()));
    }
    serde_json::to_string(&outcome).expect("an observation can be written");
});
