//! From a packet to its flow: TCP, UDP and ICMP, each with what it needs of the packet.

use super::copies::Likeness;
use super::errors::{self, Beside, Says};
use super::front::{Addressed, Look};
use super::lookups::Silence;
use super::{Analysis, Core, Mark, Place, leases};
use crate::analysis::book::Subject;
use crate::analysis::closing::Why;
use crate::app::Exchange;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::following::{Body, Flow};
use crate::flow::stream::Payload;
use crate::flow::table::Class;
use crate::flow::tcp::{Header, Segment, Took};
use crate::flow::{FlowEnd, FlowId, FlowKey, Protocol, Side};
use crate::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::{Frame, Packet, Transport, Verdict};
use faultmap_wire::{Mac, TcpFlags, icmp, icmpv6};
use std::net::IpAddr;

/// Connections that are over and wait for late packets: those of a second where thousands end in one.
const MOST_OVER: usize = 4096;
/// SYNs in VLANs that are remembered until their answer comes.
const MOST_REALMS: usize = 4096;

/// What a packet tells of its sender.
struct Sent {
    by: IpAddr,
    ttl: u8,
    /// Bytes on the wire.
    payload_len: u32,
    /// Source and destination on the medium, where they are those of the packet and of no tunnel.
    macs: Option<(Mac, Mac)>,
    fragment: bool,
}

impl Sent {
    fn of(frame: &Frame<'_>, packet: &Packet<'_>) -> Self {
        let macs = frame.own_macs();
        Self { by: packet.ip.src, ttl: packet.ip.hop_limit, payload_len: packet.payload_len, macs, fragment: packet.ip.fragment.is_some() }
    }
}

