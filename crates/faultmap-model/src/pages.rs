//! What each layer is for, how it fails, and how its failure looks: the pages of `faultmap explain`. Static text; it judges nothing.

use crate::Layer;
use crate::causes::Tool;

/// The page of one layer.
pub struct LayerPage {
    /// Which.
    pub layer: Layer,
    /// What it does for the layer above, and what it takes from the layer below.
    pub job: &'static str,
    /// What it works with: addresses, state.
    pub works_with: &'static str,
    /// Protocols that live here.
    pub protocols: &'static [&'static str],
    /// The typical ways in which it fails.
    pub fails: &'static [&'static str],
    /// How its failure looks to a program or a person above it.
    pub from_above: &'static str,
    /// What proves that it works, and what is wrongly taken for proof.
    pub proof: &'static str,
    /// Commands worth knowing. Words in capitals are yours to fill in.
    pub toolbox: &'static [Tool],
}

/// The page of a layer.
#[must_use]
pub const fn page(layer: Layer) -> &'static LayerPage {
    match layer {
        Layer::L1 => &PHYSICAL,
        Layer::L2 => &DATA_LINK,
        Layer::L3 => &NETWORK,
        Layer::L4 => &TRANSPORT,
        Layer::L5 => &SESSION,
        Layer::L6 => &PRESENTATION,
        Layer::L7 => &APPLICATION,
    }
}

const fn here(run: &'static str, why: &'static str) -> Tool {
    Tool { run, on: "here", why }
}

static PHYSICAL: LayerPage = LayerPage {
    layer: Layer::L1,
    job: "Moves bits over a medium: copper, fibre, air. It turns numbers into voltage, light or waves and back, and knows nothing of what they mean. It \
          promises nothing: a bit may arrive flipped, or not at all.",
    works_with: "Cables, transceivers, radios; carrier (the other end is there), speed, duplex, signal strength, error counters.",
    protocols: &[
        "Ethernet PHYs: 1000BASE-T, 10GBASE-SR, ... (IEEE 802.3)",
        "Wi-Fi radio (IEEE 802.11)",
        "DOCSIS, DSL, GPON, LTE/5G radio",
        "in a virtual machine or container: a queue in memory (virtio, veth)",
    ],
    fails: &[
        "No carrier: cable out, peer switched off, transceiver dead, interface administratively down.",
        "Bad bits: damaged cable, dirty fibre, weak signal. Frames fail their checksum and are dropped in silence.",
        "Wrong speed or half duplex: auto-negotiation fixed on one side only; collisions under load, fine when idle.",
        "Full: the line or a ring buffer is at its limit; queues grow, then drop.",
        "Flapping: carrier comes and goes; every loss of it also empties the layers above.",
    ],
    from_above: "Either nothing works at all (\"Network is unreachable\" at once), or everything works a little worse: retransmissions, low throughput, \
                 connections that freeze under load. Bad bits never show as wrong data, for the checksums above drop them: they show as loss.",
    proof: "Carrier and rising receive counters prove the local end only. A link light says that a cable is in, not that frames pass. The medium at \
            the far end cannot be seen from here; it shows as a router that cannot reach its neighbour (L2).",
    toolbox: &[
        here("ip -s -s link show dev IFACE", "state, carrier, and every error and drop counter"),
        here("ethtool IFACE", "speed, duplex, link detected; what both ends could do"),
        here("ethtool -S IFACE | grep -Ei 'err|drop|crc|fifo|miss'", "the driver's own counters"),
        here("ethtool -m IFACE", "light levels of an optical transceiver"),
        here("cat /sys/class/net/IFACE/carrier_changes", "how often carrier came and went since boot"),
        here("tc -s qdisc show dev IFACE", "drops and backlog of the queue in front of the wire"),
        here("dmesg -T | grep -Ei 'link is|IFACE'", "when the link went down and came back"),
        here("iw dev IFACE link; iw dev IFACE station dump", "signal and retries of a radio link"),
    ],
};

