//! An HTTP/3 server (RFC 9114) on one UDP port: sound by default, with one answer for every path.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use h3::server::RequestResolver;
use http::{Response, StatusCode};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, crypto::rustls::QuicServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{
    engine::{Ctx, Role},
    error::ServiceError,
    pki::{CertSpec, Pki},
    stats::Counters,
    tcp::yes,
    tls::{TlsPlan, TlsSpec},
};

/// An HTTP/3 service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Http3Spec {
    /// UDP port.
    pub port: u16,
    /// False: no socket is open, so the kernel answers port unreachable.
    #[serde(default = "yes")]
    pub listening: bool,
    /// The certificate shown.
    #[serde(default)]
    pub certificate: CertSpec,
    /// Application protocols; absent: `h3`.
    #[serde(default)]
    pub alpn: Option<Vec<String>>,
    /// Status of every answer.
    #[serde(default = "ok")]
    pub status: u16,
}

fn ok() -> u16 {
    200
}

/// An [`Http3Spec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct Http3Plan {
    config: ServerConfig,
    status: StatusCode,
}

impl Http3Plan {
    pub(crate) fn new(spec: &Http3Spec, bind: &[IpAddr], pki: &Pki) -> Result<Self, ServiceError> {
        let tls = TlsSpec { certificate: spec.certificate.clone(), alpn: spec.alpn.clone(), ..TlsSpec::default() };
        let tls = TlsPlan::new(&tls, &["h3"], bind, pki)?;
        let crypto = QuicServerConfig::try_from(tls.config).map_err(|why| ServiceError::spec("http3", why))?;
        let status = StatusCode::from_u16(spec.status).map_err(|why| ServiceError::spec("status", why))?;
        Ok(Self { config: ServerConfig::with_crypto(Arc::new(crypto)), status })
    }
}

/// Serves the socket for as long as the task lives. Its connections die with it.
pub(crate) async fn serve(socket: UdpSocket, ctx: Ctx) {
    let plan = ctx.plan();
    let Role::Http3(http3) = &plan.role else { return };
    let Ok(socket) = socket.into_std() else { return };
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(http3.config.clone()), socket, Arc::new(TokioRuntime));
    let Ok(endpoint) = endpoint else { return };
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        Counters::add(&ctx.counters.accepted, 1);
        connections.spawn(connection(incoming, ctx.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(incoming: quinn::Incoming, ctx: Ctx) {
    let Ok(connection) = incoming.await else { return };
    Counters::add(&ctx.counters.tls_handshakes, 1);
    let Ok(mut server) = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await else { return };
    while let Ok(Some(request)) = server.accept().await {
        Counters::add(&ctx.counters.requests, 1);
        if answer(request, &ctx).await.is_none() {
            return;
        }
    }
}

async fn answer(request: RequestResolver<h3_quinn::Connection, Bytes>, ctx: &Ctx) -> Option<()> {
    let plan = ctx.plan();
    let Role::Http3(http3) = &plan.role else { return None };
    let (request, mut stream) = request.resolve_request().await.ok()?;
    let mut response = Response::new(());
    *response.status_mut() = http3.status;
    stream.send_response(response).await.ok()?;
    stream.send_data(Bytes::from_static(b"faultmap lab\n")).await.ok()?;
    stream.finish().await.ok()?;
    ctx.counters.answer(format!("HTTP/3 {} {}", request.uri().path(), http3.status.as_u16()));
    Some(())
}
