//! What the documentation says of JSON, held against what the program emits.

use crate::capture::Pcap;
use crate::{Scratch, run};
use serde_json::Value;
use std::collections::BTreeSet;

/// The part of the page that is about captures.
fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let begin = page.find("## `faultmap.capture/1`").expect("the section");
    let section = page.get(begin..).unwrap_or_default();
    let end = section.find("\n## `faultmap.lab/1`").expect("the next section");
    section.get(..end).unwrap_or_default().to_owned()
}

/// Every name of a field, at any depth.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

/// Every view of these captures.
fn emitted(files: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let views: [&[&str]; 5] = [&[], &["--flows"], &["--flow", "1"], &["--top"], &["--packet", "4"]];
    for file in files {
        for view in views {
            let ran = run(&[&["capture", file, "--json"], view].concat());
            for line in ran.out.lines() {
                fields(&serde_json::from_str(line).expect("JSON"), &mut found);
            }
        }
    }
    found
}

fn captures(scratch: &Scratch) -> Vec<String> {
    let mut cut = Pcap::new().refused(81).http("200 OK");
    let whole = cut.bytes().len();
    cut.bytes().truncate(whole - 3);
    let mut files = vec![
        Pcap::new().http("503 Service Unavailable").refused(81).silent(82).at(scratch, "bad.pcap"),
        Pcap::new().http("200 OK").at(scratch, "good.pcap"),
        cut.at(scratch, "cut.pcap"),
    ];
    let others = std::env::var_os("FAULTMAP_CAPTURES").and_then(|folder| std::fs::read_dir(folder).ok());
    files.extend(
        others.into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()).filter(|name| name.ends_with("pcap")),
    );
    files
}

#[test]
fn every_field_of_a_capture_is_documented() {
    let (page, scratch) = (page(), Scratch::new());
    let known =
        |name: &str| page.contains(&format!("`{name}`")) || page.contains(&format!("\"{name}\"")) || page.contains(&format!(".{name}`"));
    let unknown: Vec<String> = emitted(&captures(&scratch)).into_iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "docs/json.md does not name {unknown:?}");
}

#[test]
fn every_field_of_the_documented_example_is_emitted() {
    let (page, scratch) = (page(), Scratch::new());
    let example = page.split("```").nth(1).and_then(|text| text.strip_prefix("json")).expect("an example");
    let mut documented = BTreeSet::new();
    fields(&serde_json::from_str(example).expect("the example is JSON"), &mut documented);
    let emitted = emitted(&captures(&scratch));
    let missing: Vec<&String> = documented.iter().filter(|name| !emitted.contains(*name)).collect();
    assert!(documented.len() > 50 && missing.is_empty(), "docs/json.md shows {missing:?}, which nothing emits");
}
