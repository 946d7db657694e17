//! What the kernel's SNMP and netstat counters did: `/proc/thread-self/net/{snmp,netstat,snmp6}`.
//! Parsing is pure. Never says what a counter means.

use crate::{HostError, procfs};
use std::collections::BTreeMap;

/// `netstat` is about 5 KiB today.
const FILE_LIMIT: u64 = 256 * 1024;
/// Not counters: settings and gauges, whose change is no event (net/ipv4/proc.c).
const NOT_COUNTERS: [&str; 8] = [
    "Ip.DefaultTTL",
    "Ip.Forwarding",
    "MPTcpExt.MPCurrEstab",
    "Tcp.CurrEstab",
    "Tcp.MaxConn",
    "Tcp.RtoAlgorithm",
    "Tcp.RtoMax",
    "Tcp.RtoMin",
];
/// The tables of `snmp6`, whose names run into those of their counters.
const SNMP6_TABLES: [&str; 4] = ["UdpLite6", "Icmp6", "Udp6", "Ip6"];

/// The three files as they were at one moment, not yet parsed: taking them is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct CounterText {
    paired: Vec<String>,
    single: Vec<String>,
}

impl CounterText {
    /// Reads them; a file that cannot be read is named in the second part and the rest goes on.
    pub(crate) fn read() -> (Self, Vec<HostError>) {
        let (mut text, mut failed) = (Self::default(), Vec::new());
        for (name, paired) in [("snmp", true), ("netstat", true), ("snmp6", false)] {
            match procfs::read(&format!("{}/{name}", procfs::NET), FILE_LIMIT) {
                Ok(read) if paired => text.paired.push(read),
                Ok(read) => text.single.push(read),
                Err(error) => failed.push(error),
            }
        }
        (text, failed)
    }

    /// Every counter by name, such as `Tcp.RetransSegs`.
    pub(crate) fn parse(&self) -> BTreeMap<String, u64> {
        let paired = self.paired.iter().flat_map(|text| paired_counters(text));
        paired.chain(self.single.iter().flat_map(|text| single_counters(text))).collect()
    }
}

/// What rose from `before` to `after`. A counter that fell was reset, and says nothing.
pub(crate) fn risen(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .filter(|(name, _)| !NOT_COUNTERS.contains(&name.as_str()))
        .filter_map(|(name, now)| {
            // The kernel leaves `IcmpMsg` types out until the first such message: absent before means 0.
            let then = before.get(name).copied().or_else(|| name.starts_with("IcmpMsg.").then_some(0))?;
            (*now > then).then(|| (name.clone(), now - then))
        })
        .collect()
}

/// Packets that reached IP, those delivered upward, and those whose end is known:
/// `(InReceives, InDelivers, explained)`. What is left over was dropped in between, by a firewall or a filter.
///
/// Explained are: forwarded, header and address errors, no route, unknown protocol, discarded, truncated, too big,
/// and fragments that were merged into another packet or not yet completed. Checksum errors are within the header
/// errors already (`ip_rcv_core`). The reverse-path filter is *not* subtracted: read `TcpExt.IPReversePathFilter`.
/// Multicast to groups that nobody joined is received and not delivered, and no counter says so (`ip6_mc_input`), so
/// compare with an equal time in which nothing was provoked; on IPv6 more than on IPv4.
#[must_use]
pub fn ip_in_counts(v6: bool) -> Option<(u64, u64, u64)> {
    let files: &[&str] = if v6 { &["snmp6"] } else { &["snmp", "netstat"] };
    let mut counters = BTreeMap::new();
    for name in files {
        let text = procfs::read(&format!("{}/{name}", procfs::NET), FILE_LIMIT).ok()?;
        if v6 {
            counters.extend(single_counters(&text));
        } else {
            counters.extend(paired_counters(&text));
        }
    }
    if v6 { in_counts_v6(&counters) } else { in_counts_v4(&counters) }
}

/// TCP segments of this network namespace that came with a smaller TTL than their socket accepts (`IP_MINTTL`), since boot.
#[must_use]
pub fn min_ttl_drops() -> Option<u64> {
    let text = procfs::read(&format!("{}/netstat", procfs::NET), FILE_LIMIT).ok()?;
    paired_counters(&text).into_iter().find(|(name, _)| name == "TcpExt.TCPMinTTLDrop").map(|(_, count)| count)
}

fn in_counts_v4(counters: &BTreeMap<String, u64>) -> Option<(u64, u64, u64)> {
    let sum = sum_of(
        counters,
        &[
            "Ip.ForwDatagrams",
            "Ip.InHdrErrors",
            "Ip.InAddrErrors",
            "Ip.InUnknownProtos",
            "Ip.InDiscards",
            "IpExt.InNoRoutes",
            "IpExt.InTruncatedPkts",
        ],
    );
    let merged = merged_fragments(counters, "Ip");
    Some((*counters.get("Ip.InReceives")?, *counters.get("Ip.InDelivers")?, sum.saturating_add(merged)))
}

fn in_counts_v6(counters: &BTreeMap<String, u64>) -> Option<(u64, u64, u64)> {
    let sum = sum_of(
        counters,
        &[
            "Ip6.OutForwDatagrams",
            "Ip6.InHdrErrors",
            "Ip6.InAddrErrors",
            "Ip6.InUnknownProtos",
            "Ip6.InDiscards",
            "Ip6.InNoRoutes",
            "Ip6.InTruncatedPkts",
            "Ip6.InTooBigErrors",
        ],
    );
    let merged = merged_fragments(counters, "Ip6");
    Some((*counters.get("Ip6.InReceives")?, *counters.get("Ip6.InDelivers")?, sum.saturating_add(merged)))
}

