//! A forward proxy as companies run it: HTTP (CONNECT and whole URLs, RFC 9110 and 9112) or SOCKS5 (RFC 1928, 1929), with a list of hosts
//! that it refuses, a login, and a resolver of its own. It never looks into a tunnel.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    io::{BoxStream, HOLD, drain},
    pki::base64,
    stats::Counters,
};

/// A request's head is read no further than this.
const MAX_HEAD: usize = 16 * 1024;

/// A forward proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ForwardProxy {
    /// What it speaks.
    #[serde(default)]
    pub speaks: ProxySpeaks,
    /// The names that it can resolve, with their addresses.
    #[serde(default)]
    pub names: BTreeMap<String, IpAddr>,
    /// `user:password` that it wants; absent: none.
    #[serde(default)]
    pub login: Option<String>,
    /// Hosts that it refuses.
    #[serde(default)]
    pub deny: Vec<String>,
    /// It reads every request and answers none.
    #[serde(default)]
    pub mute: bool,
    /// Milliseconds after which it gives up a destination that stays silent.
    #[serde(default = "patience")]
    pub connect_timeout_ms: u64,
    /// Say why in the header of squid; otherwise an answer has its status alone.
    #[serde(default)]
    pub explains: bool,
}

/// The protocol of a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxySpeaks {
    /// HTTP/1.1.
    #[default]
    Http,
    /// SOCKS5.
    Socks5,
}

fn patience() -> u64 {
    60_000
}

/// Why a proxy gives no way.
#[derive(Debug, Clone, Copy)]
enum No {
    Login,
    Denied,
    UnknownName,
    Refused,
    Unreachable,
    Silent,
}

/// Serves one connection to its end.
pub(super) async fn serve(io: &mut BoxStream, proxy: &ForwardProxy, counters: &Counters) {
    if proxy.mute {
        counters.bite("proxy-mute");
        return drain(io, HOLD).await;
    }
    let _ = match proxy.speaks {
        ProxySpeaks::Http => http(io, proxy, counters).await,
        ProxySpeaks::Socks5 => socks(io, proxy, counters).await,
    };
    let _ = io.shutdown().await;
    drain(io, Duration::from_secs(1)).await;
}

/// A connection to the destination, or why not.
async fn reach(proxy: &ForwardProxy, host: &str, port: u16) -> Result<TcpStream, No> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if proxy.deny.iter().any(|denied| denied.eq_ignore_ascii_case(host)) {
        return Err(No::Denied);
    }
    let addr = proxy.names.get(host).copied().or_else(|| host.parse().ok()).ok_or(No::UnknownName)?;
    match timeout(Duration::from_millis(proxy.connect_timeout_ms), TcpStream::connect((addr, port))).await {
        Err(_) => Err(No::Silent),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(No::Refused),
        Ok(Err(_)) => Err(No::Unreachable),
    }
}

async fn http(io: &mut BoxStream, proxy: &ForwardProxy, counters: &Counters) -> std::io::Result<()> {
    let Some(head) = head(io).await? else { return Ok(()) };
    Counters::add(&counters.requests, 1);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fields: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if let Some(login) = &proxy.login {
        let wanted = format!("proxy-authorization: basic {}", base64(login.as_bytes())).to_lowercase();
        if !fields.iter().any(|field| field.to_lowercase() == wanted) {
            return refuse(io, proxy, No::Login, counters).await;
        }
    }
    let whole = uri.strip_prefix("http://").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let (authority, path) = match (method, whole) {
        ("CONNECT", _) => (uri, None),
        (_, Some((authority, path))) => (authority, Some(if path.is_empty() { "/" } else { path })),
        _ => return answer(io, "400 Bad Request", "", counters).await,
    };
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, port.parse().unwrap_or(0)),
        None => (authority, 80),
    };
    let mut far = match reach(proxy, host, port).await {
        Ok(far) => far,
        Err(no) => return refuse(io, proxy, no, counters).await,
    };
    match path {
        None => io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Some(path) => {
            let ours =
                |field: &&&str| !field.to_ascii_lowercase().starts_with("proxy-") && !field.to_ascii_lowercase().starts_with("connection:");
            let kept: Vec<&str> = fields.iter().filter(ours).copied().collect();
            far.write_all(
                format!("{method} {path} HTTP/1.1\r\n{}\r\nVia: 1.1 proxy.lab\r\nConnection: close\r\n\r\n", kept.join("\r\n")).as_bytes(),
            )
            .await?;
        }
    }
    io.flush().await?;
    Counters::add(&counters.answered, 1);
    let _ = copy_bidirectional(io, &mut far).await;
    Ok(())
}

