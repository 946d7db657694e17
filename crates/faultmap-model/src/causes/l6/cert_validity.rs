//! The certificate's window against the clock: expired, not yet valid, soon to expire; or it is the clock that is wrong.

use super::certificate::{Defect, Presented, presented};
use super::date::{day, span};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

const DAY: i64 = 86_400;
/// Renewal that works happens a month before the end (certificates of 90 days) or a week before (shorter ones).
const SOON: i64 = 14 * DAY;

const DATES: Tool = Tool {
    run: "openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>/dev/null | openssl x509 -noout -subject -dates",
    on: "here",
    why: "shows the window of the certificate that is served",
};
const OUR_CLOCK: Tool = Tool { run: "timedatectl; chronyc tracking", on: "here", why: "shows whether this host's clock is right" };
const RENEWAL: Tool = Tool {
    run: "certbot certificates; systemctl list-timers | grep -i -e certbot -e acme",
    on: "{ip}",
    why: "whether renewal ran, and what is on disk",
};

/// `l6.cert-expired`
pub(super) static EXPIRED: Cause = Cause {
    id: "l6.cert-expired",
    layer: Layer::L6,
    title: "the certificate has expired",
    what: "The certificate's notAfter has passed: renewal failed or never ran, or it was renewed on disk and the server was not reloaded. Every client \
           that checks certificates refuses the connection.",
    shows: "notAfter lies before this host's clock. A clock that is far ahead looks the same: the server's Date header tells them apart.",
    confirm: &[DATES, OUR_CLOCK, RENEWAL],
    fix: &[
        "Renew the certificate (certbot renew), and reload the server.",
        "If the file on disk is new already, only the reload is missing.",
        "Watch notAfter, and let renewal reload the server (certbot --deploy-hook).",
    ],
    claim: expired,
};

/// `l6.cert-not-yet-valid`
pub(super) static NOT_YET_VALID: Cause = Cause {
    id: "l6.cert-not-yet-valid",
    layer: Layer::L6,
    title: "the certificate is not valid yet",
    what: "The certificate's notBefore lies in the future: it was issued by a CA whose clock is ahead, or it was installed before its time.",
    shows: "notBefore lies after this host's clock. A clock that is behind (a board without a battery, a restored virtual machine) looks the same: the \
            server's Date header tells them apart.",
    confirm: &[DATES, OUR_CLOCK],
    fix: &["Install the certificate that is valid now, or wait for notBefore.", "Set the clock of the CA that issues such certificates."],
    claim: not_yet_valid,
};

/// `l6.clock-skew`
pub(super) static CLOCK_SKEW: Cause = Cause {
    id: "l6.clock-skew",
    layer: Layer::L6,
    title: "this host's clock is wrong",
    what: "By this host's clock the certificate is outside of its window, but by the server's it is valid: the clock here is wrong. Every certificate, \
           signed token and DNSSEC signature is judged wrongly then.",
    shows: "The server's Date header differs from our clock by days, and the certificate is valid at that date. That the server's clock is the wrong one, \
            and the certificate bad, is far less likely; another server's Date decides.",
    confirm: &[
        OUR_CLOCK,
        Tool {
            run: "for h in https://www.google.com https://www.cloudflare.com; do curl -skI $h | grep -i '^date'; done; date -u",
            on: "here",
            why: "other servers' clocks beside ours",
        },
    ],
    fix: &[
        "Set the clock: chronyc makestep, or timedatectl set-ntp true.",
        "If it comes back after a reboot, replace the clock's battery, or let chrony step at boot (makestep 1 3).",
    ],
    claim: clock_skew,
};

/// `l6.cert-expiring-soon`
pub(super) static EXPIRING_SOON: Cause = Cause {
    id: "l6.cert-expiring-soon",
    layer: Layer::L6,
    title: "the certificate expires soon",
    what: "The certificate is still valid, but its end is near and it was not renewed: the renewal that should have run is broken.",
    shows: "notAfter lies within 14 days; for certificates that live a few days only, within the last third of their life.",
    confirm: &[DATES, RENEWAL],
    fix: &[
        "Renew it now (certbot renew), and reload the server.",
        "Find out why renewal did not run: its timer, the challenge, a rate limit.",
    ],
    claim: expiring_soon,
};

fn expired(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let also = shown.led_by(ev, Defect::Expired)?;
    let certificate = shown.expired_at(shown.chain.now_unix)?;
    let summary = format!("{} expired on {}.{also}", shown.called(certificate), shown.dated(certificate.not_after_unix));
    Some(proven(&shown, summary))
}

fn not_yet_valid(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let also = shown.led_by(ev, Defect::NotYetValid)?;
    let certificate = shown.early_at(shown.chain.now_unix)?;
    let summary = format!("{} is valid only from {} on.{also}", shown.called(certificate), shown.dated(certificate.not_before_unix));
    Some(proven(&shown, summary))
}

