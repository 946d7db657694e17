//! Plain UDP services: echo, silence, a fixed reply, every Nth datagram lost. It never parses a protocol.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;

use super::{
    engine::Ctx,
    error::ServiceError,
    stats::Counters,
    tcp::{Payload, yes},
};

/// A UDP service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UdpSpec {
    /// Port; 0 lets the kernel choose.
    pub port: u16,
    /// False: no socket is open, so the kernel answers port unreachable.
    #[serde(default = "yes")]
    pub listening: bool,
    /// What it does with a datagram.
    #[serde(default)]
    pub behaviour: UdpBehaviour,
}

/// What a UDP service does with a datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UdpBehaviour {
    /// Sends it back.
    #[default]
    Echo,
    /// Answers nothing.
    Mute,
    /// Answers with these bytes.
    Reply {
        /// The answer.
        payload: Payload,
    },
    /// Echoes all but every `every`-th datagram.
    DropEvery {
        /// 2 loses every second one.
        every: u64,
    },
}

/// A [`UdpSpec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct UdpPlan {
    behaviour: UdpBehaviour,
    reply: Vec<u8>,
}

impl UdpPlan {
    pub(crate) fn new(spec: &UdpSpec) -> Result<Self, ServiceError> {
        let reply = match &spec.behaviour {
            UdpBehaviour::Reply { payload } => payload.bytes()?,
            _ => Vec::new(),
        };
        Ok(Self { behaviour: spec.behaviour.clone(), reply })
    }
}

/// Answers, or does not answer, one datagram.
pub(crate) async fn serve(datagram: Vec<u8>, from: SocketAddr, socket: Arc<UdpSocket>, plan: &UdpPlan, ctx: &Ctx) {
    let number = ctx.next();
    let counters = &ctx.counters;
    Counters::add(&counters.requests, 1);
    let answer = match &plan.behaviour {
        UdpBehaviour::Echo => &datagram,
        UdpBehaviour::Reply { .. } => &plan.reply,
        UdpBehaviour::Mute => return counters.bite("mute"),
        UdpBehaviour::DropEvery { every } if number.is_multiple_of((*every).max(1)) => {
            return counters.bite("drop-every");
        }
        UdpBehaviour::DropEvery { .. } => &datagram,
    };
    if let Ok(n) = socket.send_to(answer, from).await {
        Counters::add(&counters.answered, 1);
        Counters::add(&counters.bytes_out, n);
    }
}
