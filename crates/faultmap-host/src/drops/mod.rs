//! Where in the kernel packets die: a small program, attached to the kernel's tracepoint `kfree_skb`, counts them by reason,
//! namespace, function and flow.
//!
//! The program is written here, instruction by instruction, for the kernel that describes itself in `/sys/kernel/btf/vmlinux`; it
//! reads headers and never content, changes nothing, and is gone when the watch is dropped. It needs CAP_BPF and CAP_PERFMON in
//! the first user namespace. Tables are of fixed size. Never says what a reason means: that is the model's.

mod assembler;
mod btf;
#[cfg(test)]
mod btf_writer;
mod layout;
mod processes;
mod program;
mod sys;
mod unavailable;

pub use layout::{Layout, LayoutError};
pub use processes::name_processes;
pub use unavailable::DropsUnavailable;

use crate::netlink::{text, u32_at, u64_at};
use faultmap_model::host::drops::{DropCount, DropSample, FlowCount};
use program::{COUNT_KEY_LEN, COUNT_VALUE_LEN, ELSEWHERE, FLOW_KEY_LEN, FLOW_VALUE_LEN, LOST, Maps, SYMBOL_FORMAT, TOTALS_LEN};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use sys::{Map, MapKind, MapShape};

const DESCRIPTION: &str = "/sys/kernel/btf/vmlinux";
/// Some 6 MB on a distribution's kernel.
const DESCRIPTION_MAX: u64 = 64 * 1024 * 1024;
/// Reasons times places times namespaces. A busy host has some tens in one namespace.
const COUNTS_MAX: u32 = 4096;
const FLOWS_MAX: u32 = 4096;

const COUNTS: MapShape = MapShape { kind: MapKind::Hash, key_len: COUNT_KEY_LEN, value_len: COUNT_VALUE_LEN, entries: COUNTS_MAX };
const FLOWS: MapShape = MapShape { kind: MapKind::LruHash, key_len: FLOW_KEY_LEN, value_len: FLOW_VALUE_LEN, entries: FLOWS_MAX };
const TOTALS: MapShape = MapShape { kind: MapKind::Array, key_len: 4, value_len: TOTALS_LEN, entries: 1 };
const FORMAT: MapShape = MapShape { kind: MapKind::Array, key_len: 4, value_len: SYMBOL_FORMAT.len(), entries: 1 };

/// Whose drops to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of the calling thread's network namespace.
    OwnNamespace,
    /// Those of the namespace with this inode.
    Namespace(u32),
    /// Those of every namespace.
    All,
}

/// A count of drops that goes on until this is dropped.
#[derive(Debug)]
pub struct DropWatch {
    layout: Layout,
    counts: Map,
    flows: Map,
    totals: Map,
    /// Read by the program only; it lives as long as the program.
    _format: Map,
    program: OwnedFd,
    _attachment: OwnedFd,
    namespace: Option<u32>,
    began: Instant,
}

impl DropWatch {
    /// Begins to count.
    pub fn start(scope: Scope) -> Result<Self, DropsUnavailable> {
        let layout = Layout::read(&description()?)?;
        let namespace = match scope {
            Scope::OwnNamespace => Some(own_namespace()?),
            Scope::Namespace(inode) => Some(inode),
            Scope::All => None,
        };
        let create = |shape, read_only| Map::create(shape, read_only).map_err(unavailable::refused);
        let (counts, flows, totals, format) =
            (create(COUNTS, false)?, create(FLOWS, false)?, create(TOTALS, false)?, create(FORMAT, true)?);
        format.fill_and_freeze(SYMBOL_FORMAT).map_err(unavailable::refused)?;
        let maps = Maps { counts: counts.fd(), flows: flows.fd(), totals: totals.fd(), format: format.fd() };
        let code = program::program(&layout, maps, namespace)?;
        let program = sys::load(&code).map_err(unavailable::refused)?;
        let attachment = sys::attach(&program, c"kfree_skb").map_err(unavailable::refused)?;
        let began = Instant::now();
        Ok(Self { layout, counts, flows, totals, _format: format, program, _attachment: attachment, namespace, began })
    }

