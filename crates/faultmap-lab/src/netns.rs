//! One network namespace, kept by a file descriptor. Nothing is pinned in the file system, so nothing can be left behind.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::LabError;
use crate::rtnl::Rtnl;

/// A handle on a network namespace; the namespace dies with the last handle and the last thread in it.
#[derive(Debug, Clone)]
pub struct NetNs {
    name: String,
    file: Arc<File>,
}

impl NetNs {
    /// Makes an empty namespace; loopback is up.
    pub fn create(name: &str) -> Result<NetNs, LabError> {
        let file = on_thread(name, || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| LabError::system("unshare", "network namespace", e))?;
            open_own()
        })??;
        let netns = NetNs { name: name.to_owned(), file: Arc::new(file) };
        netns.set_loopback_up()?;
        Ok(netns)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<NetNs, LabError> {
        Ok(NetNs { name: "current".to_owned(), file: Arc::new(open_own()?) })
    }

    /// The name given at creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, for `setns` in a child process or `IFLA_NET_NS_FD`.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Moves the calling thread into this namespace for good.
    pub(crate) fn enter(&self) -> Result<(), LabError> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|e| LabError::system("enter network namespace of", &self.name, e))
    }

    /// Runs `f` on a fresh thread inside the namespace and waits for it.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, LabError> {
        let netns = self.clone();
        on_thread(&self.name, move || netns.enter().map(|()| f()))?
    }

    /// An rtnetlink socket that acts on this namespace from any thread.
    pub fn rtnl(&self) -> Result<Rtnl, LabError> {
        self.run(Rtnl::open)?
    }

    pub(crate) fn set_loopback_up(&self) -> Result<(), LabError> {
        self.rtnl()?.set_up("lo", true)
    }

    /// Writes a sysctl of this namespace, `key` as a path below /proc/sys: "net/ipv4/ip_forward".
    ///
    /// Only `net/` is allowed: those are the settings a network namespace owns.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = sysctl_path(key)?;
        let value = value.to_owned();
        self.run(move || fs::write(&path, value).map_err(|e| LabError::system("write sysctl", path, e)))?
    }

    /// Writes several sysctls in order, all of them fixed keys of this program.
    pub(crate) fn sysctls(&self, settings: Vec<(&'static str, &'static str)>) -> Result<(), LabError> {
        self.run(move || {
            settings.into_iter().try_for_each(|(key, value)| {
                let path = sysctl_path(key)?;
                fs::write(&path, value).map_err(|e| LabError::system("write sysctl", path, e))
            })
        })?
    }

    /// Reads a file of this namespace's view, such as "/proc/thread-self/net/snmp" or "/proc/sys/net/…".
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        let path = path.to_owned();
        self.run(move || fs::read_to_string(&path).map_err(|e| LabError::system("read", path, e)))?
    }
}

fn sysctl_path(key: &str) -> Result<String, LabError> {
    let slashed = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    let ours = slashed.starts_with("net/") && !slashed.split('/').any(|part| part == "..");
    if !ours {
        let reason = "the lab only sets net/ sysctls, which belong to its namespaces".to_owned();
        return Err(LabError::Refused { doing: "write sysctl", what: key.to_owned(), reason });
    }
    Ok(format!("/proc/sys/{slashed}"))
}

fn open_own() -> Result<File, LabError> {
    const PATH: &str = "/proc/thread-self/ns/net";
    File::open(PATH).map_err(|e| LabError::system("open", PATH, e))
}

fn on_thread<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> Result<T, LabError> {
    let handle =
        thread::Builder::new().name(name.chars().take(15).collect()).spawn(f).map_err(|e| LabError::system("start thread for", name, e))?;
    handle.join().map_err(|panic| LabError::Panicked { host: name.to_owned(), message: panic_message(&*panic) })
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
