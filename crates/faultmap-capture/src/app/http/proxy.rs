//! Whose word an answer is that came through a proxy: the proxy's own, or the service's behind it. A proxy that refuses in its own name says so in fields of
//! its own (Squid's X-Squid-Error; Proxy-Status, RFC 9209), and to CONNECT nobody else can answer.

use super::head::{Method, RequestHead, ResponseHead};
use crate::app::text;
use crate::finding::Weight;
use faultmap_model::Layer;

/// An error of a proxy that may also be the word of the service behind it.
pub(super) const PROXY_STATUS: &str = "http.proxy-status";
/// A refusal that may be the word of either.
pub(super) const PROXY_FORBIDDEN: &str = "http.proxy-forbidden";
const OPEN: &str = " (the proxy's own word, or the service's behind it)";
const REFUSED: &str = "l5.proxy-refused";

/// What a proxy says of itself in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Its own error, in short and printable: `ERR_DNS_FAIL`, `dns_error`.
    error: Option<String>,
    /// A Via: the answer passed it on its way (RFC 9110 §7.6.3).
    via: bool,
}

impl Word {
    /// Takes a header field in.
    pub(super) fn take(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case("via") {
            self.via = true;
        } else if name.eq_ignore_ascii_case("x-squid-error") {
            let code = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            self.error = Some(text::printable(code, 40)).filter(|code| code.starts_with("ERR_"));
        } else if name.eq_ignore_ascii_case("proxy-status") {
            // Each proxy adds itself behind those nearer to the service; an error is the word of the one that has it.
            let said = String::from_utf8_lossy(value.get(..512).unwrap_or(value)).to_ascii_lowercase();
            let error =
                said.split(';').find_map(|part| part.trim().strip_prefix("error=").map(|word| text::printable(word.as_bytes(), 40)));
            self.error = error.or(self.error.take());
        }
    }

    /// What the proxy's own error means, in words.
    fn meaning(&self) -> Option<&'static str> {
        let error = self.error.as_deref()?;
        Some(match error {
            "ERR_DNS_FAIL" | "dns_timeout" | "dns_error" => "it cannot resolve the target's name",
            "ERR_CONNECT_FAIL" | "connection_refused" | "destination_unavailable" => "it gets no connection to the target",
            "ERR_ACCESS_DENIED" | "ERR_FORWARDING_DENIED" | "http_request_denied" | "destination_ip_prohibited" => {
                "its rules do not allow the target"
            }
            "ERR_CACHE_ACCESS_DENIED" | "ERR_CACHE_MGR_ACCESS_DENIED" => "it wants a login",
            "ERR_READ_TIMEOUT" | "ERR_LIFETIME_EXP" | "connection_timeout" | "connection_read_timeout" | "http_response_timeout" => {
                "the target did not answer it in time"
            }
            "ERR_CANNOT_FORWARD" | "destination_not_found" | "destination_ip_unroutable" => "it has no way to the target",
            "ERR_SECURE_CONNECT_FAIL" | "tls_protocol_error" | "tls_certificate_error" | "tls_alert_received" => {
                "it agrees on no TLS with the target"
            }
            "ERR_ZERO_SIZE_OBJECT" | "ERR_READ_ERROR" | "connection_terminated" => "the target closed without an answer",
            _ => return None,
        })
    }
}

/// A rule, and what it says by itself.
pub(super) type Judged = (&'static str, Weight, Layer, Option<&'static str>);

/// The same of an answer whose question was not captured: only a proxy's own word is anybody's for sure.
pub(super) fn judge_alone(response: &ResponseHead) -> Option<(Judged, String)> {
    response.proxy.error.as_ref().filter(|_| response.status >= 400 && response.status != 407)?;
    let meaning = response.proxy.meaning().map(|meaning| format!(", the proxy's own word: {meaning}")).unwrap_or_default();
    Some((("http.status", Weight::Fault, Layer::L5, Some(REFUSED)), meaning))
}

/// How an answer from 400 on is to be judged, if a proxy gave it in its own name or may have; the words to add.
pub(super) fn judge(request: &RequestHead, response: &ResponseHead) -> Option<(Judged, String)> {
    let status = response.status;
    // A 407 without a login is the first step of one: whether it was taken, only later requests tell.
    if status < 400 || status == 407 {
        return None;
    }
    let for_proxy = request.absolute || request.method == Method::Connect;
    // Whoever was to be reached may be one that cannot be.
    if for_proxy && request.host_cut {
        return Some((("http.status", Weight::Note, Layer::L5, Some(REFUSED)), String::new()));
    }
    let own = response.proxy.error.is_some();
    let said = match (response.proxy.meaning(), response.proxy.error.as_deref()) {
        (Some(meaning), Some(error)) => format!(", the proxy's own word: {meaning} ({error})"),
        (None, Some(error)) => format!(", the proxy's own word ({error})"),
        _ => String::new(),
    };
    // Who asks for a tunnel names a host and a port (RFC 9112 §3.2.3); anything else only tries the method.
    if request.method == Method::Connect {
        if !request.question.contains(':') {
            return None;
        }
        if never_exists(&request.question) {
            return Some((("http.status", Weight::Note, Layer::L5, Some(REFUSED)), said));
        }
        let said = if said.is_empty() { ": the proxy opens no tunnel".to_owned() } else { said };
        return Some((("http.status", Weight::Fault, Layer::L5, Some(REFUSED)), said));
    }
    if !request.absolute {
        return None;
    }
    if status >= 500 && never_exists(&request.question) {
        return Some((("http.status", Weight::Note, Layer::L5, Some(REFUSED)), said));
    }
    match status {
        _ if own => Some((("http.status", Weight::Fault, Layer::L5, Some(REFUSED)), said)),
        // Who passes an answer on adds itself to Via, and Squid marks its own errors.
        502..=504 if !response.proxy.via => Some(((PROXY_STATUS, Weight::Fault, Layer::L5, None), OPEN.to_owned())),
        403 if !response.proxy.via => Some(((PROXY_FORBIDDEN, Weight::Fault, Layer::L5, None), OPEN.to_owned())),
        // Its mark may be among the fields that were not captured.
        _ if response.cut => Some((("http.status", Weight::Note, Layer::L5, None), String::new())),
        _ => None,
    }
}

