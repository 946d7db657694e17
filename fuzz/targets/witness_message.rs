//! What a stranger may say to a witness, and a witness to a check: read without panic, and a report within bounds judged without panic.
#![cfg_attr(fuzzing, no_main)]

use faultmap_model::peer::FromWitness;
use faultmap_probe::peer::{Direction, FromCheck, FromFar, decode};

faultmap_fuzz::target!(|data| {
    let mut rest = data;
    while let Ok(Some((_, took))) = decode::<FromCheck>(rest) {
        rest = rest.get(took..).unwrap_or_default();
    }
    if let Ok(Some((message, took))) = decode::<FromFar>(data) {
        assert!(took <= FromFar::LONGEST + 4);
        if let FromWitness::Report { far, .. } = message
            && far.sound()
        {
            // What a check would keep of it can be written and read again.
            let json = serde_json::to_string(&far).expect("a report is JSON");
            assert!(serde_json::from_str::<faultmap_model::observation::FarSide>(&json).is_ok());
        }
    }
});
