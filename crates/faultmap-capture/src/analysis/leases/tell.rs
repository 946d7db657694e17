//! What is told of a client that did not get its address, or not at once, and whom it is put down to.

use super::super::book::Book;
use super::said::{Kind, Said, Stage};
use super::{Answered, Asked, Client, Leases, Mark};
use crate::app::text;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::FlowId;
use crate::packet::Stamp;
use faultmap_model::Layer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Tries after which silence is an answer. Fewer are lost on every segment whose switch opens its ports only after a while.
const SILENT_TRIES: u32 = 3;
/// Two tries this far apart are as good as three, milliseconds.
const SILENT_MS: f64 = 5000.0;
/// A server may try for up to a second or three whether an address is in use before it offers it (RFC 2131 §2.2): longer is slow, milliseconds.
const LATE_MS: f64 = 5000.0;
/// To give what was offered takes no trial, milliseconds.
const SLOW_MS: f64 = 1000.0;

/// The message in the words of its protocol.
pub(super) fn name(said: &Said) -> &'static str {
    match (said.kind, said.six) {
        (Kind::Discover, false) => "DISCOVER",
        (Kind::Discover, true) => "SOLICIT",
        (Kind::Request(stage), six) => stage.name(six),
        (Kind::Inform, false) => "INFORM",
        (Kind::Inform, true) => "INFORMATION-REQUEST",
        (Kind::Offer, false) => "OFFER",
        (Kind::Offer, true) => "ADVERTISE",
        (Kind::Ack, false) => "ACK",
        (Kind::Ack, true) => "REPLY",
        (Kind::Nak, _) => "NAK",
        (Kind::Decline, _) => "DECLINE",
    }
}

/// The server, or whoever may serve in the segment.
fn party(said: &Said, server: Option<IpAddr>) -> Party {
    let all: IpAddr = if said.six { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2).into() } else { Ipv4Addr::BROADCAST.into() };
    Party::Service(SocketAddr::new(server.unwrap_or(all), if said.six { 547 } else { 67 }))
}

fn finding(
    rule: &'static str,
    weight: Weight,
    cause: Option<&'static str>,
    blames: Party,
    (cited, flow): (Cited, Option<FlowId>),
) -> Finding {
    let layer = if cause == Some("l2.duplicate-address") { Layer::L2 } else { Layer::L7 };
    let finding = Finding::of(rule, weight, (Stamp::default(), Stamp::default()), cited, String::new());
    Finding { layer: Some(layer), cause, flow, blames: Some(blames), ..finding }
}

fn of_asked(rule: &'static str, weight: Weight, cause: Option<&'static str>, blames: Party, asked: &Asked, until: Stamp) -> Finding {
    let found = finding(rule, weight, cause, blames, (asked.cited.clone(), Some(asked.flow)));
    Finding { first: asked.first.at, last: asked.last.at.max(asked.first.at), value: Some(until.ms_since(asked.first.at)), ..found }
}

/// A question that was never answered. The time counts to the last try: what came after it may not have been waited for.
pub(super) fn unanswered(leases: &Leases, client: &Client, asked: &Asked, now: Stamp, book: &mut Book) {
    let tried = asked.last.at.ms_since(asked.first.at);
    let silent = asked.tries >= SILENT_TRIES || (asked.tries == 2 && (tried >= SILENT_MS || now.ms_since(asked.last.at) >= SILENT_MS));
    // A server that has nothing to give has answered.
    if !silent || (asked.said.six && !client.refusals.is_empty()) {
        return;
    }
    match asked.said.kind {
        Kind::Discover if !client.offers.is_empty() => offer_not_taken(client, asked, book),
        Kind::Discover => nobody_offers(leases, asked, tried, book),
        // Whoever does not know the client stays silent (RFC 2131 §4.3.2), and the client begins anew.
        Kind::Request(Stage::Reboot) => {}
        Kind::Request(stage) => request_unanswered(client, asked, stage, tried, book),
        _ => {}
    }
}

fn tries(asked: &Asked, tried: f64) -> String {
    format!("{} {} in {}", asked.tries, name(&asked.said), text::time(tried))
}

