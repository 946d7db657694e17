//! What gRPC puts into HTTP/2: requests, length-prefixed messages, statuses in headers or trailers, and the messages of health check and
//! reflection. Pure.

use super::DialogueAsk;
use crate::http::Answer;
use crate::recorder::printable;
use bytes::Bytes;
use faultmap_model::observation::{BodyEnd, DialogueOutcome};
use faultmap_wire::names::grpc_status;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use percent_encoding::percent_decode;
use prost::Message;

/// DEADLINE_EXCEEDED: the time that the client gave is over.
pub(super) const DEADLINE_EXCEEDED: u32 = 4;
/// Most bytes of an answer; a list of a thousand services has some 40 KiB.
pub(super) const LARGEST: usize = 512 * 1024;
/// Most characters of a `grpc-message`.
const WORDS: usize = 256;
/// Compressed flag and length ("PROTOCOL-HTTP2.md", Length-Prefixed-Message).
const PREFIX: usize = 5;

/// A status with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// 0 to 16, or what the server invents.
    pub(super) code: u32,
    /// `grpc-message`, decoded.
    pub(super) message: String,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// OK, with this message.
    Message {
        /// The first message, unframed.
        bytes: Vec<u8>,
    },
    /// Another status than OK.
    Status(Status),
    /// No gRPC answer, or half of one.
    Other(DialogueOutcome),
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// 0
    Unknown,
    /// 1
    Serving,
    /// 2
    NotServing,
    /// 3
    ServiceUnknown,
}

impl Health {
    /// As in the protocol's definition.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

// grpc/health/v1/health.proto and grpc/reflection/v1/reflection.proto, as far as they are read here.

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ServerReflectionRequest {
    #[prost(string, tag = "7")]
    list_services: String,
}

#[derive(Clone, PartialEq, Message)]
struct ServerReflectionResponse {
    #[prost(message, optional, tag = "6")]
    list_services: Option<ListServiceResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct ListServiceResponse {
    #[prost(message, repeated, tag = "1")]
    service: Vec<ServiceResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceResponse {
    #[prost(string, tag = "1")]
    name: String,
}

/// Asks for the health of a service; empty: of the whole server.
pub(super) fn health_request(service: &str) -> Vec<u8> {
    HealthCheckRequest { service: service.to_owned() }.encode_to_vec()
}

/// The health told; `None`: not this message.
pub(super) fn health(message: &[u8]) -> Option<Health> {
    Some(match HealthCheckResponse::decode(message).ok()?.status {
        1 => Health::Serving,
        2 => Health::NotServing,
        3 => Health::ServiceUnknown,
        _ => Health::Unknown,
    })
}

/// Asks for the names of all services.
pub(super) fn list_services() -> Vec<u8> {
    // `*` is what the common clients send; an empty string would leave the member of the oneof out.
    ServerReflectionRequest { list_services: "*".to_owned() }.encode_to_vec()
}

/// The names told; `None`: another answer.
pub(super) fn services(message: &[u8]) -> Option<Vec<String>> {
    let list = ServerReflectionResponse::decode(message).ok()?.list_services?;
    Some(list.service.into_iter().map(|service| printable(service.name.as_bytes(), 128)).collect())
}

/// One unary call.
pub(super) fn request(ask: &DialogueAsk<'_>, path: &str, message: &[u8]) -> Result<Request<Full<Bytes>>, http::Error> {
    let scheme = if ask.encrypted { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(ask.authority).path_and_query(path).build()?;
    let mut request = Request::post(uri).body(Full::new(Bytes::from(framed(message))))?;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("grpc-faultmap/", env!("CARGO_PKG_VERSION"))));
    // At most eight digits; the wait is bounded far below.
    headers.insert("grpc-timeout", HeaderValue::from_str(&format!("{}m", ask.wait.as_millis().clamp(1, 99_999_999)))?);
    for (name, value) in ask.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(request)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, message].concat()
}

/// The first message of a body, uncompressed.
pub(super) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let [0, a, b, c, d, ..] = *body else { return None };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    body.get(PREFIX..PREFIX.checked_add(length)?)
}

