//! Help, pages, tables, completions, manual pages, and the lab's listings.

use crate::{Scratch, program, run, run_with_input};

const COMMANDS: [&[&str]; 17] = [
    &[],
    &["check"],
    &["host"],
    &["capture"],
    &["witness"],
    &["compare"],
    &["replay"],
    &["explain"],
    &["causes"],
    &["lab"],
    &["lab", "list"],
    &["lab", "show"],
    &["lab", "run"],
    &["lab", "up"],
    &["lab", "demo"],
    &["completions"],
    &["man"],
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let ran = run(&[command, &[flag]].concat());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command:?}");
            assert!(ran.out.contains("Usage: faultmap"), "{command:?}: {}", ran.out);
            assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{command:?}: {}", ran.out);
        }
    }
    let check = run(&["check", "--help"]).out;
    for part in ["Examples:", "Exit code", "Time limits:", "Request:", "Connection:", "Output:"] {
        assert!(check.contains(part), "{part}");
    }
    assert_eq!(run(&["--version"]).out, concat!("faultmap ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_layer_is_explained_by_any_of_its_names() {
    let page = run(&["explain", "L4"]);
    assert_eq!((page.code, page.err.as_str()), (0, ""));
    for part in [
        "L4 Transport layer",
        "segment or datagram",
        "its job",
        "protocols",
        "how it fails",
        "from above",
        "toolbox",
        "ss -tnpi",
        "l4.port-filtered",
    ] {
        assert!(page.out.contains(part), "{part}: {}", page.out);
    }
    for name in ["l4", "4", "transport", "Transport"] {
        assert_eq!(run(&["explain", name]).out, page.out, "{name}");
    }
    let overview = run(&["explain"]);
    assert!(overview.code == 0 && overview.out.contains("L7 Application") && overview.out.contains("L1 Physical"), "{}", overview.out);
}

#[test]
fn every_cause_in_the_table_has_a_page() {
    let table = run(&["causes", "--json"]).json();
    assert_eq!(table["schema"], "faultmap.causes/1");
    let causes = table["causes"].as_array().expect("a list");
    assert!(causes.len() > 20);
    let text = run(&["causes"]).out;
    for cause in causes {
        let id = cause["cause"].as_str().expect("an id");
        assert!(text.contains(id), "{id}");
    }
    for cause in causes.iter().step_by(7) {
        let id = cause["cause"].as_str().expect("an id");
        let page = run(&["explain", id]);
        assert_eq!(page.code, 0, "{id}");
        for part in [id, "what it is", "what shows it", "fix"] {
            assert!(page.out.contains(part), "{id}: {}", page.out);
        }
    }
}

#[test]
fn the_table_can_be_one_layer_only() {
    let of_layer = run(&["causes", "--layer", "transport"]).out;
    assert!(of_layer.contains("l4.port-closed") && !of_layer.contains("l3."), "{of_layer}");
    assert_eq!(run(&["causes", "--layer", "L8"]).code, 2);
}

#[test]
fn what_is_unknown_is_answered_with_what_may_have_been_meant() {
    for (asked, meant) in [("l4.port-filterd", "l4.port-filtered"), ("l3.port-closed", "l4.port-closed"), ("sesion", "Session")] {
        let ran = run(&["explain", asked]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{asked}");
        assert!(ran.err.contains(meant), "{asked}: {}", ran.err);
    }
    let nothing = run(&["explain", "\u{1b}[2Jqqqq"]);
    assert!(nothing.code == 2 && !nothing.err.contains('\u{1b}') && nothing.err.contains("faultmap causes"), "{}", nothing.err);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("connect-timeout"), "{shell}");
    }
    assert!(run(&["man"]).out.contains(".TH faultmap 1"));
    let scratch = Scratch::new();
    assert_eq!(run(&["man", &scratch.path("pages")]).code, 0);
    for page in ["faultmap.1", "faultmap-check.1", "faultmap-lab-run.1"] {
        assert!(std::fs::read_to_string(scratch.path(&format!("pages/{page}"))).expect(page).contains(".SH SYNOPSIS"));
    }
    assert_eq!(run(&["man", "/dev/null/x"]).code, 2);
}

#[test]
fn the_lab_lists_and_shows_its_scenarios() {
    let list = run(&["lab", "list", "--json"]).json();
    assert_eq!(list["schema"], "faultmap.lab/1");
    let name = list["scenarios"][0]["id"].as_str().expect("an id").to_owned();
    assert!(run(&["lab", "list"]).out.contains(&name));
    let shown = run(&["lab", "show", &name]);
    assert!(shown.code == 0 && shown.out.contains("[expect]"), "{}", shown.out);
    for args in
        [&["lab", "show", "nosuch"][..], &["lab", "run", "nosuch"], &["lab", "list", "nosuch"], &["lab", "list", "--scenarios", "/no/such"]]
    {
        let ran = run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn a_worker_without_a_job_fails_in_order() {
    let ran = run_with_input(&["lab-worker"], b"no job");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("job"), "{}", ran.err);
}

#[test]
fn a_worker_is_hidden_from_users() {
    assert!(!run(&["--help"]).out.contains("lab-worker"));
    assert!(!run(&["completions", "bash"]).out.contains("lab-worker"));
    let output = program(&["help", "lab-worker"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
}
