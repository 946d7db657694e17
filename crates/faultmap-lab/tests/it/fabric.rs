//! Does the lab do what it says? Real kernels on both sides, every fault of the fabric between them, and the
//! fabric's own counters against what the hosts saw.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use faultmap_lab::fabric::middlebox::{
    Action, Firewall, IcmpFilter, IcmpMatch, Interposer, Nat, NatConfig, Proto, Rule, Snat, UnknownMidStream,
};
use faultmap_lab::fabric::{Direction, Duplex, Link, TapSpec, tap_refusal};
use faultmap_lab::rtnl::{Route, RouteKind};
use faultmap_lab::topology::{Prefix, builtin, builtin_names};
use faultmap_lab::{Family, Host, Net, Privilege, Sandbox};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::Case;

pub(crate) const CASES: &[Case] = &[
    ("every_topology_carries_tcp_udp_and_echo_in_both_families", every_topology_carries),
    ("a_path_walk_names_the_near_side_of_every_router", path_walk),
    ("a_lossy_wire_counts_every_datagram_that_is_missing", loss),
    ("a_flipped_bit_is_found_by_the_receivers_checksum", corruption),
    ("a_duplicated_datagram_arrives_twice", duplication),
    ("a_held_back_datagram_is_overtaken", reordering),
    ("a_slow_line_drops_what_its_queue_cannot_hold", slow_line),
    ("an_unplugged_cable_takes_the_carrier_and_gives_it_back", carrier),
    ("a_segment_with_a_small_mtu_swallows_large_frames_only", max_frame),
    ("a_filtered_port_is_silent_while_its_neighbour_answers", filtered_port),
    ("a_rejecting_firewall_shows_its_own_address_on_the_error_queue", rejecting_firewall),
    ("a_rejecting_reset_looks_like_a_closed_port", rejecting_reset),
    ("a_full_table_lets_the_old_live_and_the_new_die_silently", full_table),
    ("a_translator_without_ports_drops_the_next_connection", ports_exhausted),
    ("a_forgotten_connection_is_answered_with_a_reset", forgotten_connection),
    ("a_path_walk_passes_an_address_translator", path_walk_through_nat),
    ("a_filter_that_eats_too_big_makes_a_hole_for_large_packets", pmtu_hole),
    ("behind_an_interposed_proxy_a_dead_address_connects_and_a_live_one_works", interposed),
    ("a_large_datagram_is_fragmented_and_translated", fragments_through_nat),
    ("a_command_sees_its_own_host_and_has_the_powers_it_was_given", command_inside),
    ("a_bulk_transfer_arrives_whole", bulk_transfer),
    ("a_tap_end_has_a_speed_a_carrier_and_a_ring_of_its_own", tap_end),
];

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const PORT: u16 = 7000;
/// Long enough for any answer that will come, short enough to wait for one that will not.
const PATIENCE: Duration = Duration::from_millis(700);

fn lab(topology: &str, sandbox: &Sandbox) -> Net {
    Net::build(&builtin(topology).unwrap(), sandbox).unwrap()
}

fn server(net: &Net) -> &Host {
    net.host(&net.topology.server).unwrap()
}

fn client(net: &Net) -> &Host {
    net.client().unwrap()
}

fn at(host: &Host, family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(host.addr(family).unwrap(), port)
}

/// Echoes every TCP stream and every datagram sent to `port`.
fn serve(host: &Host, port: u16) {
    for family in FAMILIES {
        let addr = at(host, family, port);
        let listener = host.run(move || TcpListener::bind(addr)).unwrap().unwrap();
        let socket = host.run(move || UdpSocket::bind(addr)).unwrap().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 9000];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..len], peer);
            }
        });
    }
}

