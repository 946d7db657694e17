//! A transparent proxy that answers every TCP handshake itself and only then tries the real server, as some
//! providers, captive portals and DDoS shields do. Behind it a dead host and a closed port both "connect".
//!
//! Once the real handshake is done, sequence numbers are shifted and the connection works like any other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use faultmap_wire::tcp::emit_options;
use faultmap_wire::{Ethernet, IpPacket, Tcp, TcpFlags, TcpOption, ip, proto};

use super::seen::Seen;
use super::{Emit, Middlebox, Pass};
use crate::fabric::Direction;

/// Connections remembered; beyond that all are forgotten and die.
const FLOW_LIMIT: usize = 10_000;
/// Segments kept for a server that has not answered yet.
const HELD_LIMIT: usize = 16;
/// Fits every path of 1500 bytes in both families.
const MSS: u16 = 1440;
const WINDOW: u16 = u16::MAX;

type Endpoint = (std::net::IpAddr, u16);

#[derive(Debug)]
struct Flow {
    /// The number our own handshake began with.
    our_seq: u32,
    /// What to add to our numbers to get the server's; unknown until it answers.
    shift: Option<u32>,
    /// A SYN is on its way to the server.
    asked: bool,
    held: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    /// By client and server.
    flows: HashMap<(Endpoint, Endpoint), Flow>,
    interposed: u64,
    spliced: u64,
    refused: u64,
}

/// The proxy. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Interposer {
    name: String,
    clients: Direction,
    state: Arc<Mutex<State>>,
}

impl Interposer {
    /// A proxy for connections whose first segment travels in `clients` direction.
    pub fn new(name: &str, clients: Direction) -> Interposer {
        Interposer { name: name.to_owned(), clients, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A segment in its packet in its frame.
struct Segment<'a> {
    ethernet: Ethernet,
    ip: IpPacket<'a>,
    tcp: Tcp<'a>,
    payload: &'a [u8],
}

impl Segment<'_> {
    fn src(&self) -> Endpoint {
        (self.ip.src, self.tcp.src_port)
    }

    fn dst(&self) -> Endpoint {
        (self.ip.dst, self.tcp.dst_port)
    }

    /// The same segment with other numbers.
    fn with(&self, tcp: &Tcp<'_>) -> Option<Vec<u8>> {
        let segment = tcp.emit(self.ip.src, self.ip.dst, self.payload);
        let packet = ip::emit(self.ip.src, self.ip.dst, proto::TCP, self.ip.hop_limit, &segment)?;
        Some(self.ethernet.emit(&packet))
    }

    /// A segment without payload the other way.
    fn answer(&self, tcp: &Tcp<'_>) -> Option<Vec<u8>> {
        let segment = tcp.emit(self.ip.dst, self.ip.src, &[]);
        let packet = ip::emit(self.ip.dst, self.ip.src, proto::TCP, 64, &segment)?;
        Some(self.ethernet.reply().emit(&packet))
    }
}

impl State {
    fn handle_client(&mut self, segment: &Segment<'_>, out: &mut Emit) -> Option<Pass> {
        let key = (segment.src(), segment.dst());
        if segment.tcp.flags.is_opening() {
            self.accept(key, segment, out);
            return Some(Pass::Drop);
        }
        let flow = self.flows.get_mut(&key)?;
        if let Some(shift) = flow.shift {
            let tcp = Tcp { ack: segment.tcp.ack.wrapping_add(shift), ..segment.tcp };
            segment.with(&tcp).into_iter().for_each(|frame| out.onward(frame));
            return Some(Pass::Drop);
        }
        if !flow.asked {
            flow.asked = true;
            let options = emit_options(&[TcpOption::Mss(MSS)]);
            let seq = segment.tcp.seq.wrapping_sub(1);
            let opening = Tcp { seq, ack: 0, flags: TcpFlags::SYN, options: &options, ..segment.tcp };
            let bare = Segment { payload: &[], ..*segment };
            bare.with(&opening).into_iter().for_each(|frame| out.onward(frame));
        }
        let matters = !segment.payload.is_empty() || segment.tcp.flags.has(TcpFlags::FIN);
        if matters && flow.held.len() < HELD_LIMIT {
            flow.held.extend(segment.with(&segment.tcp));
        }
        Some(Pass::Drop)
    }

