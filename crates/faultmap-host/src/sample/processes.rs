//! The programs behind listeners, as far as they may be looked at, and who is short of descriptors. Never touches a process.

use super::missing;
use crate::{proc_text, procfs};
use faultmap_model::host::{HostSample, ProcessFds, ProcessSample};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Processes looked at.
const PROCESSES_MAX: usize = 8192;
/// Descriptors read of one process: programs open their listeners early, so they have low numbers.
const DESCRIPTORS_EACH: usize = 512;
/// And of all together: some 2 µs each.
const DESCRIPTORS_ALL: usize = 20_000;
/// Time for the walk, whatever it found.
const WALK: Duration = Duration::from_millis(60);
/// Listening processes described.
const LISTENING_MAX: usize = 256;
/// Fewer open descriptors fill no limit that a program could live with.
const OPEN_MIN: u64 = 10;
const KEPT: usize = 16;
/// A descriptor walk is not repeated sooner, however many listeners remain without a program.
const AGAIN: Duration = Duration::from_secs(10);

/// Which processes hold which sockets, kept from look to look.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// By inode: process and descriptor.
    held: BTreeMap<u32, BTreeSet<(u32, u32)>>,
    /// Inodes that were looked for, found or not.
    sought: HashSet<u32>,
    walked: Option<Instant>,
}

impl Holders {
    pub(super) fn read(&mut self, sample: &mut HostSample) {
        // This process at least is there, where any can be seen.
        let Some(pids) = pids().ok().filter(|pids| !pids.is_empty()) else {
            return missing(sample, "processes", &"/proc shows none");
        };
        let here = |pid: &u32| !is_elsewhere(*pid, sample.namespace, sample.first_namespace);
        sample.fds.processes = short_of_descriptors(&pids, here);
        let udp = sample.udp.iter().flat_map(|udp| udp.worst.iter().map(|socket| socket.inode));
        let wanted: HashSet<u32> = sample.listeners.iter().map(|listener| listener.inode).chain(udp).collect();
        self.forget(&wanted);
        let new = wanted.iter().any(|inode| !self.sought.contains(inode));
        let long_ago = self.walked.is_none_or(|walked| walked.elapsed() >= AGAIN);
        let unknown = wanted.iter().any(|inode| !self.held.contains_key(inode));
        if new || (long_ago && unknown) {
            self.walk(&pids, &wanted);
        }
        self.describe(sample);
        let nameless = sample.listeners.iter().filter(|listener| listener.pid.is_none()).count();
        if nameless > 0 {
            let why = format!("of {nameless} not known: another user's, or beyond what is walked through");
            missing(sample, "programs of listeners", &why);
        }
    }

    /// Drops what is closed, or held by another by now.
    fn forget(&mut self, wanted: &HashSet<u32>) {
        self.sought.retain(|inode| wanted.contains(inode));
        self.held.retain(|inode, holders| {
            let name = format!("socket:[{inode}]");
            holders.retain(|(pid, fd)| is_link(Path::new(&format!("/proc/{pid}/fd/{fd}")), &name));
            wanted.contains(inode) && !holders.is_empty()
        });
    }

    fn walk(&mut self, pids: &[u32], wanted: &HashSet<u32>) {
        let begin = Instant::now();
        let names: HashMap<String, u32> = wanted.iter().map(|inode| (format!("socket:[{inode}]"), *inode)).collect();
        let mut looked_at = 0;
        for pid in pids {
            let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
            for descriptor in descriptors.flatten().take(DESCRIPTORS_EACH) {
                looked_at += 1;
                let Ok(link) = std::fs::read_link(descriptor.path()) else { continue };
                let inode = link.to_str().and_then(|link| names.get(link));
                let fd = descriptor.file_name().to_str().and_then(|name| name.parse().ok());
                if let (Some(inode), Some(fd)) = (inode, fd) {
                    self.held.entry(*inode).or_default().insert((*pid, fd));
                }
            }
            if looked_at >= DESCRIPTORS_ALL || begin.elapsed() >= WALK {
                break;
            }
        }
        self.sought.clone_from(wanted);
        self.walked = Some(begin);
    }

    /// Fills in who holds what, and how those processes are.
    fn describe(&self, sample: &mut HostSample) {
        let mut found: BTreeMap<u32, ProcessSample> = BTreeMap::new();
        for listener in &mut sample.listeners {
            let Some(holders) = self.held.get(&listener.inode) else { continue };
            for (pid, _) in holders {
                if !found.contains_key(pid) && found.len() < LISTENING_MAX {
                    found.extend(process(*pid).map(|read| (*pid, read)));
                }
                let Some(process) = found.get_mut(pid) else { continue };
                if !process.listens.contains(&listener.bound) {
                    process.listens.push(listener.bound);
                }
                listener.pid = listener.pid.or(Some(*pid));
                listener.program.get_or_insert_with(|| process.program.clone());
            }
        }
        sample.processes = found.into_values().collect();
        for socket in sample.udp.iter_mut().flat_map(|udp| &mut udp.worst) {
            let holder = self.held.get(&socket.inode).and_then(|holders| holders.first());
            socket.program = holder.and_then(|(pid, _)| name_of(*pid));
        }
    }
}

