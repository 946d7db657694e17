//! Why drops cannot be counted here, and what would change that. Never raises a privilege.

use super::assembler::AssemblerError;
use super::layout::LayoutError;
use super::sys::Refused;
use crate::privileges::{in_first_user_namespace, privileges};
use faultmap_model::host::drops::Drops;
use nix::errno::Errno;
use std::io;

/// Both are needed: to load a program, and for it to read the kernel's memory.
const NEEDED: [&str; 2] = ["CAP_BPF", "CAP_PERFMON"];
const WOULD_SHOW: &str = "where in the kernel packets die, by reason, layer and flow";

/// Drops cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum DropsUnavailable {
    /// The kernel wants capabilities that this process lacks.
    #[error("needs {}", .0.join(" and "))]
    Capabilities(Vec<String>),
    /// The capabilities are there, but of a user namespace: BPF asks for them in the first.
    #[error("needs CAP_BPF and CAP_PERFMON of the host: those of a user namespace (rootless container, unshare -U) do not count")]
    UserNamespace,
    /// The kernel does not describe its types.
    #[error("this kernel does not describe its types (no /sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF): {0}")]
    NoDescription(#[source] io::Error),
    /// The description lacks what is needed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// `/proc` does not tell which namespace this is.
    #[error("the network namespace is not known: /proc/thread-self/ns/net: {0}")]
    NoNamespace(#[source] io::Error),
    /// Kernel lockdown forbids programs to read the kernel's memory.
    #[error("kernel lockdown (confidentiality) forbids reading the kernel's memory")]
    Lockdown,
    /// Our own program is at fault.
    #[error(transparent)]
    Assembler(#[from] AssemblerError),
    /// The kernel refuses, and neither a capability nor lockdown explains it.
    #[error("the kernel refuses {operation}: {errno:?}{}", .detail.as_ref().map(|line| format!(" ({line})")).unwrap_or_default())]
    Refused {
        /// The command of `bpf(2)`.
        operation: &'static str,
        /// Its errno.
        errno: Errno,
        /// The last word of the kernel's verifier.
        detail: Option<String>,
    },
}

impl DropsUnavailable {
    /// Capabilities that would change that.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        match self {
            Self::Capabilities(missing) => missing.clone(),
            Self::UserNamespace => NEEDED.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    }
}

impl From<DropsUnavailable> for Drops {
    fn from(error: DropsUnavailable) -> Self {
        Self::Unavailable { missing: error.missing(), why: error.to_string(), would_show: WOULD_SHOW.to_owned() }
    }
}

/// What the kernel's refusal means.
pub(super) fn refused(refused: Refused) -> DropsUnavailable {
    if refused.errno == Errno::EPERM {
        let held = privileges();
        let missing: Vec<String> =
            NEEDED.iter().filter(|name| !held.iter().any(|held| held == *name)).map(|name| (*name).to_owned()).collect();
        if !missing.is_empty() {
            return if in_first_user_namespace() { DropsUnavailable::Capabilities(missing) } else { DropsUnavailable::UserNamespace };
        }
    }
    if refused.operation == "BPF_PROG_LOAD" && locked_down() {
        return DropsUnavailable::Lockdown;
    }
    DropsUnavailable::Refused { operation: refused.operation, errno: refused.errno, detail: refused.detail }
}

fn locked_down() -> bool {
    crate::procfs::read("/sys/kernel/security/lockdown", 256).is_ok_and(|text| text.contains("[confidentiality]"))
}
