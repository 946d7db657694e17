//! Builds the request: our defaults, replaced by the user's headers. Never sends it.

use super::{Connection, Forward, HttpAsk};
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

/// In which form a request is written.
#[derive(Clone, Copy)]
pub(super) enum Form<'f> {
    /// Path and query alone.
    Http1,
    /// The whole URL, for a proxy that passes it on.
    Forwarded(&'f Forward),
    /// HTTP/2, whose scheme depends on what lies below.
    Http2 { tls: bool },
}

/// The request, in the form of the connection.
pub(crate) fn build_for(ask: &HttpAsk<'_>, connection: &Connection) -> Result<Request<Full<Bytes>>, http::Error> {
    build(
        ask,
        match connection {
            Connection::Plain(_) => Form::Http1,
            Connection::Forwarded(_, forward) => Form::Forwarded(forward),
            Connection::PlainHttp2(_) => Form::Http2 { tls: false },
            Connection::Tls(stream) if stream.alpn() == Some("h2") => Form::Http2 { tls: true },
            Connection::Tls(_) => Form::Http1,
        },
    )
}

/// The request, in its form.
pub(super) fn build(ask: &HttpAsk<'_>, form: Form<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let host = ask.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or(ask.host_header, |(_, value)| value.as_str());
    let path = if ask.path_and_query.is_empty() { "/" } else { ask.path_and_query };
    let whole = |scheme: &str, authority: &str| Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let (uri, http2) = match form {
        Form::Http1 => (Uri::builder().path_and_query(path).build()?, false),
        Form::Forwarded(_) => (whole("http", ask.host_header)?, false),
        Form::Http2 { tls } => (whole(if tls { "https" } else { "http" }, host)?, true),
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
    if let Form::Forwarded(Forward { authorization: Some(value) }) = form {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        headers.insert(header::PROXY_AUTHORIZATION, value);
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
