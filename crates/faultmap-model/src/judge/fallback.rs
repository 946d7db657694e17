//! What is said when no cause claims: a healthy target, or a failure that the evidence does not explain.

use crate::evidence::How;
use crate::observation::{
    CaptureFinding, DialogueOutcome, Echo, HeldFor, Http3Exchange, Http3Outcome, HttpOutcome, NotAsked, Role, SessionIdle, TlsOutcome,
};
use crate::verdict::{Candidate, Locus, Status, Verdict, Where};
use crate::{Evidence, Layer, ObservationId, Scheme};

/// A sentence for a target that works, and one for its idle sessions where some were held.
pub(super) fn healthy_summary(evidence: &Evidence<'_>) -> String {
    let idle = evidence.all::<SessionIdle>().filter(|(_, line)| line.purpose == HeldFor::Idle && line.survived());
    let longest = idle.map(|(_, line)| line.idle_ms.min(line.asked_ms)).reduce(f64::max);
    let skipped = evidence.all::<NotAsked>().find(|(_, skipped)| skipped.question == "session.idle");
    let idle = match (longest, skipped) {
        (Some(ms), _) => format!(" A connection lives {} s without traffic.", (ms / 1e2).round() / 10.0),
        (None, Some((_, skipped))) => format!(" How long it may be idle was not tried: {}.", skipped.why),
        (None, None) => String::new(),
    };
    let sentence = format!("{}{idle}", healthy_sentence(evidence));
    match evidence.proxy() {
        Some((_, proxy)) => format!("{sentence} It was asked through the proxy {} (from {}).", proxy.host_port(), proxy.configured_by),
        None => sentence,
    }
}

fn healthy_sentence(evidence: &Evidence<'_>) -> String {
    let target = evidence.target();
    let total = evidence.header.total_ms;
    match evidence.response() {
        Some((_, response)) => {
            format!("{} answers with HTTP {} in {total:.0} ms; every layer is well.", target.host_port(), response.status)
        }
        None if evidence.dialogue().is_some() => dialogue_summary(evidence, total),
        None if evidence.handshake_done() => {
            format!("{} completes the TLS handshake in {total:.0} ms; every layer up to L6 is well.", target.host_port())
        }
        None if let Some(why) = echo_unasked(evidence) => {
            format!("{} is up, for it answers UDP or TCP; whether it answers ping was not asked: {why}.", target.host)
        }
        None => format!("{} answers in {total:.0} ms; every layer up to {} is well.", target.host_port(), target.scheme.top()),
    }
}

/// The target is `icmp://`, and echo requests could not be sent: why not.
pub(super) fn echo_unasked<'a>(evidence: &Evidence<'a>) -> Option<&'a str> {
    let asked = evidence.first::<Echo>(|echo| echo.role == Role::Target).is_some();
    let skipped = evidence.all::<NotAsked>().find(|(_, skipped)| skipped.question == "icmp.echo");
    skipped.filter(|_| evidence.target().scheme == Scheme::Icmp && !asked).map(|(_, skipped)| skipped.why.as_str())
}

fn dialogue_summary(evidence: &Evidence<'_>, total: f64) -> String {
    let place = evidence.target().host_port();
    let Some((_, dialogue)) = evidence.dialogue() else { return format!("{place} answers in {total:.0} ms.") };
    let title = dialogue.protocol.title();
    match &dialogue.outcome {
        DialogueOutcome::CredentialsWanted { method, .. } => format!(
            "{place} speaks {title} and asks for credentials ({method}) in {total:.0} ms; every layer is well. None were given, so no login was tried."
        ),
        DialogueOutcome::LoginUnsupported { method } => format!(
            "{place} speaks {title} in {total:.0} ms, and every layer up to the login is well; the login was not tried, for faultmap does not \
             speak the way that the server wants ({method})."
        ),
        DialogueOutcome::Done { what } => format!("{place} answers in {title} in {total:.0} ms ({what}); every layer is well."),
        _ => format!("{place} answers in {title} in {total:.0} ms; every layer is well."),
    }
}

