//! One look at this host for `faultmap host`: every source once, bounded, without privilege and without a subprocess.
//! What cannot be read is named in `unavailable` and the rest goes on. Never says what a reading means.

mod links;
mod processes;
mod routes;
mod settings;
mod sockets;

use crate::HostError;
use crate::counters::CounterText;
use crate::netlink::Netlink;
use crate::tables;
use crate::{proc_text, procfs};
use faultmap_model::host::{ConntrackSample, HostSample, PortRange, Unavailable};
use processes::Holders;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Lines of `softnet_stat` are 140 bytes a CPU.
const SOFTNET_LIMIT: u64 = 1024 * 1024;
/// `/proc/stat` holds a line a CPU and one of all interrupts.
const STAT_LIMIT: u64 = 4 * 1024 * 1024;
const SMALL_LIMIT: u64 = 64 * 1024;

/// What to look at beyond the counters, which cost next to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Every TCP and UDP socket: about 1 µs each.
    pub sockets: bool,
    /// The programs behind the listeners, and descriptors of processes: some 20 µs a process.
    pub processes: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { sockets: true, processes: true }
    }
}

/// Takes one sample of the calling thread's network namespace. Never fails and never waits for the network.
#[must_use]
pub fn sample(wanted: &Wanted) -> HostSample {
    Sampler::new(*wanted).sample()
}

/// Takes samples one after another, and remembers which program holds which listener, since to find out costs more than
/// all the rest.
#[derive(Debug)]
pub struct Sampler {
    wanted: Wanted,
    holders: Holders,
}

impl Sampler {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, holders: Holders::default() }
    }

    /// Takes one sample of the calling thread's network namespace. Never fails and never waits for the network.
    #[must_use]
    pub fn sample(&mut self) -> HostSample {
        let mut sample = HostSample {
            unix_ms: unix_ms(),
            monotonic_ms: monotonic_ms(),
            hostname: line("/proc/sys/kernel/hostname"),
            namespace: namespace("/proc/thread-self/ns/net"),
            ..HostSample::default()
        };
        let first = namespace("/proc/1/ns/net");
        sample.first_namespace = sample.namespace.zip(first).map(|(own, first)| own == first);
        counters(&mut sample);
        from_netlink(&mut sample);
        global_counters(&mut sample);
        conntrack(&mut sample);
        sample.sysctls = settings::read();
        sample.ports = port_range();
        if self.wanted.sockets {
            sockets::read(&mut sample);
        } else {
            sample.unreached.clear();
            missing(&mut sample, "sockets", &"not asked for");
        }
        processes::host_descriptors(&mut sample);
        if self.wanted.processes {
            self.holders.read(&mut sample);
        } else {
            missing(&mut sample, "processes", &"not asked for");
        }
        sample
    }
}

