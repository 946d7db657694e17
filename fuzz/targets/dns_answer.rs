//! DNS answers as any resolver, or anyone in between, may send them: read without panic, bounded, printable.
#![cfg_attr(fuzzing, no_main)]

use faultmap_probe::dns::message::{Question, read_answer};

faultmap_fuzz::target!(|data| {
    let Some(reading) = read_answer(data) else { return };
    let answer = &reading.answer;
    assert!(answer.addresses.len() <= 64 && answer.cnames.len() <= 32 && answer.ede.len() <= 8);
    let texts = answer.cnames.iter().chain(answer.ede.iter().map(|(_, text)| text));
    assert!(texts.flat_map(|text| text.chars()).all(|c| !c.is_control()));
    if let Some((name, type_number, 1)) = &reading.question {
        let question = Question {
            name: name.clone(),
            type_number: *type_number,
            checking_disabled: false,
            recursion: true,
            max_payload: 1232,
            dnssec: false,
        };
        assert_eq!(question.answer_in(reading.id, data).as_ref(), Some(answer));
        assert_eq!(question.answer_in(!reading.id, data), None);
        assert!(question.encode(reading.id).is_some(), "a name that was read can be written");
    }
});
