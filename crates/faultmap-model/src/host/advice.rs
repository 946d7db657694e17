//! Which setting to change, from what to what, and what that costs. Only suggests where the present value is known.

use super::findings::Advice;
use super::reading::Reading;
use super::sample::{LinkSample, ListenerSample};
use super::window::Window;

/// One entry of conntrack: `struct nf_conn` and its extensions, measured with 200,000 entries.
const CONNTRACK_BYTES: u64 = 260;
/// A neighbour entry with its interface data.
const NEIGHBOR_BYTES: u64 = 512;

fn advice(sysctl: impl Into<String>, present: impl ToString, suggested: impl ToString, costs: impl Into<String>) -> Option<Advice> {
    Some(Advice { sysctl: sysctl.into(), present: present.to_string(), suggested: suggested.to_string(), costs: costs.into() })
}

/// Twice the present value; `None` where it is not known.
fn doubled(window: &Window<'_>, name: &str, costs: impl FnOnce(u64) -> String) -> Option<Advice> {
    let present = window.sysctl(name)?;
    let suggested = present.checked_mul(2)?;
    advice(name, present, suggested, costs(suggested - present))
}

fn kib(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes.div_ceil(1024)),
    }
}

pub(super) fn conntrack(window: &Window<'_>) -> Option<Advice> {
    let present = window.after.conntrack.as_ref()?.max?;
    let more = present;
    let memory = kib(more.saturating_mul(CONNTRACK_BYTES));
    let costs =
        format!("up to {memory} of kernel memory; set it in the host's first namespace, and nf_conntrack_buckets to a quarter of it");
    advice("net.netfilter.nf_conntrack_max", present, present.checked_mul(2)?, costs)
}

pub(super) fn ports(window: &Window<'_>) -> Option<Advice> {
    let range = window.after.ports?;
    let reuse = window.sysctl("net.ipv4.tcp_tw_reuse");
    let time_wait = window.after.destinations.first().map_or(0, |pair| pair.time_wait.saturating_mul(2).saturating_sub(pair.used));
    if reuse.is_some_and(|reuse| reuse != 1) && time_wait > 0 {
        let costs = "nothing where both ends use TCP timestamps; better still, keep connections open and reuse them";
        return advice("net.ipv4.tcp_tw_reuse", reuse.unwrap_or_default(), 1, costs);
    }
    if range.low <= 1024 && range.high == u16::MAX {
        let costs = "another address of this host or of the destination gives the whole range again";
        return advice("source address", "one", "two or more", costs);
    }
    let costs = "ports that services of this host listen on must be listed in net.ipv4.ip_local_reserved_ports";
    advice("net.ipv4.ip_local_port_range", format!("{} {}", range.low, range.high), "1024 65535", costs)
}

pub(super) fn somaxconn(window: &Window<'_>, listener: &ListenerSample) -> Option<Advice> {
    let most = window.sysctl("net.core.somaxconn")?;
    let costs = "a longer queue only bridges bursts; some 2 KiB for each connection that waits";
    if listener.limit >= most {
        return advice(
            "net.core.somaxconn",
            most,
            most.checked_mul(4)?,
            format!("{costs}; the program must be restarted, or call listen() again"),
        );
    }
    let suggested = most.min(listener.limit.max(1).saturating_mul(8));
    advice(format!("backlog of listen() at {}", listener.bound), listener.limit, suggested, costs)
}

pub(super) fn syn_backlog(window: &Window<'_>) -> Option<Advice> {
    match window.sysctl("net.ipv4.tcp_syncookies") {
        Some(0) => {
            advice("net.ipv4.tcp_syncookies", 0, 1, "connections made by cookie lose some TCP options; only while the backlog is full")
        }
        _ => doubled(window, "net.ipv4.tcp_max_syn_backlog", |more| {
            format!("up to {} of kernel memory for each listener", kib(more.saturating_mul(304)))
        }),
    }
}

