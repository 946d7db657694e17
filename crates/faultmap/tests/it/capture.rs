//! `faultmap capture`: packets in; verdict, views and files out.

use crate::{Scratch, run, run_with_input};
use faultmap_wire::{Ethernet, Mac, Tcp, TcpFlags, ethernet, ip, proto};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const CLIENT: &str = "10.1.0.2";
const SERVER: &str = "10.2.0.10";

/// A capture file under construction.
pub(crate) struct Pcap(Vec<u8>, u16);

impl Pcap {
    pub(crate) fn new() -> Self {
        let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
        Self(header.iter().flat_map(|field| field.to_le_bytes()).collect(), 40_000)
    }

    fn frame(&mut self, at_ms: u32, frame: &[u8]) {
        let len = frame.len() as u32;
        let record = [1_700_000_000 + at_ms / 1000, at_ms % 1000 * 1000, len, len];
        self.0.extend(record.iter().flat_map(|field| field.to_le_bytes()));
        self.0.extend(frame);
    }

    fn segment(&mut self, at_ms: u32, from_client: bool, port: u16, flags: TcpFlags, (seq, ack): (u32, u32), payload: &[u8]) {
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        let (client, server) = ((address(CLIENT), self.1), (address(SERVER), port));
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        let mut tcp = Tcp::new(from.1, to.1, flags);
        (tcp.seq, tcp.ack, tcp.window) = (seq, ack, 65_000);
        let segment = tcp.emit(from.0, to.0, payload);
        let packet = ip::emit(from.0, to.0, proto::TCP, 64, &segment).expect("one family");
        let macs = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        self.frame(at_ms, &Ethernet::new(macs.0, macs.1, ethernet::IPV4).emit(&packet));
    }

    /// A connection to port 80 with one question and this answer.
    pub(crate) fn http(mut self, status: &str) -> Self {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let question = b"GET /shop HTTP/1.1\r\nHost: shop.test\r\n\r\n";
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        let (asked, answered) = (101 + question.len() as u32, 501 + answer.len() as u32);
        self.segment(0, true, 80, syn, (100, 0), b"");
        self.segment(1, false, 80, syn.with(ack), (500, 101), b"");
        self.segment(2, true, 80, ack, (101, 501), b"");
        self.segment(3, true, 80, ack.with(TcpFlags::PSH), (101, 501), question);
        self.segment(4, false, 80, ack, (501, asked), b"");
        self.segment(9, false, 80, ack.with(TcpFlags::PSH), (501, asked), answer.as_bytes());
        self.segment(10, true, 80, ack.with(TcpFlags::FIN), (asked, answered), b"");
        self.segment(11, false, 80, ack.with(TcpFlags::FIN), (answered, asked + 1), b"");
        self.segment(12, true, 80, ack, (asked + 1, answered + 1), b"");
        self
    }

    pub(crate) fn refused(mut self, port: u16) -> Self {
        self.segment(0, true, port, TcpFlags::SYN, (100, 0), b"");
        self.segment(1, false, port, TcpFlags::RST.with(TcpFlags::ACK), (0, 101), b"");
        self
    }

    pub(crate) fn silent(mut self, port: u16) -> Self {
        for at_ms in [0, 1000, 3000, 7000] {
            self.segment(at_ms, true, port, TcpFlags::SYN, (100, 0), b"");
        }
        self
    }

    /// So many connections to port 80, of which this share is refused, and the others are opened.
    fn many(mut self, connections: u16, refused: f64) -> Self {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let mut due = 0.0;
        for number in 0..connections {
            (self.1, due) = (10_000 + number, due + refused);
            let at_ms = u32::from(number);
            self.segment(at_ms, true, 80, syn, (100, 0), b"");
            if due >= 1.0 {
                due -= 1.0;
                self.segment(at_ms, false, 80, TcpFlags::RST.with(ack), (0, 101), b"");
            } else {
                self.segment(at_ms, false, 80, syn.with(ack), (500, 101), b"");
                self.segment(at_ms, true, 80, ack, (101, 501), b"");
            }
        }
        self
    }