/// The key of a packet's flow, and whether its lower end sent it; `None` if it belongs to none.
pub(super) fn key_of(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<(FlowKey, bool)> {
    let (from_port, to_port, protocol) = match packet.transport {
        Transport::Tcp(tcp, _) => (tcp.src_port, tcp.dst_port, Protocol::Tcp),
        Transport::Udp(udp, _) => (udp.src_port, udp.dst_port, Protocol::Udp),
        Transport::Icmp(header, _) if matches!(header.kind, icmp::ECHO_REQUEST | icmp::ECHO_REPLY) => echo(header.rest),
        Transport::Icmpv6(header, _) if header.echo_id().is_some() => echo(header.rest),
        _ => return None,
    };
    let (from, to) = (FlowEnd { ip: packet.ip.src, port: from_port }, FlowEnd { ip: packet.ip.dst, port: to_port });
    Some(FlowKey::of(from, to, protocol, frame.realm))
}

fn echo(rest: [u8; 4]) -> (u16, u16, Protocol) {
    let id = u16::from_be_bytes([rest[0], rest[1]]);
    (id, id, Protocol::Icmp)
}

impl Analysis {
    pub(super) fn tcp(&mut self, captured: &Captured<'_>, packet: &Addressed, look: Look) {
        let Addressed { key, low_sends, header, .. } = packet;
        let low_sends = *low_sends;
        let found = self.table.find(key).filter(|at| !self.is_another(*at, header, low_sends));
        let opener = header.flags.has(TcpFlags::SYN).then(|| header.flags.is_opening());
        let at = match found.or_else(|| self.across_realms(key, header)) {
            Some(at) => at,
            None => self.open(*key, low_sends, opener, captured, Class::Connection),
        };
        let Self { table, core } = self;
        let Some(flow) = table.get_mut(at) else { return };
        let side = flow.side(low_sends);
        let segment = Segment::new(captured, header, side, look.likeness != Likeness::New);
        let Some(mark) = core.segment(flow, &segment, !packet.fragment, look.checksum) else {
            core.quality.copies += 1;
            core.gathered.copies.add(captured.number, captured.at);
            core.place = Some(Place { flow: flow.id, from: side, mark: Mark::Copy });
            return;
        };
        let from = if low_sends { key.low } else { key.high };
        let Addressed { macs, fragment, .. } = *packet;
        let sent = Sent { by: from.ip, ttl: header.ttl, payload_len: header.len, macs, fragment };
        core.volume(flow, side, captured, &sent);
        core.place = Some(Place { flow: flow.id, from: side, mark });
        core.early_segment(flow, side, mark, captured.at);
        let class = match &mut flow.body {
            Body::Tcp(body) if body.tcp.is_over() => {
                body.rest();
                Class::Over
            }
            Body::Tcp(body) if body.tcp.is_attempt() => Class::Attempt,
            _ => Class::Connection,
        };
        let now = core.now;
        table.touch(at, class, now);
        self.close_surplus();
    }

    /// A SYN between the ends of a known connection that opens another one: the known one is closed.
    fn is_another(&mut self, at: u32, tcp: &Header, low_sends: bool) -> bool {
        if !tcp.flags.is_opening() {
            return false;
        }
        let another = self.table.get_mut(at).is_some_and(|flow| match &flow.body {
            Body::Tcp(body) => body.tcp.is_another(tcp.seq, flow.side(low_sends)),
            _ => false,
        });
        if another && let Some(flow) = self.table.remove(at) {
            self.core.close(flow, Why::Replaced);
        }
        another
    }

    /// The two directions of a connection may go through two VLANs: a SYN-ACK without a SYN in its own finds the SYN that it answers in another.
    fn across_realms(&mut self, key: &FlowKey, tcp: &Header) -> Option<u32> {
        let ends = FlowKey { realm: 0, ..*key };
        if tcp.flags.is_opening() && key.realm != 0 && self.core.realms.len() < MOST_REALMS {
            self.core.realms.insert(ends, key.realm);
        }
        if self.core.realms.is_empty() || !tcp.flags.has(TcpFlags::SYN.with(TcpFlags::ACK)) {
            return None;
        }
        let realm = self.core.realms.remove(&ends)?;
        let at = self.table.find(&FlowKey { realm, ..*key })?;
        let answers = self.table.get_mut(at).is_some_and(|flow| matches!(&flow.body, Body::Tcp(body) if body.tcp.is_answered_by(tcp.ack)));
        if answers {
            self.table.alias(at, key);
        }
        answers.then_some(at)
    }

    fn open(&mut self, key: FlowKey, low_sends: bool, opener: Option<bool>, captured: &Captured<'_>, class: Class) -> u32 {
        if self.table.len() >= self.core.limits.max_flows.max(1) {
            self.push_out();
        }
        self.core.flows = self.core.flows.saturating_add(1);
        let looped = !self.core.looped.is_empty() && self.core.looped.contains(&key);
        let (id, first) = (FlowId(self.core.flows), (captured.number, captured.at));
        let flow = Flow::new((id, key), low_sends, opener, first, looped, &mut self.core.spare);
        self.table.insert(flow, class, self.core.now)
    }

    fn push_out(&mut self) {
        for class in Class::ALL {
            let Some(flow) = self.table.oldest(class).and_then(|(at, _)| self.table.remove(at)) else { continue };
            // A connection that is over is complete but for late packets.
            self.core.bounds_hit.flows += u64::from(class != Class::Over);
            let why = if class == Class::Over { Why::Forgotten(class) } else { Why::PushedOut };
            return self.core.close(flow, why);
        }
    }

    pub(super) fn udp(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>, look: Look) {
        let Transport::Udp(_, payload) = packet.transport else { return };
        let Some((key, low_sends)) = key_of(frame, packet) else { return };
        let at = self.table.find(&key).unwrap_or_else(|| self.open(key, low_sends, None, captured, Class::Datagram));
        let Self { table, core } = self;
        let Some(flow) = table.get_mut(at) else { return };
        let side = flow.side(low_sends);
        core.volume(flow, side, captured, &Sent::of(frame, packet));
        core.place = Some(Place { flow: flow.id, from: side, mark: Mark::Plain });
        if look.checksum == Verdict::Bad {
            core.malformed(captured);
        } else if !payload.is_empty() && (packet.ip.fragment.is_none() || flow.app == Some("dns")) {
            // The first fragment of an answer tells whose it is.
            core.datagram(flow, side, captured, packet, payload);
            core.early_question(flow, captured.at);
        }
        // A DNS client asks from a new port each time: what is answered is over.
        let answered = flow.app == Some("dns") && flow.packets.server >= flow.packets.client;
        let now = core.now;
        table.touch(at, if answered { Class::Over } else { Class::Datagram }, now);
        self.close_surplus();
    }

    /// Of flows that are over only so many wait for late packets.
    fn close_surplus(&mut self) {
        let Self { table, core } = self;
        if table.count(Class::Over) > MOST_OVER
            && let Some(flow) = table.oldest(Class::Over).and_then(|(at, _)| table.remove(at))
        {
            core.close(flow, Why::Forgotten(Class::Over));
        }
    }

    pub(super) fn icmp(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>) {
        if let Transport::Icmpv6(header, _) = packet.transport
            && header.is_discovery()
        {
            if header.kind == icmpv6::ROUTER_ADVERTISEMENT {
                self.core.leases.router_says(packet);
            }
            return self.core.neighbor(captured, frame, packet);
        }
        self.core.spoke(packet, captured.at);
        let Some((key, low_sends)) = key_of(frame, packet) else { return self.icmp_error(captured, frame, packet) };
        let asks = match packet.transport {
            Transport::Icmp(header, _) => header.kind == icmp::ECHO_REQUEST,
            Transport::Icmpv6(header, _) => header.kind == icmpv6::ECHO_REQUEST,
            _ => return,
        };
        let at = self.table.find(&key).unwrap_or_else(|| self.open(key, low_sends, Some(asks), captured, Class::Datagram));
        let Self { table, core } = self;
        let Some(flow) = table.get_mut(at) else { return };
        let side = flow.side(low_sends);
        core.volume(flow, side, captured, &Sent::of(frame, packet));
        core.place = Some(Place { flow: flow.id, from: side, mark: Mark::Plain });
        core.echo(flow, asks, packet, captured);
        let now = core.now;
        table.touch(at, Class::Datagram, now);
    }

    fn icmp_error(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>) {
        let Some(error) = Core::error(packet) else { return };
        let key = error.key(frame.realm);
        let flow = self.table.find(&key).and_then(|at| self.table.get_mut(at));
        let mut beside = Beside { host_heard: self.core.hosts.knows(error.to.ip()) && error.by != error.to.ip(), ..Beside::default() };
        let mut id = None;
        if let Some(flow) = flow {
            let about = if error.from == flow.ends().client { Side::Client } else { Side::Server };
            beside.flow_known = true;
            beside.about_answer = about == Side::Server;
            beside.answered = flow.packets.server > 0;
            beside.ttl = Some(flow.ttl);
            id = Some(flow.id);
            self.core.early.meet(flow);
            match (&mut flow.body, error.says) {
                (Body::Tcp(body), Says::TooBig(mtu)) => body.tcp.too_big(about, mtu, captured.at),
                (_, Says::TooBig(_)) => {}
                _ => flow.icmp_error |= about == Side::Client,
            }
            self.core.place = Some(Place { flow: flow.id, from: about.other(), mark: Mark::Plain });
        }
        let reading = errors::read(&error, &beside);
        let party = match error.says {
            Says::HostUnreachable => Party::Host(error.to.ip()),
            Says::PortUnreachable => Party::Service(error.to),
            _ => Party::Host(error.by),
        };
        let subject = Subject { rule: reading.rule, flow: id, party: Some(party) };
        let (weight, value) = (reading.weight, reading.value);
        let (at, number) = (captured.at, captured.number);
        if let Some(flow) = self.table.find(&key).and_then(|at| self.table.get_mut(at)) {
            flow.note(crate::flow::record::RuleCount { rule: reading.rule, count: 1, weight });
        }
        self.core.book.sight(subject, number, at, || {
            let (layer, cause, blames, said_by) = (Some(reading.layer), reading.cause, Some(party), Some(error.by));
            let finding = Finding::of(reading.rule, weight, (at, at), Cited::one(number), reading.text);
            Finding { layer, cause, flow: id, blames, said_by, value, ..finding }
        });
    }
}

impl Core {
    /// Takes a segment into its flow; `None` if it is but a copy. Not `whole`: the first fragment of one.
    fn segment(&mut self, flow: &mut Flow, segment: &Segment<'_>, whole: bool, checksum: Verdict) -> Option<Mark> {
        let ends = flow.ends();
        let port = ends.server.port();
        let Body::Tcp(body) = &mut flow.body else { return Some(Mark::Plain) };
        let when = (segment.at, segment.no);
        // Most segments bring nothing to the conversation.
        let mut said = false;
        for side in [Side::Client, Side::Server] {
            while let Some(missed) = body.tcp.settle(side, segment.at, false) {
                body.skip_to(side, missed, when, port, &mut self.room, &mut self.said);
                said = true;
            }
        }
        body.tcp.checksum(segment, checksum);
        let took = body.tcp.segment(segment);
        if let Some(Took { on_syn: true, offset, .. }) = took {
            body.opened(segment, offset, port, &mut self.room, &mut self.said);
            said = true;
            if segment.from == Side::Server {
                self.hosts.accepted(ends.server, segment.at);
            }
        } else if let Some(Took { offset: Some(start), mark, .. }) = took
            && (whole && segment.len > 0 && mark != Mark::KeepAlive)
        {
            let payload = Payload { start, bytes: segment.payload, len: segment.len, at: segment.at, packet: segment.no };
            body.deliver(segment.from, payload, port, &mut self.room, &mut self.said);
            said = true;
        }
        if said {
            self.heard_of(flow);
        }
        took.map(|took| took.mark)
    }

    /// An echo request or reply is a question or an answer.
    fn echo(&mut self, flow: &mut Flow, asks: bool, packet: &Packet<'_>, captured: &Captured<'_>) {
        let rest = match packet.transport {
            Transport::Icmp(header, _) => header.rest,
            Transport::Icmpv6(header, _) => header.rest,
            _ => return,
        };
        let Body::Echo(echo) = &mut flow.body else { return };
        let sequence = u16::from_be_bytes([rest[2], rest[3]]);
        let mark = crate::app::Mark { at: captured.at, packet: captured.number };
        if asks {
            return echo.request(sequence, mark);
        }
        let Some(asked) = echo.reply(sequence, mark.at) else { return };
        let answer = Some((mark, "reply".to_owned(), true));
        self.said.exchanges.push(Exchange::of_datagrams("icmp", format!("echo {sequence}"), asked, answer));
        self.heard_of(flow);
    }

    fn datagram(&mut self, flow: &mut Flow, side: Side, captured: &Captured<'_>, packet: &Packet<'_>, payload: &[u8]) {
        let ends = flow.ends();
        if leases::is_dhcp(ends.client, ends.server) {
            flow.app = Some("dhcp");
            let seen = leases::Seen { flow: flow.id, realm: flow.key.realm, at: captured.at, packet: captured.number };
            let exchange = self.leases.message(packet, seen, &mut self.book);
            self.said.exchanges.extend(exchange);
            return self.heard_of(flow);
        }
        let Body::Datagrams { talk, looked } = &mut flow.body else { return };
        if !*looked {
            *looked = true;
            if let Some((name, conversation)) = crate::app::datagrams(ends, payload) {
                flow.app = Some(name);
                *talk = Some(conversation);
            }
        }
        let Some(talk) = talk else { return };
        // What an answer in fragments says is not known. Whether it came, they tell where silence is judged.
        if flow.app == Some("dns") && side == Side::Server && packet.ip.fragment.is_some() {
            return;
        }
        let below = crate::app::Below { from_the_start: true, server_port: ends.server.port(), ..Default::default() };
        let chunk = crate::app::Chunk { from: side, bytes: payload, at: captured.at, packet: captured.number };
        let missing = u64::from(packet.payload_len).saturating_sub(payload.len() as u64);
        if missing > 0 {
            talk.glance(crate::app::Glance { chunk, missing }, &below, &mut self.said);
        } else {
            talk.chunk(chunk, &below, &mut self.said);
        }
        self.heard_of(flow);
    }

    /// Counts a packet in its flow, and what it tells of its sender.
    fn volume(&mut self, flow: &mut Flow, side: Side, captured: &Captured<'_>, sent: &Sent) {
        let packets = flow.packets.of_mut(side);
        *packets += 1;
        if *packets == 1 {
            self.hosts.heard(sent.by, sent.ttl, captured.at);
        }
        if self.neighbors.has_questions() {
            self.neighbors.answered(sent.by);
        }
        *flow.bytes.of_mut(side) += u64::from(sent.payload_len);
        flow.wire_bytes = flow.wire_bytes.saturating_add(u64::from(captured.wire_len));
        flow.first = flow.first.min(captured.at);
        flow.last = flow.last.max(captured.at);
        flow.last_packet = captured.number;
        let (kept, wire) = (captured.bytes.len() as u64, u64::from(captured.wire_len));
        if kept < wire {
            flow.cut.payload |= sent.payload_len > 0;
            flow.cut.headers |= kept.saturating_add(u64::from(sent.payload_len)) < wire;
        }
        if side == Side::Client {
            flow.ttl = flow.ttl.min(sent.ttl);
        }
        if sent.fragment {
            let count = if side == Side::Client { &mut flow.fragmented } else { &mut flow.answered_in_fragments };
            *count = count.saturating_add(1);
        }
        let Some((station, to)) = sent.macs else { return };
        // The stations are those of the packet before, but for the first one and a few.
        if side == Side::Client && flow.to == Some(to) {
            flow.to_it = flow.to_it.saturating_add(1);
        } else if side == Side::Client {
            let before = flow.to.replace(to);
            flow.to_it = 1;
            // This packet is counted already.
            if before.is_some() && flow.packets.server == 0 && flow.packets.client > 2 {
                flow.in_vain = before;
            }
        }
        let known = flow.macs.of_mut(side);
        if *known != Some(station)
            && let Some(old) = known.replace(station)
            && !self.neighbors.is_local(sent.by)
        {
            self.neighbors.gateway_changed(old, station, (captured.number, captured.at), &mut self.book);
        }
    }

    /// A packet of an address went by that belongs to no flow.
    fn spoke(&mut self, packet: &Packet<'_>, at: Stamp) {
        self.hosts.heard(packet.ip.src, packet.ip.hop_limit, at);
        if self.neighbors.has_questions() {
            self.neighbors.answered(packet.ip.src);
        }
    }

    /// Takes over what a conversation said.
    pub(super) fn heard_of(&mut self, flow: &mut Flow) {
        // After most packets nothing was said.
        if !self.said.is_empty() {
            self.take_over(flow);
        }
    }

    fn take_over(&mut self, flow: &mut Flow) {
        if let Some(protocol) = self.said.protocol.take() {
            flow.app = Some(protocol);
        }
        if let Some(name) = self.said.server_name.take() {
            flow.server_name = Some(name);
        }
        flow.decrypted |= std::mem::take(&mut self.said.unsealed);
        flow.hello_bytes = self.said.hello_bytes.take().or(flow.hello_bytes);
        if flow.app == Some("dns") && flow.key.protocol == Protocol::Udp {
            let joined = self.join_lookups(flow);
            flow.asked_again |= joined.asked_again;
            flow.answered_in_fragments += u64::from(joined.in_fragments);
        }
        self.said.lookups.clear();
        for exchange in self.said.exchanges.drain(..) {
            flow.exchanges.add(exchange);
        }
        if !self.said.findings.is_empty() {
            self.early.meet(flow);
        }
        for mut finding in self.said.findings.drain(..) {
            finding.flow = Some(flow.id);
            flow.note(crate::flow::record::RuleCount { rule: finding.rule, count: finding.cited.count.max(1), weight: finding.weight });
            self.book.add(finding);
        }
    }

    /// Joins the tries of one question that are in several flows.
    fn join_lookups(&mut self, flow: &Flow) -> Joined {
        let (ends, id) = (flow.ends(), flow.id);
        let mut joined = Joined::default();
        for word in self.said.lookups.drain(..) {
            joined.asked_again |= self.lookups.word(&ends, id, word, &mut self.book);
        }
        joined.in_fragments = self.settle_fragments(&ends, id);
        let Self { said, lookups, book, fragments, .. } = self;
        let mut own = Vec::with_capacity(said.exchanges.len());
        for exchange in &said.exchanges {
            let packet = exchange.answered_in.unwrap_or(exchange.asked_in);
            let of_it = |finding: &&Finding| finding.cited.packets.contains(&packet);
            let truncated = said.findings.iter().filter(of_it).any(|finding| finding.rule == "dns.truncated");
            let silent = said.findings.iter_mut().position(|finding| {
                exchange.answer.is_empty() && is_dns_silence(finding) && finding.cited.packets.first() == Some(&packet)
            });
            if let Some(finding) = silent.and_then(|at| said.findings.get_mut(at)) {
                let lost = fragments.lost_between(ends.server.ip(), ends.client.ip(), exchange.asked);
                match lookups.silent(&ends, id, exchange, finding, lost) {
                    Silence::AsTold => {}
                    Silence::ToldElsewhere => (finding.rule, finding.weight, finding.cause) = ("dns.next-try", Weight::Note, None),
                    Silence::Instead(instead) => *finding = *instead,
                }
            }
            own.push(lookups.ended(&ends, id, exchange, truncated, book));
            lookups.learned(&ends, exchange, book);
        }
        let mut own = own.into_iter();
        said.exchanges.retain(|_| own.next().unwrap_or(true));
        joined
    }

    /// A question whose answer came in fragments is answered; also where only some are in the capture (later ones have no ports to select them by), unless
    /// it was asked again.
    /// Whether an answer came so, whole.
    fn settle_fragments(&mut self, ends: &crate::app::Ends, flow: FlowId) -> bool {
        let Self { said, fragments, lookups, .. } = self;
        let (server, client) = (ends.server.ip(), ends.client.ip());
        let mut whole = false;
        for exchange in said.exchanges.iter_mut().filter(|exchange| exchange.answer.is_empty()) {
            let in_part = || fragments.lost_between(server, client, exchange.asked) && lookups.tries(ends, flow, &exchange.question) < 2;
            let arrived = fragments.arrived_between(server, client, exchange.asked);
            whole |= arrived;
            if let Some(after) = lookups.asked_later(ends, flow, exchange).filter(|_| arrived) {
                said.findings.push(super::lookups::not_taken(ends, exchange, after));
            }
            if arrived || in_part() {
                "in fragments".clone_into(&mut exchange.answer);
                exchange.ok = true;
                let packet = exchange.asked_in;
                said.findings.retain(|finding| !(is_dns_silence(finding) && finding.cited.packets.first() == Some(&packet)));
            }
        }
        whole
    }

    /// The number of a packet and its moment where a flow ends.
    pub(super) const fn last_of(flow: &Flow) -> (Stamp, PacketNo) {
        (flow.last, flow.last_packet)
    }
}

/// What the questions of a flow are beside those of others.
#[derive(Debug, Clone, Copy, Default)]
struct Joined {
    asked_again: bool,
    in_fragments: bool,
}

fn is_dns_silence(finding: &Finding) -> bool {
    matches!(finding.rule, "dns.timeout" | "dns.unanswered")
}
