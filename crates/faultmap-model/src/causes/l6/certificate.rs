//! The certificate chain as the causes of L6 read it: its defects in order, the most fundamental first. It claims nothing.

use super::date::{day, span};
use crate::observation::{Certificate, Demand, HttpExchange, HttpOutcome, TlsChain, Trust};
use crate::{Evidence, ObservationId};

/// Our clock and the server's differ by more than this: no cache and no slow answer explains it.
const CLOCKS_DIFFER_S: i64 = 600;

/// The chain that the server under test presented.
pub(super) struct Presented<'a> {
    pub(super) id: ObservationId,
    pub(super) chain: &'a TlsChain,
    pub(super) leaf: &'a Certificate,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Expired,
    NotYetValid,
    SelfSigned,
    UntrustedIssuer,
    Incomplete,
    WrongHost,
}

/// The server's clock, which makes the chain valid where ours does not.
pub(super) struct Skew {
    /// The exchange with the `Date`.
    pub(super) id: ObservationId,
    /// The server's clock, Unix seconds.
    pub(super) server_unix: i64,
    /// Ours less the server's: positive when ours is ahead.
    pub(super) ahead_s: i64,
}

/// The last chain of the server that was spoken to, for targets with TLS, from the first byte or within their protocol.
pub(super) fn presented<'a>(ev: &Evidence<'a>) -> Option<Presented<'a>> {
    let to = ev.handshake().map(|(_, tls)| tls.to);
    let (id, chain) = ev.all::<TlsChain>().filter(|(_, chain)| to.is_none_or(|to| chain.to == to)).last()?;
    let leaf = chain.certificates.first()?;
    // Within another protocol TLS is most often taken as it comes; its chain counts where it was demanded.
    if !ev.target().scheme.uses_tls() && chain.demanded.is_none() {
        return None;
    }
    Some(Presented { id, chain, leaf })
}

impl<'a> Presented<'a> {
    /// Certificates whose windows count: the leaf, and those on the path to the root.
    pub(super) fn counted(&self) -> impl Iterator<Item = &'a Certificate> + use<'a> {
        let chain = self.chain;
        let on_path = chain.path.iter().filter_map(|index| usize::try_from(*index).ok()).filter(|index| *index > 0);
        chain.certificates.first().into_iter().chain(on_path.filter_map(|index| chain.certificates.get(index)))
    }

    /// The first certificate that has expired by this clock.
    pub(super) fn expired_at(&self, unix: i64) -> Option<&'a Certificate> {
        self.counted().find(|certificate| certificate.not_after_unix < unix)
    }

    /// The first certificate that is not yet valid by this clock.
    pub(super) fn early_at(&self, unix: i64) -> Option<&'a Certificate> {
        self.counted().find(|certificate| certificate.not_before_unix > unix)
    }

    /// The server's own clock, when it differs from ours and makes the chain valid.
    pub(super) fn skew(&self, ev: &Evidence<'_>) -> Option<Skew> {
        let now = self.chain.now_unix;
        if self.expired_at(now).is_none() && self.early_at(now).is_none() {
            return None;
        }
        let (id, server_unix, ours) = server_clock(ev, self.chain)?;
        let ahead_s = ours.saturating_sub(server_unix);
        let cured = self.expired_at(server_unix).is_none() && self.early_at(server_unix).is_none();
        (cured && ahead_s.saturating_abs() > CLOCKS_DIFFER_S).then_some(Skew { id, server_unix, ahead_s })
    }

    /// What is wrong, the most fundamental first. A window that only our clock breaks is no defect of the chain.
    pub(super) fn defects(&self, ev: &Evidence<'_>) -> Vec<Defect> {
        let now = self.chain.now_unix;
        let mut defects = Vec::new();
        if self.skew(ev).is_none() {
            defects.extend(self.expired_at(now).map(|_| Defect::Expired));
            defects.extend(self.early_at(now).map(|_| Defect::NotYetValid));
        }
        defects.extend(match self.chain.trust {
            Trust::Trusted => None,
            Trust::SelfSigned => Some(Defect::SelfSigned),
            Trust::UnknownIssuer | Trust::Invalid => Some(Defect::UntrustedIssuer),
            Trust::Incomplete => Some(Defect::Incomplete),
        });
        if !self.chain.name_matches && self.chain.demanded != Some(Demand::Ca) {
            defects.push(Defect::WrongHost);
        }
        defects
    }

    /// The first defect is this one; gives the sentence's end about the others.
    pub(super) fn led_by(&self, ev: &Evidence<'_>, defect: Defect) -> Option<String> {
        if super::intercepted::by(ev).is_some() {
            return None;
        }
        let defects = self.defects(ev);
        let (first, others) = defects.split_first()?;
        let words: Vec<&str> = others.iter().map(Defect::words).collect();
        let also = if words.is_empty() { String::new() } else { format!(" It also {}.", words.join(", and ")) };
        (*first == defect).then_some(also)
    }

    /// The certificate's place in the chain, for a sentence: `The certificate of shop.test`.
    pub(super) fn called(&self, certificate: &Certificate) -> String {
        if certificate == self.leaf {
            format!("The certificate of {}", self.chain.name)
        } else {
            format!("The intermediate certificate {} of {}", certificate.subject, self.chain.name)
        }
    }

    /// `2026-09-18 (3 days ago)`, or `(in 3 days)`.
    pub(super) fn dated(&self, unix: i64) -> String {
        let away = unix.saturating_sub(self.chain.now_unix);
        let away = if away < 0 { format!("{} ago", span(away)) } else { format!("in {}", span(away)) };
        format!("{} ({away})", day(unix))
    }
}

impl Defect {
    const fn words(&self) -> &'static str {
        match self {
            Self::Expired => "has expired",
            Self::NotYetValid => "is not yet valid",
            Self::SelfSigned => "signs itself",
            Self::UntrustedIssuer => "comes from an issuer that is not trusted",
            Self::Incomplete => "comes without its intermediate",
            Self::WrongHost => "is for another name",
        }
    }
}

/// What the server's `Date` says, a cached answer's age added, beside our clock at that moment.
fn server_clock(ev: &Evidence<'_>, chain: &TlsChain) -> Option<(ObservationId, i64, i64)> {
    let dated = ev.all::<HttpExchange>().filter(|(_, http)| http.to == chain.to).filter_map(|(id, http)| match &http.outcome {
        HttpOutcome::Response(response) => {
            let age = response.header("age").and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or(0);
            response.date_unix.map(|date| (id, date.saturating_add(i64::from(age)), response.now_unix))
        }
        _ => None,
    });
    dated.last()
}
