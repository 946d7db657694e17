//! What the recorded packets of a check show by themselves: the rules of the capture analysis, each tied to the observations of which it speaks, and
//! answers that reached this host's link and not its socket. What a check provokes to compare with (control ports, walks, other offers) is left out:
//! its failures are what it is for. Nothing is judged here.

use super::{Ends, Named, SLACK_MS};
use faultmap_capture::analysis::Outcome;
use faultmap_capture::finding::{Finding, MOST_CITED, Party, Weight};
use faultmap_capture::verdict;
use faultmap_model::observation::{ANSWER_NOT_DELIVERED, ConnectOutcome, ObservationId, PacketFinding, PacketWeight, Role, TcpConnect};
use faultmap_model::verdict::Where;
use faultmap_model::{Layer, Observation, Recording, Seen};
use faultmap_wire::TcpFlags;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Findings told, the worst first.
const MOST: usize = 50;
/// An answer that came so late may have crossed the end of the wait.
const LATE_MS: f64 = 200.0;

/// The findings of an analysis, and those that only the check can see. `whole`: no packet is missing.
pub(super) fn of(outcome: &Outcome, recording: &Recording, ends: &[Ends], whole: bool) -> Vec<PacketFinding> {
    let asked = Asked::of(recording);
    let mut told: Vec<PacketFinding> = not_delivered(recording, ends);
    let mut told_as: Vec<(&'static str, Option<&'static str>, Option<Party>)> = vec![(ANSWER_NOT_DELIVERED, None, None); told.len()];
    for finding in &outcome.findings {
        let about = asked.about(finding, ends);
        let of_capture = finding.weight == Weight::Capture;
        // Of the check's provocations, or of other programs that speak with the same addresses.
        if about.is_empty() && !of_capture {
            continue;
        }
        let key = (finding.rule, finding.cause, finding.blames);
        if let Some(known) = told_as.iter().position(|known| *known == key).and_then(|at| told.get_mut(at)) {
            join(known, finding, &about);
        } else if told.len() < MOST {
            told.push(first(finding, &about, whole));
            told_as.push(key);
        }
    }
    told.sort_by(|a, b| b.weight.cmp(&a.weight).then(a.packets.cmp(&b.packets)));
    told
}

/// Rules whose packets say outright what is wrong, and which no other cause shares.
fn says_outright(finding: &Finding) -> bool {
    let outright = finding.rule.starts_with("icmp.") || finding.rule.starts_with("icmp6.");
    // A window that our own side shuts is the check's doing: it reads no more than it needs.
    let peer_shut = finding.rule == "tcp.zero-window" && matches!(finding.blames, Some(Party::Service(_)));
    outright || peer_shut || matches!(finding.rule, "arp.conflict" | "ip.routing-loop")
}

fn first(finding: &Finding, about: &BTreeSet<ObservationId>, whole: bool) -> PacketFinding {
    let weight = match finding.weight {
        Weight::Capture | Weight::Note => PacketWeight::Note,
        _ if finding.rule == "tcp.zero-window" && matches!(finding.blames, Some(Party::Host(_))) => PacketWeight::Note,
        Weight::Warning => PacketWeight::Warning,
        Weight::Fault => PacketWeight::Fault,
    };
    let side = match (finding.layer, finding.blames) {
        (_, None) => None,
        (Some(Layer::L1 | Layer::L2 | Layer::L3), Some(Party::Host(_))) => Some(Where::Path),
        _ => Some(Where::Remote),
    };
    let at = match finding.blames {
        Some(Party::Host(ip)) => ip.to_string(),
        Some(Party::Service(at)) => at.to_string(),
        None => String::new(),
    };
    PacketFinding {
        rule: finding.rule.to_owned(),
        layer: finding.layer,
        // Silence may be of several: what the packets do not tell apart is left to the questions.
        cause: finding.cause.filter(|cause| !verdict::is_shared(cause)).map(str::to_owned),
        text: finding.text.clone(),
        packets: finding.cited.packets.clone(),
        count: finding.cited.count,
        weight,
        about: about.iter().copied().collect(),
        proves: whole && weight == PacketWeight::Fault && finding.cause.is_some() && says_outright(finding),
        side,
        at,
    }
}