static DATA_LINK: LayerPage = LayerPage {
    layer: Layer::L2,
    job: "Carries frames between stations that share a segment, finds the MAC address that belongs to a network address, and throws away frames whose \
          checksum is wrong. Its reach ends at the first router.",
    works_with: "MAC addresses, VLAN tags, the neighbour table (ARP, ND) of each host, the MAC table of each switch, the MTU of the segment.",
    protocols: &[
        "Ethernet (IEEE 802.3), VLAN (802.1Q), bonding (802.3ad)",
        "ARP (RFC 826) for IPv4; neighbour discovery (RFC 4861) for IPv6",
        "spanning tree (802.1D), LLDP",
        "Wi-Fi MAC (802.11), PPP, VXLAN (a segment stretched over L3)",
    ],
    fails: &[
        "The neighbour does not answer ARP or ND: it is off, in another VLAN, or its cable is out.",
        "The neighbour table holds a wrong MAC: an address moved (failover) and the announcement was lost or ignored.",
        "Two stations claim one address: traffic goes to whoever answered last.",
        "A segment passes small frames only: a switch or tunnel with a smaller MTU drops the large ones, and nobody says so.",
        "The neighbour table is full: new neighbours cannot be resolved while old ones work.",
        "A loop of switches: a broadcast storm eats everything.",
    ],
    from_above: "\"No route to host\" (EHOSTUNREACH) after about three seconds: that is how long the kernel asks for the MAC before it gives up, and the \
                 error comes from this host itself. At a distance it shows as ICMP \"host unreachable\" from the last router. A wrong MAC shows as plain \
                 silence, and one host only.",
    proof: "A neighbour entry in state REACHABLE was confirmed by an answer. STALE only means that nobody asked lately; it is no fault. PERMANENT is \
            written by hand and proves nothing.",
    toolbox: &[
        here("ip neigh show dev IFACE", "who is known under which MAC, and in what state"),
        here("arping -c 3 -I IFACE ADDRESS", "asks for the MAC directly; two different answers are two stations"),
        here("ndisc6 ADDRESS IFACE", "the same for IPv6"),
        here("ip -d link show dev IFACE", "VLAN, bond, bridge, MTU of the interface"),
        here("bridge fdb show; bridge vlan show", "what a Linux bridge has learned, and which VLANs a port carries"),
        here("tcpdump -eni IFACE 'arp or icmp6'", "questions without answers, or answers with the wrong MAC"),
        here("ping -M do -s 1472 ADDRESS", "a full-size frame without fragmentation, on the segment"),
        here("lldpctl", "which switch and port this cable ends in"),
    ],
};

static NETWORK: LayerPage = LayerPage {
    layer: Layer::L3,
    job: "Brings packets from any host to any other, across segments, hop by hop. Every router looks at the destination address and hands the packet to a \
          next hop; none of them knows the whole path, and the way back may be another one. It is allowed to lose, double and reorder.",
    works_with: "IP addresses and prefixes, routing tables and rules, TTL (hop limit), the MTU of the path, ICMP as the messenger of bad news.",
    protocols: &[
        "IPv4 (RFC 791), IPv6 (RFC 8200)",
        "ICMP (RFC 792), ICMPv6 (RFC 4443)",
        "path MTU discovery (RFC 1191, RFC 8201)",
        "BGP, OSPF, IS-IS, which fill the tables",
        "IPsec, GRE, WireGuard (packets within packets)",
    ],
    fails: &[
        "No route: here (ENETUNREACH at once) or at a router on the way (ICMP 3/0).",
        "A black hole: a router takes the packets and forwards them nowhere.",
        "A loop: two routers each think the other is nearer, until the TTL is used up (ICMP 11/0).",
        "A policy refuses (ICMP 3/9, 3/10, 3/13).",
        "A path MTU black hole: large packets vanish and the ICMP message that should say so is filtered.",
        "The way back is broken: requests arrive, answers do not; from here it looks like silence.",
        "Reverse path filtering drops answers that come in by an interface the kernel did not expect.",
        "One address family is broken while the other works; programs wait for the broken one first.",
        "Loss and latency: a congested or far-away path.",
    ],
    from_above: "\"Network is unreachable\" at once, or a timeout. A path MTU black hole is the treacherous one: the handshake and small requests work, the \
                 first large answer hangs forever. A missing way back and a filter look the same from here.",
    proof: "Any answer from the far host, be it a refusal, proves the path both ways for small packets. A silent hop in a traceroute proves nothing: \
            routers limit or suppress their ICMP. Loss at one hop that does not continue to the next is a router that has better things to do.",
    toolbox: &[
        here("ip route get ADDRESS", "the route, interface and source address that would be used"),
        here("ip rule; ip route show table all", "every table; policy routing hides here"),
        here("mtr -rwbzc 50 ADDRESS", "loss and delay by hop; read the last hop first"),
        here("traceroute -T -p PORT ADDRESS", "the path that this port's packets take"),
        here("tracepath -n ADDRESS", "the path MTU, hop by hop"),
        here("ping -M do -s 1472 ADDRESS", "whether 1500 bytes pass unfragmented"),
        here("ping -4 HOST; ping -6 HOST", "one family against the other"),
        here("nstat -az | grep -E 'NoRoutes|RPFilter|ReasmFails|FragFails'", "what this kernel dropped, and why"),
    ],
};

