//! Equal requests fail in part: one of several backends is sick.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpSamples, SampleRow};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l7.backend-intermittent`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.backend-intermittent",
    layer: Layer::L7,
    title: "one of several backends fails",
    what: "Behind one name or address stand several backends, and some of them fail while the others work: a bad release on one node, a full disk, \
           an instance that the balancer's health check does not catch. Users see a fixed share of their requests fail.",
    shows: "Equal requests, repeated, fail in part; proven for one backend when the failures tie to its marker or address and never to another. A \
            single failure among many may be a restart or a rate limit: repeat with more samples.",
    confirm: &[
        Tool {
            run: "faultmap check {url} --samples 30",
            on: "here",
            why: "a steady share of failures is a backend; a share that falls to nothing was a restart",
        },
        Tool {
            run: "for i in $(seq 20); do curl -sko /dev/null -w '%{http_code} %{remote_ip}\\n' {url}; done | sort | uniq -c",
            on: "here",
            why: "counts the outcomes by address",
        },
        Tool {
            run: "the balancer's backend status page or log, by upstream address",
            on: "{ip}",
            why: "names the backend of each failed request",
        },
    ],
    fix: &[
        "Take the failing backend out of the balancer, then mend it.",
        "Make the health check ask what users ask (a real page, not only TCP connect), so that a sick backend is taken out by itself.",
    ],
    claim,
};

/// What the samples tell when some fail and some do not.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::causes) struct Mixed<'a> {
    id: ObservationId,
    samples: &'a HttpSamples,
    failed: u32,
    succeeded: u32,
}

/// Some of the equal requests failed, and others did not. Refusals for asking too often are our own doing.
pub(in crate::causes) fn mixed<'a>(ev: &Evidence<'a>) -> Option<Mixed<'a>> {
    let (id, samples) = ev.all::<HttpSamples>().last()?;
    let failures: Vec<&SampleRow> = samples.rows.iter().filter(|row| row.failed).collect();
    let failed: u32 = failures.iter().map(|row| row.count).fold(0, u32::saturating_add);
    let succeeded: u32 = samples.rows.iter().filter(|row| !row.failed).map(|row| row.count).fold(0, u32::saturating_add);
    let throttled = failures.iter().all(|row| row.outcome == "429");
    (failed > 0 && succeeded > 0 && !throttled).then_some(Mixed { id, samples, failed, succeeded })
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let mixed = mixed(ev)?;
    let host = &ev.target().host;
    let tried = mixed.failed + mixed.succeeded;
    let outcomes = outcomes(mixed.samples);
    let claim = match tied(mixed.samples) {
        Some(culprit) => {
            let confidence = if mixed.failed > 1 { 0.96 } else { 0.85 };
            let summary = format!(
                "{} of {tried} equal requests to {host} fail ({outcomes}), all of them from {culprit}; the other backends answer.",
                mixed.failed
            );
            Claim::proven(confidence, Where::Remote, culprit, summary)
        }
        None => {
            let confidence = if mixed.failed > 1 && mixed.succeeded > 1 { 0.9 } else { 0.8 };
            let summary = format!("{} of {tried} equal requests to {host} fail ({outcomes}): {}.", mixed.failed, share(&mixed));
            Claim::proven(confidence, Where::Remote, format!("behind {}", main(mixed.samples, ev)), summary)
        }
    };
    Some(claim.citing([mixed.id]).despite_answers())
}

