//! What a peer says before it ends a session: read without panic, short and printable.
#![cfg_attr(fuzzing, no_main)]

faultmap_fuzz::target!(|data| {
    for words in faultmap_probe::fuzzing::last_words(data) {
        assert!(words.chars().count() <= 256 && !words.chars().any(char::is_control));
    }
});
