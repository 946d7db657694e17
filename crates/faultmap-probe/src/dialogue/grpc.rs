//! gRPC over HTTP/2 ("PROTOCOL-HTTP2.md"): the health check of the service, server reflection where there is none, or the method that was
//! asked for with an empty message. Statuses are those of the wire; what they mean is not judged.

use super::grpc_wire::{self as wire, Health, Reply, Status};
use super::notes::Notes;
use super::talk::Broken;
use super::{DialogueAsk, Stream};
use crate::http::Session;
use crate::recorder::ms;
use faultmap_model::observation::{Dialogue, DialogueOutcome, HttpOutcome};
use std::time::Instant;

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: [&str; 2] =
    ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"];
/// No service has it: the answer tells an unknown method from an unknown service.
const NO_METHOD: &str = "FaultmapProbe";
/// Services named in a sentence.
const NAMED: usize = 4;

/// Holds the conversation.
pub(super) async fn speak<S: Stream + 'static>(stream: S, ask: &DialogueAsk<'_>) -> Dialogue {
    let (mut notes, tap, seen) = Notes::of(stream);
    let ended = match Session::open(tap, seen, ask.wait).await {
        Ok(session) => Call { session, ask, notes: &mut notes }.converse().await,
        Err(outcome) => Err(outcome),
    };
    let ended = ended.or_else(|outcome| unanswered(&mut notes, outcome));
    notes.finish(ask, ended)
}

/// HTTP/2 gave no answer: as gRPC clients and this dialogue name it.
fn unanswered(notes: &mut Notes, outcome: HttpOutcome) -> Result<DialogueOutcome, Broken> {
    match outcome {
        HttpOutcome::Silent { .. } => Err(Broken::Silent),
        HttpOutcome::Closed { .. } | HttpOutcome::Reset { .. } | HttpOutcome::Alert { .. } => Err(Broken::Ended),
        HttpOutcome::StreamRefused { reason } => {
            notes.fact("stream", &reason);
            let code = wire::code_of_stream_error(&reason);
            Ok(DialogueOutcome::Refused { code: code.to_string(), message: format!("the server refused the HTTP/2 stream: {reason}") })
        }
        HttpOutcome::Malformed { why, looks_like: Some(protocol), .. } if protocol == "http2" => Ok(DialogueOutcome::Malformed { why }),
        HttpOutcome::Malformed { why, .. } => Err(Broken::Malformed(why)),
        HttpOutcome::NoConnection { why } => Ok(DialogueOutcome::NoConnection { why }),
        HttpOutcome::Response(_) => Err(Broken::Malformed("an answer out of place".to_owned())),
    }
}

struct Call<'a, 'n> {
    session: Session,
    ask: &'a DialogueAsk<'a>,
    notes: &'n mut Notes,
}

impl Call<'_, '_> {
    async fn converse(mut self) -> Result<DialogueOutcome, HttpOutcome> {
        match self.ask.path.split_once('/') {
            Some((service, method)) => self.method(service, method).await,
            None => self.health(self.ask.path).await,
        }
    }

    /// The named method, with an empty message: that the method finds it wanting is an answer, too.
    async fn method(&mut self, service: &str, method: &str) -> Result<DialogueOutcome, HttpOutcome> {
        let status = match self.call("call", &format!("/{service}/{method}"), &[]).await? {
            Reply::Message { .. } => return Ok(done(format!("{service}/{method} answers an empty message with OK"))),
            Reply::Status(status) => status,
            Reply::Other(outcome) => return Ok(outcome),
        };
        // INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE speak of the message, which is empty.
        if matches!(status.code, 3 | 5 | 9 | 11) {
            self.notes.fact("grpc-status", format!("{} {}", status.code, wire::name(status.code)));
            return Ok(done(format!("{service}/{method} answers, and wants more than an empty message ({})", wire::name(status.code))));
        }
        Ok(refused(status))
    }

