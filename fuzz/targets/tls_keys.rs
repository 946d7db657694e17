//! A key log and what two sides may say in a connection that it may open: no log, however it is cut, and no record makes it panic; what is told is printable and
//! bounded, and without keys nothing is opened.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::fuzzing::{play_with_keys, sealed_handshake};
use faultmap_capture::keys::Keys;

faultmap_fuzz::target!(|data| {
    for size in [usize::MAX, 3] {
        let (sink, _) = play_with_keys(data, size);
        assert!(sink.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
        assert!(sink.exchanges.iter().all(|exchange| exchange.question.len() < 1024 && !exchange.question.chars().any(char::is_control)));
        let seen = sink.keys.as_ref().and_then(Keys::seen).unwrap_or_default();
        assert!(seen.secrets > 0 || sink.shown.is_none_or(|shown| shown.is_empty()));
    }
    let (whole, cut) = (Keys::default(), Keys::default());
    whole.read(data);
    data.iter().for_each(|byte| cut.read(&[*byte]));
    assert!(data.is_empty() || whole.seen() == cut.seen());
    // A mutated record is never authentic, so that the readers of what is within get the bytes as they are, too.
    sealed_handshake(data);
});
