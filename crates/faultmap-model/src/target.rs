//! What is checked: scheme, host, port, path. Credentials never leave this module.

use serde::{Deserialize, Serialize};

/// The protocol that is spoken to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the schemes")]
pub enum Scheme {
    Https,
    Http,
    Grpcs,
    Grpc,
    Wss,
    Ws,
    Tls,
    Tcp,
    Udp,
    Icmp,
    Dns,
    Postgres,
    Mysql,
    Rediss,
    Redis,
    Smtps,
    Smtp,
    Ssh,
    Amqps,
    Amqp,
    Mqtts,
    Mqtt,
}

/// What stands for a scheme: its name, the port used when the target names none, the ports that mean it in a bare `host:port`.
struct Row(Scheme, &'static str, Option<u16>, &'static [u16]);

const ROWS: [Row; 22] = [
    Row(Scheme::Https, "https", Some(443), &[443, 8443]),
    Row(Scheme::Http, "http", Some(80), &[80, 8000, 8080]),
    Row(Scheme::Grpcs, "grpcs", Some(443), &[]),
    Row(Scheme::Grpc, "grpc", Some(50051), &[50051]),
    Row(Scheme::Wss, "wss", Some(443), &[]),
    Row(Scheme::Ws, "ws", Some(80), &[]),
    Row(Scheme::Tls, "tls", Some(443), &[]),
    Row(Scheme::Tcp, "tcp", None, &[]),
    Row(Scheme::Udp, "udp", None, &[]),
    Row(Scheme::Icmp, "icmp", Some(0), &[]),
    Row(Scheme::Dns, "dns", Some(53), &[53]),
    Row(Scheme::Postgres, "postgres", Some(5432), &[5432]),
    Row(Scheme::Mysql, "mysql", Some(3306), &[3306]),
    Row(Scheme::Rediss, "rediss", Some(6379), &[]),
    Row(Scheme::Redis, "redis", Some(6379), &[6379]),
    Row(Scheme::Smtps, "smtps", Some(465), &[465]),
    Row(Scheme::Smtp, "smtp", Some(25), &[25, 587]),
    Row(Scheme::Ssh, "ssh", Some(22), &[22]),
    Row(Scheme::Amqps, "amqps", Some(5671), &[5671]),
    Row(Scheme::Amqp, "amqp", Some(5672), &[5672]),
    Row(Scheme::Mqtts, "mqtts", Some(8883), &[8883]),
    Row(Scheme::Mqtt, "mqtt", Some(1883), &[1883]),
];

/// Other names that people write.
const ALIASES: [(&str, Scheme); 2] = [("postgresql", Scheme::Postgres), ("mariadb", Scheme::Mysql)];

impl Scheme {
    /// Every scheme that `check` speaks.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.0 == self).unwrap_or(&ROWS[0])
    }

    /// As written before `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The port used when the target names none.
    #[must_use]
    pub fn default_port(self) -> Option<u16> {
        self.row().2
    }

    /// A TCP connection is part of it.
    #[must_use]
    pub const fn uses_tcp(self) -> bool {
        !matches!(self, Self::Udp | Self::Icmp | Self::Dns)
    }

    /// A TLS handshake comes first on the connection.
    #[must_use]
    pub const fn uses_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls | Self::Grpcs | Self::Wss | Self::Rediss | Self::Smtps | Self::Amqps | Self::Mqtts)
    }

    /// Its protocol begins in plain text and may go over to TLS on the same connection (STARTTLS and its kin).
    #[must_use]
    pub const fn upgrades_to_tls(self) -> bool {
        matches!(self, Self::Postgres | Self::Mysql | Self::Smtp)
    }

    /// It is an HTTP request with an HTTP answer, and nothing more.
    #[must_use]
    pub const fn uses_http(self) -> bool {
        matches!(self, Self::Https | Self::Http)
    }

    /// The conversation in the service's own protocol, as a [`Dialogue`](crate::observation::Dialogue) records it.
    #[must_use]
    pub const fn dialogue(self) -> Option<crate::observation::Spoken> {
        use crate::observation::Spoken;
        Some(match self {
            Self::Grpcs | Self::Grpc => Spoken::Grpc,
            Self::Wss | Self::Ws => Spoken::Websocket,
            Self::Postgres => Spoken::Postgres,
            Self::Mysql => Spoken::Mysql,
            Self::Rediss | Self::Redis => Spoken::Redis,
            Self::Smtps | Self::Smtp => Spoken::Smtp,
            Self::Ssh => Spoken::Ssh,
            Self::Amqps | Self::Amqp => Spoken::Amqp,
            Self::Mqtts | Self::Mqtt => Spoken::Mqtt,
            Self::Https | Self::Http | Self::Tls | Self::Tcp | Self::Udp | Self::Icmp | Self::Dns => return None,
        })
    }

    /// Its path is one of HTTP: it starts with `/` and may carry a query.
    #[must_use]
    pub const fn has_http_path(self) -> bool {
        matches!(self, Self::Https | Self::Http | Self::Wss | Self::Ws)
    }

    /// The highest layer that a check of this scheme reaches.
    #[must_use]
    pub const fn top(self) -> crate::Layer {
        match self {
            Self::Tls => crate::Layer::L6,
            Self::Tcp | Self::Udp => crate::Layer::L4,
            Self::Icmp => crate::Layer::L3,
            _ => crate::Layer::L7,
        }
    }
}

