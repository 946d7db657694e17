//! The one thread that moves frames, and the lock around the wiring it moves them through.
//! It sleeps in poll(2) until a frame arrives or one is due; an idle fabric costs nothing.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::core::{Core, End};
use super::impairment::Impairment;
use super::link::{Direction, Link, LinkStats};
use super::offload;
use super::port::Port;
use super::switch::Switch;
use super::tap::{Tap, TapSpec};
use crate::error::LabError;
use crate::netns::NetNs;
use crate::rtnl::{Rtnl, VethEnd};

/// Room for the longest frame a veth can carry.
const FRAME_LIMIT: usize = 65_535 + 18;
/// Frames taken from one port before the others get their turn.
const BATCH: usize = 64;
/// The far ends carry whatever the hosts send; the hosts' MTU and `max_frame` are the limits that count.
const FAR_MTU: u32 = 65_535;

/// A host's interface to be made and plugged into the fabric.
#[derive(Debug)]
pub struct PortSpec<'a> {
    /// The host's namespace.
    pub netns: &'a NetNs,
    /// The interface's name in it.
    pub iface: &'a str,
    /// The interface's MAC address.
    pub mac: [u8; 6],
    /// The interface's MTU in bytes.
    pub mtu: u32,
    /// Makes it a TAP device; a veth end unless given.
    pub tap: Option<TapSpec>,
}

/// What the engine's thread and the controls share.
#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    ports: Mutex<Arc<Vec<Port>>>,
    rtnl: Mutex<Rtnl>,
    waker: UnixStream,
    stop: AtomicBool,
}

impl Shared {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        f(&mut lock(&self.core))
    }

    /// The counters of a cable, including what the kernel dropped because the engine did not keep up.
    pub(super) fn stats(&self, link: usize) -> LinkStats {
        let ports = Arc::clone(&lock(&self.ports));
        let mut core = lock(&self.core);
        for (number, port) in ports.iter().enumerate() {
            if let Some((owner, direction)) = core.port_way(number) {
                core.count_overrun(owner, direction, port.take_drops());
            }
        }
        core.stats(link)
    }

    pub(super) fn inject(&self, link: usize, direction: Direction, frame: Vec<u8>) {
        self.with(|core| core.inject(link, direction, frame, Instant::now()));
        self.wake();
    }

    /// A cable that is out takes the carrier of the interfaces at both its ends: their far ends go down.
    pub(super) fn set_carrier(&self, link: usize, up: bool) -> Result<(), LabError> {
        let Some(ends) = self.with(|core| core.ends(link)) else {
            return Ok(());
        };
        self.with(|core| core.set_carrier(link, up));
        let ports = Arc::clone(&lock(&self.ports));
        let rtnl = lock(&self.rtnl);
        for end in ends {
            let End::Port(port) = end else { continue };
            if let Some(port) = ports.get(port) {
                port.set_carrier(up, &rtnl)?;
            }
        }
        Ok(())
    }

    /// Stops or resumes taking frames out of the interfaces from which they would travel in `direction`.
    pub(super) fn set_stalled(&self, link: usize, direction: Direction, stalled: bool) {
        let Some(ends) = self.with(|core| core.ends(link)) else { return };
        if let End::Port(number) = ends[direction.index()]
            && let Some(port) = lock(&self.ports).get(number)
        {
            port.set_stalled(stalled);
        }
        self.wake();
    }

    fn wake(&self) {
        // A full pipe already means a wake-up is pending.
        let _ = (&self.waker).write(&[1]);
    }
}

/// A poisoned lock still guards whole data: the wiring never panics half way through a change by design.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// All wires and switches of one network.
#[derive(Debug)]
pub struct Fabric {
    netns: NetNs,
    shared: Arc<Shared>,
    wakeups: Option<UnixStream>,
    ports: Vec<Port>,
    thread: Option<JoinHandle<()>>,
}

impl Fabric {
    /// An empty fabric in a namespace of its own.
    pub fn create() -> Result<Fabric, LabError> {
        let netns = NetNs::create("fabric")?;
        // The far ends must not speak: no router solicitations, no multicast reports, no ARP.
        let _ = netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let (waker, wakeups) = UnixStream::pair().map_err(|e| LabError::system("create", "wake-up pipe", e))?;
        for end in [&waker, &wakeups] {
            end.set_nonblocking(true).map_err(|e| LabError::system("set nonblocking", "wake-up pipe", e))?;
        }
        let shared = Shared {
            core: Mutex::default(),
            ports: Mutex::default(),
            rtnl: Mutex::new(netns.rtnl()?),
            waker,
            stop: AtomicBool::new(false),
        };
        Ok(Fabric { netns, shared: Arc::new(shared), wakeups: Some(wakeups), ports: Vec::new(), thread: None })
    }

    /// Makes a host's interface and its end in the fabric. The host's side stays down and has no address yet.
    pub fn add_port(&mut self, spec: &PortSpec<'_>) -> Result<End, LabError> {
        let number = self.ports.len();
        let port = match spec.tap {
            Some(tap) => self.add_tap(spec, tap)?,
            None => self.add_veth(spec, number)?,
        };
        self.ports.push(port);
        Ok(End::Port(number))
    }