    /// Our own answer to a SYN, without the options we could not keep on the server's behalf.
    fn accept(&mut self, key: (Endpoint, Endpoint), segment: &Segment<'_>, out: &mut Emit) {
        if self.flows.len() >= FLOW_LIMIT {
            self.flows.clear();
        }
        let our_seq = segment.tcp.seq ^ 0x5a5a_5a5a;
        self.flows.insert(key, Flow { our_seq, shift: None, asked: false, held: Vec::new() });
        self.interposed += 1;
        let options = emit_options(&[TcpOption::Mss(MSS)]);
        let flags = TcpFlags::SYN.with(TcpFlags::ACK);
        let back = Tcp::new(segment.tcp.dst_port, segment.tcp.src_port, flags);
        let ack = segment.tcp.seq.wrapping_add(1);
        let answer = Tcp { seq: our_seq, ack, window: WINDOW, options: &options, ..back };
        segment.answer(&answer).into_iter().for_each(|frame| out.back(frame));
    }

    fn handle_server(&mut self, segment: &Segment<'_>, out: &mut Emit) -> Option<Pass> {
        let flow = self.flows.get_mut(&(segment.dst(), segment.src()))?;
        let tcp = &segment.tcp;
        if tcp.flags.has(TcpFlags::SYN) {
            let shift = tcp.seq.wrapping_sub(flow.our_seq);
            if flow.shift.replace(shift).is_none() {
                self.spliced += 1;
            }
            let back = Tcp::new(tcp.dst_port, tcp.src_port, TcpFlags::ACK);
            let answer = Tcp { seq: tcp.ack, ack: tcp.seq.wrapping_add(1), window: WINDOW, ..back };
            segment.answer(&answer).into_iter().for_each(|frame| out.back(frame));
            for frame in std::mem::take(&mut flow.held) {
                out.back.extend(shifted(&frame, shift));
            }
            return Some(Pass::Drop);
        }
        let seq = match flow.shift {
            Some(shift) => tcp.seq.wrapping_sub(shift),
            None => {
                // The server refuses what we accepted in its name.
                self.refused += 1;
                flow.our_seq.wrapping_add(1)
            }
        };
        segment.with(&Tcp { seq, ..*tcp }).into_iter().for_each(|frame| out.onward(frame));
        Some(Pass::Drop)
    }
}

/// A held segment of the client with its acknowledgement in the server's numbers.
fn shifted(frame: &[u8], shift: u32) -> Option<Vec<u8>> {
    let seen = Seen::look(frame)?;
    let (tcp, payload) = seen.tcp()?;
    let segment = Segment { ethernet: seen.ethernet, ip: seen.ip, tcp, payload };
    segment.with(&Tcp { ack: tcp.ack.wrapping_add(shift), ..tcp })
}

impl Middlebox for Interposer {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, _now: Instant, out: &mut Emit) -> Pass {
        let Some(seen) = Seen::look(frame) else {
            return Pass::Forward;
        };
        let Some((tcp, payload)) = seen.tcp() else {
            return Pass::Forward;
        };
        let segment = Segment { ethernet: seen.ethernet, ip: seen.ip, tcp, payload };
        let mut state = self.lock();
        let pass = if direction == self.clients { state.handle_client(&segment, out) } else { state.handle_server(&segment, out) };
        pass.unwrap_or(Pass::Forward)
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let counters = [("interposed", state.interposed), ("spliced", state.spliced), ("refused", state.refused)];
        counters.map(|(name, count)| (name.to_owned(), count)).into()
    }
}
