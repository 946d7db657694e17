//! Claims that rest on packets of a capture. A rule's signature names its cause; how claims weigh against each other stays with the judge.

use super::{Cause, Claim, Severity, Standing};
use crate::Evidence;
use crate::observation::CaptureFinding;

/// The claim of the strongest finding with this cause, citing all of them.
pub(crate) fn claim(ev: &Evidence<'_>, cause: &Cause) -> Option<Claim> {
    let findings: Vec<_> = ev.all::<CaptureFinding>().filter(|(_, finding)| finding.cause == cause.id).collect();
    let strength = |finding: &CaptureFinding| (finding.breaks, finding.proven, finding.confidence);
    let (_, strongest) =
        findings.iter().max_by(|(_, a), (_, b)| strength(a).partial_cmp(&strength(b)).unwrap_or(std::cmp::Ordering::Equal))?;
    let confidence = strongest.confidence.clamp(0.0, 1.0);
    let (at, summary) = (strongest.at.clone(), strongest.summary.clone());
    let mut claim = Claim::proven(confidence, strongest.side, at, summary).citing(findings.iter().map(|(id, _)| *id));
    if !strongest.proven {
        claim.standing = Standing::Likely(confidence);
    }
    if !strongest.breaks {
        claim.severity = Severity::Degrades;
    }
    claim.despite_answers = strongest.despite_answers;
    claim.decides.clone_from(&strongest.decides);
    Some(claim)
}

#[cfg(test)]
mod tests {
    use crate::judge::judge;
    use crate::observation::{CaptureAnswer, CaptureFinding};
    use crate::testkit::recording;
    use crate::verdict::{Status, Where};
    use crate::{Layer, Seen};

    fn finding(cause: &str, proven: bool, confidence: f64, breaks: bool) -> Seen {
        Seen::CaptureFinding(CaptureFinding {
            rule: "tcp.rule".to_owned(),
            cause: cause.to_owned(),
            proven,
            confidence,
            breaks,
            despite_answers: false,
            side: Where::Remote,
            at: "10.2.0.10:80".to_owned(),
            summary: format!("{cause} it is."),
            packets: vec![3],
            count: 1,
            flows: 1,
            decides: Vec::new(),
        })
    }

    fn answer(layer: Layer) -> Seen {
        Seen::CaptureAnswer(CaptureAnswer { layer, flow: 1 })
    }

    fn check(seen: Vec<Seen>, status: Status, cause: Option<&str>) {
        let verdict = judge(&recording("tcp://10.2.0.10:80", seen));
        assert_eq!((verdict.status, verdict.cause.as_deref()), (status, cause), "{}", verdict.summary);
    }

    #[test]
    fn a_signature_of_one_cause_is_a_fault_and_its_layer_is_named() {
        check(vec![finding("l4.port-closed", true, 0.95, true)], Status::Fault, Some("l4.port-closed"));
    }

    #[test]
    fn silence_alone_is_inconclusive_between_the_causes_that_look_so() {
        let seen = vec![finding("l4.port-filtered", false, 0.5, true), finding("l3.remote-blackhole", false, 0.4, true)];
        check(seen, Status::Inconclusive, Some("l4.port-filtered"));
    }

    #[test]
    fn an_answer_from_above_clears_what_the_packets_hinted_at_below() {
        let seen = vec![finding("l3.remote-blackhole", false, 0.6, true), finding("l4.port-filtered", false, 0.5, true), answer(Layer::L4)];
        check(seen, Status::Inconclusive, Some("l4.port-filtered"));
    }

    #[test]
    fn the_lowest_proven_layer_is_named_before_what_it_causes() {
        let seen = vec![finding("l7.dns-timeout", true, 0.9, true), finding("l2.gateway-unresolved", true, 0.9, true)];
        check(seen, Status::Fault, Some("l2.gateway-unresolved"));
    }

    #[test]
    fn what_works_at_risk_is_degraded_with_or_without_an_answer() {
        check(vec![finding("l4.retransmissions", true, 0.9, false)], Status::Degraded, Some("l4.retransmissions"));
        check(vec![finding("l4.retransmissions", true, 0.9, false), answer(Layer::L7)], Status::Degraded, Some("l4.retransmissions"));
    }
}
