//! The facts of one moment on one host, as its kernel told them. Unknown is `None` or absent, never 0.

use crate::observation::{Link, NeighborState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One look at the network namespace of the calling thread, and at the host around it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSample {
    /// Wall clock, Unix milliseconds.
    pub unix_ms: u64,
    /// A clock that never steps; only its differences mean something.
    pub monotonic_ms: f64,
    /// Name of the host (of its UTS namespace).
    pub hostname: Option<String>,
    /// Inode of the network namespace (`/proc/thread-self/ns/net`).
    pub namespace: Option<u64>,
    /// It is the namespace of process 1, where readable.
    pub first_namespace: Option<bool>,
    /// Interfaces; loopback included.
    pub links: Vec<LinkSample>,
    /// `/proc/net/softnet_stat`, one entry a CPU. Of the whole host.
    pub softnet: Vec<SoftnetCpu>,
    /// Neighbour tables (ARP, ND), one a family. Their size is the whole host's, in every namespace.
    pub neighbor_tables: Vec<NeighborTableSample>,
    /// Neighbour entries of this namespace by state: `reachable`, `failed`, ...
    pub neighbors: BTreeMap<String, u64>,
    /// Entries in state FAILED or INCOMPLETE, a few of them: `address on interface`.
    pub unresolved_neighbors: Vec<String>,
    /// Neighbours that do not answer although connections to them are being opened.
    pub unreached: Vec<UnreachedSample>,
    /// Next hops of routes.
    pub gateways: Vec<GatewaySample>,
    /// Every counter of `snmp`, `netstat` and `snmp6` by name, such as `Tcp.RetransSegs`.
    pub counters: BTreeMap<String, u64>,
    /// `sockstat` and `sockstat6`, such as `TCP.tw`, `TCP.orphan`, `TCP.mem`, `FRAG.memory`.
    pub sockstat: BTreeMap<String, u64>,
    /// Connection tracking; `None` where this kernel or namespace has none.
    pub conntrack: Option<ConntrackSample>,
    /// TCP sockets, counted.
    pub tcp: Option<TcpSample>,
    /// Listening TCP sockets.
    pub listeners: Vec<ListenerSample>,
    /// The ephemeral ports.
    pub ports: Option<PortRange>,
    /// Source and destination pairs that hold the most ephemeral ports, fullest first.
    pub destinations: Vec<DestinationSample>,
    /// UDP sockets.
    pub udp: Option<UdpSample>,
    /// File descriptors.
    pub fds: FdSample,
    /// Path MTUs that the kernel learned.
    pub learned_mtus: Vec<LearnedMtu>,
    /// Processes that listen, where they may be looked at.
    pub processes: Vec<ProcessSample>,
    /// Pressure stall information by resource (`cpu`, `memory`, `io`). Of the whole host.
    pub pressure: BTreeMap<String, PressureSample>,
    /// CPU time. Of the whole host.
    pub cpu: Option<CpuSample>,
    /// Certificates of our own TLS listeners; only if they were asked for.
    pub certificates: Option<Vec<CertificateSample>>,
    /// Settings that bound or change the readings, by name: `net.ipv4.tcp_max_tw_buckets`.
    pub sysctls: BTreeMap<String, String>,
    /// What could not be read, and why.
    pub unavailable: Vec<Unavailable>,
}

/// A reading that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// Which: the name of a source, such as `conntrack`.
    pub reading: String,
    /// Why not, in words.
    pub why: String,
}

/// One interface with its counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkSample {
    /// State, speed, duplex, addresses, driver. `on_path` says that a route leads out here.
    pub link: Link,
    /// Kind by rtnetlink (`veth`, `bridge`, `vlan`); `None` for hardware and its emulations.
    #[serde(default)]
    pub kind: Option<String>,
    /// `IFLA_STATS64` by kernel name, such as `rx_bytes`.
    pub stats: BTreeMap<String, u64>,
    /// `IFLA_CARRIER_CHANGES`: up and down counted.
    pub carrier_changes: Option<u64>,
    /// The root queue's kind, such as `fq_codel`.
    #[serde(default)]
    pub qdisc: Option<String>,
    /// Packets that the root and ingress queues dropped; 32 bits wide in the kernel.
    pub qdisc_drops: Option<u64>,
    /// Packets waiting in the root queue.
    pub qdisc_queued: Option<u64>,
    /// Rate to which the root queue shapes what is sent (`tbf`), bits a second.
    #[serde(default)]
    pub shaped_bps: Option<u64>,
    /// `IFLA_TXQLEN`: packets that a plain queue holds.
    pub tx_queue_len: Option<u64>,
    /// Descriptor rings of the driver; virtual links have none.
    pub ring: Option<RingSample>,
    /// Routes of this namespace that lead out here through a router.
    #[serde(default)]
    pub gateway_routes: u32,
}

