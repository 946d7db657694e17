//! `faultmap host`: the map as JSON, as metrics and over HTTP, other places, histories, and arguments that do not fit together.

use crate::{Scratch, program, run};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// What a host of its own may say: this machine's health is no matter of these tests.
fn is_verdict(code: i32) -> bool {
    matches!(code, 0 | 3 | 11..=17)
}

#[test]
fn the_object_has_seven_layers_and_ids_of_the_registry() {
    let ran = run(&["host", "--json", "--interval", "200ms"]);
    assert!(is_verdict(ran.code), "{}: {}", ran.code, ran.err);
    assert_eq!(ran.err, "");
    let report = ran.json();
    assert_eq!(report["schema"], "faultmap.host/1");
    let layers: Vec<&str> = report["layers"].as_array().expect("a list").iter().filter_map(|layer| layer["layer"].as_str()).collect();
    assert_eq!(layers, ["L1", "L2", "L3", "L4", "L5", "L6", "L7"]);
    assert!(report["interval_ms"].as_f64().is_some_and(|ms| ms >= 200.0), "{}", report["interval_ms"]);
    assert!(!report["readings"].as_array().expect("a list").is_empty());
    let known = run(&["causes", "--json"]).out;
    for finding in report["findings"].as_array().expect("a list") {
        assert!(known.contains(finding["cause"].as_str().expect("an id")), "{finding}");
    }
    let code = match report["status"].as_str() {
        Some("healthy") => 0,
        Some("degraded") => 3,
        _ => ran.code,
    };
    assert_eq!(ran.code, code);
}

#[test]
fn the_map_shows_every_layer_and_details_when_asked() {
    let ran = run(&["host", "--interval", "100ms", "--verbose"]);
    assert!(is_verdict(ran.code), "{}", ran.err);
    for part in ["L7 Application", "L1 Physical", ", over ", "L4 Transport"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 110), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'), "no colours in a pipe");
    let quiet = run(&["host", "--interval", "100ms", "--quiet"]);
    assert_eq!(quiet.out.lines().count(), 1, "{}", quiet.out);
    let four = run(&["host", "--interval", "100ms", "--tcpip"]);
    assert!(four.out.contains("Internet    L3") && !four.out.contains("L6 Presentation"), "{}", four.out);
}

/// A family of the text format.
struct Family {
    kind: String,
    samples: BTreeMap<String, f64>,
}

/// The text format 0.0.4 as its page describes it, and nothing more.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut present) = (BTreeSet::new(), String::new());
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(is_name(name) && !help.is_empty() && helped.insert(name.to_owned()), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name) && matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            present = name.to_owned();
            let new = families.insert(name.to_owned(), Family { kind: kind.to_owned(), samples: BTreeMap::new() });
            assert!(new.is_none(), "{line}");
            continue;
        }
        let (series, number) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.find('{').map_or((series, ""), |place| series.split_at(place));
        assert_eq!(name, present, "a family stands together");
        check_labels(labels, is_name);
        let number: f64 = number.parse().expect("a number");
        let family = families.get_mut(name).expect("a family");
        assert!(family.kind == "gauge" || number >= 0.0, "{line}");
        assert!(family.samples.insert(labels.to_owned(), number).is_none(), "twice: {line}");
    }
    families
}

/// `{a="x",b="y"}`, with `\\`, `\"` and `\n` escaped in the values.
fn check_labels(labels: &str, is_name: impl Fn(&str) -> bool) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("braces");
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{labels}");
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            assert!(!escaped || matches!(c, '\\' | '"' | 'n'), "{labels}");
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &after[end.expect("a closing mark") + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break assert_eq!(rest, "", "{labels}"),
        }
    }
}

/// What the network pieces of node_exporter tell.
fn stands_in_for_node_exporter(text: &str) {
    let families = parse(text);
    let lo = "{device=\"lo\"}";
    let received = families.get("faultmap_network_receive_bytes_total").expect("netdev");
    assert!(received.kind == "counter" && received.samples.contains_key(lo), "{text}");
    for name in [
        "faultmap_network_transmit_packets_total",
        "faultmap_network_mtu_bytes",
        "faultmap_netstat_tcp_retrans_segs_total",
        "faultmap_netstat_tcp_ext_listen_overflows_total",
        "faultmap_netstat_udp_in_datagrams_total",
        "faultmap_sockstat_tcp_inuse",
        "faultmap_softnet_dropped_packets_total",
        "faultmap_filefd_allocated",
    ] {
        assert!(families.contains_key(name), "{name}: {text}");
    }
}