    pub(crate) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn at(&self, scratch: &Scratch, name: &str) -> String {
        let path = scratch.path(name);
        std::fs::write(&path, &self.0).expect("written");
        path
    }
}

fn check(capture: &Pcap, code: i32, cause: Option<&str>) -> serde_json::Value {
    let scratch = Scratch::new();
    let ran = run(&["capture", &capture.at(&scratch, "x.pcap"), "--json"]);
    let report = ran.json();
    assert_eq!((ran.code, report["verdict"]["cause"].as_str()), (code, cause), "{report}{}", ran.err);
    report
}

#[test]
fn a_healthy_conversation_is_healthy() {
    let report = check(&Pcap::new().http("200 OK"), 0, None);
    assert_eq!((&report["schema"], &report["flows"]), (&"faultmap.capture/1".into(), &1.into()));
    assert_eq!(report["layers"].as_array().map(Vec::len), Some(7));
    assert_eq!(report["capture"]["packets"], 9);
    assert_eq!((&report["findings"], &report["more_findings"]), (&serde_json::json!([]), &0.into()));
    assert!(report["rules"].is_array() && report["services"][0]["server"] == "10.2.0.10:80", "{report}");
    assert_eq!(report["capture"]["from"], "2023-11-14T22:13:20.000000Z");
}

/// More than there is room for, one by one.
#[test]
fn a_share_is_of_all_that_went_by_however_much_it_was() {
    for (connections, refused, code) in [(15_000, 1.0, 14), (15_000, 0.2, 14), (300, 0.2, 14), (15_000, 0.05, 3), (15_000, 0.005, 0)] {
        let report = check(&Pcap::new().many(connections, refused), code, Some("l4.port-closed").filter(|_| code > 0));
        let service = &report["services"][0];
        assert_eq!(service["flows"], connections, "{service}");
        assert!(code == 0 || report["findings"][0]["share"].as_f64().is_some_and(|share| (share - refused).abs() < 0.01), "{report}");
        let told = report["layers"][3]["summary"].as_str().expect("a line");
        assert!(told.starts_with(&format!("{connections} TCP connections")), "{told}");
    }
}

#[test]
fn the_exit_code_names_the_layer_and_the_report_the_cause() {
    check(&Pcap::new().refused(81), 14, Some("l4.port-closed"));
    check(&Pcap::new().http("503 Service Unavailable"), 17, Some("l7.http-unavailable"));
}

#[test]
fn silence_alone_is_inconclusive_and_names_what_would_decide() {
    let report = check(&Pcap::new().silent(81), 4, Some("l4.port-filtered"));
    assert!(report["verdict"]["candidates"].as_array().is_some_and(|all| all.len() > 1));
    assert!(report["verdict"]["next"][0]["run"].as_str().is_some_and(|run| run.contains("faultmap check tcp://10.2.0.10:81")));
}

#[test]
fn silence_of_one_port_beside_one_that_answers_is_a_filter() {
    check(&Pcap::new().http("200 OK").silent(81), 14, Some("l4.port-filtered"));
}

#[test]
fn the_report_shows_packets_and_the_filter_for_wireshark() {
    let scratch = Scratch::new();
    let ran = run(&["capture", &Pcap::new().refused(81).at(&scratch, "x.pcap")]);
    for text in ["FAULT at L4 Transport", "l4.port-closed", "shown by packet", "ip.addr == 10.2.0.10 && tcp.port == 81", "next", "fix"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    let quiet = run(&["capture", &Pcap::new().refused(81).at(&scratch, "x.pcap"), "-q"]);
    assert!(quiet.out.starts_with("fault L4 l4.port-closed ") && quiet.out.lines().count() == 1, "{}", quiet.out);
}

#[test]
fn flows_are_a_table_or_json_lines() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("200 OK").refused(81).at(&scratch, "x.pcap");
    let table = run(&["capture", &file, "--flows"]);
    assert!(table.out.contains("10.1.0.2:40000") && table.out.contains("2 flows"), "{}", table.out);
    let lines = run(&["capture", &file, "--flows", "--sort", "start", "--json"]);
    let flows: Vec<serde_json::Value> = lines.out.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(flows.len(), 2);
    assert!(flows.iter().any(|flow| flow["state"] == "REJ" && flow["server"] == "10.2.0.10:81"), "{flows:?}");
}

