//! The flows as they stand now, while the capture goes on. It counts, and judges nothing.

use super::Analysis;
use crate::flow::following::{Body, Flow};
use crate::flow::record::PerSide;
use crate::flow::{FlowId, Protocol};
use crate::packet::Stamp;
use std::net::SocketAddr;

/// A flow that is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowNow {
    /// Its number.
    pub id: FlowId,
    /// TCP, UDP, ICMP.
    pub protocol: Protocol,
    /// Who asked.
    pub client: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// The protocol spoken in it.
    pub app: Option<&'static str>,
    /// The name by which the client calls the server.
    pub server_name: Option<String>,
    /// Packets sent by each side.
    pub packets: PerSide<u64>,
    /// Bytes of payload sent by each side.
    pub bytes: PerSide<u64>,
    /// Segments sent again by both sides.
    pub again: u64,
    /// Round trip of the handshake.
    pub rtt_ms: Option<f64>,
    /// When anything of it went by last.
    pub last: Stamp,
}

impl Analysis {
    /// The flows that are followed now, in the order of their numbers.
    #[must_use]
    pub fn flows_now(&self) -> Vec<FlowNow> {
        let mut flows: Vec<FlowNow> = self.table.iter().map(FlowNow::of).collect();
        flows.sort_by_key(|flow| flow.id);
        flows
    }
}

impl FlowNow {
    fn of(flow: &Flow) -> Self {
        let ends = flow.ends();
        let (again, rtt_ms) = match &flow.body {
            Body::Tcp(body) => (body.tcp.sent_again(), body.tcp.handshake.rtt_ms()),
            _ => (0, None),
        };
        Self {
            id: flow.id,
            protocol: flow.key.protocol,
            client: ends.client,
            server: ends.server,
            app: flow.app,
            server_name: flow.server_name.clone(),
            packets: flow.packets,
            bytes: flow.bytes,
            again,
            rtt_ms,
            last: flow.last,
        }
    }
}
