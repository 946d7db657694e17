//! A certificate as any server may send it.
#![cfg_attr(fuzzing, no_main)]

faultmap_fuzz::target!(|data| {
    let certificate = faultmap_probe::fuzzing::certificate(data);
    serde_json::to_string(&certificate).expect("an observation can be written");
});
