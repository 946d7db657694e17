//! Runs one service: a thread, a runtime, its sockets, and the changes made to it while it runs. It knows no protocol;
//! each connection or datagram is handed to the role that the plan names.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    dns,
    error::ServiceError,
    http, http3,
    listen::{self, Accept, ListenSpec},
    stats::Counters,
    tcp, udp,
};

/// Datagrams answered at the same time; one more is dropped, as a full socket buffer would.
const MAX_DATAGRAMS: usize = 1024;
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// How often a port chosen by the kernel for the first address is tried on the others.
const PORT_TRIES: u32 = 16;

/// A service specification made ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) listening: bool,
    pub(crate) listen: ListenSpec,
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
    pub(crate) role: Role,
}

/// What a service does with what it receives.
#[derive(Debug)]
pub(crate) enum Role {
    Http(Box<http::HttpPlan>),
    Dns(dns::DnsPlan),
    Tcp(tcp::TcpPlan),
    Udp(udp::UdpPlan),
    Http3(Box<http3::Http3Plan>),
}

/// What every task of a service shares.
#[derive(Debug, Clone)]
pub(crate) struct Ctx {
    pub(crate) counters: Arc<Counters>,
    plan: watch::Receiver<Arc<Plan>>,
    sequence: Arc<AtomicU64>,
}

impl Ctx {
    /// The plan in force now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// Numbers requests from 1, over all connections.
    pub(crate) fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The listeners whose accept queues the oracle may look at.
pub(crate) type Listeners = Arc<Mutex<BTreeMap<SocketAddr, Weak<TcpListener>>>>;

/// A change on its way to the service's thread.
pub(crate) struct Command {
    pub(crate) plan: Plan,
    pub(crate) done: std_mpsc::SyncSender<Result<(), ServiceError>>,
}

/// What a new service thread is given.
pub(crate) struct Start {
    pub(crate) plan: Plan,
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) listeners: Listeners,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) ready: std_mpsc::SyncSender<Result<Vec<SocketAddr>, ServiceError>>,
}

/// The body of the service's thread: returns when the handle is dropped.
pub(crate) fn run(start: Start) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(start)),
        Err(source) => {
            let _ = start.ready.send(Err(ServiceError::Thread { name: "tokio runtime".to_owned(), source }));
        }
    }
}

async fn serve(start: Start) {
    let Start { plan, bind, counters, listeners, mut commands, ready } = start;
    let (publish, plan) = watch::channel(Arc::new(plan));
    let ctx = Ctx { counters, plan, sequence: Arc::default() };
    let mut engine = Engine { bind, publish, ctx, listeners, addrs: Vec::new(), open: Vec::new() };
    let opened = engine.open();
    let failed = opened.is_err();
    let _ = ready.send(opened.map(|()| engine.addrs.clone()));
    if failed {
        return;
    }
    while let Some(Command { plan, done }) = commands.recv().await {
        let _ = done.send(engine.apply(plan).await);
    }
}

struct Engine {
    bind: Vec<IpAddr>,
    publish: watch::Sender<Arc<Plan>>,
    ctx: Ctx,
    listeners: Listeners,
    /// Bound addresses; kept while not listening so that the service comes back on the same ports.
    addrs: Vec<SocketAddr>,
    /// Tasks that own the sockets; aborting them closes sockets and connections.
    open: Vec<JoinHandle<()>>,
}

