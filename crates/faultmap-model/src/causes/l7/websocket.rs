//! The WebSocket cause: the upgrade is refused, answered wrongly, or taken back at once.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Dialogue, DialogueOutcome, Spoken};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.websocket-refused`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.websocket-refused",
    layer: Layer::L7,
    title: "the WebSocket upgrade is refused",
    what: "The server speaks HTTP and does not change over to WebSocket: a proxy on the way drops the hop-by-hop headers Upgrade and Connection, the path is \
           not that of the socket, the Origin or the credentials are not accepted, or the backend of a balancer is down. A close frame right after the \
           upgrade is a refusal, too.",
    shows: "A status other than 101; a 101 whose Sec-WebSocket-Accept or subprotocol is wrong; or a close code at once after it. 400, 426 and 200 from the \
            application point to a proxy that dropped the headers.",
    confirm: &[
        Tool {
            run: "curl -sik --http1.1 -m 5 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: ZmF1bHRtYXBmYXVsdG1hcA==' http://{host}:{port}/ | head",
            on: "here",
            why: "the same upgrade; with the path of the socket, and https for wss",
        },
        Tool {
            run: "the same request to the backend's own address and port",
            on: "the proxy",
            why: "101 there means that the proxy in between is at fault",
        },
    ],
    fix: &[
        "Let every proxy on the way pass the upgrade (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \
         \"upgrade\"; Apache: mod_proxy_wstunnel; Envoy: upgrade_configs).",
        "Correct the path, the Origin (--header 'Origin: https://...') and the credentials.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Websocket)?;
    let (what, confidence) = match &dialogue.outcome {
        DialogueOutcome::Refused { code, message } => {
            let code: u16 = code.parse().ok()?;
            let words = match code {
                101 => format!("switches to WebSocket, but {message}; clients must drop such a connection"),
                1000.. => format!("takes the upgrade, then closes at once with {code}{}{}", closing(code), said(message)),
                _ => format!("refuses the upgrade with {code}{}{}", meaning(code, dialogue), said(message)),
            };
            (words, if code == 1000 || code == 1005 { 0.85 } else { 0.95 })
        }
        DialogueOutcome::Malformed { why } => (format!("does not follow the WebSocket protocol at {}: {why}", dialogue.ended_at()), 0.9),
        _ => return None,
    };
    let place = match &dialogue.server {
        Some(server) => format!("{server} at {}", dialogue.to),
        None => dialogue.to.to_string(),
    };
    let claim = Claim::proven(confidence, Where::Remote, dialogue.to.to_string(), format!("{place} {what}.")).citing([id]);
    Some(advice(dialogue).into_iter().fold(claim, Claim::advising))
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!("; it says {message:?}") }
}

/// What a status in place of 101 means here.
fn meaning(code: u16, dialogue: &Dialogue) -> String {
    let meant = match code {
        200..=299 => "an ordinary answer, so the Upgrade header did not reach the service or this path has no WebSocket",
        301 | 302 | 303 | 307 | 308 => match dialogue.fact("location") {
            Some(to) => return format!(", a redirect to {to}, which WebSocket clients do not follow"),
            None => "a redirect, which WebSocket clients do not follow",
        },
        400 => "the service finds no sound upgrade in the request",
        401 => "credentials are missing or refused",
        403 => "access is refused, often because of the Origin",
        404 | 410 => "there is nothing at this path",
        405 => "the method GET is not allowed here",
        426 => "the service wants an upgrade and did not see ours",
        429 => "too many connections or requests",
        431 => "the request's headers are too large",
        502 => "the balancer could not reach its backend",
        503 => "the balancer has no healthy backend, or the service refuses for load",
        505 => "a proxy asks the service in HTTP/1.0, which has no upgrade",
        504 => "the backend did not answer within the balancer's time limit",
        500..=599 => "the service failed",
        _ => return String::new(),
    };
    format!(", {meant}")
}