/// The same once more: in another connection, of another family.
fn join(known: &mut PacketFinding, finding: &Finding, about: &BTreeSet<ObservationId>) {
    known.count = known.count.saturating_add(finding.cited.count);
    known.packets.extend(finding.cited.packets.iter().take(MOST_CITED.saturating_sub(known.packets.len())));
    known.about.extend(about);
    known.about.sort_unstable();
    known.about.dedup();
}

/// What the check asked because the user did, each with where to look for its packets.
struct Asked<'a> {
    connects: Vec<(ObservationId, SocketAddr, SocketAddr)>,
    others: Vec<(&'a Observation, Named)>,
    started: f64,
}

impl<'a> Asked<'a> {
    fn of(recording: &'a Recording) -> Self {
        let mut asked = Self { connects: Vec::new(), others: Vec::new(), started: recording.header.started_unix_ms as f64 };
        for observation in recording.observations.iter().filter(|observation| is_asked_for(&observation.seen)) {
            match &observation.seen {
                Seen::TcpConnect(connect) => asked.connects.extend(connect.local.map(|local| (observation.id, local, connect.to))),
                _ => asked.others.push((observation, Named::of(observation))),
            }
        }
        asked
    }

    /// The observations of which a finding speaks.
    fn about(&self, finding: &Finding, ends: &[Ends]) -> BTreeSet<ObservationId> {
        let at = |number: &u64| usize::try_from(number.saturating_sub(1)).ok().and_then(|index| ends.get(index));
        finding.cited.packets.iter().filter_map(at).flat_map(|packet| self.of_packet(packet)).collect()
    }

    fn of_packet(&self, packet: &Ends) -> BTreeSet<ObservationId> {
        // ARP and errors of whole hosts know no ports.
        let bare = packet.from.port() == 0 && packet.to.port() == 0 && packet.quoted.is_none();
        let between = |local: SocketAddr, remote: SocketAddr| match bare {
            true => [packet.from.ip(), packet.to.ip()].contains(&remote.ip()),
            false => packet.has(local) && packet.has(remote),
        };
        let of_connects: Vec<_> = self.connects.iter().filter(|(_, local, remote)| between(*local, *remote)).collect();
        let ours = !of_connects.is_empty();
        let during = self.others.iter().filter(|(observation, named)| {
            let from = self.started + observation.at_ms - SLACK_MS;
            let until = self.started + observation.at_ms + observation.took_ms + SLACK_MS;
            // A conversation is that of a connection which was asked for; datagrams have none.
            let carried = ours || is_datagram(&observation.seen);
            carried && (bare || (from..=until).contains(&packet.unix_ms)) && named.remote.iter().any(|remote| packet.has(*remote))
        });
        of_connects.iter().map(|(id, ..)| *id).chain(during.map(|(observation, _)| observation.id)).collect()
    }
}

/// What the user wants to know of, and not what is provoked beside it.
fn is_asked_for(seen: &Seen) -> bool {
    match seen {
        Seen::TcpConnect(connect) => connect.role != Role::Control,
        Seen::DnsQuery(query) => query.role != Role::Control,
        Seen::UdpProbe(probe) => probe.role == Role::Target,
        Seen::Echo(echo) => echo.role == Role::Target,
        Seen::TlsHandshake(tls) => tls.offer.name == "default",
        Seen::HttpExchange(http) => http.purpose == "default",
        Seen::Dialogue(own) => own.purpose == "default",
        _ => false,
    }
}

const fn is_datagram(seen: &Seen) -> bool {
    matches!(seen, Seen::DnsQuery(_) | Seen::UdpProbe(_) | Seen::Echo(_))
}

