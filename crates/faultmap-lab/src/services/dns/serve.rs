//! Moves DNS queries and answers over UDP and TCP (RFC 1035 section 4.2, RFC 7766). What is answered is decided in `answer`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

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
    let reply = answer(plan, &bytes, Transport::Udp, ctx.next());
    count(&reply, "udp", ctx);
    sleep(reply.delay).await;
    if let Some(bytes) = reply.bytes
        && let Ok(n) = socket.send_to(&bytes, from).await
    {
        Counters::add(&ctx.counters.answered, 1);
        Counters::add(&ctx.counters.bytes_out, n);
    }
}

/// Answers the queries of one TCP session, one after the other.
pub(crate) async fn serve_tcp(tcp: TcpStream, ctx: &Ctx) {
    let (mut io, _wire) = Metered::new(tcp, ctx.counters.clone());
    while let Some(query) = read_message(&mut io).await {
        let plan = ctx.plan();
        let Role::Dns(plan) = &plan.role else { return };
        let reply = answer(plan, &query, Transport::Tcp, ctx.next());
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
