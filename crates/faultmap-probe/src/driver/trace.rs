//! `--dns-trace`: the walk from the root to the target's name, beside the check.

use super::resolve::Direct;
use super::{Check, now_unix};
use crate::dns::trace::{TraceAsk, trace};
use faultmap_model::observation::{DnsOutcome, DnsQuery, NotAsked, Role, TraceEnd};
use faultmap_model::{Scheme, Seen};
use std::time::{Duration, Instant};

/// All of it; the budget of the check bounds it, too.
const MOST: Duration = Duration::from_secs(12);

impl Check<'_> {
    /// Walks if the user asked for it.
    pub(super) async fn trace(&self, direct: &Direct) {
        if !self.options.dns_trace {
            return;
        }
        let asked = Instant::now();
        let Some(name) = self.traced_name() else {
            self.rec.note(asked, skipped("the target is an address: there is no name to trace", ""));
            return;
        };
        let ask = TraceAsk {
            name,
            roots: self.options.dns_roots.clone(),
            only_v4: self.options.only_family.map(|family| family == crate::options::Family::V4),
            clock_unix: now_unix(),
            wait: self.within(MOST),
        };
        let Some(seen) = trace(&ask).await else {
            self.rec.note(asked, skipped("the name cannot be put into a question", ""));
            return;
        };
        match seen.end {
            TraceEnd::NoRoot => {
                let why = "no root server answers here: UDP and TCP port 53 to the Internet are closed, as in many networks; --dns-root names others";
                self.rec.note(asked, skipped(why, "which server of which zone fails, and whether the signatures hold"));
            }
            TraceEnd::Intercepted => {
                let why = "port 53 is intercepted: a resolver answers in the place of the root's servers";
                self.rec.note(asked, skipped(why, "which server of which zone fails, and whether the signatures hold"));
            }
            _ => direct.learn(&seen.addresses),
        }
        self.rec.note(asked, seen);
    }

    /// The name that DNS is asked for: with the domain of the search list under which it was found.
    fn traced_name(&self) -> Option<String> {
        if self.target.scheme == Scheme::Dns {
            return Some(if self.target.path.is_empty() { ".".to_owned() } else { self.target.path.clone() });
        }
        if self.target.literal().is_some() {
            return None;
        }
        let found = |query: &DnsQuery| {
            let has_address = matches!(&query.outcome, DnsOutcome::Answer(answer) if !answer.addresses.is_empty());
            (query.role == Role::Resolver && has_address).then(|| query.name.clone())
        };
        let searched = self.rec.look(|seen| {
            seen.iter().find_map(|one| match &one.seen {
                Seen::DnsQuery(query) => found(query),
                _ => None,
            })
        });
        Some(searched.unwrap_or_else(|| self.target.host.clone()))
    }
}

fn skipped(why: &str, would_settle: &str) -> NotAsked {
    let question = "dns.trace".to_owned();
    NotAsked { question, why: why.to_owned(), would_settle: would_settle.to_owned(), missing: None }
}
