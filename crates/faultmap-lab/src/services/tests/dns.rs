//! DNS answers as hickory's message parser reads them, over UDP and TCP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    str::FromStr,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use super::{SILENCE, assert_bitten, connect, serve};

const ZONE: &str = r#"
kind = "dns"
zones = ["lab"]
records = [
    { name = "server.lab", a = ["10.1.0.2"], aaaa = ["fd00::2"] },
    { name = "v4.lab", a = ["10.1.0.4"], ttl = 0 },
    { name = "www.lab", cname = "server.lab" },
    { name = "loop.lab", cname = "loop.lab" },
    { name = "deep.empty.lab", txt = ["hello"] },
    { name = "sub.lab", ns = ["ns.sub.lab"] },
    { name = "lab", mx = [{ exchange = "mail.lab" }], ns = ["ns.lab"], a = ["10.1.0.1"] },
]
"#;

fn query(name: &str, kind: &str, edns: bool, cd: bool) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = cd;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::from_str(kind).unwrap()));
    if edns {
        message.set_edns(Edns::new());
    }
    message
}

fn over_udp(addr: SocketAddr, query: &Message) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.connect(addr).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send(&query.to_vec().unwrap()).unwrap();
    let mut buffer = vec![0; 65_535];
    let n = socket.recv(&mut buffer).ok()?;
    buffer.truncate(n);
    Some(buffer)
}

