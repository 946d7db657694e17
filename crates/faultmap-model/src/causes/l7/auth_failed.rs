//! The service lives and refuses who asks: the password, the user, or the address that it asks from.

use super::clients::with_clients;
use super::refusal::{Meaning, Refusal, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, Spoken};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.auth-failed`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.auth-failed",
    layer: Layer::L7,
    title: "the service refuses the login",
    what: "The service is up and answers in its own protocol, and refuses who asks: the password is wrong or was rotated, the user does not exist or may not \
           come from this address, or a password is demanded and none was given. Ping and connect checks are green all the while.",
    shows: "Its own code: PostgreSQL 28P01 and 28000, MySQL 1045 and 1130, Redis NOAUTH, WRONGPASS and DENIED, SMTP 535, AMQP 403, MQTT 4 and 5. A server that asks \
            for a login where no user is named is well; Redis that refuses the PING itself is not.",
    confirm: &[Tool {
        run: "compare the secret that the deployment has with the one that the server has",
        on: "here and on {host}",
        why: "a rotated password often reaches only one of them",
    }],
    fix: &[
        "Give the client the password that the server has, or set the user's password anew.",
        "Let the user in from this address: pg_hba.conf in PostgreSQL, 'user'@'host' in MySQL, ACL or bind in Redis.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let claim = refused(ev).or_else(|| no_password(ev)).or_else(|| closed_at_login(ev))?;
    Some(with_clients(claim.despite_answers(), ev, "the same login by hand, with the password typed in"))
}

fn refused(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::Login)?;
    let what = match (refusal.dialogue.protocol, refusal.code) {
        (Spoken::Redis, "NOAUTH") => "wants a password, and got none",
        (Spoken::Redis, "NOPERM") => "does not allow this user what was asked",
        (Spoken::Redis, "DENIED") | (Spoken::Mysql, "1130") => "refuses this client's address",
        _ if refusal.says(&["pg_hba.conf"]) => "has no rule that lets this client in",
        _ => "refuses the login",
    };
    let summary = format!("{} {what}: {}.", refusal.who(), refusal.words());
    let claim = Claim::proven(0.97, Where::Remote, refusal.dialogue.to.to_string(), summary).citing([refusal.id]);
    Some(match advice(&refusal) {
        Some(advice) => claim.advising(advice),
        None => claim,
    })
}

/// What mends this very refusal.
fn advice(refusal: &Refusal<'_>) -> Option<&'static str> {
    Some(match (refusal.dialogue.protocol, refusal.code) {
        (Spoken::Postgres, _) if refusal.says(&["pg_hba.conf"]) && refusal.says(&["no encryption", "ssl off"]) => {
            "The connection was not encrypted, and rules of the kind hostssl let in only what is: use sslmode=require, or switch ssl on at the server; else \
             add a line for this address, user and database to pg_hba.conf, and reload (SELECT pg_reload_conf())."
        }
        (Spoken::Postgres, _) if refusal.says(&["pg_hba.conf"]) => {
            "Add a line for this address, user and database to pg_hba.conf (SHOW hba_file), and reload with SELECT pg_reload_conf()."
        }
        (Spoken::Postgres, _) if refusal.says(&["does not exist"]) => "Create the role: CREATE ROLE name LOGIN PASSWORD '...'.",
        (Spoken::Postgres, _) if refusal.says(&["not permitted to log in"]) => "Let the role log in: ALTER ROLE name LOGIN.",
        (Spoken::Postgres, "28P01") => "Set the role's password: ALTER ROLE name PASSWORD '...'; or correct it in the client's secret.",
        (Spoken::Postgres, "42501") => "Let the role connect: GRANT CONNECT ON DATABASE name TO role.",
        (Spoken::Mysql, "1130") => {
            "Create the user for this address: CREATE USER 'name'@'10.1.%' IDENTIFIED BY '...'; 'name'@'localhost' does not count from afar."
        }
        (Spoken::Mysql, "1045") if refusal.dialogue.fact("tls") == Some("no") => {
            "An account with REQUIRE SSL, or a server with require_secure_transport, refuses a login in plain text with these words too: use TLS. Otherwise ALTER USER sets the \
             password; SELECT user, host, plugin FROM mysql.user shows which account meets this client."
        }
        (Spoken::Mysql, "1045") => {
            "MySQL picks the account by user and by host: SELECT user, host, plugin FROM mysql.user shows which one meets this client; ALTER USER sets its password."
        }
        (Spoken::Mysql, "1044") => "Let the user into the database: GRANT ... ON name.* TO 'user'@'host'.",
        (Spoken::Redis, "NOAUTH") => {
            "Put the password into the client's URL (redis://:PASSWORD@host), or take requirepass away on the server."
        }
        (Spoken::Redis, "DENIED") => {
            "Protected mode admits only the server itself: set a password (requirepass) and bind, or protected-mode no."
        }
        (Spoken::Redis, "ERR") => {
            "The client sends a password, and the server has none: set requirepass, or take the password from the client."
        }
        (Spoken::Amqp, _) => {
            "RabbitMQ lets guest in from its own host only; list users and rights with rabbitmqctl list_users and list_permissions."
        }
        (Spoken::Mqtt, _) => "mosquitto: look at allow_anonymous, password_file and acl_file; mosquitto_passwd sets a password.",
        _ => return None,
    })
}

/// A user was named, and no password.
fn no_password(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    let DialogueOutcome::CredentialsWanted { method, user_given: true } = &dialogue.outcome else { return None };
    let summary =
        format!("{} at {} demands a password ({method}), and no password was given with the user.", dialogue.protocol.title(), dialogue.to);
    let claim = Claim::proven(0.95, Where::Local, "the client's configuration", summary).citing([id]);
    Some(claim.advising("Give the password with the user: scheme://user:PASSWORD@host, or in the environment variable FAULTMAP_PASSWORD."))
}

/// Old AMQP brokers, and those whose client does not say that it understands better, close without a word when the login is wrong.
fn closed_at_login(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    if !silent_refusal(ev) {
        return None;
    }
    let summary =
        format!("AMQP at {} closes the connection at the login, without a word, as older brokers do when the login is wrong.", dialogue.to);
    Some(Claim::proven(0.85, Where::Remote, dialogue.to.to_string(), summary).citing([id]))
}

/// The close without a word is the broker's way to refuse the login.
pub(in crate::causes) fn silent_refusal(ev: &Evidence<'_>) -> bool {
    ev.dialogue().is_some_and(|(_, dialogue)| {
        let closed =
            matches!(dialogue.outcome, DialogueOutcome::Closed { received_bytes: 1.. } | DialogueOutcome::Reset { received_bytes: 1.. });
        dialogue.protocol == Spoken::Amqp && closed && dialogue.ended_at() == "authentication"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, refusing, spoken};

    #[test]
    fn a_refused_login_is_proven_by_the_servers_own_code() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test/shop", "28P01", "password authentication failed")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test/shop", "1045", "Access denied")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "NOAUTH", "Authentication required.")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test/shop", "3D000", "database does not exist")), None);
    }

    #[test]
    fn a_server_that_asks_nobody_in_particular_for_a_login_is_well() {
        let wanted = |user_given| {
            spoken("postgres://db.test/shop", "startup", DialogueOutcome::CredentialsWanted { method: "md5".to_owned(), user_given })
        };
        assert_eq!(claims(&CAUSE, &wanted(false)), None);
        assert_eq!(claims(&CAUSE, &wanted(true)), Some((0.95, true)));
    }

    #[test]
    fn an_old_broker_refuses_by_closing() {
        let closed = |step| spoken("amqp://mq.test", step, DialogueOutcome::Closed { received_bytes: 400 });
        assert_eq!(claims(&CAUSE, &closed("authentication")), Some((0.85, true)));
        assert_eq!(claims(&CAUSE, &closed("open")), None);
    }
}