static TRANSPORT: LayerPage = LayerPage {
    layer: Layer::L4,
    job: "Brings data from a program to a program: ports tell which. TCP makes a reliable, ordered stream of an unreliable network, by numbering, \
          acknowledging and sending again, and it slows down for the receiver and for the path. UDP only adds the ports.",
    works_with: "Ports, sequence numbers, windows, timers; and state: every connection is an entry in the tables of both hosts and of every firewall, NAT and \
                 load balancer between them. Most faults of this layer are a table that is full or an entry that is gone.",
    protocols: &[
        "TCP (RFC 9293)",
        "UDP (RFC 768)",
        "QUIC (RFC 9000), which does the work of L4 to L6 over UDP",
        "SCTP (RFC 9260)",
        "NAT (RFC 3022) and connection tracking, which live off this layer",
    ],
    fails: &[
        "The port is closed: the host is up, nothing listens. A reset comes at once.",
        "A firewall drops (silence) or rejects (ICMP, or a reset in the host's name) this port.",
        "The listener does not accept: its accept queue is full, some connects pass, others take 1, 3, 7 seconds.",
        "A connection table is full, here, at a firewall or at a NAT: old connections live, no new one is made.",
        "This host has no ephemeral port or file descriptor left.",
        "A reset in mid-stream; loss that TCP repairs at the price of time; a receiver whose window is zero.",
        "Some of a name's addresses are dead: a share of the connects fails.",
    ],
    from_above: "\"Connection refused\" at once is a reset: good news about everything below. \"Connection timed out\" is silence: a filter, a full table, or a \
                 dead path; the port and protocol that still answer tell which. A delay of exactly 1, 3 or 7 seconds is a SYN that was lost and \
                 sent again.",
    proof: "A completed handshake proves the path and the kernel of the far host, not the program: the kernel completes it while the program sleeps. A \
            connect that succeeds on every port is a middlebox, not the host.",
    toolbox: &[
        here("nc -vz -w 5 HOST PORT", "refused at once, silent, or open"),
        here("ss -tnpi dst ADDRESS", "state, retransmits, round trip, window of living connections"),
        Tool { run: "ss -ltn", on: "the server", why: "who listens; Recv-Q above Send-Q is a full accept queue" },
        here("ss -s; ss -tan state time-wait | wc -l", "how many sockets, in which states"),
        here("nstat -az | grep -E 'ListenOverflows|ListenDrops|RetransSegs|TCPTimeouts'", "what TCP had to repair or drop"),
        here(
            "cat /proc/sys/net/netfilter/nf_conntrack_count /proc/sys/net/netfilter/nf_conntrack_max",
            "fill of the connection table; read it in the namespace that does the tracking",
        ),
        here("tcpdump -ni any 'host ADDRESS and tcp port PORT'", "SYN without SYN-ACK, reset, retransmissions"),
        Tool { run: "nft list ruleset", on: "every host on the way", why: "the rule that drops, with its counter" },
        here("cat /proc/sys/net/ipv4/ip_local_port_range", "ports for outgoing connections"),
    ],
};

