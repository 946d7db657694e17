//! What two sides may say in a TCP connection: every conversation ends without panic, and what it tells is printable and bounded, however the bytes come in pieces, and however
//! many of each segment were captured.
//! (That it tells the same is held by the property test of `app/robust.rs`, for conversations that are damaged: of garbage the first bytes may promise what
//! the next belie.)
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::fuzzing::{play, play_cut};

faultmap_fuzz::target!(|data| {
    let cut = [0, 9, 30, 60].map(|most| play_cut(data, most));
    for sink in [usize::MAX, 1].map(|size| play(data, size).0).into_iter().chain(cut) {
        assert!(sink.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
        assert!(sink.exchanges.iter().all(|exchange| exchange.question.len() < 1024 && !exchange.question.chars().any(char::is_control)));
    }
});
