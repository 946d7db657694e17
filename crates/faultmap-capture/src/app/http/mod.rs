//! HTTP/1 in one connection (RFC 9110, RFC 9112): requests paired with their answers, who waited for whom, and answers that broke off. It never keeps a body,
//! a query or the value of a header field that may be secret.
//!
//! Memory: two heads of at most [`LONGEST_HEAD`] bytes while they are incomplete, at most [`MOST_OPEN`] requests of about 300 bytes each, 512 bytes of an
//! answer with status 400, and what `content` keeps of a body under way.

mod body;
mod glance;
mod head;
mod judging;
mod portal;
mod proxy;
pub(super) mod status;
#[cfg(test)]
mod tests;

use super::content::Content;
use super::gather::{Gather, Gathered, blank_line};
use super::tell::{Mark, Open, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Glance, Sink, Talk, h2, recognise, text, websocket};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use body::{Body, Eaten};
use faultmap_model::Layer;
pub(super) use head::only_json;
use head::{Method, RequestHead, ResponseHead, Unread, Upgrade};
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
/// So many interim answers (1xx) in a row are no answer: they come one or two before the final one (RFC 9110 §15.2).
const MOST_INTERIM: u16 = 100;
/// Targets of redirects that are remembered.
const MOST_TARGETS: usize = 8;

const RULES: Rules = Rules { think: "http.server-think", unanswered: "http.unanswered", closed: "http.closed-without-answer" };
/// The request for a tunnel is the proxy's matter.
const TUNNEL: Rules = Rules { unanswered: super::tell::TUNNEL_UNANSWERED, ..RULES };

/// A connection that speaks HTTP/1.
pub(super) struct Http {
    ends: Ends,
    asking: Half,
    answering: Half,
    open: VecDeque<Request>,
    /// Apart, for connections with an answer under way are few among those that are remembered.
    current: Option<Box<Response>>,
    answered: u64,
    last_answer: Option<Stamp>,
    asked: u64,
    redirected: Vec<(u64, u8)>,
    /// What is spoken after CONNECT or Upgrade.
    inner: Option<Box<dyn Conversation>>,
    /// Interim answers since the last final one.
    interim: u16,
    /// The connection's beginning was seen.
    from_the_start: bool,
    /// The target of the tunnel that was asked for.
    tunnel: String,
    /// Who spoke last, and whether what is read now is the first of its side since the other one spoke.
    last: Option<Side>,
    opens: bool,
    /// Something of the server came that could not be read.
    unread: bool,
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
    /// It opened a turn of the client, and nothing else waited: the next turn of the server is its answer.
    alone: bool,
}

