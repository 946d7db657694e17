//! What is checked: scheme, host, port, path. Credentials never leave this module.

use serde::{Deserialize, Serialize};

/// The protocol that is spoken to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the schemes")]
pub enum Scheme {
    Https,
    Http,
    Tcp,
    Tls,
    Udp,
    Icmp,
    Dns,
}

impl Scheme {
    /// Every scheme that `check` speaks.
    pub const ALL: [Scheme; 7] = [Self::Https, Self::Http, Self::Tcp, Self::Tls, Self::Udp, Self::Icmp, Self::Dns];

    /// As written before `://`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Dns => "dns",
        }
    }

    /// The port used when the target names none.
    #[must_use]
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Https | Self::Tls => Some(443),
            Self::Http => Some(80),
            Self::Dns => Some(53),
            Self::Icmp => Some(0),
            Self::Tcp | Self::Udp => None,
        }
    }

    /// A TCP connection is part of it.
    #[must_use]
    pub const fn uses_tcp(self) -> bool {
        matches!(self, Self::Https | Self::Http | Self::Tcp | Self::Tls)
    }

    /// A TLS handshake is part of it.
    #[must_use]
    pub const fn uses_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// An HTTP request is part of it.
    #[must_use]
    pub const fn uses_http(self) -> bool {
        matches!(self, Self::Https | Self::Http)
    }

    /// The highest layer that a check of this scheme reaches.
    #[must_use]
    pub const fn top(self) -> crate::Layer {
        match self {
            Self::Https | Self::Http | Self::Dns => crate::Layer::L7,
            Self::Tls => crate::Layer::L6,
            Self::Tcp | Self::Udp => crate::Layer::L4,
            Self::Icmp => crate::Layer::L3,
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
    /// Path and query, for HTTP; for `dns` the name to ask for. Starts with `/` for HTTP.
    #[serde(default, skip_serializing_if = "String::is_empty", serialize_with = "without_secrets")]
    pub path: String,
}

/// The text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum TargetError {
    #[error("the target is empty; give a URL, host:port, or host")]
    Empty,
    #[error("unknown scheme {0:?}; known: https http tcp tls udp icmp dns")]
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
        let path = match (scheme.uses_http(), path) {
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
    Scheme::ALL
        .into_iter()
        .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| TargetError::UnknownScheme(name.chars().take(32).collect()))
}

/// The protocol behind a bare `host:port`; a bare host is https.
const fn scheme_for_port(port: Option<u16>) -> Scheme {
    match port {
        None | Some(443 | 8443) => Scheme::Https,
        Some(80 | 8080 | 8000) => Scheme::Http,
        Some(53) => Scheme::Dns,
        Some(_) => Scheme::Tcp,
    }
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
        check("db.test:5432", (Scheme::Tcp, "db.test", 5432, ""));
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
