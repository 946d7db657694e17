//! HTTP/2 without TLS (RFC 9113), by prior knowledge or after an upgrade, and gRPC on it: streams paired with their answers, errors of streams and of the connection. Where
//! the beginning was not seen, header fields cannot be read (RFC 7541 §2.3.2), and the answers are said to be unknown.
//!
//! Memory: two tables of HPACK of at most 64 KiB, one header block of each side of at most [`LONGEST_BLOCK`] bytes, [`MOST_STREAMS`] streams of about 400 bytes, and
//! what `content` keeps of [`MOST_BODIES`] bodies under way.

mod block;
mod frame;
mod grpc;
mod stream;
#[cfg(test)]
mod tests;

use super::content::{Content, page_for_json};
use super::http::status;
use super::tell::{Mark, Open, Rules, tell};
use super::websocket::WebSocket;
use super::{Below, Chunk, Conversation, End, Ends, Sink, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use fluke_hpack::Decoder;
use frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Head, PADDED, PUSH_PROMISE, RST_STREAM, Step, error_name,
};
use stream::{Fields, Stream};

/// What a client says first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest header block that is read, bytes.
const LONGEST_BLOCK: usize = 32 * 1024;
/// Streams of one connection that are followed at a time.
const MOST_STREAMS: usize = 256;
/// Bodies of one connection that are looked at at a time.
const MOST_BODIES: usize = 8;
/// Largest table of HPACK that is kept.
const LARGEST_TABLE: usize = 64 * 1024;

const HTTP: Rules = Rules { think: "h2.server-think", unanswered: "h2.unanswered", closed: "h2.closed-without-answer" };
const GRPC: Rules = Rules { think: "grpc.server-think", unanswered: "grpc.unanswered", closed: "grpc.closed-without-answer" };

/// Whether bytes from the middle of a connection are a frame of strict form.
pub(super) fn frame_begins(bytes: &[u8]) -> bool {
    frame::begins(bytes)
}

/// A connection that speaks HTTP/2.
pub(super) struct H2 {
    ends: Ends,
    halves: PerSide<Half>,
    /// Bytes of the preface still to come.
    preface: usize,
    streams: Vec<Stream>,
    answered: u64,
    /// The last stream in which a body answers HEAD.
    body_to_head: Option<u32>,
    /// Frames of either side went by unread.
    missed: bool,
    /// When the client said that it speaks HTTP/2.
    opened: Option<Mark>,
}

struct Half {
    frames: Frames,
    began: Mark,
    /// `None` once header blocks cannot be read any more.
    decoder: Option<Decoder<'static>>,
    block: Vec<u8>,
    block_head: Option<Head>,
    lost: bool,
    /// A frame of it was whole.
    spoken: bool,
    /// Because something was not captured: a later chunk may begin with a frame again.
    hole: bool,
}

impl Half {
    fn new(from_the_start: bool) -> Self {
        let decoder = from_the_start.then(|| {
            let mut decoder = Decoder::new();
            decoder.set_max_allowed_table_size(LARGEST_TABLE);
            decoder
        });
        Self {
            frames: Frames::default(),
            began: Mark::default(),
            decoder,
            block: Vec::new(),
            block_head: None,
            lost: false,
            spoken: false,
            hole: false,
        }
    }

    /// The fields of a block; `None` if they cannot be read.
    fn decode(&mut self) -> Option<Fields> {
        if !block::is_whole(&self.block) {
            self.decoder = None;
        }
        let decoder = self.decoder.as_mut()?;
        let mut fields = Fields::default();
        let read = decoder.decode_with_cb(&self.block, |name, value| fields.take(&name, &value));
        if read.is_err() {
            self.decoder = None;
        }
        read.ok().map(|()| fields)
    }
}

