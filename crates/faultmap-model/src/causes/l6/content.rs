//! The answer came whole, with a good status, and cannot be used: its bytes are not what its headers say.

use super::body::{Defect, Encoding, Mismatch, defective};
use crate::causes::l7::answer::{Answer, answered_by};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

const HEADERS: Tool = Tool {
    run: "curl -sk -D- -o /tmp/body {url}; file /tmp/body; head -c 64 /tmp/body | xxd",
    on: "here",
    why: "the headers beside the bytes",
};
const BACKEND: Tool =
    Tool { run: "the same against the backend itself, without the proxy or CDN", on: "{ip}", why: "right there: the proxy rewrites it" };

/// `l6.content-encoding-mismatch`
pub(super) static ENCODING: Cause = Cause {
    id: "l6.content-encoding-mismatch",
    layer: Layer::L6,
    title: "Content-Encoding and the bytes disagree",
    what: "The header says that the body is compressed and it is not (or not in that way, or it is damaged), or it is compressed and no header says so: two \
           layers compress, a proxy drops the header, a cache stores one variant and serves it as another.",
    shows: "The declared coding does not decode; or compressed bytes come under a textual type with no Content-Encoding. The status is 200 all the same.",
    confirm: &[
        HEADERS,
        Tool {
            run: "curl -sk -H 'Accept-Encoding: identity' -D- -o /dev/null {url}",
            on: "here",
            why: "right without compression: the compressing layer is at fault",
        },
        BACKEND,
    ],
    fix: &[
        "Compress in one place only, the application or the proxy.",
        "Send Vary: Accept-Encoding, and purge the cache of wrong variants.",
        "Let no proxy drop Content-Encoding.",
    ],
    claim: encoding,
};

/// `l6.content-type-mismatch`
pub(super) static TYPE: Cause = Cause {
    id: "l6.content-type-mismatch",
    layer: Layer::L6,
    title: "HTML came where another type was declared or asked for",
    what: "A page comes in place of data: a login or error page with status 200, a single-page application that answers every unknown path with its index, \
           or a proxy's own page. The client's parser fails at the first character.",
    shows: "The body is HTML, while Content-Type says JSON, or the request asked for another type only.",
    confirm: &[HEADERS, Tool { run: "curl -sk {url} | head -5", on: "here", why: "the page's title tells whose it is" }],
    fix: &[
        "Correct the path or the route: the API is not reached.",
        "Let the login answer 401, and errors their own status, in place of a page with 200.",
        "Exclude API paths from the application's fallback to index.html.",
    ],
    claim: content_type,
};

/// `l6.charset-mismatch`
pub(super) static CHARSET: Cause = Cause {
    id: "l6.charset-mismatch",
    layer: Layer::L6,
    title: "the text is not in the declared charset",
    what: "The header (or JSON's definition) says UTF-8, and the bytes are of another charset, mostly Latin-1 or Windows-1252 from an old database or file. \
           Readers see replacement characters; strict parsers refuse the text.",
    shows: "A byte sequence that the declared charset does not have, at the offset shown.",
    confirm: &[
        Tool { run: "curl -sk {url} | iconv -f utf-8 -t utf-8 >/dev/null", on: "here", why: "names the position of the first bad byte" },
        HEADERS,
    ],
    fix: &[
        "Store and send UTF-8: convert the file or the database column (iconv -f windows-1252 -t utf-8).",
        "Or declare the charset that is sent: Content-Type: text/html; charset=iso-8859-1.",
    ],
    claim: charset,
};

/// `l6.serialization-invalid`
pub(super) static SERIALIZATION: Cause = Cause {
    id: "l6.serialization-invalid",
    layer: Layer::L6,
    title: "the declared JSON does not parse",
    what: "The answer says that it is JSON and is not valid: text printed before or after it (a warning, a debug line), a trailing comma, NaN, or a document \
           put together by hand.",
    shows: "The parser's error with line and column, for a body that came whole. An empty body and streams of values are not meant.",
    confirm: &[
        Tool { run: "curl -sk {url} | python3 -m json.tool >/dev/null", on: "here", why: "the same error with its position" },
        Tool { run: "curl -sk {url} | head -c 300", on: "here", why: "what stands before or around it" },
    ],
    fix: &[
        "Let a serializer write the document, never string building.",
        "Keep warnings and debug output out of the response (PHP: display_errors=Off).",
    ],
    claim: serialization,
};

