//! From a request to its answer: route, rotation, delay, flaw. What the answer looks like on the wire when it cannot be
//! sent by hyper is in `raw`; nothing here reads or writes a socket, except to tunnel CONNECT.

use std::{collections::BTreeMap, future::pending, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, net::TcpStream, time::sleep};

use super::{
    Fault, Grpc, HttpPlan, Ready, Respond, Reuse, Rotation,
    body::{BoxBody, End, Source, exact_len, full, stream_of},
    raw::Act,
    serve::Conn,
    websocket,
};
use crate::services::{engine::Role, stats::Counters};

/// Largest request body read; more is answered 413.
const MAX_REQUEST_BODY: usize = 16 * 1024 * 1024;

/// Answers one request by the plan in force now.
pub(crate) async fn answer(request: Request<Incoming>, conn: &Conn) -> Response<BoxBody> {
    let plan = conn.ctx.plan();
    let Role::Http(plan) = &plan.role else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let counters = &conn.ctx.counters;
    Counters::add(&counters.requests, 1);
    let number = conn.ctx.next();
    let label = format!("{} {}", request.method(), request.uri().path());
    if conn.next() > 1 && !conn.http2 {
        refuse_reuse(plan.spec.reuse, conn).await;
    }
    let mut response = choose(request, plan, conn, number).await;
    let headers = response.headers_mut();
    headers.entry(header::SERVER).or_insert_with(|| plan.server.clone());
    if let Some(date) = plan.date() {
        headers.entry(header::DATE).or_insert(date);
    }
    counters.answer(format!("{label} {}", response.status().as_u16()));
    response
}