/// SYN-ACKs that came for a connect which stayed silent: this host dropped them above its link.
fn not_delivered(recording: &Recording, ends: &[Ends]) -> Vec<PacketFinding> {
    let started = recording.header.started_unix_ms as f64;
    let silent = recording.observations.iter().filter_map(|observation| match &observation.seen {
        Seen::TcpConnect(connect) if connect.role != Role::Control && matches!(connect.outcome, ConnectOutcome::Silent { .. }) => {
            Some((observation, connect))
        }
        _ => None,
    });
    silent
        .filter_map(|(observation, connect)| {
            let until = started + observation.at_ms + observation.took_ms - LATE_MS;
            ignored(observation.id, connect, until, ends)
        })
        .take(MOST)
        .collect()
}

fn ignored(id: ObservationId, connect: &TcpConnect, until: f64, ends: &[Ends]) -> Option<PacketFinding> {
    let local = connect.local?;
    let (remote, syn_ack) = (connect.to, TcpFlags::SYN.with(TcpFlags::ACK));
    let between = |packet: &&Ends, from: SocketAddr, to: SocketAddr| {
        [(packet.from, from), (packet.to, to)].iter().all(|(is, wanted)| is.ip() == wanted.ip() && is.port() == wanted.port())
    };
    let seq = ends.iter().find(|packet| packet.opens() && between(packet, local, remote))?.segment?.seq;
    let answers = |packet: &Ends| {
        let segment = packet.segment.filter(|segment| segment.flags.has(syn_ack) && segment.sound);
        segment.is_some_and(|segment| segment.ack == seq.wrapping_add(1)) && packet.unix_ms < until
    };
    let numbers: Vec<u64> =
        (1..).zip(ends).filter(|(_, packet)| between(packet, remote, local) && answers(packet)).map(|(number, _)| number).collect();
    let count = numbers.len() as u64;
    let times = if count == 1 { "a SYN-ACK".to_owned() } else { format!("{count} SYN-ACKs") };
    (count > 0).then(|| PacketFinding {
        rule: ANSWER_NOT_DELIVERED.to_owned(),
        layer: Some(Layer::L4),
        cause: None,
        text: format!("{times} of {remote} reached this host's link, sound and in answer to our SYN, and the connect never saw it"),
        packets: numbers.into_iter().take(MOST_CITED).collect(),
        count,
        weight: PacketWeight::Fault,
        about: vec![id],
        proves: false,
        side: Some(Where::Local),
        at: "this host".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::packets::Segment;

    const OURS: &str = "10.1.0.2:40000";
    const THEIRS: &str = "10.2.0.10:443";

    fn at(unix_ms: f64, from: &str, to: &str, flags: TcpFlags, (seq, ack): (u32, u32)) -> Ends {
        let socket = |text: &str| text.parse().expect("socket");
        Ends { unix_ms, from: socket(from), to: socket(to), quoted: None, segment: Some(Segment { flags, seq, ack, sound: true }) }
    }

    fn check(packets: &[Ends], expect: Option<&[u64]>) {
        let connect = TcpConnect {
            to: THEIRS.parse().expect("socket"),
            role: Role::Target,
            outcome: ConnectOutcome::Silent { waited_ms: 3000.0, retransmits: 2, icmp: None },
            local: OURS.parse().ok(),
            answer_ttl: None,
        };
        let found = ignored(3, &connect, 2800.0, packets);
        assert_eq!(found.as_ref().map(|found| found.packets.as_slice()), expect);
    }

    #[test]
    fn a_sound_answer_to_our_syn_that_the_socket_never_saw_was_dropped_here() {
        let syn = || at(0.0, OURS, THEIRS, TcpFlags::SYN, (100, 0));
        let answer = |ms, ack| at(ms, THEIRS, OURS, TcpFlags::SYN.with(TcpFlags::ACK), (7, ack));
        check(&[syn(), answer(2.0, 101), answer(1002.0, 101)], Some(&[2, 3]));
        check(&[syn()], None);
        // Not in answer to ours; too late to tell; damaged; nothing of ours was seen.
        check(&[syn(), answer(2.0, 500)], None);
        check(&[syn(), answer(2900.0, 101)], None);
        let damaged = Segment { flags: TcpFlags::SYN.with(TcpFlags::ACK), seq: 7, ack: 101, sound: false };
        check(&[syn(), Ends { segment: Some(damaged), ..answer(2.0, 101) }], None);
        check(&[answer(2.0, 101)], None);
    }
}
