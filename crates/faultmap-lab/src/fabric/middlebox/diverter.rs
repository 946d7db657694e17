//! Sends connections to some ports to another host, whatever address they were meant for, and answers in that address's name: what the
//! gateway of a captive portal does (DNAT). It never looks into a connection.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use faultmap_wire::rewrite::{Side, set_endpoint};

use super::seen::Seen;
use super::{Emit, Middlebox, Pass};
use crate::fabric::Direction;

/// Connections remembered; beyond that all are forgotten and die.
const FLOW_LIMIT: usize = 10_000;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// The meant address of a connection, by its client, its port and the port meant.
type Meant = HashMap<(IpAddr, u16, u16), IpAddr>;

#[derive(Debug, Default)]
struct State {
    meant: Meant,
    diverted: u64,
}

/// The diverter. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Diverter {
    name: String,
    clients: Direction,
    ports: Vec<u16>,
    to: Vec<IpAddr>,
    state: Arc<Mutex<State>>,
}

impl Diverter {
    /// Diverts connections to `ports` whose first segment travels in `clients` direction to the address of `to` of their family.
    pub fn new(name: &str, clients: Direction, ports: Vec<u16>, to: Vec<IpAddr>) -> Diverter {
        Diverter { name: name.to_owned(), clients, ports, to, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn host(&self, family_of: IpAddr) -> Option<IpAddr> {
        self.to.iter().copied().find(|to| to.is_ipv4() == family_of.is_ipv4())
    }

    /// The side of the packet to be changed, and the address it gets.
    fn change(&self, direction: Direction, seen: &Seen<'_>) -> Option<(Side, IpAddr)> {
        let (tcp, _) = seen.tcp()?;
        let (src, dst) = (seen.ip.src, seen.ip.dst);
        let mut state = self.lock();
        if direction == self.clients {
            let host = self.host(dst).filter(|host| *host != dst && self.ports.contains(&tcp.dst_port))?;
            if state.meant.len() >= FLOW_LIMIT {
                state.meant.clear();
            }
            state.meant.insert((src, tcp.src_port, tcp.dst_port), dst);
            state.diverted += 1;
            return Some((Side::Destination, host));
        }
        let meant = state.meant.get(&(dst, tcp.dst_port, tcp.src_port)).copied();
        meant.filter(|_| self.host(src) == Some(src)).map(|meant| (Side::Source, meant))
    }
}

impl Middlebox for Diverter {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, _now: Instant, _out: &mut Emit) -> Pass {
        let change = Seen::look(frame).and_then(|seen| self.change(direction, &seen));
        if let (Some((side, addr)), Some(packet)) = (change, frame.get_mut(ETHERNET..)) {
            // A packet that cannot be changed goes on as it is.
            let _ = set_endpoint(packet, side, addr, None);
        }
        Pass::Forward
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([("diverted".to_owned(), self.lock().diverted)])
    }
}
