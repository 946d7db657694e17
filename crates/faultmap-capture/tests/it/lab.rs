//! Packets of the lab, from the file to the verdict: a fault of each kind is named by its cause, and the same network without the fault is healthy. Recorded
//! beside a check by `faultmap lab run NAME --capture FOLDER`, then compressed by gzip; an assembled set of the whole lab is judged by the report card.

use crate::common;
use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::file::Files;
use faultmap_capture::report::Report;
use faultmap_model::verdict::Status;

/// Scenario, cause and status, from the lowest layer up.
const FAULTS: &[(&str, &str, Status)] = &[
    ("duplicate-address", "l2.duplicate-address", Status::Fault),
    ("neighbour-gone", "l2.neighbor-unresolved", Status::Fault),
    ("remote-host-silent", "l2.remote-neighbor-unresolved", Status::Fault),
    ("remote-no-route-v6", "l3.remote-no-route", Status::Fault),
    ("routing-loop-v6", "l3.routing-loop", Status::Fault),
    ("filtered-all-tcp", "l4.port-filtered", Status::Fault),
    ("http3-filtered", "l4.udp-filtered", Status::Degraded),
    ("port-closed", "l4.port-closed", Status::Fault),
    ("port-closed-v6", "l4.port-closed", Status::Fault),
    ("rejected-admin", "l4.firewall-reject", Status::Fault),
    ("rejected-by-host", "l4.firewall-reject", Status::Fault),
    ("resolver-port-closed", "l4.udp-port-unreachable", Status::Fault),
    ("udp-port-closed", "l4.udp-port-unreachable", Status::Fault),
    ("closed-without-answer-http", "l5.closed-without-answer", Status::Fault),
    ("keepalive-race-unannounced", "l5.keepalive-race", Status::Degraded),
    ("proxy-denies", "l5.proxy-refused", Status::Fault),
    // With the session keys of their connections, as the lab records them.
    ("cert-expired", "l6.cert-expired", Status::Fault),
    ("http2-promised-http1-mute", "l6.alpn-mismatch", Status::Fault),
    ("websocket-unavailable", "l7.websocket-refused", Status::Fault),
    ("client-cert-required-12", "l6.client-cert-required", Status::Fault),
    ("smtp-on-tls", "l6.tls-on-plaintext-port", Status::Fault),
    ("sni-rejected", "l6.sni-rejected", Status::Fault),
    ("tls-access-denied", "l6.tls-handshake-failed", Status::Fault),
    ("tls-alpn", "l6.alpn-mismatch", Status::Fault),
    ("tls-cipher", "l6.tls-cipher-mismatch", Status::Fault),
    ("tls-on-plaintext-port", "l6.tls-on-plaintext-port", Status::Fault),
    ("tls-stalled", "l6.tls-handshake-stalled", Status::Fault),
    ("tls-version", "l6.tls-version-mismatch", Status::Fault),
    ("amqp-no-vhost", "l7.database-missing", Status::Fault),
    ("balancer-all-dead", "l7.http-bad-gateway", Status::Fault),
    ("dns-refused", "l7.dns-refused", Status::Fault),
    ("dns-servfail", "l7.dns-servfail", Status::Fault),
    ("dns-silent", "l7.dns-timeout", Status::Fault),
    ("grpc-error", "l7.grpc-error", Status::Fault),
    ("grpc-mute", "l7.service-mute", Status::Fault),
    ("grpc-unimplemented", "l7.grpc-unimplemented", Status::Fault),
    ("http-500", "l7.http-server-error", Status::Fault),
    ("http-503", "l7.http-unavailable", Status::Fault),
    ("http-504", "l7.http-gateway-timeout", Status::Fault),
    ("http-bad-chunk", "l7.http-malformed", Status::Fault),
    ("http-truncated", "l7.http-malformed", Status::Fault),
    ("mqtt-not-authorized", "l7.auth-failed", Status::Fault),
    ("mysql-auth-failed", "l7.auth-failed", Status::Fault),
    ("mysql-read-only", "l7.service-read-only", Status::Fault),
    ("postgres-error", "l7.service-error", Status::Fault),
    ("postgres-hba", "l7.auth-failed", Status::Fault),
    ("postgres-mute", "l7.service-mute", Status::Fault),
    ("postgres-too-many", "l7.too-many-connections", Status::Fault),
    ("protocol-mismatch-ssh", "l7.protocol-mismatch", Status::Fault),
    ("redis-loading", "l7.service-starting", Status::Fault),
    ("redis-wrongpass", "l7.auth-failed", Status::Fault),
    ("service-mute-http", "l7.service-mute", Status::Fault),
    ("smtp-blocked", "l7.service-error", Status::Fault),
    ("ssh-max-startups", "l7.too-many-connections", Status::Fault),
];

/// What `faultmap capture` says of a recording. A damaged one is judged as far as it goes, which is told by the verdict.
fn judged(scenario: &str, variant: &str) -> Report {
    let path = common::lab().join(format!("{scenario}.{variant}.pcapng.gz"));
    let (mut files, mut analysis) = (Files::new(&[path]), Analysis::new(Limits::default()));
    analysis.use_keys(files.keys());
    while let Ok(Some(packet)) = files.next() {
        analysis.packet(&packet);
    }
    Report::new(&analysis.finish(), Vec::new(), files.notes(), false)
}

/// What is wrong with the verdicts on one scenario.
fn check(&(scenario, cause, status): &(&str, &str, Status)) -> Option<String> {
    let (faulty, twin) = (judged(scenario, "faulty").verdict, judged(scenario, "twin").verdict);
    if (faulty.cause.as_deref(), faulty.status) != (Some(cause), status) {
        return Some(format!("{scenario}: {status:?} {cause} expected, not {:?} {:?}: {}", faulty.status, faulty.cause, faulty.summary));
    }
    (twin.status != Status::Healthy).then(|| format!("{scenario}: its twin is healthy, not {:?}: {}", twin.status, twin.summary))
}

#[test]
fn each_fault_of_the_lab_is_named_and_its_twin_is_not() {
    let wrong: Vec<String> = FAULTS.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_recording_lies_here_unread() {
    let files = std::fs::read_dir(common::lab()).expect("the folder can be read").flatten().count();
    assert_eq!(files, 2 * FAULTS.len());
}
