//! The judge: from evidence to verdict, by rules that hold for every cause.
//!
//! 1. Every cause looks at the whole evidence and may claim. A claim without evidence does not count.
//! 2. An answer proves the road below it: a claim that something below is broken falls, unless the cause works *despite* answers.
//! 3. Of the proven causes the lowest layer is named; what stands above it is told as consequence. A cause that sent the packets to the wrong
//!    place (a wrong address) explains what fails there, and comes first.
//! 4. Nothing proven: the likeliest is named only if it stands clear of the others; else the verdict is inconclusive between them.
//! 5. Degraded is judged only when nothing is broken.
//! 6. Something failed and no cause claims it: the verdict says so, as inconclusive between the layers that remain.
//! 7. Each place that redirects led to is judged by itself; the first that is not well is named.
//! 8. The packets of the check, where they were recorded, settle what its questions left open; they never contradict what those settled.

mod fallback;
mod packets;
#[cfg(test)]
mod tests;

use crate::causes::{self, Cause, Claim, Severity, Standing};
use crate::journey::Journey;
use crate::verdict::{Candidate, NextStep, RuledOut, Status, Verdict};
use crate::{Evidence, Layer, ObservationId, Recording};

/// A likely cause is named alone only from this confidence on.
const CLEAR: f64 = 0.8;
/// ... and only if the next has at most this share of it.
const APART: f64 = 0.45;
/// Candidates below this share of the likeliest are not worth a line.
const WORTH_NAMING: f64 = 0.15;

/// A cause with what it claims.
struct Opinion {
    cause: &'static Cause,
    claim: Claim,
}

/// Judges a recording. Pure: the same recording gives the same verdict.
#[must_use]
pub fn judge(recording: &Recording) -> Verdict {
    Journey::of(recording).decide().1
}

/// Judges what was seen of one place.
pub(crate) fn of_one_place(evidence: &Evidence<'_>) -> Verdict {
    let (mut ruled_out, mut opinions) = hear(evidence);
    packets::settle(evidence, &mut opinions);
    let (breaks, degrades): (Vec<_>, Vec<_>) = opinions.into_iter().partition(|opinion| opinion.claim.severity == Severity::Breaks);
    let breaks = fell_answers(evidence, breaks, &mut ruled_out);
    ruled_out.extend(cleared_by_answers(evidence, &breaks, &degrades, &ruled_out));
    let mut verdict = if !breaks.is_empty() {
        broken(evidence, breaks, &degrades)
    } else if let Some(unexplained) = fallback::unexplained(evidence) {
        unexplained
    } else if degrades.is_empty() {
        healthy(evidence)
    } else {
        degraded(evidence, degrades)
    };
    ruled_out.retain(|out| !verdict.candidates.iter().any(|candidate| candidate.cause == out.cause));
    verdict.ruled_out = ruled_out;
    verdict
}

/// Hears every cause; gives what is ruled out, and the claims.
fn hear(evidence: &Evidence<'_>) -> (Vec<RuledOut>, Vec<Opinion>) {
    let mut ruled_out = Vec::new();
    let mut opinions = Vec::new();
    for cause in causes::all() {
        let seen = causes::captured::claim(evidence, cause);
        let Some(mut claim) = seen.or_else(|| (cause.claim)(evidence)) else { continue };
        claim.because.sort_unstable();
        claim.because.dedup();
        claim.because.retain(|id| evidence.get(*id).is_some());
        if claim.because.is_empty() {
            continue;
        }
        through_the_proxy(evidence, cause, &mut claim);
        if claim.standing == Standing::Contradicted {
            ruled_out.push(RuledOut { cause: cause.id.to_owned(), because: claim.because, why: claim.summary });
        } else {
            opinions.push(Opinion { cause, claim });
        }
    }
    (ruled_out, opinions)
}