fn connect(host: &Host, to: SocketAddr) -> io::Result<TcpStream> {
    host.run(move || {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
    .unwrap()
}

fn echo(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
    stream.write_all(text)?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    assert_eq!(back, text);
    Ok(())
}

fn udp(host: &Host, to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = host.run(move || UdpSocket::bind(any)).unwrap().unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A socket that takes what arrives at a host's port, and how much came until it fell silent.
fn collect(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 9000];
    let mut got = Vec::new();
    while let Ok(len) = socket.recv(&mut buffer) {
        got.push(buffer[..len].to_vec());
    }
    got
}

fn sink(host: &Host, family: Family) -> UdpSocket {
    let addr = at(host, family, 9000);
    let socket = host.run(move || UdpSocket::bind(addr)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn ping(host: &Host, to: IpAddr) -> io::Result<()> {
    host.sysctl("net/ipv4/ping_group_range", "0 0").unwrap();
    host.run(move || {
        let (domain, protocol, kind) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&SocketAddr::new(to, 0).into())?;
        socket.send(&[kind, 0, 0, 0, 0, 0, 0, 1, b'x'])?;
        (&socket).read(&mut [0; 64]).map(|_| ())
    })
    .unwrap()
}

fn recverr(socket: &UdpSocket) {
    let fd = std::os::fd::AsFd::as_fd(socket);
    if socket.local_addr().unwrap().is_ipv4() {
        setsockopt(&fd, sockopt::Ipv4RecvErr, &true).unwrap();
    } else {
        setsockopt(&fd, sockopt::Ipv6RecvErr, &true).unwrap();
    }
}

/// The ICMP error waiting on a socket: type, code, offender.
fn error_queue(socket: &impl std::os::fd::AsRawFd) -> Option<(u8, u8, IpAddr)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(error) = poll_error_queue(socket) {
            return Some(error);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

fn poll_error_queue(socket: &impl std::os::fd::AsRawFd) -> Option<(u8, u8, IpAddr)> {
    let mut buffer = [0; 512];
    let mut iov = [io::IoSliceMut::new(&mut buffer)];
    let mut space = [0; 512];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut iov, Some(&mut space), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            let addr = std::net::Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            Some((error.ee_type, error.ee_code, IpAddr::V4(addr)))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            Some((error.ee_type, error.ee_code, IpAddr::V6(from.sin6_addr.s6_addr.into())))
        }
        _ => None,
    })
}

/// Who answers for a datagram with each hop limit, until the target's port unreachable.
fn walk(host: &Host, to: IpAddr) -> Vec<IpAddr> {
    let target = SocketAddr::new(to, 33_434);
    let mut hops = Vec::new();
    for ttl in 1..10 {
        let socket = udp(host, target);
        recverr(&socket);
        let raw = socket2::SockRef::from(&socket);
        if to.is_ipv4() { raw.set_ttl_v4(ttl) } else { raw.set_unicast_hops_v6(ttl) }.unwrap();
        socket.send(b"x").unwrap();
        match error_queue(&socket) {
            Some((_, _, from)) if from == to => break,
            Some((_, _, from)) => hops.push(from),
            None => hops.push(if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap()),
        }
    }
    hops
}

fn snmp(host: &Host, line: &str, field: &str) -> u64 {
    let text = host.read("/proc/thread-self/net/snmp").unwrap();
    let mut rows = text.lines().filter(|row| row.starts_with(line)).map(|row| row.split_whitespace());
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    names.zip(values).find(|(name, _)| *name == field).unwrap().1.parse().unwrap()
}

fn every_topology_carries(sandbox: &Sandbox) {
    for name in builtin_names() {
        let net = lab(name, sandbox);
        serve(server(&net), PORT);
        for family in FAMILIES {
            let to = at(server(&net), family, PORT);
            let mut stream = connect(client(&net), to).unwrap_or_else(|e| panic!("{name} {to}: {e}"));
            echo(&mut stream, b"hello").unwrap();
            let socket = udp(client(&net), to);
            socket.send(b"hello").unwrap();
            assert_eq!(socket.recv(&mut [0; 10]).unwrap(), 5, "{name} {to}");
            ping(client(&net), to.ip()).unwrap_or_else(|e| panic!("{name} echo {to}: {e}"));
            ping(client(&net), net.dns().unwrap().addr(family).unwrap()).unwrap();
        }
        let overruns = net.links.values().map(|link| link.stats().total(|way| way.overrun)).sum::<u64>();
        assert_eq!(overruns, 0, "{name}");
    }
}

fn path_walk(sandbox: &Sandbox) {
    let check = |net: &Net, family: Family, expect: &[&str]| {
        let hops = walk(client(net), server(net).addr(family).unwrap());
        assert_eq!(hops.iter().map(IpAddr::to_string).collect::<Vec<_>>(), expect, "{}", net.topology.name);
    };
    let net = lab("two-routers-two-paths", sandbox);
    check(&net, Family::V4, &["10.0.1.1", "10.0.12.2", "10.0.24.4"]);
    check(&net, Family::V6, &["fd00:1::1", "fd00:12::2", "fd00:24::4"]);
    let net = lab("client-router-server", sandbox);
    check(&net, Family::V4, &["10.0.1.1"]);
    check(&net, Family::V6, &["fd00:1::1"]);
    let net = lab("on-link-pair", sandbox);
    check(&net, Family::V4, &[]);
}

fn send_many(net: &Net, family: Family, count: usize, len: usize) -> Vec<Vec<u8>> {
    let receiver = sink(server(net), family);
    let receiving = thread::spawn(move || collect(&receiver));
    let sender = udp(client(net), at(server(net), family, 9000));
    for n in 0..count {
        let mut datagram = vec![0; len];
        datagram[..2].copy_from_slice(&(n as u16).to_be_bytes());
        sender.send(&datagram).unwrap();
        if n % 20 == 19 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    receiving.join().unwrap()
}

/// Makes the neighbours known, so that the next frames are the test's own.
fn warm(net: &Net) {
    for family in FAMILIES {
        ping(client(net), server(net).addr(family).unwrap()).unwrap();
    }
}

/// A dropped frame may also be one of the few that kernels send unasked: ARP, multicast reports.
fn accounts_for(sent: u64, arrived: u64, dropped: u64) -> bool {
    (sent..sent + 5).contains(&(arrived + dropped))
}

fn loss(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    warm(&net);
    let link = net.link("client-router").unwrap();
    link.set(Direction::Forward, |way| way.loss = 0.2);
    for family in FAMILIES {
        let lost = link.stats().forward.lost;
        let got = send_many(&net, family, 500, 100).len() as u64;
        let lost = link.stats().forward.lost - lost;
        assert!(accounts_for(500, got, lost), "{got} + {lost}");
        assert!((50..150).contains(&lost), "{lost}");
    }
    assert_eq!(link.stats().backward.lost, 0);
}

fn corruption(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    warm(&net);
    let link = net.link("client-router").unwrap();
    link.set(Direction::Forward, |way| way.corrupt = 1.0);
    let got = send_many(&net, Family::V4, 100, 200).len();
    let bad = snmp(server(&net), "Udp:", "InCsumErrors");
    // A flipped port leads to another socket and a flipped length to a short datagram; both are still counted.
    assert_eq!(got, 0);
    assert!(bad > 80, "{bad}");
    assert!(link.stats().forward.corrupted >= 100);
}

fn duplication(sandbox: &Sandbox) {
    let net = lab("on-link-pair", sandbox);
    warm(&net);
    net.link("client-switch").unwrap().set(Direction::Forward, |way| way.duplicate = 1.0);
    assert_eq!(send_many(&net, Family::V6, 50, 100).len(), 100);
}

fn reordering(sandbox: &Sandbox) {
    let net = lab("on-link-pair", sandbox);
    warm(&net);
    let link = net.link("client-switch").unwrap();
    link.set(Direction::Forward, |way| way.reorder = 0.2);
    let got = send_many(&net, Family::V4, 200, 100);
    assert_eq!(got.len(), 200);
    assert!(!got.is_sorted());
    assert!(link.stats().forward.reordered > 10);
}

fn slow_line(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    warm(&net);
    let link = net.link("router-server").unwrap();
    link.set_both(|way| (way.rate_kbit, way.queue_packets) = (1000, 10));
    let got = send_many(&net, Family::V4, 60, 1000).len() as u64;
    let full = link.stats().forward.queue_full;
    assert!(accounts_for(60, got, full), "{got} + {full}: {:?}", link.stats());
    assert!(full > 20, "{full}");
}

fn has_carrier(host: &Host, iface: &str) -> bool {
    let iface = iface.to_owned();
    host.run(move || {
        let mut all = nix::ifaddrs::getifaddrs().unwrap();
        all.any(|i| i.interface_name == iface && i.flags.contains(nix::net::if_::InterfaceFlags::IFF_RUNNING))
    })
    .unwrap()
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        holds()
    })
}

