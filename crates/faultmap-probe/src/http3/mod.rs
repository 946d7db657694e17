//! One request over HTTP/3 (RFC 9114), as far as the head of its answer. A datagram in no known version of QUIC goes beside it: most servers
//! answer that, and its socket hears ICMP errors, which quinn's does not. Spawns nothing; nothing here judges.

mod alt_svc;
mod beside;

pub use alt_svc::http3_port;

use crate::questions::udp;
use crate::recorder::{ms, printable};
use crate::tls::{ChainAsk, ChainWitness, TrustStore, alert_name, judge, server_name};
use beside::Beside;
use faultmap_model::observation::{Http3Exchange, Http3Outcome, Role, TlsChain, Trust, UdpOutcome};
use http::Request;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, EndpointConfig, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::crypto::ring;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two questions in an unknown version.
const AGAIN: Duration = Duration::from_millis(300);
/// Taken as the first round trip, so that a lost first datagram is repeated within the wait (RFC 9002 6.2.2 has 333 ms for unknown paths).
const FIRST_RTT: Duration = Duration::from_millis(100);
/// Lets the close leave.
const FAREWELL: Duration = Duration::from_millis(10);
/// `H3_NO_ERROR` (RFC 9114 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Http3Ask<'a> {
    /// The UDP port.
    pub to: SocketAddr,
    /// Host name or IP literal that the certificate must hold.
    pub name: &'a str,
    /// `:authority`.
    pub authority: &'a str,
    /// Path and query, as sent. May hold secrets: never recorded.
    pub path_and_query: &'a str,
    /// `GET` or `HEAD`.
    pub method: &'a str,
    /// Further headers. May hold secrets: never recorded.
    pub headers: &'a [(String, String)],
    /// Whom to trust.
    pub store: &'a TrustStore,
    /// Our clock, Unix seconds.
    pub now_unix: i64,
    /// See [`Http3Exchange::advertised`].
    pub advertised: Option<&'a str>,
    /// See [`Http3Exchange::demanded`].
    pub demanded: bool,
    /// Bound of the whole.
    pub wait: Duration,
}

/// A long header of a reserved version makes a server answer with Version Negotiation (RFC 9000 6.1, 15); 1200 bytes at least.
pub(crate) fn unknown_version() -> Vec<u8> {
    let mut packet = vec![0_u8; 1200];
    packet[..6].copy_from_slice(&[0xc0, 0x0a, 0x1a, 0x2a, 0x3a, 8]);
    packet[6..14].copy_from_slice(b"faultmap");
    packet[14] = 8;
    packet[15..23].copy_from_slice(b"faultmap");
    packet
}

/// Asks.
pub async fn http3(ask: &Http3Ask<'_>) -> Http3Exchange {
    let mut exchange = Http3Exchange {
        to: ask.to,
        advertised: ask.advertised.map(|value| printable(value.as_bytes(), 256)),
        demanded: ask.demanded,
        probe_answered: false,
        outcome: Http3Outcome::NotTried { why: String::new() },
    };
    let runtime = Beside::default();
    let outcome = match endpoint(ask, &runtime) {
        Ok((endpoint, witness)) => {
            let outcome = race(ask, &runtime, &endpoint, &witness, &mut exchange).await;
            endpoint.close(NO_ERROR, b"");
            let _ = tokio::time::timeout(FAREWELL, runtime.run(std::future::pending::<()>())).await;
            runtime.stop();
            outcome
        }
        Err(why) => Http3Outcome::NotTried { why },
    };
    Http3Exchange { outcome, ..exchange }
}

type Prepared = (Endpoint, Arc<ChainWitness>);

fn endpoint(ask: &Http3Ask<'_>, runtime: &Beside) -> Result<Prepared, String> {
    let any = if ask.to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).map_err(|error| format!("cannot bind a UDP socket: {error}"))?;
    let provider = Arc::new(ring::default_provider());
    let witness = ChainWitness::new(provider.signature_verification_algorithms);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<ChainWitness>::clone(&witness))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.resumption = Resumption::disabled();
    tls.key_log = crate::tls::key_log();
    let mut transport = TransportConfig::default();
    transport.initial_rtt(FIRST_RTT);
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(runtime.clone()));
    let mut endpoint = endpoint.map_err(|error| format!("cannot open a QUIC endpoint: {error}"))?;
    endpoint.set_default_client_config(config);
    Ok((endpoint, witness))
}

/// The conversation and the question in an unknown version, side by side. An ICMP error ends both.
async fn race(
    ask: &Http3Ask<'_>,
    runtime: &Beside,
    endpoint: &Endpoint,
    witness: &ChainWitness,
    exchange: &mut Http3Exchange,
) -> Http3Outcome {
    let started = Instant::now();
    let name = server_name(ask.name).map_or_else(|| "invalid".to_owned(), |name| name.to_str().into_owned());
    let connecting = match endpoint.connect(ask.to, &name) {
        Ok(connecting) => connecting,
        Err(error) => return Http3Outcome::NotTried { why: error.to_string() },
    };
    let packet = unknown_version();
    let sends = u32::try_from(ask.wait.as_millis() / AGAIN.as_millis()).unwrap_or(1).clamp(1, 5);
    let beside = udp(ask.to, Role::Control, &packet, sends, AGAIN, AGAIN);
    let talk = runtime.run(tokio::time::timeout(ask.wait, converse(ask, connecting, witness, started)));
    tokio::pin!(beside, talk);
    tokio::select! {
        ended = &mut talk => ended.unwrap_or_else(|_| silent(started)),
        seen = &mut beside => match seen.outcome {
            UdpOutcome::Failed { errno, icmp } => Http3Outcome::Unreachable { errno, icmp },
            heard => {
                exchange.probe_answered = matches!(heard, UdpOutcome::Answer { .. });
                talk.await.unwrap_or_else(|_| silent(started))
            }
        },
    }
}