/// RFC 6455 7.4.1 and the IANA registry of close codes.
const fn closing(code: u16) -> &'static str {
    match code {
        1000 => " (normal closure), without having sent anything",
        1001 => " (going away)",
        1002 => " (protocol error)",
        1003 => " (unsupported data)",
        1005 => " (a close frame without a code)",
        1007 => " (invalid payload)",
        1008 => " (policy violation)",
        1009 => " (message too big)",
        1011 => " (internal error)",
        1012 => " (service restart)",
        1013 => " (try again later)",
        1014 => " (bad gateway)",
        3000 => " (unauthorized)",
        3003 => " (forbidden)",
        4000..=4999 => " (a code of the application's own)",
        _ => "",
    }
}

fn advice(dialogue: &Dialogue) -> Vec<String> {
    let DialogueOutcome::Refused { code, message } = &dialogue.outcome else { return Vec::new() };
    if message.to_lowercase().contains("subprotocol") {
        return vec!["Name the subprotocol that the service speaks: --header 'Sec-WebSocket-Protocol: NAME'.".to_owned()];
    }
    let versions = dialogue.fact("sec-websocket-version").filter(|versions| !versions.split(',').any(|version| version.trim() == "13"));
    if let Some(versions) = versions {
        return vec![format!("The server wants WebSocket version {versions}, and today's clients speak 13: mend the server.")];
    }
    let one = match code.as_str() {
        "200" | "400" | "426" | "505" => {
            "If a proxy stands before the service, it most likely drops the upgrade: in nginx, set proxy_http_version 1.1 and pass Upgrade and Connection."
        }
        "401" => {
            "Send credentials with the upgrade: --header 'Authorization: ...' or the session's cookie; browsers can send only cookies."
        }
        "403" => "If the service checks the Origin, send the one of its own page: --header 'Origin: https://...'.",
        "502" | "503" | "504" => "Look at the balancer's backend for this path; the upgrade itself was not refused by the service.",
        "101" => {
            "Something between answers in the service's name, or the subprotocol differs: compare --header 'Sec-WebSocket-Protocol: ...' with the service's own."
        }
        "1008" | "3000" | "3003" => "The service refuses this client by its rules: look at token, Origin and room or channel.",
        "1011" => "The service failed right after the upgrade: its log has the exception.",
        "1012" | "1013" => "The service restarts or is overloaded: connect again later, with growing pauses.",
        _ => return Vec::new(),
    };
    vec![one.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, dialogue, recording};

    fn check(protocol: Spoken, outcome: DialogueOutcome, expect: Option<f64>) {
        let words = format!("{outcome:?}");
        let recording = recording("ws://live.test/feed", vec![dialogue(protocol, "upgrade", outcome).into()]);
        assert_eq!(claims(&CAUSE, &recording), expect.map(|confidence| (confidence, true)), "{words}");
    }

    fn refused(code: &str) -> DialogueOutcome {
        DialogueOutcome::Refused { code: code.to_owned(), message: String::new() }
    }

    #[test]
    fn any_other_answer_than_101_refuses_and_so_does_a_close_at_once() {
        for code in ["101", "200", "301", "400", "401", "403", "404", "418", "426", "500", "502", "503", "504", "1008", "1011", "4001"] {
            check(Spoken::Websocket, refused(code), Some(0.95));
        }
        check(Spoken::Websocket, refused("1000"), Some(0.85));
        check(Spoken::Websocket, DialogueOutcome::Malformed { why: "masked".to_owned() }, Some(0.9));
    }

    #[test]
    fn an_answered_ping_and_a_dead_connection_are_no_refusal() {
        check(Spoken::Websocket, DialogueOutcome::Done { what: "upgraded".to_owned() }, None);
        check(Spoken::Websocket, DialogueOutcome::Silent { waited_ms: 9e3, received_bytes: 0 }, None);
        check(Spoken::Websocket, DialogueOutcome::Closed { received_bytes: 0 }, None);
        check(Spoken::Grpc, refused("403"), None);
    }
}
