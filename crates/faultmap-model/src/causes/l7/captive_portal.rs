//! The network answers in everybody's name until its user has logged in.

use super::answer::answer;
use super::http_status::claim_for;
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::How;
use crate::observation::{DnsOutcome, DnsQuery, HttpExchange, HttpOutcome, HttpResponse, Role, TlsChain, TlsHandshake, TlsOutcome, Trust};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

/// `l7.captive-portal`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.captive-portal",
    layer: Layer::L7,
    title: "a captive portal wants a login first",
    what: "The network lets nothing through until its user has logged in or agreed to terms, and answers in the name of every server: plain HTTP is \
           redirected to the portal's page, TLS meets the portal's certificate or none.",
    shows: "Status 511 (RFC 6585), which only portals send; or an address that nobody has (RFC 5737) answers HTTP with a redirect or a page, as the target does; \
            or the resolver gives the target's address for a name that cannot exist. A server's own redirect leaves those silent.",
    confirm: &[
        Tool { run: "curl -sI http://neverssl.com/", on: "here", why: "the same answer for another host: it is the network's" },
        Tool { run: "dig +short nosuchname.invalid", on: "here", why: "an address: the resolver answers for names that do not exist" },
    ],
    fix: &["Open the portal's page in a browser and log in.", "For machines, have their address allowed by the network's operator."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    claim_for(ev, "l7.captive-portal").or_else(|| everybody(ev)).or_else(|| every_name(ev))
}

/// An address that nobody has answers as a portal does, and the target not as itself.
fn everybody(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, page) = nobodys_answer(ev)?;
    let portal = host_of(page);
    let target = match answer(ev) {
        Some(answer) if answer.http.url.starts_with("http:") => {
            let alike = match (host_of(answer.response), &portal) {
                (Some(ours), Some(portal)) => ours == *portal,
                (None, None) => {
                    answer.response.body.excerpt.get(..40) == page.body.excerpt.get(..40) && answer.response.status == page.status
                }
                _ => false,
            };
            alike.then_some(answer.id)
        }
        Some(_) => None,
        None => untrue(ev),
    }?;
    let whither = portal.map_or_else(|| "a page of its own".to_owned(), |host| format!("a redirect to {host}"));
    let summary = format!(
        "This network answers in everybody's name, with {whither}: even an address that nobody has answers so. It wants a login first."
    );
    let claim = Claim::proven(0.95, Where::Path, "the network's captive portal", summary);
    Some(claim.citing([id, target]).despite_answers().misleading())
}

fn nobodys_answer<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a HttpResponse)> {
    let (id, http) = ev.exchange_for("nobody")?;
    let HttpOutcome::Response(response) = &http.outcome else { return None };
    let portal =
        matches!(response.status, 301 | 302 | 303 | 307 | 308 | 511) || (response.status == 200 && response.body.sniffed == "html");
    portal.then_some((id, response.as_ref()))
}

/// Where it redirects to.
fn host_of(response: &HttpResponse) -> Option<String> {
    let location = response.header("location")?;
    let (_, rest) = location.split_once("://")?;
    rest.split(['/', '?', '#', ':']).next().map(str::to_lowercase).filter(|host| !host.is_empty())
}

/// What answers on the TLS port is not the target, or nothing does.
fn untrue(ev: &Evidence<'_>) -> Option<ObservationId> {
    let host = &ev.target().host;
    let chain = ev.first::<TlsChain>(|chain| chain.name == *host && (!chain.name_matches || chain.trust != Trust::Trusted));
    let broken = |tls: &TlsHandshake| !matches!(tls.outcome, TlsOutcome::Done { .. } | TlsOutcome::Accepted { .. });
    let hello = || ev.handshake().filter(|(_, tls)| broken(tls)).map(|(id, _)| id);
    let refused = || ev.failure().filter(|failure| matches!(failure.how, How::Reset | How::Silent { .. })).map(|failure| failure.id);
    chain.map(|(id, _)| id).or_else(hello).or_else(refused)
}

/// The resolver gives the target's address for a name that cannot exist.
fn every_name(ev: &Evidence<'_>) -> Option<Claim> {
    let tried = ev.addresses();
    let (id, addresses) = ev.all::<DnsQuery>().find_map(|(id, query)| match &query.outcome {
        DnsOutcome::Answer(answer) if query.role == Role::Control && query.name.ends_with(".invalid") => Some((id, &answer.addresses)),
        _ => None,
    })?;
    let same: Vec<IpAddr> = addresses.iter().filter(|address| tried.contains(address)).copied().collect();
    let first = same.first()?;
    let wrong = untrue(ev).or_else(|| redirected_away(ev))?;
    let summary = format!(
        "The resolver gives {first} for every name, even for one that cannot exist, and what answers there is not {}: this network wants a login first.",
        ev.target().host
    );
    Some(Claim::proven(0.92, Where::Path, "the network's captive portal", summary).citing([id, wrong]).despite_answers().misleading())
}

/// The answer sends us to another host.
fn redirected_away(ev: &Evidence<'_>) -> Option<ObservationId> {
    let (id, http): (_, &HttpExchange) = ev.exchange()?;
    let HttpOutcome::Response(response) = &http.outcome else { return None };
    host_of(response).filter(|host| *host != ev.target().host.to_lowercase()).map(|_| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{HttpSamples, RecordType};
    use crate::testkit::{
        RESOLVER, but, but_response, claims, exchange, found, healthy_http, healthy_https, json_response, plus, query, without,
    };

    fn redirect(to: &str) -> HttpResponse {
        HttpResponse { headers: vec![("location".to_owned(), to.to_owned())], ..json_response(302) }
    }

    fn nobody(response: HttpResponse) -> HttpExchange {
        HttpExchange {
            to: "192.0.2.1:80".parse().expect("addr"),
            url: "http://192.0.2.1/".to_owned(),
            ..exchange("nobody", HttpOutcome::Response(Box::new(response)))
        }
    }

    fn redirected(to: &str) -> crate::Recording {
        let to = to.to_owned();
        but_response(healthy_http(), move |response| *response = redirect(&to))
    }

    fn check(recording: &crate::Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn an_address_that_nobody_has_redirects_as_the_target_does() {
        check(&plus(redirected("http://portal.wifi/login"), nobody(redirect("http://portal.wifi/login?x"))), Some((0.95, true)));
        check(&redirected("http://portal.wifi/login"), None);
        check(&plus(redirected("https://www.shop.test/"), nobody(redirect("http://portal.wifi/"))), None);
    }

    #[test]
    fn a_resolver_that_gives_the_same_address_for_a_name_that_cannot_exist_misleads() {
        let for_nothing = |address: &str| {
            let name = "faultmap-1.invalid".to_owned();
            DnsQuery { role: Role::Control, name, ..query(RESOLVER, RecordType::A, found(&[address])) }
        };
        let sent = || redirected("http://portal.wifi/login");
        check(&plus(sent(), for_nothing("10.2.0.10")), Some((0.92, true)));
        check(&plus(sent(), for_nothing("10.9.9.9")), None);
        check(&plus(healthy_http(), for_nothing("10.2.0.10")), None);
    }

    #[test]
    fn a_certificate_for_another_name_comes_from_the_portal() {
        let wrong = without::<HttpSamples>(without::<HttpExchange>(but::<TlsChain>(healthy_https(), |chain| chain.name_matches = false)));
        check(&wrong, None);
        check(&plus(wrong.clone(), nobody(redirect("http://portal.wifi/"))), Some((0.95, true)));
        check(&plus(wrong, nobody(json_response(503))), None);
    }
}
