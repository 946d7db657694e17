//! One computer of the lab: a network namespace and the handful of files in /etc that decide how names resolve.
//! It runs what it is given; it starts nothing by itself.

mod command;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::{io, path::Path};

use crate::error::LabError;
use crate::netns::NetNs;
use crate::rtnl::Rtnl;
use crate::services::SpawnIn;
use crate::topology::Prefix;

/// Which internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(addr: IpAddr) -> Family {
        if addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// With which powers a command runs inside a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Every capability over the lab's own namespaces.
    Root,
    /// No capability at all and none to be gained, whatever the uid says.
    Unprivileged,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Interface {
    /// Name inside the host.
    pub name: String,
    /// The cable plugged into it.
    pub link: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// Addresses as given in the topology.
    #[serde(skip)]
    pub addrs: Vec<Prefix>,
}

/// One network namespace with a name, its interfaces and its view of /etc.
#[derive(Debug)]
pub struct Host {
    /// Its name in the topology.
    pub name: String,
    pub(crate) netns: NetNs,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) loopback: Vec<Prefix>,
    /// A wire beside the network of the scenario, for a witness: no fault knows it.
    pub(crate) management: Option<Interface>,
    etc: Mutex<BTreeMap<&'static str, String>>,
}

impl Host {
    /// An empty host. Names resolve from /etc/hosts, then DNS, and both are empty.
    pub(crate) fn create(name: &str) -> Result<Host, LabError> {
        let hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        let etc = BTreeMap::from([
            ("/etc/hosts", hosts),
            ("/etc/resolv.conf", String::new()),
            ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ]);
        let (interfaces, loopback) = (Vec::new(), Vec::new());
        Ok(Host { name: name.to_owned(), netns: NetNs::create(name)?, interfaces, loopback, management: None, etc: Mutex::new(etc) })
    }

    /// Runs `f` on a fresh thread inside the host and returns what it returns.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, LabError> {
        self.netns.run(f)
    }

    /// Starts a thread that lives inside the host. The thread is in the namespace before this returns.
    pub fn spawn(&self, name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LabError> {
        let netns = self.netns.clone();
        let (entered, wait) = std::sync::mpsc::channel();
        let handle = thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            let result = netns.enter();
            let inside = result.is_ok();
            let _ = entered.send(result);
            if inside {
                f();
            }
        });
        let handle = handle.map_err(|e| LabError::system("start thread", name, e))?;
        wait.recv().map_err(|_| LabError::system("start thread", name, io::Error::other("it died")))??;
        Ok(handle)
    }

    /// A command that will run inside the host: its network, its /etc, its /sys, the given powers.
    ///
    /// The child dies with the *thread* that starts it, so spawn it from a thread that outlives it.
    pub fn command(&self, program: &Path, privilege: Privilege) -> Result<Command, LabError> {
        let etc = self.etc.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        command::inside(&self.netns, &etc, program, privilege)
    }

    /// Writes a sysctl of this host: `"net/ipv4/ip_forward"`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        self.netns.sysctl(key, value)
    }

    /// Reads a file in this host's view, such as `/proc/thread-self/net/snmp`.
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        self.netns.read(path)
    }

    /// An rtnetlink socket for this host: links, addresses, routes, neighbours.
    pub fn rtnl(&self) -> Result<Rtnl, LabError> {
        self.netns.rtnl()
    }

    /// The host's namespace.
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// The host's main address of a family: a loopback address from the topology if it has one (the address of
    /// a balancer), else the first of its first interface.
    pub fn addr(&self, family: Family) -> Option<IpAddr> {
        self.addrs().find(|addr| Family::of(*addr) == family)
    }

    /// Every address the topology gave it, main ones first.
    pub fn addrs(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let wired = self.interfaces.iter().flat_map(|i| &i.addrs);
        self.loopback.iter().chain(wired).map(|prefix| prefix.addr)
    }

    /// The host's interfaces in the topology's order.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The interface that the cable named `link` is plugged into.
    pub fn iface(&self, link: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.link == link)
    }

    /// Sets the text of /etc/resolv.conf for commands made from now on.
    pub fn set_resolv_conf(&self, text: impl Into<String>) {
        self.set_etc("/etc/resolv.conf", text.into());
    }

    /// Sets the text of /etc/hosts for commands made from now on.
    pub fn set_hosts(&self, text: impl Into<String>) {
        self.set_etc("/etc/hosts", text.into());
    }

    /// Sets the text of /etc/nsswitch.conf for commands made from now on.
    pub fn set_nsswitch_conf(&self, text: impl Into<String>) {
        self.set_etc("/etc/nsswitch.conf", text.into());
    }

    /// The text a command would see at /etc/resolv.conf, /etc/hosts or /etc/nsswitch.conf.
    pub fn etc(&self, path: &str) -> Option<String> {
        self.etc.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(path).cloned()
    }

    fn set_etc(&self, path: &'static str, text: String) {
        self.etc.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(path, text);
    }
}

/// Services live on threads of the host they serve.
impl SpawnIn for Host {
    fn spawn(&self, name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Host::spawn(self, name, f).map(drop).map_err(io::Error::other)
    }
}