impl Engine {
    async fn apply(&mut self, plan: Plan) -> Result<(), ServiceError> {
        let old = self.ctx.plan();
        if plan.port != old.port {
            return Err(ServiceError::Alter(format!("port cannot change from {} to {}", old.port, plan.port)));
        }
        let reopen = plan.listening != old.listening
            || (plan.tcp, plan.udp) != (old.tcp, old.udp)
            || plan.listen.receive_buffer != old.listen.receive_buffer;
        let backlog = plan.listen.backlog;
        self.publish.send_replace(Arc::new(plan));
        if reopen {
            self.close().await;
            return self.open();
        }
        if backlog != old.listen.backlog {
            self.set_backlog(backlog)?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        for task in self.open.drain(..) {
            task.abort();
            // Only a task that has been dropped has closed its socket.
            let _ = task.await;
        }
        self.registry(BTreeMap::clear);
    }

    fn open(&mut self) -> Result<(), ServiceError> {
        let plan = self.ctx.plan();
        if self.addrs.is_empty() {
            self.addrs = listen::addresses(&self.bind, plan.port);
        }
        if !plan.listening {
            return Ok(());
        }
        let mut tries = 0;
        let sockets = loop {
            tries += 1;
            match open_all(&self.addrs, &plan) {
                Ok(sockets) => break sockets,
                // A port that the kernel chose for one address may be taken on another.
                Err(why) if tries >= PORT_TRIES => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        for (addr, listener, socket) in sockets {
            let at = self.addrs.iter_mut().find(|a| a.ip() == addr.ip());
            at.into_iter().for_each(|a| *a = addr);
            if let Some(listener) = listener {
                let listener = Arc::new(listener);
                self.registry(|r| r.insert(addr, Arc::downgrade(&listener)));
                self.open.push(tokio::spawn(accept_loop(listener, self.ctx.clone())));
            }
            if let Some(socket) = socket {
                self.open.push(match plan.role {
                    Role::Http3(_) => tokio::spawn(http3::serve(socket, self.ctx.clone())),
                    _ => tokio::spawn(datagram_loop(Arc::new(socket), self.ctx.clone())),
                });
            }
        }
        Ok(())
    }

    fn set_backlog(&self, backlog: u16) -> Result<(), ServiceError> {
        let live = self.registry(|r| r.iter().filter_map(|(addr, l)| Some((*addr, l.upgrade()?))).collect::<Vec<_>>());
        for (addr, listener) in live {
            listen::set_backlog(&listener, backlog).map_err(|source| ServiceError::Socket { operation: "set backlog of", addr, source })?;
        }
        Ok(())
    }

    fn registry<T>(&self, f: impl FnOnce(&mut BTreeMap<SocketAddr, Weak<TcpListener>>) -> T) -> T {
        f(&mut self.listeners.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Opened = (SocketAddr, Option<TcpListener>, Option<UdpSocket>);

fn open_all(addrs: &[SocketAddr], plan: &Plan) -> Result<Vec<Opened>, ServiceError> {
    let mut port = 0;
    let mut opened = Vec::new();
    for addr in addrs {
        let mut addr = *addr;
        if addr.port() == 0 {
            addr.set_port(port);
        }
        let wanted = addr;
        let failed = |source| ServiceError::Socket { operation: "read address of", addr: wanted, source };
        let listener = if plan.tcp { Some(listen::tcp(addr, &plan.listen)?) } else { None };
        if let Some(listener) = &listener {
            addr = listener.local_addr().map_err(failed)?;
        }
        let socket = if plan.udp { Some(listen::udp(addr)?) } else { None };
        if let Some(socket) = &socket {
            addr = socket.local_addr().map_err(failed)?;
        }
        port = addr.port();
        opened.push((addr, listener, socket));
    }
    Ok(opened)
}

/// Takes connections as the plan says, for as long as the task lives. Its connections die with it.
async fn accept_loop(listener: Arc<TcpListener>, mut ctx: Ctx) {
    let mut connections = JoinSet::new();
    loop {
        let listen = ctx.plan.borrow_and_update().listen.clone();
        tokio::select! {
            changed = ctx.plan.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if listen.accept != Accept::Never => {
                take(accepted, &mut connections, &listen, &ctx).await;
            }
        }
    }
}

async fn take(accepted: io::Result<(TcpStream, SocketAddr)>, connections: &mut JoinSet<()>, listen: &ListenSpec, ctx: &Ctx) {
    let Ok((stream, _)) = accepted else {
        // Out of descriptors, or the connection is gone already: wait a little rather than spin.
        return sleep(Duration::from_millis(20)).await;
    };
    Counters::add(&ctx.counters.accepted, 1);
    if connections.len() >= listen.max_connections {
        Counters::add(&ctx.counters.over_limit, 1);
        return;
    }
    let _ = stream.set_nodelay(true);
    connections.spawn(connection(stream, ctx.clone()));
    if let Some(pause) = listen.accept.pause() {
        ctx.counters.bite("slow-accept");
        sleep(pause).await;
    }
}

async fn connection(stream: TcpStream, ctx: Ctx) {
    let plan = ctx.plan();
    match &plan.role {
        Role::Http(http) => http::serve(stream, http, &ctx).await,
        Role::Dns(_) => dns::serve_tcp(stream, &ctx).await,
        Role::Tcp(tcp) => tcp::serve(stream, tcp, &ctx).await,
        Role::Udp(_) | Role::Http3(_) => {}
    }
}

async fn datagram_loop(socket: Arc<UdpSocket>, ctx: Ctx) {
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        tokio::select! {
            Some(_) = answers.join_next() => {}
            received = socket.recv_from(&mut buffer) => match received {
                Ok((n, from)) => {
                    Counters::add(&ctx.counters.bytes_in, n);
                    if answers.len() < MAX_DATAGRAMS {
                        answers.spawn(datagram(buffer[..n].to_vec(), from, socket.clone(), ctx.clone()));
                    } else {
                        Counters::add(&ctx.counters.over_limit, 1);
                    }
                }
                // An ICMP error of an earlier answer; the socket lives on.
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

async fn datagram(bytes: Vec<u8>, from: SocketAddr, socket: Arc<UdpSocket>, ctx: Ctx) {
    let plan = ctx.plan();
    match &plan.role {
        Role::Dns(dns) => dns::serve_udp(bytes, from, socket, dns, &ctx).await,
        Role::Udp(udp) => udp::serve(bytes, from, socket, udp, &ctx).await,
        Role::Http(_) | Role::Tcp(_) | Role::Http3(_) => {}
    }
}