/// A parsed target. User name and password are dropped here and kept by the binary alone, so no report can show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// As the user wrote it, credentials replaced by `***`.
    pub input: String,
    /// Protocol.
    pub scheme: Scheme,
    /// Name or address literal, without brackets.
    pub host: String,
    /// Port; 0 for `icmp`.
    pub port: u16,
    /// Path and query, for HTTP and WebSocket, with its `/`. Without it: for `dns` the name to ask for, for gRPC a service or `Service/Method`,
    /// for databases the database, for AMQP the virtual host.
    #[serde(default, skip_serializing_if = "String::is_empty", serialize_with = "without_secrets")]
    pub path: String,
}

/// The text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum TargetError {
    #[error("the target is empty; give a URL, host:port, or host")]
    Empty,
    #[error("unknown scheme {0:?}; known: {known}", known = known_schemes())]
    UnknownScheme(String),
    #[error("{0}:// needs a port, such as {0}://host:5432")]
    PortMissing(&'static str),
    #[error("not a port: {0:?} (1 to 65535)")]
    BadPort(String),
    #[error("not a host name or address: {0:?}")]
    BadHost(String),
    #[error("the user name or password holds a reserved character; write it as %XX, such as %2F for / and %40 for @")]
    BadCredentials,
}

impl Target {
    /// Parses what `faultmap check` is given.
    ///
    /// # Errors
    /// When the text is no target; the error says what to write instead. It never quotes credentials.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((name, rest)) => (Some(scheme_named(name)?), rest),
            None => (None, text),
        };
        let (authority, path) = split_authority(rest);
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        // An unescaped password can look like a host or a port: it must not be quoted back.
        let unescaped = credentials.is_none() && rest.contains('@') && !path.starts_with('?');
        let quiet = |error| if unescaped { TargetError::BadCredentials } else { error };
        let (host, port) = split_port(host_port).map_err(quiet)?;
        check_host(host).map_err(quiet)?;
        let scheme = scheme.unwrap_or_else(|| scheme_for_port(port));
        let port = match port.or(scheme.default_port()) {
            Some(port) => port,
            None => return Err(TargetError::PortMissing(scheme.name())),
        };
        let input = match credentials {
            Some(user) => text.replacen(&format!("{user}@"), "***@", 1),
            None => text.to_owned(),
        };
        let path = match (scheme.has_http_path(), path) {
            (true, "") => "/".to_owned(),
            (true, path) if path.starts_with('?') => format!("/{path}"),
            (true, path) => path.split('#').next().unwrap_or("/").to_owned(),
            (false, path) => path.trim_matches('/').to_owned(),
        };
        Ok(Self { input: hide_query_secrets(&input), scheme, host: host.to_owned(), port, path })
    }

    /// `host:port`, with brackets around IPv6 literals.
    #[must_use]
    pub fn host_port(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// The address, when the host is a literal.
    #[must_use]
    pub fn literal(&self) -> Option<std::net::IpAddr> {
        self.host.split('%').next().and_then(|host| host.parse().ok())
    }
}

fn scheme_named(name: &str) -> Result<Scheme, TargetError> {
    let named = Scheme::all().find(|scheme| scheme.name().eq_ignore_ascii_case(name));
    let alias = || ALIASES.into_iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, scheme)| scheme);
    named.or_else(alias).ok_or_else(|| TargetError::UnknownScheme(name.chars().take(32).collect()))
}