/// Reads an answer. The status stands in the trailers, or in the header section of an answer without body (Trailers-Only).
pub(super) fn reply(answer: &Answer) -> Reply {
    if let Some(status) = status(&answer.trailers).or_else(|| status(&answer.headers)) {
        return match (status.code, unframed(&answer.bytes)) {
            (0, Some(message)) => Reply::Message { bytes: message.to_vec() },
            (0, None) => Reply::Other(DialogueOutcome::Malformed { why: "status OK without a message".to_owned() }),
            _ => Reply::Status(status),
        };
    }
    if answer.status != http::StatusCode::OK {
        return Reply::Other(DialogueOutcome::Refused { code: answer.status.as_u16().to_string(), message: answer.words.clone() });
    }
    if !is_grpc(&answer.headers) {
        let shown = printable(answer.bytes.get(..128).unwrap_or(&answer.bytes), 128);
        return Reply::Other(DialogueOutcome::Foreign { looks_like: Some("http2".to_owned()), first_bytes: shown });
    }
    let received_bytes = answer.bytes.len() as u64;
    Reply::Other(match answer.end {
        BodyEnd::Stalled | BodyEnd::Limit if answer.bytes.len() < LARGEST => DialogueOutcome::Silent { waited_ms: 0.0, received_bytes },
        BodyEnd::Truncated => DialogueOutcome::Closed { received_bytes },
        BodyEnd::Reset => {
            DialogueOutcome::Refused { code: "13".to_owned(), message: "the server reset the stream before its status".to_owned() }
        }
        _ => DialogueOutcome::Malformed { why: "the answer ends without grpc-status: its trailers are missing".to_owned() },
    })
}

/// Facts of an answer that is not OK.
pub(super) fn facts(answer: &Answer, reply: &Reply) -> Vec<(&'static str, String)> {
    let text = |name: HeaderName| answer.headers.get(name).map(|value| printable(value.as_bytes(), 96));
    let mut facts = Vec::new();
    match reply {
        Reply::Message { .. } | Reply::Status(_) => {}
        Reply::Other(_) => {
            if answer.status != http::StatusCode::OK {
                facts.push(("http-status", answer.status.as_u16().to_string()));
            }
            facts.extend(text(header::CONTENT_TYPE).map(|value| ("content-type", value)));
            facts.extend(text(header::LOCATION).map(|value| ("location", value)));
            facts.extend(text(header::VIA).map(|value| ("via", value)));
        }
    }
    facts
}

