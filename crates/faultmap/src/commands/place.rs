//! `--from-netns` and `--pid`: puts this process into another network namespace, with the names as they are seen there. It asks nothing.
//!
//! Called while the process has one thread. The rest of the file system stays ours: certificates, recordings and lists are read here.

use crate::cli::Many;
use anyhow::{Context as _, anyhow, bail};
use faultmap_model::recording::Vantage;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Where `ip netns` keeps names (ip-netns(8)).
const NAMES: &str = "/run/netns";
/// Where it finds files that replace those of /etc.
const FILES: &str = "/etc/netns";
/// What decides how a name is resolved.
const OF_NAMES: [&str; 3] = ["resolv.conf", "hosts", "nsswitch.conf"];
/// Largest of these files that is taken over.
const FILE_LIMIT: u64 = 1 << 20;
/// Names of namespaces that an error lists.
const MOST_NAMES: usize = 20;

/// Enters the place that the user chose, if one was.
pub(super) fn enter(many: &Many) -> anyhow::Result<Option<Vantage>> {
    enter_chosen(many.from_netns.as_deref(), many.pid)
}

/// The same, for a command with arguments of its own.
pub(super) fn enter_chosen(netns: Option<&str>, pid: Option<i32>) -> anyhow::Result<Option<Vantage>> {
    match (netns, pid) {
        (Some(name), _) => enter_netns(name).map(Some),
        (None, Some(pid)) => enter_process(pid).map(Some),
        (None, None) => Ok(None),
    }
}

fn enter_netns(name: &str) -> anyhow::Result<Vantage> {
    let by_path = name.contains('/');
    let path = if by_path { PathBuf::from(name) } else { Path::new(NAMES).join(name) };
    let namespace = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound if !by_path => anyhow!("there is no network namespace {name:?}; {}", existing()),
        _ => anyhow!("cannot open the network namespace {}: {error}", path.display()),
    })?;
    join(&namespace, None, &format!("the network namespace {name}"), &format!("--net={}", path.display()))?;
    if !by_path {
        let folder = Path::new(FILES).join(name);
        let replaced = fs::read_dir(&folder).into_iter().flatten().flatten();
        let replaced: Vec<(PathBuf, PathBuf)> = replaced.map(|entry| (entry.path(), Path::new("/etc").join(entry.file_name()))).collect();
        if !replaced.is_empty() {
            private_mounts()?;
            replaced.iter().for_each(|(from, to)| bind(from, to));
        }
    }
    Ok(Vantage { netns: Some(name.to_owned()), ..Vantage::default() })
}

/// The names that exist, for an error.
fn existing() -> String {
    let mut names: Vec<String> =
        fs::read_dir(NAMES).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    match (names.is_empty(), more) {
        (true, _) => format!("{NAMES} holds none; for a container's, give --pid the id of one of its processes"),
        (false, 0) => format!("there are: {}", names.join(", ")),
        (false, more) => format!("there are: {} and {more} more", names.join(", ")),
    }
}

fn enter_process(pid: i32) -> anyhow::Result<Vantage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    if !folder.exists() {
        bail!("there is no process {pid}");
    }
    let program = fs::read_to_string(folder.join("comm")).ok().map(|name| name.trim().to_owned());
    let what = format!("the network namespace of process {pid}");
    let open = |name: &str| {
        File::open(folder.join("ns").join(name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => refused(&what, &format!("--net --target {pid}")),
            std::io::ErrorKind::NotFound => anyhow!("process {pid} has just ended, or is a zombie: it has no network namespace any more"),
            _ => anyhow!("cannot open {what}: {error}"),
        })
    };
    let (network, user) = (open("net")?, open("user").ok());
    // Read before entering: afterwards the process may not be ours to look at.
    let files: Vec<(PathBuf, Option<Vec<u8>>)> =
        OF_NAMES.into_iter().map(|name| (Path::new("/etc").join(name), read(&folder.join("root/etc").join(name)))).collect();
    let foreign = fs::read_link(folder.join("ns/mnt")).ok() != fs::read_link("/proc/self/ns/mnt").ok();
    join(&network, user.as_ref(), &what, &format!("--net --target {pid}"))?;
    if foreign {
        private_mounts()?;
        for (to, text) in files.iter().filter(|(to, _)| to.exists()) {
            // A container without nsswitch.conf has the C library's defaults, not ours.
            replace(to, text.as_deref().unwrap_or_default())?;
        }
    }
    Ok(Vantage { netns: None, pid: Some(pid), program })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Joins the network namespace; when that is not permitted, by way of its user namespace, which the user who made it may enter (a rootless
/// container; user_namespaces(7)).
fn join(network: &File, user: Option<&File>, what: &str, nsenter: &str) -> anyhow::Result<()> {
    let mut done = setns(network, CloneFlags::CLONE_NEWNET);
    if let (Err(Errno::EPERM), Some(user)) = (done, user) {
        done = setns(user, CloneFlags::CLONE_NEWUSER).and_then(|()| setns(network, CloneFlags::CLONE_NEWNET));
    }
    done.map_err(|errno| match errno {
        Errno::EPERM => refused(what, nsenter),
        Errno::EINVAL => anyhow!("cannot enter {what}: it is no network namespace"),
        errno => anyhow!("cannot enter {what}: {}", errno.desc()),
    })
}

fn refused(what: &str, nsenter: &str) -> anyhow::Error {
    anyhow!(
        "cannot enter {what}: that needs CAP_SYS_ADMIN. Run the same command with sudo, or enter it first: sudo nsenter {nsenter} faultmap …"
    )
}

/// Mounts made from now on are seen by nobody else, and end with this process.
fn private_mounts() -> anyhow::Result<()> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(NOTHING, "/", NOTHING, MsFlags::MS_SLAVE | MsFlags::MS_REC, NOTHING))
        .map_err(|errno| anyhow!("cannot make a mount namespace for /etc/resolv.conf: {}", errno.desc()))
}

/// Puts one file over another. What has no counterpart in our /etc is left out, as ip-netns(8) leaves it out.
fn bind(from: &Path, to: &Path) {
    const NOTHING: Option<&str> = None;
    if to.exists()
        && let Err(errno) = mount(Some(from), to, NOTHING, MsFlags::MS_BIND, NOTHING)
    {
        crate::terminal::say(&format!("faultmap: {} is not used: {}\n", from.display(), errno.desc()));
    }
}

/// Puts this text over a file. The text lives in a file without a name, which goes away with the mount.
fn replace(to: &Path, text: &[u8]) -> anyhow::Result<()> {
    let scratch = std::env::temp_dir().join(format!(".faultmap-{}-{}", std::process::id(), to.file_name().unwrap_or_default().display()));
    let doing = || format!("cannot write {}, which stands in for {}", scratch.display(), to.display());
    let mut file = File::create_new(&scratch).with_context(doing)?;
    let written = file.write_all(text).with_context(doing);
    if written.is_ok() {
        bind(&scratch, to);
    }
    fs::remove_file(&scratch).with_context(doing)?;
    written
}
