//! Text from packets, made fit to be shown: printable, bounded, and without what may be a secret.

pub(crate) use faultmap_wire::{printable, printable_text};
use std::borrow::Cow;

/// Longest text that a conversation keeps of anything said, in characters.
pub(super) const LONGEST: usize = 160;

/// Longest name of a host, in characters (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;

/// The target of a request without what may be secret: its query, and a user in an absolute URL.
pub(super) fn path(target: &str) -> Cow<'_, str> {
    // What most targets are: a plain path.
    if target.len() <= LONGEST && target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'?' | b'#' | b':')) {
        return Cow::Borrowed(target);
    }
    let shown = target.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = shown.split_once("://").map_or(("", shown), |(scheme, rest)| (scheme, rest));
    let (authority, tail) = if scheme.is_empty() { ("", rest) } else { rest.split_at(rest.find('/').unwrap_or(rest.len())) };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let whole = if scheme.is_empty() { Cow::Borrowed(tail) } else { Cow::Owned(format!("{scheme}://{host}{tail}")) };
    let mut out = printable(whole.as_bytes(), LONGEST);
    if shown.len() < target.len() {
        out.push_str("?…");
    }
    Cow::Owned(out)
}

/// A host as a client wrote it, without its port.
pub(super) fn host(written: &str) -> String {
    // What most are: a plain name.
    let name = &written[..memchr::memchr(b':', written.as_bytes()).unwrap_or(written.len())];
    if name.len() <= LONGEST_HOST && !name.starts_with('[') && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name.to_owned();
    }
    let name = match written.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => written.split(':').next().unwrap_or_default(),
    };
    printable_text(name.trim(), LONGEST_HOST)
}

/// Whether `part` is somewhere in `bytes`; for parts and texts of a few bytes, where preparing a search costs more than searching.
pub(super) fn has<const N: usize>(bytes: &[u8], part: &[u8; N]) -> bool {
    bytes.windows(N).any(|window| window == part)
}

/// A time as a reader wants it: `430 ms`, `2.0 s`.
pub(crate) fn time(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_and_a_user_in_a_url_are_never_shown() {
        assert_eq!(path("/pay?token=abc"), "/pay?…");
        assert_eq!(path("http://joe:secret@shop.test/a#b"), "http://shop.test/a?…");
        assert_eq!(path("*"), "*");
        assert_eq!(path("shop.test:443"), "shop.test:443");
        assert_eq!(printable(b"\x1b[2Jhi\r\n", 32), "\\u{1b}[2Jhi\\r\\n");
        assert_eq!(printable("ä".repeat(9).as_bytes(), 3), "äää…");
    }

    #[test]
    fn a_host_is_shown_without_its_port() {
        assert_eq!(host("shop.test:8080"), "shop.test");
        assert_eq!(host("[2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(host(""), "");
    }
}
