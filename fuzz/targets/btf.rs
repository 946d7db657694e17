//! A kernel's description of its own types: read, or told to be none, whatever the bytes.
#![cfg_attr(fuzzing, no_main)]

use faultmap_host::drops::Layout;

faultmap_fuzz::target!(|data| {
    if let Ok(layout) = Layout::read(data) {
        let _ = (layout.reason_name(2), layout.reason_name(0x3_0001));
    }
});
