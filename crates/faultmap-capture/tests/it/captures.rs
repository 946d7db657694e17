//! What captures of others are known to show, and what the healthy ones must not: read from the folder that FAULTMAP_CAPTURES names. They are not ours
//! to commit; where the folder is not set, the test says so and passes.

use crate::common::{analyse, captures_of_others};
use faultmap_capture::finding::{Finding, Weight};

/// The rules that must match in a capture, and the worst that may be found in layers 2 to 4.
const BELOW_L5: &[(&str, &[&str], Weight)] = &[
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

/// The same of layers 5 to 7, and the protocols that must be recognised.
const FROM_L5: &[(&str, &[&str], Weight, &[&str])] = &[
    ("lab-l4_rst_mid_response.pcap", &["http.truncated-body"], Weight::Fault, &["http"]),
    ("chrissanders-latency1.pcapng", &[], Weight::Note, &["http"]),
    ("chrissanders-latency3.pcapng", &["http.client-slow"], Weight::Warning, &["http"]),
    ("lab-l7_server_think_2s.pcap", &["http.server-think"], Weight::Warning, &["http"]),
    ("zeek-tls__tls-1.2-handshake-failure.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("ndpi-tls_alert.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("zeek-tls__certificate-request-failed.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("lab-l6_tls_unknown_ca_alert.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("zeek-tls__tls-expired-cert.pcap", &["tls.cert-expired"], Weight::Fault, &["tls"]),
    ("zeek-tls__https-to-http.pcap", &["tls.plaintext-reply"], Weight::Fault, &["tls"]),
    ("lab-l6_plaintext_to_tls_port.pcap", &["tls.plaintext-request"], Weight::Fault, &["http"]),
    ("zeek-tls__missing-intermediate.pcap", &["tls.chain-incomplete"], Weight::Warning, &["tls"]),
    ("chrissanders-dns_query_nonexistent.pcapng", &["dns.nxdomain"], Weight::Warning, &["dns"]),
    ("chrissanders-nowebaccess1.pcapng", &["dns.timeout"], Weight::Fault, &["dns"]),
    // The second answer is the first to the last bit, 0.1 ms later: a packet captured twice.
    ("zeek-dns-two-responses.pcap", &[], Weight::Note, &["dns"]),
    ("lab-l7_dns_servfail.pcap", &["dns.servfail"], Weight::Fault, &["dns"]),
    ("lab-l7_dns_drop.pcap", &["dns.timeout", "dns.next-try"], Weight::Fault, &["dns"]),
    ("lab-l7_dns_ttl0.pcap", &["dns.ttl0"], Weight::Note, &["dns"]),
    ("lab-l7_dns_empty.pcap", &["dns.nodata"], Weight::Warning, &["dns"]),
    ("ndpi-malformed_dns.pcap", &["dns.malformed"], Weight::Warning, &["dns"]),
    ("zeek-http__methods.pcap", &["http.status"], Weight::Warning, &["http"]),
    ("lab-l7_http_503.pcap", &["http.status"], Weight::Fault, &["http"]),
    ("suricata-http2-errorcode__input.pcap", &["h2.goaway"], Weight::Fault, &["grpc"]),
    ("wireshark-grpc_stream_reassembly_sample.pcapng.gz", &[], Weight::Note, &["grpc"]),
    ("zeek-websocket__message-too-big-status.pcap", &["ws.close"], Weight::Fault, &["websocket"]),
    ("zeek-postgresql__psql-login-fail.pcap", &["pg.error"], Weight::Fault, &["postgres"]),
    ("zeek-postgresql__psql-insert-fail-drop-fail.pcap", &["pg.error"], Weight::Warning, &["postgres"]),
    ("zeek-postgresql__http-on-port-5432.pcap", &["proto.mismatch"], Weight::Note, &["http"]),
    ("lab-l7_pg_auth_or_db_missing.pcap", &["pg.error"], Weight::Fault, &["postgres"]),
    ("zeek-mysql__change-user-error.pcap", &["mysql.error"], Weight::Fault, &["mysql"]),
    ("lab-l7_mysql_sql_error.pcap", &["mysql.greeting-slow", "mysql.error"], Weight::Warning, &["mysql"]),
    ("zeek-redis__auth.pcap", &["redis.error"], Weight::Fault, &["redis"]),
    ("ndpi-ftp_failed.pcap", &["ftp.reply"], Weight::Fault, &["ftp"]),
    ("zeek-http__docker-http-upgrade.pcap", &[], Weight::Note, &["http"]),
    ("chrissanders-weather_working.pcapng", &[], Weight::Note, &[]),
    ("chrissanders-http_google.pcapng", &[], Weight::Note, &["http"]),
    ("zeek-tls__tls1.2.pcap", &[], Weight::Note, &["tls"]),
    ("zeek-tunnels__vxlan-encapsulated-http.pcap", &[], Weight::Note, &["http"]),
    ("zeek-vlan-collisions.pcap", &[], Weight::Note, &["http"]),
    ("zeek-tcp__ssh-dups.pcap", &[], Weight::Note, &["ssh"]),
    ("zeek-tcp__missing-syn.pcap", &[], Weight::Note, &[]),
    ("suricata-http-gap-simple__input.pcap", &[], Weight::Note, &["http"]),
    ("wireshark-quic-with-secrets.pcapng", &[], Weight::Note, &[]),
    ("tcpdump-quic_vn.pcap", &["quic.version-negotiation"], Weight::Note, &[]),
    ("wireshark-dns-ooo.pcap", &[], Weight::Note, &["dns"]),
];

fn is_below_l5(rule: &str) -> bool {
    ["arp.", "nd.", "ip.", "icmp", "tcp.", "udp.", "cap."].iter().any(|prefix| rule.starts_with(prefix))
}

/// What is wrong with these findings of a capture: rules that are missing among them, and those that weigh too much.
fn wrong(file: &str, found: &[&Finding], rules: &[&str], worst: Weight) -> Vec<String> {
    let missing = rules.iter().filter(|rule| !found.iter().any(|finding| finding.rule == **rule));
    let too_much = found.iter().filter(|finding| finding.weight > worst);
    missing
        .map(|rule| format!("{file}: {rule} was not found"))
        .chain(too_much.map(|finding| format!("{file}: {} is too much: {}", finding.rule, finding.text)))
        .collect()
}

#[test]
fn captures_of_others_show_what_they_are_known_for_and_no_more() {
    let Some(folder) = captures_of_others() else { return };
    let check = |&(file, rules, worst): &(&str, &[&str], Weight)| {
        let outcome = analyse(&folder.join(file));
        assert!(outcome.totals.all.packets > 0, "{file} has no packet that can be read");
        let below: Vec<&Finding> = outcome.findings.iter().filter(|finding| is_below_l5(finding.rule)).collect();
        wrong(file, &below, rules, worst)
    };
    let wrong: Vec<String> = BELOW_L5.iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conversations_of_others_are_recognised_and_tell_what_they_are_known_for() {
    let Some(folder) = captures_of_others() else { return };
    let check = |&(file, rules, worst, protocols): &(&str, &[&str], Weight, &[&'static str])| {
        let outcome = analyse(&folder.join(file));
        assert!(outcome.totals.all.packets > 0, "{file} has no packet that can be read");
        let above: Vec<&Finding> = outcome.findings.iter().filter(|finding| !is_below_l5(finding.rule)).collect();
        let spoken = |protocol: &&&str| !outcome.flows.iter().any(|flow| flow.app == Some(**protocol));
        let unknown = protocols.iter().filter(spoken).map(|protocol| format!("{file}: {protocol} is not recognised"));
        unknown.chain(wrong(file, &above, rules, worst)).collect::<Vec<_>>()
    };
    let wrong: Vec<String> = FROM_L5.iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn malformed_packets_are_never_the_networks_fault() {
    let Some(folder) = captures_of_others() else { return };
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
