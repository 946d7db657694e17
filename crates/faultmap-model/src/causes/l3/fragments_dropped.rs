//! Datagrams that must travel in fragments do not arrive; whole ones do.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DnsAnswer, DnsOutcome, DnsQuery, FragmentProbe, Role, Transport, UdpOutcome, UdpProbe};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId, Scheme};

/// An answer of this size fits no Ethernet frame whole, with the headers of IPv6 and UDP.
const NEEDS_FRAGMENTS_BYTES: u32 = 1_452;
/// An answer above this and below the former may need fragments where the path is a tunnel.
const MAY_NEED_BYTES: u32 = 1_232;

/// `l3.fragments-dropped`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.fragments-dropped",
    layer: Layer::L3,
    title: "fragments do not arrive",
    what: "A datagram that is larger than the path's MTU travels in IP fragments, and something on the way drops them: a firewall that sees no port in the \
           second fragment, a translator, a cloud network, an IPv6 router with an extension-header filter. Small datagrams pass. DNS answers of signed \
           zones, RADIUS, IKE and SIP over UDP, and NFS over UDP suffer; TCP never needs fragments.",
    shows: "Large UDP is lost, each time, and small UDP to the same host is answered, also at exactly the MTU. Where even packets of the MTU's size are \
            lost, it is l3.pmtu-blackhole.",
    confirm: &[
        Tool {
            run: "ping -M dont -s 2000 -c 3 {ip}; ping -M do -s 1400 -c 3 {ip}",
            on: "here",
            why: "the large ones, in fragments, are lost; whole ones are answered",
        },
        Tool {
            run: "tcpdump -ni any 'ip[6:2] & 0x3fff != 0 or ip6[6] == 44'",
            on: "here, then {ip}",
            why: "fragments leave here, and do not arrive there (or the other way round)",
        },
        Tool {
            run: "nstat -az IpReasmFails IpReasmTimeout Ip6ReasmFails",
            on: "{ip}",
            why: "some fragments arrive and never make a whole",
        },
    ],
    fix: &[
        "Let fragments through, or let the firewall reassemble them (nf_defrag; `virtual-reassembly`).",
        "Do not need them: EDNS payload 1232 for DNS (DNS Flag Day 2020), smaller certificates or TCP for RADIUS and IKE (RFC 7383).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    by_dns(ev).or_else(|| by_probe(ev))
}

/// Fragments to the host were lost while whole packets passed.
fn by_probe(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, probe) = ev.first::<FragmentProbe>(FragmentProbe::only_fragments_lost)?;
    if ev.is_local(probe.to) {
        return None;
    }
    let lost = format!(
        "datagrams of {} bytes, which travel in fragments, are lost ({} of {} answered), those of {} bytes pass ({} of {})",
        probe.fragmented_bytes, probe.fragmented.1, probe.fragmented.0, probe.whole_bytes, probe.whole.1, probe.whole.0
    );
    let at = format!("between here and {}", probe.to);
    // The user's own datagram needed fragments, and got no answer.
    let own = ev.first::<UdpProbe>(|udp| {
        udp.role == Role::Target
            && udp.to.ip() == probe.to
            && udp.payload_bytes + 28 > probe.whole_bytes
            && matches!(udp.outcome, UdpOutcome::Silent { .. })
    });
    if let Some((own_id, own)) = own.filter(|_| ev.target().scheme == Scheme::Udp) {
        let summary = format!("The datagram of {} bytes needs fragments, and they do not reach {}: {lost}.", own.payload_bytes, probe.to);
        return Some(Claim::proven(0.93, Where::Path, at, summary).citing([id, own_id]));
    }
    let summary = format!("Fragments do not reach {}: {lost}.", probe.to);
    Some(Claim::degrades(0.85, Where::Path, at, summary).citing([id]))
}

/// A DNS server answers all that is small, and large answers over UDP are lost.
fn by_dns(ev: &Evidence<'_>) -> Option<Claim> {
    let lost = ev.all::<DnsQuery>().find_map(|(id, query)| large_lost(ev, id, query))?;
    let Large { server, silent, told, bytes, name, heedless } = lost;
    let found = |query: &DnsQuery| {
        query.resolver == server
            && query.name == name
            && matches!(&query.outcome, DnsOutcome::Answer(answer) if !answer.truncated && answer.records > 0)
    };
    let complete = ev.first::<DnsQuery>(found).map(|(id, _)| id);
    let size = bytes.map_or_else(|| "does not fit into a whole packet".to_owned(), |bytes| format!("has {bytes} bytes"));
    let summary = format!(
        "The answer of {} for {name} {size}, and over UDP it never arrives; small answers of the same server do: its fragments are lost.",
        server.ip()
    );
    let at = format!("between here and {}", server.ip());
    let broken = (complete.is_none() || heedless) && (ev.target().scheme == Scheme::Dns || ev.name_unresolved());
    let claim = if broken {
        Claim::proven(0.9, Where::Path, at, summary).despite_answers()
    } else {
        Claim::degrades(0.88, Where::Path, at, summary)
    };
    let probe = ev.first::<FragmentProbe>(|probe| probe.to == server.ip() && probe.only_fragments_lost()).map(|(id, _)| id);
    Some(claim.citing(silent).citing(told).citing(complete).citing(probe))
}

