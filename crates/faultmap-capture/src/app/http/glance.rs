//! Messages of which the capture cut off the rest: what the lines that are there say of the request and of the answer. What a missing line could change is left
//! open. Where the next message begins is not known until the sides take turns again.

use super::head::{self, Method, RequestHead, ResponseHead};
use super::{Http, Phase, Request, Response, exchange};
use crate::app::tell::Mark;
use crate::app::{Below, Chunk, Sink, Talk, recognise};
use crate::flow::Side;
use crate::packet::Stamp;

impl Http {
    /// Who speaks now; whether it does so after the other side, so that a message may begin here.
    pub(super) fn takes_turn(&mut self, from: Side) -> bool {
        self.opens = self.last.replace(from) != Some(from);
        // Answers that could not be read are past when the client asks again.
        if self.opens && from == Side::Client && matches!(self.answering.phase, Phase::Lost) && self.answering.hole {
            self.open.clear();
        }
        self.opens
    }

    /// A segment that was cut, of a side whose place in the bytes is lost: whether a message begins with it.
    pub(super) fn begins_again(&mut self, chunk: &Chunk<'_>, opens: bool) -> bool {
        if opens {
            self.resync(chunk.from, chunk.bytes);
            if chunk.from == Side::Client && recognise::http_request_cut(chunk.bytes) {
                self.asking.phase = Phase::Head;
            }
        }
        self.goes_on(chunk, opens);
        matches!(self.half(chunk.from).phase, Phase::Head)
    }

    /// What the client says before anybody else does, and is no beginning, is more of its question. Whatever the server says to it answers it.
    pub(super) fn goes_on(&mut self, chunk: &Chunk<'_>, opens: bool) {
        match (chunk.from, opens) {
            _ if !matches!(self.half(chunk.from).phase, Phase::Lost) => {}
            (Side::Client, false) => self.asked_whole(chunk.at),
            (Side::Server, true) => {
                self.open.clear();
                self.unread = true;
            }
            _ => {}
        }
    }

    /// The rest of a head was cut off.
    pub(super) fn cut_head(&mut self, from: Side, at: Stamp, below: &Below, sink: &mut Sink) {
        let half = self.half(from);
        let (gather, began) = (std::mem::take(&mut half.gather), half.began.unwrap_or_default());
        (half.phase, half.hole) = (Phase::Lost, true);
        match from {
            Side::Client => match head::cut_request(gather.kept()) {
                Some(head) => self.asked_at_a_glance(head, began, at, below),
                None => self.open.clear(),
            },
            Side::Server => match head::cut_response(gather.kept()) {
                Some(head) => self.answered_at_a_glance(head, began, below, sink),
                None => {
                    self.open.clear();
                    self.unread = true;
                }
            },
        }
    }

    fn asked_at_a_glance(&mut self, head: RequestHead, asked: Mark, at: Stamp, below: &Below) {
        self.asked += 1;
        self.from_the_start = below.from_the_start;
        if self.open.len() >= super::MOST_OPEN {
            self.open.clear();
        }
        let alone = self.opens && self.open.is_empty();
        self.open.push_back(Request { head, asked, done: Some(at), alone });
    }

    fn answered_at_a_glance(&mut self, head: ResponseHead, began: Mark, below: &Below, sink: &mut Sink) {
        let request = self.open.pop_front().filter(|request| request.alone && self.open.is_empty());
        self.open.clear();
        let status = head.status;
        if status == 101 {
            // Another protocol begins where nobody sees it.
            (self.asking.hole, self.answering.hole) = (false, false);
            self.asking.phase = Phase::Lost;
        }
        // An interim answer: the final one follows, perhaps among the bytes that were cut off.
        if status < 200 {
            return;
        }
        let since = request.as_ref().and_then(|request| request.done).filter(|done| *done <= began.at);
        let wait_ms = since.map(|since| began.at.ms_since(since));
        let think_ms = wait_ms.map(|wait| below.think_ms(wait));
        if let (Some(request), Some(think)) = (&request, think_ms) {
            super::RULES.thought(&self.ends, &request.head.question, think, request.asked, began, sink);
        }
        let tunnel = request.as_ref().is_some_and(|request| request.head.method == Method::Connect) && status < 300;
        let mut response =
            Response { head, request, began, wait_ms, think_ms, sample: Vec::new(), cut: true, content: None, with_body: false };
        // What an answer means hangs on its question; of a 400 the body tells whether TLS was wanted.
        if response.request.is_some() && status != 400 {
            self.judge(&response, below, sink);
        }
        if tunnel {
            self.tunnel =
                response.request.as_ref().and_then(|request| request.head.question.split(' ').nth(1)).unwrap_or_default().to_owned();
            self.inner = Some(Box::new(Talk::new(self.ends, true)));
            (self.asking.phase, self.answering.phase) = (Phase::Tunnel, Phase::Tunnel);
        }
        self.answered += 1;
        self.last_answer = Some(began.at);
        sink.exchanges.push(exchange(&mut response, None, ""));
    }
}
