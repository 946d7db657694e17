//! What captures of others are known to show, and what the healthy ones must not: read from the folder that FAULTMAP_CAPTURES names. They are not ours
//! to commit; where the folder is not set, the test says so and passes.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::file::Files;
use faultmap_capture::finding::Weight;
use std::path::{Path, PathBuf};

/// The rules that must match in a capture, and the worst that may be found in layers 2 to 4.
const EXPECTED: &[(&str, &[&str], Weight)] = &[
    ("chrissanders-arp_gratuitous.pcapng", &["arp.gratuitous"], Weight::Note),
    ("chrissanders-arppoison.pcapng", &["arp.gateway-mac-change", "arp.mac-claims-two-ips"], Weight::Warning),
    ("zeek-arp-leak.pcap", &["cap.malformed"], Weight::Capture),
    ("lab-l2_arp_gratuitous_failover.pcap", &["arp.gratuitous", "arp.conflict"], Weight::Note),
    ("chrissanders-icmp_traceroute.pcapng", &["icmp.ttl-exceeded"], Weight::Note),
    ("zeek-icmp__icmp6-toobig.pcap", &["icmp6.packet-too-big"], Weight::Note),
    ("zeek-icmp__icmp-destunreach-udp.pcap", &["icmp.port-unreachable"], Weight::Note),
    ("chrissanders-ip_frag_source.pcapng", &["ip.fragmented"], Weight::Note),
    ("lab-l3_routing_loop_tcp.pcap", &["ip.routing-loop"], Weight::Fault),
    ("lab-l3_frag_needed_ok.pcap", &["icmp.frag-needed"], Weight::Note),
    ("lab-l3_icmp_host_unreachable.pcap", &["icmp.host-unreachable"], Weight::Fault),
    ("lab-l3_icmp_admin_prohibited.pcap", &["icmp.admin-prohibited"], Weight::Fault),
    ("chrissanders-tcp_refuseconnection.pcapng", &["tcp.syn-refused"], Weight::Fault),
    ("chrissanders-nowebaccess3.pcapng", &["tcp.syn-unanswered"], Weight::Fault),
    ("lab-l4_syn_dropped.pcap", &["tcp.syn-unanswered"], Weight::Fault),
    ("lab-l4_syn_refused.pcap", &["tcp.syn-refused"], Weight::Fault),
    ("lab-l4_udp_port_unreachable.pcap", &["icmp.port-unreachable"], Weight::Fault),
    ("chrissanders-synscan.pcapng", &["tcp.scan", "tcp.syn-refused", "tcp.syn-unanswered"], Weight::Note),
    ("zeek-tcp__syn-synack.pcap", &["tcp.handshake-incomplete"], Weight::Note),
    ("suricata-tcp-fastopen-11-reject-syn-data__tlpw-tcp-tfo-data-on-syn-nack.pcap", &["tcp.tfo-ignored"], Weight::Note),
    ("chrissanders-tcp_retransmissions.pcapng", &["tcp.rto"], Weight::Fault),
    ("lab-l4_idle_then_rst.pcap", &["tcp.idle-rst"], Weight::Fault),
    ("chrissanders-tcp_dupack.pcapng", &["tcp.dup-ack", "tcp.fast-retx"], Weight::Note),
    // All three segments come again 0.3 ms after SACK asked for them: none of them is a timeout, as tshark has two of them.
    ("lab-l4_loss_3pct_down.pcap", &["tcp.fast-retx"], Weight::Warning),
    ("suricata-bug-4376__syn_retransmit_with_ts.pcap", &["tcp.syn-retransmit", "tcp.fast-retx"], Weight::Warning),
    ("wireshark-tcp-badsegments.pcap", &["tcp.ooo"], Weight::Warning),
    ("wireshark-dns-ooo.pcap", &["tcp.ooo"], Weight::Note),
    ("chrissanders-tcp_zerowindowrecovery.pcapng", &["tcp.zero-window"], Weight::Note),
    ("lab-l4_zero_window_stuck.pcap", &["tcp.zero-window"], Weight::Fault),
    ("chrissanders-inconsistent_printer.pcapng", &["tcp.window-full", "tcp.rto"], Weight::Fault),
    ("lab-l4_keepalive_ok.pcap", &["tcp.keepalive"], Weight::Note),
    ("zeek-http__docker-http-upgrade.pcap", &["tcp.keepalive"], Weight::Note),
    ("lab-l4_rst_mid_response.pcap", &["tcp.rst-mid-response"], Weight::Fault),
    ("zeek-tcp__fin_retransmission.pcap", &["tcp.fin-retransmit"], Weight::Note),
    ("ndpi-tls_alert.pcap", &["tcp.rto"], Weight::Fault),
    ("zeek-tcp__ssh-dups.pcap", &["cap.duplicate"], Weight::Capture),
    ("zeek-tcp__miss_end_data.pcap", &["cap.gap"], Weight::Capture),
    ("suricata-http-gap-simple__input.pcap", &["cap.gap"], Weight::Capture),
    ("pcapplusplus-unidirectional_tcp_stream_with_missing_packet.pcap", &["cap.one-sided", "cap.gap"], Weight::Capture),
    ("zeek-tcp__missing-syn.pcap", &["cap.midstream"], Weight::Capture),
    ("wireshark-trunc.pcap", &["cap.malformed", "cap.time-backwards"], Weight::Capture),
    ("zeek-chksums__ip4-tcp-bad-chksum.pcap", &["tcp.bad-checksum"], Weight::Note),
    // Healthy.
    ("chrissanders-latency1.pcapng", &[], Weight::Note),
    ("chrissanders-weather_working.pcapng", &[], Weight::Note),
    ("chrissanders-http_google.pcapng", &[], Weight::Note),
    ("zeek-tls__tls1.2.pcap", &[], Weight::Note),
    ("wireshark-quic-with-secrets.pcapng", &[], Weight::Note),
    ("wireshark-grpc_stream_reassembly_sample.pcapng.gz", &[], Weight::Note),
    ("zeek-tunnels__vxlan-encapsulated-http.pcap", &[], Weight::Note),
    // A mobile network that loses a fifth of the segments; the connection ends in order.
    ("zeek-pppoe-over-qinq.pcap", &["tcp.spurious"], Weight::Warning),
    ("zeek-vlan-collisions.pcap", &[], Weight::Note),
    ("tcpdump-gso-ipv4-vxlan-ipv4.pcap", &[], Weight::Note),
];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FAULTMAP_CAPTURES does not name a folder of captures");
    }
    folder
}