fn carrier(sandbox: &Sandbox) {
    let net = lab("on-link-pair", sandbox);
    serve(server(&net), PORT);
    let to = at(server(&net), Family::V4, PORT);
    connect(client(&net), to).unwrap();
    let link = net.link("client-switch").unwrap();
    link.set_carrier(false).unwrap();
    assert!(eventually(|| !has_carrier(client(&net), "eth0")));
    assert!(has_carrier(server(&net), "eth0"));
    assert!(connect(client(&net), to).is_err());
    link.set_carrier(true).unwrap();
    assert!(eventually(|| has_carrier(client(&net), "eth0")));
    assert!(eventually(|| connect(client(&net), to).is_ok()));
}

fn max_frame(sandbox: &Sandbox) {
    let net = lab("on-link-pair", sandbox);
    warm(&net);
    let link = net.link("server-switch").unwrap();
    link.set_both(|way| way.max_frame = 1000);
    assert_eq!(send_many(&net, Family::V4, 10, 900).len(), 10);
    assert_eq!(send_many(&net, Family::V4, 10, 1200).len(), 0);
    assert_eq!(link.stats().total(|way| way.too_big), 10);
    link.set_both(|way| way.max_frame = 0);
    net.switch("switch").unwrap().set_max_frame(1000);
    assert_eq!(send_many(&net, Family::V6, 10, 1200).len(), 0);
    assert_eq!(net.switch("switch").unwrap().stats().too_big, 10);
}

