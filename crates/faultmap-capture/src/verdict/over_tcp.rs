//! Answers of DNS that do not fit into a datagram: the server says so, and the client is to ask again over TCP (RFC 7766 §5). A port that is closed or
//! silent there is no service of its own that failed.

use super::problem::Problem;
use crate::analysis::Outcome;
use faultmap_model::causes;

/// A server that truncates its answers and does not take connections.
pub(super) fn weigh(problems: Vec<Problem>, outcome: &Outcome) -> Vec<Problem> {
    let truncates = |problem: &Problem| {
        outcome
            .findings
            .iter()
            .any(|found| found.rule == "dns.truncated" && found.blames == Some(problem.party) && found.first <= problem.last)
    };
    let refused = |problem: &Problem| matches!(problem.cause.id, "l4.port-closed" | "l4.port-filtered" | "l4.firewall-reject");
    let mut weighed = problems;
    for problem in weighed.iter_mut().filter(|problem| refused(problem) && truncates(problem)) {
        let Some(cause) = causes::find("l7.dns-tcp-blocked") else { continue };
        let text = problem.text.trim_end_matches('.');
        problem.text = format!("{text}; over UDP it says that its answer does not fit, and wants to be asked over TCP");
        problem.cause = cause;
    }
    weighed
}