/// Sizes of the driver's rings (`ETHTOOL_GRINGPARAM`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingSample {
    /// Descriptors for received frames.
    pub rx: u32,
    /// The most that the driver can have.
    pub rx_max: u32,
    /// Descriptors for frames to send.
    pub tx: u32,
    /// The most that the driver can have.
    pub tx_max: u32,
}

/// One line of `softnet_stat` (`softnet_seq_show`, net/core/net-procfs.c).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftnetCpu {
    /// Packets taken in.
    pub processed: u64,
    /// Packets dropped because the backlog of the CPU was full (`netdev_max_backlog`).
    pub dropped: u64,
    /// Times that the budget ended before the work.
    pub squeezed: u64,
    /// Packets that wait in the backlog now; kernels before 5.10 do not tell.
    pub queued: Option<u64>,
}

/// One family's neighbour table (`RTM_GETNEIGHTBL`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborTableSample {
    /// IPv6 (ND) rather than IPv4 (ARP).
    pub v6: bool,
    /// Entries, of the whole host.
    pub entries: Option<u64>,
    /// `gc_thresh1`, `gc_thresh2`, `gc_thresh3`.
    pub thresholds: [Option<u64>; 3],
    /// Entries refused because the table was full.
    pub table_fulls: Option<u64>,
    /// Collections forced because the table was nearly full.
    pub forced_gc_runs: Option<u64>,
    /// Solicitations that nobody answered.
    pub resolution_failures: Option<u64>,
}

/// A next hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySample {
    /// Its address.
    pub address: IpAddr,
    /// The interface toward it.
    pub iface: String,
    /// A default route leads through it.
    pub default: bool,
    /// State of its neighbour entry; `None` where it could not be read.
    pub state: Option<NeighborState>,
    /// Its link-layer address.
    pub mac: Option<String>,
    /// Milliseconds since the state changed. Unanswered requests that are repeated change it every few seconds.
    #[serde(default)]
    pub updated_ms: Option<u64>,
}

/// A station on a link of ours that does not answer, and that programs try to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachedSample {
    /// Its address.
    pub address: IpAddr,
    /// The interface toward it.
    pub iface: String,
    /// Connections in SYN_SENT.
    pub connecting: u64,
}

/// Connection tracking of this namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackSample {
    /// Entries of this namespace.
    pub count: Option<u64>,
    /// The most that a namespace may have (`nf_conntrack_max`).
    pub max: Option<u64>,
    /// Buckets of the hash table.
    pub buckets: Option<u64>,
    /// `/proc/net/stat/nf_conntrack`, over all CPUs, by name: `drop`, `insert_failed`, `early_drop`, ...
    pub stats: BTreeMap<String, u64>,
}

/// TCP sockets of this namespace, counted in one pass.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpSample {
    /// All were seen; otherwise the counts are lower bounds.
    pub whole: bool,
    /// Sockets by state name, such as `CLOSE_WAIT`.
    pub states: BTreeMap<String, u64>,
    /// Established ones to or from elsewhere than this host itself.
    pub established_remote: u64,
    /// Established ones with data out, unacknowledged, whose retransmission backed off at least twice.
    pub backing_off: u64,
    /// Established ones whose peer closed its window while data waits (`snd_wnd` 0 or window probes).
    pub zero_window: u64,
    /// Established ones that hold received bytes which no program has read.
    pub unread: u64,
    /// Established ones that received nothing for an hour.
    pub idle_hour: u64,
    /// CLOSE_WAIT: the peer closed, the program has not. By our own listening port (`:443`) or by destination
    /// (`10.0.0.5:5432`), those with the most.
    pub close_wait: BTreeMap<String, u64>,
    /// A few of the sockets that are stuck, longest first.
    pub stuck: Vec<StuckSocket>,
}

/// A connection that does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckSocket {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The peer's window is closed; else data is out and unacknowledged.
    pub zero_window: bool,
    /// Doublings of its timer.
    pub backoff: u8,
    /// Milliseconds since anything arrived.
    pub silent_ms: u64,
}

