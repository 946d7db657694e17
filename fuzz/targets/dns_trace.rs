//! Messages as any name server may send them, read as a walk from the root reads them: referrals, glue, keys, signatures. Without panic.
#![cfg_attr(fuzzing, no_main)]

use faultmap_probe::dns::trace::{parse_roots, read_any};

faultmap_fuzz::target!(|data| {
    let _ = read_any(data);
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(parse_roots(text).len() <= 64);
    }
});
