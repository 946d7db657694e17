//! The gRPC causes: the call arrived, and its status is not OK; or a gateway before the service answered in plain HTTP.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Dialogue, DialogueOutcome, Spoken};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

const HEALTH: Tool = Tool {
    run: "grpc_health_probe -addr={host}:{port}; grpcurl -plaintext {host}:{port} grpc.health.v1.Health/Check",
    on: "here",
    why: "the same question, asked by another client (without -plaintext for TLS)",
};
const LIST: Tool =
    Tool { run: "grpcurl -plaintext {host}:{port} list", on: "here", why: "the services that the server has, by reflection" };
const SERVER_LOG: Tool = Tool {
    run: "the log of the service, and of each proxy before it, at the time of this check",
    on: "{ip}",
    why: "names the handler, interceptor or upstream behind the status",
};

/// `l7.grpc-not-serving`
pub(super) static NOT_SERVING: Cause = Cause {
    id: "l7.grpc-not-serving",
    layer: Layer::L7,
    title: "the gRPC health check says that the service does not serve",
    what: "The server answers the standard health check (grpc.health.v1.Health) itself, and says NOT_SERVING or UNKNOWN: it starts or drains, a \
           dependency of it is down, or nobody ever set its status to SERVING.",
    shows: "grpc-status 0 with a ServingStatus other than SERVING. Every layer below is proven well by that answer.",
    confirm: &[HEALTH, SERVER_LOG],
    fix: &[
        "Mend the dependency that the service waits for, or wait until it has started.",
        "If it drains for a shutdown, take it out of the balancer.",
        "If nothing sets the status, set it to SERVING when the service is ready.",
    ],
    claim: not_serving,
};

/// `l7.grpc-unimplemented`
pub(super) static UNIMPLEMENTED: Cause = Cause {
    id: "l7.grpc-unimplemented",
    layer: Layer::L7,
    title: "the server has no such gRPC service or method",
    what: "The server speaks gRPC and does not have the service or method that was asked for: a wrong package or name, an older release, a service that is \
           not registered on this port, or a route of the gateway that leads to another backend.",
    shows: "grpc-status 12 (UNIMPLEMENTED) for the named service or method; or server reflection, which lists others. A server that merely lacks the \
            health service is well.",
    confirm: &[LIST, Tool { run: "grpcurl -plaintext {host}:{port} describe SERVICE", on: "here", why: "the methods of one service" }],
    fix: &[
        "Correct package, service and method: /package.Service/Method, in the case of the .proto file.",
        "Register the service on this server, or deploy the release that has it.",
        "If a gateway routes by path, correct its route.",
    ],
    claim: unimplemented,
};

/// `l7.grpc-error`
pub(super) static ERROR: Cause = Cause {
    id: "l7.grpc-error",
    layer: Layer::L7,
    title: "the gRPC call fails with a status",
    what: "The call came to an end with a status other than OK: given by the service itself, by an interceptor before it, or by a proxy that speaks gRPC in \
           its name (UNAVAILABLE with \"upstream connect error\" is Envoy's).",
    shows: "grpc-status in the trailers (or in the headers of an answer without a body), with grpc-message; or its absence, when a proxy dropped the trailers.",
    confirm: &[HEALTH, SERVER_LOG],
    fix: &[
        "Do what the status asks for; its words name the part that failed.",
        "If a proxy gives the status, look at its upstream, not at the service.",
    ],
    claim: error,
};

/// A call that was refused by a status of gRPC.
struct Call<'a> {
    id: ObservationId,
    dialogue: &'a Dialogue,
    code: u32,
    message: &'a str,
}

fn call<'a>(ev: &Evidence<'a>) -> Option<Call<'a>> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Grpc)?;
    let DialogueOutcome::Refused { code, message } = &dialogue.outcome else { return None };
    let code = code.parse().ok()?;
    dialogue.fact("http-status").is_none().then_some(Call { id, dialogue, code, message })
}

fn not_serving(ev: &Evidence<'_>) -> Option<Claim> {
    let call = call(ev).filter(|call| call.code == 0)?;
    let whom = match ev.target().path.as_str() {
        "" => "the server as a whole".to_owned(),
        service => service.to_owned(),
    };
    let summary =
        format!("{} answers the gRPC health check for {whom} with {}: it says itself that it does not serve.", place(&call), call.message);
    Some(Claim::proven(0.96, Where::Remote, call.dialogue.to.to_string(), summary).citing([call.id]))
}

fn unimplemented(ev: &Evidence<'_>) -> Option<Claim> {
    let call = call(ev).filter(|call| call.code == 12 || unknown_to_health(call))?;
    if unknown_to_health(&call) {
        let summary = format!(
            "{} speaks gRPC, and its health check does not know {}: the service is not there, or it is not registered with the health check.",
            place(&call),
            ev.target().path
        );
        let claim = Claim::likely(0.75, Where::Remote, call.dialogue.to.to_string(), summary).citing([call.id]);
        let why = "a method of the service that answers shows that only its health check misses it";
        return Some(claim.decided_by(
            format!("faultmap check {}://{}/{}/METHOD", ev.target().scheme.name(), ev.target().host_port(), ev.target().path),
            "here",
            why,
        ));
    }
    let summary = format!("{} speaks gRPC, but does not have {}{}.", place(&call), ev.target().path, said(call.message));
    let claim = Claim::proven(0.95, Where::Remote, call.dialogue.to.to_string(), summary).citing([call.id]);
    Some(match call.dialogue.fact("services") {
        Some(services) => claim.advising(format!("The server lists these services: {services}.")),
        None => claim,
    })
}