async fn choose(request: Request<Incoming>, plan: &HttpPlan, conn: &Conn, number: u64) -> Response<BoxBody> {
    let counters = &conn.ctx.counters;
    if let Some(limit) = plan.spec.max_header_bytes
        && header_bytes(&request) > limit
    {
        counters.bite("status-431");
        return plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if let (Some(names), &Method::CONNECT) = (&plan.spec.connect, request.method()) {
        return tunnel(request, names).await;
    }
    let respond = &plan.route(request.uri().path()).respond;
    if respond.websocket
        && let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned()
    {
        respond.websocket_flaw.iter().for_each(|flaw| counters.bite(flaw.name()));
        return websocket::upgrade(request, &key, respond.websocket_flaw.clone(), conn);
    }
    let (parts, body) = request.into_parts();
    let Some(body) = read_body(body).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    if let Some(upstream) = &plan.upstream {
        return upstream.forward(&parts, body, counters).await;
    }
    let ready = plan.route(parts.uri.path());
    if let Some(methods) = &ready.respond.methods
        && !methods.iter().any(|m| m == parts.method.as_str())
    {
        counters.bite("status-405");
        return with_header(plain(StatusCode::METHOD_NOT_ALLOWED), header::ALLOW, &methods.join(", "));
    }
    if let Some(status) = refuses_type(&ready.respond, &parts.headers, body.is_empty()) {
        counters.bite(format!("status-{}", status.as_u16()));
        return plain(status);
    }
    compose(ready, plan, conn, number).await
}

/// The status for a body whose type is not taken.
fn refuses_type(respond: &Respond, headers: &HeaderMap, empty: bool) -> Option<StatusCode> {
    let takes = respond.takes.as_ref().filter(|_| !empty)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let status = respond.bad_type.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    (!takes.iter().any(|taken| taken.eq_ignore_ascii_case(kind))).then_some(status)
}

/// Marks an answer in whose place the stream is to be refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefuseStream;

/// The answer of a route, or the fault in its place.
async fn compose(ready: &Ready, plan: &HttpPlan, conn: &Conn, number: u64) -> Response<BoxBody> {
    let respond = &ready.respond;
    let counters = &conn.ctx.counters;
    ready.flaws().into_iter().for_each(|flaw| counters.bite(flaw));
    sleep(Duration::from_millis(respond.delay_ms)).await;
    let mut headers = ready.headers.clone();
    if let Some(rotation) = &respond.rotation
        && let Some(failed) = rotate(rotation, number, &mut headers)
    {
        counters.bite("rotation");
        return with_headers(plain(failed), &headers);
    }
    if let Some(redirect) = &respond.redirect {
        let to = redirect.to.replace("{n}", &number.to_string());
        return with_header(with_headers(plain(ready.status), &headers), header::LOCATION, &to);
    }
    if let Some(grpc) = &respond.grpc {
        return grpc_answer(grpc, headers);
    }
    let mut end = End::Whole;
    if respond.fault == Some(Fault::RefuseStream) {
        if conn.http2 {
            counters.bite(Fault::RefuseStream.name());
            let mut marked = plain(StatusCode::INTERNAL_SERVER_ERROR);
            marked.extensions_mut().insert(RefuseStream);
            return marked;
        }
    } else if let Some(fault) = &respond.fault {
        counters.bite(fault.name());
        end = strike(fault, ready, plan, &headers, conn).await;
    }
    if matches!(ready.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        let mut bare = Response::new(full(Bytes::new()));
        *bare.status_mut() = ready.status;
        return with_headers(bare, &headers);
    }
    let body = stream_of(ready.source.clone(), respond.pause, end);
    // hyper frames a body of unknown length in chunks; a real server knows the length of its page.
    headers.entry(header::CONTENT_LENGTH).or_insert(ready.source.len().into());
    with_headers(response(ready.status, body), &headers)
}

/// Gives the fault to the connection's task, which ends the connection. On HTTP/2, where only some faults take the whole
/// connection, returns how the stream's body is to end.
async fn strike(fault: &Fault, ready: &Ready, plan: &HttpPlan, headers: &HeaderMap, conn: &Conn) -> End {
    match fault {
        Fault::Close | Fault::Reset | Fault::RefuseStream => {}
        _ if !conn.http2 => {}
        Fault::Mute => return pending().await,
        Fault::StopBody { after } => return End::Stop(*after),
        Fault::ResetBody { after } => return End::Break(*after),
        Fault::Truncate { .. } | Fault::BadChunk | Fault::Garbage => {
            return End::Break(ready.source.len() / 2);
        }
    }
    let mut headers = headers.clone();
    headers.insert(header::SERVER, plan.server.clone());
    if let Some(date) = plan.date() {
        headers.insert(header::DATE, date);
    }
    hand_over(fault.clone(), ready.status, headers, ready.source.clone(), conn).await
}

async fn hand_over<T>(fault: Fault, status: StatusCode, headers: HeaderMap, source: Source, conn: &Conn) -> T {
    let _ = conn.acts.send(Act { fault, status, headers, source }).await;
    // The connection's task drops this future together with hyper's connection.
    pending().await
}

async fn refuse_reuse(reuse: Reuse, conn: &Conn) {
    let fault = match reuse {
        Reuse::Allow | Reuse::Close => return,
        Reuse::Reset => Fault::Reset,
        Reuse::CloseUnannounced => Fault::Close,
    };
    conn.ctx.counters.bite("reuse");
    hand_over(fault, StatusCode::OK, HeaderMap::new(), Source::Fill(0), conn).await
}

/// Marks the answer with its backend; the status if that backend fails.
fn rotate(rotation: &Rotation, number: u64, headers: &mut HeaderMap) -> Option<StatusCode> {
    let backend = number % rotation.backends.max(1) + 1;
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(&rotation.marker), HeaderValue::try_from(format!("b{backend}"))) {
        headers.insert(name, value);
    }
    let fails = rotation.failing.contains(&backend);
    fails.then(|| StatusCode::from_u16(rotation.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// A unary gRPC answer: trailers only if it failed, else one message and the status in trailers.
fn grpc_answer(grpc: &Grpc, mut headers: HeaderMap) -> Response<BoxBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", grpc.status.into());
    if let Ok(message) = HeaderValue::from_str(&grpc.message)
        && !grpc.message.is_empty()
    {
        trailers.insert("grpc-message", message);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if grpc.status != 0 {
        headers.extend(trailers);
        return with_headers(response(StatusCode::OK, full(Bytes::new())), &headers);
    }
    let message = match &grpc.services {
        Some(services) => reflection(services),
        // Protobuf field 1, varint: HealthCheckResponse.status.
        None => grpc.health.map_or(Vec::new(), |status| vec![0x08, status & 0x7f]),
    };
    let len = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let frame = Bytes::from([&[0][..], &len, &message].concat());
    let end = if grpc.no_trailers { End::Whole } else { End::Trailers(trailers) };
    let body = stream_of(Source::Bytes(frame), None, end);
    with_headers(response(StatusCode::OK, body), &headers)
}

/// `ServerReflectionResponse` with `list_services_response`: fields 6, 1 and 1, each delimited by a length of one byte or two.
fn reflection(services: &[String]) -> Vec<u8> {
    let delimited = |tag: u8, bytes: &[u8]| -> Vec<u8> {
        let low = u8::try_from(bytes.len() & 0x7f).unwrap_or(0);
        let high = u8::try_from((bytes.len() >> 7) & 0x7f).unwrap_or(0);
        [&[tag, low | 0x80, high][..], bytes].concat()
    };
    let list: Vec<u8> = services.iter().flat_map(|name| delimited(0x0a, &delimited(0x0a, name.as_bytes()))).collect();
    delimited(0x32, &list)
}

/// Opens the tunnel that a CONNECT request asks for (RFC 9110 section 9.3.6).
async fn tunnel(request: Request<Incoming>, names: &BTreeMap<String, IpAddr>) -> Response<BoxBody> {
    let Some(authority) = request.uri().authority() else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let addr = names.get(host).copied().or_else(|| host.parse().ok());
    let (Some(addr), Some(port)) = (addr, authority.port_u16()) else {
        return plain(StatusCode::BAD_GATEWAY);
    };
    let Ok(mut upstream) = TcpStream::connect((addr, port)).await else {
        return plain(StatusCode::BAD_GATEWAY);
    };
    tokio::spawn(async move {
        if let Ok(client) = hyper::upgrade::on(request).await {
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await;
        }
    });
    // A successful CONNECT has no content, not even a length of zero (RFC 9110 section 9.3.6).
    Response::new(full(Bytes::new()))
}

/// Reads the request's body. `None`: too large, or the client broke off.
async fn read_body(body: Incoming) -> Option<Bytes> {
    Some(Limited::new(body, MAX_REQUEST_BODY).collect().await.ok()?.to_bytes())
}

/// Bytes of the header section as HTTP/1.1 would write it.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + " HTTP/1.1\r\n\r\n".len();
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>()
}

pub(crate) fn response(status: StatusCode, body: BoxBody) -> Response<BoxBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(len) = exact_len(response.body()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    }
    response
}

/// An answer that says its status in words, as most servers do.
pub(crate) fn plain(status: StatusCode) -> Response<BoxBody> {
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or("Unknown"));
    with_header(response(status, full(text)), header::CONTENT_TYPE, "text/plain; charset=utf-8")
}

pub(crate) fn with_header(mut response: Response<BoxBody>, name: HeaderName, value: &str) -> Response<BoxBody> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn with_headers(mut response: Response<BoxBody>, headers: &HeaderMap) -> Response<BoxBody> {
    for (name, value) in headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}
