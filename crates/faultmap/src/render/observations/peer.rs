//! The line of what a witness at the other end saw.

use super::{count, list, lower, rises, time};
use faultmap_model::observation::{FarError, FarSide, FarWire, PeerReport, RouteOutcome, WayBack};

/// The line.
pub(super) fn words(it: &PeerReport) -> String {
    let what = match &it.provoked {
        Some(provoked) => format!(
            "{} ({} passed, {} refused, {} silent)",
            count(provoked.tried, "connect"),
            provoked.passed(),
            provoked.failed,
            provoked.silent
        ),
        None => "the check".to_owned(),
    };
    let mut parts = vec![format!("witness {} on {} during {what}, {}", it.peer, it.to, time(it.far.window_ms))];
    parts.push(it.far.wire.as_ref().map_or_else(|| "no tap".to_owned(), wire));
    parts.extend(sockets(&it.far));
    parts.extend(it.far.ways_back.iter().map(way_back));
    parts.extend(it.far.undelivered.filter(|count| *count > 0).map(|count| format!("{count} not delivered")));
    if !it.far.rose.is_empty() {
        parts.push(rises(&it.far.rose));
    }
    parts.join("; ")
}

fn wire(it: &FarWire) -> String {
    let mut parts =
        vec![format!("{} in", count(it.syns, "SYN")), format!("{} and {} out", count(it.syn_acks, "SYN-ACK"), count(it.resets, "RST"))];
    if it.other_syns > 0 {
        parts.push(format!("{} of others", count(it.other_syns, "SYN")));
    }
    if let (Some(inward), Some(outward)) = (&it.in_iface, &it.out_iface) {
        parts.push(if inward == outward { format!("on {inward}") } else { format!("in by {inward}, out by {outward}") });
    }
    if it.echo_in > 0 {
        parts.push(format!("{} in, {} out", count(it.echo_in, "echo request"), it.echo_out));
    }
    parts.extend(it.errors_in.iter().map(|one| format!("{} in", error(one))));
    parts.extend(it.errors_out.iter().map(|one| format!("{} out", error(one))));
    parts.join(", ")
}

fn error(it: &FarError) -> String {
    format!("{} ICMP {}/{} from {}", it.count, it.icmp_type, it.code, it.from)
}

fn sockets(it: &FarSide) -> Vec<String> {
    let mut parts = Vec::new();
    let bound: Vec<String> = it.bound.iter().map(ToString::to_string).collect();
    parts.push(if bound.is_empty() { "nothing listens".to_owned() } else { format!("listening on {}", list(&bound)) });
    parts.extend(it.queue.map(|queue| format!("accept queue {} of {}", queue.waiting, queue.room)));
    parts.extend((it.half_open > 0).then(|| format!("{} half-open, {} of ours", it.half_open, it.half_open_ours)));
    parts.extend((it.unread_bytes > 0).then(|| format!("{} of ours unread", count(it.unread_bytes, "byte"))));
    parts.extend(it.program.as_ref().map(|program| format!("program {} in state {}", program.name, program.state)));
    parts
}

fn way_back(it: &WayBack) -> String {
    let how = match &it.route {
        RouteOutcome::Found { iface, gateway, .. } => {
            let via = gateway.map_or_else(|| "on-link".to_owned(), |gateway| format!("via {gateway}"));
            let hop = it.next_hop.as_ref().map_or_else(String::new, |hop| format!(" ({})", lower(hop.state)));
            format!("{via}{hop} on {iface}")
        }
        RouteOutcome::NoRoute => "no route".to_owned(),
        RouteOutcome::Rejected { route_type, .. } => format!("a route of type {route_type}"),
        RouteOutcome::Unknown { why } => why.clone(),
    };
    format!("way back to {}: {how}", it.to)
}
