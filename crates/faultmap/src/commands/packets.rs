//! `check --capture FILE`: records the packets of the check beside it, keeps those that concern it, and says which observation they show.
//!
//! Everything that passes an interface is looked at while the check runs, for the names are not resolved when it begins; kept are packets to and from
//! the addresses that the check met. Other programs that speak with the same addresses at that time are in the file too.

mod findings;

use super::{file, keylog};
use crate::terminal;
use anyhow::{Context as _, bail};
use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::live::{Live, LiveError, Wanted};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_capture::pcapng::PcapNgWriter;
use faultmap_model::observation::{NotAsked, Packets, PacketsOf};
use faultmap_model::{Observation, Recording, Seen};
use faultmap_wire::dissect::{LinkType, Network, Transport, Verdict, checksums, dissect};
use faultmap_wire::{IpPacket, Tcp, TcpFlags, icmp, icmpv6};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of packets kept in memory while the check runs.
const MOST_BYTES: usize = 64 << 20;
/// Packet numbers told for each observation.
const MOST_NUMBERS: usize = 16;
/// How long one look waits; also how late the end is noticed.
const LOOK: Duration = Duration::from_millis(100);
/// The wall clock of the header is in whole milliseconds.
const SLACK_MS: f64 = 2.0;

/// A recording beside a check.
pub(super) struct Beside {
    path: PathBuf,
    running: Result<(Arc<AtomicBool>, JoinHandle<Kept>), String>,
    /// Session keys, where the file is to hold them.
    keys: Option<keylog::Kept>,
}

/// What passed the interfaces.
#[derive(Default)]
struct Kept {
    packets: Vec<Entry>,
    bytes: Vec<u8>,
    beyond: u64,
    dropped: u64,
}

struct Entry {
    interface: Arc<str>,
    at: Stamp,
    link: LinkType,
    wire_len: u32,
    start: usize,
    len: usize,
}

impl Beside {
    /// Begins to record. Without CAP_NET_RAW the check goes on without packets; `end` says so in the recording.
    pub(super) fn begin(path: Option<&Path>, keys: Option<keylog::Kept>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        if path == Path::new("-") || path.is_dir() {
            bail!("--capture wants a file to write, not {}", path.display());
        }
        file::writable(path).context("--capture")?;
        let running = match Live::open(&Wanted::on("any")) {
            Ok(live) => {
                let stop = Arc::new(AtomicBool::new(false));
                let seen = Arc::clone(&stop);
                Ok((stop, std::thread::spawn(move || record(live, &seen))))
            }
            Err(error @ LiveError::NotAllowed { .. }) => {
                terminal::say(&format!("faultmap: no packets are recorded: {error}\n"));
                Err(error.to_string())
            }
            Err(error) => return Err(error).context("--capture"),
        };
        Ok(Some(Self { path: path.to_owned(), running, keys }))
    }

    /// Ends it, writes the file, and adds to the recording what was found.
    pub(super) fn end(self, recording: &mut Recording) -> anyhow::Result<()> {
        let seen = match self.running {
            Ok((stop, thread)) => {
                stop.store(true, Ordering::Relaxed);
                let kept = thread.join().map_err(|_| anyhow::anyhow!("the recording of packets failed"))?;
                let keys = self.keys.map(|keys| std::mem::take(&mut *keys.lock().unwrap_or_else(PoisonError::into_inner)));
                Seen::from(kept.conclude(recording, &self.path, &keys.unwrap_or_default())?)
            }
            Err(why) => Seen::from(NotAsked {
                question: "packets".to_owned(),
                why,
                would_settle: "which packets went out and what came back".to_owned(),
                missing: Some("CAP_NET_RAW".to_owned()),
            }),
        };
        let id = recording.observations.last().map_or(0, |last| last.id).saturating_add(1);
        recording.observations.push(Observation { id, layer: seen.layer(), at_ms: recording.header.total_ms, took_ms: 0.0, seen });
        Ok(())
    }
}

fn record(mut live: Live, stop: &AtomicBool) -> Kept {
    let mut kept = Kept::default();
    let mut name: Arc<str> = Arc::from("");
    loop {
        // Looked at before the read: what is in the ring when the check ends is still taken in.
        let last = stop.load(Ordering::Relaxed);
        let read = live.read(LOOK, |interface, packet| {
            if *name != *interface {
                name = Arc::from(interface);
            }
            kept.take(&name, packet);
        });
        if last || read.is_err() {
            kept.dropped = live.counts().dropped;
            return kept;
        }
    }
}

