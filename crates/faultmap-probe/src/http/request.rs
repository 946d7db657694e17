//! Builds the request: our defaults, replaced by the user's headers. Never sends it.

use super::HttpAsk;
use crate::ProbeError;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

/// What we can decode.
const ACCEPT_ENCODING: &str = "gzip, deflate, br, zstd";

/// Whether a request can be built of these.
///
/// # Errors
/// The method or a header is none.
pub fn validate(method: &str, headers: &[(String, String)]) -> Result<(), ProbeError> {
    Method::from_bytes(method.as_bytes()).map_err(|_| ProbeError::BadMethod(method.to_owned()))?;
    for (name, value) in headers {
        let sound = HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok();
        if !sound {
            // The value may be a secret.
            return Err(ProbeError::BadHeader(name.clone()));
        }
    }
    Ok(())
}

/// The request, in the form of its HTTP version.
pub(super) fn build(ask: &HttpAsk<'_>, http2: bool, tls: bool) -> Result<Request<Full<Bytes>>, http::Error> {
    let host = ask.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or(ask.host_header, |(_, value)| value.as_str());
    let path = if ask.path_and_query.is_empty() { "/" } else { ask.path_and_query };
    let uri = if http2 {
        Uri::builder().scheme(if tls { "https" } else { "http" }).authority(host).path_and_query(path).build()?
    } else {
        Uri::builder().path_and_query(path).build()?
    };
    let mut request =
        Request::builder().method(ask.method).uri(uri).body(Full::new(ask.body.map(Bytes::copy_from_slice).unwrap_or_default()))?;
    let headers = request.headers_mut();
    if !http2 {
        headers.insert(header::HOST, HeaderValue::from_str(host)?);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("faultmap/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if ask.accept_encoding {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPT_ENCODING));
    }
    let ours: Vec<HeaderName> = headers.keys().cloned().collect();
    let mut replaced = Vec::new();
    for (name, value) in ask.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        let value = HeaderValue::from_str(value)?;
        // The first of a name replaces our default; further ones of the user's stand beside it.
        if ours.contains(&name) && !replaced.contains(&name) {
            replaced.push(name.clone());
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(request)
}
