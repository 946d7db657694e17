//! What a peer says before it ends a session: read without panic, short and printable.
#![cfg_attr(fuzzing, no_main)]

faultmap_fuzz::target!(|data| {
    for words in faultmap_probe::fuzzing::last_words(data) {
        // At most 128 characters are kept, and an escape such as \u{10ffff} takes ten.
        assert!(words.chars().count() <= 1_300 && !words.chars().any(char::is_control));
    }
});