pub(super) fn time_wait(window: &Window<'_>) -> Option<Advice> {
    doubled(window, "net.ipv4.tcp_max_tw_buckets", |more| format!("up to {} of kernel memory", kib(more.saturating_mul(256))))
}

pub(super) fn tcp_memory(window: &Window<'_>) -> Option<Advice> {
    let present = window.after.sysctls.get("net.ipv4.tcp_mem")?;
    let numbers = window.sysctl_numbers("net.ipv4.tcp_mem");
    let [low, pressure, high] = numbers.as_slice() else { return None };
    let half_more = |pages: u64| pages.saturating_add(pages / 2);
    let suggested = format!("{} {} {}", half_more(*low), half_more(*pressure), half_more(*high));
    advice(
        "net.ipv4.tcp_mem",
        present.trim(),
        suggested,
        format!("up to {} more pages of memory; first see who holds full buffers", high / 2),
    )
}

pub(super) fn orphans(window: &Window<'_>) -> Option<Advice> {
    doubled(window, "net.ipv4.tcp_max_orphans", |more| {
        format!("up to {} of memory that cannot be swapped", kib(more.saturating_mul(64 * 1024)))
    })
}

pub(super) fn neighbors(window: &Window<'_>, family: &str) -> Option<Advice> {
    let table = window.after.neighbor_tables.iter().find(|table| table.v6 == (family == "ipv6"))?;
    let present = table.thresholds.get(2).copied().flatten()?;
    let memory = kib(present.saturating_mul(3).saturating_mul(NEIGHBOR_BYTES));
    let name = format!("net.{family}.neigh.default.gc_thresh3");
    advice(
        name,
        present,
        present.checked_mul(4)?,
        format!("up to {memory} of kernel memory; raise gc_thresh1 and gc_thresh2 in step, in the host's first namespace"),
    )
}

pub(super) fn rp_filter(window: &Window<'_>) -> Option<Advice> {
    let present = window.sysctl("net.ipv4.conf.all.rp_filter")?;
    let costs = "loose mode still refuses senders that no route leads to; right where packets come and go by different links";
    advice("net.ipv4.conf.all.rp_filter", present, 2, costs)
}

pub(super) fn fragments(window: &Window<'_>) -> Option<Advice> {
    doubled(window, "net.ipv4.ipfrag_high_thresh", |more| {
        format!("up to {} of kernel memory; senders that respect the path MTU cost none", kib(more))
    })
}

pub(super) fn rmem(window: &Window<'_>) -> Option<Advice> {
    doubled(window, "net.core.rmem_max", |more| format!("up to {} for each socket whose program asks for it with SO_RCVBUF", kib(more)))
}

pub(super) fn backlog(window: &Window<'_>) -> Option<Advice> {
    doubled(window, "net.core.netdev_max_backlog", |_| {
        "memory of the packets that wait, and their delay; spreading interrupts over CPUs mends more".to_owned()
    })
}

pub(super) fn file_max(window: &Window<'_>) -> Option<Advice> {
    let present = window.after.fds.host_max?;
    advice("fs.file-max", present, present.checked_mul(2)?, "some 1 KiB of kernel memory for each open file")
}

/// The limit of one process.
pub(super) fn descriptors(reading: &Reading) -> Option<Advice> {
    let present = reading.limit?;
    let costs = "nothing until they are used; set LimitNOFILE= of its unit, or ulimit -n, and restart it; look for a leak first";
    advice(format!("RLIMIT_NOFILE of {}", reading.object), present, present * 4.0, costs)
}

/// A larger ring, where the frames were lost in the ring and the driver has a larger one.
pub(super) fn ring(link: &LinkSample, lost: &Reading) -> Option<Advice> {
    let ring = link.ring.filter(|ring| lost.id == "link.rx-overruns" && ring.rx < ring.rx_max)?;
    advice(
        format!("ethtool -G {} rx", link.link.iface),
        ring.rx,
        ring.rx_max,
        "a few MiB of memory, and a moment without carrier while it is set",
    )
}