fn firewall(link: &Link, rules: Vec<Rule>) -> Firewall {
    let firewall = Firewall::new("test", rules);
    link.add(Box::new(firewall.clone()));
    firewall
}

fn filtered_port(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    serve(server(&net), PORT);
    serve(server(&net), PORT + 1);
    let filter = net.firewall("firewall").unwrap();
    filter.push(Rule::for_port(Proto::Tcp, PORT, Action::Drop));
    for family in FAMILIES {
        let silent = connect(client(&net), at(server(&net), family, PORT)).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        connect(client(&net), at(server(&net), family, PORT + 1)).unwrap();
    }
    assert!(filter.hits()[0] >= 2);
}

fn rejecting_firewall(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    let from: Vec<IpAddr> = vec!["10.0.2.254".parse().unwrap(), "fd00:2::254".parse().unwrap()];
    let filter = net.firewall("firewall").unwrap();
    filter.push(Rule::for_port(Proto::Udp, PORT, Action::prohibit(from.clone())));
    filter.push(Rule::for_port(Proto::Tcp, PORT, Action::prohibit(from.clone())));
    for (family, (expect, from)) in FAMILIES.into_iter().zip([(3, 13), (1, 1)].into_iter().zip(from)) {
        let to = at(server(&net), family, PORT);
        let socket = udp(client(&net), to);
        recverr(&socket);
        socket.send(b"x").unwrap();
        assert_eq!(error_queue(&socket), Some((expect.0, expect.1, from)));
        let refused = connect(client(&net), to).unwrap_err();
        let errno = if family == Family::V4 { libc::EHOSTUNREACH } else { libc::EACCES };
        assert_eq!(refused.raw_os_error(), Some(errno), "{refused}");
    }
}

