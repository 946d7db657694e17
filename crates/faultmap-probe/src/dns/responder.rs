//! A DNS server for tests, on loopback, over UDP and TCP at one port. What it replies is a function of the test.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record};
use std::net::SocketAddr;
use std::str::FromStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What was asked, and how often by now.
pub(super) struct Asked {
    pub(super) bytes: Vec<u8>,
    pub(super) over_tcp: bool,
    /// From 0, over both transports.
    pub(super) number: usize,
}

impl Asked {
    pub(super) fn message(&self) -> Message {
        Message::from_vec(&self.bytes).unwrap()
    }

    /// An empty NOERROR answer to it.
    pub(super) fn answer(&self) -> Message {
        let mut answer = self.message().into_response();
        answer.metadata.recursion_available = true;
        answer.metadata.authentic_data = false;
        answer.edns = None;
        answer
    }

    pub(super) fn with_rcode(&self, rcode: ResponseCode) -> Message {
        let mut answer = self.answer();
        answer.metadata.response_code = rcode;
        answer
    }

    /// An answer with these records, as `owner ttl data`.
    pub(super) fn with_records(&self, records: &[(&str, u32, &str)]) -> Message {
        let mut answer = self.answer();
        answer.add_answers(records.iter().map(|(owner, ttl, data)| record(owner, *ttl, data)));
        answer
    }
}

fn record(owner: &str, ttl: u32, data: &str) -> Record {
    let data = match (data.parse(), data.parse()) {
        (Ok(v4), _) => RData::A(A(v4)),
        (_, Ok(v6)) => RData::AAAA(AAAA(v6)),
        _ => RData::CNAME(CNAME(Name::from_str(data).unwrap())),
    };
    Record::from_rdata(Name::from_str(owner).unwrap(), ttl, data)
}

/// Adds an extended DNS error (RFC 8914).
pub(super) fn add_ede(message: &mut Message, code: u16, text: &[u8]) {
    let mut edns = message.edns.take().unwrap_or_default();
    edns.options_mut().insert(EdnsOption::Unknown(15, [&code.to_be_bytes(), text].concat()));
    message.set_edns(edns);
}

/// Bytes of each message to send back, in order.
pub(super) type Script = fn(&Asked) -> Vec<Vec<u8>>;

pub(super) struct Responder {
    udp: UdpSocket,
    tcp: Option<TcpListener>,
    pub(super) address: SocketAddr,
}

impl Responder {
    /// Serves UDP, and TCP at the same port if wanted. The TCP port is held first: the kernel hands out free ones per protocol.
    pub(super) async fn bind(with_tcp: bool) -> Self {
        for _ in 0..32 {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(address).await {
                return Self { udp, tcp: with_tcp.then_some(tcp), address };
            }
        }
        panic!("no port is free for both UDP and TCP");
    }

    /// Replies as the script says; never returns.
    pub(super) async fn serve(&self, script: Script) {
        let mut number = 0;
        let mut buffer = vec![0; 65_535];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => {
                    // An ICMP error about one of our replies; the asker is gone.
                    let Ok((length, from)) = received else { continue };
                    let asked = Asked { bytes: buffer[..length].to_vec(), over_tcp: false, number };
                    for reply in script(&asked) {
                        self.udp.send_to(&reply, from).await.unwrap();
                    }
                }
                () = self.serve_tcp(script, number) => {}
            }
            number += 1;
        }
    }

    async fn serve_tcp(&self, script: Script, number: usize) {
        let Some(listener) = &self.tcp else { return std::future::pending().await };
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        for reply in script(&Asked { bytes, over_tcp: true, number }) {
            stream.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    }
}
