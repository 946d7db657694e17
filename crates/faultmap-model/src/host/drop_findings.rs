//! Drops beside the readings: a reason that speaks for a cause is further evidence of it; a filter that stops this host's own packets
//! is a warning. No drop turns a warning into a fault, and none that is the ordinary life of protocols says anything.

use super::drops::{DropReport, DropRow, DropWarning, Drops, Weight};
use super::findings::{Finding, Severity};
use super::layers;
use super::report::HostReport;
use crate::verdict::{NextStep, Status};
use std::borrow::Cow;

/// What else a reason supports besides the cause that it speaks for: the gateway is a neighbour, most sockets whose buffer is full are
/// those of UDP (and if none of UDP is, no counter says so), memory runs out where many hold a little.
const ALSO: &[(&str, &str)] = &[
    ("NEIGH_FAILED", "l2.gateway-unresolved"),
    ("NEIGH_QUEUEFULL", "l2.gateway-unresolved"),
    ("SOCKET_RCVBUFF", "l4.udp-buffer-full"),
    ("PROTO_MEM", "l4.tcp-memory"),
    ("TCP_OFO_QUEUE_PRUNE", "l4.tcp-memory"),
];

impl HostReport {
    /// The same report with what was counted of drops, or why nothing was.
    #[must_use]
    pub fn with_drops(mut self, drops: Drops) -> Self {
        if let Drops::Counted(counted) = &drops {
            let own = of_namespace(counted, self.namespace);
            self.findings.iter_mut().for_each(|finding| cite(finding, &own.rows));
            let warnings = own.warnings();
            let known = |warning: &DropWarning| self.findings.iter().any(|finding| finding.cause == warning.cause);
            let new: Vec<Finding> = warnings.iter().filter(|warning| !known(warning)).map(finding).collect();
            if !new.is_empty() {
                self.findings.extend(new);
                self.layers = layers::tower(&self.readings, &self.findings);
                self.bottleneck = layers::bottleneck(&self.findings);
                if self.status == Status::Healthy {
                    self.status = Status::Degraded;
                }
            }
        }
        self.drops = Some(drops);
        self
    }
}

/// Where every namespace was counted, only this report's own says anything of it.
fn of_namespace(counted: &DropReport, namespace: Option<u64>) -> Cow<'_, DropReport> {
    if counted.namespace.is_some() {
        return Cow::Borrowed(counted);
    }
    let ours = |row: &&DropRow| namespace.is_some() && row.namespace.map(u64::from) == namespace;
    Cow::Owned(DropReport { rows: counted.rows.iter().filter(ours).cloned().collect(), ..counted.clone() })
}

fn cite(finding: &mut Finding, rows: &[DropRow]) {
    let supports = |row: &&DropRow| {
        row.cause.as_deref() == Some(finding.cause.as_str()) || ALSO.contains(&(row.reason.as_str(), finding.cause.as_str()))
    };
    for key in rows.iter().filter(supports).filter(|row| row.weight != Weight::Ignored).map(DropRow::key) {
        if !finding.evidence.contains(&key) {
            finding.evidence.push(key);
        }
    }
}

fn finding(warning: &DropWarning) -> Finding {
    let mut finding = Finding::new(warning.cause, Severity::Warn, "", warning.summary.clone()).losing();
    finding.evidence.push(warning.key.clone());
    // The registry's words are for one target that a check could not reach.
    let run = |run: &str, why: &str| NextStep { run: run.to_owned(), on: "here".to_owned(), why: why.to_owned() };
    finding.next = vec![
        run("nft list ruleset; iptables-save -c", "shows the rule and its counter"),
        run("systemctl show -p IPAddressDeny UNIT; bpftool cgroup tree", "a unit or container may have a filter of its own"),
    ];
    finding.fix =
        vec!["If these packets should pass, allow them in this host's filter; if not, stop the program from sending them.".to_owned()];
    finding
}

#[cfg(test)]
mod tests {
    use super::super::drops::{DropCount, DropSample, FlowCount};
    use super::super::tests_support::report as report_of;
    use super::*;
    use crate::Layer;

    fn counted(reason: &str, socket: Option<u64>) -> Drops {
        let flow = FlowCount {
            reason: reason.to_owned(),
            namespace: 7,
            protocol: 6,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 9].into(),
            transport: [0x9c, 0x40, 1, 0xbb],
            count: 5,
            socket,
        };
        let count = DropCount { reason: reason.to_owned(), namespace: Some(7), location: None, count: 5 };
        let after = DropSample { age_ms: 1000.0, namespace: Some(7), counts: vec![count], flows: vec![flow], elsewhere: 0, lost: 0 };
        Drops::Counted(DropReport::new(None, &after))
    }

    fn healthy() -> HostReport {
        report_of(|_, _| ())
    }

    #[test]
    fn our_own_packets_in_a_filter_are_a_warning_and_no_fault() {
        let report = healthy().with_drops(counted("NETFILTER_DROP", Some(1)));
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.cause.as_str(), finding.severity)).collect();
        assert_eq!(found, [("l4.local-firewall", Severity::Warn)]);
        assert_eq!((report.status, report.exit_code()), (Status::Degraded, 3));
        assert_eq!(report.bottleneck.map(|bottleneck| bottleneck.layer), Some(Layer::L4));
        assert_eq!(report.findings[0].evidence, ["drops.NETFILTER_DROP"]);
    }

    #[test]
    fn drops_of_strangers_and_of_ordinary_life_leave_a_healthy_host_healthy() {
        for (reason, socket) in [("NETFILTER_DROP", None), ("TCP_OFOMERGE", Some(1)), ("NO_SOCKET", Some(1)), ("QDISC_DROP", Some(1))] {
            let report = healthy().with_drops(counted(reason, socket));
            assert_eq!((report.findings.len(), report.status), (0, Status::Healthy), "{reason}");
            assert!(report.drops.is_some());
        }
    }

    #[test]
    fn what_dies_in_other_namespaces_says_nothing_of_this_one() {
        let Drops::Counted(all) = counted("NETFILTER_DROP", Some(1)) else { panic!("counted") };
        let all = Drops::Counted(DropReport { namespace: None, ..all });
        let of = |namespace| HostReport { namespace: Some(namespace), ..healthy() }.with_drops(all.clone()).findings.len();
        assert_eq!((of(8), of(7)), (0, 1));
    }

    #[test]
    fn what_a_reason_supports_is_in_the_registry() {
        assert!(ALSO.iter().all(|(_, cause)| crate::causes::find(cause).is_some()));
    }

    #[test]
    fn a_reason_becomes_evidence_of_the_cause_that_counters_prove() {
        let mut report = healthy();
        report.findings = vec![
            Finding::new("l2.gateway-unresolved", Severity::Crit, "eth0", ""),
            Finding::new("l1.queue-drops", Severity::Warn, "eth0", ""),
        ];
        let report = report.with_drops(counted("NEIGH_FAILED", Some(1)));
        assert_eq!(report.findings[0].evidence, ["drops.NEIGH_FAILED"]);
        assert!(report.findings[1].evidence.is_empty());
    }
}
