//! Handshakes under different offers, compared: what the ordinary offer met, and which other offers the server takes. It claims nothing.

use crate::observation::{TcpHealth, TlsOutcome};
use crate::{Evidence, ObservationId};
use std::net::SocketAddr;

/// The ordinary handshake, when it did not complete.
pub(in crate::causes) struct Failed<'a> {
    pub(in crate::causes) id: ObservationId,
    pub(in crate::causes) to: SocketAddr,
    pub(in crate::causes) outcome: &'a TlsOutcome,
    pub(in crate::causes) tcp: Option<&'a TcpHealth>,
}

/// An offer that the server took.
pub(in crate::causes) struct Taken<'a> {
    pub(in crate::causes) id: ObservationId,
    pub(in crate::causes) version: &'a str,
    /// Code point of the cipher suite, for raw offers.
    pub(in crate::causes) cipher: Option<u16>,
}

/// Offers of one version each, oldest first.
pub(in crate::causes) const VERSIONS: [&str; 4] = ["only-tls1.0", "only-tls1.1", "only-tls1.2", "only-tls1.3"];
/// Offers that carry our own name in SNI, as the ordinary one does.
const WITH_OUR_NAME: [&str; 8] =
    ["only-tls1.0", "only-tls1.1", "only-tls1.2", "only-tls1.3", "all-ciphers", "no-alpn", "short-hello", "second-try"];
/// No offer at all: a request in plain text, sent where no hello is answered.
pub(in crate::causes) const PLAIN_REQUEST: &str = "plain-request";
/// Offers without our name.
pub(in crate::causes) const WITHOUT_OUR_NAME: [&str; 2] = ["other-sni", "no-sni"];

/// The ordinary handshake of a target with TLS, from its first byte or within its protocol, if it failed after TCP had connected.
pub(in crate::causes) fn failed<'a>(ev: &Evidence<'a>) -> Option<Failed<'a>> {
    let scheme = ev.target().scheme;
    let (id, tls) = ev.handshake().filter(|_| scheme.uses_tls() || scheme.upgrades_to_tls())?;
    let ended = !matches!(tls.outcome, TlsOutcome::Done { .. } | TlsOutcome::Accepted { .. } | TlsOutcome::NoConnection { .. });
    ended.then_some(Failed { id, to: tls.to, outcome: &tls.outcome, tcp: tls.tcp.as_ref() })
}

/// The server took the offer of this name.
pub(in crate::causes) fn accepted<'a>(ev: &Evidence<'a>, offer: &str) -> Option<Taken<'a>> {
    let (id, tls) = ev.handshake_offering(offer)?;
    match &tls.outcome {
        TlsOutcome::Accepted { version, cipher } => Some(Taken { id, version, cipher: Some(*cipher) }),
        TlsOutcome::Done { version, .. } => Some(Taken { id, version, cipher: None }),
        _ => None,
    }
}

/// Some offer that carries our name was taken, so that the name is not what the server refuses.
pub(in crate::causes) fn accepted_with_our_name<'a>(ev: &Evidence<'a>) -> Option<Taken<'a>> {
    WITH_OUR_NAME.into_iter().find_map(|offer| accepted(ev, offer))
}

/// Some offer, of whatever kind, was taken.
pub(in crate::causes) fn any_accepted<'a>(ev: &Evidence<'a>) -> Option<Taken<'a>> {
    accepted_with_our_name(ev).or_else(|| WITHOUT_OUR_NAME.into_iter().find_map(|offer| accepted(ev, offer)))
}

/// Other offers were made at all.
pub(in crate::causes) fn compared(ev: &Evidence<'_>) -> bool {
    VERSIONS.iter().chain(&WITHOUT_OUR_NAME).any(|offer| ev.handshake_offering(offer).is_some())
}

/// A target in plain text was asked in TLS and answered in TLS, by a ServerHello or an alert.
pub(in crate::causes) fn speaks_tls(ev: &Evidence<'_>) -> Option<ObservationId> {
    let scheme = ev.target().scheme;
    let plain = scheme == crate::Scheme::Http || (scheme.dialogue().is_some() && !scheme.uses_tls() && ev.handshake().is_none());
    let (id, tls) = ev.handshake_offering("all-ciphers").filter(|_| plain)?;
    matches!(tls.outcome, TlsOutcome::Accepted { .. } | TlsOutcome::Alert { .. }).then_some(id)
}

/// The server was seen to ask for a client certificate.
pub(in crate::causes) fn client_certificate_requested(ev: &Evidence<'_>) -> bool {
    ev.all::<crate::observation::TlsHandshake>().any(|(_, tls)| {
        matches!(tls.outcome, TlsOutcome::Done { client_cert_requested: true, .. } | TlsOutcome::Alert { client_cert_requested: true, .. })
    })
}

/// A long ClientHello that got no answer, twice, where an ordinary one beside it was taken.
pub(in crate::causes) struct LongHello {
    pub(in crate::causes) ids: Vec<ObservationId>,
    pub(in crate::causes) to: SocketAddr,
    pub(in crate::causes) bytes: u32,
    /// In words: `silence`.
    pub(in crate::causes) met: &'static str,
    /// Some of it was never acknowledged: it did not arrive.
    pub(in crate::causes) lost: bool,
}

/// The server, or a box before it, does not take long hellos.
pub(in crate::causes) fn long_hello(ev: &Evidence<'_>) -> Option<LongHello> {
    let ordinary = accepted(ev, "ordinary")?;
    let tries: Vec<_> = ev.all::<crate::observation::TlsHandshake>().filter(|(_, tls)| tls.offer.name == "long-hello").collect();
    let met = |outcome: &TlsOutcome| match outcome {
        TlsOutcome::Silent { received_bytes: 0, .. } => Some("silence"),
        TlsOutcome::Reset { received_bytes: 0 } => Some("a reset"),
        TlsOutcome::Closed { received_bytes: 0 } => Some("a close"),
        _ => None,
    };
    let ends: Option<Vec<&str>> = tries.iter().map(|(_, tls)| met(&tls.outcome)).collect();
    let (_, last) = tries.last()?;
    let met = ends.filter(|ends| ends.len() >= 2)?.pop()?;
    let lost = last.tcp.as_ref().is_some_and(|tcp| tcp.unacked > 0);
    let ids = tries.iter().map(|(id, _)| *id).chain([ordinary.id]).collect();
    Some(LongHello { ids, to: last.to, bytes: last.offer.hello_bytes.unwrap_or_default(), met, lost })
}
