//! The settings that bound the readings, or that advice is about, as `/proc/sys` holds them. Never writes one.

use crate::procfs;
use std::collections::BTreeMap;

/// By name; what this kernel or namespace does not have is left out.
const NAMES: [&str; 26] = [
    "fs.file-max",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.icmp_msgs_per_sec",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ipfrag_high_thresh",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
];
/// A value shown; lists of reserved ports may be long.
const VALUE_MAX: usize = 200;

pub(super) fn read() -> BTreeMap<String, String> {
    let value = |name: &str| {
        let text = procfs::read(&format!("/proc/sys/{}", name.replace('.', "/")), 4096).ok()?;
        let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Some((name.to_owned(), words.chars().filter(|c| !c.is_control()).take(VALUE_MAX).collect()))
    };
    NAMES.iter().filter_map(|name| value(name)).collect()
}
