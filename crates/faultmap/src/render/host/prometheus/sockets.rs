//! Sockets, descriptors and the processes that listen as metrics.

use super::exposition::{Exposition, Number};
use faultmap_model::host::HostSample;
use std::collections::BTreeMap;

pub(super) fn sockets(text: &mut Exposition, sample: &HostSample) {
    if let Some(tcp) = &sample.tcp {
        for (state, count) in &tcp.states {
            text.gauge("faultmap_tcp_sockets", "TCP sockets by state.", &[("state", &state.to_lowercase())], *count);
        }
        for (name, help, count) in [
            ("faultmap_tcp_backing_off_sockets", "Connections whose retransmission backed off at least twice.", tcp.backing_off),
            ("faultmap_tcp_zero_window_sockets", "Connections whose peer closed its window while data waits.", tcp.zero_window),
            ("faultmap_tcp_unread_sockets", "Connections with received bytes that no program has read.", tcp.unread),
            ("faultmap_tcp_idle_hour_sockets", "Connections that received nothing for an hour.", tcp.idle_hour),
        ] {
            text.gauge(name, help, &[], count);
        }
        for (port, count) in &tcp.close_wait {
            let help = "Connections in CLOSE_WAIT by local port: the peer closed, the program has not. The fullest ports.";
            text.gauge("faultmap_tcp_close_wait_sockets", help, &[("port", &port.to_string())], *count);
        }
    }
    listeners(text, sample);
    udp(text, sample);
    for certificate in sample.certificates.iter().flatten() {
        let listener = certificate.listener.to_string();
        let labels = [("address", listener.as_str()), ("subject", certificate.subject.as_str())];
        let end = certificate.not_after_unix_s as f64;
        text.gauge("faultmap_certificate_not_after_timestamp_seconds", "End of validity of a listener's certificate.", &labels, end);
    }
}

/// Sockets that share an address (SO_REUSEPORT) share their metrics: the sums, and the fullest of them.
fn listeners(text: &mut Exposition, sample: &HostSample) {
    #[derive(Default)]
    struct Queue {
        program: String,
        waiting: u64,
        limit: u64,
        half_open: u64,
        fullest: f64,
    }
    let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
    for listener in &sample.listeners {
        let queue = queues.entry(listener.bound.to_string()).or_default();
        if queue.program.is_empty() {
            queue.program = listener.program.clone().unwrap_or_default();
        }
        queue.waiting = queue.waiting.saturating_add(listener.waiting);
        // One more than the backlog fits (sk_acceptq_is_full, include/net/sock.h).
        let limit = listener.limit.saturating_add(1);
        queue.limit = queue.limit.saturating_add(limit);
        queue.half_open = queue.half_open.saturating_add(listener.half_open);
        queue.fullest = queue.fullest.max(listener.waiting as f64 / limit as f64);
    }
    for (address, queue) in &queues {
        let labels = [("address", address.as_str()), ("program", queue.program.as_str())];
        text.gauge("faultmap_listener_accept_queue", "Connections that wait for accept.", &labels, queue.waiting);
        text.gauge(
            "faultmap_listener_accept_queue_limit",
            "How many may wait: the backlog, bounded by somaxconn, and one more.",
            &labels,
            queue.limit,
        );
        text.gauge("faultmap_listener_accept_queue_fullest_ratio", "The fullest queue of this address.", &labels, queue.fullest);
        text.gauge("faultmap_listener_half_open_sockets", "Half-open connections (SYN_RECV).", &labels, queue.half_open);
    }
}

fn udp(text: &mut Exposition, sample: &HostSample) {
    let Some(udp) = &sample.udp else { return };
    text.gauge("faultmap_udp_sockets", "UDP sockets.", &[], udp.sockets);
    let mut worst: BTreeMap<(String, &str), (u64, u64, u64)> = BTreeMap::new();
    for socket in &udp.worst {
        let key = (socket.bound.to_string(), socket.program.as_deref().unwrap_or_default());
        let (used, limit, drops) = worst.entry(key).or_default();
        *used = used.saturating_add(socket.receive_used);
        *limit = limit.saturating_add(socket.receive_limit);
        *drops = drops.saturating_add(socket.drops);
    }
    for ((address, program), (used, limit, drops)) in &worst {
        let labels = [("address", address.as_str()), ("program", *program)];
        text.gauge("faultmap_udp_receive_buffer_used_bytes", "Bytes that wait to be read; the worst sockets.", &labels, *used);
        text.gauge("faultmap_udp_receive_buffer_limit_bytes", "Room of the buffer (SO_RCVBUF).", &labels, *limit);
        text.counter("faultmap_udp_socket_drops_total", "Datagrams dropped: the buffer was full.", &labels, *drops);
    }
}

pub(super) fn processes(text: &mut Exposition, sample: &HostSample) {
    for process in &sample.fds.processes {
        let pid = process.pid.to_string();
        let labels = [("program", process.program.as_str()), ("pid", pid.as_str())];
        text.gauge("faultmap_process_open_fds", "Open descriptors of the processes that use most of their limit.", &labels, process.open);
        text.gauge("faultmap_process_max_fds", "Their limit (RLIMIT_NOFILE).", &labels, process.limit);
    }
    for process in &sample.processes {
        let pid = process.pid.to_string();
        let labels = [("program", process.program.as_str()), ("pid", pid.as_str())];
        let cpu = process.cpu_ms.map(super::seconds);
        text.counter_of("faultmap_process_cpu_seconds_total", "CPU time of a process that listens, all threads.", &labels, cpu);
        let waited = process.waited_ns.map(|ns| Number::Real(ns as f64 / 1e9));
        let help = "Time that its main thread was ready and waited for a CPU.";
        text.counter_of("faultmap_process_main_thread_waiting_seconds_total", help, &labels, waited);
        text.gauge("faultmap_process_threads", "Threads of a process that listens.", &labels, process.threads);
        let stopped = matches!(process.state, 'T' | 't');
        text.gauge("faultmap_process_stopped", "1 when a process that listens is stopped (SIGSTOP, a debugger).", &labels, stopped);
    }
}
