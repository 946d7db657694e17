//! Causes of layer 5, session: how a conversation begins, is reused and ends.

mod closed_without_answer;
mod no_reuse;

use super::Cause;

/// In the order of `faultmap causes`.
pub static CAUSES: &[&Cause] = &[&closed_without_answer::CAUSE, &no_reuse::CAUSE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, healthy_dns, healthy_http, healthy_https};

    #[test]
    fn healthy_services_yield_no_claim_of_this_layer() {
        for recording in [healthy_https(), healthy_http(), healthy_dns()] {
            for cause in CAUSES {
                assert_eq!(claims(cause, &recording), None, "{} on {}", cause.id, recording.header.target.input);
            }
        }
    }

    #[test]
    fn every_cause_is_of_this_layer_and_has_its_page() {
        for cause in CAUSES {
            assert!(cause.id.starts_with("l5.") && cause.layer == crate::Layer::L5, "{}", cause.id);
            assert!(
                !cause.what.is_empty() && !cause.shows.is_empty() && !cause.confirm.is_empty() && !cause.fix.is_empty(),
                "{}",
                cause.id
            );
        }
    }
}