fn known_schemes() -> String {
    Scheme::all().map(Scheme::name).collect::<Vec<_>>().join(" ")
}

/// The protocol behind a bare `host:port`; a bare host is https.
fn scheme_for_port(port: Option<u16>) -> Scheme {
    let Some(port) = port else { return Scheme::Https };
    ROWS.iter().find(|row| row.3.contains(&port)).map_or(Scheme::Tcp, |row| row.0)
}

fn split_authority(rest: &str) -> (&str, &str) {
    match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    }
}

fn split_port(host_port: &str) -> Result<(&str, Option<u16>), TargetError> {
    let (host, port) = if let Some(inner) = host_port.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or_else(|| TargetError::BadHost(host_port.to_owned()))?;
        (host, after.strip_prefix(':'))
    } else if host_port.matches(':').count() > 1 {
        (host_port, None)
    } else {
        match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        }
    };
    match port {
        None => Ok((host, None)),
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err(TargetError::BadPort(text.chars().take(16).collect())),
        },
    }
}

fn check_host(host: &str) -> Result<(), TargetError> {
    let printable = host.chars().all(|c| !c.is_control() && !c.is_whitespace());
    let known = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.len() > 253 || !printable || !host.chars().all(known) {
        return Err(TargetError::BadHost(host.chars().filter(|c| !c.is_control()).take(64).collect()));
    }
    Ok(())
}

fn without_secrets<S: serde::Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hide_query_secrets(path))
}

/// Query values whose names say that they are secrets are not shown.
fn hide_query_secrets(input: &str) -> String {
    let Some((head, query)) = input.split_once('?') else { return input.to_owned() };
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["token", "secret", "password", "passwd", "key", "signature", "sig", "auth"].iter().any(|word| name.contains(word))
    };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if secret(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{head}?{}", shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: (Scheme, &str, u16, &str)) {
        let target = Target::parse(text).expect(text);
        assert_eq!((target.scheme, target.host.as_str(), target.port, target.path.as_str()), expect, "{text}");
    }

    #[test]
    fn targets_are_read_as_the_contract_says() {
        check("https://shop.test/checkout", (Scheme::Https, "shop.test", 443, "/checkout"));
        check("shop.test", (Scheme::Https, "shop.test", 443, "/"));
        check("shop.test:80", (Scheme::Http, "shop.test", 80, "/"));
        check("db.test:5432", (Scheme::Postgres, "db.test", 5432, ""));
        check("db.test:5433", (Scheme::Tcp, "db.test", 5433, ""));
        check("postgresql://db.test/shop", (Scheme::Postgres, "db.test", 5432, "shop"));
        check("wss://live.test/feed?x=1", (Scheme::Wss, "live.test", 443, "/feed?x=1"));
        check("grpc://api.test/shop.Cart", (Scheme::Grpc, "api.test", 50051, "shop.Cart"));
        check("[fd00::1]:443", (Scheme::Https, "fd00::1", 443, "/"));
        check("fd00::1", (Scheme::Https, "fd00::1", 443, "/"));
        check("dns://10.0.0.1/shop.test", (Scheme::Dns, "10.0.0.1", 53, "shop.test"));
        check("icmp://10.0.0.1", (Scheme::Icmp, "10.0.0.1", 0, ""));
        check("http://a.test?x=1", (Scheme::Http, "a.test", 80, "/?x=1"));
    }

    #[test]
    fn credentials_are_never_kept() {
        let target = Target::parse("https://user:pa55@shop.test/?token=abc&x=1").expect("target");
        assert_eq!(target.input, "https://***@shop.test/?token=***&x=1");
        assert!(!format!("{target:?}").contains("pa55"));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        assert_eq!(Target::parse(""), Err(TargetError::Empty));
        assert_eq!(Target::parse("tcp://host"), Err(TargetError::PortMissing("tcp")));
        assert!(matches!(Target::parse("gopher://x"), Err(TargetError::UnknownScheme(_))));
        assert!(matches!(Target::parse("host:99999"), Err(TargetError::BadPort(_))));
        assert!(matches!(Target::parse("https://a b/"), Err(TargetError::BadHost(_))));
        assert_eq!(Target::parse("https://u:pa/ss@h/"), Err(TargetError::BadCredentials));
    }
}