    async fn health(&mut self, service: &str) -> Result<DialogueOutcome, HttpOutcome> {
        let status = match self.call("health", HEALTH, &wire::health_request(service)).await? {
            Reply::Message { bytes } => match wire::health(&bytes) {
                Some(Health::Serving) => return Ok(done("SERVING".to_owned())),
                Some(Health::ServiceUnknown) => Status { code: 5, message: "SERVICE_UNKNOWN".to_owned() },
                Some(other) => {
                    self.notes.fact("health", other.name());
                    return Ok(DialogueOutcome::Refused { code: "0".to_owned(), message: other.name().to_owned() });
                }
                None => {
                    return Ok(DialogueOutcome::Malformed { why: "the answer of the health check is no HealthCheckResponse".to_owned() });
                }
            },
            Reply::Status(status) => status,
            Reply::Other(outcome) => return Ok(outcome),
        };
        match status.code {
            12 => self.notes.fact("health", "no health service"),
            5 => self.notes.fact("health", format!("the health service does not know {service:?}")),
            _ => return Ok(refused(status)),
        }
        self.without_health(service, status).await
    }

    /// No health check tells: server reflection is asked, and at last a method that does not exist.
    async fn without_health(&mut self, service: &str, status: Status) -> Result<DialogueOutcome, HttpOutcome> {
        for path in REFLECTION {
            let Reply::Message { bytes } = self.call("reflection", path, &wire::list_services()).await? else { continue };
            let Some(services) = wire::services(&bytes) else { continue };
            let named: Vec<&str> = services.iter().filter(|name| !name.starts_with("grpc.")).map(String::as_str).collect();
            self.notes.fact("services", format!("{}: {}", named.len(), named.get(..NAMED).unwrap_or(&named).join(", ")));
            if service.is_empty() || services.iter().any(|name| name == service) {
                return Ok(done(format!("{} services by reflection", named.len())));
            }
            return Ok(refused(Status { code: 12, message: format!("server reflection does not list {service}") }));
        }
        if service.is_empty() {
            return Ok(done(format!("gRPC answers ({})", wire::name(status.code))));
        }
        match self.call("no-method", &format!("/{service}/{NO_METHOD}"), &[]).await? {
            Reply::Status(answer) if answer.code == 12 && answer.message.to_lowercase().contains("unknown service") => Ok(refused(answer)),
            Reply::Status(answer) if answer.message.to_lowercase().contains("unknown method") => {
                Ok(done(format!("gRPC answers, and has {service}; its health check does not know it")))
            }
            Reply::Other(outcome) => Ok(outcome),
            // The health check exists and does not know the service; libraries other than Go's do not tell whether it is there all the same.
            _ if status.code == 5 => Ok(refused(status)),
            _ => Ok(done(format!("gRPC answers; whether it has {service} it does not say"))),
        }
    }

    async fn call(&mut self, step: &'static str, path: &str, message: &[u8]) -> Result<Reply, HttpOutcome> {
        self.notes.step(step);
        let asked = Instant::now();
        let request = match wire::request(self.ask, path, message) {
            Ok(request) => request,
            Err(error) => return Err(HttpOutcome::NoConnection { why: format!("the call cannot be built: {error}") }),
        };
        let answer = self.session.ask(request, wire::LARGEST, self.ask.wait).await?;
        self.notes.first_byte_ms.get_or_insert_with(|| ms(answer.head_after));
        if self.notes.server.is_none() {
            self.notes.server = wire::server(&answer.headers);
        }
        let reply = wire::reply(&answer);
        if matches!(&reply, Reply::Status(status) if status.code == wire::DEADLINE_EXCEEDED) && asked.elapsed() >= self.ask.wait {
            // The server's library reports that the time of `grpc-timeout` is over; the service has said nothing.
            return Ok(Reply::Other(DialogueOutcome::Silent { waited_ms: ms(asked.elapsed()), received_bytes: 0 }));
        }
        for (name, value) in wire::facts(&answer, &reply) {
            self.notes.fact(name, value);
        }
        if let Reply::Other(DialogueOutcome::Silent { received_bytes, .. }) = reply {
            return Ok(Reply::Other(DialogueOutcome::Silent { waited_ms: ms(asked.elapsed()), received_bytes }));
        }
        Ok(reply)
    }
}

fn done(what: String) -> DialogueOutcome {
    DialogueOutcome::Done { what }
}

fn refused(status: Status) -> DialogueOutcome {
    DialogueOutcome::Refused { code: status.code.to_string(), message: status.message }
}
