//! What a scenario file may say, and how it is told what is wrong with it.

use std::collections::BTreeSet;

use super::*;

const SOUND: &str = r#"
name = "n"
story = "s"
topology = "client-router-server"
target = "tcp://{server.v4}:80"
[[fault]]
at = "server"
kind = "interface-down"
[expect]
status = "fault"
layer = "L2"
cause = "l2.remote-neighbor-unresolved"
"#;

fn check(replace: &str, by: &str, complaint: &str) {
    let error = Scenario::parse("x", &SOUND.replace(replace, by)).unwrap_err().to_string();
    assert!(error.contains(complaint), "{error}");
    assert!(error.contains("scenario x"), "{error}");
}

#[test]
fn a_sound_scenario_is_read() {
    let scenario = Scenario::parse("x", SOUND).unwrap();
    assert_eq!(scenario.faults[0].at, "server");
    assert_eq!(scenario.expect.layer, Layer::L2);
    assert_eq!(scenario.twin.status, Status::Healthy);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    check("kind = \"interface-down\"", "kind = \"interface-dwon\"", "fault 1 (at \"server\")");
    check("at = \"server\"", "at = \"sever\"", "no host of the topology; it has client");
    check("L2", "L3", "layer L3 contradicts cause l2.remote-neighbor-unresolved");
    check("l2.remote-neighbor-unresolved", "remote neighbour", "is no cause id");
    check("{server.v4}", "{sever.v4}", "{sever.v4} means nothing");
    check("client-router-server", "client-server", "no topology named \"client-server\"");
    check("story = \"s\"", "story = \"\"", "story: must not be empty");
    check("story", "storey", "unknown field `storey`");
    check("status = \"fault\"", "status = \"healthy\"", "expects a fault");
    check("cause = ", "candidates = [\"l4.port-closed\"]\ncause = ", "must hold the true cause");
}

#[test]
fn what_packets_may_say_is_no_excuse_for_a_check() {
    let deeper = SOUND.replace("cause = ", "packets = [\"l4.port-closed\"]\ncause = ");
    let expect = Scenario::parse("x", &deeper).unwrap().expect;
    assert!(expect.packets_accept("l4.port-closed") && expect.packets_accept("l2.remote-neighbor-unresolved"));
    assert!(!expect.accepts("l4.port-closed"));
    check("cause = ", "packets = [\"closed\"]\ncause = ", "\"closed\" is no cause id");
}

#[test]
fn placeholders_become_addresses_and_strangers_stay() {
    let values = BTreeMap::from([("server.v6".to_owned(), "fd00::1".to_owned())]);
    assert_eq!(expand("https://[{server.v6}]/{x}", &values), "https://[fd00::1]/{x}");
    assert_eq!(expand("plain", &values), "plain");
    assert_eq!(expand("open { brace", &values), "open { brace");
}

#[test]
fn every_embedded_scenario_is_sound_and_has_a_name_of_its_own() {
    let library = Library::embedded().unwrap();
    let mut names = library.all().iter().map(|s| &s.name).collect::<Vec<_>>();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Every kind that serde knows is in the table that scenario authors read.
#[test]
fn the_guide_for_authors_lists_every_kind_of_fault() {
    let guide = include_str!("../../scenarios/README.md");
    let unknown = crate::faults::Fault::deserialize(toml::Table::from_iter([("kind".to_owned(), "?".into())]));
    let message = unknown.unwrap_err().to_string();
    let (_, kinds) = message.split_once("expected one of ").unwrap();
    let kinds = kinds.split('`').skip(1).step_by(2).take_while(|kind| *kind != "kind").collect::<Vec<_>>();
    let missing = kinds.iter().filter(|kind| !guide.contains(&format!("| `{kind}` |"))).collect::<Vec<_>>();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(kinds.len() > 25, "{message}");
}

#[test]
fn every_cause_that_a_scenario_names_is_a_cause_of_the_map() {
    let library = Library::embedded().unwrap();
    let expects = library.all().iter().map(|scenario| &scenario.expect);
    let named = expects.flat_map(|e| {
        let unprivileged = e.unprivileged.iter().flat_map(|u| &u.candidates);
        [&e.cause].into_iter().chain(&e.also).chain(&e.packets).chain(&e.candidates).chain(unprivileged)
    });
    let strangers = named.filter(|cause| faultmap_model::causes::find(cause).is_none()).collect::<BTreeSet<_>>();
    assert!(strangers.is_empty(), "{strangers:?}");
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text: String, at in 0_usize..400, junk in "[\\[\\]={}\"a-z0-9 \n.-]{0,12}") {
        let _ = Scenario::parse("x", &text);
        let cut = (0..=at.min(SOUND.len())).rev().find(|at| SOUND.is_char_boundary(*at)).unwrap();
        let _ = Scenario::parse("x", &format!("{}{junk}{}", &SOUND[..cut], &SOUND[cut..]));
    }

    #[test]
    fn a_text_without_known_placeholders_expands_to_itself(text: String) {
        proptest::prop_assert_eq!(expand(&text, &BTreeMap::new()), text);
    }
}
