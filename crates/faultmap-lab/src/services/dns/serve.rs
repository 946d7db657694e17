//! Moves DNS queries and answers over UDP and TCP (RFC 1035 section 4.2, RFC 7766). What is answered is decided in `answer`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use hickory_proto::op::Message;

use super::recurse::{self, Found};
use super::{
    DnsPlan, Transport,
    answer::{Reply, answer},
};
use crate::services::{
    engine::{Ctx, Role},
    io::{HOLD, Metered, drain},
    stats::Counters,
};

/// An idle TCP session is closed (RFC 7766 section 6.2.3).
const TCP_IDLE: Duration = Duration::from_secs(30);

/// Answers one datagram.
pub(crate) async fn serve_udp(bytes: Vec<u8>, from: SocketAddr, socket: Arc<UdpSocket>, plan: &DnsPlan, ctx: &Ctx) {
    let found = looked_up(plan, &bytes).await;
    let reply = answer(plan, &bytes, Transport::Udp, ctx.next(), found);
    count(&reply, "udp", ctx);
    sleep(reply.delay).await;
    if let Some(bytes) = reply.bytes
        && let Ok(n) = socket.send_to(&bytes, from).await
    {
        Counters::add(&ctx.counters.answered, 1);
        Counters::add(&ctx.counters.bytes_out, n);
    }
}

/// What a recursive resolver finds out elsewhere.
async fn looked_up(plan: &DnsPlan, query: &[u8]) -> Option<Found> {
    if plan.recurse.is_empty() {
        return None;
    }
    let message = Message::from_vec(query).ok()?;
    let question = message.queries.first()?;
    let own = plan.zones.iter().any(|zone| zone.zone_of(question.name())) || plan.records.contains_key(&question.name().to_lowercase());
    if own { None } else { Some(recurse::look_up(&plan.recurse, question).await) }
}

/// Answers the queries of one TCP session, one after the other.
pub(crate) async fn serve_tcp(tcp: TcpStream, ctx: &Ctx) {
    let (mut io, _wire) = Metered::new(tcp, ctx.counters.clone());
    while let Some(query) = read_message(&mut io).await {
        let plan = ctx.plan();
        let Role::Dns(plan) = &plan.role else { return };
        let found = looked_up(plan, &query).await;
        let reply = answer(plan, &query, Transport::Tcp, ctx.next(), found);
        count(&reply, "tcp", ctx);
        sleep(reply.delay).await;
        let Some(bytes) = reply.bytes else {
            return drain(&mut io, HOLD).await;
        };
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        if io.write_all(&[&len[..], &bytes].concat()).await.is_err() {
            return;
        }
        Counters::add(&ctx.counters.answered, 1);
    }
}

async fn read_message(io: &mut Metered) -> Option<Vec<u8>> {
    let read = async {
        let len = io.read_u16().await.ok()?;
        let mut message = vec![0; usize::from(len)];
        io.read_exact(&mut message).await.ok()?;
        Some(message)
    };
    timeout(TCP_IDLE, read).await.ok()?
}

fn count(reply: &Reply, over: &str, ctx: &Ctx) {
    Counters::add(&ctx.counters.requests, 1);
    ctx.counters.query(format!("{} {over}", reply.label));
    reply.bites.iter().for_each(|bite| ctx.counters.bite(*bite));
}
