//! HTTP/1 in one connection (RFC 9110, RFC 9112): requests paired with their answers, who waited for whom, and answers that broke off. It never keeps a body,
//! a query or the value of a header field that may be secret.
//!
//! Memory: two heads of at most [`LONGEST_HEAD`] bytes while they are incomplete, at most [`MOST_OPEN`] requests of about 300 bytes each, and 512 bytes of an
//! answer with status 400.

mod body;
mod head;
pub(super) mod status;
#[cfg(test)]
mod tests;

use super::gather::{Gather, Gathered, blank_line};
use super::tell::{Mark, Open, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Sink, Talk, h2, recognise, text, websocket};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use body::{Body, Eaten};
use faultmap_model::Layer;
use head::{Coding, Method, RequestHead, ResponseHead, Unread, Upgrade};
use std::collections::VecDeque;

/// Longest head that is read, bytes; servers refuse much shorter ones.
const LONGEST_HEAD: usize = 64 * 1024;
/// Requests in flight on one connection that are followed.
const MOST_OPEN: usize = 64;
/// Bytes of an answer that are looked at for the words of a server that wants TLS.
const SAMPLE: usize = 512;
/// A pause before the first request that is the client's own, in milliseconds. Longer ones are connections opened in advance.
const CLIENT_SLOW_MS: std::ops::Range<f64> = 1000.0..5000.0;
/// So many redirects for one target on one connection are a circle (browsers stop at 20 in all).
const CIRCLE: u8 = 4;
/// Targets of redirects that are remembered.
const MOST_TARGETS: usize = 8;

const RULES: Rules = Rules { think: "http.server-think", unanswered: "http.unanswered", closed: "http.closed-without-answer" };

/// A connection that speaks HTTP/1.
pub(super) struct Http {
    ends: Ends,
    asking: Half,
    answering: Half,
    open: VecDeque<Request>,
    current: Option<Response>,
    answered: u64,
    last_answer: Option<Stamp>,
    asked: u64,
    redirected: Vec<(u64, u8)>,
    /// What is spoken after CONNECT or Upgrade.
    inner: Option<Box<dyn Conversation>>,
    /// Something was lost: which answer belongs to which question is no longer sure.
    shaky: bool,
}

/// One direction.
#[derive(Default)]
struct Half {
    phase: Phase,
    gather: Gather,
    began: Option<Mark>,
    hole: bool,
}

#[derive(Default)]
enum Phase {
    #[default]
    Head,
    Body(Body),
    /// What comes cannot be read. After a hole in the capture a head at the beginning of a chunk is recognised; bytes that break the rules are no HTTP any more.
    Lost,
    /// Another protocol has taken over.
    Tunnel,
}

struct Request {
    head: RequestHead,
    asked: Mark,
    done: Option<Stamp>,
}

struct Response {
    head: ResponseHead,
    request: Option<Request>,
    began: Mark,
    wait_ms: Option<f64>,
    think_ms: Option<f64>,
    sample: Vec<u8>,
    /// The first bytes of the body, and how many of them came.
    magic: ([u8; 3], usize),
}