    fn add_veth(&self, spec: &PortSpec<'_>, number: usize) -> Result<Port, LabError> {
        let far = format!("p{number}");
        // Locally administered, unlike any host's.
        let far_mac = [0x02, 0xfa, 0xb0, 0, (number >> 8) as u8, number as u8];
        let near_end = VethEnd { name: spec.iface, mac: spec.mac, mtu: spec.mtu, netns: spec.netns };
        let far_end = VethEnd { name: &far, mac: far_mac, mtu: FAR_MTU, netns: &self.netns };
        let rtnl = lock(&self.shared.rtnl);
        rtnl.create_veth(&near_end, &far_end)?;
        let iface = spec.iface.to_owned();
        spec.netns.run(move || offload::disable(&iface))??;
        rtnl.set_up(&far, true)?;
        let index = rtnl.index(&far)?;
        drop(rtnl);
        self.netns.run(move || Port::veth(&far, index))?
    }

    fn add_tap(&self, spec: &PortSpec<'_>, tap: TapSpec) -> Result<Port, LabError> {
        let (iface, mac, mtu) = (spec.iface.to_owned(), spec.mac, spec.mtu);
        let made = move || {
            let made = Tap::create(&iface, mac, mtu, &tap)?;
            offload::disable(&iface)?;
            Ok(Port::tap(made))
        };
        spec.netns.run(made)?
    }

    /// Adds a switch.
    pub fn add_switch(&mut self, name: &str) -> (End, Switch) {
        let id = self.shared.with(Core::add_switch);
        (End::Switch(id), Switch { shared: Arc::clone(&self.shared), id, name: name.to_owned() })
    }

    /// Plugs a cable between two ends. `nodes` are the names of what the ends belong to.
    pub fn add_link(&mut self, name: &str, nodes: [String; 2], ends: [End; 2], impairment: &Impairment) -> Link {
        let id = self.shared.with(|core| core.add_link(ends, impairment));
        Link { shared: Arc::clone(&self.shared), id, name: name.to_owned(), nodes }
    }

    /// Starts moving frames. Ports cannot be added afterwards.
    pub fn start(&mut self) -> Result<(), LabError> {
        let Some(wakeups) = self.wakeups.take() else {
            return Ok(());
        };
        let ports = Arc::new(std::mem::take(&mut self.ports));
        *lock(&self.shared.ports) = Arc::clone(&ports);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name("fabric".to_owned())
            .spawn(move || {
                exact_timers();
                Engine { shared, ports, wakeups, buffer: vec![0; FRAME_LIMIT] }.run();
            })
            .map_err(|e| LabError::system("start thread", "fabric", e))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Waits until every port passes frames; its host's side must have been set up before.
    pub fn await_ports(&self) -> Result<(), LabError> {
        let ports = Arc::clone(&lock(&self.shared.ports));
        let rtnl = lock(&self.shared.rtnl);
        ports.iter().try_for_each(|port| port.make_ready(&rtnl))
    }
}

impl Fabric {
    /// Forgets what was lost while interfaces came up: nobody measured anything yet.
    pub fn forget_losses(&self) {
        let ports = Arc::clone(&lock(&self.shared.ports));
        for port in ports.iter() {
            let _ = port.take_drops();
        }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The default slack of 50 µs would be a sixth of a wire's delay.
#[allow(unsafe_code)]
fn exact_timers() {
    // SAFETY: a system call without pointers, on the calling thread.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0, 0, 0);
    }
}

struct Engine {
    shared: Arc<Shared>,
    ports: Arc<Vec<Port>>,
    wakeups: UnixStream,
    buffer: Vec<u8>,
}

impl Engine {
    fn run(mut self) {
        let mut ready = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let wait = self.deliver();
            match self.sleep(wait, &mut ready) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            for port in &ready {
                self.collect(*port);
            }
        }
    }

    /// Hands over what is due and says how long until the next.
    fn deliver(&mut self) -> Option<Duration> {
        let mut core = lock(&self.shared.core);
        let mut now = Instant::now();
        loop {
            while let Some(delivery) = core.poll_delivery(now) {
                let Some(port) = self.ports.get(delivery.port) else {
                    continue;
                };
                match port.send(&delivery.frame) {
                    Ok(()) => {}
                    Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => {}
                    Err(_) => core.count_overrun(delivery.link, delivery.direction, 1),
                }
            }
            let due = core.next_due()?;
            now = Instant::now();
            if due > now {
                return Some(due - now);
            }
        }
    }

    /// Blocks until a frame arrives, `wait` is over or someone wakes us.
    fn sleep(&mut self, wait: Option<Duration>, ready: &mut Vec<usize>) -> nix::Result<()> {
        ready.clear();
        let open = self.ports.iter().enumerate().filter(|(_, port)| !port.is_stalled()).map(|(number, _)| number).collect::<Vec<_>>();
        let sockets = open.iter().filter_map(|number| self.ports.get(*number)).map(AsFd::as_fd).chain([self.wakeups.as_fd()]);
        let mut fds = sockets.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect::<Vec<_>>();
        ppoll(&mut fds, wait.map(TimeSpec::from_duration), None)?;
        let is_hot = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        // The wake-up pipe is last and has no port.
        ready.extend(open.iter().zip(&fds).filter(|(_, fd)| is_hot(fd)).map(|(number, _)| *number));
        if fds.last().is_some_and(is_hot) {
            let mut sink = [0_u8; 64];
            let _ = (&self.wakeups).read(&mut sink);
        }
        Ok(())
    }

    fn collect(&mut self, number: usize) {
        let Some(port) = self.ports.get(number) else {
            return;
        };
        for _ in 0..BATCH {
            let Some(len) = port.receive(&mut self.buffer) else {
                return;
            };
            let frame = self.buffer.get(..len).unwrap_or_default().to_vec();
            lock(&self.shared.core).handle_frame(number, frame, Instant::now());
        }
    }
}
