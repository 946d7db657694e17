//! One question of HTTP/2 and what is known of its answer, and the header fields that are read of either.

use super::grpc;
use crate::app::content::{Content, Declared, Wrong};
use crate::app::http::only_json;
use crate::app::tell::Mark;
use crate::app::websocket::WebSocket;
use crate::app::{Exchange, text};
use crate::finding::Finding;
use crate::packet::Stamp;

/// One question, and what is known of its answer.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) question: String,
    pub(super) asked: Mark,
    pub(super) done: Option<Stamp>,
    pub(super) began: Option<Mark>,
    pub(super) status: u16,
    pub(super) wait_ms: Option<f64>,
    pub(super) think_ms: Option<f64>,
    pub(super) grpc: bool,
    pub(super) grpc_status: Option<u16>,
    pub(super) grpc_message: String,
    pub(super) authorised: bool,
    /// The answer of the health service: anything but SERVING.
    pub(super) unwell: Option<&'static str>,
    /// Its answer says that it is gRPC, and every block of fields of it could be read.
    pub(super) answers_grpc: bool,
    /// Only JSON is accepted.
    pub(super) wants_json: bool,
    /// It asks for a WebSocket (RFC 8441 §4).
    pub(super) websocket: bool,
    /// What is said on that.
    pub(super) talk: Option<Box<WebSocket>>,
    /// The answer says that its body is a page.
    pub(super) page: bool,
    /// Its body, where that is declared as something that can be looked at.
    pub(super) content: Option<Box<Content>>,
}

/// The fields of a header block that are read.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authority: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) grpc: bool,
    pub(super) grpc_status: Option<u16>,
    pub(super) grpc_message: String,
    pub(super) authorised: bool,
    pub(super) wants_json: bool,
    pub(super) websocket: bool,
    pub(super) declared: Declared,
}

impl Fields {
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        match name {
            b":method" => self.method = text::printable(value, 20),
            b":path" => self.path = text::path(&String::from_utf8_lossy(value.get(..1024).unwrap_or(value))).into_owned(),
            b":authority" => self.authority = std::str::from_utf8(value).ok().map(text::host),
            b":protocol" => self.websocket = value == b"websocket",
            b":status" => self.status = number(),
            b"content-type" => {
                self.grpc |= value.starts_with(b"application/grpc");
                self.declared.typed(value);
            }
            b"content-encoding" => self.declared.encoded(value),
            b"accept" => self.wants_json = only_json(value),
            b"grpc-status" => self.grpc_status = number(),
            b"grpc-message" => self.grpc_message = text::printable(value, 80),
            b"authorization" => self.authorised = true,
            _ => {}
        }
    }
}

impl Stream {
    /// The body of its answer is not what it is declared to be.
    pub(super) fn misdeclared(&self, wrong: Wrong, mark: Mark) -> Finding {
        wrong.finding(&self.question, mark).and(self.began.unwrap_or(mark))
    }

    pub(super) fn is_head(&self) -> bool {
        self.question.starts_with("HEAD ")
    }

    pub(super) fn exchange(&self, until: Option<Stamp>, broken: Option<&str>) -> Exchange {
        let answer = match (broken, self.grpc_status, self.status) {
            (Some(broken), ..) => broken.to_owned(),
            (None, Some(code), _) => grpc::name(code).to_owned(),
            (None, None, 0) if self.began.is_some() => "unknown".to_owned(),
            (None, None, 0) => String::new(),
            (None, None, status) => status.to_string(),
        };
        let protocol = if self.grpc { "grpc" } else { "h2" };
        Exchange {
            ok: broken.is_none()
                && self.began.is_some()
                && self.status < 400
                && self.grpc_status.unwrap_or_default() == 0
                && self.unwell.is_none()
                && !(self.answers_grpc && self.grpc_status.is_none()),
            answer,
            wait_ms: self.wait_ms,
            think_ms: self.think_ms,
            total_ms: until.map(|until| until.ms_since(self.asked.at)),
            answered_in: self.began.map(|mark| mark.packet.0),
            ..Exchange::unanswered(protocol, self.question.clone(), self.asked)
        }
    }
}