impl Http {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            asking: Half::default(),
            answering: Half::default(),
            open: VecDeque::new(),
            current: None,
            answered: 0,
            last_answer: None,
            asked: 0,
            redirected: Vec::new(),
            inner: None,
            shaky: false,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        if side == Side::Client { &mut self.asking } else { &mut self.answering }
    }

    /// One step with what is left of a chunk: how many bytes were taken; `None` when the rest is of no use.
    fn step(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) -> Option<usize> {
        match &mut self.half(chunk.from).phase {
            Phase::Head => self.head(chunk, below, sink),
            Phase::Body(body) => {
                let eaten = body.eat(chunk.bytes);
                self.body(chunk, eaten, below, sink)
            }
            Phase::Lost => None,
            Phase::Tunnel => {
                if let Some(inner) = &mut self.inner {
                    inner.chunk(chunk, below, sink);
                }
                None
            }
        }
    }

    fn head(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) -> Option<usize> {
        let half = self.half(chunk.from);
        if half.gather.is_empty() {
            // Empty lines before a message are to be ignored (RFC 9112 §2.2).
            let blank = chunk.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank > 0 {
                return Some(blank);
            }
            half.began = Some(Mark::from(&chunk));
        }
        let mut gather = std::mem::take(&mut half.gather);
        let began = half.began.unwrap_or(Mark::from(&chunk));
        let taken = match gather.offer(chunk.bytes, LONGEST_HEAD, blank_line) {
            Gathered::More => {
                let foreign = chunk.from == Side::Server && gather.kept().len() >= 5 && !gather.kept().starts_with(b"HTTP/");
                if foreign {
                    self.foreign(&gather.kept()[..5], began, sink);
                } else {
                    self.half(chunk.from).gather = gather;
                }
                return None;
            }
            Gathered::TooLong => {
                self.lose(chunk.from);
                return None;
            }
            Gathered::Whole(len, taken) => {
                let bytes = gather.whole(chunk.bytes, len);
                match chunk.from {
                    Side::Client => self.request(bytes, began, chunk.at, below, sink),
                    Side::Server => self.response(bytes, began, below, sink),
                }
                taken
            }
        };
        Some(taken)
    }

    fn request(&mut self, bytes: &[u8], asked: Mark, at: Stamp, below: &Below, sink: &mut Sink) {
        let Ok(mut head) = head::request(bytes) else { return self.lose(Side::Client) };
        if sink.server_name.is_none() && self.asked == 0 {
            sink.server_name.clone_from(&head.host);
        }
        if self.asked == 0 {
            self.late(asked, below, sink);
        }
        self.asked += 1;
        let done = match head.body.take() {
            None | Some(Body::Length(0) | Body::UntilClose) => Some(at),
            Some(body) => {
                self.asking.phase = Phase::Body(body);
                None
            }
        };
        if self.open.len() >= MOST_OPEN {
            return self.lose(Side::Client);
        }
        self.open.push_back(Request { head, asked, done });
    }

    /// The client had its connection, and took its time to ask.
    fn late(&self, asked: Mark, below: &Below, sink: &mut Sink) {
        let Some(paused) = below.established.map(|since| asked.at.ms_since(since)).filter(|_| below.from_the_start) else { return };
        if paused < CLIENT_SLOW_MS.start {
            return;
        }
        let weight = if paused < CLIENT_SLOW_MS.end { Weight::Warning } else { Weight::Note };
        let text = format!("the client waited {} on the open connection before its first request", text::time(paused));
        sink.findings.push(tell("http.client-slow", weight, Layer::L7, asked, text).on(self.ends.asker()).worth(paused));
    }

    fn response(&mut self, bytes: &[u8], began: Mark, below: &Below, sink: &mut Sink) {
        let mut head = match head::response(bytes) {
            Ok(head) => head,
            Err(Unread::Large) => return self.lose(Side::Server),
            Err(Unread::Malformed) if bytes.starts_with(b"HTTP/") => return self.malformed("its head cannot be read", began, sink),
            Err(Unread::Malformed) => return self.foreign(bytes, began, sink),
        };
        if matches!(head.status, 100 | 102..=199) {
            return;
        }
        let request = self.open.pop_front();
        let method = request.as_ref().map_or(Method::Other, |request| request.head.method);
        let no_body = matches!(head.status, 101 | 204 | 304) || method == Method::Head || (method == Method::Connect && head.status < 300);
        let body = if no_body { None } else { head.body.take().or((!self.midstream_head(&request)).then_some(Body::UntilClose)) };
        let since = request.as_ref().and_then(|request| request.done).map(|done| self.last_answer.map_or(done, |last| done.max(last)));
        let wait_ms = since.filter(|since| !self.shaky && *since <= began.at).map(|since| began.at.ms_since(since));
        let think_ms = wait_ms.map(|wait| below.think_ms(wait));
        if let (Some(request), Some(think)) = (&request, think_ms) {
            RULES.thought(&self.ends, &request.head.question, think, request.asked, began, sink);
        }
        let switches = self.switches(&head, request.as_ref(), sink);
        let status = head.status;
        let response = Response { head, request, began, wait_ms, think_ms, sample: Vec::new(), magic: ([0; 3], 0) };
        if response.head.status != 400 {
            self.judge(&response, sink);
        }
        self.current = Some(response);
        match body {
            None | Some(Body::Length(0)) => self.finish(began.at, below, sink),
            Some(body) => self.answering.phase = Phase::Body(body),
        }
        if status == 101 || (method == Method::Connect && status < 300) {
            (self.asking.phase, self.answering.phase) = (Phase::Tunnel, Phase::Tunnel);
            self.open.clear();
            self.inner = switches;
        }
    }

    /// What is spoken after this answer, if it is another protocol that is known.
    fn switches(&self, head: &ResponseHead, request: Option<&Request>, sink: &mut Sink) -> Option<Box<dyn Conversation>> {
        let request = request?;
        if request.head.method == Method::Connect {
            return Some(Box::new(Talk::new(self.ends, true)));
        }
        match head.upgrade.or(request.head.upgrade)? {
            Upgrade::Websocket if head.status == 101 => {
                sink.protocol = Some("websocket");
                Some(Box::new(websocket::WebSocket::new(self.ends)))
            }
            Upgrade::H2c if head.status == 101 => {
                sink.protocol = Some("h2");
                Some(Box::new(h2::H2::upgraded(self.ends, request.head.question.clone(), request.asked, request.done)))
            }
            _ => None,
        }
    }

    /// Without its request nobody knows whether an answer without a length has a body: one to HEAD has none.
    fn midstream_head(&self, request: &Option<Request>) -> bool {
        request.is_none() && self.asked == 0
    }

    fn body(&mut self, chunk: Chunk<'_>, eaten: Eaten, below: &Below, sink: &mut Sink) -> Option<usize> {
        let own = match eaten {
            Eaten::Done(count) => chunk.bytes.get(..count).unwrap_or_default(),
            Eaten::All | Eaten::Broken => chunk.bytes,
        };
        if chunk.from == Side::Server {
            self.look_into(own, Mark::from(&chunk), sink);
        }
        match eaten {
            Eaten::All => None,
            Eaten::Done(count) => {
                self.half(chunk.from).phase = Phase::Head;
                match chunk.from {
                    Side::Client => self.asked_whole(chunk.at),
                    Side::Server => self.finish(chunk.at, below, sink),
                }
                Some(count)
            }
            Eaten::Broken if chunk.from == Side::Server => {
                self.malformed("a chunk of its body has no readable size", Mark::from(&chunk), sink);
                None
            }
            Eaten::Broken => {
                self.lose(Side::Client);
                None
            }
        }
    }

    fn asked_whole(&mut self, at: Stamp) {
        if let Some(request) = self.open.back_mut() {
            request.done = Some(at);
        }
    }

    /// The first bytes of a body tell whether it is encoded as its head says, and a server's own words that it wanted TLS.
    fn look_into(&mut self, bytes: &[u8], mark: Mark, sink: &mut Sink) {
        let service = self.ends.service();
        let Some(current) = &mut self.current else { return };
        if current.head.status == 400 {
            let room = SAMPLE.saturating_sub(current.sample.len());
            current.sample.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        let (magic, seen) = &mut current.magic;
        if *seen == magic.len() || current.head.chunked {
            return;
        }
        for (slot, byte) in magic.iter_mut().skip(*seen).zip(bytes) {
            *slot = *byte;
            *seen += 1;
        }
        if *seen < magic.len() {
            return;
        }
        let zipped = *magic == [0x1f, 0x8b, 0x08];
        let what = match current.head.coding {
            Coding::Gzip if !zipped => "is declared as gzip and is not",
            Coding::PlainText if zipped => "is gzip and declared as plain text",
            _ => return,
        };
        let question = current.request.as_ref().map_or("", |request| &request.head.question);
        let text = format!("{question}: the body {what}");
        let finding = tell("http.encoding", Weight::Fault, Layer::L6, mark, text).and(current.began);
        sink.findings.push(finding.for_cause("l6.content-encoding-mismatch").on(service));
    }

    /// The answer is complete.
    fn finish(&mut self, at: Stamp, below: &Below, sink: &mut Sink) {
        let Some(response) = self.current.take() else { return };
        if response.head.status == 400 {
            self.judge_bad_request(&response, below, sink);
        }
        self.answered += 1;
        self.last_answer = Some(at);
        sink.exchanges.push(exchange(&response, Some(at), ""));
    }

    fn judge(&mut self, response: &Response, sink: &mut Sink) {
        let status = response.head.status;
        let asked = response.request.as_ref().map_or_else(Default::default, |request| status::Asked::from(&request.head));
        let tunnel = response.request.as_ref().is_some_and(|request| request.head.method == Method::Connect);
        let judged = match status {
            403 | 500..=599 if tunnel => Some(status::TUNNEL_REFUSED),
            _ => status::judge(status, asked),
        };
        let question = response.request.as_ref().map_or("an answer to an unseen question", |request| &request.head.question);
        if let Some((weight, layer, cause)) = judged {
            let wants = |upgrade| response.request.as_ref().is_some_and(|request| request.head.upgrade == Some(upgrade));
            let cause = if wants(Upgrade::Websocket) && layer == Layer::L7 { "l7.websocket-refused" } else { cause };
            let text = format!("{question}: {status} {}", response.head.reason);
            let finding = tell("http.status", weight, layer, response.began, text.trim_end().to_owned());
            let finding = finding.for_cause(cause).on(self.ends.service()).worth(f64::from(status));
            sink.findings.push(match &response.request {
                Some(request) => finding.and(request.asked),
                None => finding,
            });
        }
        if matches!(status, 301 | 302 | 303 | 307 | 308) && response.head.location {
            self.redirected(response, sink);
        }
    }

    fn redirected(&mut self, response: &Response, sink: &mut Sink) {
        let Some(request) = &response.request else { return };
        let hash = request.head.target_hash;
        let index = self.redirected.iter().position(|(target, _)| *target == hash).unwrap_or(self.redirected.len());
        if index == self.redirected.len() && index < MOST_TARGETS {
            self.redirected.push((hash, 0));
        }
        let Some((_, times)) = self.redirected.get_mut(index) else { return };
        *times = times.saturating_add(1);
        let times = *times;
        if times == CIRCLE {
            let text = format!("{}: redirected {CIRCLE} times on one connection, and asked for again", request.head.question);
            let finding = tell("http.redirect-loop", Weight::Fault, Layer::L7, response.began, text);
            sink.findings.push(finding.for_cause("l7.http-redirect-loop").on(self.ends.service()));
        }
    }

    /// A 400 may be the word of a server that wanted TLS: nginx, Apache httpd, Go and others say so in the body.
    fn judge_bad_request(&mut self, response: &Response, below: &Below, sink: &mut Sink) {
        let said = String::from_utf8_lossy(&response.sample).to_ascii_lowercase();
        let wants_tls = (said.contains("http request") || said.contains("plain http"))
            && ["https port", "ssl-enabled", "tls-enabled", "requires tls", "tls port", "ssl port", "https server"]
                .iter()
                .any(|words| said.contains(words));
        if !wants_tls {
            return self.judge(response, sink);
        }
        let text = format!("plain HTTP was sent to port {}, where the server wants TLS: it answered 400 and says so", below.server_port);
        let finding = tell("tls.plaintext-request", Weight::Fault, Layer::L6, response.began, text);
        sink.findings.push(finding.for_cause("l6.tls-on-plaintext-port").on(self.ends.service()).worth(400.0));
    }

    fn malformed(&mut self, why: &str, mark: Mark, sink: &mut Sink) {
        let question = self.current.as_ref().and_then(|current| current.request.as_ref()).or(self.open.front());
        let question = question.map_or_else(|| "HTTP".to_owned(), |request| request.head.question.clone());
        let text = format!("{question}: the answer is not valid HTTP: {why}");
        let finding = tell("http.malformed", Weight::Fault, Layer::L7, mark, text);
        sink.findings.push(finding.for_cause("l7.http-malformed").on(self.ends.service()));
        self.current = None;
        self.lose(Side::Server);
    }

    /// The server does not speak HTTP/1. Told only where its very first words are of another protocol: later, the capture may have lost something.
    fn foreign(&mut self, bytes: &[u8], mark: Mark, sink: &mut Sink) {
        let first_words = self.answered == 0 && self.current.is_none() && self.asked > 0;
        if let Some((layer, cause, name)) = recognise::foreign(bytes).filter(|_| first_words) {
            let text = format!("HTTP was spoken to the server, and its first words are {name}");
            let finding = tell("proto.mismatch", Weight::Fault, layer, mark, text);
            sink.findings.push(finding.for_cause(cause).on(self.ends.service()));
        }
        self.lose(Side::Server);
    }

    /// Lets go of what can no longer be paired.
    fn lose(&mut self, side: Side) {
        let half = self.half(side);
        half.phase = Phase::Lost;
        half.gather.clear();
        self.shaky = true;
        self.open.clear();
        self.current = None;
    }

    /// Looks whether a message begins here, after something that could not be read.
    fn resync(&mut self, from: Side, bytes: &[u8]) {
        let found = match from {
            Side::Client => recognise::http_request(bytes) == recognise::Likely::Yes,
            Side::Server => bytes.starts_with(b"HTTP/1."),
        };
        if found {
            let half = self.half(from);
            (half.phase, half.hole) = (Phase::Head, false);
        }
    }

    /// An answer that had begun when the flow ended.
    fn broken_off(&self, response: &Response, how: End, sink: &mut Sink) {
        let question = response.request.as_ref().map_or("an answer", |request| &request.head.question);
        let left = match self.answering.phase {
            Phase::Body(Body::Length(left)) => format!("{left} bytes short"),
            _ => "before the last chunk".to_owned(),
        };
        // Whether an answer to an unseen question has a body at all is not known.
        if response.request.is_none() {
            return;
        }
        let (weight, layer, cause, does) = match how {
            End::Reset(Side::Server) => (Weight::Fault, Layer::L4, Some("l4.reset-mid-stream"), "reset by the server's side"),
            End::Closed | End::HalfClosed(Side::Server) => (Weight::Fault, Layer::L7, Some("l7.http-malformed"), "closed by the server"),
            End::Reset(Side::Client) | End::HalfClosed(Side::Client) => (Weight::Note, Layer::L7, None, "given up by the client"),
            End::Idle | End::Cut => return,
        };
        let text = format!("{question}: the connection was {does} in the middle of the answer, {left}");
        let finding = tell("http.truncated-body", weight, layer, response.began, text).for_cause(cause);
        let party = self.ends.party(if weight == Weight::Note { Side::Client } else { Side::Server });
        sink.findings.push(finding.on(party).worth(f64::from(response.head.status)));
    }
}

