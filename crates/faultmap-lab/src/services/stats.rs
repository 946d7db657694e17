//! The oracle's counters: what a service truly saw and did, independent of any probe. Counts only, no judgement.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

/// Distinct keys kept per table; further ones are counted under [`OVERFLOW`].
const MAX_KEYS: usize = 1024;
const OVERFLOW: &str = "(others)";

/// A snapshot of one service's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServiceStats {
    /// TCP connections taken from the accept queue.
    pub accepted: u64,
    /// Connections dropped at once because the service's own limit was reached.
    pub over_limit: u64,
    /// Requests, datagrams or queries received whole.
    pub requests: u64,
    /// Answers of any kind (also error answers) fully handed to the kernel.
    pub answered: u64,
    /// Payload bytes read from TCP sockets (below TLS) or UDP datagrams.
    pub bytes_in: u64,
    /// Payload bytes written.
    pub bytes_out: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed, by the reason the server gives.
    pub tls_failures: BTreeMap<String, u64>,
    /// HTTP answers by `METHOD /path status`.
    pub answers: BTreeMap<String, u64>,
    /// DNS queries by `name TYPE rcode-or-behaviour transport`.
    pub queries: BTreeMap<String, u64>,
    /// Misbehaviours that were acted out, by name: the proof that a fault bit.
    pub bites: BTreeMap<String, u64>,
    /// Length and limit of the kernel's accept queue per listening address, where the service listens on TCP
    /// (`tcpi_unacked`, `tcpi_sacked` of a LISTEN socket, net/ipv4/tcp.c `tcp_get_info`).
    pub accept_queue: BTreeMap<String, (u32, u32)>,
}

impl ServiceStats {
    /// Sum of all misbehaviours acted out.
    pub fn bitten(&self) -> u64 {
        self.bites.values().sum()
    }
}

/// The live counters behind [`ServiceStats`], shared by all tasks of a service.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) over_limit: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) tls_handshakes: AtomicU64,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    tls_failures: BTreeMap<String, u64>,
    answers: BTreeMap<String, u64>,
    queries: BTreeMap<String, u64>,
    bites: BTreeMap<String, u64>,
}

impl Counters {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn bite(&self, what: impl Into<String>) {
        self.with(|t| bump(&mut t.bites, what.into()));
    }

    pub(crate) fn tls_failure(&self, why: impl Into<String>) {
        self.with(|t| bump(&mut t.tls_failures, why.into()));
    }

    pub(crate) fn answer(&self, what: String) {
        Self::add(&self.answered, 1);
        self.with(|t| bump(&mut t.answers, what));
    }

    pub(crate) fn query(&self, what: String) {
        self.with(|t| bump(&mut t.queries, what));
    }

    pub(crate) fn snapshot(&self) -> ServiceStats {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let mut stats = ServiceStats {
            accepted: read(&self.accepted),
            over_limit: read(&self.over_limit),
            requests: read(&self.requests),
            answered: read(&self.answered),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            tls_handshakes: read(&self.tls_handshakes),
            ..ServiceStats::default()
        };
        self.with(|t| {
            stats.tls_failures.clone_from(&t.tls_failures);
            stats.answers.clone_from(&t.answers);
            stats.queries.clone_from(&t.queries);
            stats.bites.clone_from(&t.bites);
        });
        stats
    }

    fn with(&self, f: impl FnOnce(&mut Tables)) {
        f(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn bump(table: &mut BTreeMap<String, u64>, key: String) {
    let key = if table.len() >= MAX_KEYS && !table.contains_key(&key) { OVERFLOW.to_owned() } else { key };
    *table.entry(key).or_default() += 1;
}
