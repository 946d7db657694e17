//! Asks a proxy, on a fresh connection to it, for a way to the target: CONNECT, or SOCKS5. What is sent names the target and carries the
//! proxy's own credentials, nothing of the user's. Reads not one byte beyond the answer: what follows belongs to the target.

use super::{Proxy, read_connect_answer};
use crate::recorder::{ms, printable};
use crate::sock;
use crate::tls::{End, Tap, Traffic, looks_like};
use faultmap_model::observation::{ProxyProtocol, ProxyTunnel, TunnelOutcome};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, TargetAddr};

/// The longest head: squid and the appliances stay under 2 KiB.
const HEAD: usize = 16 * 1024;
/// Of a refusal's page, so much is read for its words, in so short a time.
const PAGE: usize = 8 * 1024;
const PAGE_WAIT: Duration = Duration::from_millis(200);

/// One request for a tunnel.
#[derive(Debug, Clone, Copy)]
pub struct TunnelAsk<'a> {
    /// The proxy, as connected.
    pub to: SocketAddr,
    /// The proxy.
    pub proxy: &'a Proxy,
    /// Name or address of the target, without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Bound of the whole.
    pub wait: Duration,
    /// Why this tunnel (see [`ProxyTunnel::purpose`]).
    pub purpose: &'a str,
}

impl TunnelAsk<'_> {
    fn destination(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Asks for the tunnel. The stream comes back exactly when it is open.
pub async fn tunnel(mut stream: TcpStream, ask: &TunnelAsk<'_>) -> (ProxyTunnel, Option<TcpStream>) {
    let outcome = negotiate(&mut stream, ask).await;
    let open = matches!(outcome, TunnelOutcome::Open { .. });
    let health = if open { None } else { sock::no_delay_dup(&stream).as_ref().and_then(sock::tcp_health) };
    let tunnel = ProxyTunnel { to: ask.to, destination: ask.destination(), purpose: ask.purpose.to_owned(), outcome, tcp: health };
    (tunnel, open.then_some(stream))
}

/// What the proxy says, on any stream.
pub(crate) async fn negotiate(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), ask: &TunnelAsk<'_>) -> TunnelOutcome {
    let (mut tap, seen) = Tap::new(stream);
    let started = Instant::now();
    let answered = match ask.proxy.protocol {
        ProxyProtocol::Http => tokio::time::timeout(ask.wait, connect(&mut tap, ask)).await,
        ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => tokio::time::timeout(ask.wait, socks(&mut tap, ask)).await,
    };
    let seen = seen.borrow();
    match answered {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => ended(&error, &seen),
        Err(_) => TunnelOutcome::Silent { waited_ms: ms(started.elapsed()), received_bytes: seen.received },
    }
}

/// Does an HTTP proxy answer at all? It must answer `OPTIONS *` with `Max-Forwards: 0` itself (RFC 9110 7.6.2), whatever it can reach.
pub async fn alive(mut stream: TcpStream, to: SocketAddr, wait: Duration) -> ProxyTunnel {
    let request = format!("OPTIONS * HTTP/1.1\r\nHost: {to}\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n");
    let started = Instant::now();
    let (mut tap, seen) = Tap::new(&mut stream);
    let answered = tokio::time::timeout(wait, async {
        tap.write_all(request.as_bytes()).await?;
        head(&mut tap).await
    });
    let answered = answered.await;
    let seen = seen.borrow();
    let outcome = match answered {
        Ok(Ok(bytes)) => match read_connect_answer(&bytes, false) {
            Some(TunnelOutcome::Foreign { looks_like, first_bytes }) => TunnelOutcome::Foreign { looks_like, first_bytes },
            Some(TunnelOutcome::Refused { code, .. }) => TunnelOutcome::Open { status: Some(code) },
            Some(TunnelOutcome::CredentialsWanted { .. }) => TunnelOutcome::Open { status: Some(407) },
            Some(other) => other,
            None => ended(&io::ErrorKind::UnexpectedEof.into(), &seen),
        },
        Ok(Err(error)) => ended(&error, &seen),
        Err(_) => TunnelOutcome::Silent { waited_ms: ms(started.elapsed()), received_bytes: seen.received },
    };
    ProxyTunnel { to, destination: "*".to_owned(), purpose: "alive".to_owned(), outcome, tcp: None }
}

