//! What a database, cache, mail server, broker or sshd, or anyone in their place, may say: every conversation comes to an end without panic,
//! its record is printable and bounded, and holds no password. The first byte chooses the protocol and whether we log in.
#![cfg_attr(fuzzing, no_main)]

use faultmap_model::observation::{DialogueOutcome, Spoken};
use faultmap_probe::dialogue::{Credentials, rehearse};

const PROTOCOLS: [Spoken; 7] = [Spoken::Postgres, Spoken::Mysql, Spoken::Redis, Spoken::Smtp, Spoken::Ssh, Spoken::Amqp, Spoken::Mqtt];

faultmap_fuzz::target!(|data| {
    let Some((first, said)) = data.split_first() else { return };
    let protocol = PROTOCOLS[usize::from(first % 7)];
    let credentials = Credentials { user: "app".to_owned(), password: Some("pa55word-never-shown".to_owned()) };
    let given = (first & 0x80 == 0).then_some(&credentials);
    let conversation = rehearse(protocol, said, given, "shop?target_session_attrs=read-write");
    let Some(told) = faultmap_probe::fuzzing::wait_for(conversation).flatten() else { return };
    let text = serde_json::to_string(&told).expect("JSON");
    assert!(!text.contains("pa55word-never-shown") && text.len() < 64 * 1024);
    if let DialogueOutcome::Refused { message, .. } = &told.outcome {
        assert!(message.chars().all(|c| !c.is_control()));
    }
    assert!(told.facts.iter().all(|(_, value)| value.chars().all(|c| !c.is_control())));
});