/// `Server` of the answer: a proxy's name, mostly.
pub(super) fn server(headers: &HeaderMap) -> Option<String> {
    headers.get(header::SERVER).map(|value| printable(value.as_bytes(), 64))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// `grpc-status` and `grpc-message`; a status that is no number is UNKNOWN, as clients take it.
fn status(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?;
    Some(status_of(code.as_bytes(), headers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default()))
}

/// The two values of a status.
pub(super) fn status_of(code: &[u8], words: &[u8]) -> Status {
    let code = std::str::from_utf8(code).ok().and_then(|code| code.trim().parse().ok()).unwrap_or(2);
    let message: Vec<u8> = percent_decode(words).collect();
    Status { code, message: printable(&message, WORDS) }
}

/// The status that gRPC clients give to an HTTP/2 error code ("PROTOCOL-HTTP2.md", Errors).
pub(super) fn code_of_stream_error(reason: &str) -> u32 {
    match reason {
        "REFUSED_STREAM" => 14,
        "CANCEL" => 1,
        "ENHANCE_YOUR_CALM" => 8,
        "INADEQUATE_SECURITY" => 7,
        _ => 13,
    }
}

/// A status by its name.
pub(super) fn name(code: u32) -> &'static str {
    grpc_status(code).unwrap_or("no status of gRPC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Answer {
        let map = |fields: &[(&str, &str)]| {
            let pairs = fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            words: "Bad Gateway".to_owned(),
            bytes: body.to_vec(),
            end: BodyEnd::Complete,
            trailers: map(trailers),
            head_after: Duration::ZERO,
        }
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

    #[test]
    fn the_status_stands_in_the_trailers_or_in_the_headers_of_an_answer_without_body() {
        let said = |code, message: &str| Reply::Status(Status { code, message: message.to_owned() });
        let cases = [
            (answer(200, &[GRPC], &framed(&[8, 1]), &[("grpc-status", "0")]), Reply::Message { bytes: vec![8, 1] }),
            (answer(200, &[GRPC, ("grpc-status", "12")], b"", &[]), said(12, "")),
            (answer(200, &[GRPC], b"", &[("grpc-status", "14"), ("grpc-message", "no%20upstream%0A")]), said(14, "no upstream\\n")),
            (answer(200, &[GRPC], b"", &[("grpc-status", "x")]), said(2, "")),
            // A proxy that speaks gRPC in an answer with another HTTP status.
            (answer(503, &[GRPC, ("grpc-status", "14")], b"", &[]), said(14, "")),
        ];
        for (answer, expect) in cases {
            assert_eq!(reply(&answer), expect, "{answer:?}");
        }
    }

    #[test]
    fn what_is_no_grpc_is_told_as_what_it_is() {
        let other = |answer: &Answer| match reply(answer) {
            Reply::Other(outcome) => outcome,
            reply => panic!("{reply:?}"),
        };
        let bad_gateway = DialogueOutcome::Refused { code: "502".to_owned(), message: "Bad Gateway".to_owned() };
        assert_eq!(other(&answer(502, &[("content-type", "text/html")], b"<html>", &[])), bad_gateway);
        let page = other(&answer(200, &[("content-type", "text/html")], b"<html>", &[]));
        assert_eq!(page, DialogueOutcome::Foreign { looks_like: Some("http2".to_owned()), first_bytes: "<html>".to_owned() });
        for (body, trailers) in
            [(framed(&[8, 1]), vec![]), (vec![], vec![("grpc-status", "0")]), (vec![0, 0, 0], vec![("grpc-status", "0")])]
        {
            assert!(matches!(other(&answer(200, &[GRPC], &body, &trailers)), DialogueOutcome::Malformed { .. }), "{body:?} {trailers:?}");
        }
    }

    #[test]
    fn the_messages_of_health_and_reflection_are_read() {
        assert_eq!(health_request(""), Vec::<u8>::new());
        assert_eq!(health_request("a.B"), b"\x0a\x03a.B");
        assert_eq!(list_services(), b"\x3a\x01*");
        assert_eq!(
            (health(&[8, 2]), health(&[]), health(&[8, 99])),
            (Some(Health::NotServing), Some(Health::Unknown), Some(Health::Unknown))
        );
        assert_eq!(health(&[0xff]), None);
        let list = ServerReflectionResponse {
            list_services: Some(ListServiceResponse { service: vec![ServiceResponse { name: "shop.Cart".to_owned() }] }),
        };
        assert_eq!(services(&list.encode_to_vec()), Some(vec!["shop.Cart".to_owned()]));
        // An error in place of a list.
        assert_eq!(services(&[0x3a, 2, 8, 12]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(code in any::<Vec<u8>>(), words in any::<Vec<u8>>(), body in any::<Vec<u8>>()) {
            let status = status_of(&code, &words);
            prop_assert!(!status.message.contains('\n'));
            if let Some(message) = unframed(&body) {
                let _ = (health(message), services(message));
            }
        }

        #[test]
        fn framing_and_reading_are_inverse(message in any::<Vec<u8>>()) {
            let framed = framed(&message);
            prop_assert_eq!(unframed(&framed), Some(message.as_slice()));
        }
    }
}
