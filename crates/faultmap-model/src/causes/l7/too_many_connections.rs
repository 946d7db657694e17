//! The service has no slot left for one more connection.

use super::clients::with_clients;
use super::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Spoken;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.too-many-connections`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.too-many-connections",
    layer: Layer::L7,
    title: "the service has no connection slot left",
    what: "The service accepts the connection and says that it has no room for it: the clients' pools together are larger than its limit, one client leaks \
           connections, sessions hang idle in transactions, or a limit per user or per address is met.",
    shows: "Its own code: PostgreSQL 53300, MySQL 1040, 1203 and 1226, Redis \"max number of clients reached\", SMTP 421 \"too many connections\", SSH \"Exceeded MaxStartups\". \
            A full listen queue stays silent instead, and a broken file-descriptor limit shows at the client.",
    confirm: &[Tool {
        run: "ss -tn state established 'sport = :{port}' | awk 'NR>1 {print $4}' | sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | head",
        on: "{ip}",
        why: "which client holds how many connections",
    }],
    fix: &[
        "Find the client that holds most, and close or bound its pool; the sum of all pools must stay below the limit.",
        "Put a pooler before the database (PgBouncer, ProxySQL), or end idle sessions by a timeout.",
        "Raise the limit if memory and file descriptors allow it.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::Full)?;
    let (count, limit) = match refusal.dialogue.protocol {
        Spoken::Postgres => (
            "psql -c \"SELECT usename, client_addr, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC\"",
            "max_connections (and superuser_reserved_connections, by which an administrator still gets in), or the role's CONNECTION LIMIT",
        ),
        Spoken::Mysql => ("mysql -e 'SHOW PROCESSLIST'", "max_connections, or the account's MAX_USER_CONNECTIONS"),
        Spoken::Redis => ("redis-cli CLIENT LIST", "maxclients (and the limit of open files)"),
        Spoken::Smtp => {
            ("postconf default_process_limit smtpd_client_connection_count_limit", "the limit of sessions, in all or for one client")
        }
        Spoken::Ssh => {
            ("sshd -T | grep -i -e maxstartups -e persource", "MaxStartups: logins that are not finished yet, often a scan from outside")
        }
        Spoken::Amqp => {
            ("rabbitmqctl list_connections user peer_host state", "the limit of connections of the node, the virtual host or the user")
        }
        _ => ("ss -tn", "its limit of connections"),
    };
    let summary = format!("{} has no slot left for a connection: {}.", refusal.who(), refusal.words());
    let to = refusal.dialogue.to;
    let claim = Claim::proven(0.97, Where::Remote, to.to_string(), summary).citing([refusal.id]).despite_answers();
    let claim = claim.decided_by(count, to.ip().to_string(), "who holds the slots").advising(format!("The limit that is met is {limit}."));
    Some(with_clients(claim, ev, "the same question by hand"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, refusing};

    #[test]
    fn a_full_service_says_so() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test/shop", "53300", "sorry, too many clients already")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test", "1040", "Too many connections")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "ERR", "max number of clients reached")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("ssh://db.test", "MaxStartups", "Exceeded MaxStartups")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "ERR", "unknown command")), None);
    }
}
