//! From a recording to the few facts that are compared.

use crate::Evidence;
use crate::observation::{
    ConnectOutcome, DnsConfig, Echo, Facts, HopFact, HopSaid, HttpOutcome, RouteOutcome, SystemLookup, TlsChain, TlsOutcome, Walk,
};
use std::net::IpAddr;

/// Hops beyond this are no path.
const MOST_HOPS: usize = 64;
/// Addresses beyond this are not compared.
const MOST_ADDRESSES: usize = 64;

pub(super) fn of(ev: &Evidence<'_>) -> Facts {
    let to = ev.main_address();
    let timing = crate::report::timing(ev);
    let mut facts = Facts { to, dns_ms: timing.dns_ms, tls_ms: timing.tls_ms, ttfb_ms: timing.ttfb_ms, ..Facts::default() };
    if let Some((_, lookup)) = ev.first::<SystemLookup>(|lookup| lookup.error.is_none()) {
        facts.addresses = lookup.addresses.iter().copied().take(MOST_ADDRESSES).collect();
        facts.addresses.sort_unstable();
    }
    facts.resolvers = ev.first::<DnsConfig>(|_| true).map(|(_, config)| config.resolvers.clone()).unwrap_or_default();
    if let Some(to) = to {
        local(ev, to.ip(), &mut facts);
        path(ev, to.ip(), &mut facts);
    }
    conversation(ev, &mut facts);
    facts
}

fn local(ev: &Evidence<'_>, to: IpAddr, facts: &mut Facts) {
    if let Some((_, route)) = ev.route(to)
        && let RouteOutcome::Found { iface, gateway, .. } = &route.outcome
    {
        facts.iface = Some(iface.clone());
        facts.gateway = *gateway;
    }
    facts.mtu = ev.link_toward(to).map(|(_, link)| link.mtu);
}

fn path(ev: &Evidence<'_>, to: IpAddr, facts: &mut Facts) {
    let mut rtts: Vec<f64> = Vec::new();
    for (_, connect) in ev.connected().filter(|(_, connect)| connect.to.ip() == to) {
        if let ConnectOutcome::Connected { rtt_ms, retransmits, pmtu, .. } = connect.outcome {
            facts.pmtu = Some(pmtu);
            rtts.extend((retransmits == 0).then_some(rtt_ms));
        }
    }
    rtts.extend(ev.all::<Echo>().filter(|(_, echo)| echo.to == to).flat_map(|(_, echo)| echo.rtts_ms.iter().copied()));
    for (_, walk) in ev.walks(to) {
        hops(walk, facts);
        rtts.extend(walk.hops.iter().flat_map(|hop| &hop.answers).filter(|a| a.said == HopSaid::Reached && a.from == to).map(|a| a.rtt_ms));
    }
    facts.rtt_ms = rtts.into_iter().filter(|rtt| rtt.is_finite()).min_by(f64::total_cmp);
    facts.hops.iter_mut().for_each(|hop| hop.routers.sort_unstable());
}

fn hops(walk: &Walk, facts: &mut Facts) {
    if let Some(reached) = walk.reached_ttl {
        facts.distance = Some(facts.distance.map_or((reached, reached), |(fewest, most)| (fewest.min(reached), most.max(reached))));
    }
    for hop in walk.hops.iter().filter(|hop| walk.reached_ttl.is_none_or(|end| hop.ttl < end)) {
        let place = usize::from(hop.ttl).saturating_sub(1);
        if place >= MOST_HOPS {
            break;
        }
        if facts.hops.len() <= place {
            facts.hops.resize(place + 1, HopFact::default());
        }
        let routers = hop.routers();
        let Some(fact) = facts.hops.get_mut(place) else { continue };
        for answer in hop.answers.iter().filter(|answer| routers.contains(&answer.from)) {
            if !fact.routers.contains(&answer.from) {
                fact.routers.push(answer.from);
            }
            fact.best_ms = Some(fact.best_ms.map_or(answer.rtt_ms, |best| best.min(answer.rtt_ms)));
        }
    }
}

fn conversation(ev: &Evidence<'_>, facts: &mut Facts) {
    if let Some((_, tls)) = ev.handshake()
        && let TlsOutcome::Done { version, cipher, alpn, .. } = &tls.outcome
    {
        facts.tls_version = Some(version.clone());
        facts.tls_cipher = Some(cipher.clone());
        facts.alpn.clone_from(alpn);
    }
    if let Some(leaf) = ev.all::<TlsChain>().last().and_then(|(_, chain)| chain.certificates.first()) {
        facts.certificate = Some(leaf.sha256.clone());
        facts.issuer = Some(leaf.issuer.clone());
        facts.not_after_unix = Some(leaf.not_after_unix);
    }
    if let Some((_, http)) = ev.exchange()
        && let HttpOutcome::Response(response) = &http.outcome
    {
        facts.http_version = Some(http.version.clone());
        facts.http_status = Some(response.status);
        facts.server = response.header("server").map(str::to_owned);
    }
}