#[test]
fn the_metrics_are_of_the_text_format() {
    let ran = run(&["host", "--prometheus"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    stands_in_for_node_exporter(&ran.out);
}

/// A running server; gone when dropped.
struct Server {
    child: Child,
    place: String,
}

impl Server {
    fn start(listen: &str) -> Self {
        let mut child = program(&["host", "--listen", listen]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("UTF-8") > 0, "it ended");
        }
        std::thread::spawn(move || lines.lines().for_each(drop));
        let place = line.split("listening on ").nth(1).and_then(|rest| rest.split(';').next()).expect("a place").to_owned();
        Self { child, place: place.trim_start_matches("http://").trim_end_matches("/metrics").to_owned() }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.place).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn get(&self, path: &str) -> (String, String) {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    fn terminated(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_answers_scrapes_refuses_the_rest_and_ends_in_order() {
    let server = Server::start("127.0.0.1:0");
    let (head, body) = server.get("/metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    stands_in_for_node_exporter(&body);
    assert_eq!(server.get("/metrics").1, body, "scrapes within a second share a sample");
    assert!(server.get("/").1.contains("/metrics"));
    assert!(server.get("/-/healthy").0.starts_with("HTTP/1.1 200"));
    assert!(server.get("/other").0.starts_with("HTTP/1.1 404"));
    let head = server.ask("HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let refused = server.ask("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
    assert!(server.ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    // One that is idle does not hold up the end.
    let _idle = TcpStream::connect(&server.place).expect("connects");
    assert_eq!(server.terminated("-TERM"), Some(0));
}

#[test]
fn a_server_on_a_socket_file_takes_the_place_of_a_dead_one_and_leaves_none() {
    let scratch = Scratch::new();
    let path = scratch.path("metrics.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let server = Server::start(&format!("unix:{path}"));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("connects");
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let second = run(&["host", "--listen", &format!("unix:{path}")]);
    assert!(second.code == 2 && second.err.contains("something listens there already"), "{}", second.err);
    assert_eq!(server.terminated("-INT"), Some(0));
    assert_eq!(scratch.files(), Vec::<String>::new());
    std::fs::write(&path, "a file").expect("written");
    let other = run(&["host", "--listen", &format!("unix:{path}")]);
    assert!(other.code == 2 && other.err.contains("another kind"), "{}", other.err);
}

#[test]
fn watching_into_a_pipe_is_one_object_a_line() {
    let ran = run(&["host", "--watch", "--json", "--interval", "100ms", "--count", "3"]);
    assert!(is_verdict(ran.code), "{}", ran.err);
    let lines: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["schema"] == "faultmap.host/1" && line["interval_ms"].is_number()));
    assert!(lines.windows(2).all(|pair| pair[0]["taken_unix_ms"].as_u64() < pair[1]["taken_unix_ms"].as_u64()));
}

#[test]
fn a_screen_without_a_terminal_is_refused_with_a_way_out() {
    let ran = run(&["host", "--watch"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--json") && ran.err.contains("--prometheus"), "{}", ran.err);
}

#[test]
fn a_history_grows_by_a_line_a_run_and_is_never_lost() {
    let scratch = Scratch::new();
    let file = scratch.path("host.jsonl");
    for lines in 1..=3 {
        let ran = run(&["host", "--json", "--interval", "100ms", "--history", &file]);
        assert!(is_verdict(ran.code), "{}", ran.err);
        let text = std::fs::read_to_string(&file).expect("written");
        assert_eq!(text.lines().count(), lines);
        for line in text.lines() {
            let point: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(point["unix_ms"].is_u64() && point["percents"].is_object(), "{line}");
        }
    }
    let full = run(&["host", "--interval", "100ms", "--history", "/dev/full"]);
    assert!(full.code == 2 && full.out.contains("L4") && full.err.contains("cannot write the history"), "{}", full.err);
    let folder = run(&["host", "--history", &scratch.path("")]);
    assert!(folder.code == 2 && folder.out.is_empty() && folder.err.contains("folder"), "{}", folder.err);
}

#[test]
fn what_grew_over_earlier_runs_has_a_forecast() {
    let scratch = Scratch::new();
    let file = scratch.path("host.jsonl");
    let now = run(&["host", "--json", "--interval", "100ms"]).json();
    let find = |report: &serde_json::Value| {
        let mut all = report["readings"].as_array().expect("a list").iter();
        all.find(|reading| reading["id"] == "fds.host").and_then(|reading| reading["percent"].as_f64())
    };
    // Without /proc there is nothing to foretell.
    let Some(percent) = find(&now) else { return };
    let at = now["taken_unix_ms"].as_u64().expect("a time");
    let line = |back: u32, host: &serde_json::Value| {
        let then = serde_json::json!({"fds.host": percent - f64::from(back) * 5.0});
        let point = serde_json::json!({
            "unix_ms": at - u64::from(back) * 60_000, "hostname": host, "namespace": now["namespace"], "percents": then
        });
        format!("{point}\n")
    };
    let text: String = (1..=8).rev().map(|back| line(back, &now["hostname"])).collect();
    std::fs::write(&file, &text).expect("written");
    let told = run(&["host", "--json", "--interval", "100ms", "--history", &file]).json();
    let forecast = told["forecast"].as_array().expect("a list").iter().find(|forecast| forecast["reading"] == "fds.host");
    // Five points a minute: some twenty minutes.
    let seconds = forecast.and_then(|forecast| forecast["seconds"].as_f64()).expect("a forecast");
    assert!((300.0..2400.0).contains(&seconds), "{told}");
    let text: String = (1..=8).rev().map(|back| line(back, &serde_json::json!("another host"))).collect();
    std::fs::write(&file, &text).expect("written");
    let told = run(&["host", "--json", "--interval", "100ms", "--history", &file]).json();
    assert!(told["forecast"].as_array().expect("a list").is_empty(), "{told}");
}

#[test]
fn what_does_not_fit_together_is_told_before_anything_is_read() {
    for (args, says) in [
        (&["host", "--interval", "1ms"][..], "100ms"),
        (&["host", "--json", "--prometheus"], "cannot be used with"),
        (&["host", "--listen", "9876"], "ADDRESS:PORT"),
        (&["host", "--listen", "127.0.0.1:1", "--watch"], "cannot be used with"),
        (&["host", "--netns", "a", "--pid", "1"], "cannot be used with"),
        (&["host", "--count", "3"], "--watch"),
        (&["host", "--pid", "0"], "--pid"),
        (&["host", "--pid", "99999999"], "no process"),
        (&["host", "--netns", "faultmap-no-such-name"], "no network namespace"),
        (&["host", "extra"], "one argument too many"),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
}

#[test]
fn the_own_process_is_a_place_like_any_other() {
    let pid = std::process::id().to_string();
    let ran = run(&["host", "--json", "--interval", "100ms", "--pid", &pid]);
    // Without CAP_SYS_ADMIN nobody may enter a namespace, not even his own.
    let refused = ran.code == 2 && ran.err.contains("CAP_SYS_ADMIN");
    assert!(refused || is_verdict(ran.code), "{}: {}", ran.code, ran.err);
}

/// Waits until the program has a handler for SIGINT (proc_pid_status(5), SigCgt).
fn hears_interrupts(pid: &str) {
    for _ in 0..1000 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim).unwrap_or_default();
        if u64::from_str_radix(caught, 16).is_ok_and(|signals| signals & 2 != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no handler");
}

#[test]
fn an_interrupted_look_tells_what_it_has() {
    let mut child =
        program(&["host", "--interval", "30s", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let pid = child.id().to_string();
    hears_interrupts(&pid);
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let mut out = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
    let code = child.wait().expect("ends").code().expect("no signal");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    // Two looks within the same breath cannot be compared, and then no interval is told.
    assert!(is_verdict(code) && report["interval_ms"].as_f64().is_none_or(|ms| ms < 30_000.0), "{code}: {}", report["interval_ms"]);
}