/// A large answer that is lost over UDP.
struct Large<'a> {
    server: std::net::SocketAddr,
    name: &'a str,
    /// The questions whose answer would be large.
    silent: Vec<ObservationId>,
    /// The small answers, and the large one over TCP.
    told: Vec<ObservationId>,
    /// Size of the whole answer, where TCP brought it.
    bytes: Option<u32>,
    /// The server cuts nothing, so that nobody learns to ask over TCP.
    heedless: bool,
}

/// `query` stayed silent although it offered to take a large answer, and the same server said that the answer is large.
fn large_lost<'a>(ev: &Evidence<'a>, id: ObservationId, query: &'a DnsQuery) -> Option<Large<'a>> {
    let silent = matches!(query.outcome, DnsOutcome::Silent { mismatched: 0, .. });
    if !silent
        || query.sent < 2
        || query.transport != Transport::Udp
        || query.offered.is_some_and(|offered| u32::from(offered) < MAY_NEED_BYTES)
    {
        return None;
    }
    let offered = query.offered.map_or(MAY_NEED_BYTES, u32::from);
    let same = |other: &DnsQuery| other.resolver == query.resolver && other.name == query.name && other.record_type == query.record_type;
    let answers: Vec<(ObservationId, &DnsQuery, &DnsAnswer)> = ev
        .all::<DnsQuery>()
        .filter(|(_, other)| same(other))
        .filter_map(|(id, other)| match &other.outcome {
            DnsOutcome::Answer(answer) => Some((id, other, answer)),
            _ => None,
        })
        .collect();
    let whole = answers.iter().find(|(_, other, _)| other.transport == Transport::Tcp);
    let bytes = whole.map(|(.., answer)| answer.bytes);
    let cut = answers.iter().find(|(_, other, answer)| {
        answer.truncated
            && other.transport == Transport::Udp
            && other.offered.map_or(MAY_NEED_BYTES, u32::from) < offered.max(MAY_NEED_BYTES + 1)
    });
    // A server that heeds no limit does not cut its answer: then its size, and that no fragment arrives, say as much.
    let large = bytes.is_some_and(|bytes| bytes > NEEDS_FRAGMENTS_BYTES);
    let small = cut.map(|(id, ..)| *id).or_else(|| only_fragments_lost(ev, query.resolver.ip()).filter(|_| large))?;
    // What is offered in 4096 and cut at 1232 may also be lost as a whole packet of 1,400 bytes: that would be the path's MTU.
    if bytes.is_some_and(|bytes| bytes <= NEEDS_FRAGMENTS_BYTES) || (bytes.is_none() && offered <= MAY_NEED_BYTES) {
        return None;
    }
    let told = [Some(small), whole.map(|(id, ..)| *id)].into_iter().flatten().collect();
    Some(Large { server: query.resolver, name: query.name.as_str(), silent: vec![id], told, bytes, heedless: cut.is_none() })
}