fn sum_of(counters: &BTreeMap<String, u64>, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| counters.get(*name)).fold(0, |sum, value| sum.saturating_add(*value))
}

/// Fragments received, less the packets that they became.
fn merged_fragments(counters: &BTreeMap<String, u64>, table: &str) -> u64 {
    let value = |name: &str| counters.get(&format!("{table}.{name}")).copied().unwrap_or(0);
    value("ReasmReqds").saturating_sub(value("ReasmOKs"))
}

/// `snmp` and `netstat`: a line of names, then a line of values, both led by the table's name and a colon.
/// Values that are no unsigned number (`MaxConn` is -1) are left out.
fn paired_counters(text: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut names: Option<(&str, &str)> = None;
    for line in text.lines() {
        let Some((table, fields)) = line.split_once(':') else {
            continue;
        };
        match names.take() {
            Some((named, header)) if named == table => {
                let pairs = header.split_ascii_whitespace().zip(fields.split_ascii_whitespace());
                found.extend(pairs.filter_map(|(name, value)| Some((format!("{table}.{name}"), value.parse().ok()?))));
            }
            _ => names = Some((table, fields)),
        }
    }
    found
}

/// `snmp6`: a name and a value a line; `Ip6InReceives` is named `Ip6.InReceives`.
fn single_counters(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (name, value) = (words.next()?, words.next()?.parse().ok()?);
            let table = SNMP6_TABLES.iter().find(|table| name.starts_with(**table))?;
            Some((format!("{table}.{}", name.get(table.len()..)?), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers ReasmReqds ReasmOKs
Ip: 2 64 5117 3 1 10 0 2 5000 8 2
IcmpMsg: InType3
IcmpMsg: 1
Tcp: RtoMin MaxConn CurrEstab RetransSegs
Tcp: 200 -1 4 76
";
    const NETSTAT: &str = "TcpExt: ListenDrops\nTcpExt: 5\nIpExt: InNoRoutes InTruncatedPkts\nIpExt: 4 0\n";
    const SNMP6: &str = "Ip6InReceives                   \t10\nIp6InNoRoutes \t2\nIp6InDelivers\t7\nUdpLite6InErrors\t1\nIcmp6InMsgs\t1\n";

    fn counters(texts: &[&str]) -> BTreeMap<String, u64> {
        texts.iter().flat_map(|text| paired_counters(text)).collect()
    }

    #[test]
    fn snmp_names_and_values_are_paired_by_column() {
        let read = counters(&[SNMP, NETSTAT]);
        assert_eq!(read.get("Tcp.RetransSegs"), Some(&76));
        assert_eq!(read.get("TcpExt.ListenDrops"), Some(&5));
        assert_eq!(read.get("Tcp.MaxConn"), None);
    }

    #[test]
    fn snmp6_names_are_split_behind_their_table() {
        let read: BTreeMap<_, _> = single_counters(SNMP6).into_iter().collect();
        assert_eq!(read.get("Ip6.InNoRoutes"), Some(&2));
        assert_eq!(read.get("UdpLite6.InErrors"), Some(&1));
        assert_eq!(in_counts_v6(&read), Some((10, 7, 2)));
    }

    #[test]
    fn fragments_that_became_one_packet_are_explained() {
        assert_eq!(in_counts_v4(&counters(&[SNMP, NETSTAT])), Some((5117, 5000, 3 + 1 + 10 + 2 + 4 + (8 - 2))));
    }

    #[test]
    fn gauges_and_settings_never_rise() {
        let before = counters(&[SNMP]);
        let after = counters(&[&SNMP.replace("200 -1 4 76", "300 -1 9 78")]);
        assert_eq!(risen(&before, &after), BTreeMap::from([("Tcp.RetransSegs".to_owned(), 2)]));
    }

    #[test]
    fn a_first_icmp_message_of_its_type_counts_as_a_rise() {
        let after = counters(&["IcmpMsg: InType3 InType11\nIcmpMsg: 1 2\n"]);
        assert_eq!(risen(&counters(&[SNMP]), &after), BTreeMap::from([("IcmpMsg.InType11".to_owned(), 2)]));
    }

    #[test]
    fn a_counter_that_fell_says_nothing() {
        let before = counters(&["TcpExt: A\nTcpExt: 9\n"]);
        assert!(risen(&before, &counters(&["TcpExt: A\nTcpExt: 3\n"])).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([A-Za-z6:]{0,8}[ \\t\\n0-9:-]{0,6}){0,40}") {
            let _ = (paired_counters(&text), single_counters(&text));
            let read = counters(&[&text]);
            let _ = (in_counts_v4(&read), in_counts_v6(&read));
            prop_assert!(risen(&read, &read).is_empty());
        }

        #[test]
        fn written_tables_are_read_back(values in prop::collection::btree_map("[A-Z][a-z]{1,6}", any::<u64>(), 1..20)) {
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            let numbers: Vec<String> = values.values().map(u64::to_string).collect();
            let text = format!("T: {}\nT: {}\n", names.join(" "), numbers.join(" "));
            let expected: BTreeMap<String, u64> = values.iter().map(|(n, v)| (format!("T.{n}"), *v)).collect();
            prop_assert_eq!(counters(&[&text]), expected);
        }
    }
}
