//! Where does a walked path end, and which hops are worth keeping? Pure.

use super::{ends_path, from_destination};
use faultmap_model::observation::{Hop, HopSaid, IcmpMeaning};
use std::net::IpAddr;

/// Silent hops kept behind the last answer, to show that the walk went on.
const SILENT_TAIL: usize = 3;

/// The hops to report, and the TTL at which the destination answered.
pub(super) fn trim(mut hops: Vec<Hop>, destination: IpAddr) -> (Vec<Hop>, Option<u8>) {
    let reached = reached_ttl(&hops, destination);
    let last_answer = hops.iter().rposition(|hop| !hop.silent()).map_or(0, |index| index + 1);
    let keep = match end_of_path(&hops, destination) {
        Some(ttl) => usize::from(ttl),
        None => last_answer + SILENT_TAIL,
    };
    let asked = hops.iter().rposition(|hop| hop.sent > 0).map_or(0, |index| index + 1);
    hops.truncate(keep.min(asked).max(1));
    (hops, reached)
}

/// The lowest TTL at which the destination answered.
fn reached_ttl(hops: &[Hop], destination: IpAddr) -> Option<u8> {
    hops.iter().find(|hop| hop.answers.iter().any(|answer| from_destination(answer, destination))).map(|hop| hop.ttl)
}

/// The lowest TTL behind which nothing new can come: the destination answered, or a router refused and no packet got past it.
pub(super) fn end_of_path(hops: &[Hop], destination: IpAddr) -> Option<u8> {
    if let Some(ttl) = reached_ttl(hops, destination) {
        return Some(ttl);
    }
    let last_expired = hops.iter().rev().find(|hop| hop.answers.iter().any(|answer| expired(&answer.said))).map_or(0, |hop| hop.ttl);
    hops.iter().find(|hop| hop.ttl > last_expired && hop.answers.iter().any(|answer| ends_path(answer, destination))).map(|hop| hop.ttl)
}

fn expired(said: &HopSaid) -> bool {
    matches!(said, HopSaid::Icmp(icmp) if icmp.meaning() == IcmpMeaning::TtlExceeded)
}

#[cfg(test)]
mod tests {
    use super::trim;
    use faultmap_model::observation::{Hop, HopAnswer, HopSaid, IcmpError};

    const DESTINATION: &str = "10.9.9.9";

    /// Each word is one hop: `.` silent, `-` never asked, `N` time exceeded from 10.0.0.N, `xN` "prohibited" from 10.0.0.N, `xd` from the
    /// destination, `!` reached, `r` reset.
    fn path(words: &str) -> Vec<Hop> {
        words.split(' ').zip(1..).map(|(word, ttl)| Hop { ttl, sent: u32::from(word != "-"), answers: answers(word) }).collect()
    }

    fn answers(word: &str) -> Vec<HopAnswer> {
        let router = |number: &str| format!("10.0.0.{number}").parse().unwrap();
        let icmp = |icmp_type, code, from| (from, HopSaid::Icmp(IcmpError { icmp_type, code, from, mtu: None }));
        let (from, said) = match word {
            "." | "-" => return Vec::new(),
            "!" => (DESTINATION.parse().unwrap(), HopSaid::Reached),
            "r" => (DESTINATION.parse().unwrap(), HopSaid::Reset),
            "xd" => icmp(3, 13, DESTINATION.parse().unwrap()),
            refused if refused.starts_with('x') => icmp(3, 13, router(&refused[1..])),
            number => icmp(11, 0, router(number)),
        };
        vec![HopAnswer { from, said, rtt_ms: 1.0 }]
    }

    fn check(words: &str, kept: usize, reached: Option<u8>) {
        let (hops, reached_ttl) = trim(path(words), DESTINATION.parse().unwrap());
        assert_eq!((hops.len(), reached_ttl), (kept, reached), "{words}");
    }

    #[test]
    fn hops_behind_the_destination_are_its_answers_again() {
        check("1 2 ! ! !", 3, Some(3));
        check("1 . ! . r", 3, Some(3));
        check("1 2 r - -", 3, Some(3));
        check("1 2 xd xd", 3, Some(3));
    }

    #[test]
    fn a_silent_tail_is_cut_to_three() {
        check("1 2 . . . . . .", 5, None);
        check(". . . . . .", 3, None);
        check("1 . 3 . .", 5, None);
    }

    #[test]
    fn a_refusing_router_ends_the_path_unless_somebody_got_past_it() {
        check("1 x1 x1 x1 x1", 2, None);
        check("1 x1 3 . . . .", 6, None);
        check("1 x1 ! .", 3, Some(3));
    }

    #[test]
    fn a_loop_is_kept_whole() {
        check("1 2 1 2 1 2 1 2", 8, None);
    }

    #[test]
    fn a_path_that_could_not_be_asked_still_has_its_first_hop() {
        check("- - -", 1, None);
    }
}
