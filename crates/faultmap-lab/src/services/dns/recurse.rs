//! Looks a name up from the root, as a recursive resolver does: follows referrals and aliases, tries the next server when one is silent or
//! lame. Keeps nothing and validates nothing.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

const MAX_REFERRALS: usize = 8;
const MAX_ALIASES: usize = 4;
const PATIENCE: Duration = Duration::from_millis(400);
const DNS_PORT: u16 = 53;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
}

/// Looks up what the query asks for.
pub(super) async fn look_up(roots: &[IpAddr], question: &Query) -> Found {
    let mut found = Found { code: ResponseCode::NoError, answers: Vec::new() };
    let mut name = question.name().clone();
    for _ in 0..MAX_ALIASES {
        let Some(message) = from_root(roots, &name, question.query_type()).await else {
            return Found { code: ResponseCode::ServFail, answers: Vec::new() };
        };
        found.code = message.metadata.response_code;
        found.answers.extend(message.answers.iter().filter(|r| r.record_type() != RecordType::RRSIG).cloned());
        let complete = message.answers.iter().any(|r| r.record_type() == question.query_type());
        let alias = message.answers.iter().find_map(|r| match &r.data {
            RData::CNAME(target) if r.name == name => Some(target.0.clone()),
            _ => None,
        });
        match alias {
            Some(target) if !complete => name = target,
            _ => return found,
        }
    }
    found
}

async fn from_root(roots: &[IpAddr], name: &Name, kind: RecordType) -> Option<Message> {
    let mut servers = roots.to_vec();
    for _ in 0..MAX_REFERRALS {
        let message = first_good(&servers, name, kind).await?;
        if message.metadata.authoritative {
            return Some(message);
        }
        servers = glue(&message);
    }
    None
}

/// The first answer with authority, or referral.
async fn first_good(servers: &[IpAddr], name: &Name, kind: RecordType) -> Option<Message> {
    for server in servers {
        let Some(message) = ask(*server, name, kind).await else { continue };
        let head = &message.metadata;
        let sound = matches!(head.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if sound && (head.authoritative || !glue(&message).is_empty()) {
            return Some(message);
        }
    }
    None
}

fn glue(message: &Message) -> Vec<IpAddr> {
    let address = |r: &Record| match &r.data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        _ => None,
    };
    message.additionals.iter().filter_map(address).collect()
}

async fn ask(server: IpAddr, name: &Name, kind: RecordType) -> Option<Message> {
    let mut query = Message::new(Message::query().metadata.id, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(name.clone(), kind));
    let socket = UdpSocket::bind((if server.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).await.ok()?;
    socket.connect(SocketAddr::new(server, DNS_PORT)).await.ok()?;
    socket.send(&query.to_vec().ok()?).await.ok()?;
    let mut buffer = vec![0; 4096];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.ok()?.ok()?;
    let message = Message::from_vec(buffer.get(..length)?).ok()?;
    (message.metadata.id == query.metadata.id).then_some(message)
}
