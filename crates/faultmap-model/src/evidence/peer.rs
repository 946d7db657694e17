//! What became of our packets at the other end, by the word of a witness there.
//!
//! It is one reading, so that no two causes can read one report differently. The word of a witness settles which of the causes of *our* failure
//! it is; it never makes a target sick that answers, and it never outweighs what we saw ourselves.

use super::{Evidence, Failure, How, Protocol};
use crate::ObservationId;
use crate::observation::{Echo, FarSide, IngressGap, NeighborState, PeerReport, RouteOutcome, WayBack};
use std::net::{IpAddr, SocketAddr};

/// What became of the SYNs of a silent connect.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// They did not come to the far host's wire.
    NeverCame,
    /// Its reverse-path filter dropped them.
    ReversePathFiltered,
    /// Its connection table is full.
    TableFull,
    /// The accept queue of the listener is full.
    AcceptQueueFull,
    /// The queue of half-open connections is full.
    SynBacklogFull,
    /// They came to its wire, and its own packet filter let them not in, or the answer not out.
    OwnFilter {
        /// The answer was made and did not leave.
        outgoing: bool,
    },
    /// It has no route for the answer.
    NoWayBack,
    /// Its next hop toward us does not answer.
    NextHopSilent {
        /// The next hop.
        hop: IpAddr,
    },
    /// Its entry for the next hop toward us holds a MAC that nobody answers with.
    NextHopStale {
        /// The next hop.
        hop: IpAddr,
        /// What the entry says.
        entry: String,
        /// Who answers.
        answers: String,
    },
    /// A router told it that there is no way to us.
    WayBackRefused {
        /// Who said so, where it is known.
        by: Option<IpAddr>,
    },
    /// Its answers left, and none reached us.
    AnswerLost {
        /// How many left, where they were counted.
        left: Option<u32>,
    },
}

/// One report about the failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The observation.
    pub id: ObservationId,
    /// What it says.
    pub report: &'a PeerReport,
}

impl<'a> Told<'a> {
    /// What the far host saw.
    #[must_use]
    pub fn far(&self) -> &'a FarSide {
        &self.report.far
    }

    /// The far host's way back to us.
    #[must_use]
    pub fn way_back(&self) -> Option<&'a WayBack> {
        self.far().way_back(self.report.to.is_ipv6())
    }

    /// Connects that we made within the window.
    #[must_use]
    pub fn knocks(&self) -> u32 {
        self.report.provoked.as_ref().map_or(0, |provoked| provoked.tried)
    }
}

impl<'a> Evidence<'a> {
    /// The report about this address that tells most: of the provocation, else of the whole check.
    #[must_use]
    pub fn told_about(&self, to: SocketAddr) -> Option<Told<'a>> {
        let about = |report: &PeerReport| report.to == to;
        let provoked = self.first::<PeerReport>(|report| about(report) && report.provoked.is_some());
        provoked.or_else(|| self.told_of_check(to).map(|told| (told.id, told.report))).map(|(id, report)| Told { id, report })
    }

    /// The report of the window that spanned the check.
    #[must_use]
    pub fn told_of_check(&self, to: SocketAddr) -> Option<Told<'a>> {
        self.first::<PeerReport>(|report| report.to == to && report.provoked.is_none()).map(|(id, report)| Told { id, report })
    }

    /// What a witness tells of the failed attempt.
    #[must_use]
    pub fn peer(&self) -> Option<(Failure<'a>, Told<'a>)> {
        let failure =
            self.failure().filter(|failure| failure.role == crate::observation::Role::Target && failure.protocol == Protocol::Tcp)?;
        let told = self.told_about(SocketAddr::new(failure.ip, failure.port))?;
        Some((failure, told))
    }

    /// What became of the SYNs of the silent connect; `None` without a witness, or when its word does not settle it.
    #[must_use]
    pub fn fate(&self) -> Option<(Failure<'a>, Told<'a>, Fate)> {
        let (failure, told) = self.peer()?;
        if !matches!(failure.how, How::Silent { .. }) || told.knocks() == 0 {
            return None;
        }
        // Some connects of the provocation passed: the port is open to some, and silence has other reasons.
        if told.report.provoked.as_ref().is_some_and(|provoked| provoked.passed() > 0 || provoked.failed > 0) {
            return None;
        }
        let fate = at_the_door(&told).or_else(|| after_the_door(self, &failure, &told)).or_else(|| nothing_came(&told))?;
        Some((failure, told, fate))
    }
}

