//! User names, passwords and other secrets of a request: taken out of the target, sent to it, and shown to nobody.

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use faultmap_model::observation::{Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, HttpResponse, Spoken, TunnelOutcome};
use faultmap_model::{Recording, Seen, Target};
use faultmap_probe::CheckOptions;
use faultmap_probe::dialogue::Credentials;
use faultmap_probe::proxy::Choice;
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Shorter texts are not worth hiding, and hiding them would blot out half of an answer.
const SHORTEST_SECRET: usize = 4;
/// Where a password may stand that is to be in no command line.
const PASSWORD_VARIABLE: &str = "FAULTMAP_PASSWORD";
/// A key file in place of a password is a mistake.
const LONGEST_PASSWORD: u64 = 4096;
/// Headers whose values are secrets, by parts of their names.
const SECRET_HEADERS: [&str; 8] = ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "signature"];

/// The user information of a URL (RFC 3986 3.2.1), as written.
fn user_info(raw: &str) -> Option<&str> {
    let raw = raw.trim();
    let rest = raw.split_once("://").map_or(raw, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map(|(user, _)| user).filter(|user| !user.is_empty())
}

/// User name and password, escapes undone.
fn login(user_info: &str) -> Credentials {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = user_info.split_once(':').map_or((user_info, None), |(user, password)| (user, Some(password)));
    Credentials { user: plain(user), password: password.map(plain) }
}

/// The password that did not stand in the target: from the file, else from the environment. A file's last line feed is not part of it.
pub(super) fn password(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty())) };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_PASSWORD).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the password from {}", path.display()))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        bail!("the file {} holds no password in its first line", path.display());
    }
    Ok(Some(password.to_owned()))
}

/// The target's own password counts first. Without a user only Redis takes one.
fn with_password(given: Option<Credentials>, target: &Target, password: Option<String>) -> Option<Credentials> {
    match (given, password) {
        (Some(Credentials { user, password: None }), Some(password)) => Some(Credentials { user, password: Some(password) }),
        (None, Some(password)) if target.scheme.dialogue() == Some(Spoken::Redis) => {
            Some(Credentials { user: String::new(), password: Some(password) })
        }
        (given, _) => given,
    }
}

/// `user:password` as bytes, escapes undone. A name without a password gets an empty one, as RFC 7617 wants it.
fn basic(user_info: &str) -> Vec<u8> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    pair
}

fn over_http(target: &Target) -> bool {
    target.scheme.uses_http() || matches!(target.scheme.dialogue(), Some(Spoken::Grpc | Spoken::Websocket))
}

/// Hands the target's credentials to the protocol: as a login, or by HTTP Basic (RFC 7617) unless the user gives an Authorization header.
pub(super) fn authorize(raw: &str, target: &Target, password: Option<String>, options: &mut CheckOptions) {
    if !over_http(target) {
        options.credentials = with_password(user_info(raw).map(login), target, password);
        return;
    }
    let given = options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if given {
        return;
    }
    if let Some(user_info) = user_info(raw) {
        let value = format!("Basic {}", BASE64_STANDARD.encode(basic(user_info)));
        options.headers.push(("Authorization".to_owned(), value));
    }
}

/// What must not be seen, should a server send it back.
pub(super) struct Secrets(Vec<String>);

/// Collects them: the credentials in every form, the values of secret headers, and of secret query parameters.
pub(super) fn secrets(raw: &str, target: &Target, password: Option<&str>, options: &CheckOptions) -> Secrets {
    let mut all: Vec<String> = password.map(str::to_owned).into_iter().collect();
    // A user name alone is a secret only where tokens are given as such.
    let secret = |user_info: &&str| user_info.contains(':') || over_http(target);
    if let Some(user_info) = user_info(raw).filter(secret) {
        let pair = basic(user_info);
        all.push(BASE64_STANDARD.encode(&pair));
        all.push(String::from_utf8_lossy(&pair).into_owned());
        all.push(user_info.to_owned());
        if let Some((_, password)) = user_info.split_once(':') {
            all.extend([password.to_owned(), percent_decode_str(password).decode_utf8_lossy().into_owned()]);
        }
    }
    for (name, value) in &options.headers {
        let name = name.to_ascii_lowercase();
        if SECRET_HEADERS.iter().any(|part| name.contains(part)) {
            all.push(value.clone());
            // `Bearer TOKEN`, `name=value; name=value`
            all.extend(value.split([' ', ';', '=', ',']).map(str::to_owned).filter(|word| word.len() >= 2 * SHORTEST_SECRET));
        }
    }
    all.extend(of_proxy(options));
    all.extend(hidden_parameters(target));
    all.retain(|secret| secret.len() >= SHORTEST_SECRET);
    // The longest first, so that a part does not spoil the whole.
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all.dedup();
    Secrets(all)
}

