//! The packets of a check: how many, in which file, and the numbers of those that show an observation.

use crate::render::count;
use faultmap_model::observation::{ObservationId, PacketFinding, PacketWeight, Packets, PacketsOf};
use faultmap_model::{Report, Seen};

/// Numbers that are spelled out.
const MOST_NUMBERS: usize = 6;

pub(super) fn words(it: &Packets) -> String {
    let mut text = format!("{} in {}", count(it.packets, "packet"), it.file);
    if it.dropped > 0 {
        text.push_str(&format!(", {} lost by the kernel", it.dropped));
    }
    if it.beyond > 0 {
        text.push_str(&format!(", {} more not kept", it.beyond));
    }
    let worth = it.findings.iter().filter(|finding| finding.weight > PacketWeight::Note);
    for finding in worth.take(MOST_NUMBERS) {
        text.push_str(&format!("; {} ({})", finding.text, numbers(&finding.packets, finding.count.max(finding.packets.len() as u64))));
    }
    text
}

/// ` [packets 3-5, 9 of FILE]`; nothing where no packets were recorded.
pub(super) fn shown_by(report: &Report, observation: ObservationId) -> String {
    let recorded = report.observations.iter().find_map(|seen| match &seen.seen {
        Seen::Packets(packets) => Some(packets),
        _ => None,
    });
    let of = recorded.and_then(|packets| Some((packets, packets.of(observation)?)));
    of.map_or_else(String::new, |(packets, PacketsOf { count, first, .. })| {
        let about = |finding: &&PacketFinding| finding.weight > PacketWeight::Note && finding.about.contains(&observation);
        // A rule per line is enough here; all of them stand with the packets.
        let rule = packets.findings.iter().find(about).map_or_else(String::new, |finding| format!(": {}", finding.text));
        format!(" [{} of {}{rule}]", numbers(first, *count), packets.file)
    })
}

/// `packet 3`, `packets 3-5, 9 and 12 more`.
fn numbers(first: &[u64], count: u64) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in first {
        match runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*number) => *end = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown = &runs[..runs.len().min(MOST_NUMBERS)];
    let spelled: u64 = shown.iter().map(|(from, to)| to - from + 1).sum();
    let list: Vec<String> = shown.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    let more = match count.saturating_sub(spelled) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("packet{} {}{more}", if count == 1 { "" } else { "s" }, list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn neighbours_are_told_as_a_run_and_the_rest_as_a_number() {
        for (first, count, text) in [
            (&[3_u64][..], 1, "packet 3"),
            (&[3, 4, 5, 9], 4, "packets 3-5, 9"),
            (&[3, 4], 16, "packets 3-4 and 14 more"),
            (&[1, 3, 5, 7, 9, 11, 13], 7, "packets 1, 3, 5, 7, 9, 11 and 1 more"),
        ] {
            assert_eq!(numbers(first, count), text);
        }
    }
}
