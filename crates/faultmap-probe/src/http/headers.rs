//! Which headers are evidence, and how they are written down. Cookies keep their names only.

use crate::recorder::printable;
use http::HeaderMap;
use std::time::UNIX_EPOCH;

/// Most characters of a value.
const VALUE: usize = 256;
/// A redirect is of no use when its target is cut.
const LOCATION: usize = 2048;
/// Most headers kept.
const MOST: usize = 64;

/// Kept when equal.
const NAMES: &[&str] = &[
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "keep-alive",
    "last-modified",
    "location",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "server",
    "server-timing",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "proxy-authenticate",
    "proxy-status",
    "x-correlation-id",
    "x-powered-by",
    "x-request-id",
    "x-response-time",
    "x-runtime",
    "x-served-by",
    "x-squid-error",
];

/// Kept when they begin so.
const PREFIXES: &[&str] =
    &["cf-", "x-amz", "x-backend", "x-cache", "x-envoy", "x-faultmap", "x-instance", "x-node", "x-upstream", "x-varnish"];

/// The headers that evidence needs.
pub(super) fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let evidence = headers
        .iter()
        .filter(|(name, _)| NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)));
    evidence.take(MOST).map(|(name, value)| (name.as_str().to_owned(), shown(name.as_str(), value.as_bytes()))).collect()
}

fn shown(name: &str, value: &[u8]) -> String {
    match name {
        "set-cookie" => printable(value.split(|byte| *byte == b'=').next().unwrap_or_default(), VALUE),
        "location" => printable(value, LOCATION),
        _ => printable(value, VALUE),
    }
}

/// The `Date` header, Unix seconds.
pub(super) fn date(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// One value as lower-case text without surrounding space.
pub(super) fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    let all: Vec<String> = headers.get_all(name).iter().map(|v| printable(v.as_bytes(), VALUE).trim().to_lowercase()).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Media type and charset of a Content-Type (RFC 9110 8.3), both lower case.
pub(super) fn media_type(content_type: &str) -> (Option<String>, Option<String>) {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| !kind.is_empty()).map(str::to_lowercase);
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']).to_lowercase())
    });
    (kind, charset.filter(|charset| !charset.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn evidence_is_kept_and_secrets_are_not() {
        let mut headers = HeaderMap::new();
        let long = "v".repeat(400);
        let sent = [
            ("server", "nginx\u{9b}"),
            ("set-cookie", "sid=secret; Path=/"),
            ("x-auth-token", "secret"),
            ("x-cache", "MISS"),
            ("via", &long),
        ];
        for (name, value) in sent {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let kept = kept(&headers);
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["server", "set-cookie", "x-cache", "via"]);
        assert!(kept.iter().all(|(_, value)| !value.contains("secret") && !value.contains('\u{9b}') && value.chars().count() <= 257));
    }

    #[test]
    fn a_content_type_gives_type_and_charset() {
        let cases = [
            ("text/html; charset=UTF-8", Some("text/html"), Some("utf-8")),
            ("Application/JSON", Some("application/json"), None),
            ("text/plain; format=flowed; charset=\"iso-8859-1\"", Some("text/plain"), Some("iso-8859-1")),
            (";charset=", None, None),
            ("", None, None),
        ];
        for (given, kind, charset) in cases {
            assert_eq!(media_type(given), (kind.map(str::to_owned), charset.map(str::to_owned)), "{given}");
        }
    }
}
