//! The encoders of packet filter rules and connection table entries against the kernel itself.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use faultmap_lab::nft::{Chain, Hook, Match, Rule, Table, TableFamily, Unreachable, Verdict, counts, ct_state, install};
use faultmap_lab::{Sandbox, ctnetlink};

pub(crate) fn main() -> ExitCode {
    if let Err(error) = Sandbox::enter() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    rules_drop_reject_and_count();
    a_bad_rule_is_refused_whole();
    made_up_connections_are_counted();
    println!("kernel tests passed");
    ExitCode::SUCCESS
}

fn table(name: &str, hook: Hook, rules: Vec<Rule>) -> Table {
    Table { family: TableFamily::Inet, name: name.to_owned(), chains: vec![Chain { hook, priority: 0, rules }] }
}

fn tcp_rule(port: u16, verdict: Verdict) -> Rule {
    let loopback = Match::Destination(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Rule { matches: vec![Match::Protocol(6), Match::DestinationPort(port), loopback], verdict }
}

fn rules_drop_reject_and_count() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let all_states = ct_state::NEW | ct_state::ESTABLISHED | ct_state::RELATED;
    let rules = vec![
        tcp_rule(1001, Verdict::Drop),
        tcp_rule(1002, Verdict::RejectReset),
        tcp_rule(1003, Verdict::Reject(Unreachable::Port)),
        tcp_rule(1004, Verdict::Reject(Unreachable::AdminProhibited)),
        Rule { matches: vec![Match::Protocol(17), Match::DestinationPort(1005)], verdict: Verdict::Drop },
        Rule { matches: vec![Match::ConnectionState(all_states)], verdict: Verdict::Accept },
    ];
    install(&table("try", Hook::Output, rules)).unwrap();
    let connect = |port| {
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        TcpStream::connect_timeout(&addr, Duration::from_millis(300)).map(|_| ()).map_err(|e| e.kind())
    };
    assert_eq!(connect(open.port()), Ok(()));
    assert_eq!(connect(1001), Err(ErrorKind::TimedOut));
    assert_eq!(connect(1002), Err(ErrorKind::ConnectionRefused));
    assert!(connect(1003).is_err());
    assert!(connect(1004).is_err());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(udp.send_to(b"x", "127.0.0.1:1005").unwrap_err().kind(), ErrorKind::PermissionDenied);
    let counted = counts(TableFamily::Inet, "try").unwrap();
    assert_eq!(counted.len(), 6);
    assert!(counted.iter().all(|rule| rule.chain == "output" && rule.packets > 0 && rule.bytes > 0), "{counted:?}");
}

/// The kernel rejects from the input, forward and output hooks only.
fn a_bad_rule_is_refused_whole() {
    let rules = vec![tcp_rule(1, Verdict::Drop), tcp_rule(2, Verdict::RejectReset)];
    assert!(install(&table("misplaced", Hook::Postrouting, rules)).is_err());
    assert!(counts(TableFamily::Inet, "misplaced").map_or(true, |rules| rules.is_empty()));
}

fn made_up_connections_are_counted() {
    let before = ctnetlink::fill().unwrap();
    let added = ctnetlink::insert_assured(0, 1000).unwrap();
    assert_eq!(added, 1000);
    let after = ctnetlink::fill().unwrap();
    assert!(after.count >= before.count + 1000 && after.max > 0, "{before:?} {after:?}");
}