fn encoding(ev: &Evidence<'_>) -> Option<Claim> {
    let (answer, Defect::Encoding(defect)) = defective(ev)? else { return None };
    let body = &answer.response.body;
    let (what, confidence) = match defect {
        Encoding::Undecodable(words) => {
            let declared = body.declared_encoding.as_deref().unwrap_or_default();
            (format!("declares its body as {declared}, but it does not decode ({words})"), 0.97)
        }
        Encoding::Undeclared(coding) => {
            let kind = body.declared_type.as_deref().unwrap_or("text");
            (format!("sends its {kind} compressed with {coding} and does not say so (no Content-Encoding)"), 0.93)
        }
    };
    Some(broken(&answer, confidence, &what))
}

fn content_type(ev: &Evidence<'_>) -> Option<Claim> {
    let (answer, Defect::Type(defect)) = defective(ev)? else { return None };
    let title = &answer.response.body.excerpt;
    let page = if title.is_empty() { String::new() } else { format!(" ({title:?})") };
    let what = match defect {
        Mismatch::Declared(kind) => format!("declares {kind}, but sends an HTML page{page}"),
        Mismatch::Expected(kind) => format!("was asked for {kind}, but sends an HTML page{page}"),
    };
    Some(broken(&answer, 0.95, &what))
}

fn charset(ev: &Evidence<'_>) -> Option<Claim> {
    let (answer, Defect::Charset(at)) = defective(ev)? else { return None };
    let body = &answer.response.body;
    let declared = body.declared_charset.as_deref().unwrap_or("utf-8");
    let kind = body.declared_type.as_deref().unwrap_or("text");
    let what = format!("declares its {kind} as {declared}, but byte {at} is not valid in it");
    Some(broken(&answer, 0.95, &what))
}

fn serialization(ev: &Evidence<'_>) -> Option<Claim> {
    let (answer, Defect::Syntax(words)) = defective(ev)? else { return None };
    let kind = answer.response.body.declared_type.as_deref().unwrap_or("JSON");
    Some(broken(&answer, 0.96, &format!("declares {kind}, but it does not parse: {words}")))
}

