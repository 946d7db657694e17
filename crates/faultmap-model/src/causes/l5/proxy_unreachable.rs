//! The configured proxy is not there: its name leads nowhere, nothing listens, nothing answers, or what accepts never speaks.

use crate::causes::l7::{misled_by_names, name_missing};
use crate::causes::{self, Cause, Claim, Severity, Standing, Tool};
use crate::evidence::{Failure, How};
use crate::observation::{ProxyChoice, ProxyTunnel, TunnelOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l5.proxy-unreachable`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.proxy-unreachable",
    layer: Layer::L5,
    title: "the configured proxy does not answer",
    what: "A variable of the environment (HTTPS_PROXY, ALL_PROXY) or --proxy sends the traffic to a proxy that cannot be reached: it was switched off or \
           moved, its name is gone, its port is another one, or a filter stands before it. The target is never asked.",
    shows: "The connect to the proxy fails, its name has no address, or it accepts and answers nothing at all, not even a question that it must answer \
            itself (OPTIONS *, RFC 9110 7.6.2). What failed below is told beside it. A proxy that answers with a refusal is l5.proxy-refused.",
    confirm: &[
        Tool { run: "env | grep -i _proxy", on: "here", why: "which proxy is configured, and for what" },
        Tool { run: "curl --noproxy '*' -sko /dev/null -w '%{http_code}\\n' {url}", on: "here", why: "an answer: the direct way works" },
        Tool { run: "ss -ltnp | grep -E ':(3128|8080|8888|1080) '", on: "the proxy", why: "whether it listens, and where" },
    ],
    fix: &[
        "Correct the variable, or unset it; services read it from their own environment (systemd unit, container, CI job).",
        "Start the proxy, or open the way to its port.",
        "Where the direct way is allowed, add the target to NO_PROXY.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (choice_id, proxy) = ev.proxy()?;
    if misled_by_names(ev) {
        return None;
    }
    let (ids, how, confidence) = unreached(ev, proxy).or_else(|| mute(ev))?;
    let summary =
        format!("The proxy {} (from {}) {how}; {} was not asked.", proxy.host_port(), proxy.configured_by, ev.target().host_port());
    let claim =
        Claim::proven(confidence, Where::Remote, format!("the proxy {}", proxy.host_port()), summary).misleading().despite_answers();
    Some(advised(ev, proxy, claim.citing([choice_id]).citing(ids)))
}

/// Its name has no address, or nothing connects there.
fn unreached(ev: &Evidence<'_>, proxy: &ProxyChoice) -> Option<(Vec<ObservationId>, String, f64)> {
    if ev.sought_host() != proxy.host {
        return None;
    }
    if let Some(ids) = name_missing(ev).filter(|_| ev.addresses().is_empty()) {
        return Some((ids, "has a name that leads to no address".to_owned(), 0.96));
    }
    let failure = ev.failure().filter(|failure| failure.role == crate::observation::Role::Target)?;
    let below = beneath(ev);
    let direct = ev.bypass().is_some_and(|(_, bypass)| bypass.open());
    if !direct && (own_fault(&failure) || below.iter().any(|(layer, local)| *layer <= Layer::L2 || *local)) {
        return None;
    }
    let (how, confidence) = match failure.how {
        How::Reset => ("refuses the connection: nothing listens there".to_owned(), 0.96),
        How::Icmp(icmp) => (format!("is reported unreachable by {}", icmp.from), 0.95),
        How::Errno(errno) => (format!("cannot be reached from here ({errno})"), 0.9),
        How::Silent { waited_ms } => (format!("does not answer a connect within {:.1} s", waited_ms / 1e3), 0.93),
    };
    Some((vec![failure.id], how, confidence))
}

/// Our own kernel could not even try, whatever the destination.
fn own_fault(failure: &Failure<'_>) -> bool {
    failure.errno().is_some_and(|errno| errno != "ECONNRESET")
}

/// What is proven below, as `(layer, on this host)`. That a proxy's host is down is the proxy's matter.
fn beneath(ev: &Evidence<'_>) -> Vec<(Layer, bool)> {
    const OF_THE_PROXY: [&str; 3] = ["l2.neighbor-unresolved", "l2.remote-neighbor-unresolved", "l4.address-dead"];
    let below = causes::all().filter(|cause| cause.layer < Layer::L5 && !OF_THE_PROXY.contains(&cause.id));
    let proven = below.filter_map(|cause| (cause.claim)(ev).map(|claim| (cause.layer, claim)));
    let proven = proven.filter(|(_, claim)| matches!(claim.standing, Standing::Proven(_)) && claim.severity == Severity::Breaks);
    proven.map(|(layer, claim)| (layer, claim.locus.side == Where::Local)).collect()
}

/// It accepts, and answers neither the request nor a question that every proxy answers by itself.
fn mute(ev: &Evidence<'_>) -> Option<(Vec<ObservationId>, String, f64)> {
    let silent = |tunnel: &ProxyTunnel| matches!(tunnel.outcome, TunnelOutcome::Silent { received_bytes: 0, .. });
    let (alive, _) = ev.first::<ProxyTunnel>(|tunnel| tunnel.purpose == "alive" && silent(tunnel))?;
    let asked = ev.failed_tunnel().filter(|(_, tunnel)| silent(tunnel)).map(|(id, _)| id).or_else(|| ev.exchange().map(|(id, _)| id));
    Some((vec![alive].into_iter().chain(asked).collect(), "accepts the connection and never answers, whatever it is asked".to_owned(), 0.9))
}

/// Whether the direct way is open.
pub(super) fn advised(ev: &Evidence<'_>, proxy: &ProxyChoice, claim: Claim) -> Claim {
    let Some((id, bypass)) = ev.bypass() else { return claim };
    let place = ev.target().host_port();
    let advice = if bypass.open() && proxy.configured_by.starts_with('-') {
        format!("The direct way to {place} is open: without {} the check asks it directly.", proxy.configured_by)
    } else if bypass.open() {
        format!(
            "The direct way to {place} is open: add {} to NO_PROXY, or unset {}, if it may be used.",
            ev.target().host,
            proxy.configured_by
        )
    } else if bypass.addresses.is_empty() {
        format!("{} does not resolve here, so that there is no direct way; the proxy is needed.", ev.target().host)
    } else {
        format!("The direct way to {place} is closed from here; the proxy is needed.")
    };
    claim.citing([id]).advising(advice)
}

#[cfg(test)]
mod tests {
    use super::super::proxy_tests::{bypass, choice, closed, proxied, tunnel};
    use super::*;
    use crate::causes::tests_support::{connect, connected, errno, reset, silent};
    use crate::observation::Role;
    use crate::testkit::claims;

    fn check(recording: &crate::Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn a_proxy_that_cannot_be_connected_is_unreachable() {
        let at_proxy = |outcome| proxied(vec![connect("10.3.0.1:3128", Role::Target, outcome)]);
        check(&at_proxy(reset()), Some((0.96, true)));
        check(&at_proxy(silent()), Some((0.93, true)));
        check(&at_proxy(connected()), None);
    }

    #[test]
    fn a_host_that_cannot_send_at_all_blames_itself() {
        let unsent = |direct| proxied(vec![connect("10.3.0.1:3128", Role::Target, errno("ENETUNREACH")), direct]);
        check(&unsent(bypass(closed())), None);
        check(&unsent(bypass(connected())), Some((0.9, true)));
    }

    #[test]
    fn a_proxy_that_is_not_used_cannot_be_at_fault() {
        let exempt = crate::observation::ProxyChoice { exempted_by: Some("shop.test".to_owned()), ..choice() };
        let seen = vec![exempt.into(), connect("10.2.0.10:443", Role::Target, reset())];
        check(&crate::testkit::recording("https://shop.test/", seen), None);
    }

    #[test]
    fn a_proxy_that_says_nothing_to_anything_is_mute() {
        let mute = || TunnelOutcome::Silent { waited_ms: 6_000.0, received_bytes: 0 };
        let there = || connect("10.3.0.1:3128", Role::Target, connected());
        check(&proxied(vec![there(), tunnel("default", mute()), tunnel("alive", mute())]), Some((0.9, true)));
        check(&proxied(vec![there(), tunnel("default", mute()), tunnel("alive", TunnelOutcome::Open { status: Some(400) })]), None);
        check(&proxied(vec![there(), tunnel("default", mute())]), None);
    }
}