/// The question is for a name that is reserved never to exist (RFC 6761 §6.4): who asks for it wants to see how it is refused.
fn never_exists(question: &str) -> bool {
    let target = question.split(' ').nth(1).unwrap_or_default();
    let authority = target.split_once("://").map_or(target, |(_, rest)| rest);
    let name = authority.split(['/', ':']).next().unwrap_or_default();
    name.trim_end_matches('.').ends_with(".invalid")
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, S, rules, told};

    #[track_caller]
    fn check(request: &str, answer: &str, end_ms: u64, expect: &[&str]) -> String {
        let (request, answer) = (format!("{request} HTTP/1.1\r\n\r\n"), format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        let sink = told(3128, &[(C, 1, request.as_bytes()), (S, 20, answer.as_bytes())], End::Closed, end_ms);
        assert_eq!(rules(&sink), expect, "{:?}", sink.findings);
        sink.findings.first().map(|finding| finding.text.clone()).unwrap_or_default()
    }

    #[test]
    fn a_proxy_speaks_for_itself_where_it_says_so_or_nobody_else_can() {
        let refused = ["http.status fault l5.proxy-refused"];
        let text = check("CONNECT shop.test:443", "503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0", 30, &refused);
        assert!(text.ends_with("it cannot resolve the target's name (ERR_DNS_FAIL)"), "{text}");
        check("CONNECT /", "400 Bad Request", 30, &["http.status warning l7.http-bad-request"]);
        check("CONNECT shop.test:443", "405 Method Not Allowed", 30, &refused);
        check("GET http://shop.test/", "403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0", 30, &refused);
        check("GET http://shop.test/", "502 Bad Gateway\r\nProxy-Status: gate.test; error=connection_refused", 30, &refused);
        check("GET http://shop.test/", "503 Service Unavailable", 30, &["http.proxy-status fault -"]);
        check("GET http://shop.test/", "403 Forbidden", 30, &["http.proxy-forbidden fault -"]);
        check("GET http://shop.test/", "403 No\r\nVia: 1.1 gate (squid/5.7)", 30, &["http.status warning l7.http-forbidden"]);
        check("GET http://shop.test/", "503 No\r\nVia: 1.1 gate (squid/5.7)", 30, &["http.status fault l7.http-unavailable"]);
        check("GET http://shop.test/", "404 Not Found", 30, &["http.status warning l7.http-not-found"]);
        check("GET http://shop.test/", "500 Internal Server Error", 30, &["http.status fault l7.http-server-error"]);
        check("GET /", "503 Service Unavailable", 30, &["http.status fault l7.http-unavailable"]);
        check("GET http://a.invalid/", "503 No\r\nX-Squid-Error: ERR_DNS_FAIL 0", 30, &["http.status note l5.proxy-refused"]);
        check("CONNECT a.invalid:443", "503 No", 30, &["http.status note l5.proxy-refused"]);
    }

    #[test]
    fn a_connect_without_an_answer_is_the_proxys_matter() {
        let ask: &[u8] = b"CONNECT shop.test:443 HTTP/1.1\r\n\r\n";
        let gave_up = End::HalfClosed(crate::flow::Side::Client);
        assert_eq!(rules(&told(3128, &[(C, 1, ask)], gave_up, 9000)), ["proxy.tunnel-unanswered fault -"]);
        assert_eq!(rules(&told(3128, &[(C, 1, ask)], End::Closed, 90)), ["http.closed-without-answer fault l5.proxy-refused"]);
        let get: &[u8] = b"GET http://shop.test/ HTTP/1.1\r\n\r\n";
        assert_eq!(rules(&told(3128, &[(C, 1, get)], gave_up, 9000)), ["http.unanswered fault l7.service-mute"]);
    }

    #[test]
    fn what_fails_in_a_tunnel_says_through_whom_it_went() {
        let lines = [
            (C, 1, &b"CONNECT shop.test:443 HTTP/1.1\r\n\r\n"[..]),
            (S, 20, b"HTTP/1.1 200 Connection established\r\n\r\n"),
            (C, 21, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
            (S, 50, &[21, 3, 3, 0, 2, 2, 112]),
        ];
        let sink = told(3128, &lines, End::Closed, 90);
        assert_eq!(rules(&sink), ["tls.alert fault l6.sni-rejected"]);
        assert!(sink.findings[0].text.ends_with("(through the proxy, to shop.test:443)"), "{}", sink.findings[0].text);
    }
}
