//! What two sides may say in a TCP connection: every conversation ends without panic, and what it tells is printable and bounded, however the bytes are cut.
//! (That it tells the same is held by the property test of `app/robust.rs`, for conversations that are damaged: of garbage the first bytes may promise what
//! the next belie.)
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::fuzzing::play;

faultmap_fuzz::target!(|data| {
    for size in [usize::MAX, 1] {
        let (sink, _) = play(data, size);
        assert!(sink.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
        assert!(sink.exchanges.iter().all(|exchange| exchange.question.len() < 1024 && !exchange.question.chars().any(char::is_control)));
    }
});