impl Kept {
    fn take(&mut self, interface: &Arc<str>, packet: &Captured<'_>) {
        if self.bytes.len().saturating_add(packet.bytes.len()) > MOST_BYTES {
            self.beyond += 1;
            return;
        }
        let (start, len) = (self.bytes.len(), packet.bytes.len());
        self.bytes.extend_from_slice(packet.bytes);
        let Captured { at, link, wire_len, .. } = *packet;
        self.packets.push(Entry { interface: Arc::clone(interface), at, link, wire_len, start, len });
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        self.bytes.get(entry.start..entry.start + entry.len).unwrap_or_default()
    }

    /// Writes what concerns the check.
    fn conclude(&self, recording: &Recording, path: &Path, keys: &[u8]) -> anyhow::Result<Packets> {
        let met = Met::of(recording);
        let mut writer = PcapNgWriter::new(Vec::new())?;
        if !keys.is_empty() {
            writer.secrets(keys)?;
        }
        let mut ends = Vec::new();
        let mut analysis = Analysis::new(Limits::default());
        analysis.dropped(self.dropped, 0);
        for entry in &self.packets {
            let bytes = self.bytes(entry);
            let Some(packet) = Ends::of(entry, bytes).filter(|ends| met.concerns(ends)) else { continue };
            ends.push(packet);
            let interface = writer.interface(entry.link, &entry.interface)?;
            let number = PacketNo(ends.len() as u64);
            let packet = Captured { number, at: entry.at, link: entry.link, wire_len: entry.wire_len, bytes };
            writer.packet(interface, &packet)?;
            analysis.packet(&packet);
        }
        file::replace(path, &writer.into_inner()?).context("--capture")?;
        let started = recording.header.started_unix_ms as f64;
        let of = recording.observations.iter().filter_map(|observation| packets_of(observation, started, &ends)).collect();
        let (packets, file) = (ends.len() as u64, path.display().to_string());
        let whole = self.dropped == 0 && self.beyond == 0;
        let findings = findings::of(&analysis.finish(), recording, &ends, whole);
        Ok(Packets { file, packets, dropped: self.dropped, beyond: self.beyond, of, findings })
    }
}

/// Who speaks in a packet: ports 0 where there are none. For an ICMP error, what it quotes as well.
struct Ends {
    unix_ms: f64,
    from: SocketAddr,
    to: SocketAddr,
    quoted: Option<(SocketAddr, SocketAddr)>,
    segment: Option<Segment>,
}

/// What a TCP header says of the handshake.
#[derive(Clone, Copy)]
struct Segment {
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    /// No receiver drops it for its checksum.
    sound: bool,
}

impl Segment {
    fn of(tcp: &Tcp<'_>, checksum: Verdict) -> Self {
        Self { flags: tcp.flags, seq: tcp.seq, ack: tcp.ack, sound: checksum != Verdict::Bad }
    }
}

impl Ends {
    fn of(entry: &Entry, bytes: &[u8]) -> Option<Self> {
        let frame = dissect(entry.link, bytes, entry.wire_len as usize);
        let unix_ms = entry.at.0 as f64 / 1e6;
        match frame.network {
            Network::Arp(arp) => {
                let end = |address| SocketAddr::new(IpAddr::V4(address), 0);
                Some(Self { unix_ms, from: end(arp.sender_ip), to: end(arp.target_ip), quoted: None, segment: None })
            }
            Network::Ip(packet) => {
                let quoted = match packet.transport {
                    Transport::Icmp(header, rest) if is_error(header.kind) => ends(&IpPacket::parse(rest).ok()?),
                    Transport::Icmpv6(header, rest) if header.kind < icmpv6::ECHO_REQUEST => ends(&IpPacket::parse(rest).ok()?),
                    _ => None,
                };
                let (from, to) = ends(&packet.ip)?;
                let segment = match &packet.transport {
                    Transport::Tcp(tcp, _) => Some(Segment::of(tcp, checksums(&packet).transport)),
                    _ => None,
                };
                Some(Self { unix_ms, from, to, quoted, segment })
            }
            Network::Other(_) => None,
        }
    }

    fn opens(&self) -> bool {
        self.segment.is_some_and(|segment| segment.flags.is_opening())
    }