/// `503 ×2`, the failing outcomes, most frequent first.
fn outcomes(samples: &HttpSamples) -> String {
    let mut counts: Vec<(&str, u32)> = Vec::new();
    for row in samples.rows.iter().filter(|row| row.failed) {
        match counts.iter_mut().find(|(outcome, _)| *outcome == row.outcome) {
            Some((_, count)) => *count += row.count,
            None => counts.push((&row.outcome, row.count)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> = counts.iter().take(3).map(|(outcome, count)| format!("{outcome} ×{count}")).collect();
    shown.join(", ")
}

/// The one backend marker, else the one address, that all failures and no success have.
fn tied(samples: &HttpSamples) -> Option<String> {
    // `Server` names a program, which the balancer's own error page has too; not an instance.
    let marker = |row: &SampleRow| row.backend.clone().filter(|marker| !marker.to_ascii_lowercase().starts_with("server:"));
    one_of(samples, marker).or_else(|| one_of(samples, |row| Some(row.to.to_string())))
}

fn one_of(samples: &HttpSamples, mark: impl Fn(&SampleRow) -> Option<String>) -> Option<String> {
    let mut failed = samples.rows.iter().filter(|row| row.failed).map(&mark);
    let culprit = failed.next()??;
    let alone = failed.all(|other| other.as_ref() == Some(&culprit));
    let innocent = samples.rows.iter().filter(|row| !row.failed).all(|row| mark(row).is_some_and(|other| other != culprit));
    (alone && innocent).then_some(culprit)
}

/// `about one in 3, as when one of 3 backends is sick`.
fn share(mixed: &Mixed<'_>) -> String {
    let tried = mixed.failed + mixed.succeeded;
    if mixed.failed == 1 {
        return "one of several backends fails, or it failed only for a moment".to_owned();
    }
    let of = (f64::from(tried) / f64::from(mixed.failed)).round();
    if of < 2.0 { "more fail than work".to_owned() } else { format!("about one in {of}, as when one of {of} backends is sick") }
}

fn main(samples: &HttpSamples, ev: &Evidence<'_>) -> String {
    samples.rows.first().map_or_else(|| ev.target().host_port(), |row| row.to.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{but, claims, healthy_https, samples};

    fn check(rows: &[(&str, bool, Option<&str>, u32)], expect: Option<(f64, bool)>) {
        let recording = but::<HttpSamples>(healthy_https(), |seen| *seen = samples(rows));
        assert_eq!(claims(&CAUSE, &recording), expect);
    }

    #[test]
    fn a_share_of_failures_is_a_sick_backend() {
        check(&[("200", false, None, 6), ("503", true, None, 3)], Some((0.9, true)));
        check(&[("200", false, None, 5), ("503", true, None, 1)], Some((0.8, true)));
    }

    #[test]
    fn conversations_of_a_database_that_hang_now_and_then_are_a_sick_server_behind_a_balancer() {
        use crate::observation::DialogueOutcome;
        use crate::testkit::{plus, spoken};
        let hung = spoken("postgres://db.test/shop", "ssl-request", DialogueOutcome::Silent { waited_ms: 9e3, received_bytes: 0 });
        let mixed = plus(hung.clone(), samples(&[("timeout", true, None, 3), ("answered", false, None, 2)]));
        assert_eq!(claims(&CAUSE, &mixed), Some((0.9, true)));
        assert_eq!(claims(&crate::causes::l7::service_mute::CAUSE, &mixed), None);
        assert_eq!(claims(&CAUSE, &plus(hung, samples(&[("timeout", true, None, 5)]))), None);
    }

    #[test]
    fn failures_that_tie_to_one_marker_name_it() {
        check(&[("200", false, Some("x-backend: b1"), 3), ("500", true, Some("x-backend: b2"), 3)], Some((0.96, true)));
        // The balancer's own error page: its Server header names no backend.
        check(&[("200", false, Some("server: gunicorn"), 3), ("502", true, Some("server: nginx"), 3)], Some((0.9, true)));
        // A marker that also succeeds is not the culprit.
        check(&[("200", false, Some("x-backend: b1"), 3), ("500", true, Some("x-backend: b1"), 3)], Some((0.9, true)));
    }

    #[test]
    fn all_well_all_failing_and_throttling_are_something_else() {
        check(&[("200", false, None, 9)], None);
        check(&[("503", true, None, 9)], None);
        check(&[("200", false, None, 6), ("429", true, None, 3)], None);
    }
}
