//! No local port is left for this destination.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::HostTables;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.ephemeral-ports-exhausted`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.ephemeral-ports-exhausted",
    layer: Layer::L4,
    title: "no ephemeral port is left for this destination",
    what: "Every connection needs a local port that no other connection to the same destination address and port uses. The range \
           (ip_local_port_range) has about 28,000; connections that linger in TIME_WAIT for 60 s count too. A client that opens a new connection for \
           each request uses them up at about 470 per second.",
    shows: "connect() fails at once with EADDRNOTAVAIL, before anything is sent; another destination still works. The count per destination is at the range's size.",
    confirm: &[Tool {
        run: "ss -tan dst {ip} | awk '{print $1}' | sort | uniq -c; sysctl net.ipv4.ip_local_port_range",
        on: "here",
        why: "sockets to this destination against the range",
    }],
    fix: &[
        "Reuse connections: keep-alive, a pool, HTTP/2.",
        "Widen the range: sysctl -w net.ipv4.ip_local_port_range='1024 65535'; it costs nothing but must not cover listening ports (ip_local_reserved_ports).",
        "sysctl -w net.ipv4.tcp_tw_reuse=1 lets outgoing connections reuse ports in TIME_WAIT; more source or destination addresses multiply the range.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.errno() == Some("EADDRNOTAVAIL"))?;
    let tables = ev.first::<HostTables>(|tables| tables.port_low.is_some());
    let (used, range) = match tables {
        Some((_, HostTables { port_low: Some(low), port_high: Some(high), ports_used, .. })) => {
            (*ports_used, Some(u32::from(high.saturating_sub(*low)) + 1))
        }
        _ => (None, None),
    };
    let numbers = match (used, range) {
        (Some(used), Some(range)) => format!(" ({used} of {range} in use toward it)"),
        (None, Some(range)) => format!(" (the range has {range})"),
        _ => String::new(),
    };
    let summary = format!("This host has no ephemeral port left for {}{numbers}: connect() fails with EADDRNOTAVAIL.", failure.place());
    Some(
        Claim::proven(0.96, Where::Local, "ip_local_port_range of this host", summary)
            .citing([failure.id])
            .citing(tables.map(|(id, _)| id)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, errno};
    use super::*;
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn eaddrnotavail_names_the_ports() {
        let out = recording("tcp://10.2.0.10:80", vec![connect("10.2.0.10:80", Role::Target, errno("EADDRNOTAVAIL"))]);
        assert_eq!(claims(&CAUSE, &out), Some((0.96, true)));
        let other = recording("tcp://10.2.0.10:80", vec![connect("10.2.0.10:80", Role::Target, errno("ENETUNREACH"))]);
        assert_eq!(claims(&CAUSE, &other), None);
    }
}