/// At least half of the knocks: a rise that is ours, and not a neighbour's.
fn most_of(knocks: u32, rise: u64) -> bool {
    rise > 0 && rise.saturating_mul(2) >= u64::from(knocks)
}

/// The tap shows SYNs, of ours or (behind a translator) of somebody's. `None` when nobody tapped, or the tap lost packets.
fn seen_on_wire(far: &FarSide) -> Option<u32> {
    let wire = far.wire.as_ref()?;
    match (wire.syns, wire.other_syns) {
        (0, 0) => (wire.missed == 0).then_some(0),
        (0, _) => None,
        (ours, _) => Some(ours),
    }
}

/// Queues, tables and filters, whose own counters or lengths tell.
fn at_the_door(told: &Told<'_>) -> Option<Fate> {
    let (far, knocks) = (told.far(), told.knocks());
    if seen_on_wire(far) == Some(0) {
        return Some(Fate::NeverCame);
    }
    if most_of(knocks, far.rise("TcpExt.IPReversePathFilter")) {
        return Some(Fate::ReversePathFiltered);
    }
    if far.queue.is_some_and(crate::observation::FarQueue::full) {
        return Some(Fate::AcceptQueueFull);
    }
    if most_of(knocks, far.rise("TcpExt.TCPReqQFullDrop")) || crowded_out(told) {
        return Some(Fate::SynBacklogFull);
    }
    if most_of(knocks, far.conntrack.drops.unwrap_or(0)) && far.conntrack.full() {
        return Some(Fate::TableFull);
    }
    None
}

/// Without SYN cookies the last quarter of the backlog is kept for peers that got through before, and others are dropped without a counter of
/// their own (tcp_conn_request, net/ipv4/tcp_input.c): drops that are neither the accept queue's nor for want of a route, among half-open
/// connections of others.
fn crowded_out(told: &Told<'_>) -> bool {
    let far = told.far();
    let dropped = most_of(told.knocks(), far.rise("TcpExt.ListenDrops")) && far.rise("TcpExt.ListenOverflows") == 0;
    let no_route = far.rise("Ip.OutNoRoutes") > 0 || far.rise("Ip6.OutNoRoutes") > 0;
    let refused = far.rise("Icmp.InDestUnreachs").max(far.rise("Icmp6.InDestUnreachs")) > 0;
    dropped && !no_route && !refused && far.half_open_ours == 0 && far.half_open >= FLOODED
}

/// Half-open connections of others at one time that are a crowd.
const FLOODED: u32 = 4;

/// The SYN was taken in: what about the answer?
fn after_the_door(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>) -> Option<Fate> {
    let (far, knocks) = (told.far(), told.knocks());
    let answered = far.wire.as_ref().map(|wire| wire.syn_acks.saturating_add(wire.resets));
    let came = seen_on_wire(far).is_some_and(|syns| syns > 0);
    if answered == Some(0) || answered.is_none() {
        if let Some(fate) = no_way_out(told, came) {
            return Some(fate);
        }
        // A half-open connection of ours was let in.
        if most_of(knocks, far.undelivered.unwrap_or(0)) && far.half_open_ours == 0 {
            return Some(Fate::OwnFilter { outgoing: false });
        }
        // What it forwards (to a container, a virtual machine), it does not answer itself.
        if most_of(knocks, far.rise("Ip.ForwDatagrams").max(far.rise("Ip6.OutForwDatagrams"))) {
            return None;
        }
    }
    if let Some(fate) = refused_on_the_way(told) {
        return Some(fate);
    }
    if answered == Some(0) && came {
        return Some(Fate::OwnFilter { outgoing: far.half_open_ours > 0 });
    }
    let left = answered.filter(|answered| *answered > 0);
    if (left.is_some() || (answered.is_none() && far.half_open_ours > 0)) && !dropped_here(ev, failure.ip) {
        return stale(told).or(Some(Fate::AnswerLost { left }));
    }
    None
}

