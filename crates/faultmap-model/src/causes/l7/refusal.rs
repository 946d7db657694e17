//! What a service means by its refusal: SQLSTATE, error number, code or words of each protocol, sorted into the causes that have a page. It
//! claims nothing.

use crate::observation::{Dialogue, DialogueOutcome, Spoken};
use crate::{Evidence, ObservationId};

/// The meaning of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::causes) enum Meaning {
    /// Who asks, from where, or with which password, is not welcome.
    Login,
    /// There is no such database, virtual host or the like.
    Database,
    /// No slot for one more connection.
    Full,
    /// Not ready yet, or no more.
    Starting,
    /// Only reading is possible.
    ReadOnly,
    /// A certificate of the client is missing.
    ClientCertificate,
    /// Anything else.
    Other,
}

/// A refusal of the user's conversation.
pub(in crate::causes) struct Refusal<'a> {
    pub(in crate::causes) id: ObservationId,
    pub(in crate::causes) dialogue: &'a Dialogue,
    pub(in crate::causes) code: &'a str,
    pub(in crate::causes) message: &'a str,
    pub(in crate::causes) meaning: Meaning,
}

impl Refusal<'_> {
    /// `PostgreSQL at 10.2.0.10:5432`
    pub(in crate::causes) fn who(&self) -> String {
        format!("{} at {}", self.dialogue.protocol.title(), self.dialogue.to)
    }

    /// Its own words and its code: `"password authentication failed" (28P01)`
    pub(in crate::causes) fn words(&self) -> String {
        if self.message.is_empty() { self.code.to_owned() } else { format!("{:?} ({})", self.message, self.code) }
    }

    /// Its message holds one of these, in whatever case.
    pub(in crate::causes) fn says(&self, any: &[&str]) -> bool {
        says(self.message, any)
    }
}

/// The refusal, when the user's conversation ended in one. (gRPC and WebSocket refuse in codes of their own.)
pub(in crate::causes) fn refusal<'a>(ev: &Evidence<'a>) -> Option<Refusal<'a>> {
    let (id, dialogue) = ev.dialogue()?;
    let DialogueOutcome::Refused { code, message } = &dialogue.outcome else { return None };
    let meaning = meaning(dialogue.protocol, code, message)?;
    Some(Refusal { id, dialogue, code, message, meaning })
}

/// The refusal, when it means this.
pub(in crate::causes) fn meant<'a>(ev: &Evidence<'a>, meaning: Meaning) -> Option<Refusal<'a>> {
    refusal(ev).filter(|refusal| refusal.meaning == meaning)
}

/// The cause that a service's own code and words stand for, for who reads them off the wire; `None` where they have no cause of their own.
#[must_use]
pub fn cause_of_refusal(protocol: Spoken, code: &str, message: &str) -> Option<&'static str> {
    Some(match meaning(protocol, code, message)? {
        Meaning::Login => "l7.auth-failed",
        Meaning::Database => "l7.database-missing",
        Meaning::Full => "l7.too-many-connections",
        Meaning::Starting => "l7.service-starting",
        Meaning::ReadOnly => "l7.service-read-only",
        Meaning::ClientCertificate => "l6.client-cert-required",
        Meaning::Other => return None,
    })
}

fn meaning(protocol: Spoken, code: &str, message: &str) -> Option<Meaning> {
    Some(match protocol {
        Spoken::Grpc | Spoken::Websocket => return None,
        Spoken::Postgres => postgres(code, message),
        Spoken::Mysql => mysql(code),
        Spoken::Redis => redis(code, message),
        Spoken::Smtp => smtp(code, message),
        Spoken::Ssh => ssh(code),
        Spoken::Amqp => amqp(code, message),
        Spoken::Mqtt => mqtt(code),
    })
}

/// SQLSTATE (PostgreSQL manual, appendix A). Poolers say much by 08P01 and words.
fn postgres(code: &str, message: &str) -> Meaning {
    match code {
        "28000" if says(message, &["client certificate"]) => Meaning::ClientCertificate,
        "28P01" | "28000" | "42501" => Meaning::Login,
        "3D000" => Meaning::Database,
        "53300" => Meaning::Full,
        "57P01" | "57P02" | "57P03" => Meaning::Starting,
        "25006" => Meaning::ReadOnly,
        _ if says(message, &["no such database", "no such user"]) => {
            if says(message, &["no such user"]) {
                Meaning::Login
            } else {
                Meaning::Database
            }
        }
        // PgBouncer's own words, all under 08P01.
        _ if says(message, &["password authentication failed", "sasl authentication failed"]) => Meaning::Login,
        _ if says(message, &["no more connections allowed", "too many connections", "too many clients"]) => Meaning::Full,
        _ => Meaning::Other,
    }
}

/// Server error numbers (MySQL and MariaDB manuals).
fn mysql(code: &str) -> Meaning {
    match code {
        // access denied; to a database; host not allowed; socket users; locked; expired; wrong method
        "1045" | "1044" | "1130" | "1698" | "3118" | "4151" | "1820" | "1862" | "1251" | "1142" | "3955" => Meaning::Login,
        "1049" => Meaning::Database,
        // all; of this user, by grant or by variable
        "1040" | "1203" | "1226" => Meaning::Full,
        // shutting down; offline mode; not yet up (Group Replication, Galera)
        "1053" | "3032" | "3168" | "1047" => Meaning::Starting,
        "1290" | "1836" | "1792" => Meaning::ReadOnly,
        _ => Meaning::Other,
    }
}

