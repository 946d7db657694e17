//! PostgreSQL, protocol 3.0: SSLRequest, startup, login, the server's parameters, and one `SHOW` when a writable session is asked for.
//! Nothing is written, and the session ends with Terminate.

use super::place::{database, parameter};
use super::talk::{Broken, Talk};
use super::{DialogueAsk, TlsWish};
use crate::recorder::printable;
use bytes::BytesMut;
use faultmap_model::observation::{Demand, DialogueOutcome};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

/// The user when the target names none: a role that hardly any server has, so that nobody's session is taken.
const NOBODY: &str = "faultmap";
/// Messages of one answer: parameters, notices, rows.
const MOST_MESSAGES: usize = 256;

/// What an ErrorResponse says.
struct Refusal {
    code: String,
    message: String,
}

impl From<Refusal> for DialogueOutcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, message: refusal.message }
    }
}

/// One message of the server.
enum Said {
    Message(Box<Message>),
    /// It wants SASL, by one of these mechanisms.
    Sasl(Vec<String>),
    Error(Refusal),
}

pub(super) async fn speak(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<DialogueOutcome, Broken> {
    let wish = wish(ask.path);
    if wish != TlsWish::Never && !talk.encrypted {
        match consent(talk).await? {
            Consent::Error(refusal) => return Ok(refusal.into()),
            Consent::Yes => match &ask.tls {
                Some(tls) => talk.upgrade(tls, wish.demanded()).await?,
                None => return Err(Broken::Ended),
            },
            Consent::No if wish.or_nothing() => return Ok(DialogueOutcome::TlsNotOffered),
            Consent::No => {}
        }
    }
    talk.fact("tls", if talk.encrypted { "yes" } else { "no" });
    let user = ask.credentials.map(|given| given.user.as_str()).filter(|user| !user.is_empty());
    let named = database(ask.path);
    talk.step("startup");
    let name = named.as_deref().or(user).unwrap_or("postgres");
    let parameters = [("user", user.unwrap_or(NOBODY)), ("database", name), ("application_name", "faultmap")];
    send(talk, |out| frontend::startup_message(parameters, out)).await?;
    if let Some(outcome) = authenticate(talk, ask, user).await? {
        return Ok(without_login(outcome, user.is_none()));
    }
    talk.step("session");
    if let Some(refusal) = until_ready(talk).await? {
        // The login is over by then: that there is no database of the user's name is no fault where the target names none.
        if missing(&refusal.code, &refusal.message) && named.is_none() {
            return Ok(DialogueOutcome::Done {
                what: format!("logged in; no database is named, and there is none called {}", printable(name.as_bytes(), 64)),
            });
        }
        return Ok(without_login(refusal.into(), user.is_none()));
    }
    let read_only = read_only(talk, ask).await?;
    talk.farewell(&message(frontend::terminate)).await;
    Ok(match read_only {
        Some(words) => DialogueOutcome::Refused { code: "25006".to_owned(), message: words },
        None => DialogueOutcome::Done { what: format!("logged in, database {}", printable(name.as_bytes(), 64)) },
    })
}

/// As libpq's `sslmode`.
fn wish(path: &str) -> TlsWish {
    match parameter(path, "sslmode").as_deref() {
        Some("disable") => TlsWish::Never,
        Some("require") => TlsWish::Always,
        Some("verify-ca") => TlsWish::Verified(Demand::Ca),
        Some("verify-full") => TlsWish::Verified(Demand::Full),
        _ => TlsWish::IfOffered,
    }
}

/// What the server says to an SSLRequest.
enum Consent {
    Yes,
    No,
    Error(Refusal),
}

/// Sends the SSLRequest; true when the server is willing.
pub(super) async fn ask_for_tls(talk: &mut Talk) -> Result<bool, Broken> {
    Ok(matches!(consent(talk).await?, Consent::Yes))
}

async fn consent(talk: &mut Talk) -> Result<Consent, Broken> {
    talk.step("ssl-request");
    talk.send(&message(frontend::ssl_request)).await?;
    match talk.peek(1).await?.first() {
        Some(b'S') => talk.byte().await.map(|_| Consent::Yes),
        Some(b'N') => talk.byte().await.map(|_| Consent::No),
        // A server that can start no further process says so here.
        Some(b'E') => match next(talk).await? {
            Said::Error(refusal) => Ok(Consent::Error(refusal)),
            _ => Err(odd("no answer to an SSLRequest")),
        },
        _ => Err(odd("no answer to an SSLRequest")),
    }
}

/// Who names no user cannot be refused a login: the server lives, and wants one.
fn without_login(outcome: DialogueOutcome, nobody: bool) -> DialogueOutcome {
    match outcome {
        DialogueOutcome::Refused { code, message }
            if nobody && (code.starts_with("28") || missing(&code, &message) || message.starts_with("no such user")) =>
        {
            DialogueOutcome::CredentialsWanted { method: "a user and a database that it knows".to_owned(), user_given: false }
        }
        other => other,
    }
}

/// How the server wants the password.
enum Request {
    Plain,
    Md5([u8; 4]),
    Scram,
}

impl Request {
    const fn way(&self) -> &'static str {
        match self {
            Self::Plain => "password",
            Self::Md5(_) => "md5",
            Self::Scram => "scram-sha-256",
        }
    }
}

