//! The head of a proxy's answer to CONNECT (RFC 9110 9.3.6): status, and what it says of the reason. Pure.

use crate::recorder::printable;
use crate::tls::looks_like;
use faultmap_model::observation::TunnelOutcome;

/// Header fields read.
const MOST_HEADERS: usize = 100;
/// Characters kept of a proxy's own words.
const WORDS: usize = 200;

/// Reads the bytes of an answer, which end with its head or with what was read of its page. `None`: the head is not complete.
#[must_use]
pub fn read_connect_answer(bytes: &[u8], credentials_given: bool) -> Option<TunnelOutcome> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => {
            // RFC 1928 3: version 5, and a method or "none acceptable".
            let socks = matches!(bytes, [5, 0 | 2 | 0xff, ..]).then_some("SOCKS5");
            let like = socks.or_else(|| looks_like(bytes));
            return Some(TunnelOutcome::Foreign { looks_like: like.map(str::to_owned), first_bytes: printable(bytes, 128) });
        }
    };
    let code = head.code.unwrap_or_default();
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| printable(field.value, WORDS))
    };
    Some(match code {
        200..=299 => TunnelOutcome::Open { status: Some(code) },
        407 => {
            let scheme = field("proxy-authenticate").map(|value| value.split_whitespace().next().unwrap_or_default().to_owned());
            TunnelOutcome::CredentialsWanted { scheme: scheme.filter(|scheme| !scheme.is_empty()), given: credentials_given }
        }
        code => TunnelOutcome::Refused {
            code,
            name: printable(head.reason.unwrap_or_default().as_bytes(), 64),
            said: field("x-squid-error")
                .or_else(|| field("proxy-status"))
                .or_else(|| field("x-proxy-error"))
                .or_else(|| page_words(bytes.get(length..).unwrap_or_default())),
            server: field("server").or_else(|| field("via")),
        },
    })
}

/// The text of a page, without its tags and styles; the title alone where there is one and nothing better.
fn page_words(page: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(page.get(..8192).unwrap_or(page)).into_owned();
    let lower = text.to_ascii_lowercase();
    let body = match (lower.find("<body"), lower.rfind("</style>")) {
        (Some(body), _) => text.get(body..),
        (None, Some(style)) => text.get(style + 8..),
        (None, None) => Some(text.as_str()),
    };
    let mut words = String::new();
    let mut within = false;
    for c in body.unwrap_or_default().chars() {
        match c {
            '<' => within = true,
            '>' => {
                within = false;
                words.push(' ');
            }
            c if !within => words.push(c),
            _ => {}
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then(|| printable(words.as_bytes(), WORDS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(code: u16, name: &str, said: Option<&str>, server: Option<&str>) -> TunnelOutcome {
        TunnelOutcome::Refused { code, name: name.to_owned(), said: said.map(str::to_owned), server: server.map(str::to_owned) }
    }

    #[test]
    fn what_proxies_answer_to_connect() {
        let wanted = |scheme: &str| TunnelOutcome::CredentialsWanted { scheme: Some(scheme.to_owned()), given: false };
        let cases: &[(&str, Option<TunnelOutcome>)] = &[
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(TunnelOutcome::Open { status: Some(200) })),
            ("HTTP/1.0 200 OK\r\nProxy-agent: tinyproxy\r\n\r\n", Some(TunnelOutcome::Open { status: Some(200) })),
            ("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n", Some(wanted("Basic"))),
            (
                "HTTP/1.1 503 Service Unavailable\r\nServer: squid/5.7\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n<html>",
                Some(refused(503, "Service Unavailable", Some("ERR_DNS_FAIL 0"), Some("squid/5.7"))),
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html><style>p{}</style><body><h1>no such host</h1>",
                Some(refused(502, "Bad Gateway", Some("no such host"), None)),
            ),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Some(refused(403, "Forbidden", None, None))),
            ("HTTP/1.1 200 Conn", None),
            ("", None),
            (
                "SSH-2.0-OpenSSH\r\n",
                Some(TunnelOutcome::Foreign { looks_like: Some("ssh".to_owned()), first_bytes: "SSH-2.0-OpenSSH\\r\\n".to_owned() }),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_connect_answer(bytes.as_bytes(), false), *expected, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), http in any::<bool>()) {
            let bytes = if http { [b"HTTP/1.1 502 X\r\n\r\n<b".as_slice(), &bytes].concat() } else { bytes };
            if let Some(TunnelOutcome::Refused { said: Some(said), .. }) = read_connect_answer(&bytes, true) {
                prop_assert!(!said.contains('\x1b'));
            }
        }
    }
}
