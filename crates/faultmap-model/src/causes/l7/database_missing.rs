//! The login is good, and what it asks for is not there: a database, a virtual host.

use super::clients::with_clients;
use super::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Spoken;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.database-missing`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.database-missing",
    layer: Layer::L7,
    title: "there is no such database",
    what: "The server is up and lets the user in, but the database (in RabbitMQ the virtual host, in Redis the number) that the URL names does not exist there: a \
           typing error, a restore that made the roles only, another environment's server, or a name in another case.",
    shows: "Its own code: PostgreSQL 3D000, MySQL 1049, Redis \"DB index is out of range\", RabbitMQ 530 \"vhost not found\". A missing right to use it has another code.",
    confirm: &[Tool { run: "compare the name in the URL with the list on the server", on: "{host}", why: "names are case-sensitive" }],
    fix: &["Correct the name in the client's URL.", "Create or restore it on the server, and see that this is the right server."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::Database)?;
    let (list, what) = match refusal.dialogue.protocol {
        Spoken::Postgres => ("psql -l", "database"),
        Spoken::Mysql => ("mysql -e 'SHOW DATABASES'", "database"),
        Spoken::Redis => ("redis-cli CONFIG GET databases", "database of that number"),
        Spoken::Amqp => ("rabbitmqctl list_vhosts", "virtual host"),
        _ => ("the server's own list", "database"),
    };
    let summary = format!("{} has no such {what}: {}.", refusal.who(), refusal.words());
    let to = refusal.dialogue.to;
    let claim = Claim::proven(0.97, Where::Remote, to.to_string(), summary).citing([refusal.id]).despite_answers();
    Some(with_clients(claim.decided_by(list, to.ip().to_string(), "what there is"), ev, "the same question by hand"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, refusing};

    #[test]
    fn a_database_that_is_not_there_is_named_by_its_code() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test/shop", "3D000", "database \"shop\" does not exist")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test/shop", "1049", "Unknown database 'shop'")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("amqp://mq.test/shop", "530", "NOT_ALLOWED - vhost shop not found")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test/shop", "1044", "Access denied to database")), None);
    }
}