fn over_tcp(addr: SocketAddr, query: &Message) -> Option<Vec<u8>> {
    let bytes = query.to_vec().unwrap();
    let mut stream = connect(addr);
    stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// The answer in one line: rcode, flags, answers, SOA or referral.
fn line(bytes: Option<Vec<u8>>) -> String {
    let Some(bytes) = bytes else {
        return "silence".to_owned();
    };
    let Ok(m) = Message::from_vec(&bytes) else {
        return "garbage".to_owned();
    };
    let meta = &m.metadata;
    let flags = [
        (meta.id != 0x1234, "wrong-id"),
        (meta.authoritative, "aa"),
        (meta.truncation, "tc"),
        (meta.recursion_available, "ra"),
        (meta.authentic_data, "ad"),
    ];
    let mut line = format!("{:?}", meta.response_code);
    flags.iter().filter(|(is, _)| *is).for_each(|(_, name)| line += &format!(" {name}"));
    for record in &m.answers {
        line += &format!(" {} {}", record.ttl, record.data);
    }
    for record in &m.authorities {
        line += &format!(" {:?}:{}", record.record_type(), record.name);
    }
    line
}

/// Asks over UDP (both families) and TCP; all give the same line.
#[track_caller]
fn check(spec: &str, asked: &[(&str, &str, &str)], bite: &str) {
    let service = serve(&format!("{ZONE}{spec}"));
    for (name, kind, want) in asked {
        for addr in service.addrs() {
            let query = query(name, kind, true, false);
            assert_eq!(line(over_udp(*addr, &query)), *want, "{name} {kind} {spec}");
            assert_eq!(line(over_tcp(*addr, &query)), *want, "{name} {kind} {spec} over TCP");
        }
    }
    if !bite.is_empty() {
        assert_bitten(&service, bite);
    }
}

#[test]
fn a_sound_server_answers_from_its_zone() {
    let asked = [
        ("server.lab.", "A", "NoError ra 300 10.1.0.2"),
        ("SerVer.lab.", "AAAA", "NoError ra 300 fd00::2"),
        ("www.lab.", "A", "NoError ra 300 server.lab. 300 10.1.0.2"),
        ("v4.lab.", "A", "NoError ra 0 10.1.0.4"),
        ("v4.lab.", "AAAA", "NoError ra SOA:lab."),
        ("empty.lab.", "A", "NoError ra SOA:lab."),
        ("missing.lab.", "A", "NXDomain ra SOA:lab."),
        ("host.sub.lab.", "A", "NoError ra NS:sub.lab."),
        ("lab.", "MX", "NoError ra 300 0 mail.lab."),
        ("example.org.", "A", "NXDomain ra SOA:."),
        ("loop.lab.", "TXT", &format!("ServFail ra{}", " 300 loop.lab.".repeat(9))),
    ];
    check("", &asked, "");
}

#[test]
fn every_wrong_answer_is_wrong_in_its_own_way() {
    let cases = [
        ("answer = \"nxdomain\"", "NXDomain ra SOA:lab.", "nxdomain"),
        ("answer = \"nodata\"", "NoError ra SOA:lab.", "nodata"),
        ("answer = \"servfail\"", "ServFail ra", "servfail"),
        ("answer = \"refused\"", "Refused ra", "refused"),
        ("answer = \"formerr\"", "FormErr ra", "formerr"),
        ("answer = \"notimp\"", "NotImp ra", "notimp"),
        ("answer = \"lame\"", "NoError", "lame"),
        ("silent = true", "silence", "silent"),
        ("garbage = true", "garbage", "garbage"),
        ("ttl = 0", "NoError ra 0 10.1.0.2", "ttl"),
        ("wrong-id = true", "NoError wrong-id ra 300 10.1.0.2", "wrong-id"),
        ("addresses = [\"192.168.7.7\", \"fd00::7\"]", "NoError ra 300 192.168.7.7", "addresses"),
        ("delay-ms = 50", "NoError ra 300 10.1.0.2", "delay"),
        ("recursion-available = false, authoritative = true, authentic = true", "NoError aa ad 300 10.1.0.2", ""),
    ];
    for (behaviour, want, bite) in cases {
        check(&format!("behaviour = {{ {behaviour} }}"), &[("server.lab.", "A", want)], bite);
    }
}

#[test]
fn a_behaviour_can_be_limited_to_names_types_and_transports() {
    let by_name = "names = { \"server.lab\" = { answer = \"servfail\" }, \"*.lab\" = { answer = \"refused\" } }";
    check(
        by_name,
        &[("server.lab.", "A", "ServFail ra"), ("v4.lab.", "A", "Refused ra"), ("lab.", "A", "NoError ra 300 10.1.0.1")],
        "servfail",
    );
    let by_type = "behaviour = { types = [\"AAAA\"], answer = \"servfail\" }";
    check(by_type, &[("server.lab.", "A", "NoError ra 300 10.1.0.2"), ("server.lab.", "AAAA", "ServFail ra")], "servfail");
    let service = serve(&format!("{ZONE}behaviour = {{ transport = \"tcp\", silent = true }}"));
    let query = query("server.lab.", "A", false, false);
    assert_eq!(line(over_udp(service.addrs()[0], &query)), "NoError ra 300 10.1.0.2");
    assert_eq!(line(over_tcp(service.addrs()[0], &query)), "silence");
}

#[test]
fn a_bogus_zone_fails_unless_checking_is_disabled_and_says_why() {
    let service = serve(&format!("{ZONE}behaviour = {{ answer = \"bogus\", ede = {{ code = 6, text = \"no valid RRSIG\" }} }}"));
    let addr = service.addrs()[0];
    let failed = over_udp(addr, &query("server.lab.", "A", true, false)).unwrap();
    let message = Message::from_vec(&failed).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    let ede = message.edns.unwrap().option(EdnsCode::Unknown(15)).cloned();
    assert_eq!(ede, Some(EdnsOption::Unknown(15, b"\x00\x06no valid RRSIG".to_vec())));
    assert_eq!(line(over_udp(addr, &query("server.lab.", "A", true, true))), "NoError ra 300 10.1.0.2");
}

#[test]
fn a_truncated_answer_comes_whole_over_tcp_if_that_listens() {
    let question = query("server.lab.", "A", true, false);
    for tcp in [true, false] {
        let service = serve(&format!("{ZONE}tcp = {tcp}\nbehaviour = {{ truncate = true }}"));
        let addr = service.addrs()[0];
        assert_eq!(line(over_udp(addr, &question)), "NoError tc ra");
        assert_eq!(std::net::TcpStream::connect(addr).is_ok(), tcp);
        if tcp {
            assert_eq!(line(over_tcp(addr, &question)), "NoError ra 300 10.1.0.2");
        }
    }
}

#[test]
fn a_large_answer_is_truncated_to_what_client_and_server_allow() {
    let service = serve(&format!("{ZONE}max-udp = 4096\nbehaviour = {{ padding-records = 5 }}"));
    let size = |edns: Option<u16>| {
        let mut question = query("server.lab.", "A", edns.is_some(), false);
        edns.into_iter().for_each(|n| drop(question.edns.as_mut().map(|e| e.set_max_payload(n).clone())));
        let bytes = over_udp(service.addrs()[0], &question).unwrap();
        (bytes.len() > 1000, Message::from_vec(&bytes).unwrap().metadata.truncation)
    };
    assert_eq!(size(None), (false, true));
    assert_eq!(size(Some(1000)), (false, true));
    assert_eq!(size(Some(4096)), (true, false));
}

#[test]
fn every_second_query_can_be_lost() {
    let service = serve(&format!("{ZONE}behaviour = {{ silent = true, every = 2 }}"));
    let ask = |_| line(over_udp(service.addrs()[0], &query("server.lab.", "A", false, false)));
    let seen: Vec<_> = (0..4).map(ask).collect();
    assert_eq!(seen, ["NoError ra 300 10.1.0.2", "silence", "NoError ra 300 10.1.0.2", "silence"]);
    let queries = service.stats().queries;
    assert_eq!(
        queries.into_iter().collect::<Vec<_>>(),
        [("server.lab. A NoError udp".to_owned(), 2), ("server.lab. A silent udp".to_owned(), 2)]
    );
}

#[test]
fn a_query_that_cannot_be_read_is_a_format_error() {
    let service = serve(ZONE);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send_to(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff], service.addrs()[0]).unwrap();
    let mut buffer = [0; 512];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(line(Some(buffer[..n].to_vec())), "FormErr");
}