impl H2 {
    /// A connection between these that begins with the client's preface.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            halves: PerSide { client: Half::new(true), server: Half::new(true) },
            preface: PREFACE.len(),
            streams: Vec::new(),
            answered: 0,
            body_to_head: None,
            missed: false,
            opened: None,
        }
    }

    /// A connection whose beginning was not seen.
    pub(super) fn midstream(ends: Ends) -> Self {
        Self { halves: PerSide { client: Half::new(false), server: Half::new(false) }, preface: 0, ..Self::new(ends) }
    }

    /// A connection that was HTTP/1: its one request is stream 1 (RFC 7540 §3.2).
    pub(super) fn upgraded(ends: Ends, question: String, asked: Mark, done: Option<Stamp>) -> Self {
        let mut connection = Self::new(ends);
        connection.streams.push(Stream { id: 1, question, asked, done, ..Stream::default() });
        connection
    }

    fn frame(&mut self, from: Side, head: Head, mark: Mark, began: Mark, below: &Below, sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        match head.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                if head.kind != CONTINUATION {
                    half.block.clear();
                    half.block_head = Some(head);
                }
                let promised = if head.kind == PUSH_PROMISE { 4 } else { 0 };
                match half.frames.payload(&head).and_then(|payload| payload.get(promised..)) {
                    Some(part) if half.block.len() + part.len() <= LONGEST_BLOCK => half.block.extend_from_slice(part),
                    _ => half.decoder = None,
                }
                if head.flags & END_HEADERS != 0 {
                    self.block(from, mark, began, below, sink);
                }
            }
            DATA => {
                if from == Side::Server && head.len > 0 && self.streams.iter().any(|stream| stream.id == head.stream && stream.is_head()) {
                    self.body_to_head = Some(head.stream);
                }
                if from == Side::Server && head.len <= 7 {
                    let payload = self.halves.of_mut(from).frames.payload(&head).unwrap_or_default();
                    let serving = grpc::health(payload);
                    self.health(head.stream, serving);
                }
                if head.flags & END_STREAM != 0 {
                    self.ended(from, head.stream, mark, sink);
                }
            }
            RST_STREAM | GOAWAY => {
                let payload = half.frames.payload(&head).unwrap_or_default();
                let at = if head.kind == GOAWAY { 4 } else { 0 };
                let Some(code) = payload.get(at..at + 4).and_then(|code| code.first_chunk::<4>()).map(|code| u32::from_be_bytes(*code))
                else {
                    return;
                };
                let said = if head.kind == GOAWAY { text::printable(payload.get(8..).unwrap_or_default(), 60) } else { String::new() };
                if head.kind == GOAWAY {
                    self.goaway(from, code, &said, mark, sink)
                } else {
                    self.reset(from, head.stream, code, mark, sink)
                }
            }
            _ => {}
        }
    }

    fn block(&mut self, from: Side, mark: Mark, began: Mark, below: &Below, sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        let Some(head) = half.block_head.take() else { return };
        let fields = half.decode();
        half.block = Vec::new();
        if head.kind == PUSH_PROMISE {
            return;
        }
        match from {
            Side::Client => self.asked(head.stream, fields, began, sink),
            Side::Server => self.answered(head.stream, fields, began, below, sink),
        }
        if head.flags & END_STREAM != 0 {
            self.ended(from, head.stream, mark, sink);
        }
    }

    fn asked(&mut self, id: u32, fields: Option<Fields>, asked: Mark, sink: &mut Sink) {
        // Trailers of a request.
        if self.streams.iter().any(|stream| stream.id == id) {
            return;
        }
        if self.streams.len() >= MOST_STREAMS {
            self.streams.remove(0);
        }
        let mut stream = Stream { id, question: format!("stream {id}"), asked, ..Stream::default() };
        if let Some(fields) = fields {
            stream.question = format!("{} {}", fields.method, fields.path);
            stream.grpc = fields.grpc;
            stream.authorised = fields.authorised;
            stream.wants_json = fields.wants_json;
            stream.websocket = fields.websocket;
            if sink.server_name.is_none() {
                sink.server_name = fields.authority;
            }
            if fields.grpc {
                sink.protocol = Some("grpc");
            }
        }
        self.streams.push(stream);
    }

    fn answered(&mut self, id: u32, fields: Option<Fields>, began: Mark, below: &Below, sink: &mut Sink) {
        let ends = self.ends;
        let room = self.streams.iter().filter(|stream| stream.content.is_some()).count() < MOST_BODIES;
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return };
        let readable = fields.is_some();
        let fields = fields.unwrap_or_default();
        if fields.status.is_some_and(|status| (100..200).contains(&status)) {
            return;
        }
        if stream.began.is_none() {
            stream.began = Some(began);
            stream.status = fields.status.unwrap_or_default();
            stream.answers_grpc = fields.grpc && stream.grpc;
            stream.grpc |= fields.grpc;
            stream.page = fields.declared.page;
            let looked_at = room && !stream.is_head() && !stream.websocket;
            let opens = stream.websocket && (200..300).contains(&stream.status);
            stream.talk = opens.then(|| Box::new(WebSocket::new(ends, began)));
            stream.content = Content::of(fields.declared, stream.status).filter(|_| looked_at).map(Box::new);
            stream.wait_ms = stream.done.filter(|done| *done <= began.at).map(|done| began.at.ms_since(done));
            stream.think_ms = stream.wait_ms.map(|wait| below.think_ms(wait));
            let rules = if stream.grpc { &GRPC } else { &HTTP };
            if let Some(think) = stream.think_ms {
                rules.thought(&ends, &stream.question, think, stream.asked, began, sink);
            }
        }
        stream.answers_grpc &= readable;
        if fields.grpc_status.is_some() {
            (stream.grpc_status, stream.grpc_message) = (fields.grpc_status, fields.grpc_message);
        }
    }

    fn ended(&mut self, from: Side, id: u32, mark: Mark, sink: &mut Sink) {
        let Some(index) = self.streams.iter().position(|stream| stream.id == id) else { return };
        if from == Side::Client {
            self.streams[index].done = Some(mark.at);
            return;
        }
        let mut stream = self.streams.remove(index);
        self.answered += 1;
        let wrong = stream.content.take().and_then(|content| content.ended());
        sink.findings.extend(wrong.map(|wrong| stream.misdeclared(wrong, mark).on(self.ends.service())));
        if stream.wants_json && stream.page && (200..300).contains(&stream.status) {
            let finding = page_for_json(&stream.question, stream.began.unwrap_or(mark));
            sink.findings.push(finding.and(stream.asked).on(self.ends.service()));
        }
        self.judge(&stream, mark, sink);
        sink.exchanges.push(stream.exchange(Some(mark.at), None));
    }

    /// The next bytes of a body, or of what is said in its place.
    fn body(&mut self, head: Head, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let (service, mark) = (self.ends.service(), Mark::from(&chunk));
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == head.stream) else { return };
        // Which of the bytes are padding (RFC 9113 §6.1) is not worth following.
        if head.flags & PADDED != 0 {
            (stream.content, stream.talk) = (None, None);
        }
        if let Some(talk) = &mut stream.talk {
            talk.chunk(chunk, below, sink);
        }
        let content = stream.content.as_mut().filter(|_| chunk.from == Side::Server);
        let wrong = content.and_then(|content| content.take(chunk.bytes));
        sink.findings.extend(wrong.map(|wrong| stream.misdeclared(wrong, mark).on(service)));
    }

    /// What the health service says of the one it was asked about.
    fn health(&mut self, id: u32, says: Option<&'static str>) {
        let stream = self.streams.iter_mut().find(|stream| stream.id == id && stream.grpc);
        if let Some(stream) = stream.filter(|stream| stream.question.ends_with(grpc::HEALTH)) {
            stream.unwell = says;
        }
    }

    fn judge(&self, stream: &Stream, mark: Mark, sink: &mut Sink) {
        let service = self.ends.service();
        let told =
            |rule, cause, text: String| tell(rule, Weight::Fault, Layer::L7, mark, text).and(stream.asked).for_cause(cause).on(service);
        if let Some(says) = stream.unwell.filter(|_| stream.grpc_status.unwrap_or_default() == 0) {
            let text = format!("{}: the health service answers {says}", stream.question);
            return sink.findings.push(told("grpc.health", "l7.grpc-not-serving", text));
        }
        // Every answer of gRPC ends with a status (grpc/doc/PROTOCOL-HTTP2.md); one that ends without was cut by somebody who does not know trailers.
        if stream.grpc && stream.answers_grpc && stream.grpc_status.is_none() && stream.status == 200 {
            let text = format!(
                "{}: the answer ends without grpc-status: somebody on the way dropped the trailers, or it is no gRPC",
                stream.question
            );
            return sink.findings.push(told("grpc.no-status", "l7.grpc-error", text));
        }
        if let Some((weight, cause)) = stream.grpc_status.and_then(grpc::judge) {
            let code = stream.grpc_status.unwrap_or_default();
            let said = if stream.grpc_message.is_empty() { String::new() } else { format!(" ({})", stream.grpc_message) };
            let text = format!("{}: {} {code}{said}", stream.question, grpc::name(code));
            let finding = tell("grpc.status", weight, Layer::L7, mark, text).and(stream.asked);
            return sink.findings.push(finding.for_cause(cause).on(service).worth(code));
        }
        let asked = status::Asked { authorised: stream.authorised, idle_curiosity: stream.question.ends_with("/favicon.ico") };
        if let Some((weight, layer, cause)) = status::judge(stream.status, asked) {
            let refused = stream.websocket && layer == Layer::L7 && stream.status != 401;
            let (cause, weight) = if refused { ("l7.websocket-refused", weight.max(Weight::Warning)) } else { (cause, weight) };
            let text = format!("{}: {}", stream.question, stream.status);
            let finding = tell("http.status", weight, layer, stream.began.unwrap_or(mark), text).and(stream.asked);
            sink.findings.push(finding.for_cause(cause).on(service).worth(stream.status));
        }
    }

    fn reset(&mut self, from: Side, id: u32, code: u32, mark: Mark, sink: &mut Sink) {
        let index = self.streams.iter().position(|stream| stream.id == id);
        let stream = index.map(|index| self.streams.remove(index));
        let question = stream.as_ref().map_or_else(|| format!("stream {id}"), |stream| stream.question.clone());
        if let Some(stream) = &stream {
            sink.exchanges.push(stream.exchange(None, Some(error_name(code))));
        }
        let weight = match (code, from) {
            (0, _) => return,
            // A server that sends a body to HEAD breaks the rules (RFC 9110 §9.3.2), and harms nobody: the answer itself was in the head.
            (1, Side::Client) if self.body_to_head == Some(id) => Weight::Note,
            (8, _) => Weight::Note,
            (7 | 11, _) => Weight::Warning,
            _ => Weight::Fault,
        };
        let who = if from == Side::Client { "the client" } else { "the server" };
        let text = format!("{question}: {who} reset the stream: {} ({code})", error_name(code));
        let finding = tell("h2.rst-stream", weight, Layer::L7, mark, text).worth(code);
        sink.findings.push(finding.for_cause(cause(code)).on(self.blamed(from, code)));
    }

    fn goaway(&self, from: Side, code: u32, said: &str, mark: Mark, sink: &mut Sink) {
        if code == 0 {
            return;
        }
        let who = if from == Side::Client { "the client" } else { "the server" };
        let said = if said.is_empty() { String::new() } else { format!(": {said:?}") };
        let text = format!("{who} gave up the connection: {} ({code}){said}", error_name(code));
        let finding = tell("h2.goaway", Weight::Fault, Layer::L7, mark, text).worth(code);
        sink.findings.push(finding.for_cause(cause(code)).on(self.blamed(from, code)));
    }

    /// Who speaks HTTP/2 at once must know that the server does (RFC 9113 §3.3); this one does not.
    fn answered_in_http1(&mut self, mark: Mark, sink: &mut Sink) {
        let text = "HTTP/2 was spoken at once, and the server answers in the text of HTTP/1: it does not know HTTP/2 here".to_owned();
        let finding = tell("h2.answered-in-http1", Weight::Fault, Layer::L7, mark, text).for_cause("l7.protocol-mismatch");
        sink.findings.push(finding.on(self.ends.service()));
        for stream in self.streams.drain(..) {
            sink.exchanges.push(stream.exchange(None, Some("HTTP/1")));
        }
    }

    /// An internal error is the sender's own; the others accuse the other side.
    fn blamed(&self, from: Side, code: u32) -> crate::finding::Party {
        let own = matches!(code, 2 | 7 | 8 | 10 | 11 | 13);
        self.ends.party(if own { from } else { from.other() })
    }
}

