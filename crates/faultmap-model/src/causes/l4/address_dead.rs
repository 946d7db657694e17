//! Some of the name's addresses work, and others of the same family do not.

use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.address-dead`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.address-dead",
    layer: Layer::L4,
    title: "some of the name's addresses are dead",
    what: "The name has several addresses, and connections to some of them fail. Clients that try the addresses one after another get through, late; \
           clients that pick one fail in a fixed share of cases.",
    shows: "Per-address outcome: one of the family connects, another does not.",
    confirm: &[Tool {
        run: "for a in $(dig +short {host}); do curl -so /dev/null -w \"$a %{http_code} %{time_connect}\\n\" --connect-to ::$a {url}; done",
        on: "here",
        why: "the outcome of each address",
    }],
    fix: &[
        "Take the dead address out of DNS, or mend the host behind it.",
        "Let the DNS provider check health and withdraw dead addresses; keep TTLs short.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (working, good) = ev.connected().next()?;
    let same_family = |ip: std::net::IpAddr| ev.connected().any(|(_, connect)| connect.to.is_ipv4() == ip.is_ipv4());
    let dead: Vec<_> = ev.partial_failures().into_iter().filter(|failure| same_family(failure.ip)).collect();
    let first = dead.first()?;
    let names: Vec<String> = dead.iter().map(|failure| failure.ip.to_string()).collect();
    let summary = format!(
        "{} of {} addresses of {} do not connect ({}), while {} does.",
        dead.len(),
        ev.addresses().len(),
        ev.near_host(),
        names.join(", "),
        good.to.ip()
    );
    Some(
        Claim::degrades(0.93, Where::Remote, first.ip.to_string(), summary).citing(dead.iter().map(|failure| failure.id)).citing([working]),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, connected, reset, silent};
    use super::*;
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn one_dead_address_beside_a_good_one_degrades() {
        let check = |outcome, expect| {
            let seen = vec![connect("10.2.0.10:80", Role::Target, connected()), connect("10.2.0.11:80", Role::Target, outcome)];
            assert_eq!(claims(&CAUSE, &recording("http://shop.test/", seen)), expect);
        };
        check(silent(), Some((0.93, false)));
        check(reset(), Some((0.93, false)));
        check(connected(), None);
    }
}
