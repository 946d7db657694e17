//! WebSocket (RFC 6455): the upgrade, a ping and its pong, and an orderly close. A close of the server's at once is an answer, too.

use super::notes::Notes;
use super::talk::Broken;
use super::{DialogueAsk, Stream};
use crate::http::{Upgrade, upgrade};
use crate::recorder::{ms, printable};
use crate::tls::Tap;
use bytes::Bytes;
use faultmap_model::observation::{Dialogue, DialogueOutcome, HttpOutcome};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use std::time::{Duration, Instant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Largest message that is read; more is no fault of the server's.
const LARGEST: usize = 1 << 20;
/// A pong comes within a round trip from every library whose application reads.
const PONG_WAIT: Duration = Duration::from_secs(3);
/// A server that refuses by its first frame does so within this after the upgrade.
const AFTERTHOUGHT: Duration = Duration::from_millis(80);
const CLOSE_WAIT: Duration = Duration::from_millis(200);
/// Ours, to know its pong.
const PAYLOAD: &[u8] = b"faultmap";
/// Headers of a refusal that tell why, or whose it is.
const TELLING: [&str; 8] =
    ["connection", "content-type", "location", "retry-after", "sec-websocket-version", "upgrade", "via", "www-authenticate"];

/// Holds the conversation.
pub(super) async fn speak<S: Stream + 'static>(stream: S, ask: &DialogueAsk<'_>) -> Dialogue {
    let (mut notes, tap, seen) = Notes::of(stream);
    notes.step("upgrade");
    let key = generate_key();
    let asked = Instant::now();
    let ended = match request(ask, &key) {
        Ok(request) => match upgrade(tap, &seen, request, ask.wait).await {
            Ok(Upgrade::Switched { headers, stream, ahead }) => {
                notes.first_byte_ms = Some(ms(asked.elapsed()));
                switched(&mut notes, ask, &key, (headers, stream, ahead)).await
            }
            Ok(Upgrade::Answered { status, headers, words }) => {
                notes.first_byte_ms = Some(ms(asked.elapsed()));
                refused(&mut notes, &headers);
                Ok(DialogueOutcome::Refused { code: status.as_u16().to_string(), message: words })
            }
            Err(outcome) => unanswered(outcome),
        },
        Err(error) => Ok(DialogueOutcome::NoConnection { why: format!("the request cannot be built: {error}") }),
    };
    notes.finish(ask, ended)
}

fn unanswered(outcome: HttpOutcome) -> Result<DialogueOutcome, Broken> {
    match outcome {
        HttpOutcome::Silent { .. } => Err(Broken::Silent),
        HttpOutcome::Malformed { why, looks_like: Some(protocol), .. } if protocol == "http" => Ok(DialogueOutcome::Malformed { why }),
        HttpOutcome::Malformed { why, .. } => Err(Broken::Malformed(why)),
        HttpOutcome::NoConnection { why } => Ok(DialogueOutcome::NoConnection { why }),
        HttpOutcome::Closed { .. }
        | HttpOutcome::Reset { .. }
        | HttpOutcome::Alert { .. }
        | HttpOutcome::StreamRefused { .. }
        | HttpOutcome::Response(_) => Err(Broken::Ended),
    }
}

