//! What the recorded packets of a check (`--capture`) add to its questions. Where a cause is proven, or nothing failed, they are cited and change
//! nothing. Where the questions left it open between causes, a packet that says it outright decides.

use super::{Opinion, fallback};
use crate::causes::{self, Claim, Severity, Standing};
use crate::observation::{ANSWER_NOT_DELIVERED, PacketFinding, PacketWeight, Packets};
use crate::verdict::Where;
use crate::{Evidence, ObservationId};

/// What a packet that says it outright is worth.
const OUTRIGHT: f64 = 0.9;
/// An answer came to the link and not to the socket: a packet filter is the usual reason, a reverse-path filter the other.
const DISCARDED: [(&str, f64); 2] = [("l4.local-firewall", 0.7), ("l3.rp-filter", 0.5)];

/// Lets the packets speak.
pub(super) fn settle(evidence: &Evidence<'_>, opinions: &mut Vec<Opinion>) {
    let Some((id, packets)) = evidence.all::<Packets>().next() else { return };
    cite(id, packets, opinions);
    let breaks = || opinions.iter().filter(|opinion| opinion.claim.severity == Severity::Breaks);
    if breaks().any(|opinion| matches!(opinion.claim.standing, Standing::Proven(_))) {
        return;
    }
    let mut open: Vec<ObservationId> = breaks().flat_map(|opinion| opinion.claim.because.iter().copied()).collect();
    if open.is_empty() {
        open = fallback::unexplained(evidence).map_or_else(Vec::new, |verdict| verdict.because);
    }
    let speaks = |finding: &&PacketFinding| finding.about.iter().any(|about| open.contains(about));
    for finding in packets.findings.iter().filter(|finding| finding.proves).filter(speaks) {
        decide(id, finding, opinions);
    }
    if let Some(finding) = packets.findings.iter().filter(speaks).find(|finding| finding.rule == ANSWER_NOT_DELIVERED) {
        discarded(id, finding, opinions);
    }
}

/// A finding with the cause that is claimed anyway, of the same observations, is evidence for it.
fn cite(id: ObservationId, packets: &Packets, opinions: &mut [Opinion]) {
    for opinion in opinions {
        let shown = |finding: &&PacketFinding| finding.weight > PacketWeight::Note && finding.cause.as_deref() == Some(opinion.cause.id);
        let same = |finding: &PacketFinding| finding.about.iter().any(|about| opinion.claim.because.contains(about));
        if packets.findings.iter().filter(shown).any(same) {
            opinion.claim.because.push(id);
        }
    }
}

/// The likely cause is proven; one that nobody thought of is heard.
fn decide(id: ObservationId, finding: &PacketFinding, opinions: &mut Vec<Opinion>) {
    let Some(cause) = finding.cause.as_deref().and_then(causes::find) else { return };
    if let Some(opinion) = opinions.iter_mut().find(|opinion| opinion.cause.id == cause.id && opinion.claim.severity == Severity::Breaks) {
        opinion.claim.standing = Standing::Proven(opinion.claim.confidence().max(OUTRIGHT));
        return;
    }
    let side = finding.side.unwrap_or(Where::Path);
    let claim =
        Claim::proven(OUTRIGHT, side, finding.at.clone(), sentence(&finding.text)).citing([id]).citing(finding.about.iter().copied());
    // What came before on this connection does not clear it: it is about the very packets that failed.
    opinions.push(Opinion { cause, claim: claim.despite_answers() });
}

/// The answer was here, so nothing on the way and nobody at the far end is at fault.
fn discarded(id: ObservationId, finding: &PacketFinding, opinions: &mut Vec<Opinion>) {
    let elsewhere = |opinion: &Opinion| opinion.claim.severity == Severity::Breaks && opinion.claim.locus.side != Where::Local;
    opinions.retain(|opinion| !elsewhere(opinion));
    for (name, confidence) in DISCARDED {
        if opinions.iter().any(|opinion| opinion.cause.id == name) {
            continue;
        }
        let Some(cause) = causes::find(name) else { continue };
        let claim = Claim::likely(confidence, Where::Local, "this host", sentence(&finding.text)).citing([id]);
        let claim = claim.citing(finding.about.iter().copied()).decided_by(
            "nft list ruleset; iptables-save -c; nstat -az TcpExtIPReversePathFilter",
            "here",
            "a rule's counter, or that of the reverse-path filter, rises with each attempt",
        );
        opinions.push(Opinion { cause, claim });
    }
}