/// Of a host that may answer only so many closed ports a second, one small answer may be missing.
fn only_fragments_lost(ev: &Evidence<'_>, ip: std::net::IpAddr) -> Option<ObservationId> {
    let whole = |probe: &FragmentProbe| probe.small.1 > 0 && probe.whole.1 > 0 && probe.whole.1 == probe.whole.0;
    let lost = |probe: &FragmentProbe| probe.to == ip && whole(probe) && probe.fragmented.0 >= 4 && probe.fragmented.1 == 0;
    ev.first::<FragmentProbe>(lost).map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::RecordType;
    use crate::testkit::{but, claims, found, healthy_dns, plus, query, recording, unanswered};

    fn probe(whole: u32, fragmented: u32) -> FragmentProbe {
        FragmentProbe {
            to: "10.2.0.10".parse().expect("address"),
            transport: Some(Transport::Udp),
            small_bytes: 128,
            small: (2, 2),
            whole_bytes: 1500,
            whole: (3, whole),
            fragmented_bytes: 2100,
            fragmented: (4, fragmented),
        }
    }

    fn datagram(payload_bytes: u32) -> Recording {
        let outcome = UdpOutcome::Silent { waited_ms: 2_000.0 };
        let to = "10.2.0.10:9000".parse().expect("addr");
        recording("udp://10.2.0.10:9000", vec![UdpProbe { to, role: Role::Target, payload_bytes, sent: 3, outcome }.into()])
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn lost_fragments_break_only_who_needs_them() {
        check(&plus(datagram(4000), probe(3, 0)), Some((0.93, true)));
        check(&plus(datagram(20), probe(3, 0)), Some((0.85, false)));
    }

    #[test]
    fn a_path_that_loses_whole_packets_too_has_another_fault() {
        check(&plus(datagram(4000), probe(0, 0)), None);
        check(&plus(datagram(4000), probe(2, 0)), None);
        check(&plus(datagram(4000), probe(3, 4)), None);
        check(&plus(datagram(4000), probe(3, 1)), None);
        check(&datagram(4000), None);
    }

    fn to_target(offered: Option<u16>, transport: Transport, outcome: DnsOutcome) -> DnsQuery {
        let server = "10.1.0.53:53";
        DnsQuery { role: Role::Target, offered, transport, sent: 2, ..query(server, RecordType::A, outcome) }
    }

    fn truncated() -> DnsOutcome {
        let DnsOutcome::Answer(answer) = found(&[]) else { unreachable!() };
        DnsOutcome::Answer(DnsAnswer { truncated: true, ..answer })
    }

    fn large(bytes: u32) -> DnsOutcome {
        let DnsOutcome::Answer(answer) = found(&["10.2.0.10"]) else { unreachable!() };
        DnsOutcome::Answer(DnsAnswer { bytes, ..answer })
    }

    fn asked(queries: Vec<DnsQuery>) -> Recording {
        let empty = crate::testkit::without::<DnsQuery>(healthy_dns());
        queries.into_iter().fold(empty, plus)
    }

    #[test]
    fn a_large_answer_that_only_tcp_brings_lost_its_fragments() {
        let questions = |bytes| {
            asked(vec![
                to_target(None, Transport::Udp, truncated()),
                to_target(None, Transport::Tcp, large(bytes)),
                to_target(Some(4096), Transport::Udp, unanswered()),
            ])
        };
        check(&questions(2_900), Some((0.88, false)));
        check(&questions(1_300), None);
        let tcp_dead = asked(vec![
            to_target(None, Transport::Udp, truncated()),
            to_target(None, Transport::Tcp, unanswered()),
            to_target(Some(4096), Transport::Udp, unanswered()),
        ]);
        check(&tcp_dead, Some((0.9, true)));
    }

    #[test]
    fn a_server_that_never_keeps_to_the_size_is_told_by_the_question_without_edns() {
        let questions = asked(vec![
            to_target(None, Transport::Udp, unanswered()),
            to_target(Some(0), Transport::Udp, truncated()),
            to_target(None, Transport::Tcp, large(2_900)),
        ]);
        check(&questions, Some((0.88, false)));
    }

    #[test]
    fn a_mute_server_or_a_sound_one_lost_no_fragments() {
        check(&healthy_dns(), None);
        check(&but::<DnsQuery>(healthy_dns(), |query| query.outcome = unanswered()), None);
        let sound = asked(vec![
            to_target(None, Transport::Udp, truncated()),
            to_target(None, Transport::Tcp, large(2_900)),
            to_target(Some(4096), Transport::Udp, large(2_900)),
        ]);
        check(&sound, None);
    }

    #[test]
    fn a_server_that_cuts_nothing_leaves_its_clients_without_an_answer() {
        let large = |bytes| {
            let DnsOutcome::Answer(answer) = found(&["10.2.0.10"]) else { panic!("an answer") };
            let whole = to_target(None, Transport::Tcp, DnsOutcome::Answer(DnsAnswer { bytes, ..answer }));
            let silent = to_target(Some(1232), Transport::Udp, unanswered());
            let target = recording("dns://10.1.0.53/shop.test", vec![silent.into(), whole.into()]);
            let to = "10.1.0.53".parse().expect("address");
            plus(target, FragmentProbe { to, small: (2, 1), ..probe(3, 0) })
        };
        check(&large(2_450), Some((0.9, true)));
        // It would have fitted: something else lost it, and that fragments are lost too is told beside it.
        assert_ne!(claims(&CAUSE, &large(300)), Some((0.9, true)));
    }
}
