//! The tools of each protocol: the client that asks the same question by hand, and where its server writes why it refused. It claims nothing.

use crate::Evidence;
use crate::causes::Claim;
use crate::observation::Spoken;

/// The commands for one target.
pub(in crate::causes) struct Clients {
    /// Asks what the check asked.
    pub(in crate::causes) ask: String,
    /// Shows the server's side of it.
    pub(in crate::causes) log: &'static str,
}

/// The commands for this target's protocol; `None` for HTTP and its kin, whose causes name their own.
pub(in crate::causes) fn of(ev: &Evidence<'_>) -> Option<Clients> {
    let target = ev.target();
    let (host, port) = (&target.host, target.port);
    let tls = target.scheme.uses_tls();
    let name = target.path.split('?').next().unwrap_or_default();
    let or = |default: &str| if name.is_empty() { default.to_owned() } else { name.to_owned() };
    Some(match target.scheme.dialogue()? {
        Spoken::Grpc | Spoken::Websocket => return None,
        Spoken::Postgres => Clients {
            ask: format!("psql -h {host} -p {port} -U USER -d {} -c 'SELECT 1'", or("DATABASE")),
            log: "journalctl -u postgresql --since -5min; tail -50 /var/log/postgresql/*.log",
        },
        Spoken::Mysql => Clients {
            ask: format!("mysql -h {host} -P {port} -u USER -p -e 'SELECT 1' {}", or("DATABASE")),
            log: "tail -50 /var/log/mysql/error.log; journalctl -u mysql -u mariadb --since -5min",
        },
        Spoken::Redis => Clients {
            ask: format!("redis-cli -h {host} -p {port}{} --askpass PING", if tls { " --tls" } else { "" }),
            log: "redis-cli INFO; tail -50 /var/log/redis/redis-server.log",
        },
        Spoken::Smtp if tls => Clients {
            ask: format!("openssl s_client -connect {host}:{port} -crlf -quiet"),
            log: "journalctl -u postfix -u exim4 --since -5min; tail -50 /var/log/mail.log",
        },
        Spoken::Smtp => Clients {
            ask: format!("openssl s_client -starttls smtp -connect {host}:{port} -crlf -quiet"),
            log: "journalctl -u postfix -u exim4 --since -5min; tail -50 /var/log/mail.log",
        },
        Spoken::Ssh => Clients { ask: format!("ssh -v -p {port} {host} exit"), log: "journalctl -u ssh -u sshd --since -5min" },
        Spoken::Amqp => Clients {
            ask: format!(
                "python3 -c \"import pika; pika.BlockingConnection(pika.URLParameters('{}://USER:PASSWORD@{host}:{port}/{}'))\"",
                target.scheme.name(),
                or("%2F")
            ),
            log: "rabbitmq-diagnostics status; tail -50 /var/log/rabbitmq/*.log",
        },
        Spoken::Mqtt => Clients {
            ask: format!(
                "mosquitto_sub -h {host} -p {port}{} -u USER -P PASSWORD -t '$SYS/broker/version' -C 1 -W 5 -d",
                if tls { " --tls-use-os-certs" } else { "" }
            ),
            log: "journalctl -u mosquitto --since -5min; tail -50 /var/log/mosquitto/mosquitto.log",
        },
    })
}

/// The claim, with the commands of the target's protocol before the cause's own.
pub(in crate::causes) fn with_clients(claim: Claim, ev: &Evidence<'_>, why: &str) -> Claim {
    let Some(clients) = of(ev) else { return claim };
    let at = ev.main_address().map_or_else(|| ev.target().host.clone(), |main| main.ip().to_string());
    claim.decided_by(clients.ask, "here", why).decided_by(clients.log, at, "what the server says of it on its own side")
}
