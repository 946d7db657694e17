//! resolv.conf and hosts files, whatever stands in them: read without panic, and never without a resolver.
#![cfg_attr(fuzzing, no_main)]

use faultmap_probe::dns::{parse_hosts, parse_resolv_conf};

faultmap_fuzz::target!(|data| {
    let text = String::from_utf8_lossy(data);
    let config = parse_resolv_conf(&text, "fuzz", |name| u32::try_from(name.len()).ok());
    assert!((1..=8).contains(&config.resolvers.len()) && config.ndots <= 15);
    for name in ["shop.test", "LOCALHOST.", ""] {
        assert!(parse_hosts(&text, name).len() <= 64);
    }
});
