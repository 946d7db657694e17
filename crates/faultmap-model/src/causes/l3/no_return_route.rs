//! Requests arrive, and the answers cannot come back.

use super::{Sibling, silent_path};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Flows;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.no-return-route`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.no-return-route",
    layer: Layer::L3,
    title: "the answers have no way back",
    what: "The packets reach the host, and the host (or a router behind it) has no route back to us: a missing default gateway on the server, a NAT \
           instance without a return route, asymmetric VPN routing.",
    shows: "Every port and protocol is silent although the road to the segment is good. Only the other side can prove it: SYNs arrive there, and its \
            OutNoRoutes rises. A host that drops everything looks the same from here.",
    confirm: &[
        Tool {
            run: "ip route get OUR-ADDRESS; nstat -az IpOutNoRoutes",
            on: "{ip}",
            why: "no route back, and a counter that rises with each of our packets",
        },
        Tool { run: "tcpdump -ni any host OUR-ADDRESS", on: "{ip}", why: "requests that arrive without answers that leave" },
    ],
    fix: &[
        "Give {ip} a default gateway, or a route to our network.",
        "On the way back, route our prefix to the router that the requests came from.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let path = silent_path(ev)?;
    if ev.first::<Flows>(|flows| flows.to == Some(path.ip) && flows.alive > 0).is_some() {
        return None;
    }
    let (confidence, ids) = match path.sibling {
        Sibling::RoadIsGood(id) => (0.6, vec![id]),
        Sibling::GoesFurther(_) => return None,
        Sibling::StopsToo(id) if path.last.is_none() && super::source_is_foreign(ev, path.ip) => (0.6, vec![id]),
        Sibling::StopsToo(_) if path.last.is_none() => return None,
        Sibling::StopsToo(id) => (0.35, vec![id]),
        Sibling::Unknown => (0.3, vec![]),
    };
    let at = path.last.map_or_else(|| "behind the first router".to_owned(), |(_, router)| format!("behind {router}"));
    let summary = format!("No answer from {} comes back on any port or protocol, though the road to its segment is open.", path.ip);
    let claim = Claim::likely(confidence, Where::Remote, at, summary).citing([path.failed]).citing(path.walks).citing(ids);
    let run = format!("tcpdump -ni any host {}", path.ip);
    Some(crate::causes::peer::asking_there(ev, claim, path.ip).decided_by(
        run,
        path.ip.to_string(),
        "requests that arrive without answers that leave: no way back, or a filter that drops everything",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, own_link, reset, route_via, silent};
    use crate::observation::{Hop, Role, Walk, WalkProtocol};
    use crate::testkit::{claims, recording};

    #[test]
    fn it_is_one_of_the_causes_of_total_silence() {
        let walk = Walk {
            to: "10.2.0.10:80".parse().expect("addr"),
            role: Role::Target,
            protocol: WalkProtocol::Tcp,
            hops: vec![Hop { ttl: 1, sent: 3, answers: vec![] }],
            reached_ttl: None,
        };
        let silent = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), Seen::Walk(walk)];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", silent.clone())), Some((0.3, true)));
        let alive = [silent, vec![connect("10.2.0.10:22", Role::Control, reset())]].concat();
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", alive)), None);
    }

    #[test]
    fn the_gateway_itself_needs_a_route_to_a_source_that_is_not_of_its_link() {
        let unanswered = |to: &str, role| {
            let hops = vec![Hop { ttl: 1, sent: 3, answers: vec![] }];
            Seen::Walk(Walk { to: to.parse().expect("addr"), role, protocol: WalkProtocol::Tcp, hops, reached_ttl: None })
        };
        let seen = |link| {
            let walks = [unanswered("10.2.0.10:80", Role::Target), unanswered("10.2.0.11:33434", Role::Control)];
            let base = vec![link, route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent())];
            recording("tcp://10.2.0.10:80", [base, walks.to_vec()].concat())
        };
        // The packets leave with 10.1.0.2.
        assert_eq!(claims(&CAUSE, &seen(own_link("10.77.0.2"))), Some((0.6, true)));
        assert_eq!(claims(&CAUSE, &seen(own_link("10.1.0.2"))), None);
    }
}