/// There is no such database: PostgreSQL's code, PgBouncer's words.
fn missing(code: &str, message: &str) -> bool {
    code == "3D000" || message.starts_with("no such database")
}

/// Logs in. `None`: the server is content.
async fn authenticate(talk: &mut Talk, ask: &DialogueAsk<'_>, user: Option<&str>) -> Result<Option<DialogueOutcome>, Broken> {
    let password = ask.credentials.and_then(|given| given.password.as_deref());
    let mut asked = false;
    // Each round is an exchange of its own; SCRAM has the most.
    for _ in 0..8 {
        let request = match next(talk).await? {
            Said::Error(refusal) => return Ok(Some(refusal.into())),
            Said::Sasl(offered) if offered.iter().any(|name| name == SCRAM_SHA_256) => Request::Scram,
            Said::Sasl(offered) => return Ok(Some(unsupported(&printable(offered.join(", ").as_bytes(), 64)))),
            Said::Message(message) => match *message {
                Message::AuthenticationOk => return Ok(None),
                Message::NoticeResponse(_) => continue,
                Message::AuthenticationCleartextPassword => Request::Plain,
                Message::AuthenticationMd5Password(body) => Request::Md5(body.salt()),
                Message::AuthenticationGss => return Ok(Some(unsupported("gssapi"))),
                Message::AuthenticationSspi => return Ok(Some(unsupported("sspi"))),
                Message::AuthenticationKerberosV5 => return Ok(Some(unsupported("kerberos 5"))),
                _ => return Err(odd("no request for authentication")),
            },
        };
        let way = request.way();
        if asked {
            return Err(odd("a second request for authentication"));
        }
        asked = true;
        talk.fact("auth", way);
        let Some(password) = password else {
            return Ok(Some(DialogueOutcome::CredentialsWanted { method: way.to_owned(), user_given: user.is_some() }));
        };
        talk.step("authentication");
        match request {
            Request::Md5(salt) => {
                let hash = md5_hash(user.unwrap_or(NOBODY).as_bytes(), password.as_bytes(), salt);
                send(talk, |out| frontend::password_message(hash.as_bytes(), out)).await?;
            }
            Request::Scram => {
                if let Some(refusal) = scram(talk, password).await? {
                    return Ok(Some(refusal.into()));
                }
            }
            Request::Plain => send(talk, |out| frontend::password_message(password.as_bytes(), out)).await?,
        }
    }
    Err(odd("no end of the login"))
}

/// SCRAM-SHA-256 (RFC 7677), without channel binding. Gives what the server refuses with.
async fn scram(talk: &mut Talk, password: &str) -> Result<Option<Refusal>, Broken> {
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    send(talk, |out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)).await?;
    let challenge = match next(talk).await? {
        Said::Error(refusal) => return Ok(Some(refusal)),
        Said::Message(message) => match *message {
            Message::AuthenticationSaslContinue(body) => body,
            _ => return Err(odd("no SCRAM challenge")),
        },
        Said::Sasl(_) => return Err(odd("no SCRAM challenge")),
    };
    scram.update(challenge.data()).map_err(|error| odd(&error.to_string()))?;
    send(talk, |out| frontend::sasl_response(scram.message(), out)).await?;
    let proof = match next(talk).await? {
        Said::Error(refusal) => return Ok(Some(refusal)),
        Said::Message(message) => match *message {
            Message::AuthenticationSaslFinal(body) => body,
            _ => return Err(odd("no end of SCRAM")),
        },
        Said::Sasl(_) => return Err(odd("no end of SCRAM")),
    };
    scram.finish(proof.data()).map_err(|_| odd("the server does not prove that it knows the password"))?;
    Ok(None)
}