static SESSION: LayerPage = LayerPage {
    layer: Layer::L5,
    job: "Keeps a conversation: opens it, keeps it alive through pauses, lets many requests share it, resumes it, and ends it in order. On the internet no \
          single protocol does this; the work is spread over keep-alive, pools, proxies and tickets, which is why its faults fall between chairs.",
    works_with: "Lifetimes: idle timeouts at client, proxy, balancer and server; maximum ages; connection pools; session tickets.",
    protocols: &[
        "HTTP keep-alive and connection pools (RFC 9112 9), HTTP/2 GOAWAY",
        "TLS session resumption (RFC 8446 2.2)",
        "SOCKS (RFC 1928), HTTP CONNECT (RFC 9110 9.3.6)",
        "SIP, RTSP, NetBIOS sessions; RPC and database sessions",
        "WebSocket ping and close (RFC 6455)",
    ],
    fails: &[
        "Accepted, then closed without a byte: the program behind the port is not ready, or refuses this peer.",
        "An idle session is closed by the side with the shorter timeout; the other side uses it a moment too late.",
        "Keep-alive race: a reused connection fails, a fresh one works; a few requests in thousands.",
        "Sessions are cut at a fixed age, whatever they are doing.",
        "The proxy is unreachable, or refuses to connect.",
        "No reuse: every request pays for a new handshake.",
    ],
    from_above: "\"Connection reset by peer\", \"server closed the connection unexpectedly\", \"unexpected EOF\", \"socket hang up\" - now and then, after pauses, \
                 and never when you try it by hand, because by hand the connection is fresh.",
    proof: "One good request proves a fresh session only. To prove the lifetime, wait: hold a connection idle for longer than the shortest timeout \
            on the way, then use it.",
    toolbox: &[
        here("curl -v --next URL URL", "\"Re-using existing connection\" or a new one"),
        here("openssl s_client -connect HOST:PORT -reconnect", "whether TLS sessions are resumed"),
        here("(sleep 65; printf 'GET / HTTP/1.1\\r\\nHost: HOST\\r\\n\\r\\n') | nc HOST PORT", "an idle time of 65 s, then a request"),
        here("ss -tno dst ADDRESS", "keep-alive timers of living connections"),
        here("tcpdump -ni any 'host ADDRESS and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0'", "who ends the session, and how"),
        here("env | grep -i proxy", "which proxy programs of this shell will use"),
        here("curl -v -x PROXY URL", "what the proxy says to CONNECT"),
    ],
};

static PRESENTATION: LayerPage = LayerPage {
    layer: Layer::L6,
    job: "Makes both sides read the same thing in the same bytes: encryption and the proof of identity, compression, character sets, serialisation. Below it \
          are bytes; above it is meaning.",
    works_with: "Protocol versions, cipher suites, certificates and their chains and clocks, server names (SNI), ALPN; Content-Encoding, Content-Type, charset.",
    protocols: &[
        "TLS 1.3 (RFC 8446), TLS 1.2 (RFC 5246), X.509 (RFC 5280)",
        "names in certificates (RFC 9525), ALPN (RFC 7301)",
        "gzip (RFC 1952), Brotli (RFC 7932), Zstandard (RFC 8878)",
        "UTF-8 (RFC 3629), JSON (RFC 8259), XML, Protocol Buffers",
    ],
    fails: &[
        "The certificate is expired, not yet valid, for another name, self-signed, or its chain lacks the intermediate.",
        "The clock of one side is wrong, and every certificate seems invalid.",
        "No common TLS version or cipher; an old client or a hardened server.",
        "A client certificate is required and none was sent.",
        "One side speaks TLS and the other plain text: a port or a proxy is set up wrongly.",
        "A middlebox dislikes the server name or the size of the ClientHello and drops it.",
        "The body is not what it says: gzip that does not decode, HTML where JSON was promised, bytes that are not UTF-8.",
    ],
    from_above: "\"certificate verify failed\", \"handshake failure\", \"wrong version number\" (that one is plain text where TLS was expected), \"unexpected token '<'\" \
                 (HTML where JSON was expected). Browsers repair a missing intermediate by themselves, so \"it works in my browser\" clears nothing.",
    proof: "A completed handshake with a trusted chain, a matching name and a valid window proves encryption and, with it, everything below it. An alert \
            is a positive answer: the other side understood enough to refuse.",
    toolbox: &[
        here("openssl s_client -connect HOST:443 -servername HOST -showcerts </dev/null", "handshake, chain as sent, verification"),
        here(
            "openssl s_client -connect HOST:443 -servername HOST </dev/null | openssl x509 -noout -subject -issuer -dates -ext subjectAltName",
            "names and validity",
        ),
        here("openssl s_client -connect HOST:443 -tls1_2 </dev/null", "one version at a time"),
        here("curl -vI https://HOST/", "what an ordinary client makes of it"),
        here("date -u; curl -sI https://HOST/ | grep -i '^date'", "our clock against theirs"),
        here("curl -s --compressed -D - URL | head -c 300", "headers and first bytes, decoded"),
        here("curl -s URL | jq .", "whether JSON parses, and where it stops"),
        here("testssl.sh HOST:443", "the whole TLS configuration"),
    ],
};