/// NOT_FOUND is the health check's word for a service that it was never told of.
fn unknown_to_health(call: &Call<'_>) -> bool {
    call.code == 5 && call.dialogue.fact("health").is_some()
}

fn error(ev: &Evidence<'_>) -> Option<Claim> {
    let Some(call) = call(ev) else { return without_status(ev) };
    if matches!(call.code, 0 | 12) || unknown_to_health(&call) {
        return None;
    }
    let asked = asked(ev, call.dialogue);
    let summary = format!("{} ends {asked} with {} ({}){}.", place(&call), name(call.code), call.code, said(call.message));
    let claim = Claim::proven(0.95, Where::Remote, call.dialogue.to.to_string(), summary).citing([call.id]);
    Some(match advice(call.code, call.message) {
        "" => claim,
        advice => claim.advising(advice),
    })
}

/// An answer in gRPC that ends without its status.
fn without_status(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Grpc)?;
    let DialogueOutcome::Malformed { why } = &dialogue.outcome else { return None };
    let summary = format!("{} ends {} without a valid status: {why}.", dialogue.to, asked(ev, dialogue));
    let claim = Claim::proven(0.9, Where::Remote, dialogue.to.to_string(), summary).citing([id]);
    Some(claim.advising(
        "A proxy that speaks HTTP/1.1 to the service, or that buffers answers, drops the trailers: use grpc_pass (nginx), proto h2 (HAProxy), or a \
         gRPC target group.",
    ))
}

fn asked(ev: &Evidence<'_>, dialogue: &Dialogue) -> String {
    match dialogue.ended_at() {
        "call" => format!("the call of {}", ev.target().path),
        "reflection" => "server reflection".to_owned(),
        _ => "the health check".to_owned(),
    }
}

fn place(call: &Call<'_>) -> String {
    match &call.dialogue.server {
        Some(server) => format!("{server} at {}", call.dialogue.to),
        None => call.dialogue.to.to_string(),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!("; it says {message:?}") }
}

/// What a status asks its caller to do (the statuses' own definitions, statuscodes.md).
fn advice(code: u32, message: &str) -> &'static str {
    let proxy = ["upstream connect error", "no healthy upstream", "upstream request timeout", "connection termination"];
    match code {
        14 if proxy.iter().any(|words| message.contains(words)) => {
            "The words are those of Envoy: the proxy lives, and its upstream does not. Look at the cluster's endpoints and the service behind it."
        }
        14 => {
            "UNAVAILABLE is passing by definition: retry with growing pauses, and look whether the service restarts or has lost its backend."
        }
        4 => {
            "The deadline passed at the server: look for the slow part, or give the call more time; a deadline must cover all hops of the call."
        }
        8 => "A quota or a limit is reached: requests per time, memory, connections, or the size of a message (4 MiB by default).",
        7 => "The caller is known and may not do this: look at roles, and at the authorization policy of the mesh.",
        16 => "Send valid credentials: --header 'authorization: Bearer TOKEN'; compare clocks for signed tokens.",
        13 | 2 => "The service broke in this call: its log has the exception.",
        1 => "The server or a proxy cancelled the call: look for a time limit on the way that is shorter than the call.",
        _ => "",
    }
}

/// A status by its name.
const fn name(code: u32) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        2 => "UNKNOWN",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "a status that gRPC does not have",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, dialogue, recording};

    /// Outcome and facts of one call, and which of the three causes claims.
    fn check(target: &str, outcome: DialogueOutcome, facts: &[(&str, &str)], expect: Option<(&Cause, f64)>) {
        let mut seen = dialogue(Spoken::Grpc, "health", outcome);
        seen.facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let recording = recording(target, vec![seen.into()]);
        for cause in [&NOT_SERVING, &UNIMPLEMENTED, &ERROR] {
            let expected = expect.filter(|(named, _)| named.id == cause.id).map(|(_, confidence)| (confidence, true));
            assert_eq!(claims(cause, &recording), expected, "{}", cause.id);
        }
    }

    fn refused(code: &str, message: &str) -> DialogueOutcome {
        DialogueOutcome::Refused { code: code.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn each_status_has_one_cause() {
        check("grpc://api.test/", refused("0", "NOT_SERVING"), &[], Some((&NOT_SERVING, 0.96)));
        check("grpc://api.test/shop.Cart/Get", refused("12", "unknown service shop.Cart"), &[], Some((&UNIMPLEMENTED, 0.95)));
        check("grpc://api.test/", refused("14", "no healthy upstream"), &[], Some((&ERROR, 0.95)));
        check("grpc://api.test/", refused("16", ""), &[], Some((&ERROR, 0.95)));
        check("grpc://api.test/", refused("77", ""), &[], Some((&ERROR, 0.95)));
        check("grpc://api.test/shop.Cart", refused("5", "unknown"), &[("health", "does not know it")], Some((&UNIMPLEMENTED, 0.75)));
        check("grpc://api.test/", DialogueOutcome::Malformed { why: "no trailers".to_owned() }, &[], Some((&ERROR, 0.9)));
    }

    #[test]
    fn an_answer_in_http_and_a_server_without_health_service_are_none_of_these() {
        check("grpc://api.test/", refused("502", "Bad Gateway"), &[("http-status", "502")], None);
        check("grpc://api.test/", DialogueOutcome::Done { what: "SERVING".to_owned() }, &[], None);
        check("grpc://api.test/", DialogueOutcome::Done { what: "gRPC answers".to_owned() }, &[("health", "no health service")], None);
    }

    #[test]
    fn another_protocol_with_the_same_code_is_not_meant() {
        let smtp = recording("smtp://mail.test", vec![dialogue(Spoken::Smtp, "mail", refused("14", "")).into()]);
        assert_eq!(claims(&ERROR, &smtp), None);
    }
}