/// As a sentence.
fn sentence(text: &str) -> String {
    let mut text = text.trim_end_matches('.').to_owned();
    let word = text.split(' ').next().is_some_and(|word| word.chars().all(char::is_alphabetic));
    if let Some(first) = text.get(..1).map(str::to_uppercase).filter(|_| word) {
        text.replace_range(..1, &first);
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, connected, icmp_from, own_link, reset, route_via, silent};
    use crate::judge::judge;
    use crate::observation::Role;
    use crate::testkit::{healthy_https, recording};
    use crate::verdict::Status;
    use crate::{Observation, Recording, Seen, Verdict};

    const TARGET: &str = "tcp://10.2.0.10:80";

    fn finding(rule: &str, cause: Option<&str>, about: ObservationId) -> PacketFinding {
        PacketFinding {
            rule: rule.to_owned(),
            layer: None,
            cause: cause.map(str::to_owned),
            text: "10.9.0.2 cannot resolve its neighbour 10.2.0.10".to_owned(),
            packets: vec![7],
            count: 1,
            weight: PacketWeight::Fault,
            about: vec![about],
            proves: rule.starts_with("icmp"),
            side: Some(Where::Path),
            at: "10.9.0.2".to_owned(),
        }
    }

    fn with(mut recording: Recording, finding: PacketFinding) -> Recording {
        let packets = Packets { file: "x.pcapng".to_owned(), packets: 9, dropped: 0, beyond: 0, of: Vec::new(), findings: vec![finding] };
        let id = recording.observations.len() as u64 + 1;
        let seen = Seen::from(packets);
        recording.observations.push(Observation {
            id: id.try_into().expect("small"),
            layer: seen.layer(),
            at_ms: 99.0,
            took_ms: 0.0,
            seen,
        });
        recording
    }

    fn attempt(outcome: crate::observation::ConnectOutcome) -> Recording {
        recording(TARGET, vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome)])
    }

    fn check(recording: &Recording, status: Status, cause: Option<&str>) -> Verdict {
        let verdict = judge(recording);
        assert_eq!((verdict.status, verdict.cause.as_deref()), (status, cause), "{}", verdict.summary);
        verdict
    }

    #[test]
    fn an_icmp_error_that_the_socket_swallowed_decides_what_silence_left_open() {
        let open = attempt(silent());
        assert_eq!(judge(&open).status, Status::Inconclusive);
        let told = with(open, finding("icmp.host-unreachable", Some("l2.remote-neighbor-unresolved"), 3));
        let verdict = check(&told, Status::Fault, Some("l2.remote-neighbor-unresolved"));
        assert!(verdict.because.contains(&4), "the packets are cited: {:?}", verdict.because);
    }

    #[test]
    fn what_packets_say_of_other_attempts_decides_nothing() {
        let open = attempt(silent());
        let before = judge(&open);
        let after = judge(&with(open, finding("icmp.host-unreachable", Some("l2.remote-neighbor-unresolved"), 1)));
        assert_eq!((before.status, before.cause), (after.status, after.cause));
    }

    #[test]
    fn packets_never_overrule_what_is_proven() {
        for outcome in [reset(), icmp_from("10.9.0.2", 3, 0)] {
            let before = judge(&attempt(outcome.clone()));
            let after = judge(&with(attempt(outcome), finding("icmp.host-unreachable", Some("l2.remote-neighbor-unresolved"), 3)));
            assert_eq!((before.status, before.cause), (after.status, after.cause));
        }
    }

    #[test]
    fn packets_never_make_a_target_sick_that_answers() {
        let told = finding("icmp.host-unreachable", Some("l2.remote-neighbor-unresolved"), 3);
        check(&with(attempt(connected()), told.clone()), Status::Healthy, None);
        for about in 1..=12 {
            check(&with(healthy_https(), PacketFinding { about: vec![about], ..told.clone() }), Status::Healthy, None);
        }
    }

    #[test]
    fn an_answer_that_came_and_was_not_delivered_acquits_the_path_and_the_far_end() {
        let verdict =
            check(&with(attempt(silent()), finding(ANSWER_NOT_DELIVERED, None, 3)), Status::Inconclusive, Some("l4.local-firewall"));
        let causes: Vec<&str> = verdict.candidates.iter().map(|candidate| candidate.cause.as_str()).collect();
        assert_eq!(causes, ["l4.local-firewall", "l3.rp-filter"]);
        assert_eq!(verdict.locus.map(|locus| locus.side), Some(Where::Local));
    }
}
