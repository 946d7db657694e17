//! An HTTP answer of any server, HTTP/1.1 or HTTP/2: read without panic, bounded, printable.
#![cfg_attr(fuzzing, no_main)]

faultmap_fuzz::target!(|data| {
    let Some(exchange) = faultmap_probe::fuzzing::http_answer(data) else { return };
    if let faultmap_model::observation::HttpOutcome::Response(response) = &exchange.outcome {
        assert!(response.headers.iter().flat_map(|(_, value)| value.chars()).all(|c| !c.is_control()));
        assert!(response.body.excerpt.chars().all(|c| !c.is_control()));
    }
    serde_json::to_string(&exchange).expect("an observation can be written");
});
