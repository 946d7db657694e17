//! The servers of the lab: real protocol servers, sound by default, each with misbehaviours chosen by data and changeable
//! while it runs, and with counters that say what it truly did. It never decides what a client ought to conclude.
//!
//! A service is a [`ServiceSpec`] (TOML or JSON), started with [`start`] on the addresses of one host. The sockets are
//! opened by the service's own thread, so [`SpawnIn`] decides in which network namespace they live.

mod database;
mod dns;
mod engine;
mod error;
mod hostile;
mod http;
mod http3;
mod io;
mod listen;
mod pki;
mod proxy;
mod stats;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

use std::{
    io as std_io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

pub use self::{
    database::{Mysql, MysqlError, Postgres, PostgresError},
    dns::{Digest, DnsAnswer, DnsBehaviour, DnsSpec, Ede, Mx, RecordSpec, Signatures, Srv, Transport},
    error::ServiceError,
    hostile::Hostile,
    http::{Body, Encoding, Fault as HttpFault, Grpc, HttpSpec, Pause, Redirect, Respond, Reuse, Rotation, Speak, Upstream, WebsocketFlaw},
    http3::Http3Spec,
    listen::{Accept, ListenSpec},
    pki::{CertSpec, Identity, Pki},
    proxy::{ForwardProxy, ProxySpeaks},
    stats::ServiceStats,
    tcp::{DialogueRule, Payload, TcpBehaviour, TcpSpec},
    tls::{ClientAuth, HelloAction, HelloRule, HelloWhen, LegacyVersion, Plaintext, TlsSpec, TlsVersion},
    udp::{UdpBehaviour, UdpSpec},
};
use self::{
    engine::{Command, Listeners, Plan, Role, Start},
    stats::Counters,
};

/// How long a service may take to listen, to take a change, or to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a service's thread runs; a host of the lab puts it into its own network namespace.
pub trait SpawnIn {
    /// Runs `f` on a new thread called `name`. The thread ends when `f` returns.
    fn spawn(&self, name: &str, f: Box<dyn FnOnce() + Send>) -> std_io::Result<()>;
}

/// A service of the lab, as a scenario describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ServiceSpec {
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    Http(HttpSpec),
    /// HTTP within TLS; without `tls` it is sound TLS.
    Https(HttpSpec),
    /// A reverse proxy that balances over the backends of `upstream`; within TLS if `tls` is given.
    Balancer(HttpSpec),
    /// A DNS server over UDP and TCP.
    Dns(DnsSpec),
    /// A plain TCP service.
    Tcp(TcpSpec),
    /// A plain UDP service.
    Udp(UdpSpec),
    /// HTTP/3.
    Http3(Http3Spec),
}

impl ServiceSpec {
    /// The port it listens on.
    pub fn port(&self) -> u16 {
        match self {
            Self::Http(s) | Self::Https(s) | Self::Balancer(s) => s.port,
            Self::Dns(s) => s.port,
            Self::Tcp(s) => s.port,
            Self::Udp(s) => s.port,
            Self::Http3(s) => s.port,
        }
    }

    /// The same service changed by `change`.
    pub fn with(&self, change: &Change) -> Result<Self, ServiceError> {
        let mut value = serde_json::to_value(self).map_err(|e| ServiceError::Alter(e.to_string()))?;
        if let (Some(from), Some(to)) = (value.get("kind"), change.0.get("kind"))
            && from != to
        {
            return Err(ServiceError::Alter(format!("kind cannot change from {from} to {to}")));
        }
        for (key, patch) in &change.0 {
            merge(&mut value[key.as_str()], patch);
        }
        serde_json::from_value(value).map_err(|e| ServiceError::Alter(e.to_string()))
    }

    fn plan(&self, bind: &[IpAddr], pki: &Pki) -> Result<Plan, ServiceError> {
        let plan = |port, listening, listen: ListenSpec, tcp, udp, role| Plan { port, listening, listen, tcp, udp, role };
        Ok(match self {
            Self::Http(s) | Self::Balancer(s) => {
                let role = Role::Http(http::HttpPlan::new(s, s.tls.as_ref(), matches!(self, Self::Balancer(_)), bind, pki)?.into());
                plan(s.port, s.listening, s.listen.clone(), true, false, role)
            }
            Self::Https(s) => {
                let tls = s.tls.clone().unwrap_or_default();
                let role = Role::Http(http::HttpPlan::new(s, Some(&tls), false, bind, pki)?.into());
                plan(s.port, s.listening, s.listen.clone(), true, false, role)
            }
            Self::Dns(s) => plan(s.port, s.listening, ListenSpec::default(), s.tcp, s.udp, Role::Dns(dns::DnsPlan::new(s)?)),
            Self::Tcp(s) => {
                let role = Role::Tcp(tcp::TcpPlan::new(s, bind, pki)?);
                plan(s.port, s.listening, s.listen.clone(), true, false, role)
            }
            Self::Http3(s) => {
                let role = Role::Http3(Box::new(http3::Http3Plan::new(s, bind, pki)?));
                plan(s.port, s.listening, ListenSpec::default(), false, true, role)
            }
            Self::Udp(s) => plan(s.port, s.listening, ListenSpec::default(), false, true, Role::Udp(udp::UdpPlan::new(s)?)),
        })
    }
}

