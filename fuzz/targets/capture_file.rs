//! Files under the name of a capture: read to the end or to the damage, without panic, without taking more memory than a record may have.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::file::Files;
use std::io::Cursor;

faultmap_fuzz::target!(|data| {
    let mut files = Files::from_reader("fuzz", Box::new(Cursor::new(data.to_vec())));
    let mut errors = 0;
    loop {
        match files.next() {
            Ok(Some(packet)) => assert!(packet.bytes.len() <= data.len() || data.starts_with(&[0x1f]) || data.starts_with(&[0x28])),
            Ok(None) => break,
            Err(_) => errors += 1,
        }
        assert!(errors <= 1, "one file gives one error");
    }
});