fn rejecting_reset(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    serve(server(&net), PORT);
    firewall(net.link("router-server").unwrap(), vec![Rule::for_port(Proto::Tcp, PORT, Action::RejectReset)]);
    for family in FAMILIES {
        for port in [PORT, PORT + 1] {
            let refused = connect(client(&net), at(server(&net), family, port)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    }
}

fn full_table(sandbox: &Sandbox) {
    let net = lab("nat", sandbox);
    serve(server(&net), PORT);
    let nat = net.nat("nat").unwrap();
    for family in FAMILIES {
        let to = at(server(&net), family, PORT);
        let mut old = connect(client(&net), to).unwrap();
        assert_eq!(old.peer_addr().unwrap(), to);
        echo(&mut old, b"before").unwrap();
        nat.fill();
        let before = nat.stats().table_full;
        let silent = connect(client(&net), to).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        assert!(ping(client(&net), to.ip()).is_err());
        echo(&mut old, b"after").unwrap();
        assert!(nat.stats().table_full >= before + 2);
        nat.prefill(0);
        connect(client(&net), to).unwrap();
    }
}

fn ports_exhausted(sandbox: &Sandbox) {
    let net = lab("nat", sandbox);
    serve(server(&net), PORT);
    let nat = net.nat("nat").unwrap();
    nat.configure(|config| config.snat.as_mut().unwrap().ports = (40_000, 40_003));
    let to = at(server(&net), Family::V4, PORT);
    let mut live = (0..4).map(|_| connect(client(&net), to).unwrap()).collect::<Vec<_>>();
    assert_eq!(connect(client(&net), to).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(nat.stats().no_port >= 1);
    live.iter_mut().for_each(|stream| echo(stream, b"still here").unwrap());
    serve(server(&net), PORT + 1);
    connect(client(&net), at(server(&net), Family::V4, PORT + 1)).unwrap();
}

fn forgotten_connection(sandbox: &Sandbox) {
    let net = lab("nat", sandbox);
    serve(server(&net), PORT);
    let nat = net.nat("nat").unwrap();
    let to = at(server(&net), Family::V4, PORT);
    let mut stream = connect(client(&net), to).unwrap();
    echo(&mut stream, b"early").unwrap();
    nat.configure(|config| {
        (config.idle_timeout, config.unknown) = (Duration::from_millis(50), UnknownMidStream::Reset);
    });
    thread::sleep(Duration::from_millis(100));
    assert_eq!(echo(&mut stream, b"late").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(nat.stats().unknown_reset, 1);
    let mut silent = connect(client(&net), to).unwrap();
    nat.configure(|config| config.unknown = UnknownMidStream::Drop);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(echo(&mut silent, b"late").unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn path_walk_through_nat(sandbox: &Sandbox) {
    let net = lab("nat", sandbox);
    for (family, expect) in FAMILIES.into_iter().zip([["192.168.1.1", "10.0.2.1"], ["fd00:1::1", "fd00:2::1"]]) {
        let hops = walk(client(&net), server(&net).addr(family).unwrap());
        assert_eq!(hops.iter().map(IpAddr::to_string).collect::<Vec<_>>(), expect);
    }
    assert!(net.nat("nat").unwrap().stats().errors_passed >= 4);
}

fn pmtu_hole(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    serve(server(&net), PORT);
    let router = net.host("router").unwrap();
    let narrow = router.iface("router-server").unwrap().clone();
    for prefix in narrow.addrs {
        let to = Prefix { addr: prefix.network(), ..prefix };
        let route = Route { dev: Some(&narrow.name), mtu: Some(1300), metric: Some(1), ..Route::of_kind(to, RouteKind::Unicast) };
        router.rtnl().unwrap().add_route(&route).unwrap();
        if to.addr.is_ipv4() {
            // The kernel's own route has metric 0 and would win.
            router.rtnl().unwrap().delete_route(&Route { mtu: None, metric: None, ..route }).unwrap();
        }
    }
    let filter = IcmpFilter::new("too-big", IcmpMatch::TooBig, None);
    net.link("client-router").unwrap().add(Box::new(filter.clone()));
    for family in FAMILIES {
        let mut stream = connect(client(&net), at(server(&net), family, PORT)).unwrap();
        echo(&mut stream, b"small").unwrap();
        assert_eq!(echo(&mut stream, &[7; 5000]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert!(filter.dropped() >= 2);
    assert!(net.link("client-router").unwrap().remove("too-big"));
    for family in FAMILIES {
        let mut stream = connect(client(&net), at(server(&net), family, PORT)).unwrap();
        echo(&mut stream, &[7; 5000]).unwrap();
    }
}

fn interposed(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    serve(server(&net), PORT);
    let link = net.link("client-router").unwrap();
    link.add(Box::new(Interposer::new("proxy", Direction::Forward)));
    for (family, dead) in FAMILIES.into_iter().zip(["10.0.2.99", "fd00:2::99"]) {
        let mut live = connect(client(&net), at(server(&net), family, PORT)).unwrap();
        echo(&mut live, b"hello").unwrap();
        echo(&mut live, &[3; 100_000]).unwrap();
        connect(client(&net), at(server(&net), family, PORT + 1)).unwrap();
        let mut dead = connect(client(&net), SocketAddr::new(dead.parse().unwrap(), PORT)).unwrap();
        assert!(echo(&mut dead, b"hello").is_err());
    }
    let counters = &link.stats().middleboxes["proxy"];
    assert_eq!((counters["interposed"], counters["spliced"]), (6, 2));
}

fn fragments_through_nat(sandbox: &Sandbox) {
    let net = lab("nat", sandbox);
    serve(server(&net), PORT);
    for family in FAMILIES {
        let socket = udp(client(&net), at(server(&net), family, PORT));
        socket.send(&[9; 4000]).unwrap();
        assert_eq!(socket.recv(&mut [0; 5000]).unwrap(), 4000);
    }
    assert_eq!(net.nat("nat").unwrap().stats().stray_fragments, 0);
}

fn command_inside(sandbox: &Sandbox) {
    let net = lab("on-link-pair", sandbox);
    let host = client(&net);
    host.set_resolv_conf("nameserver 10.0.1.30\n");
    let script = "cat /etc/resolv.conf; cat /proc/net/fib_trie | grep -c 10.0.1.10; ls /sys/class/net; \
                  grep CapEff /proc/self/status";
    for (privilege, powerless) in [(Privilege::Root, false), (Privilege::Unprivileged, true)] {
        let mut command = host.command(Path::new("/bin/sh"), privilege).unwrap();
        let output = command.args(["-c", script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("nameserver 10.0.1.30\n"), "{text}");
        assert!(text.contains("eth0") && !text.contains("\n0\n"), "{text}");
        assert_eq!(text.contains("CapEff:\t0000000000000000"), powerless, "{text}");
    }
}

fn bulk_transfer(sandbox: &Sandbox) {
    let net = lab("client-router-server", sandbox);
    serve(server(&net), PORT);
    for family in FAMILIES {
        let mut stream = connect(client(&net), at(server(&net), family, PORT)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        const LEN: usize = 4 << 20;
        let sent = (0..LEN).map(|n| (n % 251) as u8).collect::<Vec<_>>();
        let expect = sent.clone();
        let sending = thread::spawn(move || writer.write_all(&sent).unwrap());
        let mut got = vec![0; LEN];
        stream.read_exact(&mut got).unwrap();
        sending.join().unwrap();
        assert!(got == expect);
    }
    let overruns = net.links.values().map(|link| link.stats().total(|way| way.overrun)).sum::<u64>();
    assert_eq!(overruns, 0);
    // Without translation the box only keeps its table.
    let table = Nat::new("table", NatConfig { snat: None::<Snat>, ..NatConfig::default() });
    net.link("client-router").unwrap().add(Box::new(table.clone()));
    connect(client(&net), at(server(&net), Family::V6, PORT)).unwrap();
    assert_eq!(table.len(), 1);
}

fn tap_end(sandbox: &Sandbox) {
    if let Some(reason) = tap_refusal() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut topology = builtin("on-link-pair").unwrap();
    assert!(topology.set_tap("client", None, TapSpec { speed_mbps: 100, duplex: Duplex::Half, ring: 8 }));
    let net = Net::build(&topology, sandbox).unwrap();
    let (client, server) = (client(&net), server(&net));
    serve(server, PORT);
    let target = at(server, Family::V4, PORT);
    let mut stream = connect(client, target).unwrap();
    stream.write_all(b"over a TAP device").unwrap();
    let mut answer = [0; 17];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"over a TAP device");

    let settings = |file: &str| {
        let path = format!("/sys/class/net/eth0/{file}");
        let output = client.command(Path::new("/bin/cat"), Privilege::Unprivileged).unwrap().arg(path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!((settings("speed").as_str(), settings("duplex").as_str(), settings("carrier").as_str()), ("100", "half", "1"));

    let link = net.link("client-switch").unwrap();
    let out = link.direction_from("client").unwrap();
    link.set_stalled(out, true);
    // The thread that moves frames may be inside its last round still.
    thread::sleep(Duration::from_millis(50));
    client
        .run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            (0..100).for_each(|_| assert!(socket.send_to(b"x", target).is_ok()));
        })
        .unwrap();
    let dropped = link.stats().way(out).overrun;
    assert!((80..=100).contains(&dropped), "{dropped}");
    link.set_stalled(out, false);
    link.set_carrier(false).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while settings("carrier") != "0" && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(settings("carrier"), "0");
}