    /// Everything counted so far.
    pub fn read(&self) -> Result<DropSample, DropsUnavailable> {
        let age_ms = self.began.elapsed().as_secs_f64() * 1000.0;
        let mut counts = Vec::new();
        self.counts.each(|key, value| counts.extend(self.count(key, value))).map_err(unavailable::refused)?;
        let mut flows = Vec::new();
        self.flows.each(|key, value| flows.extend(self.flow(key, value))).map_err(unavailable::refused)?;
        let totals = self.totals.first().map_err(unavailable::refused)?;
        let total = |place: i32| usize::try_from(place).ok().and_then(|place| u64_at(&totals, place)).unwrap_or(0);
        let lost = total(LOST).saturating_add(self.missed());
        Ok(DropSample { age_ms, namespace: self.namespace, counts, flows, elsewhere: total(ELSEWHERE), lost })
    }

    /// How often the kernel did not run the program, since it ran on the same CPU already: a drop in an interrupt within a drop.
    fn missed(&self) -> u64 {
        let path = format!("/proc/thread-self/fdinfo/{}", self.program.as_raw_fd());
        let text = crate::procfs::read(&path, 4096).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok()).unwrap_or(0)
    }

    fn count(&self, key: &[u8], value: &[u8]) -> Option<DropCount> {
        let symbol = text(value.get(8..)?);
        // An address that belongs to no function is printed as a number, which would tell where the kernel lies in memory.
        let named = !symbol.is_empty() && !symbol.starts_with("0x");
        Some(DropCount {
            reason: self.layout.reason_name(u32_at(key, 0)?),
            namespace: u32_at(key, 4).filter(|&inode| inode != 0),
            location: named.then(|| symbol.chars().filter(|c| !c.is_control()).collect()),
            count: u64_at(value, 0)?,
        })
    }

    fn flow(&self, key: &[u8], value: &[u8]) -> Option<FlowCount> {
        let version = *key.get(45)?;
        Some(FlowCount {
            reason: self.layout.reason_name(u32_at(key, 0)?),
            namespace: u32_at(key, 4)?,
            protocol: *key.get(44)?,
            source: address(version, key.get(8..24)?)?,
            destination: address(version, key.get(24..40)?)?,
            transport: *key.get(40..44)?.first_chunk()?,
            count: u64_at(value, 0)?,
            socket: u64_at(value, 8).filter(|&inode| inode != 0),
        })
    }
}

fn address(version: u8, bytes: &[u8]) -> Option<IpAddr> {
    match version {
        4 => bytes.first_chunk::<4>().map(|v4| Ipv4Addr::from(*v4).into()),
        6 => bytes.first_chunk::<16>().map(|v6| Ipv6Addr::from(*v6).into()),
        _ => None,
    }
}

fn description() -> Result<Vec<u8>, DropsUnavailable> {
    let mut bytes = Vec::new();
    let read = File::open(DESCRIPTION).and_then(|file| {
        bytes.reserve(file.metadata().map_or(0, |meta| meta.len().min(DESCRIPTION_MAX)) as usize);
        file.take(DESCRIPTION_MAX).read_to_end(&mut bytes)
    });
    read.map(|_| bytes).map_err(DropsUnavailable::NoDescription)
}

/// The inode of the calling thread's network namespace: 32 bits in the kernel (`ns_common.inum`).
fn own_namespace() -> Result<u32, DropsUnavailable> {
    let inode = std::fs::metadata("/proc/thread-self/ns/net").map_err(DropsUnavailable::NoNamespace)?.ino();
    u32::try_from(inode).map_err(|_| DropsUnavailable::NoNamespace(std::io::ErrorKind::InvalidData.into()))
}

#[cfg(test)]
#[path = "drops_tests.rs"]
mod tests;
