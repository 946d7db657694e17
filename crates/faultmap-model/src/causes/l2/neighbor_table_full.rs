//! This host's neighbour table is full.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::HostTables;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l2.neighbor-table-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l2.neighbor-table-full",
    layer: Layer::L2,
    title: "the neighbour table is full",
    what: "The kernel keeps at most gc_thresh3 ARP and neighbour entries for the whole host, all namespaces together. When the table is full, packets to \
           neighbours that have no entry yet are dropped. Large flat segments and busy container hosts fill it.",
    shows: "table_fulls rises during the check, or the number of entries is at gc_thresh3, while the failing next hop has no entry.",
    confirm: &[Tool {
        run: "ip neigh | wc -l; sysctl net.ipv4.neigh.default.gc_thresh3; dmesg | grep 'neighbour'; ip -s ntable show",
        on: "here",
        why: "entries against the limit, and 'neighbor table overflow'",
    }],
    fix: &[
        "Raise net.ipv4.neigh.default.gc_thresh1/2/3 (and net.ipv6...), for example to 8192/32768/65536.",
        "Split the segment; find what scans it.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, tables) = ev.first::<HostTables>(|_| true)?;
    let overflowed = tables.neighbor_table_fulls.unwrap_or(0);
    let full = matches!((tables.neighbor_entries, tables.neighbor_max), (Some(entries), Some(max)) if max > 0 && entries >= max);
    if overflowed == 0 && !full {
        return None;
    }
    let summary = match (tables.neighbor_entries, tables.neighbor_max) {
        (Some(entries), Some(max)) => {
            format!("This host's neighbour table is full: {entries} entries of {max}, {overflowed} overflows during the check.")
        }
        _ => format!("This host's neighbour table overflowed {overflowed} times during the check."),
    };
    let at = "neighbour table of this host";
    let failure = ev
        .failure()
        .filter(|failure| failure.silent() || failure.icmp().is_some_and(|icmp| ev.is_self(icmp.from)) || failure.errno().is_some());
    match failure.filter(|failure| ev.host_answers(failure.ip).is_none()) {
        Some(failure) => Some(Claim::proven(0.94, Where::Local, at, summary).citing([failure.id, id])),
        None => Some(Claim::degrades(0.9, Where::Local, at, summary).citing([id])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn overflows_during_the_check_name_the_table() {
        let check = |fulls, expect| {
            let tables = HostTables {
                neighbor_entries: Some(900),
                neighbor_max: Some(1024),
                neighbor_table_fulls: Some(fulls),
                ..HostTables::default()
            };
            let seen = vec![connect("10.2.0.10:80", Role::Target, silent()), Seen::HostTables(tables)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(3, Some((0.94, true)));
        check(0, None);
    }
}
