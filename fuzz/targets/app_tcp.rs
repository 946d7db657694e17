//! What two sides may say in a TCP connection: every conversation ends without panic, what it tells is printable and bounded, and it tells the same
//! however the bytes are cut, if it is taken for the same protocol: of garbage the first bytes may promise one that the next belie.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::fuzzing::play;

faultmap_fuzz::target!(|data| {
    let Some(first) = data.first() else { return };
    let (whole, hole) = play(data, usize::MAX);
    assert!(whole.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
    assert!(whole.exchanges.iter().all(|exchange| exchange.question.len() < 1024 && !exchange.question.chars().any(char::is_control)));
    // After a hole, or in the middle, a message is looked for where a segment begins.
    let (pieces, _) = play(data, 1);
    if !hole && first & 0x10 == 0 && whole.protocol == pieces.protocol {
        assert_eq!(whole.findings, pieces.findings, "byte by byte");
        assert_eq!(whole.exchanges, pieces.exchanges, "byte by byte");
    }
});
