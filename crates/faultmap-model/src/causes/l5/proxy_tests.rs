//! Observations of a check through a proxy, for the tests of its causes.

use crate::observation::{ConnectOutcome, ProxyBypass, ProxyChoice, ProxyProtocol, ProxyTunnel, TunnelOutcome};
use crate::testkit::recording;
use crate::{Recording, Seen};

pub(super) fn choice() -> ProxyChoice {
    ProxyChoice {
        protocol: ProxyProtocol::Http,
        host: "10.3.0.1".to_owned(),
        port: 3128,
        configured_by: "HTTPS_PROXY".to_owned(),
        exempted_by: None,
        credentials: false,
        forwards: false,
    }
}

pub(super) fn proxied(seen: Vec<Seen>) -> Recording {
    recording("https://shop.test/", [vec![choice().into()], seen].concat())
}

pub(super) fn tunnel(purpose: &str, outcome: TunnelOutcome) -> Seen {
    let destination = if purpose == "alive" { "*" } else { "shop.test:443" }.to_owned();
    ProxyTunnel { to: "10.3.0.1:3128".parse().expect("addr"), destination, purpose: purpose.to_owned(), outcome, tcp: None }.into()
}

pub(super) fn refused(code: u16, name: &str, said: Option<&str>) -> TunnelOutcome {
    TunnelOutcome::Refused { code, name: name.to_owned(), said: said.map(str::to_owned), server: None }
}

pub(super) fn bypass(outcome: ConnectOutcome) -> Seen {
    let to: std::net::SocketAddr = "10.2.0.10:443".parse().expect("addr");
    ProxyBypass { host: "shop.test".to_owned(), port: 443, addresses: vec![to.ip()], error: None, connects: vec![(to, outcome)] }.into()
}

pub(super) fn closed() -> ConnectOutcome {
    ConnectOutcome::Failed { errno: "ENETUNREACH".to_owned(), icmp: None }
}