struct Response {
    head: ResponseHead,
    request: Option<Request>,
    began: Mark,
    wait_ms: Option<f64>,
    think_ms: Option<f64>,
    sample: Vec<u8>,
    /// Bytes of its body were not captured.
    cut: bool,
    /// Its body, as far as that came, where it is declared as something that can be looked at.
    content: Option<Content>,
    /// It has a body, as far as its head says.
    with_body: bool,
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
            interim: 0,
            from_the_start: false,
            tunnel: String::new(),
            last: None,
            opens: false,
            unread: false,
            shaky: false,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        if side == Side::Client { &mut self.asking } else { &mut self.answering }
    }

    /// Reads as far as it can.
    fn read(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            match self.step(Chunk { bytes: rest, ..chunk }, below, sink) {
                Some(taken) => rest = rest.get(taken..).unwrap_or_default(),
                None => return,
            }
        }
    }

    /// One step with what is left of a chunk: how many bytes were taken; `None` when the rest is of no use.
    fn step(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) -> Option<usize> {
        match &mut self.half(chunk.from).phase {
            Phase::Head => self.head(chunk, below, sink),
            Phase::Body(body) => {
                let mut body = *body;
                let mut content = self.current.as_mut().filter(|_| chunk.from == Side::Server).and_then(|current| current.content.take());
                let mut wrong = None;
                let eaten = body.eat(chunk.bytes, &mut |bytes| {
                    if let Some(content) = &mut content {
                        wrong = wrong.take().or(content.take(bytes));
                    }
                });
                self.half(chunk.from).phase = Phase::Body(body);
                if let Some(current) = self.current.as_mut().filter(|_| content.is_some()) {
                    current.content = content;
                }
                if let Some(current) = &self.current {
                    self.misdeclared(current, wrong, Mark::from(&chunk), sink);
                }
                self.body(chunk, eaten, below, sink)
            }
            Phase::Lost => None,
            Phase::Tunnel => {
                self.through(sink, |inner, sink| inner.chunk(chunk, below, sink));
                None
            }
        }
    }

    /// What is said after the change to another protocol; in a tunnel, to whom.
    fn through(&mut self, sink: &mut Sink, say: impl FnOnce(&mut dyn Conversation, &mut Sink)) {
        let Some(inner) = &mut self.inner else { return };
        let told = sink.findings.len();
        say(inner.as_mut(), sink);
        if !self.tunnel.is_empty() {
            super::tell::through(&self.tunnel, told, sink);
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
            Gathered::TooLong if chunk.from == Side::Server && self.asked > 0 && self.from_the_start && !self.shaky => {
                self.malformed(&format!("its head does not end within {} KiB", LONGEST_HEAD / 1024), began, sink);
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
        self.from_the_start = below.from_the_start;
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
        if self.open.capacity() == 0 {
            // Most connections have one at a time.
            self.open.reserve_exact(1);
        }
        let alone = self.opens && self.open.is_empty();
        self.open.push_back(Request { head, asked, done, alone });
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
            self.interim = self.interim.saturating_add(1);
            // It is still the client's turn.
            self.last = Some(Side::Client);
            if self.interim == MOST_INTERIM {
                self.malformed(&format!("after {MOST_INTERIM} interim answers none is final"), began, sink);
            }
            return;
        }
        self.interim = 0;
        let request = self.open.pop_front();
        let paired = !self.shaky || (self.opens && self.open.is_empty() && request.as_ref().is_some_and(|request| request.alone));
        let method = request.as_ref().map_or(Method::Other, |request| request.head.method);
        let no_body = matches!(head.status, 101 | 204 | 304) || method == Method::Head || (method == Method::Connect && head.status < 300);
        let body = if no_body { None } else { head.body.take().or((!self.midstream_head(&request)).then_some(Body::UntilClose)) };
        let since = request.as_ref().and_then(|request| request.done).map(|done| self.last_answer.map_or(done, |last| done.max(last)));
        let wait_ms = since.filter(|since| paired && *since <= began.at).map(|since| began.at.ms_since(since));
        let think_ms = wait_ms.map(|wait| below.think_ms(wait));
        if let (Some(request), Some(think)) = (&request, think_ms) {
            RULES.thought(&self.ends, &request.head.question, think, request.asked, began, sink);
        }
        let switches = self.switches(&head, request.as_ref(), began, sink);
        let status = head.status;
        let with_body = !matches!(body, None | Some(Body::Length(0)));
        let content = if with_body { Content::of(head.declared, status) } else { None };
        let response = Response { head, request, began, wait_ms, think_ms, sample: Vec::new(), cut: false, content, with_body };
        if response.head.status != 400 {
            self.judge(&response, below, sink);
        }
        self.current = Some(Box::new(response));
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
    fn switches(&mut self, head: &ResponseHead, request: Option<&Request>, began: Mark, sink: &mut Sink) -> Option<Box<dyn Conversation>> {
        let request = request?;
        if request.head.method == Method::Connect {
            self.tunnel = request.head.question.split(' ').nth(1).unwrap_or_default().to_owned();
            return Some(Box::new(Talk::new(self.ends, true)));
        }
        match head.upgrade.or(request.head.upgrade)? {
            Upgrade::Websocket if head.status == 101 => {
                sink.protocol = Some("websocket");
                if let Some(finding) = websocket::wrong_accept(request.head.key, head.accept) {
                    let finding = tell("ws.wrong-accept", Weight::Fault, Layer::L7, request.asked, finding.to_owned());
                    sink.findings.push(finding.for_cause("l7.websocket-refused").on(self.ends.service()));
                }
                Some(Box::new(websocket::WebSocket::new(self.ends, began)))
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
            self.sample(own);
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

    /// The first bytes of a refusal are a server's own words that it wanted TLS.
    fn sample(&mut self, bytes: &[u8]) {
        let Some(current) = self.current.as_mut().filter(|current| current.head.status == 400) else { return };
        let room = SAMPLE.saturating_sub(current.sample.len());
        current.sample.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The answer is complete.
    fn finish(&mut self, at: Stamp, below: &Below, sink: &mut Sink) {
        let Some(mut response) = self.current.take() else { return };
        if response.head.status == 400 {
            self.judge_bad_request(&response, below, sink);
        }
        let content = response.content.take();
        self.misdeclared(&response, content.and_then(Content::ended), response.began, sink);
        self.answered += 1;
        self.last_answer = Some(at);
        sink.exchanges.push(exchange(&mut response, Some(at), ""));
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
}

impl Conversation for Http {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let opens = self.takes_turn(chunk.from);
        let half = self.half(chunk.from);
        if half.hole && matches!(half.phase, Phase::Lost) {
            self.resync(chunk.from, chunk.bytes);
            self.goes_on(&chunk, opens);
        }
        self.read(chunk, below, sink);
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        let Glance { chunk, missing } = glance;
        let opens = self.takes_turn(chunk.from);
        let half = self.half(chunk.from);
        let (lost, hole) = (matches!(half.phase, Phase::Lost), half.hole);
        if matches!(half.phase, Phase::Tunnel) {
            return self.through(sink, |inner, sink| inner.glance(glance, below, sink));
        }
        if lost && !(hole && self.begins_again(&chunk, opens)) {
            return;
        }
        self.read(chunk, below, sink);
        let half = self.half(chunk.from);
        if matches!(half.phase, Phase::Head) && !half.gather.is_empty() {
            self.cut_head(chunk.from, chunk.at, below, sink);
        } else {
            self.gap(chunk.from, missing, sink);
        }
    }

    fn is_settled(&self) -> bool {
        self.open.is_empty() && self.current.is_none() && self.inner.is_none()
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        self.last = Some(from);
        if let Some(current) = self.current.as_mut().filter(|_| from == Side::Server) {
            (current.cut, current.content) = (true, None);
        }
        let followed = match &mut self.half(from).phase {
            Phase::Body(body) => body.skip(missing),
            Phase::Head | Phase::Lost => false,
            Phase::Tunnel => return self.through(sink, |inner, sink| inner.gap(from, missing, sink)),
        };
        if !followed {
            let half = self.half(from);
            half.hole |= !matches!(half.phase, Phase::Lost);
            self.lose(from);
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if self.inner.is_some() {
            return self.through(sink, |inner, sink| inner.end(how, at, below, sink));
        }
        if let Some(mut response) = self.current.take() {
            let whole = matches!(self.answering.phase, Phase::Body(Body::UntilClose)) && !matches!(how, End::Reset(_));
            if !whole {
                self.broken_off(&response, how, below, sink);
            }
            if response.head.status == 400 {
                self.judge_bad_request(&response, below, sink);
            }
            sink.exchanges.push(exchange(&mut response, whole.then_some(at), if whole { "" } else { ", broken off" }));
        }
        self.few_words(how, sink);
        let open = std::mem::take(&mut self.open);
        for (index, request) in open.iter().enumerate() {
            let open = Open {
                question: &request.head.question,
                asked: request.asked,
                done: request.done,
                reused: self.answered > 0 || self.unread,
            };
            if index == 0 {
                let rules = if request.head.method == Method::Connect { &TUNNEL } else { &RULES };
                rules.unanswered(&self.ends, &open, how, at, below, sink);
                if request.head.method == Method::Connect {
                    super::tell::of_tunnel(RULES.closed, sink);
                }
            }
            sink.exchanges.push(unanswered(request));
        }
    }
}

/// The exchange of an answer that is over: it takes the question.
fn exchange(response: &mut Response, at: Option<Stamp>, suffix: &str) -> Exchange {
    let (question, asked) = match &mut response.request {
        Some(request) => (std::mem::take(&mut request.head.question), request.asked),
        None => (String::new(), response.began),
    };
    Exchange {
        answer: response.head.status.to_string() + suffix,
        wait_ms: response.wait_ms,
        think_ms: response.think_ms,
        total_ms: at.map(|at| at.ms_since(asked.at)),
        answered_in: Some(response.began.packet.0),
        ok: response.head.status < 400 && suffix.is_empty(),
        ..Exchange::unanswered("http", question, asked)
    }
}

fn unanswered(request: &Request) -> Exchange {
    Exchange::unanswered("http", request.head.question.clone(), request.asked)
}