/// What is said in a tunnel is said by the target, not by the proxy whose address the connection has: it is named so.
fn through_the_proxy(evidence: &Evidence<'_>, cause: &Cause, claim: &mut Claim) {
    let Some((_, proxy)) = evidence.proxy() else { return };
    if cause.layer < Layer::L5 || cause.id.starts_with("l5.proxy-") {
        return;
    }
    let target = evidence.target().host_port();
    let near = evidence.target_connects().map(|(_, connect)| connect.to.to_string());
    for near in near.collect::<std::collections::BTreeSet<_>>() {
        claim.locus.at = claim.locus.at.replace(&near, &target);
        if claim.summary.contains(&near) {
            let far = format!("{target} (through the proxy {})", proxy.host_port());
            claim.summary = claim.summary.replacen(&near, &far, 1).replace(&format!(" {near} "), &format!(" {target} "));
        }
    }
}

/// Rule 2.
fn fell_answers(evidence: &Evidence<'_>, breaks: Vec<Opinion>, ruled_out: &mut Vec<RuledOut>) -> Vec<Opinion> {
    let Some((layer, id)) = evidence.answered_up_to() else { return breaks };
    breaks
        .into_iter()
        .filter(|opinion| {
            let stands = opinion.claim.despite_answers || opinion.cause.layer >= layer;
            if !stands {
                let why = format!("an answer came from {layer}");
                ruled_out.push(RuledOut { cause: opinion.cause.id.to_owned(), because: vec![id], why });
            }
            stands
        })
        .collect()
}

/// What a user would suspect first, and which the highest answer excludes.
fn cleared_by_answers(evidence: &Evidence<'_>, breaks: &[Opinion], degrades: &[Opinion], already: &[RuledOut]) -> Vec<RuledOut> {
    const SUSPECTS: [&str; 7] = [
        "l1.no-carrier",
        "l2.gateway-unresolved",
        "l3.no-route",
        "l3.remote-blackhole",
        "l4.port-closed",
        "l4.port-filtered",
        "l7.dns-nxdomain",
    ];
    let Some((layer, id)) = evidence.answered_up_to() else { return Vec::new() };
    let claimed = |cause: &str| breaks.iter().chain(degrades).any(|opinion| opinion.cause.id == cause);
    SUSPECTS
        .into_iter()
        .filter_map(causes::find)
        .filter(|cause| cause.layer < layer || (cause.layer == Layer::L4 && layer == Layer::L4))
        .filter(|cause| !claimed(cause.id) && !already.iter().any(|out| out.cause == cause.id))
        .map(|cause| RuledOut { cause: cause.id.to_owned(), because: vec![id], why: format!("an answer came from {layer}") })
        .collect()
}

/// Rules 3 and 4.
fn broken(evidence: &Evidence<'_>, mut breaks: Vec<Opinion>, degrades: &[Opinion]) -> Verdict {
    let proven = |opinion: &Opinion| matches!(opinion.claim.standing, Standing::Proven(_));
    if breaks.iter().any(proven) {
        breaks.sort_by(|a, b| {
            let rank = |o: &Opinion| (!proven(o), !o.claim.misleads, o.cause.layer);
            rank(a).cmp(&rank(b)).then(b.claim.confidence().total_cmp(&a.claim.confidence()))
        });
        let also = consequences(&breaks, degrades);
        let candidates = proven_candidates(&breaks);
        return named(evidence, Status::Fault, &breaks[0], candidates, also);
    }
    breaks.sort_by(|a, b| b.claim.confidence().total_cmp(&a.claim.confidence()).then(a.cause.layer.cmp(&b.cause.layer)));
    let best = breaks[0].claim.confidence();
    breaks.retain(|opinion| opinion.claim.confidence() >= best * WORTH_NAMING);
    let clear = best >= CLEAR && breaks.get(1).is_none_or(|next| next.claim.confidence() <= best * APART);
    let candidates = breaks.iter().map(candidate).collect();
    let status = if clear { Status::Fault } else { Status::Inconclusive };
    let mut verdict = named(evidence, status, &breaks[0], candidates, Vec::new());
    if !clear {
        say_undecided(&mut verdict, &breaks);
    }
    verdict
}