fn nobody_offers(leases: &Leases, asked: &Asked, tried: f64, book: &mut Book) {
    let said = &asked.said;
    let wanted = if said.six { "ADVERTISE" } else { "OFFER" };
    let (server, about) = match (asked.passed_on, said.server.zip(said.relay)) {
        (Some((relay, server)), _) | (None, Some((server, relay))) => {
            (Some(server), format!("; the relay {relay} passed them on to {server}, which did not answer"))
        }
        (None, None) => match leases.servers.first() {
            Some(server) => {
                let others = leases.served;
                let about =
                    format!("; {server} gave addresses to others ({others}): its pool may be used up, or it does not know this client");
                (Some(*server), about)
            }
            None => (None, "; no DHCP server or relay answers in this segment".to_owned()),
        },
    };
    // Hosts ask for IPv6 addresses on the chance, unless their router says that there are some.
    let weight = if said.six && !leases.managed && server.is_none() { Weight::Note } else { Weight::Fault };
    let mut found = of_asked("dhcp.no-offer", weight, None, party(said, server), asked, asked.last.at);
    found.text = format!("{}: {} got no {wanted}{about}", said.client, tries(asked, tried));
    book.add(found);
}

fn offer_not_taken(client: &Client, asked: &Asked, book: &mut Book) {
    let Some(offer) = client.offers.first().filter(|_| asked.since_offer >= 2) else { return };
    let server = offer.said.server;
    let by = server.map_or_else(String::new, |server| format!(" of {server}"));
    let mut found = of_asked("dhcp.offer-not-taken", Weight::Fault, None, party(&asked.said, server), asked, asked.last.at);
    found.cited.add(offer.mark.packet);
    found.cited.packets.sort_unstable();
    let more = asked.since_offer;
    found.text =
        format!("{}: after the {}{by} it asked {more} times more: what is offered does not reach it", asked.said.client, name(&offer.said));
    book.add(found);
}

fn request_unanswered(client: &Client, asked: &Asked, stage: Stage, tried: f64, book: &mut Book) {
    let said = &asked.said;
    let server = said.server.or_else(|| client.renewal.as_ref().and_then(|renewal| renewal.said.server));
    let what = match (stage, server) {
        (Stage::Select, Some(server)) => format!(" to {server}, whose offer it took, got no answer"),
        (Stage::Renew, Some(server)) => format!(" to {server} got no answer: the lease runs out"),
        (_, Some(server)) => format!(" got no answer, nor did those to {server}: the lease runs out"),
        (_, None) => " got no answer".to_owned(),
    };
    let mut found = of_asked("dhcp.request-unanswered", Weight::Fault, None, party(said, server), asked, asked.last.at);
    found.text = format!("{}: {}{what}", said.client, tries(asked, tried));
    book.add(found);
}

/// What was not as it should be on the way to an address that was given in the end.
pub(super) fn success(client: &Client, asked: &Asked, said: &Said, mark: Mark, book: &mut Book) {
    let given = said.address.map_or_else(String::new, |address| format!(" {address}"));
    if let Some(discovery) = &client.discovery
        && discovery.said.kind == Kind::Discover
        && client.refusals.is_empty()
        && let waited = client.offers.first().map_or(discovery.last.at, |offer| offer.mark.at).ms_since(discovery.first.at)
        && (discovery.tries > SILENT_TRIES || waited >= LATE_MS)
        && discovery.tries > 1
    {
        let server = said.server;
        let mut found = of_asked("dhcp.retry", Weight::Warning, Some("l7.service-slow"), party(said, server), discovery, mark.at);
        let (client, tries) = (&said.client, discovery.tries);
        found.text = format!("{client}: offered an address at try {tries}, after {}", text::time(waited));
        found.value = Some(waited);
        book.add(found);
    }
    let wait = mark.at.ms_since(asked.last.at);
    if wait >= SLOW_MS {
        let mut found = of_asked("dhcp.server-think", Weight::Warning, Some("l7.service-slow"), party(said, said.server), asked, mark.at);
        found.text = format!("{}: {} answered after {}", said.client, name(&asked.said), text::time(wait));
        found.value = Some(wait);
        found.cited.add(mark.packet);
        book.add(found);
    }
    if let Some(renewal) = client.renewal.as_ref().filter(|renewal| renewal.tries >= 2) {
        let server = renewal.said.server;
        let who = server.map_or_else(|| "its server".to_owned(), |server| server.to_string());
        let by = said.server.map_or_else(String::new, |by| format!(" by {by}"));
        let mut found =
            of_asked("dhcp.renewal-unanswered", Weight::Warning, Some("l7.service-mute"), party(said, server), renewal, renewal.last.at);
        let (client, tries) = (&said.client, renewal.tries);
        found.text = format!("{client}: {tries} renewals to {who} got no answer; asked by broadcast, the lease was renewed{by}");
        book.add(found);
    }
    refusals(client, Some(&given), book);
    declined(client, Some(&given), book);
}