static APPLICATION: LayerPage = LayerPage {
    layer: Layer::L7,
    job: "Does what the user wants: names become addresses, requests become answers. Everything below has done its work when the service understands the \
          question; from here on the fault is in a program, its data, or in a service behind it.",
    works_with: "Names and records, methods and status codes, credentials and quotas, backends behind balancers.",
    protocols: &[
        "DNS (RFC 1034, 1035), with extended errors (RFC 8914)",
        "HTTP (RFC 9110), HTTP/2 (RFC 9113), HTTP/3 (RFC 9114), WebSocket (RFC 6455), gRPC",
        "SMTP (RFC 5321), SSH (RFC 4251), MQTT, AMQP",
        "PostgreSQL, MySQL and Redis wire protocols",
    ],
    fails: &[
        "The name does not exist, or its servers fail, refuse, or keep silent.",
        "4xx: the service understood and blames the request: credentials, path, method, quota.",
        "5xx: the service blames itself (500) or the one behind it: 502 a bad answer, 503 none available, 504 none in time.",
        "One of several backends fails: a fixed share of the requests.",
        "The service accepts and says nothing: frozen, deadlocked, out of workers.",
        "Slow: the network is done in milliseconds, the service thinks for seconds.",
        "Another protocol answers on this port.",
    ],
    from_above: "This is what people see. \"The site is down\" may be any layer; a status code, be it 500, is the proof that L1 to L6 work. A DNS failure looks \
                 like the end of the internet, while addresses still work.",
    proof: "A status code in the service's own protocol. A health check that answers 200 proves the health check. For a balancer, one good answer proves \
            one backend: ask often enough.",
    toolbox: &[
        here("dig NAME; dig NAME @RESOLVER; dig +trace NAME", "the system's resolver, another one, and from the root down"),
        here("getent ahosts NAME", "what programs get: hosts file, search list and DNS together"),
        here("curl -sS -o /dev/null -D - URL", "status and headers, without the body"),
        here(
            "curl -sS -o /dev/null -w '%{time_namelookup} %{time_connect} %{time_appconnect} %{time_starttransfer} %{time_total}\\n' URL",
            "where the time goes",
        ),
        here(
            "for i in $(seq 50); do curl -s -o /dev/null -w '%{http_code}\\n' URL; done | sort | uniq -c",
            "a share that fails is a backend that fails",
        ),
        here("grpcurl HOST:PORT grpc.health.v1.Health/Check", "what a gRPC service says of itself"),
        Tool { run: "journalctl -u SERVICE --since -10min", on: "the server", why: "what the service says of itself" },
        Tool { run: "ss -tn state established '( sport = :PORT )' | wc -l", on: "the server", why: "how many clients it holds" },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_a_whole_page_of_its_own() {
        for layer in Layer::ALL {
            let page = page(layer);
            assert_eq!(page.layer, layer);
            let texts = [page.job, page.works_with, page.from_above, page.proof];
            assert!(texts.iter().all(|text| text.len() > 60), "{layer}");
            assert!(page.protocols.len() >= 3 && page.fails.len() >= 3 && page.toolbox.len() >= 3, "{layer}");
        }
    }
}
