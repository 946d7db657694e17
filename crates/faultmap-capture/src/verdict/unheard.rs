//! DNS answers that went by and did not reach who asked: the client asks again as if there were none. Which answers these are tells why: now and then one,
//! those in fragments, or all. Where the client's packets start at the point of capture, its own host keeps them from it.

use super::census::Census;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::{Finding, Party, Weight};
use crate::flow::tcp::report::hops;
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::causes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The rule of one such answer.
pub(super) const RULE: &str = "dns.answer-not-taken";
/// So many, and this share of all answers, are no accident.
const SOME: u64 = 3;
const SHARE: f64 = 0.05;

/// Answers of one server to one client.
#[derive(Default)]
struct Answers<'a> {
    unheard: Vec<&'a Finding>,
    /// Those of the unheard ones that went by in fragments.
    in_fragments: u64,
    starts_here: bool,
}

/// Clients that answers do not reach.
pub(super) fn problems(outcome: &Outcome, census: &Census) -> Vec<Problem> {
    let mut between: BTreeMap<(IpAddr, SocketAddr), Answers<'_>> = BTreeMap::new();
    for finding in outcome.findings.iter().filter(|finding| finding.rule == RULE) {
        let Some(flow) = finding.flow.and_then(|id| census.flow(outcome, id)) else { continue };
        let answers = between.entry((flow.client.ip(), flow.server)).or_default();
        answers.unheard.push(finding);
        answers.in_fragments += u64::from(flow.answered_in_fragments > 0);
        answers.starts_here |= hops(flow.client_ttl) == 0;
    }
    between.into_iter().flat_map(|((client, server), answers)| answers.problems(client, server, outcome)).collect()
}

impl Answers<'_> {
    fn problems(&self, client: IpAddr, server: SocketAddr, outcome: &Outcome) -> Vec<Problem> {
        let answered = |flow: &&FlowRecord| {
            flow.client.ip() == client && flow.server == server && flow.protocol == Protocol::Udp && flow.packets.server > 0
        };
        let (all, whole) = outcome.flows.iter().filter(answered).fold((0, 0), |(all, whole), flow| {
            let count = flow.packets.server.min(flow.packets.client).max(1);
            (all + count, whole + if flow.answered_in_fragments > 0 { 0 } else { count })
        });
        let unheard = self.unheard.len() as u64;
        let share = unheard as f64 / all.max(1) as f64;
        if self.starts_here {
            return self.each(server, &[("l7.dns-timeout", 0.5), ("l4.local-firewall", 0.35)], None, unheard);
        }
        let of_answers = format!("{unheard} of {all} answers of {server} went by and did not reach {client}, which asked again");
        if self.in_fragments == unheard && unheard >= 2 && whole > 0 {
            let text = format!("{of_answers}: those in fragments, while whole ones did: fragments do not arrive");
            return self.each(server, &[("l3.fragments-dropped", 0.85)], Some(text), unheard);
        }
        // Each question was asked once more for each answer that was lost.
        if unheard * 2 >= all && unheard >= 2 {
            let causes = [("l3.no-return-route", 0.45), ("l4.udp-filtered", 0.35), ("l4.local-firewall", 0.3)];
            return self.each(server, &causes, Some(format!("{of_answers}: the way back, or a filter, swallows them")), unheard);
        }
        if unheard >= SOME && share >= SHARE {
            let text = format!("{of_answers}: the path from here to it loses packets ({:.0} %)", share * 100.0);
            return self.each(server, &[("l3.packet-loss", 0.85)], Some(text), unheard);
        }
        Vec::new()
    }

    /// A problem for each cause; the only one is proven.
    fn each(&self, server: SocketAddr, of: &[(&str, f64)], text: Option<String>, unheard: u64) -> Vec<Problem> {
        let one = |(cause, confidence): &(&str, f64)| {
            let mut problem = Problem::of(self.unheard.first()?, causes::find(cause)?, Party::Service(server));
            self.unheard.iter().for_each(|finding| problem.add(finding));
            (problem.proven, problem.confidence, problem.times) = (of.len() == 1, *confidence, unheard);
            if let Some(text) = &text {
                problem.text.clone_from(text);
                problem.rule = "dns.answers-lost";
            }
            if *cause == "l3.packet-loss" {
                (problem.weight, problem.weighed) = (Weight::Warning, true);
            }
            Some(problem)
        };
        of.iter().filter_map(one).collect()
    }
}
