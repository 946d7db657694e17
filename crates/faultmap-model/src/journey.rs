//! A check that was redirected from place to place, taken apart: each stretch holds what was seen of one place, and is judged as a check of
//! its own. Pure.

use crate::causes::refuses_the_request;
use crate::judge::of_one_place;
use crate::observation::Onward;
use crate::recording::{Header, Sent};
use crate::{Evidence, Observation, Recording, Seen, Status, Verdict};
use std::borrow::Cow;

/// What was seen of one place.
#[derive(Debug, Clone)]
pub(crate) struct Stretch<'a> {
    header: Cow<'a, Header>,
    observations: &'a [Observation],
    /// The redirects that led here; empty for the place that the user named.
    way: String,
}

impl Stretch<'_> {
    /// Its evidence.
    pub(crate) fn evidence(&self) -> Evidence<'_> {
        Evidence::of(&self.header, self.observations)
    }
}

/// A check, place by place.
#[derive(Debug, Clone)]
pub(crate) struct Journey<'a> {
    first: Stretch<'a>,
    onward: Vec<Stretch<'a>>,
}

impl<'a> Journey<'a> {
    /// Takes a recording apart; one that was not redirected elsewhere is one stretch.
    pub(crate) fn of(recording: &'a Recording) -> Self {
        let mut rest = recording.observations.as_slice();
        let mut current = Stretch { header: Cow::Borrowed(&recording.header), observations: rest, way: String::new() };
        let mut done = Vec::new();
        while let Some((at, onward)) = next_step(rest) {
            let from = if current.way.is_empty() { current.header.target.input.clone() } else { format!("{}, that", current.way) };
            let next = header_there(&current.header, onward);
            // Time can only have run out in the last.
            current.header.to_mut().cut_short = false;
            current.observations = rest.get(..=at).unwrap_or_default();
            rest = rest.get(at + 1..).unwrap_or_default();
            let way = format!("{from} redirects ({}) to {}", onward.status, onward.target.input);
            done.push(std::mem::replace(&mut current, Stretch { header: Cow::Owned(next), observations: rest, way }));
        }
        done.push(current);
        let onward = done.split_off(1);
        let first = done.swap_remove(0);
        Self { first, onward }
    }

    /// The first place that is not well, with its verdict; else the place that the user named.
    pub(crate) fn decide(&self) -> (&Stretch<'a>, Verdict) {
        let mut named = of_one_place(&self.first.evidence());
        if named.status != Status::Healthy {
            return (&self.first, named);
        }
        let host = &self.first.header.target.host;
        for stretch in &self.onward {
            let mut verdict = of_one_place(&stretch.evidence());
            // What a strange host thinks of a request without cookies and credentials says nothing of the target.
            let theirs =
                !stretch.header.target.host.eq_ignore_ascii_case(host) && verdict.cause.as_deref().is_some_and(refuses_the_request);
            if verdict.status != Status::Healthy && !theirs {
                verdict.summary = format!("{}. There: {}", stretch.way, verdict.summary);
                return (stretch, verdict);
            }
        }
        if let Some(last) = self.onward.last() {
            named.summary = format!("{} {}, which answers too.", named.summary, last.way);
        }
        (&self.first, named)
    }
}

fn next_step(observations: &[Observation]) -> Option<(usize, &Onward)> {
    observations.iter().enumerate().find_map(|(at, observation)| match &observation.seen {
        Seen::Onward(onward) => Some((at, onward)),
        _ => None,
    })
}

/// No body and no header of the user's goes to the next place.
fn header_there(here: &Header, onward: &Onward) -> Header {
    let mut header = here.clone();
    header.target = onward.target.clone();
    header.expect.sent = Sent::default();
    header.expect.media_type = None;
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;
    use crate::judge::judge;
    use crate::observation::{ConnectOutcome, TcpConnect};
    use crate::testkit::{but, but_response, healthy_http, healthy_https, plus};

    /// The first place redirects to `to`, where the second recording was made.
    fn journey(to: &str, there: Recording) -> Recording {
        let mut all = but_response(healthy_http(), |response| {
            response.status = 301;
            response.headers.push(("location".to_owned(), to.to_owned()));
        });
        all = plus(all, Onward { status: 301, target: Target::parse(to).expect("a target") });
        let base = u32::try_from(all.observations.len()).expect("few");
        all.observations.extend(there.observations.into_iter().map(|o| Observation { id: o.id + base, ..o }));
        all
    }

    fn refused(recording: Recording) -> Recording {
        let to = |recording: &Recording| Evidence::new(recording).main_address().expect("an address");
        let there = to(&recording);
        let mut recording = but::<TcpConnect>(recording, |connect| {
            connect.outcome = ConnectOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None }
        });
        recording
            .observations
            .retain(|o| matches!(&o.seen, Seen::TcpConnect(connect) if connect.to == there) || o.layer < crate::Layer::L5);
        recording
    }

    #[test]
    fn a_redirect_is_as_good_as_the_place_it_leads_to() {
        let verdict = judge(&journey("https://shop.test/", healthy_https()));
        assert_eq!(verdict.status, Status::Healthy);
        assert!(verdict.summary.contains("redirects"), "{}", verdict.summary);
        let verdict = judge(&journey("https://shop.test/", refused(healthy_https())));
        assert_eq!(verdict.cause.as_deref(), Some("l4.port-closed"));
        assert!(verdict.summary.contains("redirects (301) to https://shop.test/"), "{}", verdict.summary);
    }

    #[test]
    fn a_first_place_that_fails_is_named_before_the_next() {
        let both = journey("https://shop.test/", refused(healthy_https()));
        let both = but_response(both, |response| response.status = 503);
        assert_eq!(judge(&both).cause.as_deref(), Some("l7.http-unavailable"));
    }

    #[test]
    fn what_a_strange_host_thinks_of_our_request_is_not_the_targets_fault() {
        let denied = |status| but_response(healthy_https(), |response| response.status = status);
        assert_eq!(judge(&journey("https://login.corp/", denied(403))).status, Status::Healthy);
        assert_eq!(judge(&journey("https://login.corp/", denied(502))).cause.as_deref(), Some("l7.http-bad-gateway"));
        let mine = |input: &str, there: Recording| {
            let mut all = journey(input, there);
            all.header.target = Target::parse(&input.replace("https", "http")).expect("a target");
            all
        };
        assert_eq!(judge(&mine("https://shop.test/", denied(403))).cause.as_deref(), Some("l7.http-forbidden"));
    }

    #[test]
    fn stretches_keep_every_observation_once() {
        let all = journey("https://shop.test/", healthy_https());
        let parts = Journey::of(&all);
        assert_eq!(parts.onward.len(), 1);
        assert_eq!(parts.first.observations.len() + parts.onward[0].observations.len(), all.observations.len());
    }
}
