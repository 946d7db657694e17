//! What the system's own resolver answers: getaddrinfo, so with nsswitch, the hosts file, caches and all. Never asks a resolver itself.

use faultmap_model::observation::SystemLookup;
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;
use std::time::Duration;
use tokio::sync::oneshot;

/// Addresses kept; a list beyond this only repeats the point.
const MOST_ADDRESSES: usize = 64;

/// Asks getaddrinfo as curl does (any family, stream sockets, `AI_ADDRCONFIG`) and waits at most `wait`.
///
/// getaddrinfo cannot be interrupted: it runs in a thread of its own that is abandoned when we stop waiting. It is a plain thread and not
/// one of tokio's, because a runtime waits for its blocking threads when it is dropped, and this one may have half a minute to go.
pub async fn system(name: &str, wait: Duration) -> SystemLookup {
    let (give, take) = oneshot::channel();
    let asked = name.to_owned();
    let thread = std::thread::Builder::new().name("getaddrinfo".to_owned()).spawn(move || {
        // The receiver is gone when nobody waits any more.
        let _gone = give.send(getaddrinfo(&asked));
    });
    let result = match thread {
        Ok(_abandoned) => given_within(take, wait).await,
        Err(_) => Err("EAI_SYSTEM"),
    };
    let name = name.to_owned();
    match result {
        Ok(addresses) => SystemLookup { name, addresses, error: None },
        Err(error) => SystemLookup { name, addresses: Vec::new(), error: Some(error.to_owned()) },
    }
}

/// Addresses, or the name of the error.
type Given = Result<Vec<IpAddr>, &'static str>;

async fn given_within(take: oneshot::Receiver<Given>, wait: Duration) -> Given {
    tokio::time::timeout(wait, take).await.map_or(Err("timeout"), |given| given.unwrap_or(Err("EAI_SYSTEM")))
}

#[allow(unsafe_code)]
fn getaddrinfo(name: &str) -> Given {
    // A name with a NUL in it cannot be handed over, and is no name.
    let Ok(name) = CString::new(name) else { return Err("EAI_NONAME") };
    // SAFETY: addrinfo is plain integers and pointers; all zero is the documented "no preference".
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_ADDRCONFIG;
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: `name` is NUL-terminated and outlives the call; no service is asked for; `list` is written only on success.
    let status = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if status != 0 {
        return Err(eai_name(status));
    }
    let addresses = collect(list);
    // SAFETY: `list` came from a successful getaddrinfo, is freed once, and nothing that points into it is kept.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

#[allow(unsafe_code)]
fn collect(list: *const libc::addrinfo) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or an entry of a list that getaddrinfo made and that is not freed before we return.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: getaddrinfo gives every entry of these families an address of that type.
        let address = unsafe { address_of(entry) };
        addresses.extend(address.filter(|address| !addresses.contains(address)));
        if addresses.len() >= MOST_ADDRESSES {
            break;
        }
        next = entry.ai_next;
    }
    addresses
}

/// # Safety
/// `entry.ai_addr` is null or points to a socket address of the type that `entry.ai_family` names.
#[allow(unsafe_code)]
unsafe fn address_of(entry: &libc::addrinfo) -> Option<IpAddr> {
    if entry.ai_addr.is_null() {
        return None;
    }
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: as promised by the caller; read unaligned, since nothing promises more.
            let v4: libc::sockaddr_in = unsafe { ptr::read_unaligned(entry.ai_addr.cast()) };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: as promised by the caller; read unaligned, since nothing promises more.
            let v6: libc::sockaddr_in6 = unsafe { ptr::read_unaligned(entry.ai_addr.cast()) };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// The name of an error of getaddrinfo (netdb.h). `EAI_ADDRFAMILY` and `EAI_NODATA` are GNU extensions.
fn eai_name(status: libc::c_int) -> &'static str {
    const EAI_ADDRFAMILY: libc::c_int = -9;
    match status {
        libc::EAI_AGAIN => "EAI_AGAIN",
        libc::EAI_BADFLAGS => "EAI_BADFLAGS",
        libc::EAI_FAIL => "EAI_FAIL",
        libc::EAI_FAMILY => "EAI_FAMILY",
        libc::EAI_MEMORY => "EAI_MEMORY",
        libc::EAI_NODATA => "EAI_NODATA",
        libc::EAI_NONAME => "EAI_NONAME",
        libc::EAI_OVERFLOW => "EAI_OVERFLOW",
        libc::EAI_SERVICE => "EAI_SERVICE",
        libc::EAI_SOCKTYPE => "EAI_SOCKTYPE",
        EAI_ADDRFAMILY => "EAI_ADDRFAMILY",
        _ => "EAI_SYSTEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(name: &str, wait: Duration) -> SystemLookup {
        let lookup = system(name, wait).await;
        assert_eq!(lookup.name, name);
        assert_eq!(lookup.addresses.is_empty(), lookup.error.is_some(), "{lookup:?}");
        lookup
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_literal_is_its_own_address() {
        let lookup = check("127.0.0.1", Duration::from_secs(5)).await;
        assert_eq!(lookup.addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_with_nul_is_no_name() {
        assert_eq!(check("a\0b", Duration::from_secs(5)).await.error.as_deref(), Some("EAI_NONAME"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_lookup_that_goes_on_is_left_alone() {
        let (_goes_on, take) = oneshot::channel();
        assert_eq!(given_within(take, Duration::ZERO).await, Err("timeout"));
    }
}
