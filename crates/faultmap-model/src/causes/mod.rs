//! The registry of causes: one file a cause, one line here. Judge, `explain`, docs and web read this list.

pub(crate) mod captured;
pub mod claim;
pub mod l1;
pub mod l2;
pub mod l3;
pub mod l4;
pub mod l5;
pub mod l6;
pub mod l7;
mod peer;
#[cfg(test)]
pub(crate) mod tests_support;

pub use claim::{Claim, Severity, Standing};

use crate::{Evidence, Layer};

/// One way in which a layer fails.
pub struct Cause {
    /// Stable id, such as `l4.port-filtered`.
    pub id: &'static str,
    /// The layer that the verdict names.
    pub layer: Layer,
    /// A short noun phrase: `a firewall drops this port`.
    pub title: &'static str,
    /// What it is and why it happens, a short paragraph in plain words.
    pub what: &'static str,
    /// What proves it, and what it is easily confused with.
    pub shows: &'static str,
    /// Commands that confirm it. `{host}`, `{port}`, `{ip}`, `{iface}`, `{gateway}` are filled in from the evidence.
    pub confirm: &'static [Tool],
    /// How to mend it, most likely remedy first. The same placeholders.
    pub fix: &'static [&'static str],
    /// Looks at the whole evidence and claims, or not.
    pub claim: fn(&Evidence<'_>) -> Option<Claim>,
}

/// A command for the next step.
pub struct Tool {
    /// The command.
    pub run: &'static str,
    /// Where: `here`, `{host}`, `the last router`, `the resolver`.
    pub on: &'static str,
    /// What its answer tells.
    pub why: &'static str,
}

/// Every cause that the judge knows, lowest layer first. The order is that of `faultmap causes`.
pub fn all() -> impl Iterator<Item = &'static Cause> {
    [l1::CAUSES, l2::CAUSES, l3::CAUSES, l4::CAUSES, l5::CAUSES, l6::CAUSES, l7::CAUSES].into_iter().flatten().copied()
}

/// The cause with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Cause> {
    all().find(|cause| cause.id.eq_ignore_ascii_case(id))
}

/// The server refuses the request as it stands (4xx): another client, or another request, may be served.
#[must_use]
pub fn refuses_the_request(id: &str) -> bool {
    const REFUSALS: [&str; 8] = [
        "l7.http-client-error",
        "l7.http-bad-request",
        "l7.http-unauthorized",
        "l7.http-forbidden",
        "l7.http-not-found",
        "l7.http-method-not-allowed",
        "l7.http-unsupported-media-type",
        "l7.http-rate-limited",
    ];
    REFUSALS.contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, healthy_dns, healthy_http, healthy_https};

    #[test]
    fn healthy_services_yield_no_claim_of_any_layer() {
        for recording in [healthy_https(), healthy_http(), healthy_dns()] {
            for cause in all() {
                assert_eq!(claims(cause, &recording), None, "{} on {}", cause.id, recording.header.target.input);
            }
        }
    }

    #[test]
    fn every_cause_stands_in_its_own_layer_and_has_its_page() {
        let layers = [l1::CAUSES, l2::CAUSES, l3::CAUSES, l4::CAUSES, l5::CAUSES, l6::CAUSES, l7::CAUSES];
        for (layer, causes) in Layer::ALL.into_iter().zip(layers) {
            let prefix = format!("{}.", layer.to_string().to_lowercase());
            for cause in causes {
                assert!(cause.id.starts_with(&prefix) && cause.layer == layer, "{}", cause.id);
                let whole = !cause.what.is_empty() && !cause.shows.is_empty() && !cause.confirm.is_empty() && !cause.fix.is_empty();
                assert!(whole, "{}", cause.id);
            }
        }
    }
}