fn analyse(path: &Path) -> Outcome {
    let mut files = Files::new(&[path.to_owned()]);
    let mut analysis = Analysis::new(Limits::default());
    loop {
        match files.next() {
            Ok(Some(packet)) => analysis.packet(&packet),
            Ok(None) => return analysis.finish(),
            // A damaged file is read up to the damage.
            Err(_) => {}
        }
    }
}

fn is_below_l5(rule: &str) -> bool {
    ["arp.", "nd.", "ip.", "icmp", "tcp.", "udp.", "cap."].iter().any(|prefix| rule.starts_with(prefix))
}

/// What is wrong with the outcome of one capture.
fn check(folder: &Path, (file, rules, worst): &(&str, &[&str], Weight)) -> Vec<String> {
    let path = folder.join(file);
    if !path.exists() {
        return vec![format!("{file}: not there")];
    }
    let outcome = analyse(&path);
    let found = |rule: &&&str| !outcome.findings.iter().any(|finding| finding.rule == **rule);
    let missing = rules.iter().filter(found).map(|rule| format!("{file}: {rule} was not found"));
    let too_much = outcome.findings.iter().filter(|finding| is_below_l5(finding.rule) && finding.weight > *worst);
    missing.chain(too_much.map(|finding| format!("{file}: {} is too much: {}", finding.rule, finding.text))).collect()
}

#[test]
fn captures_of_others_show_what_they_are_known_for_and_no_more() {
    let Some(folder) = folder() else { return };
    let wrong: Vec<String> = EXPECTED.iter().flat_map(|row| check(&folder, row)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn malformed_packets_are_never_the_networks_fault() {
    let Some(folder) = folder() else { return };
    for part in ["malformed", "pcapng-format"] {
        let files = std::fs::read_dir(folder.join(part)).expect("the folder can be read");
        for path in files.flatten().map(|entry| entry.path()) {
            let outcome = analyse(&path);
            // Among its damaged packets one file has whole ones: SYNs to hosts that do not answer.
            let true_ones = if path.ends_with("ndpi-fuzz-2006-06-26-2594.pcap") { "tcp.syn-unanswered" } else { "" };
            let at_fault = |rule: &str| is_below_l5(rule) && rule != true_ones;
            let fault = outcome.findings.iter().find(|finding| at_fault(finding.rule) && finding.weight >= Weight::Fault);
            assert!(fault.is_none(), "{}: {fault:?}", path.display());
        }
    }
}