/// A change to a running service: the fields of its specification that become different (a merge patch, RFC 7386).
///
/// Tables are merged field by field, except that a table with a `kind` replaces the old one whole; `null` (JSON only)
/// takes an optional field away.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Change(pub serde_json::Map<String, Value>);

fn merge(old: &mut Value, patch: &Value) {
    match (old, patch) {
        (Value::Object(old), Value::Object(patch)) if !patch.contains_key("kind") => {
            for (key, patch) in patch {
                merge(old.entry(key.as_str()).or_insert(Value::Null), patch);
            }
        }
        (old, patch) => *old = patch.clone(),
    }
}

/// A running service. Dropping it stops the service and closes all its connections.
#[derive(Debug)]
pub struct ServiceHandle {
    original: ServiceSpec,
    current: Mutex<ServiceSpec>,
    bind: Vec<IpAddr>,
    pki: Pki,
    addrs: Vec<SocketAddr>,
    counters: Arc<Counters>,
    listeners: Listeners,
    commands: Option<mpsc::Sender<Command>>,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// Starts a service on every address of `bind`; returns once it listens.
pub fn start(spec: &ServiceSpec, bind: &[IpAddr], pki: &Pki, on: &dyn SpawnIn) -> Result<ServiceHandle, ServiceError> {
    let plan = spec.plan(bind, pki)?;
    let counters = Counters::shared();
    let listeners = Listeners::default();
    let (commands, inbox) = mpsc::channel(16);
    let (ready, started) = std_mpsc::sync_channel(1);
    let (alive, ended) = std_mpsc::sync_channel(1);
    let name = format!("svc-{}", spec.port());
    let start = Start { plan, bind: bind.to_vec(), counters: counters.clone(), listeners: listeners.clone(), commands: inbox, ready };
    let body = move || {
        engine::run(start);
        drop(alive);
    };
    on.spawn(&name, Box::new(body)).map_err(|source| ServiceError::Thread { name, source })?;
    let addrs = started.recv_timeout(PATIENCE).map_err(|_| ServiceError::Gone)??;
    Ok(ServiceHandle {
        original: spec.clone(),
        current: Mutex::new(spec.clone()),
        bind: bind.to_vec(),
        pki: pki.clone(),
        addrs,
        counters,
        listeners,
        commands: Some(commands),
        ended: Mutex::new(ended),
    })
}

impl ServiceHandle {
    /// The addresses it listens on (or would, while `listening` is false).
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What it has seen and done so far.
    pub fn stats(&self) -> ServiceStats {
        let mut stats = self.counters.snapshot();
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for (addr, listener) in listeners.iter() {
            if let Some(queue) = listener.upgrade().and_then(|l| listen::accept_queue(&l)) {
                stats.accept_queue.insert(addr.to_string(), queue);
            }
        }
        stats
    }

    /// The specification in force.
    pub fn spec(&self) -> ServiceSpec {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the running service; in force when this returns. HTTP and DNS requests on connections already open see
    /// the change too; TLS settings hold for new connections. On error nothing has changed, unless a socket could not be
    /// opened again.
    pub fn alter(&self, change: &Change) -> Result<(), ServiceError> {
        self.become_spec(|current| current.with(change))
    }

    /// Goes back to the specification it was started with.
    pub fn restore(&self) -> Result<(), ServiceError> {
        self.become_spec(|_| Ok(self.original.clone()))
    }

    fn become_spec(&self, next: impl FnOnce(&ServiceSpec) -> Result<ServiceSpec, ServiceError>) -> Result<(), ServiceError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = next(&current)?;
        let plan = spec.plan(&self.bind, &self.pki)?;
        let (done, answer) = std_mpsc::sync_channel(1);
        let commands = self.commands.as_ref().ok_or(ServiceError::Gone)?;
        commands.try_send(Command { plan, done }).map_err(|_| ServiceError::Gone)?;
        answer.recv_timeout(PATIENCE).map_err(|_| ServiceError::Gone)??;
        *current = spec;
        Ok(())
    }
}

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        self.commands = None;
        // Until the thread is gone its sockets may still be open; a test or scenario may want the port again.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(PATIENCE);
    }
}