/// The named cause, and likely ones of the same layer that the proof leaves a small chance.
fn proven_candidates(breaks: &[Opinion]) -> Vec<Candidate> {
    let named = &breaks[0];
    let beside = breaks[1..].iter().filter(|o| matches!(o.claim.standing, Standing::Likely(_)) && o.cause.layer == named.cause.layer);
    let mut all = vec![candidate(named)];
    all.extend(beside.map(|opinion| Candidate {
        confidence: round(opinion.claim.confidence().min(1.0 - named.claim.confidence())),
        ..candidate(opinion)
    }));
    all.retain(|candidate| candidate.confidence > 0.0);
    all
}

fn consequences(breaks: &[Opinion], degrades: &[Opinion]) -> Vec<String> {
    breaks[1..]
        .iter()
        .filter(|o| matches!(o.claim.standing, Standing::Proven(_)))
        .chain(degrades)
        .map(|o| o.claim.summary.clone())
        .take(4)
        .collect()
}

fn say_undecided(verdict: &mut Verdict, breaks: &[Opinion]) {
    let titles: Vec<&str> = breaks.iter().take(4).map(|opinion| opinion.cause.title).collect();
    verdict.summary = match titles.as_slice() {
        [one] => format!("Probably, but not proven: {one}. {}", breaks[0].claim.summary),
        many => format!("{} It is one of: {}.", breaks[0].claim.summary, many.join("; ")),
    };
    for opinion in &breaks[1..] {
        verdict.because.extend(&opinion.claim.because);
        push_steps(&mut verdict.next, &opinion.claim.decides);
    }
    verdict.because.sort_unstable();
    verdict.because.dedup();
}

/// Rule 5.
fn degraded(evidence: &Evidence<'_>, mut degrades: Vec<Opinion>) -> Verdict {
    degrades.sort_by(|a, b| b.claim.confidence().total_cmp(&a.claim.confidence()).then(a.cause.layer.cmp(&b.cause.layer)));
    let also = degrades[1..].iter().map(|opinion| opinion.claim.summary.clone()).take(4).collect();
    let candidates = degrades.iter().map(candidate).collect();
    named(evidence, Status::Degraded, &degrades[0], candidates, also)
}

fn healthy(evidence: &Evidence<'_>) -> Verdict {
    let because: Vec<ObservationId> = evidence.answered_up_to().map(|(_, id)| id).into_iter().collect();
    Verdict {
        status: Status::Healthy,
        layer: None,
        cause: None,
        confidence: if evidence.header.cut_short || fallback::echo_unasked(evidence).is_some() { 0.5 } else { 0.97 },
        locus: None,
        summary: fallback::healthy_summary(evidence),
        because,
        candidates: Vec::new(),
        ruled_out: Vec::new(),
        also: Vec::new(),
        next: Vec::new(),
        fix: Vec::new(),
    }
}

fn named(evidence: &Evidence<'_>, status: Status, opinion: &Opinion, candidates: Vec<Candidate>, also: Vec<String>) -> Verdict {
    let words = Placeholders::of(evidence);
    let mut next = Vec::new();
    push_steps(&mut next, &opinion.claim.decides);
    let tools = opinion.cause.confirm.iter().filter(|tool| of_use(evidence, tool.run));
    push_steps(
        &mut next,
        &tools.map(|t| NextStep { run: words.fill(t.run), on: words.fill(t.on), why: words.fill(t.why) }).collect::<Vec<_>>(),
    );
    let mut fix = opinion.claim.advice.clone();
    fix.extend(opinion.cause.fix.iter().filter(|text| of_use(evidence, text)).map(|text| words.fill(text)));
    Verdict {
        status,
        layer: Some(opinion.cause.layer),
        cause: Some(opinion.cause.id.to_owned()),
        confidence: round(opinion.claim.confidence()),
        locus: Some(opinion.claim.locus.clone()),
        summary: opinion.claim.summary.clone(),
        because: opinion.claim.because.clone(),
        candidates,
        ruled_out: Vec::new(),
        also,
        next,
        fix,
    }
}

