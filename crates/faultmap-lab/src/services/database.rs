//! The first messages of PostgreSQL and MySQL servers: enough for a client to log in or to be told why it may not. They
//! run no queries. (Redis speaks in lines; a TCP dialogue by rule is enough for it.)

use serde::{Deserialize, Serialize};
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};

use super::{io::BoxStream, stats::Counters, tcp::yes};

/// Largest message read from a client.
const MAX_MESSAGE: usize = 1024 * 1024;

/// A PostgreSQL server (protocol 3.0, "Frontend/Backend Protocol" in its manual).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Postgres {
    /// Ask for a password before anything is granted or refused.
    #[serde(default = "yes")]
    pub password: bool,
    /// Refuse the session so; absent: any password will do.
    #[serde(default)]
    pub reject: Option<PostgresError>,
    /// It is a hot standby: sessions only read.
    #[serde(default)]
    pub standby: bool,
}

/// An ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PostgresError {
    /// SQLSTATE: 28P01 invalid password, 28000 no pg_hba.conf entry, 3D000 no such database, 53300 too many connections,
    /// 57P03 starting up.
    pub code: String,
    /// The message.
    #[serde(default)]
    pub message: String,
}

/// A MySQL server (protocol 10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mysql {
    /// Refuse the session so; absent: any login will do.
    #[serde(default)]
    pub reject: Option<MysqlError>,
}

/// An ERR packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MysqlError {
    /// 1040 too many connections and 1129 host blocked come in place of the greeting; 1045 access denied, 1049 unknown
    /// database, 1290 read only come after the login.
    pub code: u16,
    /// SQLSTATE, five characters.
    #[serde(default = "general_error")]
    pub sqlstate: String,
    /// The message.
    #[serde(default)]
    pub message: String,
}

fn general_error() -> String {
    "HY000".to_owned()
}

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const PROTOCOL_3_0: u32 = 196_608;

/// Serves one PostgreSQL session to its end.
pub(crate) async fn postgres(io: &mut BoxStream, server: &Postgres, counters: &Counters) -> io::Result<()> {
    loop {
        let startup = pg_body(io).await?;
        match startup.first_chunk::<4>().map(|code| u32::from_be_bytes(*code)) {
            // "N": not willing; the client goes on in the clear.
            Some(SSL_REQUEST | GSS_REQUEST) => send(io, b"N").await?,
            Some(PROTOCOL_3_0) => break,
            _ => return send(io, &pg_error("08P01", "unsupported frontend protocol")).await,
        }
    }
    Counters::add(&counters.requests, 1);
    // Only credentials are judged after the password; a full or starting server refuses before it asks.
    let about_login = server.reject.as_ref().is_none_or(|e| e.code.starts_with("28P"));
    if server.password && about_login {
        send(io, &pg_message(b'R', &3_u32.to_be_bytes())).await?;
        io.read_u8().await?;
        pg_body(io).await?;
    }
    if let Some(error) = &server.reject {
        counters.bite(format!("postgres-{}", error.code));
        return send(io, &pg_error(&error.code, &error.message)).await;
    }
    let standby = if server.standby { "on" } else { "off" };
    if server.standby {
        counters.bite("postgres-standby");
    }
    let welcome = [
        pg_message(b'R', &0_u32.to_be_bytes()),
        pg_message(b'S', b"server_version\x0016.4\0"),
        pg_message(b'S', format!("in_hot_standby\0{standby}\0").as_bytes()),
        pg_message(b'S', b"default_transaction_read_only\0off\0"),
        pg_message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        pg_message(b'Z', b"I"),
    ];
    send(io, &welcome.concat()).await?;
    Counters::add(&counters.answered, 1);
    loop {
        let kind = io.read_u8().await?;
        pg_body(io).await?;
        match kind {
            b'X' => return Ok(()),
            // Any query is answered as the empty one.
            b'Q' | b'S' => send(io, &[pg_message(b'I', &[]), pg_message(b'Z', b"I")].concat()).await?,
            _ => {}
        }
    }
}

/// Length (which counts itself), then so many bytes.
async fn pg_body(io: &mut BoxStream) -> io::Result<Vec<u8>> {
    let len = (io.read_u32().await? as usize).checked_sub(4).filter(|len| *len <= MAX_MESSAGE);
    let mut body = vec![0; len.ok_or(io::ErrorKind::InvalidData)?];
    io.read_exact(&mut body).await?;
    Ok(body)
}

fn pg_message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind][..], &len, body].concat()
}

fn pg_error(code: &str, message: &str) -> Vec<u8> {
    pg_message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0").as_bytes())
}

/// Serves one MySQL session to its end.
pub(crate) async fn mysql(io: &mut BoxStream, server: &Mysql, counters: &Counters) -> io::Result<()> {
    let refusal = server.reject.as_ref();
    if let Some(error) = refusal.filter(|e| matches!(e.code, 1040 | 1129)) {
        counters.bite(format!("mysql-{}", error.code));
        // Before the greeting no capabilities are agreed, so there is no SQLSTATE.
        let body = [&[0xff][..], &error.code.to_le_bytes(), error.message.as_bytes()].concat();
        return send(io, &mysql_packet(0, &body)).await;
    }
    send(io, &mysql_packet(0, &mysql_greeting())).await?;
    let (sequence, _login) = mysql_read(io).await?;
    Counters::add(&counters.requests, 1);
    if let Some(error) = refusal {
        counters.bite(format!("mysql-{}", error.code));
        let state = format!("#{:.5}", error.sqlstate);
        let body = [&[0xff][..], &error.code.to_le_bytes(), state.as_bytes(), error.message.as_bytes()].concat();
        return send(io, &mysql_packet(sequence.wrapping_add(1), &body)).await;
    }
    send(io, &mysql_packet(sequence.wrapping_add(1), &MYSQL_OK)).await?;
    Counters::add(&counters.answered, 1);
    loop {
        let (sequence, command) = mysql_read(io).await?;
        // COM_QUIT
        if command.first() == Some(&1) {
            return Ok(());
        }
        send(io, &mysql_packet(sequence.wrapping_add(1), &MYSQL_OK)).await?;
    }
}

/// OK, no rows, no id, status "autocommit", no warnings.
const MYSQL_OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];

/// Handshake, version 10, with the authentication of MySQL 5.7 (mysql_native_password).
fn mysql_greeting() -> Vec<u8> {
    // CLIENT_PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, CONNECT_WITH_DB, LONG_PASSWORD; no CLIENT_SSL.
    let capabilities = 0x0008_8209_u32.to_le_bytes();
    let parts: [&[u8]; 11] = [
        b"\x0a8.0.39\0",
        &7_u32.to_le_bytes(),
        b"abcdefgh\0",
        &capabilities[..2],
        &[0x21],
        &[2, 0],
        &capabilities[2..],
        &[21],
        &[0; 10],
        b"ijklmnopqrst\0",
        b"mysql_native_password\0",
    ];
    parts.concat()
}

fn mysql_packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
    [&[a, b, c, sequence][..], body].concat()
}

async fn mysql_read(io: &mut BoxStream) -> io::Result<(u8, Vec<u8>)> {
    let header = io.read_u32_le().await?;
    let [a, b, c, sequence] = header.to_le_bytes();
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    if len > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; len];
    io.read_exact(&mut body).await?;
    Ok((sequence, body))
}

async fn send(io: &mut BoxStream, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}
