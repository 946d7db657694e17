//! The kernel's counters and tables as metrics.

use super::Units;
use super::exposition::Exposition;
use faultmap_model::host::HostSample;
use faultmap_model::host::drops::DropReport;

/// Of `/proc/net/snmp`, these are no counters (RFC 1213: ipForwarding, ipDefaultTTL, tcpRto…, tcpMaxConn, tcpCurrEstab).
const STATES: [&str; 7] =
    ["Ip.Forwarding", "Ip.DefaultTTL", "Tcp.RtoAlgorithm", "Tcp.RtoMin", "Tcp.RtoMax", "Tcp.MaxConn", "Tcp.CurrEstab"];

/// `Tcp.RetransSegs` is `faultmap_netstat_tcp_retrans_segs_total`.
pub(super) fn counters(text: &mut Exposition, sample: &HostSample) {
    for (name, count) in &sample.counters {
        let metric = format!("faultmap_netstat_{}", snake(name));
        if STATES.contains(&name.as_str()) {
            // -1, no limit, comes as a huge number.
            if name != "Tcp.MaxConn" {
                text.gauge(&metric, &format!("{name} of the kernel (/proc/net/snmp)."), &[], *count);
            }
        } else {
            text.counter(&format!("{metric}_total"), &format!("Counter {name} of the kernel (snmp, netstat, snmp6)."), &[], *count);
        }
    }
}

/// What promtool takes for a unit that is cut short, when it stands alone between underscores (client_golang, promlint).
const UNITS: [&str; 15] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "k"];

/// Words of a name in lower case with underscores between them: `TCPOFOQueue` is `tcpofo_queue`. What looks like a unit is none
/// and stays with its neighbour: `HMac` is `hmac`.
fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (place, c) in chars.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| chars.get(before));
        let lower_after = chars.get(place + 1).is_some_and(char::is_ascii_lowercase);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && lower_after)
            });
        let joins = words.last().is_some_and(|word| UNITS.contains(&word.as_str()));
        if (begins || !c.is_ascii_alphanumeric()) && !joins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    match words.split_last() {
        Some((last, rest)) if UNITS.contains(&last.as_str()) && !rest.is_empty() => rest.join("_") + last,
        _ => words.join("_"),
    }
}

/// By reason and function; places within one function are one sample.
pub(super) fn drops(text: &mut Exposition, drops: &DropReport) {
    let help = "Packets that this namespace's kernel dropped since faultmap began to count, by reason.";
    for row in &drops.rows {
        let location = row.location.as_deref().unwrap_or_default();
        let location = location.split_once('+').map_or(location, |(function, _)| function);
        let layer = format!("{:?}", row.layer);
        let labels = [("reason", row.reason.as_str()), ("layer", &layer), ("location", location)];
        text.add_counter("faultmap_dropped_packets_total", help, &labels, row.count);
    }
    text.counter("faultmap_dropped_packets_elsewhere_total", "Packets dropped in other namespaces.", &[], drops.elsewhere);
    text.counter("faultmap_dropped_packets_lost_total", "Packets dropped that found no room in the table.", &[], drops.lost);
}

/// `TCP.mem` counts pages; everything else counts what it says.
pub(super) fn sockstat(text: &mut Exposition, sample: &HostSample, units: Units) {
    for (name, count) in &sample.sockstat {
        let metric = format!("faultmap_sockstat_{}", snake(name));
        let help = format!("{name} of /proc/net/sockstat and sockstat6.");
        if name.ends_with(".mem") {
            text.gauge(&format!("{metric}_bytes"), &help, &[], count.saturating_mul(units.page_bytes));
        } else if name.ends_with(".memory") {
            text.gauge(&format!("{metric}_bytes"), &help, &[], *count);
        } else {
            text.gauge(&metric, &help, &[], *count);
        }
    }
}