fn is_link(path: &Path, name: &str) -> bool {
    std::fs::read_link(path).is_ok_and(|link| link.as_os_str() == name)
}

fn pids() -> std::io::Result<Vec<u32>> {
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(std::fs::read_dir("/proc")?.flatten().filter_map(number).take(PROCESSES_MAX).collect())
}

fn name_of(pid: u32) -> Option<String> {
    proc_text::process_stat(&procfs::read(&format!("/proc/{pid}/stat"), 4096).ok()?).map(|stat| stat.name)
}

fn process(pid: u32) -> Option<ProcessSample> {
    let stat = proc_text::process_stat(&procfs::read(&format!("/proc/{pid}/stat"), 4096).ok()?)?;
    let scheduled = procfs::read(&format!("/proc/{pid}/schedstat"), 256).ok().and_then(|text| proc_text::schedstat(&text));
    Some(ProcessSample {
        pid,
        program: stat.name,
        state: stat.state,
        threads: stat.threads.unwrap_or(1),
        cpu_ms: stat.ticks.map(|ticks| ticks.saturating_mul(10)),
        ran_ns: scheduled.map(|(ran, _)| ran),
        waited_ns: scheduled.map(|(_, waited)| waited),
        listens: Vec::new(),
    })
}

pub(super) fn host_descriptors(sample: &mut HostSample) {
    match procfs::read("/proc/sys/fs/file-nr", 256) {
        Ok(text) => {
            let read = proc_text::file_nr(&text);
            (sample.fds.host_open, sample.fds.host_max) = (read.map(|(open, _)| open), read.map(|(_, most)| most));
        }
        Err(error) => missing(sample, "file descriptors of the host", &error),
    }
}

/// Processes by how near they are to their own limit. Since Linux 6.2 the size of `/proc/PID/fd` is the number of open
/// descriptors, whoever asks; before, they are counted where that is allowed. Only those who are `here` count.
fn short_of_descriptors(pids: &[u32], here: impl Fn(&u32) -> bool) -> Vec<ProcessFds> {
    let mut found: Vec<ProcessFds> = pids.iter().filter_map(|pid| descriptors(*pid)).filter(|process| here(&process.pid)).collect();
    found.sort_by_key(|process| (Reverse(process.open.saturating_mul(10_000) / process.limit.max(1)), process.pid));
    found.truncate(KEPT);
    for process in &mut found {
        process.program = name_of(process.pid).unwrap_or_default();
    }
    found
}

/// The process lives in another network namespace than the one looked at. From the machine's first namespace all of them count: they are
/// the machine's. One of our own user that may not be looked at is in a user namespace of its own.
fn is_elsewhere(pid: u32, own: Option<u64>, first: Option<bool>) -> bool {
    if first == Some(true) {
        return false;
    }
    match super::namespace(&format!("/proc/{pid}/ns/net")) {
        Some(theirs) => own.is_some_and(|own| own != theirs),
        None => {
            let owner = |path: &str| std::fs::metadata(path).map(|meta| meta.uid()).ok();
            owner(&format!("/proc/{pid}")).is_some_and(|theirs| owner("/proc/self") == Some(theirs))
        }
    }
}

fn descriptors(pid: u32) -> Option<ProcessFds> {
    let folder = format!("/proc/{pid}/fd");
    let size = std::fs::metadata(&folder).ok()?.size();
    let open = match size {
        0 => std::fs::read_dir(&folder).ok()?.take(DESCRIPTORS_ALL).count() as u64,
        size => size,
    };
    if open < OPEN_MIN {
        return None;
    }
    let limit = proc_text::open_files_limit(&procfs::read(&format!("/proc/{pid}/limits"), 4096).ok()?)?;
    Some(ProcessFds { pid, program: String::new(), open, limit })
}

#[cfg(test)]
mod tests {
    use super::super::namespace;
    use super::is_elsewhere;

    #[test]
    fn a_process_of_another_network_namespace_is_elsewhere_unless_we_look_from_the_first() {
        let (me, own) = (std::process::id(), namespace("/proc/self/ns/net"));
        assert!(!is_elsewhere(me, own, None));
        assert!(is_elsewhere(me, own.map(|own| own + 1), None));
        assert!(!is_elsewhere(me, own.map(|own| own + 1), Some(true)));
    }
}