fn clock_skew(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let skew = shown.skew(ev)?;
    let direction = if skew.ahead_s > 0 { "ahead" } else { "behind" };
    let summary = format!(
        "This host's clock is {} {direction}: it says {}, while the server says {}, when the certificate of {} is valid ({} to {}).",
        span(skew.ahead_s),
        day(shown.chain.now_unix),
        day(skew.server_unix),
        shown.chain.name,
        day(shown.leaf.not_before_unix),
        day(shown.leaf.not_after_unix)
    );
    let confidence = if skew.ahead_s.saturating_abs() > DAY { 0.93 } else { 0.85 };
    Some(Claim::proven(confidence, Where::Local, "this host's clock", summary).citing([shown.id, skew.id]).despite_answers())
}

fn expiring_soon(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let now = shown.chain.now_unix;
    let ends = |certificate: &&crate::observation::Certificate| certificate.not_after_unix;
    let certificate = shown.counted().min_by_key(ends)?;
    let left = certificate.not_after_unix.saturating_sub(now);
    let life = certificate.not_after_unix.saturating_sub(certificate.not_before_unix);
    if left < 0 || left > SOON.min(life / 3) || shown.early_at(now).is_some() {
        return None;
    }
    let summary = format!("{} expires on {}.", shown.called(certificate), shown.dated(certificate.not_after_unix));
    Some(Claim::degrades(0.95, Where::Remote, shown.chain.to.to_string(), summary).citing([shown.id]))
}

fn proven(shown: &Presented<'_>, summary: String) -> Claim {
    Claim::proven(0.98, Where::Remote, shown.chain.to.to_string(), summary).citing([shown.id]).despite_answers()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{HttpExchange, TlsChain, Trust};
    use crate::testkit::{NOW, but, but_response, claims, healthy_https, without};

    fn windowed(from: i64, to: i64) -> Recording {
        but::<TlsChain>(healthy_https(), |chain| {
            chain.certificates[0].not_before_unix = NOW + from * DAY;
            chain.certificates[0].not_after_unix = NOW + to * DAY;
        })
    }

    fn check(recording: &Recording, expect: [Option<(f64, bool)>; 4]) {
        assert_eq!([&EXPIRED, &NOT_YET_VALID, &CLOCK_SKEW, &EXPIRING_SOON].map(|cause| claims(cause, recording)), expect);
    }

    #[test]
    fn the_window_against_the_clock_decides() {
        check(&windowed(-90, -3), [Some((0.98, true)), None, None, None]);
        check(&windowed(3, 90), [None, Some((0.98, true)), None, None]);
        check(&windowed(-76, 13), [None, None, None, Some((0.95, false))]);
        check(&windowed(-76, 15), [None; 4]);
        // A certificate of six days is not "soon" to expire for all its life.
        check(&windowed(-1, 5), [None; 4]);
        check(&windowed(-5, 1), [None, None, None, Some((0.95, false))]);
    }

    #[test]
    fn the_servers_date_tells_a_wrong_clock_from_a_bad_certificate() {
        let dated = |recording: Recording, days: i64| but_response(recording, move |response| response.date_unix = Some(NOW + days * DAY));
        check(&dated(windowed(-90, -3), -10), [None, None, Some((0.93, true)), None]);
        check(&dated(windowed(3, 90), 30), [None, None, Some((0.93, true)), None]);
        // The certificate is bad by the server's clock too.
        check(&dated(windowed(-90, -30), -10), [Some((0.98, true)), None, None, None]);
        // Our clock differs, but the certificate is valid by both: no concern of ours here.
        check(&dated(healthy_https(), -30), [None; 4]);
        check(&without::<HttpExchange>(windowed(-90, -3)), [Some((0.98, true)), None, None, None]);
    }

    #[test]
    fn a_cached_answer_is_older_than_its_server() {
        let cached = but_response(windowed(-90, -3), |response| {
            response.date_unix = Some(NOW - 30 * DAY);
            response.headers.push(("age".to_owned(), (30 * DAY).to_string()));
        });
        check(&cached, [Some((0.98, true)), None, None, None]);
    }

    #[test]
    fn certificates_beside_the_path_do_not_count() {
        let expire_intermediate = |chain: &mut TlsChain| chain.certificates[1].not_after_unix = NOW - DAY;
        check(&but::<TlsChain>(healthy_https(), expire_intermediate), [Some((0.98, true)), None, None, None]);
        let beside = but::<TlsChain>(healthy_https(), |chain| {
            expire_intermediate(chain);
            chain.path = vec![0];
        });
        check(&beside, [None; 4]);
    }

    #[test]
    fn of_several_defects_the_window_leads() {
        let both = but::<TlsChain>(windowed(-90, -3), |chain| {
            chain.trust = Trust::SelfSigned;
            chain.name_matches = false;
        });
        check(&both, [Some((0.98, true)), None, None, None]);
    }
}