fn broken(answer: &Answer<'_>, confidence: f64, what: &str) -> Claim {
    let summary = format!("{} answers {} and {what}.", answered_by(answer), answer.response.status);
    Claim::proven(confidence, Where::Remote, answer.http.to.to_string(), summary).citing([answer.id]).despite_answers()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{BodyEnd, BodyReading, HttpExchange};
    use crate::testkit::{but, but_response, claims, healthy_https};

    fn with(change: impl Fn(&mut BodyReading)) -> Recording {
        but_response(healthy_https(), |response| change(&mut response.body))
    }

    /// Which of encoding, charset, type, syntax is claimed.
    fn check(recording: &Recording, expect: Option<(&Cause, f64)>) {
        for cause in [&ENCODING, &CHARSET, &TYPE, &SERIALIZATION] {
            let expected = expect.filter(|(named, _)| named.id == cause.id).map(|(_, confidence)| (confidence, true));
            assert_eq!(claims(cause, recording), expected, "{}", cause.id);
        }
    }

    fn undecodable(body: &mut BodyReading) {
        body.declared_encoding = Some("gzip".to_owned());
        body.decode_error = Some("gzip: invalid header".to_owned());
        body.decoded_bytes = 0;
        body.sniffed = "empty".to_owned();
    }

    fn invalid_json(body: &mut BodyReading) {
        body.syntax_error = Some("trailing comma at line 1 column 9".to_owned());
    }

    #[test]
    fn a_body_that_does_not_decode_as_declared() {
        check(&with(undecodable), Some((&ENCODING, 0.97)));
        check(&with(|body| body.undeclared_encoding = Some("gzip".to_owned())), Some((&ENCODING, 0.93)));
        check(&with(|body| body.declared_encoding = Some("gzip".to_owned())), None);
    }

    #[test]
    fn a_compressed_file_is_served_as_it_is() {
        // Compressed twice, declared once.
        let twice = with(|body| {
            body.declared_encoding = Some("gzip".to_owned());
            body.undeclared_encoding = Some("gzip".to_owned());
        });
        check(&twice, Some((&ENCODING, 0.97)));
        let file = but::<HttpExchange>(with(|body| body.undeclared_encoding = Some("gzip".to_owned())), |http| {
            http.url = "https://shop.test/dump.SQL.gz?x=1".to_owned()
        });
        check(&file, None);
    }

    #[test]
    fn html_where_json_was_declared_or_asked_for() {
        let html = |declared: &'static str| {
            with(move |body| {
                body.declared_type = Some(declared.to_owned());
                body.sniffed = "html".to_owned();
                body.excerpt = "Sign in".to_owned();
            })
        };
        check(&html("application/json"), Some((&TYPE, 0.95)));
        check(&html("application/problem+json"), Some((&TYPE, 0.95)));
        check(&html("text/html"), None);
        let mut asked = html("text/html");
        asked.header.expect.media_type = Some("application/json".to_owned());
        check(&asked, Some((&TYPE, 0.95)));
        asked.header.expect.media_type = Some("application/xhtml+xml".to_owned());
        check(&asked, None);
    }

    #[test]
    fn bytes_outside_of_the_charset() {
        check(&with(|body| body.charset_error_at = Some(7)), Some((&CHARSET, 0.95)));
        let cut = |at: u64| {
            with(move |body| {
                body.end = BodyEnd::Limit;
                body.decoded_bytes = 1_000;
                body.charset_error_at = Some(at);
            })
        };
        check(&cut(998), None);
        check(&cut(500), Some((&CHARSET, 0.95)));
    }

    #[test]
    fn json_that_does_not_parse() {
        check(&with(invalid_json), Some((&SERIALIZATION, 0.96)));
        for end in [BodyEnd::Limit, BodyEnd::Truncated, BodyEnd::Reset, BodyEnd::Stalled] {
            check(
                &with(|body| {
                    invalid_json(body);
                    body.end = end.clone();
                }),
                None,
            );
        }
        check(
            &with(|body| {
                invalid_json(body);
                body.excerpt = "\u{feff}{}".to_owned();
            }),
            None,
        );
        check(
            &with(|body| {
                invalid_json(body);
                body.excerpt = ")]}',".to_owned();
            }),
            None,
        );
        check(
            &with(|body| {
                invalid_json(body);
                body.declared_type = Some("application/x-ndjson".to_owned());
            }),
            None,
        );
        check(
            &with(|body| {
                invalid_json(body);
                body.wire_bytes = 0;
                body.sniffed = "empty".to_owned();
            }),
            None,
        );
    }

    #[test]
    fn the_most_fundamental_defect_is_named_alone() {
        let all = |body: &mut BodyReading| {
            invalid_json(body);
            body.sniffed = "html".to_owned();
            body.charset_error_at = Some(3);
        };
        check(
            &with(|body| {
                all(body);
                undecodable(body);
            }),
            Some((&ENCODING, 0.97)),
        );
        check(&with(all), Some((&CHARSET, 0.95)));
        check(
            &with(|body| {
                all(body);
                body.charset_error_at = None;
            }),
            Some((&TYPE, 0.95)),
        );
    }

    #[test]
    fn an_answer_without_body_or_with_a_bad_status_is_not_judged_by_its_body() {
        for status in [204, 304, 302, 404, 502] {
            check(&but_response(with(undecodable), |response| response.status = status), None);
        }
        check(&but::<HttpExchange>(with(undecodable), |http| http.method = "HEAD".to_owned()), None);
    }
}