fn silent(started: Instant) -> Http3Outcome {
    Http3Outcome::Silent { waited_ms: ms(started.elapsed()) }
}

async fn converse(ask: &Http3Ask<'_>, connecting: quinn::Connecting, witness: &ChainWitness, started: Instant) -> Http3Outcome {
    let connection = match connecting.await {
        Ok(connection) => connection,
        Err(error) => return failed(&error, started),
    };
    let handshake_ms = ms(started.elapsed());
    let chain = witness.sent().map(|sent| judge(sent, &ChainAsk { to: ask.to, name: ask.name, store: ask.store, now_unix: ask.now_unix }));
    if let Some(why) = distrust(chain.as_ref()) {
        return Http3Outcome::Untrusted { why };
    }
    let request = match request(ask) {
        Ok(request) => request,
        Err(error) => return Http3Outcome::NotTried { why: format!("the request cannot be built: {error}") },
    };
    let asked = Instant::now();
    let head = async {
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await.ok()?;
        let answer = async {
            let mut stream = sender.send_request(request).await.ok()?;
            stream.finish().await.ok()?;
            stream.recv_response().await.ok()
        };
        tokio::select! {
            answer = answer => answer,
            _ = poll_fn(|cx| driver.poll_close(cx)) => None,
        }
    };
    // One that answers later than this is still told apart from a blocked path.
    let left = ask.wait.saturating_sub(started.elapsed()).saturating_sub(Duration::from_millis(50));
    match tokio::time::timeout(left, head).await {
        Err(_) => Http3Outcome::Mute { waited_ms: ms(asked.elapsed()) },
        Ok(Some(response)) => Http3Outcome::Answered { status: response.status().as_u16(), handshake_ms, ttfb_ms: ms(asked.elapsed()) },
        Ok(None) => match connection.close_reason() {
            Some(reason) => failed(&reason, started),
            None => Http3Outcome::Closed { code: 0, reason: "the request's stream was refused".to_owned(), application: true },
        },
    }
}

fn request(ask: &Http3Ask<'_>) -> Result<Request<()>, http::Error> {
    let path = if ask.path_and_query.is_empty() { "/" } else { ask.path_and_query };
    let uri = http::Uri::builder().scheme("https").authority(ask.authority).path_and_query(path).build()?;
    let mut request = Request::builder().method(ask.method).uri(uri).body(())?;
    let headers = request.headers_mut();
    headers.insert(http::header::USER_AGENT, http::HeaderValue::from_static(concat!("faultmap/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in ask.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        headers.insert(http::HeaderName::from_bytes(name.as_bytes())?, http::HeaderValue::from_str(value)?);
    }
    Ok(request)
}

/// Why no request may be sent to this peer.
fn distrust(chain: Option<&TlsChain>) -> Option<String> {
    let Some(chain) = chain else { return Some("it sent no certificate".to_owned()) };
    let now = chain.now_unix;
    let valid = chain.certificates.first().is_some_and(|leaf| leaf.not_before_unix <= now && now <= leaf.not_after_unix);
    if chain.trust != Trust::Trusted {
        return Some(chain.trust_error.clone().unwrap_or_else(|| "its certificate is not trusted".to_owned()));
    }
    if !chain.name_matches {
        return Some(format!("its certificate is not for {}", chain.name));
    }
    (!valid).then(|| "its certificate is not valid at this time".to_owned())
}

fn failed(error: &ConnectionError, started: Instant) -> Http3Outcome {
    match error {
        ConnectionError::VersionMismatch => Http3Outcome::VersionMismatch,
        ConnectionError::TimedOut => silent(started),
        ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
            // CRYPTO_ERROR: the alert in its low byte (RFC 9001 4.8).
            code @ 0x100..=0x1ff => {
                let code = u8::try_from(code & 0xff).unwrap_or_default();
                Http3Outcome::Alert { code, name: alert_name(code).to_owned() }
            }
            code => Http3Outcome::Closed { code, reason: printable(&close.reason, 128), application: false },
        },
        ConnectionError::ApplicationClosed(close) => {
            Http3Outcome::Closed { code: close.error_code.into_inner(), reason: printable(&close.reason, 128), application: true }
        }
        ConnectionError::Reset => Http3Outcome::Closed { code: 0, reason: "stateless reset".to_owned(), application: false },
        other => Http3Outcome::Closed { code: 0, reason: printable(other.to_string().as_bytes(), 128), application: false },
    }
}