/// The proxy's user name and password, in the forms in which it may send them back.
fn of_proxy(options: &CheckOptions) -> Vec<String> {
    let Choice::Via(proxy) = &options.proxy else { return Vec::new() };
    let Some(Credentials { user, password: Some(password) }) = &proxy.credentials else { return Vec::new() };
    let header = proxy.authorization().and_then(|value| value.split_once(' ').map(|(_, encoded)| encoded.to_owned()));
    [Some(format!("{user}:{password}")), Some(password.clone()), header].into_iter().flatten().collect()
}

/// The values of query parameters that the target's own writing hides.
fn hidden_parameters(target: &Target) -> Vec<String> {
    let shown = serde_json::to_value(target).ok();
    let shown = shown.as_ref().and_then(|value| value.get("path")).and_then(serde_json::Value::as_str);
    let query = |path: &str| path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    let (Some(shown), raw) = (shown.map(query), query(&target.path)) else { return Vec::new() };
    let pairs = raw.split('&').zip(shown.split('&')).filter(|(raw, shown)| raw != shown);
    pairs.filter_map(|(raw, _)| raw.split_once('=').map(|(_, value)| value.to_owned())).collect()
}

impl Secrets {
    /// Hides them in whatever an HTTP server said.
    pub(super) fn scrub(&self, recording: &mut Recording) {
        if self.0.is_empty() {
            return;
        }
        for observation in &mut recording.observations {
            match &mut observation.seen {
                Seen::HttpExchange(exchange) => self.scrub_exchange(exchange),
                Seen::Dialogue(dialogue) => self.scrub_dialogue(dialogue),
                Seen::ProxyTunnel(tunnel) => self.scrub_tunnel(&mut tunnel.outcome),
                Seen::HttpSamples(samples) => {
                    samples.rows.iter_mut().filter_map(|row| row.backend.as_mut()).for_each(|backend| self.hide(backend));
                }
                _ => {}
            }
        }
    }

    fn scrub_exchange(&self, exchange: &mut HttpExchange) {
        self.hide(&mut exchange.url);
        match &mut exchange.outcome {
            HttpOutcome::Response(response) => self.scrub_response(response),
            HttpOutcome::Malformed { why, first_bytes, .. } => {
                self.hide(why);
                self.hide(first_bytes);
            }
            HttpOutcome::NoConnection { why } => self.hide(why),
            HttpOutcome::Closed { .. }
            | HttpOutcome::Reset { .. }
            | HttpOutcome::StreamRefused { .. }
            | HttpOutcome::Silent { .. }
            | HttpOutcome::Alert { .. } => {}
        }
    }

    fn scrub_tunnel(&self, outcome: &mut TunnelOutcome) {
        match outcome {
            TunnelOutcome::Refused { name, said, server, .. } => {
                self.hide(name);
                [said, server].into_iter().flatten().for_each(|text| self.hide(text));
            }
            TunnelOutcome::Foreign { first_bytes, .. } => self.hide(first_bytes),
            _ => {}
        }
    }

