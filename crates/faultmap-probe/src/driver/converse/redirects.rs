//! Redirects of the same host are followed; a circle over plain text is shown.

use super::HTTP_PATIENCE;
use crate::driver::{Check, now_unix};
use crate::http::{Connection, HttpAsk, exchange};
use faultmap_model::observation::{HttpExchange, HttpOutcome};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MOST_REDIRECTS: usize = 10;

impl Check<'_> {
    /// Redirects within the same host are followed; one to another host is shown and left to the user.
    pub(super) async fn follow_redirects(&self, first: &HttpExchange) {
        let scheme = self.target.scheme.name();
        let mut url = format!("{scheme}://{}{}", self.target.host_port(), self.options.request_path);
        let mut answer = first.clone();
        let mut visited = Vec::new();
        for _ in 0..MOST_REDIRECTS {
            visited.push(url.clone());
            let Some(next) = redirect_within(&url, &answer) else {
                self.circle_over_plain_text(&visited, &answer).await;
                return;
            };
            let Some(connection) = self.connection(answer.to).await else { return };
            let path = match next.query() {
                Some(query) => format!("{}?{query}", next.path()),
                None => next.path().to_owned(),
            };
            let wait = self.within(self.options.request_wait.min(HTTP_PATIENCE));
            answer = self.request_path(connection, answer.to, "redirect", &path, next.as_str(), wait).await;
            url = next.to_string();
        }
    }

    /// A redirect from https to http of the same host is usually sent back to https: where that closes a circle, it is recorded. Nothing of
    /// the user's but the path goes over plain text.
    async fn circle_over_plain_text(&self, visited: &[String], answer: &HttpExchange) {
        if self.proxy().is_some() {
            return;
        }
        let Some(next) = visited.last().and_then(|url| redirect_to_plain_text(url, answer)) else { return };
        let Some(port) = next.port_or_known_default() else { return };
        let to = SocketAddr::new(answer.to.ip(), port);
        let Some(stream) = self.reopen(to, Duration::from_secs(1), None).await else { return };
        let path = next.query().map_or_else(|| next.path().to_owned(), |query| format!("{}?{query}", next.path()));
        let name = next.host_str().unwrap_or(&self.target.host);
        let host = next.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let ask = HttpAsk {
            to,
            method: "GET",
            host_header: &host,
            path_and_query: &path,
            headers: &[],
            body: None,
            accept_encoding: true,
            wait: self.within(Duration::from_secs(2)),
            body_limit: 0,
            body_wait: Duration::from_millis(100),
            purpose: "redirect",
            expect_body: None,
            shown_url: next.as_str(),
            now_unix: now_unix(),
        };
        let asked = Instant::now();
        let back = exchange(Connection::Plain(stream), &ask).await;
        if location(next.as_str(), &back).is_some_and(|url| visited.iter().any(|seen| url::Url::parse(seen).is_ok_and(|seen| seen == url)))
        {
            self.rec.note(asked, back);
        }
    }
}

/// Where the answer redirects to, when that is the same host, port and scheme.
fn redirect_within(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let base = url::Url::parse(url).ok()?;
    let next = location(url, answer)?;
    let same = next.scheme() == base.scheme()
        && next.host_str() == base.host_str()
        && next.port_or_known_default() == base.port_or_known_default();
    same.then_some(next)
}

/// Where the answer redirects to, when that is the same host without TLS.
fn redirect_to_plain_text(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let base = url::Url::parse(url).ok()?;
    let next = location(url, answer)?;
    (base.scheme() == "https" && next.scheme() == "http" && base.host_str() == next.host_str()).then_some(next)
}

/// Where the answer redirects to.
fn location(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let HttpOutcome::Response(response) = &answer.outcome else { return None };
    if !(300..400).contains(&response.status) {
        return None;
    }
    url::Url::parse(url).ok()?.join(response.header("location")?).ok()
}