impl Conversation for Http {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let half = self.half(chunk.from);
        if half.hole && matches!(half.phase, Phase::Lost) {
            self.resync(chunk.from, chunk.bytes);
        }
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            match self.step(Chunk { bytes: rest, ..chunk }, below, sink) {
                Some(taken) => rest = rest.get(taken..).unwrap_or_default(),
                None => return,
            }
        }
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        let followed = match &mut self.half(from).phase {
            Phase::Body(body) => body.skip(missing),
            Phase::Head | Phase::Lost => false,
            Phase::Tunnel => {
                if let Some(inner) = &mut self.inner {
                    inner.gap(from, missing, sink);
                }
                return;
            }
        };
        if !followed {
            let half = self.half(from);
            half.hole |= !matches!(half.phase, Phase::Lost);
            self.lose(from);
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.end(how, at, below, sink);
        }
        if let Some(response) = self.current.take() {
            let whole = matches!(self.answering.phase, Phase::Body(Body::UntilClose)) && !matches!(how, End::Reset(_));
            if !whole {
                self.broken_off(&response, how, sink);
            }
            if response.head.status == 400 {
                self.judge_bad_request(&response, below, sink);
            }
            sink.exchanges.push(exchange(&response, whole.then_some(at), if whole { "" } else { ", broken off" }));
        }
        let open = std::mem::take(&mut self.open);
        for (index, request) in open.iter().enumerate() {
            let open = Open { question: &request.head.question, asked: request.asked, done: request.done, reused: self.answered > 0 };
            if index == 0 {
                RULES.unanswered(&self.ends, &open, how, at, below, sink);
            }
            sink.exchanges.push(unanswered(request));
        }
    }
}

fn exchange(response: &Response, at: Option<Stamp>, suffix: &str) -> Exchange {
    let asked = response.request.as_ref().map_or(response.began, |request| request.asked);
    Exchange {
        protocol: "http",
        question: response.request.as_ref().map(|request| request.head.question.clone()).unwrap_or_default(),
        answer: format!("{}{suffix}", response.head.status),
        asked: asked.at,
        asked_in: asked.packet.0,
        wait_ms: response.wait_ms,
        think_ms: response.think_ms,
        total_ms: at.map(|at| at.ms_since(asked.at)),
        answered_in: Some(response.began.packet.0),
        ok: response.head.status < 400 && suffix.is_empty(),
    }
}

fn unanswered(request: &Request) -> Exchange {
    Exchange {
        protocol: "http",
        question: request.head.question.clone(),
        answer: String::new(),
        asked: request.asked.at,
        asked_in: request.asked.packet.0,
        wait_ms: None,
        think_ms: None,
        total_ms: None,
        answered_in: None,
        ok: false,
    }
}
