//! The same map in the four layers of TCP/IP (RFC 1122): Application, Transport, Internet, Link.

use super::{Paper, tower};
use faultmap_model::report::{LayerReport, LayerStatus};
use faultmap_model::{Layer, Report};

/// Top down, each with the OSI layers that it holds.
pub(super) const FOUR: [(&str, &[Layer]); 4] = [
    ("Application", &[Layer::L5, Layer::L6, Layer::L7]),
    ("Transport", &[Layer::L4]),
    ("Internet", &[Layer::L3]),
    ("Link", &[Layer::L1, Layer::L2]),
];

pub(super) fn map(paper: &mut Paper, report: &Report) {
    for (name, layers) in FOUR {
        let within: Vec<&LayerReport> = report.layers.iter().filter(|storey| layers.contains(&storey.layer)).collect();
        if let Some(merged) = merge(&within) {
            let label = format!("{name:11} {:5}", span(layers));
            tower::row(paper, &label, &merged);
        }
    }
}

/// `L5-L7`, `L4`.
pub(super) fn span(layers: &[Layer]) -> String {
    match layers {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    }
}

/// The worst state, with the words of the layer that has it; of layers that are equally well, the highest that has words.
fn merge(within: &[&LayerReport]) -> Option<LayerReport> {
    let worst = within.iter().map(|storey| storey.status).max_by_key(|status| gravity(*status))?;
    let of_worst = within.iter().rev().filter(|storey| storey.status == worst);
    let speaker = of_worst.clone().find(|storey| !storey.summary.is_empty()).or_else(|| of_worst.clone().next())?;
    let alone = within.len() == 1;
    let summary =
        if alone || speaker.summary.is_empty() { speaker.summary.clone() } else { format!("{}: {}", speaker.layer, speaker.summary) };
    Some(LayerReport { layer: speaker.layer, status: worst, summary, ms: speaker.ms })
}

pub(super) const fn gravity(status: LayerStatus) -> u8 {
    match status {
        LayerStatus::Fail => 4,
        LayerStatus::Warn => 3,
        LayerStatus::Ok => 2,
        LayerStatus::Unknown => 1,
        LayerStatus::NotReached => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storey(layer: Layer, status: LayerStatus) -> LayerReport {
        LayerReport { layer, status, summary: format!("line of {layer}"), ms: None }
    }

    #[test]
    fn a_merged_layer_speaks_with_its_worst_part() {
        let check = |parts: &[(Layer, LayerStatus)], expect: (LayerStatus, &str)| {
            let parts: Vec<LayerReport> = parts.iter().map(|(layer, status)| storey(*layer, *status)).collect();
            let merged = merge(&parts.iter().collect::<Vec<_>>()).expect("some");
            assert_eq!((merged.status, merged.summary.as_str()), expect);
        };
        check(&[(Layer::L1, LayerStatus::Fail), (Layer::L2, LayerStatus::Ok)], (LayerStatus::Fail, "L1: line of L1"));
        check(
            &[(Layer::L5, LayerStatus::Ok), (Layer::L6, LayerStatus::Ok), (Layer::L7, LayerStatus::Ok)],
            (LayerStatus::Ok, "L7: line of L7"),
        );
        check(&[(Layer::L4, LayerStatus::Unknown)], (LayerStatus::Unknown, "line of L4"));
    }
}