#[test]
fn one_flow_is_shown_packet_by_packet() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("200 OK").at(&scratch, "x.pcap");
    let drawn = run(&["capture", &file, "--flow", "1"]);
    for text in ["client", "server", "SYN ACK ack 1", "GET /shop HTTP/1.1", "FIN ACK", "closed in order"] {
        assert!(drawn.out.contains(text), "{text}: {}", drawn.out);
    }
    let report = run(&["capture", &file, "--flow", "1", "--json"]).json();
    assert_eq!(report["packets"].as_array().map(Vec::len), Some(9));
    let unknown = run(&["capture", &file, "--flow", "7"]);
    assert!(unknown.code == 2 && unknown.err.contains("no flow 7"), "{}", unknown.err);
}

#[test]
fn talkers_and_services_are_told() {
    let scratch = Scratch::new();
    let ran = run(&["capture", &Pcap::new().http("200 OK").at(&scratch, "x.pcap"), "--top"]);
    assert!(ran.out.contains("talkers") && ran.out.contains("10.2.0.10:80"), "{}", ran.out);
}

#[test]
fn packets_of_a_flow_a_finding_or_a_filter_are_written_as_a_capture() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("200 OK").refused(81).at(&scratch, "x.pcap");
    let out = scratch.path("out.pcapng");
    let check = |args: &[&str], packets: u64| {
        let ran = run(&[&["capture", &file, "--write", &out, "--json"], args].concat());
        assert_ne!(ran.code, 2, "{args:?}: {}", ran.err);
        assert_eq!(run(&["capture", &out, "--json"]).json()["capture"]["packets"], packets, "{args:?}");
    };
    check(&[], 11);
    check(&["--flow", "1"], 9);
    check(&["--finding", "1"], 2);
    check(&["--filter", "tcp.port == 81"], 2);
    check(&["--filter", "cause == l4.port-closed"], 2);
    assert_eq!(scratch.files().len(), 2, "no scratch file is left: {:?}", scratch.files());
    let nowhere = run(&["capture", &file, "--write", "/proc/nowhere/x.pcapng"]);
    assert!(nowhere.code == 2 && nowhere.out.is_empty() && nowhere.err.contains("cannot write"), "{}", nowhere.err);
}

#[test]
fn what_no_filter_let_through_is_not_called_healthy() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("200 OK").refused(81).at(&scratch, "x.pcap");
    for (filter, code, words) in
        [("tcp.port == 80", 0, "in what matches the filter: 1 of 2 flows"), ("tcp.port == 9", 4, "Nothing in the capture matches")]
    {
        let ran = run(&["capture", &file, "--filter", filter, "-q"]);
        assert!(ran.code == code && ran.out.contains(words), "{filter}: {}", ran.out);
    }
}

#[test]
fn a_filter_that_is_none_is_told_with_its_place() {
    let scratch = Scratch::new();
    let ran = run(&["capture", &Pcap::new().refused(81).at(&scratch, "x.pcap"), "--filter", "tcp.prot == 81"]);
    assert!(ran.code == 2 && ran.err.contains("filter:") && ran.err.contains('^'), "{}", ran.err);
}

#[test]
fn flows_are_written_as_parquet() {
    let scratch = Scratch::new();
    let out = scratch.path("flows.parquet");
    let ran = run(&["capture", &Pcap::new().http("200 OK").at(&scratch, "x.pcap"), "--parquet", &out, "-q"]);
    let bytes = std::fs::read(&out).expect("the file");
    assert_eq!((ran.code, bytes.get(..4), bytes.last_chunk::<4>()), (0, Some(&b"PAR1"[..]), Some(b"PAR1")), "{}", ran.err);
}