/// A client that is not heard of any more without having been given anything.
pub(super) fn failure(client: &Client, book: &mut Book) {
    refusals(client, None, book);
    declined(client, None, book);
}

fn refusals(client: &Client, given: Option<&str>, book: &mut Book) {
    let Some(refusal) = client.refusals.last() else { return };
    let said = &refusal.said;
    let times = client.refusals.len();
    let other = said.server.zip(refusal.asked_of).filter(|(by, chosen)| by != chosen && !said.six);
    // After a move to another network the first answer is a NAK, and the next one an address (RFC 2131 §3.2).
    let weight = match given {
        Some(_) if times < 2 && other.is_none() => Weight::Note,
        Some(_) => Weight::Warning,
        None if times < 2 && !said.six => Weight::Warning,
        None => Weight::Fault,
    };
    let mut cited = Cited::default();
    client.refusals.iter().for_each(|refusal| cited.add(refusal.mark.packet));
    let mut found = finding("dhcp.refused", weight, Some("l7.service-error"), party(said, said.server), (cited, None));
    (found.first, found.last) = (client.refusals.first().map_or(refusal.mark.at, |first| first.mark.at), refusal.mark.at);
    let by = said.server.map_or_else(String::new, |server| format!(" by {server}"));
    let why = if said.why.is_empty() { String::new() } else { format!(": {}", said.why) };
    let often = if times > 1 { format!(" {times} times") } else { String::new() };
    let instead =
        other.map_or_else(String::new, |(_, chosen)| format!("; it had asked {chosen}: two servers do not agree who serves here"));
    let then = given.map_or_else(String::new, |given| format!("; then it was given{given}"));
    let what = if said.six { "no address" } else { "refused (NAK)" };
    found.text = format!("{}: {what}{often}{by}{why}{instead}{then}", said.client);
    book.add(found);
}

fn declined(client: &Client, given: Option<&str>, book: &mut Book) {
    let Some(first) = client.declined.first() else { return };
    let said = &first.said;
    let mut cited = Cited::default();
    client.declined.iter().for_each(|declined| cited.add(declined.mark.packet));
    let blames = said.address.map_or_else(|| party(said, said.server), Party::Host);
    let weight = if given.is_some() { Weight::Warning } else { Weight::Fault };
    let mut found = finding("dhcp.decline", weight, Some("l2.duplicate-address"), blames, (cited, None));
    (found.first, found.last) = (first.mark.at, client.declined.last().map_or(first.mark.at, |last| last.mark.at));
    let address = said.address.map_or_else(|| "the address".to_owned(), |address| address.to_string());
    let by = said.server.map_or_else(String::new, |server| format!(", given by {server}"));
    let then = given.map_or_else(String::new, |given| format!("; then it was given{given}"));
    found.text = format!("{}: declined {address}{by}: another station has it{then}", said.client);
    book.add(found);
}

/// Two servers that offer different ways out to one client: one of them does not belong here.
pub(super) fn disagreement(other: &Answered, said: &Said, mark: Mark, flow: FlowId, book: &mut Book) {
    let words = |said: &Said| {
        let server = said.server.map_or_else(String::new, |server| server.to_string());
        let address = said.address.map_or_else(String::new, |address| address.to_string());
        said.network.map_or_else(String::new, |(router, mask)| format!("{server} offers {address} ({mask}) by way of {router}"))
    };
    let mut cited = Cited::one(other.mark.packet);
    cited.add(mark.packet);
    let mut found =
        finding("dhcp.servers-disagree", Weight::Warning, Some("l7.service-error"), party(said, said.server), (cited, Some(flow)));
    (found.first, found.last) = (other.mark.at, mark.at);
    found.text = format!("{}, {}: one of the two does not belong in this segment", words(&other.said), words(said));
    book.add(found);
}