/// A web client's commands and a web server's settings are of no use for a database or a broker.
fn of_use(evidence: &Evidence<'_>, text: &str) -> bool {
    use crate::observation::Spoken;
    let web = matches!(evidence.target().scheme.dialogue(), None | Some(Spoken::Grpc | Spoken::Websocket));
    web || !["curl ", "nginx", "Apache", "http://", "https://"].iter().any(|word| text.contains(word))
}

/// Steps in order, without those that an earlier one runs already, alone or among others.
fn push_steps(next: &mut Vec<NextStep>, steps: &[NextStep]) {
    for step in steps {
        let runs = |earlier: &NextStep| earlier.on == step.on && earlier.run.split("; ").any(|part| part == step.run);
        if next.len() < 6 && !next.contains(step) && !next.iter().any(runs) {
            next.push(step.clone());
        }
    }
}

fn candidate(opinion: &Opinion) -> Candidate {
    Candidate { layer: opinion.cause.layer, cause: opinion.cause.id.to_owned(), confidence: round(opinion.claim.confidence()) }
}

fn round(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}

/// The names of this case, for the commands of the registry.
struct Placeholders {
    names: Vec<(&'static str, String)>,
    ipv6: bool,
}

impl Placeholders {
    fn of(evidence: &Evidence<'_>) -> Self {
        let target = evidence.target();
        let at = evidence.failure().map(|failure| (failure.ip, failure.port));
        let at = at.or_else(|| evidence.main_address().map(|main| (main.ip(), main.port())));
        let ip = at.map(|(ip, _)| ip).or(target.literal());
        let gateway = ip.and_then(|ip| evidence.gateway(ip)).map(|ip| ip.to_string());
        let iface = ip.and_then(|ip| evidence.link_toward(ip)).map(|(_, link)| link.iface.clone());
        // Behind a proxy that works, the tools ask the target itself, whose address is not known here.
        let beyond = evidence.proxy().is_some() && evidence.failure().is_none();
        let (at, ip) = if beyond { (None, None) } else { (at, ip) };
        let port = at.map_or(target.port, |(_, port)| port);
        let resolver = evidence.first::<crate::observation::DnsConfig>(|_| true);
        let resolver = resolver.and_then(|(_, config)| config.resolvers.first()).map(|resolver| resolver.ip().to_string());
        let names = vec![
            ("{host}", target.host.clone()),
            // A host as a whole has none.
            ("{port}", if port == 0 { "PORT".to_owned() } else { port.to_string() }),
            ("{ip}", ip.map_or_else(|| target.host.clone(), |ip| ip.to_string())),
            ("{gateway}", gateway.unwrap_or_else(|| "GATEWAY".to_owned())),
            ("{iface}", iface.unwrap_or_else(|| "IFACE".to_owned())),
            ("{resolver}", resolver.unwrap_or_else(|| "RESOLVER".to_owned())),
            ("{url}", target.input.clone()),
        ];
        Self { names, ipv6: ip.is_some_and(|ip| ip.is_ipv6()) }
    }

    fn fill(&self, text: &str) -> String {
        let text = if self.ipv6 { neighbor_discovery(text) } else { text.to_owned() };
        self.names.iter().fold(text, |text, (name, value)| text.replace(name, value))
    }
}

/// The tools of ARP know IPv4 alone: with IPv6 neighbours are asked for by neighbour discovery (RFC 4861), and ndisc6 does that by hand.
fn neighbor_discovery(text: &str) -> String {
    let mut text = text.replace("arping -D -c 3 -I {iface} {ip}; ", "").replace("no ARP answer", "no answer");
    for address in ["{ip}", "{gateway}"] {
        let asked = format!("ndisc6 -m {address}");
        for times in ["-c 3", "-c 2"] {
            text = text.replace(&format!("arping {times} -I {{iface}} {address}"), &format!("{asked} {{iface}}"));
            text = text.replace(&format!("arping {times} {address}"), &format!("{asked} IFACE"));
        }
    }
    text
}