/// A listening TCP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSample {
    /// What it is bound to.
    pub bound: SocketAddr,
    /// Connections that wait for `accept`.
    pub waiting: u64,
    /// How many may wait (`listen` backlog and `somaxconn`); one more still fits.
    pub limit: u64,
    /// Half-open connections (SYN_RECV) to its address.
    pub half_open: u64,
    /// Inode of the socket.
    pub inode: u32,
    /// The process that holds it, where that may be seen.
    pub pid: Option<u32>,
    /// Its name.
    pub program: Option<String>,
}

/// Ephemeral ports of this namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// First (`ip_local_port_range`).
    pub low: u16,
    /// Last.
    pub high: u16,
    /// Of these, the ones that `ip_local_reserved_ports` holds back.
    pub reserved: u32,
}

impl PortRange {
    /// Ports that `connect` can choose from.
    #[must_use]
    pub fn usable(&self) -> u64 {
        let all = u64::from(self.high).saturating_sub(u64::from(self.low)) + 1;
        all.saturating_sub(u64::from(self.reserved))
    }
}

/// Ephemeral ports in use between one source address and one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationSample {
    /// Our address.
    pub source: IpAddr,
    /// The other end.
    pub destination: SocketAddr,
    /// Local ports within the range, TIME_WAIT included.
    pub used: u64,
    /// Of these, in TIME_WAIT.
    pub time_wait: u64,
}

/// UDP sockets of this namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpSample {
    /// How many.
    pub sockets: u64,
    /// Those that dropped or whose buffer fills, worst first.
    pub worst: Vec<UdpSocketSample>,
}

/// One UDP socket (`INET_DIAG_SKMEMINFO`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpSocketSample {
    /// What it is bound to.
    pub bound: SocketAddr,
    /// Inode of the socket.
    pub inode: u32,
    /// Bytes that wait to be read, with their overhead.
    pub receive_used: u64,
    /// `SO_RCVBUF` as the kernel counts it.
    pub receive_limit: u64,
    /// Datagrams dropped because the buffer was full, since the socket was opened.
    pub drops: u64,
    /// The process that holds it, where that may be seen.
    pub program: Option<String>,
}

/// Open descriptors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FdSample {
    /// Open files of the whole host (`/proc/sys/fs/file-nr`).
    pub host_open: Option<u64>,
    /// The most that it may have (`fs.file-max`).
    pub host_max: Option<u64>,
    /// Processes that use most of their own limit, fullest first.
    pub processes: Vec<ProcessFds>,
}

/// Descriptors of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFds {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub program: String,
    /// Open descriptors.
    pub open: u64,
    /// `RLIMIT_NOFILE`, soft.
    pub limit: u64,
}

/// A path MTU that an ICMP message taught the kernel (RFC 1191, RFC 8201).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedMtu {
    /// The destination.
    pub destination: IpAddr,
    /// Bytes.
    pub mtu: u32,
    /// MTU of the interface toward it.
    pub link_mtu: Option<u32>,
    /// Seconds until it is forgotten.
    pub expires_s: Option<u64>,
}

/// A process that listens, as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub program: String,
    /// `R` runs, `S` sleeps, `D` waits for a disk, `T` and `t` are stopped, `Z` is dead.
    pub state: char,
    /// Threads.
    pub threads: u64,
    /// CPU time used since it began, all threads, ms.
    pub cpu_ms: Option<u64>,
    /// Time that its main thread ran, ns (`schedstat`).
    pub ran_ns: Option<u64>,
    /// Time that its main thread was ready and waited for a CPU, ns.
    pub waited_ns: Option<u64>,
    /// What it listens on.
    pub listens: Vec<SocketAddr>,
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PressureSample {
    /// Microseconds since boot in which some task waited.
    pub some_us: u64,
    /// Share of the last ten seconds in which some task waited, percent.
    pub some_avg10: f64,
}

/// CPU time of the host, in ticks since boot (`/proc/stat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSample {
    /// CPUs.
    pub cpus: u32,
    /// All ticks.
    pub total: u64,
    /// Idle, and waiting for disks.
    pub idle: u64,
    /// Taken by the hypervisor for others.
    pub steal: u64,
    /// Spent on soft interrupts, such as receiving packets.
    pub softirq: u64,
}

/// The certificate of one of our own listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSample {
    /// The listener.
    pub listener: SocketAddr,
    /// Whom it names.
    pub subject: String,
    /// End of its validity, Unix seconds.
    pub not_after_unix_s: i64,
}