/// Names what could not be read.
fn missing(sample: &mut HostSample, reading: &str, why: &dyn std::fmt::Display) {
    sample.unavailable.push(Unavailable { reading: reading.to_owned(), why: why.to_string() });
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// Since boot, so that samples of two runs compare; finer than `/proc/uptime` within one.
fn monotonic_ms() -> f64 {
    static START: LazyLock<(Instant, f64)> = LazyLock::new(|| {
        let uptime = line("/proc/uptime").and_then(|text| text.split_ascii_whitespace().next()?.parse::<f64>().ok());
        (Instant::now(), uptime.filter(|seconds| seconds.is_finite()).unwrap_or_default() * 1000.0)
    });
    START.1 + START.0.elapsed().as_secs_f64() * 1000.0
}

/// The file's first line, made printable.
fn line(path: &str) -> Option<String> {
    let text = procfs::read(path, SMALL_LIMIT).ok()?;
    let line: String = text.lines().next()?.chars().filter(|c| !c.is_control()).take(256).collect();
    (!line.is_empty()).then_some(line)
}

/// `net:[4026531840]`.
fn namespace(path: &str) -> Option<u64> {
    let link = std::fs::read_link(path).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn counters(sample: &mut HostSample) {
    let (text, failed) = CounterText::read();
    sample.counters = text.parse();
    for error in failed {
        missing(sample, "counters", &error);
    }
    for name in ["sockstat", "sockstat6"] {
        match procfs::read(&format!("{}/{name}", procfs::NET), SMALL_LIMIT) {
            Ok(text) => sample.sockstat.extend(proc_text::sockstat(&text)),
            // A kernel without IPv6 has no second one.
            Err(error) if name == "sockstat" => missing(sample, name, &error),
            Err(_) => {}
        }
    }
}

/// Counters of the whole host, in whatever namespace they are read.
fn global_counters(sample: &mut HostSample) {
    match procfs::read(&format!("{}/softnet_stat", procfs::NET), SOFTNET_LIMIT) {
        Ok(text) => sample.softnet = proc_text::softnet(&text),
        Err(error) => missing(sample, "softnet", &error),
    }
    match procfs::read("/proc/stat", STAT_LIMIT) {
        Ok(text) => sample.cpu = proc_text::cpu(&text),
        Err(error) => missing(sample, "cpu", &error),
    }
    for resource in ["cpu", "memory", "io"] {
        match procfs::read(&format!("/proc/pressure/{resource}"), SMALL_LIMIT) {
            Ok(text) => {
                sample.pressure.extend(proc_text::pressure(&text).map(|read| (resource.to_owned(), read)));
            }
            Err(error) if resource == "cpu" => missing(sample, "pressure", &error),
            Err(_) => {}
        }
    }
}

fn from_netlink(sample: &mut HostSample) {
    let mut netlink = match Netlink::route() {
        Ok(netlink) => netlink,
        Err(error) => return missing(sample, "links, routes and neighbours", &error),
    };
    links::read(&mut netlink, sample);
    // Each on its own: a table that is cut short uses its socket up.
    type Read = fn(&mut HostSample) -> Result<(), HostError>;
    let told: [(&str, Read); 4] = [
        ("routes", routes::read),
        ("learned MTUs", routes::read_learned),
        ("neighbours", routes::read_neighbors),
        ("neighbour tables", routes::read_neighbor_tables),
    ];
    for (reading, read) in told {
        if let Err(error) = read(sample) {
            missing(sample, reading, &error);
        }
    }
}

fn conntrack(sample: &mut HostSample) {
    let (count, max) = tables::conntrack_fill();
    let stats = tables::conntrack_stats();
    if count.is_none() && max.is_none() {
        if let Some(error) = stats.as_ref().err().filter(|_| !std::path::Path::new("/proc/sys/net").exists()) {
            return missing(sample, "conntrack", error);
        }
        return missing(sample, "conntrack", &"this namespace has no connection tracking (nf_conntrack is not loaded)");
    }
    if let Err(error) = &stats {
        missing(sample, "conntrack drops", error);
    }
    let buckets = procfs::number("/proc/sys/net/netfilter/nf_conntrack_buckets");
    sample.conntrack = Some(ConntrackSample { count, max, buckets, stats: stats.unwrap_or_default() });
}

fn port_range() -> Option<PortRange> {
    let (low, high) = tables::port_range()?;
    let reserved = procfs::read("/proc/sys/net/ipv4/ip_local_reserved_ports", SMALL_LIMIT).unwrap_or_default();
    Some(PortRange { low, high, reserved: proc_text::reserved_ports(&reserved, low, high) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_model::HostReport;

    #[test]
    fn two_samples_of_this_host_make_a_report_whose_counters_are_read() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let at = socket.local_addr().expect("bound");
        let mut sampler = Sampler::new(Wanted::default());
        let (before, after) = (sampler.sample(), sampler.sample());
        assert!(after.counters.contains_key("Tcp.RetransSegs"), "{:?}", after.unavailable);
        assert!(after.links.iter().any(|link| link.link.loopback));
        let own = after.listeners.iter().find(|listener| listener.bound == at).expect("our own listener");
        assert_eq!(own.pid, Some(std::process::id()));
        assert!(after.processes.iter().any(|process| process.listens.contains(&at)));
        let report = HostReport::new(&before, &after, &[]);
        assert_eq!(report.layers.len(), 7);
        assert!(after.monotonic_ms >= before.monotonic_ms);
    }

    #[test]
    fn what_was_not_asked_for_is_named() {
        let sample = sample(&Wanted { sockets: false, processes: false });
        let named = |reading: &str| sample.unavailable.iter().any(|missing| missing.reading == reading);
        assert!(named("sockets") && named("processes") && sample.tcp.is_none());
    }
}
