//! Which programs hold the sockets of a drop report's flows. Reads `/proc`; what may not be read stays unknown.

use crate::procfs;
use faultmap_model::host::drops::{DropProcess, DropReport};
use std::collections::BTreeMap;

/// Processes whose descriptors are read.
const PROCESSES_MAX: usize = 8192;
/// Descriptors read, of all processes together: some 2 µs each.
const DESCRIPTORS_MAX: usize = 50_000;

/// Fills in the process of each flow whose socket is known. One walk through `/proc` for all of them, and none if there is none.
pub fn name_processes(report: &mut DropReport) {
    let flows = || report.rows.iter().flat_map(|row| &row.flows);
    let mut wanted: BTreeMap<u64, Option<DropProcess>> = flows().filter_map(|flow| Some((flow.socket?, None))).collect();
    find(&mut wanted);
    for flow in report.rows.iter_mut().flat_map(|row| &mut row.flows) {
        flow.process = flow.socket.and_then(|socket| wanted.get(&socket)).cloned().flatten();
    }
}

fn find(wanted: &mut BTreeMap<u64, Option<DropProcess>>) {
    let mut left = wanted.len();
    let mut looked_at = 0;
    if left == 0 {
        return;
    }
    for (_, pid) in processes() {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked_at += 1;
            if looked_at > DESCRIPTORS_MAX || left == 0 {
                return;
            }
            let Ok(link) = std::fs::read_link(descriptor.path()) else { continue };
            let Some(holder) = link.to_str().and_then(socket_inode).and_then(|inode| wanted.get_mut(&inode)) else { continue };
            if let (None, Some(name)) = (&holder, name_of(pid)) {
                *holder = Some(DropProcess { pid, name });
                left -= 1;
            }
        }
    }
}

/// Processes whose descriptors may be read, by how many they have open (Linux 6.2 and later tell it as the folder's size): one that
/// holds all connections of a busy host must not hide the others.
fn processes() -> Vec<(u64, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let open = |pid: u32| Some((std::fs::metadata(format!("/proc/{pid}/fd")).ok()?.len(), pid));
    let mut processes: Vec<_> = pids.take(PROCESSES_MAX).filter_map(open).collect();
    processes.sort_unstable();
    processes
}

/// `socket:[123]`
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn name_of(pid: u32) -> Option<String> {
    let name = procfs::read(&format!("/proc/{pid}/comm"), 64).ok()?;
    Some(name.trim_end_matches('\n').chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_holder_of_our_own_socket_is_this_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let inode = std::fs::metadata(format!("/proc/self/fd/{fd}")).expect("a socket").ino();
        let mut wanted = BTreeMap::from([(inode, None), (1, None)]);
        find(&mut wanted);
        assert_eq!(wanted[&inode].as_ref().map(|process| process.pid), Some(std::process::id()));
        assert_eq!(wanted[&1], None);
    }

    #[test]
    fn only_links_to_sockets_are_sockets() {
        assert_eq!(socket_inode("socket:[12]"), Some(12));
        assert_eq!(socket_inode("pipe:[12]"), None);
        assert_eq!(socket_inode("socket:[x]"), None);
    }
}