    fn has(&self, wanted: SocketAddr) -> bool {
        let is = |end: SocketAddr| end.ip() == wanted.ip() && (wanted.port() == 0 || end.port() == wanted.port());
        is(self.from) || is(self.to) || self.quoted.is_some_and(|(from, to)| is(from) || is(to))
    }
}

const fn is_error(kind: u8) -> bool {
    matches!(kind, icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM | icmp::REDIRECT)
}

fn ends(ip: &IpPacket<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let (from, to) = ip.ports().unwrap_or((0, 0));
    Some((SocketAddr::new(ip.src, from), SocketAddr::new(ip.dst, to)))
}

/// The addresses that the check met, its own left out; where it spoke with its own host, the ports.
struct Met {
    hosts: BTreeSet<IpAddr>,
    own_services: BTreeSet<SocketAddr>,
}

impl Met {
    fn of(recording: &Recording) -> Self {
        let mut own = BTreeSet::new();
        for observation in &recording.observations {
            if let Seen::Link(link) = &observation.seen {
                own.extend(link.addresses.iter().filter_map(|address| address.split(['/', ' ']).next()?.parse::<IpAddr>().ok()));
            }
        }
        let mut met = Self { hosts: BTreeSet::new(), own_services: BTreeSet::new() };
        for observation in recording.observations.iter().filter(|seen| !matches!(seen.seen, Seen::Link(_))) {
            let named = Named::of(observation);
            for socket in &named.remote {
                let is_own = own.contains(&socket.ip()) || socket.ip().is_loopback();
                if !is_own {
                    met.hosts.insert(socket.ip());
                } else if socket.port() != 0 {
                    met.own_services.insert(*socket);
                }
            }
        }
        met.hosts.retain(|host| !host.is_unspecified());
        met
    }

    fn concerns(&self, ends: &Ends) -> bool {
        let by_host = |end: SocketAddr| self.hosts.contains(&end.ip()) || self.own_services.contains(&end);
        by_host(ends.from) || by_host(ends.to) || ends.quoted.is_some_and(|(from, to)| by_host(from) || by_host(to))
    }
}

/// The addresses within an observation, wherever its kind keeps them.
#[derive(Default)]
struct Named {
    /// Our own end, where the observation tells it.
    local: Option<SocketAddr>,
    remote: BTreeSet<SocketAddr>,
}

impl Named {
    fn of(observation: &Observation) -> Self {
        let mut named = Self::default();
        if let Ok(value) = serde_json::to_value(&observation.seen) {
            named.local = value.get("local").and_then(|local| local.as_str()?.parse().ok());
            named.walk(&value);
        }
        if let Some(local) = named.local {
            named.remote.remove(&local);
        }
        named
    }

    fn walk(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => {
                let socket = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 0)));
                self.remote.extend(socket);
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| self.walk(value)),
            _ => {}
        }
    }
}

/// The packets to and from an observation's addresses, within its time.
fn packets_of(observation: &Observation, started: f64, ends: &[Ends]) -> Option<PacketsOf> {
    // Only what went over the network by our own doing.
    if matches!(
        observation.seen,
        Seen::Link(_) | Seen::DnsConfig(_) | Seen::HostsFile(_) | Seen::Route(_) | Seen::Baseline(_) | Seen::PeerReport(_)
    ) {
        return None;
    }
    let named = Named::of(observation);
    let from = started + observation.at_ms - SLACK_MS;
    let until = started + observation.at_ms + observation.took_ms + SLACK_MS;
    let shows = |packet: &Ends| {
        (from..=until).contains(&packet.unix_ms)
            // A bare ACK opens nothing: connects of the same time are others'.
            && !(packet.opens() && matches!(observation.seen, Seen::AckProbe(_)))
            && named.local.is_none_or(|local| packet.has(SocketAddr::new(local.ip(), local.port())))
            && named.remote.iter().any(|remote| packet.has(*remote))
    };
    let numbers = (1_u64..).zip(ends).filter(|(_, packet)| shows(packet)).map(|(number, _)| number);
    let numbers: Vec<u64> = numbers.collect();
    let first = numbers.iter().copied().take(MOST_NUMBERS).collect();
    (!numbers.is_empty()).then_some(PacketsOf { observation: observation.id, count: numbers.len() as u64, first })
}
