//! Lines about names beyond a single question, and about fragments, which large answers travel in.

use super::{count, list};
use faultmap_model::observation::{DnsTrace, FragmentProbe, TraceEnd};

/// What EDNS offered, where it was unusual.
pub(super) fn offered(bytes: Option<u16>) -> String {
    match bytes {
        None => String::new(),
        Some(0) => ", without EDNS".to_owned(),
        Some(bytes) => format!(", offering {bytes} bytes"),
    }
}

pub(super) fn fragments(it: &FragmentProbe) -> String {
    let told = |bytes: u32, (sent, answered): (u32, u32)| format!("{bytes} bytes {answered} of {sent} answered");
    format!(
        "{} by UDP: {}, {}, in fragments {}",
        it.to,
        told(it.small_bytes, it.small),
        told(it.whole_bytes, it.whole),
        told(it.fragmented_bytes, it.fragmented)
    )
}

pub(super) fn trace_line(it: &DnsTrace) -> String {
    let zones: Vec<&str> = it.zones.iter().map(|zone| zone.zone.as_str()).collect();
    let end = match it.end {
        TraceEnd::Found => list(&it.addresses),
        TraceEnd::NoName => "no such name".to_owned(),
        TraceEnd::NoAddress => "no address".to_owned(),
        TraceEnd::Stuck => "no server of the last zone helps".to_owned(),
        TraceEnd::NoRoot => "no root server reached".to_owned(),
        TraceEnd::Intercepted => "a resolver answers in the root's place".to_owned(),
        TraceEnd::CutShort => "cut short".to_owned(),
    };
    format!("{} from the root ({}), {}: {end}", it.name, zones.join(" → "), count(it.questions, "question"))
}
