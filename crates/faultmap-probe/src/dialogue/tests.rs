//! Servers' words, as each protocol's conversation understands them.

use super::{Credentials, rehearse};
use faultmap_model::observation::{DialogueOutcome as O, Spoken};
use proptest::prelude::*;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

fn login() -> Credentials {
    Credentials { user: "app".to_owned(), password: Some("pa55word".to_owned()) }
}

fn said(protocol: Spoken, bytes: &[u8], credentials: Option<&Credentials>, path: &str) -> O {
    wait(rehearse(protocol, bytes, credentials, path)).expect("a dialogue").outcome
}

fn refused(code: &str, message: &str) -> O {
    O::Refused { code: code.to_owned(), message: message.to_owned() }
}

fn foreign(looks_like: &str, first_bytes: &str) -> O {
    O::Foreign { looks_like: Some(looks_like.to_owned()), first_bytes: first_bytes.to_owned() }
}

fn pg(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn pg_error(code: &str, message: &str) -> Vec<u8> {
    pg(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0").as_bytes())
}

#[test]
fn postgres_says_by_sqlstate_why_it_refuses() {
    let check = |parts: &[&[u8]], credentials: Option<&Credentials>, path: &str, expect: O| {
        assert_eq!(said(Spoken::Postgres, &parts.concat(), credentials, path), expect);
    };
    let ready =
        [pg(b'R', &[0; 4]), pg(b'S', b"in_hot_standby\0on\0"), pg(b'S', b"default_transaction_read_only\0off\0"), pg(b'Z', b"I")].concat();
    check(&[b"N", &ready], Some(&login()), "shop", O::Done { what: "logged in, database shop".to_owned() });
    let wrong = pg_error("28P01", "password authentication failed for user \"app\"");
    check(
        &[b"N", &pg(b'R', &3_u32.to_be_bytes()), &wrong],
        Some(&login()),
        "shop",
        refused("28P01", "password authentication failed for user \"app\""),
    );
    let wanted = |user_given| O::CredentialsWanted { method: "password".to_owned(), user_given };
    check(&[b"N", &pg(b'R', &3_u32.to_be_bytes())], None, "shop", wanted(false));
    let without = Credentials { user: "app".to_owned(), password: None };
    check(&[b"N", &pg(b'R', &3_u32.to_be_bytes())], Some(&without), "shop", wanted(true));
    let nobody = O::CredentialsWanted { method: "a user and a database that it knows".to_owned(), user_given: false };
    check(&[b"N", &pg_error("28000", "role \"faultmap\" does not exist")], None, "shop", nobody);
    check(
        &[b"N", &pg_error("57P03", "the database system is starting up")],
        None,
        "",
        refused("57P03", "the database system is starting up"),
    );
    check(&[b"N"], None, "?sslmode=require", O::TlsNotOffered);
    let standby = "the session is read-only: the server is a hot standby, and a writable session was asked for";
    check(&[b"N", &ready], Some(&login()), "shop?target_session_attrs=read-write", refused("25006", standby));
    check(&[&pg_error("53300", "sorry, too many clients already")], None, "", refused("53300", "sorry, too many clients already"));
}

#[test]
fn a_database_that_is_only_the_users_name_may_be_missing() {
    let missing = [&b"N"[..], &pg(b'R', &[0; 4]), &pg_error("3D000", "database \"app\" does not exist")].concat();
    let done = O::Done { what: "logged in; no database is named, and there is none called app".to_owned() };
    assert_eq!(said(Spoken::Postgres, &missing, Some(&login()), ""), done);
    assert_eq!(said(Spoken::Postgres, &missing, Some(&login()), "app"), refused("3D000", "database \"app\" does not exist"));
}

fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = u32::try_from(body.len()).expect("short").to_le_bytes();
    [&[a, b, c, sequence][..], body].concat()
}

fn mysql_greeting() -> Vec<u8> {
    let parts: [&[u8]; 9] = [
        b"\x0a8.0.39\0",
        &7_u32.to_le_bytes(),
        b"abcdefgh\0",
        &[0x09, 0x82, 0x21, 2, 0, 8, 0, 21],
        &[0; 10],
        b"ijklmnopqrst\0",
        b"caching_sha2_password\0",
        &[],
        &[],
    ];
    packet(0, &parts.concat())
}

#[test]
fn mysql_refuses_before_the_greeting_or_after_the_login() {
    let check = |parts: &[&[u8]], credentials: Option<&Credentials>, path: &str, expect: O| {
        assert_eq!(said(Spoken::Mysql, &parts.concat(), credentials, path), expect);
    };
    check(&[&packet(0, b"\xff\x10\x04Too many connections")], None, "", refused("1040", "Too many connections"));
    let denied = packet(2, b"\xff\x15\x04#28000Access denied for user 'app'");
    check(&[&mysql_greeting(), &denied], Some(&login()), "", refused("1045", "Access denied for user 'app'"));
    let wanted = O::CredentialsWanted { method: "caching_sha2_password".to_owned(), user_given: false };
    check(&[&mysql_greeting(), &denied], None, "", wanted);
    let ok = [0, 0, 0, 2, 0, 0, 0];
    let fast = [packet(2, &[1, 3]), packet(3, &ok), packet(1, &ok)].concat();
    check(&[&mysql_greeting(), &fast], Some(&login()), "shop", O::Done { what: "logged in, database shop".to_owned() });
    let full = O::LoginUnsupported { method: "caching_sha2_password, which wants TLS for a first login".to_owned() };
    check(&[&mysql_greeting(), &packet(2, &[1, 4])], Some(&login()), "shop", full);
    let ed25519 = packet(2, b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyz012345");
    check(&[&mysql_greeting(), &ed25519], Some(&login()), "", O::LoginUnsupported { method: "client_ed25519".to_owned() });
    check(&[&mysql_greeting()], None, "?ssl-mode=REQUIRED", O::TlsNotOffered);
}

#[test]
fn redis_answers_in_lines() {
    let check = |bytes: &str, credentials: Option<&Credentials>, expect: O| {
        assert_eq!(said(Spoken::Redis, bytes.as_bytes(), credentials, ""), expect, "{bytes}");
    };
    check("+PONG\r\n", None, O::Done { what: "PONG".to_owned() });
    check("-NOAUTH Authentication required.\r\n", None, refused("NOAUTH", "Authentication required."));
    check("-WRONGPASS invalid username-password pair\r\n", Some(&login()), refused("WRONGPASS", "invalid username-password pair"));
    check("220 mail.lab ESMTP Postfix\r\n", None, foreign("smtp", "220 mail.lab ESMTP Postfix\\r\\n"));
    let told = wait(rehearse(
        Spoken::Redis,
        b"+PONG\r\n*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.1\r\n$4\r\nrole\r\n$7\r\nreplica\r\n",
        None,
        "",
    ));
    let told = told.expect("a dialogue");
    assert_eq!(told.server.as_deref(), Some("Redis 7.0.1"));
    assert_eq!(told.facts, vec![("role".to_owned(), "replica".to_owned())]);
}

#[test]
fn smtp_replies_by_code() {
    let check = |bytes: &str, credentials: Option<&Credentials>, expect: O| {
        assert_eq!(said(Spoken::Smtp, bytes.as_bytes(), credentials, ""), expect, "{bytes}");
    };
    let hello = "220 mail.lab ESMTP Postfix\r\n250-mail.lab\r\n250 SIZE 1000\r\n";
    check(hello, None, O::Done { what: "ready for mail".to_owned() });
    check(hello, Some(&login()), O::TlsNotOffered);
    check("554 5.7.1 You are blocked\r\n", None, refused("554", "5.7.1 You are blocked"));
    check("421 4.7.0 too many connections\r\n", None, refused("421", "4.7.0 too many connections"));
    check("220 (vsFTPd 3.0.3)\r\n", None, foreign("ftp", "220 (vsFTPd 3.0.3)\\r\\n"));
    check(
        "220 mail.lab ESMTP\r\n530 5.7.0 Must issue a STARTTLS command first\r\n",
        None,
        O::TlsWanted { message: "5.7.0 Must issue a STARTTLS command first".to_owned() },
    );
}

#[test]
fn ssh_shows_its_version_and_its_algorithms() {
    let list = |names: &str| [&u32::try_from(names.len()).expect("short").to_be_bytes()[..], names.as_bytes()].concat();
    let lists: Vec<u8> = ["curve25519-sha256", "ssh-ed25519", "aes256-ctr"].into_iter().flat_map(list).collect();
    let payload = [&[20][..], &[0; 16], &lists, &[0; 40]].concat();
    let length = u32::try_from(payload.len() + 5).expect("short").to_be_bytes();
    let packet = [&length[..], &[4], &payload, &[0; 4]].concat();
    let told =
        wait(rehearse(Spoken::Ssh, &[b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", packet.as_slice()].concat(), None, "")).expect("a dialogue");
    assert_eq!(told.server.as_deref(), Some("OpenSSH_9.2p1 Debian-2"));
    assert_eq!(told.outcome, O::Done { what: "offers a key exchange; no login was tried".to_owned() });
    assert_eq!(told.facts.first(), Some(&("kex".to_owned(), "curve25519-sha256".to_owned())));
    assert_eq!(said(Spoken::Ssh, b"Exceeded MaxStartups\r\n", None, ""), refused("MaxStartups", "Exceeded MaxStartups"));
    assert_eq!(said(Spoken::Ssh, b"HTTP/1.1 400 Bad Request\r\n\r\n", None, ""), foreign("http", "HTTP/1.1 400 Bad Request\\r\\n\\r\\n"));
}

#[test]
fn brokers_refuse_by_code() {
    let amqp = |method: u16, arguments: &[u8]| {
        let payload = [&[0, 10][..], &method.to_be_bytes(), arguments].concat();
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[1, 0, 0][..], &length, &payload, &[0xce]].concat()
    };
    let start =
        amqp(10, b"\x00\x09\x00\x00\x00\x15\x07productS\x00\x00\x00\x08RabbitMQ\x00\x00\x00\x0ePLAIN AMQPLAIN\x00\x00\x00\x05en_US");
    let denied = amqp(50, b"\x01\x93\x0eACCESS_REFUSED\x00\x0a\x00\x0b");
    assert_eq!(said(Spoken::Amqp, &[start.clone(), denied].concat(), Some(&login()), ""), refused("403", "ACCESS_REFUSED"));
    let wanted = O::CredentialsWanted { method: "plain amqplain".to_owned(), user_given: false };
    assert_eq!(said(Spoken::Amqp, &start, None, ""), wanted);
    let closed = O::Closed { received_bytes: u64::try_from(start.len()).expect("short") };
    assert_eq!(said(Spoken::Amqp, &start, Some(&login()), ""), closed);
    assert_eq!(said(Spoken::Amqp, b"AMQP\x00\x01\x00\x00", None, ""), O::LoginUnsupported { method: "AMQP 1.0, protocol id 0".to_owned() });

    assert_eq!(said(Spoken::Mqtt, &[0x20, 2, 0, 0, 0xd0, 0], Some(&login()), ""), O::Done { what: "logged in".to_owned() });
    assert_eq!(said(Spoken::Mqtt, &[0x20, 2, 0, 5], Some(&login()), ""), refused("5", "not authorized"));
    let wanted = O::CredentialsWanted { method: "user name and password".to_owned(), user_given: false };
    assert_eq!(said(Spoken::Mqtt, &[0x20, 2, 0, 5], None, ""), wanted);
    assert_eq!(said(Spoken::Mqtt, &[0x20, 2, 0, 3], None, ""), refused("3", "server unavailable"));
}

#[test]
fn each_protocol_knows_the_greeting_of_another() {
    let greetings: [(&str, &[u8]); 4] = [
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("tls", b"\x15\x03\x01\x00\x02\x02\x46"),
        ("redis", b"-ERR unknown command\r\n"),
    ];
    for protocol in [Spoken::Postgres, Spoken::Mysql, Spoken::Redis, Spoken::Smtp, Spoken::Ssh, Spoken::Amqp, Spoken::Mqtt] {
        for (name, bytes) in greetings {
            let own = format!("{protocol:?}").to_lowercase() == name;
            let O::Foreign { looks_like, .. } = said(protocol, bytes, None, "") else {
                assert!(own, "{protocol:?} takes {name} for its own");
                continue;
            };
            assert_eq!(looks_like.as_deref(), Some(name), "{protocol:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_server_makes_a_conversation_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), greeted in any::<bool>()) {
        for protocol in [Spoken::Postgres, Spoken::Mysql, Spoken::Redis, Spoken::Smtp, Spoken::Ssh, Spoken::Amqp, Spoken::Mqtt] {
            let start: &[u8] = match protocol {
                _ if !greeted => b"",
                Spoken::Postgres => b"N",
                Spoken::Smtp => b"220 x ESMTP\r\n",
                Spoken::Ssh => b"SSH-2.0-x\r\n",
                Spoken::Redis => b"+PONG\r\n",
                _ => b"",
            };
            let told = wait(rehearse(protocol, &[start, &bytes].concat(), Some(&login()), "shop"));
            if let Some(told) = told {
                let shown = format!("{told:?}");
                prop_assert!(!shown.contains("pa55word"));
            }
        }
    }
}
