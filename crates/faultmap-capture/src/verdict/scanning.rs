//! What to do about a scan: nothing to any service, for none fails. It does not find scans.

use crate::analysis::Outcome;
use crate::finding::Party;
use faultmap_model::verdict::{NextStep, Verdict};
use std::net::IpAddr;

/// Who scans most, where the rule says that somebody does.
pub(super) fn scanner(outcome: &Outcome) -> Option<IpAddr> {
    outcome.findings.iter().find(|finding| finding.rule == "tcp.scan").and_then(|finding| finding.blames).map(|party| match party {
        Party::Host(ip) => ip,
        Party::Service(at) => at.ip(),
    })
}

/// In place of the advice for ports that do not answer.
pub(super) fn advise(verdict: &mut Verdict, scanner: IpAddr) {
    verdict.next = vec![NextStep {
        run: "ss -tnp state syn-sent".to_owned(),
        on: scanner.to_string(),
        why: "while it goes on: the program that tries the ports".to_owned(),
    }];
    verdict.fix = vec![
        format!("Ask who runs {scanner} whether it is meant to do this: an inventory, monitoring, a test. If not, stop that program."),
        "No port needs to be opened for it.".to_owned(),
    ];
}
