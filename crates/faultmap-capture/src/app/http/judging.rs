//! What the answers of HTTP/1 mean: their status, whose word it is, and answers that are none.

use super::body::Body;
use super::head::{Method, Upgrade};
use super::{CIRCLE, Http, MOST_TARGETS, Phase, Response, portal, proxy, status};
use crate::app::content::{Wrong, page_for_json};
use crate::app::recognise;
use crate::app::tell::{CLOSES, CUT_SHORT, Mark, tell};
use crate::app::turns::AT_A_GLANCE;
use crate::app::{Below, End, Exchange, Sink, text};
use crate::finding::{Finding, Weight};
use crate::flow::Side;
use faultmap_model::Layer;

/// What a new connection costs from here on is felt where several follow one another, in milliseconds; as in a check.
const DEAR_MS: f64 = 25.0;

impl Http {
    pub(super) fn judge(&mut self, response: &Response, below: &Below, sink: &mut Sink) {
        let status = response.head.status;
        let asked = response.request.as_ref().map_or_else(Default::default, |request| status::Asked::from(&request.head));
        self.portal(response, sink);
        let of_proxy = match &response.request {
            Some(request) => proxy::judge(&request.head, &response.head),
            None => proxy::judge_alone(&response.head),
        };
        let (judged, more) = match of_proxy {
            Some((judged, more)) => (Some(judged), more),
            // A 400 may be the word of a server that wanted TLS, to a question that was not captured. What was, and is no HTTP, deserves it.
            None if response.request.is_none() && status == 400 && !matches!(self.asking.phase, Phase::Lost) => (None, String::new()),
            None => (status::judge(status, asked).map(|(weight, layer, cause)| ("http.status", weight, layer, Some(cause))), String::new()),
        };
        let unread = match self.asking.phase {
            Phase::Lost if !self.asking.hole => "an answer to a question that cannot be read",
            _ => "an answer to an unseen question",
        };
        let question = response.request.as_ref().map_or(unread, |request| &request.head.question);
        if let Some((rule, weight, layer, cause)) = judged.filter(|_| status != 511) {
            let wants = |upgrade| response.request.as_ref().is_some_and(|request| request.head.upgrade == Some(upgrade));
            // Who is asked to change over, and does not, refuses; but a login comes first.
            let refused = wants(Upgrade::Websocket) && layer == Layer::L7 && status != 401;
            let (cause, weight) = if refused { (Some("l7.websocket-refused"), weight.max(Weight::Warning)) } else { (cause, weight) };
            let cut = response.head.cut || response.request.as_ref().is_some_and(|request| request.head.cut);
            let glance = if cut { AT_A_GLANCE } else { "" };
            let text = format!("{}{more}{glance}", format!("{question}: {status} {}", response.head.reason).trim_end());
            let finding = tell(rule, weight, layer, response.began, text);
            let finding = finding.for_cause(cause).on(self.ends.service()).worth(f64::from(status));
            sink.findings.push(match &response.request {
                Some(request) => finding.and(request.asked),
                None => finding,
            });
        }
        self.not_upgraded(response, sink);
        self.closes(response, below, sink);
        self.page_for_json(response, sink);
        if matches!(status, 301 | 302 | 303 | 307 | 308) && (response.head.location || response.head.cut) {
            self.redirected(response, sink);
        } else if matches!(status, 301 | 302 | 303 | 307) && !response.with_body {
            self.nowhere(response, sink);
        }
    }

    /// The server ends a connection that the client would have kept, with its first answer. What a new one costs are its handshakes: a round trip of TCP, and one at
    /// least of each TLS.
    fn closes(&self, response: &Response, below: &Below, sink: &mut Sink) {
        let kept = response.request.as_ref().filter(|request| self.asked == 1 && !request.head.closes && !request.head.cut);
        let cost = below.handshake_rtt_ms.unwrap_or_default() * (1.0 + f64::from(sink.within));
        if let Some(request) =
            kept.filter(|_| response.head.closes && response.head.status < 400 && below.from_the_start && cost >= DEAR_MS)
        {
            let cost_in_words = text::time(cost);
            let text = format!(
                "{}: the server closes with its answer (Connection: close); a new connection costs {cost_in_words} at least, before anything is asked",
                request.head.question
            );
            let finding = tell(CLOSES, Weight::Note, Layer::L5, response.began, text).and(request.asked);
            sink.findings.push(finding.on(self.ends.service()).worth(cost));
        }
    }