async fn refuse(io: &mut BoxStream, proxy: &ForwardProxy, no: No, counters: &Counters) -> std::io::Result<()> {
    let (status, why) = match no {
        No::Login => ("407 Proxy Authentication Required", "ERR_CACHE_ACCESS_DENIED 0"),
        No::Denied => ("403 Forbidden", "ERR_ACCESS_DENIED 0"),
        No::UnknownName => ("503 Service Unavailable", "ERR_DNS_FAIL 0"),
        No::Refused => ("503 Service Unavailable", "ERR_CONNECT_FAIL 111"),
        No::Unreachable => ("503 Service Unavailable", "ERR_CONNECT_FAIL 113"),
        No::Silent => ("504 Gateway Timeout", "ERR_CONNECT_FAIL 110"),
    };
    counters.bite("proxy-refused");
    let challenge = if matches!(no, No::Login) { "Proxy-Authenticate: Basic realm=\"proxy.lab\"\r\n" } else { "" };
    let said = if proxy.explains { format!("X-Squid-Error: {why}\r\n{challenge}") } else { challenge.to_owned() };
    answer(io, status, &said, counters).await
}

async fn answer(io: &mut BoxStream, status: &str, fields: &str, counters: &Counters) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nServer: proxy.lab\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n");
    io.write_all(head.as_bytes()).await?;
    Counters::add(&counters.answered, 1);
    io.flush().await
}

/// The head, byte by byte: what follows belongs to the tunnel.
async fn head(io: &mut BoxStream) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_HEAD && !bytes.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Ok(None),
        }
    }
    Ok(String::from_utf8(bytes).ok())
}

async fn socks(io: &mut BoxStream, proxy: &ForwardProxy, counters: &Counters) -> std::io::Result<()> {
    let (_version, count) = (io.read_u8().await?, io.read_u8().await?);
    let mut methods = vec![0; usize::from(count)];
    io.read_exact(&mut methods).await?;
    let method = if proxy.login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        counters.bite("proxy-refused");
        return io.write_all(&[5, 0xff]).await;
    }
    io.write_all(&[5, method]).await?;
    io.flush().await?;
    if let Some(login) = &proxy.login {
        io.read_u8().await?;
        let (user, password) = (text(io).await?, text(io).await?);
        let good = *login == format!("{user}:{password}");
        io.write_all(&[1, u8::from(!good)]).await?;
        io.flush().await?;
        if !good {
            counters.bite("proxy-refused");
            return Ok(());
        }
    }
    let mut request = [0; 4];
    io.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => IpAddr::from(io.read_u32().await?.to_be_bytes()).to_string(),
        4 => IpAddr::from(io.read_u128().await?.to_be_bytes()).to_string(),
        _ => text(io).await?,
    };
    let port = io.read_u16().await?;
    Counters::add(&counters.requests, 1);
    let reached = reach(proxy, &host, port).await;
    let code = match &reached {
        Ok(_) => 0,
        Err(No::Denied | No::Login) => 2,
        Err(No::UnknownName | No::Unreachable) => 4,
        Err(No::Refused) => 5,
        Err(No::Silent) => 6,
    };
    io.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    io.flush().await?;
    Counters::add(&counters.answered, 1);
    match reached {
        Ok(mut far) => {
            let _ = copy_bidirectional(io, &mut far).await;
        }
        Err(_) => {
            counters.bite("proxy-refused");
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// A byte of length, and so much text.
async fn text(io: &mut BoxStream) -> std::io::Result<String> {
    let mut bytes = vec![0; usize::from(io.read_u8().await?)];
    io.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