/// The cause that an error code points to.
fn cause(code: u32) -> Option<&'static str> {
    Some(match code {
        2 => "l7.http-server-error",
        7 => "l7.http-unavailable",
        11 => "l7.http-rate-limited",
        12 => "l6.tls-cipher-mismatch",
        13 => "l6.alpn-mismatch",
        8 | 10 => return None,
        _ => "l7.http-malformed",
    })
}

impl Conversation for H2 {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mut rest = chunk.bytes;
        if chunk.from == Side::Client && self.preface > 0 {
            let skipped = rest.len().min(self.preface);
            self.preface -= skipped;
            self.opened = Some(Mark::from(&chunk));
            rest = rest.get(skipped..).unwrap_or_default();
        }
        if self.halves.of_mut(chunk.from).lost {
            let half = self.halves.of_mut(chunk.from);
            if !half.hole || !frame::begins(rest) {
                return;
            }
            (half.lost, half.hole, half.frames) = (false, false, Frames::default());
        }
        let mark = Mark::from(&chunk);
        while !rest.is_empty() {
            let half = self.halves.of_mut(chunk.from);
            if half.frames.at_start() {
                half.began = mark;
            }
            let began = half.began;
            let (step, tail) = half.frames.step(rest);
            let body = half.frames.body(rest, tail).filter(|(_, bytes)| !bytes.is_empty());
            rest = tail;
            if let Some((head, bytes)) = body {
                self.body(head, Chunk { bytes, ..chunk }, below, sink);
            }
            match step {
                Step::Whole(head) => {
                    self.halves.of_mut(chunk.from).spoken = true;
                    self.frame(chunk.from, head, mark, began, below, sink);
                }
                Step::More => {}
                Step::Broken => {
                    let half = self.halves.of_mut(chunk.from);
                    (half.lost, half.decoder) = (true, None);
                    let older = chunk.from == Side::Server && !half.spoken && half.frames.is_text();
                    if older {
                        self.answered_in_http1(began, sink);
                    }
                    return;
                }
            }
        }
    }

    fn gap(&mut self, from: Side, missing: u64, _sink: &mut Sink) {
        for stream in &mut self.streams {
            stream.talk = None;
            stream.content.take_if(|_| from == Side::Server);
        }
        let half = self.halves.of_mut(from);
        if !half.frames.skip(missing) {
            half.hole = !half.lost || half.hole;
            (half.lost, half.decoder, half.block_head) = (true, None, None);
            half.block = Vec::new();
            // Which of them were answered in the hole is not known.
            self.streams.clear();
            self.missed = true;
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let mut streams = std::mem::take(&mut self.streams);
        // A server answers the preface by its own, before any question (RFC 9113 §3.4).
        let server = &self.halves.server;
        if let Some(opened) = self.opened.filter(|_| streams.is_empty() && self.preface == 0 && !server.spoken && !server.lost) {
            streams.push(Stream {
                question: "the preface of HTTP/2".to_owned(),
                asked: opened,
                done: Some(opened.at),
                ..Stream::default()
            });
        }
        let mut told = false;
        for stream in &streams {
            // In its middle the first header block of a stream may be the answer as well.
            // And behind a hole it may have gone by unread.
            if stream.began.is_none() && below.from_the_start && !self.missed && !std::mem::replace(&mut told, true) {
                let rules = if stream.grpc { &GRPC } else { &HTTP };
                let open = Open { question: &stream.question, asked: stream.asked, done: stream.done, reused: self.answered > 0 };
                rules.unanswered(&self.ends, &open, how, at, below, sink);
            }
            sink.exchanges.push(stream.exchange(None, None));
        }
    }
}