    /// A page, for who asked for something else.
    fn page_for_json(&self, response: &Response, sink: &mut Sink) {
        let Some(request) = response.request.as_ref().filter(|request| request.head.wants_json && response.head.declared.page) else {
            return;
        };
        if (200..300).contains(&response.head.status) {
            let finding = page_for_json(&request.head.question, response.began);
            sink.findings.push(finding.on(self.ends.service()).and(request.asked));
        }
    }

    /// A redirect that names no place, and has no page that would: whoever asked for one has nothing.
    fn nowhere(&self, response: &Response, sink: &mut Sink) {
        let Some(request) = response.request.as_ref().filter(|request| request.head.method == Method::Other && !request.head.cut) else {
            return;
        };
        let text = format!("{}: {} without a Location, and without a page", request.head.question, response.head.status);
        let finding = tell("http.redirect-nowhere", Weight::Warning, Layer::L7, response.began, text).and(request.asked);
        sink.findings.push(finding.for_cause("l7.http-malformed").on(self.ends.service()).worth(response.head.status));
    }

    fn redirected(&mut self, response: &Response, sink: &mut Sink) {
        let Some(request) = response.request.as_ref().filter(|request| !request.head.target_cut) else { return };
        if response.head.location && portal::stays(response.head.elsewhere.as_ref(), request.head.host.as_deref()) {
            let text = format!("{}: {} to another page of the same server", request.head.question, response.head.status);
            let finding = tell("http.redirect", Weight::Note, Layer::L7, response.began, text);
            sink.findings.push(finding.on(self.ends.service()).worth(response.head.status));
        }
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
    pub(super) fn judge_bad_request(&mut self, response: &Response, below: &Below, sink: &mut Sink) {
        let said = String::from_utf8_lossy(&response.sample).to_ascii_lowercase();
        let wants_tls = (said.contains("http request") || said.contains("plain http"))
            && ["https port", "ssl-enabled", "tls-enabled", "requires tls", "tls port", "ssl port", "https server"]
                .iter()
                .any(|words| said.contains(words));
        if !wants_tls {
            // The words may be among those that were not captured.
            if !response.cut {
                self.judge(response, below, sink);
            }
            return;
        }
        let text = format!("plain HTTP was sent to port {}, where the server wants TLS: it answered 400 and says so", below.server_port);
        let finding = tell("tls.plaintext-request", Weight::Fault, Layer::L6, response.began, text);
        sink.findings.push(finding.for_cause("l6.tls-on-plaintext-port").on(self.ends.service()).worth(400.0));
    }

    /// The body is not what it is declared to be.
    pub(super) fn misdeclared(&self, response: &Response, wrong: Option<Wrong>, mark: Mark, sink: &mut Sink) {
        let Some(wrong) = wrong else { return };
        let question = response.request.as_ref().map_or("an answer", |request| &request.head.question);
        sink.findings.push(wrong.finding(question, mark).and(response.began).on(self.ends.service()));
    }

    pub(super) fn malformed(&mut self, why: &str, mark: Mark, sink: &mut Sink) {
        let question = self.current.as_ref().and_then(|current| current.request.as_ref()).or(self.open.front());
        let question = question.map_or_else(|| "HTTP".to_owned(), |request| request.head.question.clone());
        let text = format!("{question}: the answer is not valid HTTP: {why}");
        let finding = tell("http.malformed", Weight::Fault, Layer::L7, mark, text);
        sink.findings.push(finding.for_cause("l7.http-malformed").on(self.ends.service()));
        self.answered_strangely("malformed", mark, sink);
        self.current = None;
        self.lose(Side::Server);
    }

    /// The server does not speak HTTP/1. Told only where its very first words are of another protocol: later, the capture may have lost something.
    pub(super) fn foreign(&mut self, bytes: &[u8], mark: Mark, sink: &mut Sink) {
        let first_words = self.answered == 0 && self.current.is_none() && self.asked > 0;
        if let Some((layer, cause, name)) = recognise::foreign(bytes).or_else(|| self.socks(bytes)).filter(|_| first_words) {
            let text = format!("HTTP was spoken to the server, and its first words are {name}");
            let finding = tell("proto.mismatch", Weight::Fault, layer, mark, text);
            sink.findings.push(finding.for_cause(cause).on(self.ends.service()));
            self.answered_strangely(name, mark, sink);
        } else if first_words && self.from_the_start && !self.shaky && !bytes.starts_with(b"ICY ") {
            // SHOUTcast answers ICY.
            let words = text::printable(bytes.get(..5).unwrap_or(bytes), 20);
            return self.malformed(&format!("it begins with {words:?}"), mark, sink);
        }
        self.lose(Side::Server);
    }

    /// A server of SOCKS that refuses what it cannot read: no login in common (RFC 1928 §3), or a request rejected (SOCKS 4).
    fn socks(&self, bytes: &[u8]) -> Option<(Layer, &'static str, &'static str)> {
        let tunnel = self.open.front().is_some_and(|request| request.head.method == Method::Connect);
        let (layer, cause) = if tunnel { (Layer::L5, "l5.proxy-refused") } else { (Layer::L7, "l7.protocol-mismatch") };
        matches!(bytes, [5, 0xff] | [0, 91..=93, ..]).then_some((layer, cause, "those of SOCKS"))
    }

    /// The server ended the connection after a few bytes, too few for a head, which are the beginning of none.
    pub(super) fn few_words(&mut self, how: End, sink: &mut Sink) {
        let ended = matches!(how, End::Closed | End::HalfClosed(Side::Server)) && matches!(self.answering.phase, Phase::Head);
        let said = std::mem::take(&mut self.answering.gather);
        if ended && !said.is_empty() && !b"HTTP/".starts_with(said.kept()) {
            self.foreign(said.kept(), self.answering.began.unwrap_or_default(), sink);
        }
    }

    /// An answer that had begun when the flow ended.
    pub(super) fn broken_off(&self, response: &Response, how: End, below: &Below, sink: &mut Sink) {
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
        let finding = tell(CUT_SHORT, weight, layer, response.began, text).for_cause(cause);
        let party = self.ends.party(if weight == Weight::Note { Side::Client } else { Side::Server });
        let silence_ms = below.server_spoke.map(|spoke| below.last_word.ms_since(spoke));
        sink.findings.push(Finding { value: silence_ms, ..finding.on(party) });
    }

    /// What was answered is no answer: the exchange failed.
    fn answered_strangely(&mut self, answer: &str, mark: Mark, sink: &mut Sink) {
        let request = self.current.take().and_then(|current| current.request).or_else(|| self.open.pop_front());
        if let Some(request) = request {
            let answered_in = Some(mark.packet.0);
            sink.exchanges.push(Exchange { answer: answer.to_owned(), answered_in, ..super::unanswered(&request) });
        }
    }

    /// A page in place of a WebSocket: somebody on the way dropped `Upgrade`, or the server knows none there.
    fn not_upgraded(&self, response: &Response, sink: &mut Sink) {
        let Some(request) = response.request.as_ref().filter(|request| request.head.key.is_some()) else { return };
        if request.head.upgrade != Some(Upgrade::Websocket) || !(200..300).contains(&response.head.status) {
            return;
        }
        let text = format!(
            "{}: {} in place of the change to WebSocket, as if none had been asked for: somebody on the way drops Upgrade, or the server knows none there",
            request.head.question, response.head.status
        );
        let finding = tell("ws.not-upgraded", Weight::Fault, Layer::L7, response.began, text).and(request.asked);
        sink.findings.push(finding.for_cause("l7.websocket-refused").on(self.ends.service()).worth(response.head.status));
    }

    /// Somebody else answered in place of who was asked, and wants something first.
    fn portal(&self, response: &Response, sink: &mut Sink) {
        let Some(request) = &response.request else { return };
        let (status, place) = (response.head.status, request.head.host.as_deref().unwrap_or("the page"));
        let away = response
            .head
            .elsewhere
            .as_ref()
            .filter(|(_, host)| request.head.host.as_deref().is_some_and(|own| !own.eq_ignore_ascii_case(host)));
        let text = match (status, away) {
            // RFC 6585 §6.
            (511, _) => format!("{}: 511, the network wants a login first", request.head.question),
            (301 | 302 | 303 | 307 | 308, Some((_, host))) if request.head.portal_probe => {
                format!("who asks {place} whether the Internet is there is sent to {host}: a captive portal")
            }
            (200, _) if request.head.portal_probe && request.head.empty_page && response.with_body => {
                format!("who asks {place} whether the Internet is there gets a page in place of nothing: a captive portal")
            }
            _ => return,
        };
        let finding = tell("http.captive-portal", Weight::Fault, Layer::L7, response.began, text).and(request.asked);
        sink.findings.push(finding.for_cause("l7.captive-portal").on(self.ends.service()).worth(status));
    }
}