pub(super) fn tables(text: &mut Exposition, sample: &HostSample) {
    if let Some(conntrack) = &sample.conntrack {
        text.gauge_of("faultmap_conntrack_entries", "Tracked connections of this namespace.", &[], conntrack.count);
        text.gauge_of("faultmap_conntrack_entries_limit", "The most that it may have (nf_conntrack_max).", &[], conntrack.max);
        text.gauge_of("faultmap_conntrack_buckets", "Buckets of the hash table.", &[], conntrack.buckets);
        for (name, count) in conntrack.stats.iter().filter(|(name, _)| name.as_str() != "entries") {
            let help = format!("{name} of /proc/net/stat/nf_conntrack, over all CPUs.");
            text.counter(&format!("faultmap_conntrack_{}_total", snake(name)), &help, &[], *count);
        }
    }
    if let Some(ports) = sample.ports {
        text.gauge("faultmap_ephemeral_ports", "Local ports that connect can choose from, for each destination.", &[], ports.usable());
    }
    for pair in &sample.destinations {
        let (source, destination) = (pair.source.to_string(), pair.destination.to_string());
        let labels = [("source", source.as_str()), ("destination", destination.as_str())];
        text.gauge("faultmap_ephemeral_ports_used", "Local ports in use toward the fullest destinations.", &labels, pair.used);
        text.gauge("faultmap_ephemeral_ports_time_wait", "Of these, in TIME_WAIT.", &labels, pair.time_wait);
    }
    text.gauge("faultmap_learned_path_mtus", "Destinations whose path MTU the kernel learned.", &[], sample.learned_mtus.len() as u64);
    for name in SETTINGS {
        let Some(number) = sample.sysctls.get(name).and_then(|value| value.trim().parse::<u64>().ok()) else { continue };
        text.gauge("faultmap_sysctl", "A setting that bounds or changes the readings.", &[("name", name)], number);
    }
}

/// Limits that rules compare with; settings of several numbers are left to `faultmap host -v`.
const SETTINGS: [&str; 7] = [
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_max",
];

/// What the whole host shares.
pub(super) fn host(text: &mut Exposition, sample: &HostSample, units: Units) {
    for (number, cpu) in sample.softnet.iter().enumerate() {
        let number = number.to_string();
        let labels = [("cpu", number.as_str())];
        text.counter("faultmap_softnet_processed_packets_total", "Packets taken in by this CPU.", &labels, cpu.processed);
        text.counter("faultmap_softnet_dropped_packets_total", "Packets dropped: the backlog was full.", &labels, cpu.dropped);
        text.counter("faultmap_softnet_times_squeezed_total", "Times that the budget ended before the work.", &labels, cpu.squeezed);
        text.gauge_of("faultmap_softnet_backlog_packets", "Packets that wait in the backlog.", &labels, cpu.queued);
    }
    for (resource, pressure) in &sample.pressure {
        let labels = [("resource", resource.as_str())];
        text.counter(
            "faultmap_pressure_waiting_seconds_total",
            "Time in which some task waited for the resource (PSI).",
            &labels,
            pressure.some_us as f64 / 1e6,
        );
    }
    if let Some(cpu) = sample.cpu {
        text.gauge("faultmap_cpus", "CPUs of the host.", &[], cpu.cpus);
        let other = cpu.total.saturating_sub(cpu.idle).saturating_sub(cpu.steal).saturating_sub(cpu.softirq);
        for (mode, ticks) in [("idle", cpu.idle), ("steal", cpu.steal), ("softirq", cpu.softirq), ("other", other)] {
            let seconds = ticks as f64 / units.ticks_per_second.max(1) as f64;
            text.counter("faultmap_cpu_seconds_total", "CPU time of the host, over all CPUs.", &[("mode", mode)], seconds);
        }
    }
    text.gauge_of("faultmap_filefd_allocated", "Open files of the whole host.", &[], sample.fds.host_open);
    text.gauge_of("faultmap_filefd_limit", "The most that it may have (fs.file-max).", &[], sample.fds.host_max);
}

#[cfg(test)]
mod tests {
    use super::snake;

    #[test]
    fn names_of_the_kernel_become_words() {
        for (name, expect) in [
            ("Tcp.RetransSegs", "tcp_retrans_segs"),
            ("TcpExt.TCPOFOQueue", "tcp_ext_tcpofo_queue"),
            ("TcpExt.ListenOverflows", "tcp_ext_listen_overflows"),
            ("Ip6.InReceives", "ip6_in_receives"),
            ("TCP6.inuse", "tcp6_inuse"),
            ("insert_failed", "insert_failed"),
            ("MPTcpExt.MPJoinAckHMacFailure", "mp_tcp_ext_mp_join_ack_hmac_failure"),
            ("X.SynS", "x_syns"),
            ("IpExt.InCsumErrors", "ip_ext_in_csum_errors"),
        ] {
            assert_eq!(snake(name), expect);
        }
    }
}
