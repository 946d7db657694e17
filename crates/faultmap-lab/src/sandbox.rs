//! Puts this process into namespaces of its own, so that nothing the lab does can reach the machine it runs on.
//! It never touches the namespaces it was started in, and it never asks for root.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, getpid, pipe};

use crate::error::LabError;
use crate::netns::NetNs;

/// Proof that this process lives in a network, mount and (almost always) user namespace of its own.
///
/// The namespaces die with the last process in them: there is nothing to clean up and no way to forget it.
#[derive(Debug)]
pub struct Sandbox {
    user_namespace: bool,
}

impl Sandbox {
    /// Enters the sandbox. Must be called while the process has a single thread, before any runtime starts.
    ///
    /// A user namespace is entered even by root, so that a run as root and a run as a user see the same kernel
    /// permissions. Only where the system forbids user namespaces does root fall back to plain namespaces.
    pub fn enter() -> Result<Sandbox, LabError> {
        let threads = count_threads()?;
        if threads != 1 {
            return Err(LabError::NotSingleThreaded { threads });
        }
        let user_namespace = match enter_user_namespace() {
            Ok(()) => true,
            Err(_) if has_sys_admin() => false,
            Err(error) => return Err(error),
        };
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
            .map_err(|e| LabError::system("unshare", "network and mount namespace", e))?;
        make_mounts_private()?;
        NetNs::current()?.set_loopback_up()?;
        Ok(Sandbox { user_namespace })
    }

    /// Whether a user namespace shields the machine (false only for root on systems that forbid them).
    pub fn has_user_namespace(&self) -> bool {
        self.user_namespace
    }
}

/// Mount events must not travel back to the namespace we came from.
pub(crate) fn make_mounts_private() -> Result<(), LabError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|e| LabError::system("make private", "every mount", e))
}

fn count_threads() -> Result<usize, LabError> {
    let entries = fs::read_dir("/proc/self/task").map_err(|e| LabError::system("read", "/proc/self/task", e))?;
    Ok(entries.count())
}

fn has_sys_admin() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    bits & (1 << CAP_SYS_ADMIN) != 0
}

/// Root keeps every id it had (a helper outside the new namespace must write that map: user_namespaces(7));
/// anyone else becomes the namespace's uid 0 and is nobody else there.
fn enter_user_namespace() -> Result<(), LabError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid == 0 && has_sys_admin() {
        return enter_with_helper();
    }
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| forbidden(e.into()))?;
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write_map("/proc/self/gid_map", &format!("0 {gid} 1"))
}

fn enter_with_helper() -> Result<(), LabError> {
    let uid_map = identity_map("/proc/self/uid_map")?;
    let gid_map = identity_map("/proc/self/gid_map")?;
    let (read_end, write_end) = pipe().map_err(|e| LabError::system("create", "pipe", e))?;
    let target = getpid();
    // SAFETY: the process has one thread (checked by the caller), so the child may run ordinary code.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() }.map_err(|e| LabError::system("fork", "the id map writer", e))?;
    match forked {
        ForkResult::Child => {
            drop(write_end);
            let written = write_maps_of(target, read_end, &uid_map, &gid_map);
            // SAFETY: ends the helper without running the parent's destructors.
            #[allow(unsafe_code)]
            unsafe {
                libc::_exit(i32::from(written.is_err()))
            }
        }
        ForkResult::Parent { child } => {
            drop(read_end);
            let unshared = unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| forbidden(e.into()));
            if unshared.is_ok() {
                let _ = fs::File::from(write_end).write_all(b"!");
            } else {
                drop(write_end);
            }
            let _ = waitpid(child, None);
            unshared?;
            verify_mapped()
        }
    }
}

fn write_maps_of(target: Pid, ready: OwnedFd, uid_map: &str, gid_map: &str) -> io::Result<()> {
    let mut byte = [0_u8; 1];
    fs::File::from(ready).read_exact(&mut byte)?;
    fs::write(format!("/proc/{target}/uid_map"), uid_map)?;
    fs::write(format!("/proc/{target}/gid_map"), gid_map)
}

/// Every id this namespace knows, mapped to itself.
fn identity_map(path: &str) -> Result<String, LabError> {
    let text = fs::read_to_string(path).map_err(|e| LabError::system("read", path, e))?;
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let inside = fields.next()?;
        let count = fields.nth(1)?;
        Some(format!("{inside} {inside} {count}\n"))
    });
    Ok(lines.collect())
}

fn verify_mapped() -> Result<(), LabError> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(forbidden(io::Error::other("the id maps could not be written")))
}

fn write_map(path: &str, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => forbidden(e),
        _ => LabError::system("write", path, e),
    })
}

/// Names the setting that is in the way, so that the message can be acted upon.
fn forbidden(error: io::Error) -> LabError {
    let apparmor = setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    let debian = setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0);
    let none_left = setting("/proc/sys/user/max_user_namespaces") == Some(0);
    let (why, remedy) = if apparmor {
        (
            "kernel.apparmor_restrict_unprivileged_userns=1 (the default of Ubuntu 23.10 and later)",
            "Allow it until the next boot: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n\
          or give faultmap an AppArmor profile that has `userns,`; or run the lab as root: sudo faultmap lab ...",
        )
    } else if debian {
        (
            "kernel.unprivileged_userns_clone=0",
            "Allow it: sudo sysctl -w kernel.unprivileged_userns_clone=1; or run the lab as root: sudo faultmap lab ...",
        )
    } else if none_left {
        (
            "user.max_user_namespaces=0",
            "Allow some: sudo sysctl -w user.max_user_namespaces=10000; or run the lab as root: sudo faultmap lab ...",
        )
    } else {
        (
            "no known setting explains it; a seccomp filter (as containers have) is likely",
            "In a container, start it with --security-opt seccomp=unconfined or --privileged; \
          else run the lab as root: sudo faultmap lab ...",
        )
    };
    LabError::UserNamespaceForbidden { why: format!("{why}: {error}"), remedy: remedy.to_owned() }
}

fn setting(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