/// A failure that no cause explains: inconclusive, with the layers at which the answers stop.
pub(super) fn unexplained(evidence: &Evidence<'_>) -> Option<Verdict> {
    // Packets tell what they show and no more: that the capture holds no answer is no failure.
    if evidence.all::<CaptureFinding>().next().is_some() {
        return None;
    }
    let (layer, id, words) = stopped_at(evidence)?;
    let nameless = evidence.addresses().is_empty() && evidence.sought_literal().is_none();
    let (likeliest, second) = match layer {
        Layer::L7 if nameless => ("l7.dns-timeout", "l7.dns-servfail"),
        Layer::L7 => ("l7.service-mute", "l5.closed-without-answer"),
        Layer::L6 => ("l6.tls-handshake-stalled", "l4.reset-mid-stream"),
        Layer::L5 if evidence.proxy().is_some() => ("l5.proxy-refused", "l5.proxy-unreachable"),
        // Nothing ended: our time did.
        Layer::L5 if evidence.header.cut_short && evidence.target().scheme.uses_tls() => ("l6.tls-handshake-stalled", "l7.service-mute"),
        Layer::L5 if evidence.header.cut_short => ("l7.service-mute", "l5.closed-without-answer"),
        Layer::L5 => ("l5.closed-without-answer", "l4.reset-mid-stream"),
        Layer::L4 => ("l4.port-filtered", "l3.remote-blackhole"),
        _ => ("l3.remote-blackhole", "l4.port-filtered"),
    };
    let named = |cause: &str, confidence| {
        let layer = cause.get(..2).and_then(|text| text.parse().ok()).unwrap_or(layer);
        Candidate { layer, cause: cause.to_owned(), confidence }
    };
    Some(Verdict {
        status: Status::Inconclusive,
        layer: Some(named(likeliest, 0.3).layer),
        cause: Some(likeliest.to_owned()),
        confidence: 0.3,
        locus: Some(Locus { side: Where::Path, at: evidence.target().host_port() }),
        summary: format!("{words}; the evidence does not tell why."),
        because: evidence.get(id).map(|observation| observation.id).into_iter().collect(),
        candidates: vec![named(likeliest, 0.3), named(second, 0.2)],
        ruled_out: Vec::new(),
        also: Vec::new(),
        next: Vec::new(),
        fix: Vec::new(),
    })
}

/// The layer at which the answers stop, with the observation and words for it; `None` when the target did what was asked.
fn stopped_at(evidence: &Evidence<'_>) -> Option<(Layer, ObservationId, String)> {
    failed_at(evidence).or_else(|| unfinished_at(evidence))
}

/// Nothing failed, and yet the target did not do what was asked: the check ended too early to see it.
fn unfinished_at(evidence: &Evidence<'_>) -> Option<(Layer, ObservationId, String)> {
    let top = evidence.target().scheme.top();
    let answered = evidence.answered_up_to();
    if answered.is_some_and(|(layer, _)| layer >= top) {
        return None;
    }
    let next = answered.map_or(Layer::L3, |(layer, _)| Layer::ALL.into_iter().find(|above| *above > layer).unwrap_or(top));
    let last = answered.map(|(_, id)| id).or_else(|| evidence.observations().last().map(|observation| observation.id));
    let why = if evidence.header.cut_short { "the check was cut short before it" } else { "the recording ends before it" };
    Some((next, last.unwrap_or(0), format!("{} has not answered at {top}: {why}", evidence.target().host_port())))
}

/// Something failed that no cause claims.
fn failed_at(evidence: &Evidence<'_>) -> Option<(Layer, ObservationId, String)> {
    if let Some(failure) = evidence.failure() {
        let what = if failure.role == Role::Resolver { "the resolver" } else { "the target" };
        let how = match failure.how {
            How::Reset => "refuses",
            How::Icmp(_) => "is reported unreachable",
            How::Errno(_) => "cannot be tried from here",
            How::Silent { .. } => "is silent",
        };
        return Some((Layer::L4, failure.id, format!("{what} {} {how}", failure.place())));
    }
    if let Some((id, tunnel)) = evidence.failed_tunnel() {
        return Some((Layer::L5, id, format!("the proxy {} opens no tunnel to {}", tunnel.to, tunnel.destination)));
    }
    if let Some((id, tls)) = evidence.handshake()
        && !matches!(tls.outcome, TlsOutcome::Done { .. })
    {
        return Some((Layer::L6, id, format!("the TLS handshake with {} does not complete", tls.to)));
    }
    if let Some((id, http)) = evidence.exchange()
        && !matches!(http.outcome, HttpOutcome::Response(_))
    {
        return Some((Layer::L7, id, format!("the request to {} gets no answer", http.to)));
    }
    if let Some((id, dialogue)) = evidence.dialogue()
        && !matches!(
            dialogue.outcome,
            DialogueOutcome::Done { .. } | DialogueOutcome::CredentialsWanted { .. } | DialogueOutcome::LoginUnsupported { .. }
        )
    {
        let title = dialogue.protocol.title();
        return Some((Layer::L7, id, format!("the {title} conversation with {} fails at {}", dialogue.to, dialogue.ended_at())));
    }
    let demanded = |http3: &Http3Exchange| http3.demanded && !matches!(http3.outcome, Http3Outcome::Answered { .. });
    if let Some((id, http3)) = evidence.first::<Http3Exchange>(demanded) {
        return Some((Layer::L7, id, format!("{} does not answer over HTTP/3", http3.to)));
    }
    let lookup = evidence.all::<crate::observation::SystemLookup>().last();
    match lookup {
        Some((id, lookup)) if evidence.name_unresolved() && evidence.addresses().is_empty() => {
            Some((Layer::L7, id, format!("the name {} does not resolve", lookup.name)))
        }
        _ => None,
    }
}
