//! What to do next, where the packets say more than the cause alone: who scans, which name a client asked for. It judges nothing.

use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::Party;
use faultmap_model::verdict::{NextStep, Verdict};
use std::net::IpAddr;

/// Fits the advice of the registry to the problem. `name` is what a client asked the server for by TLS, if it did.
pub(super) fn fit(verdict: &mut Verdict, problem: &Problem, name: Option<&str>, outcome: &Outcome) {
    match problem.rule {
        "tcp.scan" => {
            let scanner = outcome.findings.iter().find(|finding| finding.rule == "tcp.scan").and_then(|finding| finding.blames);
            if let Some(scanner) = scanner {
                scan(verdict, scanner.ip());
            }
        }
        "arp.gateway-mac-change" => verdict.fix.insert(
            0,
            "If the new station is no router of yours, it may read along (ARP poisoning): find its port by its MAC in the switches' tables, and take it off. \
             Dynamic ARP inspection on the switches prevents it."
                .to_owned(),
        ),
        _ => {}
    }
    ask_for(&mut verdict.next, problem.party, name);
}

/// About a scan, in place of the advice for ports that do not answer: no service fails.
pub(super) fn scan(verdict: &mut Verdict, scanner: IpAddr) {
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

/// A server may have another certificate for each name. Where clients asked for none, neither does the command.
fn ask_for(steps: &mut [NextStep], party: Party, name: Option<&str>) {
    let said = format!(" -servername {}", party.ip());
    let meant = name.map(|name| format!(" -servername {name}")).unwrap_or_default();
    for step in steps {
        step.run = step.run.replace(&said, &meant);
    }
}
