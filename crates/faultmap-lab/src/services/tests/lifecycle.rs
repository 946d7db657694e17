//! Services as the runner of scenarios handles them: started, altered while they run, restored, stopped.

use std::{io::Write, net::TcpStream};

use super::{End, SILENCE, Threads, connect, exchange, pki, read_all, serve, spec, start};
use crate::services::{Change, ServiceError};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: server.lab\r\n\r\n";

fn change(toml: &str) -> Change {
    toml::from_str(toml).unwrap()
}

fn status(addr: std::net::SocketAddr) -> String {
    let (bytes, _) = exchange(addr, b"GET / HTTP/1.1\r\nHost: server.lab\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&bytes).chars().skip(9).take(3).collect()
}

#[test]
fn a_running_service_falls_ill_and_recovers() {
    let service = serve("kind = \"http\"");
    let addr = service.addrs()[0];
    assert_eq!(status(addr), "200");
    service.alter(&change("respond = { status = 503, headers = { retry-after = \"5\" } }")).unwrap();
    assert_eq!(status(addr), "503");
    service.alter(&change("respond = { fault = { kind = \"reset-body\", after = 1 } }")).unwrap();
    service.alter(&change("respond = { status = 200, fault = { kind = \"close\" } }")).unwrap();
    assert_eq!(status(addr), "");
    service.restore().unwrap();
    assert_eq!(status(addr), "200");
}

#[test]
fn a_connection_already_open_sees_the_change() {
    let service = serve("kind = \"http\"");
    let mut stream = connect(service.addrs()[0]);
    stream.write_all(GET).unwrap();
    assert!(read_all(&mut stream).0.starts_with(b"HTTP/1.1 200"));
    service.alter(&change("respond = { status = 500 }")).unwrap();
    stream.write_all(GET).unwrap();
    assert!(read_all(&mut stream).0.starts_with(b"HTTP/1.1 500"));
}

#[test]
fn a_service_can_stop_listening_and_come_back_on_its_port() {
    for kind in ["tcp", "http", "dns"] {
        let service = serve(&format!("kind = \"{kind}\""));
        let addrs = service.addrs().to_vec();
        let open = connect(addrs[0]);
        service.alter(&change("listening = false")).unwrap();
        for addr in &addrs {
            assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        }
        assert_ne!(read_all(&mut { open }).1, End::Silent);
        service.restore().unwrap();
        addrs.iter().for_each(|addr| drop(connect(*addr)));
    }
}

#[test]
fn accepting_can_cease_and_resume() {
    let service = serve("kind = \"tcp\"");
    let addr = service.addrs()[0];
    service.alter(&change("listen = { backlog = 0, accept = { kind = \"never\" } }")).unwrap();
    let mut waiting = TcpStream::connect(addr).unwrap();
    assert_eq!(TcpStream::connect_timeout(&addr, SILENCE).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    waiting.write_all(b"x").unwrap();
    service.restore().unwrap();
    waiting.set_read_timeout(Some(SILENCE)).unwrap();
    assert_eq!(read_all(&mut waiting).0, b"x");
}

#[test]
fn the_certificate_of_a_running_service_can_change() {
    let service = serve("kind = \"https\"");
    service.alter(&change("tls = { certificate = { kind = \"expired\" } }")).unwrap();
    let crate::services::ServiceSpec::Https(spec) = service.spec() else { panic!() };
    assert_eq!(spec.tls.unwrap().certificate, crate::services::CertSpec::Expired { days_ago: 2 });
}

#[test]
fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
    let service = serve("kind = \"http\"");
    let cases = ["respond = { stauts = 1 }", "port = 81", "kind = \"tcp\"", "respond = { status = 99 }", "tls = { suites = [\"X\"] }"];
    for case in cases {
        assert!(service.alter(&change(case)).is_err(), "{case}");
    }
    assert_eq!(status(service.addrs()[0]), "200");
}

#[test]
fn a_stopped_service_frees_its_port_at_once() {
    let service = serve("kind = \"tcp\"");
    let addr = service.addrs()[0];
    let _open = connect(addr);
    drop(service);
    let again = spec(&format!("kind = \"tcp\"\nport = {}", addr.port()));
    start(&again, &[addr.ip()], pki(), &Threads).unwrap();
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let service = serve("kind = \"tcp\"");
    let addr = service.addrs()[0];
    let again = spec(&format!("kind = \"tcp\"\nport = {}", addr.port()));
    let error = start(&again, &[addr.ip()], pki(), &Threads).unwrap_err();
    assert!(matches!(&error, ServiceError::Socket { addr: at, .. } if *at == addr), "{error}");
}

#[test]
fn specifications_survive_toml_and_json() {
    let texts = [
        "kind = \"https\"\nport = 443\ntls = { certificate = { kind = \"expired\", days-ago = 3 }, rules = [{ do = { kind = \"legacy\", version = \"1.0\" } }] }",
        "kind = \"dns\"\nrecords = [{ name = \"a.lab\", a = [\"10.0.0.1\"] }]\nnames = { \"a.lab\" = { ede = { code = 6 } } }",
        "kind = \"balancer\"\nport = 80\nupstream = { backends = [\"10.0.0.1:80\", \"[fd00::1]:80\"] }",
        "kind = \"udp\"\nport = 7\nbehaviour = { kind = \"reply\", payload = { hex = \"00\" } }",
    ];
    for text in texts {
        let spec = spec(text);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<crate::services::ServiceSpec>(&json).unwrap(), spec);
        assert_eq!(spec.with(&Change::default()).unwrap(), spec);
    }
}