/// The answer cannot leave the far host: no route, or a next hop that does not answer ARP.
fn no_way_out(told: &Told<'_>, came: bool) -> Option<Fate> {
    let (far, way) = (told.far(), told.way_back()?);
    let dropped = far.rise("Ip.OutNoRoutes") > 0 || far.rise("Ip6.OutNoRoutes") > 0 || far.rise("TcpExt.ListenDrops") > 0;
    match &way.route {
        RouteOutcome::NoRoute | RouteOutcome::Rejected { .. } if came || dropped => Some(Fate::NoWayBack),
        RouteOutcome::Found { local: false, .. } => {
            let hop = way.next_hop.as_ref().filter(|hop| matches!(hop.state, NeighborState::Failed | NeighborState::Incomplete))?;
            (came || far.half_open_ours > 0).then_some(Fate::NextHopSilent { hop: hop.address })
        }
        _ => None,
    }
}

/// "Destination unreachable" came back to the far host for its answers.
fn refused_on_the_way(told: &Told<'_>) -> Option<Fate> {
    let far = told.far();
    let unreachable = |icmp_type: u8, from: IpAddr| icmp_type == if from.is_ipv4() { 3 } else { 1 };
    if let Some(wire) = &far.wire {
        let error = wire.errors_in.iter().find(|error| unreachable(error.icmp_type, error.from));
        return error.filter(|_| wire.syn_acks > 0).map(|error| Fate::WayBackRefused { by: Some(error.from) });
    }
    // Such an error ends a half-open connection (tcp_req_err, net/ipv4/tcp_ipv4.c), and both are counted.
    let errors = far.rise("Icmp.InDestUnreachs").max(far.rise("Icmp6.InDestUnreachs"));
    if !(most_of(told.knocks(), errors) && far.rise("TcpExt.ListenDrops") > 0 && far.rise("TcpExt.ListenOverflows") == 0) {
        return None;
    }
    let walk = told.way_back().and_then(|way| way.walk.as_ref());
    let by = walk.and_then(|walk| {
        let answers = walk.hops.iter().flat_map(|hop| &hop.answers);
        answers
            .filter_map(|answer| match answer.said {
                crate::observation::HopSaid::Icmp(icmp) if unreachable(icmp.icmp_type, icmp.from) && icmp.from != walk.to.ip() => {
                    Some(icmp.from)
                }
                _ => None,
            })
            .next()
    });
    Some(Fate::WayBackRefused { by })
}

/// Answers leave toward a MAC that does not answer for the next hop.
fn stale(told: &Told<'_>) -> Option<Fate> {
    let hop = told.way_back()?.next_hop.as_ref()?;
    let (entry, answers) = (hop.mac.as_ref()?, hop.answers.as_ref().filter(|answers| !answers.is_empty())?);
    let known = answers.iter().any(|mac| mac.eq_ignore_ascii_case(entry));
    (!known).then(|| Fate::NextHopStale { hop: hop.address, entry: entry.clone(), answers: answers.join(", ") })
}

/// This host itself drops answers that reach it: then the way back is not at fault.
fn dropped_here(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    let gap = ev.first::<IngressGap>(|gap| {
        let lost = gap.lost_with.saturating_sub(gap.lost_idle);
        gap.to.ip() == ip
            && (gap.rp_filtered > 0
                || gap.answers_on_wire.is_some_and(|seen| seen > 0)
                || lost.saturating_mul(2) >= u64::from(gap.provoked))
    });
    let filtered = ev.first::<crate::observation::Counters>(|counters| counters.rose.contains_key("TcpExt.IPReversePathFilter"));
    gap.is_some() || filtered.is_some()
}

/// Without a tap: so few packets reached the far host's IP layer that most of ours cannot be among them.
fn nothing_came(told: &Told<'_>) -> Option<Fate> {
    let far = told.far();
    if far.wire.is_some() || far.rose.is_empty() {
        return None;
    }
    let received = far.rise(if told.report.to.is_ipv4() { "Ip.InReceives" } else { "Ip6.InReceives" });
    let idle = far.rise("TcpExt.ListenDrops") == 0 && far.half_open_ours == 0 && far.rise("Tcp.PassiveOpens") == 0;
    (idle && received < u64::from(told.knocks())).then_some(Fate::NeverCame)
}