#[test]
fn one_finding_is_told_with_what_to_do_about_it() {
    let scratch = Scratch::new();
    let file = Pcap::new().refused(81).http("503 Service Unavailable").at(&scratch, "x.pcap");
    let told = run(&["capture", &file, "--finding", "2"]);
    for text in ["2. ", "shown by packet", "Wireshark", "in flows", "next", "fix"] {
        assert!(told.out.contains(text), "{text}: {}", told.out);
    }
    let unknown = run(&["capture", &file, "--finding", "9"]);
    assert!(unknown.code == 2 && unknown.err.contains("there is no finding 9: the report has 2"), "{}", unknown.err);
}

#[test]
fn what_is_said_once_is_not_said_again() {
    let scratch = Scratch::new();
    let file = Pcap::new().silent(81).at(&scratch, "x.pcap");
    for args in [&[][..], &["--verbose"]] {
        let ran = run(&[&["capture", &file], args].concat());
        assert_eq!(ran.out.matches("did not answer a connection attempt").count(), 1, "{}", ran.out);
        assert_eq!(ran.out.matches("tcpdump -ni any host 10.2.0.10").count(), 1, "{}", ran.out);
    }
}

#[test]
fn no_view_is_wider_than_the_terminal() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("503 Service Unavailable").refused(81).silent(82).at(&scratch, "x.pcap");
    for width in [60, 80, 100, 140] {
        for args in [&[][..], &["--verbose"], &["--flows"], &["--top"], &["--flow", "1"], &["--finding", "1"], &["--packet", "4"]] {
            let mut program = crate::program(&[&["capture", &file], args].concat());
            let output = program.env("COLUMNS", width.to_string()).output().expect("the program starts");
            for line in crate::Ran::of(output).out.lines() {
                // What is there to be copied is never broken.
                let command = line.trim_start().starts_with("Wireshark ") || line.trim_start().starts_with(|c: char| c.is_ascii_digit());
                assert!(command || line.chars().count() <= width, "{args:?} at {width}: {line}");
            }
        }
    }
}

#[test]
fn a_folder_is_the_captures_in_it_in_their_order() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("ring")).expect("a folder");
    let folder = scratch.path("ring");
    let none = run(&["capture", &folder]);
    assert!(none.code == 2 && none.err.contains("holds no captures"), "{}", none.err);
    Pcap::new().refused(81).at(&scratch, "ring/x.pcap10");
    Pcap::new().http("200 OK").at(&scratch, "ring/x.pcap9");
    std::fs::write(scratch.path("ring/notes.txt"), "no capture").expect("written");
    let report = run(&["capture", &folder, "--json"]).json();
    let names: Vec<&str> = report["files"].as_array().expect("files").iter().filter_map(|file| file["name"].as_str()).collect();
    assert_eq!(names, [format!("{folder}/x.pcap9"), format!("{folder}/x.pcap10")]);
    assert_eq!(report["capture"]["packets"], 11);
}

#[test]
fn an_error_is_told_of_the_file_that_has_it() {
    let scratch = Scratch::new();
    let whole = Pcap::new().refused(81).at(&scratch, "a.pcap");
    let mut cut = Pcap::new().refused(81);
    cut.0.truncate(60);
    let cut = cut.at(&scratch, "a.pcap2");
    let files = &run(&["capture", &whole, &cut, "--json"]).json()["files"];
    assert!(files[0]["error"].is_null() && files[1]["error"].is_string(), "{files}");
}