/// Reads the parameters until the session is ready; gives what ended it instead.
async fn until_ready(talk: &mut Talk) -> Result<Option<Refusal>, Broken> {
    for _ in 0..MOST_MESSAGES {
        match next(talk).await? {
            Said::Error(refusal) => return Ok(Some(refusal)),
            Said::Sasl(_) => return Err(odd("a request for authentication within the session")),
            Said::Message(message) => match *message {
                Message::ReadyForQuery(_) => return Ok(None),
                Message::ParameterStatus(body) => {
                    let (Ok(name), Ok(value)) = (body.name(), body.value()) else { continue };
                    match name {
                        "server_version" => talk.served_by(format!("PostgreSQL {value}")),
                        "in_hot_standby" => talk.fact("hot-standby", value),
                        "default_transaction_read_only" => talk.fact("read-only", value),
                        _ => {}
                    }
                }
                _ => {}
            },
        }
    }
    Err(odd("no end of the parameters"))
}

/// The session cannot write although a writable one was asked for, in libpq's own terms (`target_session_attrs`).
async fn read_only(talk: &mut Talk, ask: &DialogueAsk<'_>) -> Result<Option<String>, Broken> {
    let wanted = parameter(ask.path, "target_session_attrs");
    if !matches!(wanted.as_deref(), Some("read-write" | "primary")) {
        return Ok(None);
    }
    let told = |name: &str| talk.facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value == "on");
    // Servers before 14 do not tell by themselves.
    let (standby, default) = match (told("hot-standby"), told("read-only")) {
        (Some(standby), Some(default)) => (standby, default),
        _ => (show_read_only(talk).await?, false),
    };
    Ok(if standby {
        Some("the session is read-only: the server is a hot standby, and a writable session was asked for".to_owned())
    } else if default && wanted.as_deref() == Some("read-write") {
        Some("the session is read-only: default_transaction_read_only is on, and a writable session was asked for".to_owned())
    } else {
        None
    })
}

/// `SHOW transaction_read_only`: true when it says so.
async fn show_read_only(talk: &mut Talk) -> Result<bool, Broken> {
    talk.step("show");
    send(talk, |out| frontend::query("SHOW transaction_read_only", out)).await?;
    let mut on = false;
    for _ in 0..MOST_MESSAGES {
        match next(talk).await? {
            Said::Error(_) | Said::Sasl(_) => on = false,
            Said::Message(message) => match *message {
                Message::DataRow(row) => on = row.buffer().ends_with(b"on"),
                Message::ReadyForQuery(_) => return Ok(on),
                _ => {}
            },
        }
    }
    Err(odd("no end of an answer to SHOW"))
}

/// The next message. A notice is one too.
async fn next(talk: &mut Talk) -> Result<Said, Broken> {
    let head = talk.peek(5).await?.to_vec();
    let [tag, a, b, c, d] = head.as_slice() else { return Err(odd("no message")) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    // ErrorResponse and all that a login needs are below the length that a `u24` holds; words of other protocols are not.
    if !b"RSKZENvTDCI".contains(tag) || !(4..=super::talk::LARGEST).contains(&length) {
        return Err(odd("no message of protocol 3.0"));
    }
    let whole = talk.read(length + 1).await?;
    let body = whole.get(5..).unwrap_or_default();
    match (tag, body) {
        (b'E', _) => return Ok(Said::Error(read_error(body))),
        // AuthenticationSASL
        (b'R', [0, 0, 0, 10, names @ ..]) => {
            let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).take(16);
            return Ok(Said::Sasl(names.map(|name| printable(name, 64)).collect()));
        }
        _ => {}
    }
    match Message::parse(&mut BytesMut::from(whole.as_slice())) {
        Ok(Some(message)) => Ok(Said::Message(Box::new(message))),
        Ok(None) => Err(odd("a message shorter than it says")),
        Err(error) => Err(odd(&error.to_string())),
    }
}

/// The code and the message of an ErrorResponse: each field is a letter and a text that ends with zero.
fn read_error(body: &[u8]) -> Refusal {
    let (mut code, mut message) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        match field {
            [b'C', text @ ..] => code = printable(text, 5),
            [b'M', text @ ..] => message = printable(text, 256),
            _ => {}
        }
    }
    Refusal { code, message }
}

fn message(build: fn(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    build(&mut out);
    out.to_vec()
}

async fn send(talk: &mut Talk, build: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<(), Broken> {
    let mut out = BytesMut::new();
    build(&mut out).map_err(|error| odd(&error.to_string()))?;
    talk.send(&out).await
}

fn unsupported(method: &str) -> DialogueOutcome {
    DialogueOutcome::LoginUnsupported { method: method.to_owned() }
}

fn odd(why: &str) -> Broken {
    Broken::Malformed(printable(why.as_bytes(), 128))
}