    /// A server may quote what it was sent.
    fn scrub_dialogue(&self, dialogue: &mut Dialogue) {
        dialogue.server.iter_mut().for_each(|server| self.hide(server));
        dialogue.facts.iter_mut().for_each(|(_, value)| self.hide(value));
        match &mut dialogue.outcome {
            DialogueOutcome::Done { what: text }
            | DialogueOutcome::Refused { message: text, .. }
            | DialogueOutcome::TlsWanted { message: text }
            | DialogueOutcome::Foreign { first_bytes: text, .. }
            | DialogueOutcome::Malformed { why: text }
            | DialogueOutcome::NoConnection { why: text }
            | DialogueOutcome::CredentialsWanted { method: text, .. }
            | DialogueOutcome::LoginUnsupported { method: text } => self.hide(text),
            DialogueOutcome::TlsNotOffered
            | DialogueOutcome::Closed { .. }
            | DialogueOutcome::Reset { .. }
            | DialogueOutcome::Silent { .. } => {}
        }
    }

    fn scrub_response(&self, response: &mut HttpResponse) {
        response.headers.iter_mut().for_each(|(_, value)| self.hide(value));
        let body = &mut response.body;
        self.hide(&mut body.excerpt);
        [&mut body.syntax_error, &mut body.decode_error].into_iter().flatten().for_each(|text| self.hide(text));
    }

    fn hide(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), "***");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(raw: &str) -> Option<String> {
        let target = Target::parse(raw).expect("target");
        let mut options = CheckOptions::default();
        authorize(raw, &target, None, &mut options);
        options.headers.pop().map(|(_, value)| value)
    }

    #[test]
    fn credentials_of_the_target_become_basic_authorization() {
        let encoded = |pair: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
        assert_eq!(header("https://me:pa55@shop.test/"), encoded("me:pa55"));
        assert_eq!(header("https://me:p%40%2F%3a5@shop.test/"), encoded("me:p@/:5"));
        assert_eq!(header("https://me@shop.test/"), encoded("me:"));
        assert_eq!(header("https://me:a@b@shop.test/"), encoded("me:a@b"));
        assert_eq!(header("https://shop.test/@me:pa55"), None);
        assert_eq!(header("ssh-host.test:22"), None);
        assert_eq!(header("tcp://me:pa55@db.test:5432"), None);
    }

    #[test]
    fn a_password_beside_the_target_joins_its_user() {
        let login = |raw: &str, password: Option<&str>| {
            let target = Target::parse(raw).expect("target");
            let mut options = CheckOptions::default();
            authorize(raw, &target, password.map(str::to_owned), &mut options);
            options.credentials.map(|given| (given.user, given.password))
        };
        let expect = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(str::to_owned)));
        assert_eq!(login("postgres://app@db.test/", Some("pa55word")), expect("app", Some("pa55word")));
        assert_eq!(login("postgres://app:own@db.test/", Some("pa55word")), expect("app", Some("own")));
        assert_eq!(login("redis://db.test/", Some("pa55word")), expect("", Some("pa55word")));
        assert_eq!(login("mysql://db.test/", Some("pa55word")), None);
        assert_eq!(login("mysql://app@db.test/", None), expect("app", None));
    }

    #[test]
    fn a_user_name_is_no_secret_and_a_password_is() {
        let raw = "postgres://warehouse:pa55word@db.test/shop";
        let target = Target::parse(raw).expect("target");
        let secrets = secrets(raw, &target, Some("0ther-secret"), &CheckOptions::default());
        let mut text = "role \"warehouse\" with pa55word or 0ther-secret".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "role \"warehouse\" with *** or ***");
    }

    #[test]
    fn what_a_server_sends_back_is_blotted_out() {
        let raw = "https://me:pa55word@shop.test/?token=t0psecret&page=2";
        let target = Target::parse(raw).expect("target");
        let options = CheckOptions { headers: vec![("Cookie".to_owned(), "sid=0123456789abcdef".to_owned())], ..CheckOptions::default() };
        let secrets = secrets(raw, &target, None, &options);
        let hidden = |text: &str| {
            let mut text = text.to_owned();
            secrets.hide(&mut text);
            text
        };
        assert_eq!(hidden("hello me:pa55word!"), "hello ***!");
        assert_eq!(hidden(&format!("Basic {}", BASE64_STANDARD.encode("me:pa55word"))), "Basic ***");
        assert_eq!(hidden("/login?token=t0psecret&page=2"), "/login?token=***&page=2");
        assert_eq!(hidden("your 0123456789abcdef"), "your ***");
    }
}