#[test]
fn options_of_a_live_capture_are_refused_where_files_are_read() {
    let scratch = Scratch::new();
    let file = Pcap::new().refused(81).at(&scratch, "x.pcap");
    for args in [&["--bpf", "port 80"][..], &["--for", "3s"], &["--count", "2"], &["--promiscuous"], &["--json-lines"], &["--ring", "x"]] {
        let ran = run(&[&["capture", &file], args].concat());
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains("cannot be used with"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn nothing_is_written_for_a_flow_that_is_not_there() {
    let scratch = Scratch::new();
    let file = Pcap::new().refused(81).at(&scratch, "x.pcap");
    let ran = run(&["capture", &file, "--flow", "7", "--write", &scratch.path("out.pcapng")]);
    assert!(ran.code == 2 && ran.err.contains("no flow 7"), "{}", ran.err);
    let ran = run(&["capture", &file, "--write", "-"]);
    assert!(ran.code == 2 && ran.err.contains("stdout"), "{}", ran.err);
    assert_eq!(scratch.files(), ["x.pcap"]);
}

#[test]
fn a_silent_pipe_ends_when_the_user_has_had_enough() {
    use std::io::Write as _;
    let mut child = crate::program(&["capture", "-", "-q"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The pipe stays open, as that of a recorder to which nothing comes.
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(&Pcap::new().refused(81).0).expect("written");
    let pid = child.id().to_string();
    let begun = |child: u32| std::fs::read_to_string(format!("/proc/{child}/status")).is_ok_and(|status| caught(&status, 2));
    while !begun(child.id()) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let ran = crate::Ran::of(child.wait_with_output().expect("ends"));
    drop(pipe);
    assert!(ran.code == 14 || ran.code == 4, "judged, or ended before the first packet: {} {}", ran.code, ran.out);
}

/// Whether a process catches this signal (proc(5), `SigCgt`).
fn caught(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[test]
fn a_pipe_is_read_as_a_file_but_once() {
    let capture = Pcap::new().refused(81);
    assert_eq!(run_with_input(&["capture", "-", "-q"], &capture.0).code, 14);
    for twice in [&["--flow", "1"][..], &["--write", "/dev/null"]] {
        let ran = run_with_input(&[&["capture", "-"], twice].concat(), &capture.0);
        assert!(ran.code == 2 && ran.err.contains("save it to a file"), "{}", ran.err);
    }
}

#[test]
fn a_damaged_file_is_judged_by_what_stands_before_the_damage() {
    let scratch = Scratch::new();
    let mut capture = Pcap::new().refused(81);
    capture.0.extend([1, 2, 3]);
    let ran = run(&["capture", &capture.at(&scratch, "x.pcap"), "--json"]);
    assert_eq!(ran.code, 14);
    assert!(ran.err.contains("x.pcap ends at byte ") && ran.json()["files"][0]["error"].is_string(), "{}{}", ran.err, ran.out);
}

#[test]
fn the_damage_of_a_file_is_told_of_that_file_alone() {
    let scratch = Scratch::new();
    let whole = Pcap::new().refused(81).at(&scratch, "x.pcap");
    let mut cut = Pcap::new().refused(82);
    cut.0.extend([1, 2, 3]);
    let files = run(&["capture", &whole, &cut.at(&scratch, "x.pcap.1"), "--json"]).json()["files"].clone();
    assert!(files[0]["error"].is_null() && files[1]["error"].is_string(), "{files}");
}

#[test]
fn a_file_that_is_no_capture_is_refused_and_says_why() {
    let scratch = Scratch::new();
    for (name, bytes, expect) in [
        ("empty.pcap", &b""[..], "is empty"),
        ("page.html", &b"<!DOCTYPE html>"[..], "neither pcap nor pcapng"),
        ("packed.pcap.xz", &[0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4][..], "xz -dc"),
    ] {
        let path = scratch.path(name);
        std::fs::write(&path, bytes).expect("written");
        let ran = run(&["capture", &path, "--json"]);
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains(expect), "{name}: {}{}", ran.out, ran.err);
    }
    assert_eq!(run(&["capture", &scratch.path("absent.pcap")]).code, 2);
}

/// What the verdict on a public capture must be.
enum Public {
    /// Not healthy, and this layer is named.
    At(&'static str),
    /// Healthy: a baseline, a flaw of the capture, or a note that blames nobody.
    Well,
}

/// The folder of public captures, if there is one here.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FAULTMAP_CAPTURES names no folder of captures");
    }
    folder
}

const PUBLIC: &[(&str, Public)] = &[
    ("chrissanders-arp_gratuitous.pcapng", Public::Well),
    ("chrissanders-arppoison.pcapng", Public::At("L2")),
    ("zeek-arp-leak.pcap", Public::Well),
    ("lab-l2_arp_gratuitous_failover.pcap", Public::Well),
    ("chrissanders-icmp_traceroute.pcapng", Public::Well),
    ("chrissanders-ip_frag_source.pcapng", Public::Well),
    ("lab-l3_routing_loop_tcp.pcap", Public::At("L3")),
    // The path's size limit is mended by the router's word; the server refuses what it was sent with 400 all the same.
    ("lab-l3_frag_needed_ok.pcap", Public::At("L7")),
    // The router says so because its neighbour is silent: the layer behind L3.
    ("lab-l3_icmp_host_unreachable.pcap", Public::At("L2")),
    ("lab-l3_icmp_admin_prohibited.pcap", Public::At("L4")),
    ("chrissanders-tcp_refuseconnection.pcapng", Public::At("L4")),
    ("chrissanders-nowebaccess3.pcapng", Public::At("L4")),
    ("lab-l4_syn_dropped.pcap", Public::At("L4")),
    ("lab-l4_syn_refused.pcap", Public::At("L4")),
    ("lab-l4_udp_port_unreachable.pcap", Public::At("L4")),
    ("chrissanders-synscan.pcapng", Public::At("L4")),
    ("zeek-tcp__syn-synack.pcap", Public::Well),
    ("suricata-tcp-fastopen-11-reject-syn-data__tlpw-tcp-tfo-data-on-syn-nack.pcap", Public::Well),
    ("chrissanders-tcp_retransmissions.pcapng", Public::At("L4")),
    ("lab-l4_idle_then_rst.pcap", Public::At("L4")),
    ("chrissanders-tcp_dupack.pcapng", Public::Well),
    ("lab-l4_loss_3pct_down.pcap", Public::At("L4")),
    ("suricata-bug-4376__syn_retransmit_with_ts.pcap", Public::At("L4")),
    ("wireshark-dns-ooo.pcap", Public::Well),
    ("chrissanders-tcp_zerowindowrecovery.pcapng", Public::Well),
    ("lab-l4_zero_window_stuck.pcap", Public::At("L4")),
    ("lab-l4_keepalive_ok.pcap", Public::Well),
    ("zeek-http__docker-http-upgrade.pcap", Public::Well),
    ("lab-l4_rst_mid_response.pcap", Public::At("L4")),
    ("zeek-tcp__fin_retransmission.pcap", Public::Well),
    ("zeek-tcp__ssh-dups.pcap", Public::Well),
    ("zeek-tcp__miss_end_data.pcap", Public::Well),
    ("suricata-http-gap-simple__input.pcap", Public::Well),
    ("pcapplusplus-unidirectional_tcp_stream_with_missing_packet.pcap", Public::Well),
    ("zeek-tcp__missing-syn.pcap", Public::Well),
    ("wireshark-trunc.pcap", Public::Well),
    ("zeek-chksums__ip4-tcp-bad-chksum.pcap", Public::Well),
    ("chrissanders-latency1.pcapng", Public::Well),
    ("chrissanders-latency3.pcapng", Public::Well),
    ("lab-l7_server_think_2s.pcap", Public::At("L7")),
    ("zeek-tls__tls-1.2-handshake-failure.pcap", Public::At("L6")),
    ("ndpi-tls_alert.pcap", Public::At("L6")),
    ("zeek-tls__certificate-request-failed.pcap", Public::At("L6")),
    ("lab-l6_tls_unknown_ca_alert.pcap", Public::At("L6")),
    ("zeek-tls__tls-expired-cert.pcap", Public::At("L6")),
    ("zeek-tls__https-to-http.pcap", Public::At("L6")),
    ("lab-l6_plaintext_to_tls_port.pcap", Public::At("L6")),
    ("zeek-tls__missing-intermediate.pcap", Public::At("L6")),
    ("chrissanders-dns_query_nonexistent.pcapng", Public::At("L7")),
    ("chrissanders-nowebaccess1.pcapng", Public::At("L7")),
    ("zeek-dns-two-responses.pcap", Public::Well),
    ("lab-l7_dns_servfail.pcap", Public::At("L7")),
    ("lab-l7_dns_drop.pcap", Public::At("L7")),
    ("lab-l7_dns_ttl0.pcap", Public::At("L7")),
    ("lab-l7_dns_empty.pcap", Public::At("L7")),
    ("chrissanders-dns_isp_hijack.pcapng", Public::At("L7")),
    ("zeek-http__methods.pcap", Public::At("L7")),
    ("lab-l7_http_503.pcap", Public::At("L7")),
    ("wireshark-grpc_stream_reassembly_sample.pcapng.gz", Public::Well),
    ("zeek-websocket__message-too-big-status.pcap", Public::At("L7")),
    ("zeek-postgresql__psql-login-fail.pcap", Public::At("L7")),
    ("zeek-postgresql__http-on-port-5432.pcap", Public::Well),
    ("lab-l7_pg_auth_or_db_missing.pcap", Public::At("L7")),
    ("zeek-mysql__change-user-error.pcap", Public::At("L7")),
    ("lab-l7_mysql_sql_error.pcap", Public::At("L7")),
    ("zeek-redis__auth.pcap", Public::At("L7")),
    ("ndpi-ftp_failed.pcap", Public::At("L7")),
    ("chrissanders-weather_working.pcapng", Public::Well),
    ("chrissanders-http_google.pcapng", Public::Well),
    ("zeek-tls__tls1.2.pcap", Public::Well),
    ("wireshark-quic-with-secrets.pcapng", Public::Well),
    ("tcpdump-quic_vn.pcap", Public::Well),
    ("zeek-tunnels__vxlan-encapsulated-http.pcap", Public::Well),
    ("zeek-vlan-collisions.pcap", Public::Well),
    ("tcpdump-gso-ipv4-vxlan-ipv4.pcap", Public::Well),
];

fn differs(folder: &Path, name: &str, expect: &Public) -> Option<String> {
    let ran = run(&["capture", folder.join(name).to_str().expect("UTF-8"), "--json"]);
    let verdict = &ran.json()["verdict"];
    let as_expected = match expect {
        Public::At(layer) => verdict["layer"] == *layer && verdict["status"] != "healthy",
        Public::Well => verdict["status"] == "healthy" && ran.code == 0,
    };
    (!as_expected).then(|| format!("{name}: {verdict}"))
}

#[test]
fn public_captures_are_judged_as_those_who_know_them_do() {
    let Some(folder) = captures() else { return };
    let differ: Vec<String> = PUBLIC.iter().filter_map(|(name, expect)| differs(&folder, name, expect)).collect();
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), PUBLIC.len(), differ.join("\n"));
}

#[test]
fn files_made_to_break_readers_end_in_a_report() {
    let Some(folder) = captures() else { return };
    for place in ["malformed", "pcapng-format"] {
        for entry in std::fs::read_dir(folder.join(place)).expect("the folder").flatten() {
            let ran = run(&["capture", entry.path().to_str().expect("UTF-8"), "--json"]);
            assert_eq!(ran.json()["schema"], "faultmap.capture/1", "{:?}: {}", entry.path(), ran.err);
            assert!(!ran.err.contains("internal error"), "{:?}: {}", entry.path(), ran.err);
        }
    }
}

/// As devices are, which root would lose to a program that puts a file in their place.
#[test]
fn a_pipe_is_written_to_and_never_replaced() {
    let scratch = Scratch::new();
    let file = Pcap::new().http("200 OK").at(&scratch, "ok.pcap");
    for (option, begins) in [("--write", &[0x0a, 0x0d, 0x0d, 0x0a]), ("--parquet", b"PAR1")] {
        let pipe = scratch.path(option.trim_start_matches('-'));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).expect("read to its end")
        });
        let ran = run(&["capture", &file, option, &pipe, "-q"]);
        assert_eq!(ran.code, 0, "{option}: {}", ran.err);
        assert_eq!(reader.join().expect("no panic").get(..4), Some(&begins[..]), "{option}");
        assert!(!std::fs::metadata(&pipe).expect("it is there").is_file(), "{option}");
    }
}
