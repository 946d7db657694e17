//! The first bytes of a server that was sent a ClientHello.
#![cfg_attr(fuzzing, no_main)]

faultmap_fuzz::target!(|data| {
    let _ = faultmap_probe::fuzzing::tls_answer(data);
});
