//! How a child process gets into a host: its network, its files in /etc, its /sys, its capabilities.
//! Everything between fork and exec is prepared beforehand, because nothing may be allocated there.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::Privilege;
use crate::error::LabError;
use crate::netns::NetNs;

/// Variables that would make a program inside the lab depend on the machine outside.
const FOREIGN_ENV: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
];

/// A directory that exists everywhere and that the child covers only for a moment.
const STAGE: &CStr = c"/sys";

struct EtcFile {
    staged: CString,
    target: CString,
    text: Vec<u8>,
}

pub(super) fn inside(
    netns: &NetNs,
    etc: &BTreeMap<&'static str, String>,
    program: &Path,
    privilege: Privilege,
) -> Result<Command, LabError> {
    let etc = etc.iter().map(|(path, text)| etc_file(path, text)).collect::<Result<Vec<_>, _>>()?;
    let file = Arc::clone(netns.file());
    let mut command = Command::new(program);
    for variable in FOREIGN_ENV {
        command.env_remove(variable);
    }
    // SAFETY: the closure runs between fork and exec of a process that may have threads, so it makes only system
    // calls on memory prepared above; it neither allocates nor takes locks.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || enter(&file, &etc, privilege));
    }
    Ok(command)
}

/// Files missing on this machine cannot be covered without root, and only nsswitch.conf may be missing.
fn etc_file(path: &'static str, text: &str) -> Result<EtcFile, LabError> {
    let refused = |reason: String| LabError::Refused { doing: "replace", what: path.to_owned(), reason };
    let name = path.rsplit('/').next().unwrap_or(path);
    let c = |s: String| CString::new(s).map_err(|e| refused(e.to_string()));
    if !Path::new(path).exists() && !path.ends_with("nsswitch.conf") {
        return Err(refused("this machine has no such file to cover; create an empty one".to_owned()));
    }
    let stage = STAGE.to_string_lossy();
    Ok(EtcFile { staged: c(format!("{stage}/{name}"))?, target: c(path.to_owned())?, text: text.as_bytes().to_vec() })
}

fn enter(netns: &File, etc: &[EtcFile], privilege: Privilege) -> io::Result<()> {
    enter_namespaces(netns)?;
    cover_etc(etc)?;
    show_own_sysfs()?;
    die_with_parent()?;
    if privilege == Privilege::Unprivileged {
        drop_capabilities()?;
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code)]
fn enter_namespaces(netns: &File) -> io::Result<()> {
    // SAFETY: plain system calls without pointers.
    unsafe {
        check(libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET))?;
        check(libc::unshare(libc::CLONE_NEWNS))?;
    }
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE)
}

/// The files are written into a tmpfs that covers the stage, bound over their targets, and the tmpfs is taken away:
/// the bind mounts keep it alive.
fn cover_etc(etc: &[EtcFile]) -> io::Result<()> {
    mount(Some(c"tmpfs"), STAGE, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV)?;
    for file in etc {
        write_file(&file.staged, &file.text)?;
        match mount(Some(&file.staged), &file.target, None, libc::MS_BIND) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    // SAFETY: STAGE is a valid C string.
    #[allow(unsafe_code)]
    check(unsafe { libc::umount2(STAGE.as_ptr(), libc::MNT_DETACH) })
}

/// sysfs shows the interfaces of the namespace it was mounted in. Where a container forbids a fresh one, an empty
/// /sys/class/net is better than the interfaces of another host.
fn show_own_sysfs() -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    if mount(Some(c"sysfs"), c"/sys", Some(c"sysfs"), flags).is_ok() {
        return Ok(());
    }
    match mount(Some(c"tmpfs"), c"/sys/class/net", Some(c"tmpfs"), flags) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

#[allow(unsafe_code)]
fn mount(source: Option<&CStr>, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let pointer = |s: Option<&CStr>| s.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a C string that outlives the call.
    check(unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, std::ptr::null()) })
}

#[allow(unsafe_code)]
fn write_file(path: &CStr, text: &[u8]) -> io::Result<()> {
    // SAFETY: the path is a C string, the buffer is valid for its length, the descriptor is closed on every way out.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC, 0o644);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        let result =
            if usize::try_from(written) == Ok(text.len()) { check(libc::fchmod(fd, 0o644)) } else { Err(io::Error::last_os_error()) };
        libc::close(fd);
        result
    }
}

#[allow(unsafe_code)]
fn die_with_parent() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })
}

/// With an empty bounding set an exec as uid 0 gains nothing either (capabilities(7)).
#[allow(unsafe_code)]
fn drop_capabilities() -> io::Result<()> {
    const CAP_VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: CAP_VERSION_3, pid: 0 };
    let none = [[0_u32; 3]; 2];
    // SAFETY: the two structures have the layout of capset(2) version 3 and live through the call.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))?;
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                // EINVAL marks the end of the capabilities this kernel knows.
                let error = io::Error::last_os_error();
                if error.raw_os_error() == Some(libc::EINVAL) {
                    break;
                }
                return Err(error);
            }
        }
        if libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