/// Where packets get lost, by echo requests that both ends counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossByWay {
    /// The report.
    pub id: ObservationId,
    /// Echo requests sent, and lost on the way there.
    pub there: (u32, u32),
    /// Echo replies sent, and lost on the way back.
    pub back: (u32, u32),
}

impl LossByWay {
    /// In words, when one way is clean and the other is not; else both.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.there.1, self.back.1) {
            (0, _) => format!("all of it on the way back ({} of {} answers)", self.back.1, self.back.0),
            (_, 0) => format!("all of it on the way there ({} of {} requests)", self.there.1, self.there.0),
            _ => format!(
                "{} of {} requests on the way there, {} of {} answers on the way back",
                self.there.1, self.there.0, self.back.1, self.back.0
            ),
        }
    }
}

impl Evidence<'_> {
    /// Loss by direction; `None` when nobody counted at the other end, or the counts do not fit ours.
    #[must_use]
    pub fn loss_by_way(&self, to: SocketAddr) -> Option<LossByWay> {
        let told = self.told_of_check(to)?;
        let sum = |count: fn(&Echo) -> u32| {
            self.all::<Echo>().filter(|(_, echo)| echo.to == to.ip()).fold(0_u32, |sum, (_, echo)| sum.saturating_add(count(echo)))
        };
        let (sent, received) = (sum(|echo| echo.sent), sum(|echo| echo.received));
        let far = told.far();
        let counted = |v4: &str, v6: &str| u32::try_from(far.rise(if to.is_ipv4() { v4 } else { v6 })).unwrap_or(u32::MAX);
        let (came, left) = match &far.wire {
            Some(wire) if wire.missed == 0 => (wire.echo_in, wire.echo_out),
            Some(_) => return None,
            None => (counted("Icmp.InEchos", "Icmp6.InEchos"), counted("Icmp.OutEchoReps", "Icmp6.OutEchoReplies")),
        };
        // Somebody else pings that host, or answers in its name: the counts are not of our packets.
        if sent == 0 || came > sent || received > left || came == 0 {
            return None;
        }
        Some(LossByWay { id: told.id, there: (sent, sent - came), back: (left, left - received) })
    }

    /// The program at the far end does not take what we sent: it is stopped, or our connection waits to be accepted. With the report and words.
    #[must_use]
    pub fn far_program_idle(&self, to: SocketAddr) -> Option<(ObservationId, String)> {
        let told = self.told_of_check(to)?;
        let far = told.far();
        let name = far.program.as_ref().map_or_else(|| "the program".to_owned(), |program| format!("the program {}", program.name));
        if far.program.as_ref().is_some_and(crate::observation::FarProgram::stopped) {
            return Some((told.id, format!("{name} there is stopped (a signal, or a debugger)")));
        }
        let queue = far.queue.filter(|queue| queue.at_end > 0 && far.unread_bytes > 0 && far.established_ours > 0)?;
        Some((
            told.id,
            format!(
                "{name} there does not accept: {} connections wait for it, with {} bytes of ours unread",
                queue.at_end, far.unread_bytes
            ),
        ))
    }

    /// We were connected, and the far host knows nothing of it: somebody on the way answered in its name.
    #[must_use]
    pub fn connected_elsewhere(&self, to: SocketAddr) -> Option<ObservationId> {
        let told = self.told_of_check(to)?;
        let far = told.far();
        self.connected().find(|(_, connect)| connect.to == to)?;
        let unseen = match &far.wire {
            Some(_) => seen_on_wire(far) == Some(0),
            // What is forwarded (to a container, a virtual machine) opens nothing here.
            None => {
                let counters = ["Tcp.PassiveOpens", "Ip.ForwDatagrams", "Ip6.OutForwDatagrams"];
                !far.rose.is_empty() && counters.into_iter().all(|counter| far.rise(counter) == 0)
            }
        };
        (unseen && far.established_ours == 0).then_some(told.id)
    }
}