async fn connect(stream: &mut Tap<impl AsyncRead + AsyncWrite + Unpin>, ask: &TunnelAsk<'_>) -> io::Result<TunnelOutcome> {
    let place = ask.destination();
    let agent = concat!("faultmap/", env!("CARGO_PKG_VERSION"));
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: {agent}\r\nProxy-Connection: Keep-Alive\r\n");
    if let Some(value) = ask.proxy.authorization() {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = head(stream).await?;
    let given = ask.proxy.credentials.is_some();
    match read_connect_answer(&bytes, given) {
        Some(open @ TunnelOutcome::Open { .. }) => Ok(open),
        Some(_) => {
            // A refusal: its page says why.
            let mut page = stream.take(PAGE as u64);
            let _ = tokio::time::timeout(PAGE_WAIT, page.read_to_end(&mut bytes)).await;
            Ok(read_connect_answer(&bytes, given).unwrap_or(TunnelOutcome::Closed { received_bytes: bytes.len() as u64 }))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads up to the empty line and no further, byte by byte: the next one may be the target's. Stops where it cannot be HTTP any more.
async fn head(stream: &mut Tap<impl AsyncRead + AsyncWrite + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256);
    while bytes.len() < HEAD {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            // What was said before the end is worth more than the end.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error),
        }
        let foreign = !b"HTTP/1.".starts_with(bytes.get(..7).unwrap_or(&bytes));
        if bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\n\n") {
            break;
        }
        if foreign {
            bytes.extend(more(stream).await);
            break;
        }
    }
    Ok(bytes)
}

/// A little more of what is not understood: it tells what speaks there.
async fn more(stream: &mut Tap<impl AsyncRead + AsyncWrite + Unpin>) -> Vec<u8> {
    let mut more = vec![0_u8; 64];
    let read = tokio::time::timeout(PAGE_WAIT, stream.read(&mut more)).await;
    more.truncate(read.map_or(0, |read| read.unwrap_or(0)));
    more
}

async fn socks(stream: &mut Tap<impl AsyncRead + AsyncWrite + Unpin>, ask: &TunnelAsk<'_>) -> io::Result<TunnelOutcome> {
    let target = match ask.host.parse() {
        Ok(ip) => TargetAddr::Ip(SocketAddr::new(ip, ask.port)),
        Err(_) => TargetAddr::Domain(ask.host.into(), ask.port),
    };
    let given = ask.proxy.credentials.as_ref();
    let answered = match given {
        Some(login) => {
            let password = login.password.as_deref().unwrap_or_default();
            Socks5Stream::connect_with_password_and_socket(&mut *stream, target, &login.user, password).await.map(|_| ())
        }
        None => Socks5Stream::connect_with_socket(&mut *stream, target).await.map(|_| ()),
    };
    match answered {
        Ok(()) => Ok(TunnelOutcome::Open { status: None }),
        Err(SocksError::Io(error)) => Err(error),
        Err(error) => match socks_outcome(&error, given.is_some()) {
            Some(outcome) => Ok(outcome),
            None => {
                more(stream).await;
                Err(io::ErrorKind::InvalidData.into())
            }
        },
    }
}

/// What a SOCKS error says (RFC 1928 3 and 6, RFC 1929 2). `None`: what came is not SOCKS.
fn socks_outcome(error: &SocksError, given: bool) -> Option<TunnelOutcome> {
    let reply = |code: u16, name: &str| Some(TunnelOutcome::Refused { code, name: name.to_owned(), said: None, server: None });
    match error {
        SocksError::GeneralSocksServerFailure => reply(1, "general failure"),
        SocksError::ConnectionNotAllowedByRuleset => reply(2, "not allowed by the rules"),
        SocksError::NetworkUnreachable => reply(3, "network unreachable"),
        SocksError::HostUnreachable => reply(4, "host unreachable"),
        SocksError::ConnectionRefused => reply(5, "connection refused"),
        SocksError::TtlExpired => reply(6, "TTL expired"),
        SocksError::CommandNotSupported => reply(7, "command not supported"),
        SocksError::AddressTypeNotSupported => reply(8, "address type not supported"),
        SocksError::UnknownError => reply(255, "a reply of no meaning"),
        SocksError::NoAcceptableAuthMethods | SocksError::PasswordAuthFailure(_) | SocksError::AuthorizationRequired => {
            Some(TunnelOutcome::CredentialsWanted { scheme: Some("username/password".to_owned()), given })
        }
        // A user name or password that SOCKS cannot carry (RFC 1929 2: 1 to 255 bytes).
        SocksError::InvalidAuthValues(_) => Some(TunnelOutcome::CredentialsWanted { scheme: Some("username/password".to_owned()), given }),
        _ => None,
    }
}

/// How it ended without an answer of its protocol.
fn ended(error: &io::Error, seen: &Traffic) -> TunnelOutcome {
    let received_bytes = seen.received;
    match (error.kind(), seen.end) {
        (io::ErrorKind::InvalidData, _) => {
            TunnelOutcome::Foreign { looks_like: looks_like(&seen.first).map(str::to_owned), first_bytes: printable(&seen.first, 128) }
        }
        (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, _) | (_, Some(End::Reset)) => TunnelOutcome::Reset { received_bytes },
        (_, Some(End::Lost)) => TunnelOutcome::NoConnection { why: printable(error.to_string().as_bytes(), 128) },
        _ => TunnelOutcome::Closed { received_bytes },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testkit::{Step, say, scripted};

    fn proxy(protocol: ProxyProtocol) -> Proxy {
        Proxy { protocol, host: "127.0.0.1".to_owned(), port: 1, credentials: None, configured_by: "--proxy".to_owned(), forwards: false }
    }

    async fn asked(protocol: ProxyProtocol, steps: Vec<Step>) -> (TunnelOutcome, Option<TcpStream>) {
        let to = scripted(steps);
        let proxy = proxy(protocol);
        let ask = TunnelAsk { to, proxy: &proxy, host: "shop.test", port: 443, wait: Duration::from_millis(400), purpose: "default" };
        let (tunnel, stream) = tunnel(TcpStream::connect(to).await.unwrap(), &ask).await;
        (tunnel.outcome, stream)
    }

    #[tokio::test]
    async fn what_follows_the_answer_belongs_to_the_target() {
        let said = "HTTP/1.1 200 Connection established\r\n\r\n220 mail.test ESMTP\r\n";
        let (outcome, stream) = asked(ProxyProtocol::Http, vec![Step::Hear, say(said), Step::Hold]).await;
        assert_eq!(outcome, TunnelOutcome::Open { status: Some(200) });
        let mut greeting = [0_u8; 3];
        stream.unwrap().read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220");
    }

    #[tokio::test]
    async fn each_end_of_the_negotiation_has_its_name() {
        use ProxyProtocol::{Http, Socks5h};
        use Step::{Fin, Hear, Hold, Reset};
        let refused = |code, name: &str| TunnelOutcome::Refused { code, name: name.to_owned(), said: None, server: None };
        let foreign = |like: &str, first: &str| TunnelOutcome::Foreign { looks_like: Some(like.to_owned()), first_bytes: first.to_owned() };
        let cases = vec![
            (Http, vec![Hear, say("HTTP/1.1 403 Forbidden\r\n\r\n"), Fin], refused(403, "Forbidden")),
            (Http, vec![Hear, Fin], TunnelOutcome::Closed { received_bytes: 0 }),
            (Http, vec![Hear, Reset], TunnelOutcome::Reset { received_bytes: 0 }),
            (Http, vec![Hear, say("SSH-2.0-x\r\n"), Fin], foreign("ssh", "SSH-2.0-x\\r\\n")),
            (Socks5h, vec![Hear, say([5, 0]), Hear, say([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]), Hold], refused(4, "host unreachable")),
            (Socks5h, vec![Hear, say([5, 0]), Hear, say([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]), Hold], refused(2, "not allowed by the rules")),
            (
                Socks5h,
                vec![Hear, say([5, 0xff]), Fin],
                TunnelOutcome::CredentialsWanted { scheme: Some("username/password".to_owned()), given: false },
            ),
            (Socks5h, vec![Hear, say([5, 0]), Hear, say([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Hold], TunnelOutcome::Open { status: None }),
            (Socks5h, vec![Hear, say("HTTP/1.1 400 Bad Request\r\n\r\n"), Fin], foreign("http", "HTTP/1.1 400 Bad Request\\r\\n\\r\\n")),
        ];
        for (protocol, steps, expected) in cases {
            let (outcome, _) = asked(protocol, steps.clone()).await;
            assert_eq!(outcome, expected, "{steps:?}");
        }
        let (silent, _) = asked(Socks5h, vec![Hear, say([5, 0]), Hold]).await;
        assert!(matches!(silent, TunnelOutcome::Silent { received_bytes: 2, .. }), "{silent:?}");
    }
}