/// The first word of the error; for `ERR`, the rest.
fn redis(code: &str, message: &str) -> Meaning {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Meaning::Login,
        "LOADING" | "MASTERDOWN" | "BUSY" => Meaning::Starting,
        "READONLY" | "MISCONF" | "NOREPLICAS" => Meaning::ReadOnly,
        "ERR" if says(message, &["max number of clients", "max clients"]) => Meaning::Full,
        "ERR"
            if says(
                message,
                &["without any password configured", "no password is set", "invalid password", "wrong number of arguments for 'auth'"],
            ) =>
        {
            Meaning::Login
        }
        "ERR" if says(message, &["db index", "select is not allowed"]) => Meaning::Database,
        _ => Meaning::Other,
    }
}

/// Reply codes (RFC 5321 4.2.3, RFC 4954 6) and words.
fn smtp(code: &str, message: &str) -> Meaning {
    match code {
        "535" | "534" | "530" | "525" => Meaning::Login,
        _ if says(message, &["too many connections", "too many concurrent", "connection limit", "too many smtp sessions"]) => Meaning::Full,
        _ => Meaning::Other,
    }
}

/// OpenSSH's words, or a reason of RFC 4253 11.1: 12 is "too many connections".
fn ssh(code: &str) -> Meaning {
    match code {
        "MaxStartups" | "12" => Meaning::Full,
        _ => Meaning::Other,
    }
}

/// Reply codes of AMQP 0-9-1, with RabbitMQ's words for 530 and 541.
fn amqp(code: &str, message: &str) -> Meaning {
    match code {
        _ if says(message, &["limit"]) && says(message, &["connection", "node", "user"]) => Meaning::Full,
        _ if says(message, &["is down", "shutdown"]) => Meaning::Starting,
        "403" => Meaning::Login,
        "530" if says(message, &["not found"]) => Meaning::Database,
        "530" if says(message, &["refused"]) => Meaning::Login,
        "402" => Meaning::Database,
        _ => Meaning::Other,
    }
}

/// CONNACK return codes (MQTT 3.1.1, table 3.1).
fn mqtt(code: &str) -> Meaning {
    match code {
        "4" | "5" => Meaning::Login,
        "3" => Meaning::Starting,
        _ => Meaning::Other,
    }
}

fn says(message: &str, any: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    any.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocols_codes_are_understood() {
        let cases = [
            (Spoken::Postgres, "28P01", "password authentication failed for user \"app\"", Meaning::Login),
            (
                Spoken::Postgres,
                "28000",
                "no pg_hba.conf entry for host \"10.1.0.2\", user \"app\", database \"shop\", no encryption",
                Meaning::Login,
            ),
            (Spoken::Postgres, "28000", "connection requires a valid client certificate", Meaning::ClientCertificate),
            (Spoken::Postgres, "08P01", "no such database: shop", Meaning::Database),
            (Spoken::Postgres, "08P01", "password authentication failed", Meaning::Login),
            (Spoken::Postgres, "08P01", "SASL authentication failed", Meaning::Login),
            (Spoken::Postgres, "08P01", "no more connections allowed (max_client_conn)", Meaning::Full),
            (Spoken::Postgres, "53300", "sorry, too many clients already", Meaning::Full),
            (Spoken::Postgres, "57P03", "the database system is starting up", Meaning::Starting),
            (Spoken::Postgres, "XX000", "out of cheese", Meaning::Other),
            (Spoken::Mysql, "1045", "Access denied", Meaning::Login),
            (Spoken::Mysql, "1129", "Host is blocked", Meaning::Other),
            (Spoken::Mysql, "1203", "User has already more than 'max_user_connections'", Meaning::Full),
            (Spoken::Redis, "ERR", "max number of clients reached", Meaning::Full),
            (Spoken::Redis, "ERR", "DB index is out of range", Meaning::Database),
            (Spoken::Redis, "ERR", "unknown command", Meaning::Other),
            (Spoken::Redis, "MISCONF", "Redis is configured to save RDB snapshots", Meaning::ReadOnly),
            (Spoken::Smtp, "421", "4.7.0 mail.lab Error: too many connections from 10.1.0.2", Meaning::Full),
            (Spoken::Smtp, "554", "5.7.1 blocked", Meaning::Other),
            (Spoken::Smtp, "535", "5.7.8 authentication failed", Meaning::Login),
            (Spoken::Ssh, "MaxStartups", "Exceeded MaxStartups", Meaning::Full),
            (Spoken::Amqp, "403", "ACCESS_REFUSED - Login was refused", Meaning::Login),
            (Spoken::Amqp, "530", "NOT_ALLOWED - vhost shop not found", Meaning::Database),
            (Spoken::Amqp, "530", "NOT_ALLOWED - access to vhost '/' refused for user 'app'", Meaning::Login),
            (
                Spoken::Amqp,
                "530",
                "NOT_ALLOWED - access to vhost '/' refused for user 'app': connection limit (1) is reached",
                Meaning::Full,
            ),
            (Spoken::Mqtt, "3", "server unavailable", Meaning::Starting),
            (Spoken::Mqtt, "2", "identifier rejected", Meaning::Other),
        ];
        for (protocol, code, message, expect) in cases {
            assert_eq!(meaning(protocol, code, message), Some(expect), "{protocol:?} {code} {message}");
        }
        assert_eq!(meaning(Spoken::Grpc, "14", ""), None);
        assert_eq!(cause_of_refusal(Spoken::Postgres, "3D000", ""), Some("l7.database-missing"));
        assert_eq!(cause_of_refusal(Spoken::Postgres, "42601", ""), None);
    }
}