fn request(ask: &DialogueAsk<'_>, key: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    let host = ask.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or(ask.authority, |(_, value)| value.as_str());
    let path = if ask.path.is_empty() { "/" } else { ask.path };
    let mut request = Request::get(path).body(Full::new(Bytes::new()))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(host)?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(key)?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("faultmap/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in ask.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(request)
}

fn refused(notes: &mut Notes, headers: &HeaderMap) {
    notes.server = headers.get(header::SERVER).map(|value| printable(value.as_bytes(), 64));
    for name in TELLING {
        if let Some(value) = headers.get(name) {
            notes.fact(name, printable(value.as_bytes(), 96));
        }
    }
}

/// 101 came: the answer's headers are held against RFC 6455 4.1, then the first frames.
async fn switched<S: Stream>(
    notes: &mut Notes,
    ask: &DialogueAsk<'_>,
    key: &str,
    (headers, stream, ahead): (HeaderMap, Tap<S>, Bytes),
) -> Result<DialogueOutcome, Broken> {
    notes.server = headers.get(header::SERVER).map(|value| printable(value.as_bytes(), 64));
    if let Some(why) = unsound(ask, key, &headers) {
        return Ok(DialogueOutcome::Refused { code: "101".to_owned(), message: why });
    }
    if let Some(chosen) = headers.get(header::SEC_WEBSOCKET_PROTOCOL) {
        notes.fact("subprotocol", printable(chosen.as_bytes(), 64));
    }
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket = WebSocketStream::from_partially_read(stream, ahead.to_vec(), Role::Client, Some(config)).await;
    notes.step("ping");
    let ended = ping(notes, &mut socket, ask.wait.min(PONG_WAIT)).await;
    notes.end_step();
    // In order, so that nothing is left behind on the server.
    let _ = tokio::time::timeout(CLOSE_WAIT, async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    ended
}

/// Why a client must fail the connection although the status is 101.
fn unsound(ask: &DialogueAsk<'_>, key: &str, headers: &HeaderMap) -> Option<String> {
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if !has(header::UPGRADE, "websocket") {
        return Some("its answer has no Upgrade: websocket".to_owned());
    }
    if !has(header::CONNECTION, "upgrade") {
        return Some("its answer has no Connection: Upgrade".to_owned());
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
        return Some("its Sec-WebSocket-Accept does not answer our key".to_owned());
    }
    let wanted: Vec<&str> = ask
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .collect();
    match headers.get(header::SEC_WEBSOCKET_PROTOCOL).map(|chosen| printable(chosen.as_bytes(), 64)) {
        Some(chosen) if !wanted.contains(&chosen.as_str()) => Some(format!("it chose the subprotocol {chosen:?}, which was not asked for")),
        None if !wanted.is_empty() => Some(format!("it chose none of the subprotocols asked for ({})", wanted.join(", "))),
        _ => None,
    }
}

/// Ping until the pong; data and close frames on the way are noted.
async fn ping<S: Stream>(notes: &mut Notes, socket: &mut WebSocketStream<Tap<S>>, wait: Duration) -> Result<DialogueOutcome, Broken> {
    let asked = Instant::now();
    let sent = tokio::time::timeout(wait, socket.send(Message::Ping(Bytes::from_static(PAYLOAD)))).await;
    if sent.is_err() {
        return Err(Broken::Silent);
    }
    // A server that has closed makes the write fail; its close frame still waits to be read.
    let mut messages = 0_u32;
    let mut pong: Option<Duration> = None;
    let end = loop {
        let left = match pong {
            None => wait.saturating_sub(asked.elapsed()),
            Some(after) => (AFTERTHOUGHT + after).saturating_sub(asked.elapsed()),
        };
        match tokio::time::timeout(left, socket.next()).await {
            Err(_) => break None,
            Ok(Some(Ok(Message::Pong(payload)))) if payload == PAYLOAD => {
                pong = Some(asked.elapsed());
                notes.end_step();
            }
            Ok(Some(Ok(Message::Text(_) | Message::Binary(_)))) => messages = messages.saturating_add(1),
            Ok(Some(Ok(Message::Close(frame)))) => break Some(closed(frame)),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(Error::Capacity(_)))) => {
                messages = messages.saturating_add(1);
                break None;
            }
            Ok(Some(Err(Error::Protocol(why)))) if !ended_early(&why) => {
                return Ok(DialogueOutcome::Malformed { why: printable(why.to_string().as_bytes(), 160) });
            }
            Ok(Some(Err(Error::Utf8(why)))) => return Ok(DialogueOutcome::Malformed { why: printable(why.as_bytes(), 160) }),
            Ok(Some(Err(_)) | None) if pong.is_some() => break None,
            Ok(Some(Err(_)) | None) => return Err(Broken::Ended),
        }
    };
    if messages > 0 {
        notes.fact("messages", messages.to_string());
    }
    match (end, pong) {
        // A feed that is served in one go, and done.
        (Some((1000 | 1001, _)), _) if messages > 0 => Ok(done("served and closed in order")),
        (Some((code, message)), _) => Ok(DialogueOutcome::Refused { code: code.to_string(), message }),
        (None, Some(after)) => {
            notes.fact("pong", format!("{:.1} ms", ms(after)));
            Ok(done("upgraded, ping answered"))
        }
        (None, None) => {
            notes.fact("pong", format!("none within {} s", wait.as_secs()));
            Ok(done("upgraded, ping unanswered"))
        }
    }
}

fn ended_early(why: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError as P;
    matches!(why, P::ResetWithoutClosingHandshake | P::SendAfterClosing | P::ReceivedAfterClosing | P::HandshakeIncomplete)
}

/// 1005: a close frame without a code (RFC 6455 7.4.1).
fn closed(frame: Option<CloseFrame>) -> (u16, String) {
    frame.map_or((1005, String::new()), |frame| (u16::from(frame.code), printable(frame.reason.as_bytes(), 128)))
}

fn done(what: &str) -> DialogueOutcome {
    DialogueOutcome::Done { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::rehearse;
    use super::*;
    use faultmap_model::observation::Spoken;

    fn said(bytes: &[u8]) -> Dialogue {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(rehearse(Spoken::Websocket, bytes, None, "/feed")).expect("a dialogue")
    }

    fn refused(code: &str, message: &str) -> DialogueOutcome {
        DialogueOutcome::Refused { code: code.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn another_status_than_101_refuses_with_its_words_and_headers() {
        let seen = said(
            b"HTTP/1.1 426 Upgrade Required\r\nServer: nginx\r\nUpgrade: websocket\r\nContent-Type: text/html\r\nContent-Length: 27\r\n\r\n\
              <html><title>Late</title>\r\n",
        );
        assert_eq!((seen.outcome, seen.server.as_deref()), (refused("426", "Late"), Some("nginx")));
        assert!(seen.facts.contains(&("upgrade".to_owned(), "websocket".to_owned())), "{:?}", seen.facts);
    }

    #[test]
    fn a_101_must_answer_our_key() {
        let head = |more: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{more}\r\n");
        let cases = [
            (head(""), "its answer has no Upgrade: websocket"),
            (head("Upgrade: WebSocket\r\n"), "its answer has no Connection: Upgrade"),
            (head("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"), "its Sec-WebSocket-Accept does not answer our key"),
        ];
        for (bytes, words) in cases {
            assert_eq!(said(bytes.as_bytes()).outcome, refused("101", words), "{bytes}");
        }
    }

    #[test]
    fn other_ends_keep_their_names() {
        assert_eq!(said(b"").outcome, DialogueOutcome::Closed { received_bytes: 0 });
        let ssh = DialogueOutcome::Foreign { looks_like: Some("ssh".to_owned()), first_bytes: "SSH-2.0-x\\r\\n".to_owned() };
        assert_eq!(said(b"SSH-2.0-x\r\n").outcome, ssh);
        assert!(matches!(said(b"HTTP/1.1 banana\r\n\r\n").outcome, DialogueOutcome::Malformed { .. }));
    }
}
